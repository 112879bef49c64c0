"""Make the demo's world: a small RoBERTa trained from scratch, a wrong tokenizer for it, and the texts to serve."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from monitor.demo.corpus import KNOWN_TOPICS, UNSEEN_TOPICS, Ticket, generate, load_clinc
from monitor.demo.traffic import World
from monitor.demo.training import train_classifier, train_tokenizer
from monitor.embed import Encoder
from monitor.errors import InputError

SEED = 7
TRAIN, REFERENCE, TRAFFIC, UNSEEN = 4000, 2400, 6000, 600
UNSEEN_DOMAINS = 2


def make_world(corpus: Path | None, *, say: Callable[[str], None]) -> World:
    """Train on the generated corpus, or on a CLINC150 folder with two of its domains held out."""
    train, reference, seen, unseen = _generated() if corpus is None else _clinc(corpus)
    say(f"training a small RoBERTa on {len(train)} tickets")
    model, tokenizer = train_classifier(
        [ticket.text for ticket in train],
        [ticket.label for ticket in train],
        seed=SEED,
        progress=lambda done, total: say(f"  epoch {done} of {total}"),
    )
    return World(model, tokenizer, _wrong_encoder(model, train), reference, seen, unseen)


def _generated() -> tuple[Sequence[Ticket], Sequence[Ticket], Sequence[Ticket], Sequence[Ticket]]:
    rng = np.random.default_rng(SEED)
    tickets = generate(TRAIN + REFERENCE + TRAFFIC, rng=rng, topics=KNOWN_TOPICS)
    unseen = generate(UNSEEN, rng=rng, topics=UNSEEN_TOPICS)
    return tickets[:TRAIN], tickets[TRAIN : TRAIN + REFERENCE], tickets[TRAIN + REFERENCE :], unseen


def _clinc(folder: Path) -> tuple[Sequence[Ticket], Sequence[Ticket], Sequence[Ticket], Sequence[Ticket]]:
    try:
        corpus = load_clinc(folder)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder}: not a CLINC150 folder ({error})") from error
    domains = sorted({ticket.topic for ticket in corpus.train})
    hidden = set(domains[-UNSEEN_DOMAINS:])
    train = [ticket for ticket in corpus.train if ticket.topic not in hidden]
    held = [ticket for ticket in [*corpus.validation, *corpus.test] if ticket.topic not in hidden]
    order = np.random.default_rng(SEED).permutation(len(held))
    reference, seen = [held[i] for i in order[: len(held) // 2]], [held[i] for i in order[len(held) // 2 :]]
    return train, reference, seen, [ticket for ticket in corpus.test if ticket.topic in hidden]


def _wrong_encoder(model: Any, train: Sequence[Ticket]) -> Encoder:
    # the same kind of tokenizer, trained on other text: every file loads, every id is valid, and every answer is wrong
    other = train_tokenizer([ticket.text.upper()[::-1] for ticket in train], vocabulary_size=model.config.vocab_size)
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        other.save_pretrained(folder)
        return Encoder.load(Path(folder), device="cpu")
