"""Make the demo's world: a small RoBERTa trained from scratch, a wrong tokenizer for it, and the texts to serve."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Texts:
    """Tickets by what they are for: to train on, for the baseline, to serve, and of topics nobody trained on."""

    train: Sequence[Ticket]
    reference: Sequence[Ticket]
    seen: Sequence[Ticket]
    unseen: Sequence[Ticket]


def read_texts(corpus: Path | None) -> Texts:
    """Return generated tickets, or those of a CLINC150 folder with two of its domains held out.

    Raises InputError naming a folder that is none.
    """
    return _generated() if corpus is None else _clinc(corpus)


def make_world(texts: Texts, *, say: Callable[[str], None]) -> World:
    """Train on the tickets."""
    say(f"training a small RoBERTa on {len(texts.train)} tickets")
    model, tokenizer = train_classifier(
        [ticket.text for ticket in texts.train],
        [ticket.label for ticket in texts.train],
        seed=SEED,
        progress=lambda done, total: say(f"  epoch {done} of {total}"),
    )
    return World(model, tokenizer, _wrong_encoder(model, texts.train), texts.reference, texts.seen, texts.unseen)


def _generated() -> Texts:
    rng = np.random.default_rng(SEED)
    tickets = generate(TRAIN + REFERENCE + TRAFFIC, rng=rng, topics=KNOWN_TOPICS)
    unseen = generate(UNSEEN, rng=rng, topics=UNSEEN_TOPICS)
    return Texts(tickets[:TRAIN], tickets[TRAIN : TRAIN + REFERENCE], tickets[TRAIN + REFERENCE :], unseen)


def _clinc(folder: Path) -> Texts:
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
    return Texts(train, reference, seen, [ticket for ticket in corpus.test if ticket.topic in hidden])


def _wrong_encoder(model: Any, train: Sequence[Ticket]) -> Encoder:
    # the same kind of tokenizer, trained on other text: every file loads, every id is valid, and every answer is wrong
    other = train_tokenizer([ticket.text.upper()[::-1] for ticket in train], vocabulary_size=model.config.vocab_size)
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        other.save_pretrained(folder)
        return Encoder.load(Path(folder), device="cpu")
