"""Train a small RoBERTa classifier from scratch: byte-level BPE, then one cycle of AdamW on the CPU."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification
from transformers.utils import logging as transformers_logging

SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]  # RoBERTa's ids: padding is 1, positions start at 2
POSITIONS = 130
BATCH_SIZE = 32
PEAK_LEARNING_RATE = 1e-3
LABEL_SMOOTHING = 0.05
THREADS = 2  # more gain nothing at this size


def train_tokenizer(texts: Sequence[str], *, vocabulary_size: int = 4000, positions: int = POSITIONS) -> Any:
    """Train a byte-level BPE and return it as a fast transformers tokenizer with RoBERTa's special tokens."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))  # noqa: S106 a token of the vocabulary, no secret
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",  # noqa: S106 likewise
        eos_token="</s>",  # noqa: S106 likewise
        sep_token="</s>",  # noqa: S106 likewise
        cls_token="<s>",  # noqa: S106 likewise
        unk_token="<unk>",  # noqa: S106 likewise
        pad_token="<pad>",  # noqa: S106 likewise
        mask_token="<mask>",  # noqa: S106 likewise
        model_max_length=positions - 2,
        model_input_names=["input_ids", "attention_mask"],
    )


def build_model(
    *, labels: Sequence[str], vocabulary_size: int, layers: int = 3, hidden: int = 192, positions: int = POSITIONS
) -> Any:
    """Return a randomly initialised RoBERTa with a classification head, dropout off."""
    config = RobertaConfig(
        vocab_size=vocabulary_size,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=max(1, hidden // 48),
        intermediate_size=4 * hidden,
        max_position_embeddings=positions,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout=0.1,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        architectures=["RobertaForSequenceClassification"],
    )
    return RobertaForSequenceClassification(config)


def train_classifier(
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    seed: int,
    out_dir: Path | None = None,
    vocabulary_size: int = 4000,
    layers: int = 3,
    hidden: int = 192,
    epochs: int = 4,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Any, Any]:
    """Train on texts (n,) and labels (n,); return (model, tokenizer), saved in `out_dir` where given.

    Deterministic for a seed. `progress` hears (epochs done, epochs). Raises ValueError for unlike lengths or one class.
    """
    transformers_logging.disable_progress_bar()  # ours tells epochs
    names = sorted(set(labels))
    if len(texts) != len(labels) or len(names) < 2:
        raise ValueError(f"need equally many texts and labels of 2 or more classes, got {len(texts)} and {len(labels)}")
    tokenizer = train_tokenizer(texts, vocabulary_size=vocabulary_size)
    ids: list[list[int]] = [tokenizer(text, truncation=True, max_length=POSITIONS - 2)["input_ids"] for text in texts]
    targets = torch.tensor([names.index(label) for label in labels])
    threads = torch.get_num_threads()
    torch.set_num_threads(min(THREADS, _usable_processors()))
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build_model(labels=names, vocabulary_size=len(tokenizer), layers=layers, hidden=hidden)
            _fit(model, ids, targets, epochs=epochs, rng=np.random.default_rng(seed), progress=progress)
    finally:
        torch.set_num_threads(threads)
    if out_dir is not None:
        model.save_pretrained(out_dir)
        tokenizer.save_pretrained(out_dir)
    return model, tokenizer


def _usable_processors() -> int:
    # a thread without a processor of its own makes every other one wait
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _fit(
    model: Any,
    ids: list[list[int]],
    targets: torch.Tensor,
    *,
    epochs: int,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] | None,
) -> None:
    steps = epochs * -(-len(ids) // BATCH_SIZE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=PEAK_LEARNING_RATE, total_steps=steps, pct_start=0.15
    )
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
    model.train()
    for epoch in range(epochs):
        for rows in _bucketed([len(found) for found in ids], rng=rng):
            batch, mask = _padded([ids[row] for row in rows])
            loss = criterion(model(input_ids=batch, attention_mask=mask).logits, targets[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        if progress is not None:
            progress(epoch + 1, epochs)
    model.eval()


def _bucketed(lengths: Sequence[int], *, rng: np.random.Generator) -> Iterator[list[int]]:
    # rows of like length share a batch, so little is padding; the jitter and the batches' order are random
    order = np.argsort(np.asarray(lengths) + rng.uniform(0, 4, size=len(lengths)), kind="stable")
    batches = [order[start : start + BATCH_SIZE].tolist() for start in range(0, len(order), BATCH_SIZE)]
    for position in rng.permutation(len(batches)):
        yield batches[position]


def _padded(ids: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(found) for found in ids)
    batch = torch.full((len(ids), width), 1, dtype=torch.long)
    for position, found in enumerate(ids):
        batch[position, : len(found)] = torch.tensor(found)
    return batch, (batch != 1).long()
