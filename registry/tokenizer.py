"""The identity of a tokenizer: its files, and what it makes of golden texts."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from registry.model import files_digest

TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
)

GOLDEN_TEXTS: tuple[str, ...] = (
    "",
    " ",
    "hello",
    " hello",
    "Hello World",
    "HELLO WORLD",
    "  two  spaces\tand a tab\nand a line\r\n",
    "It's the customer's 2nd refund, isn't it?",
    "1234567890 3.14159 1,000,000 2024-02-29T12:34:56Z",
    "naïve café Zürich Ærøskøbing",
    "cafe\u0301 (combining) and caf\u00e9 (composed)",
    "Привет, как дела? Γειά σου Κόσμε",
    "你好,世界。こんにちは世界 안녕하세요",
    "مرحبا بالعالم שלום עולם",
    "😀 👩\u200d👩\u200d👧 🇩🇰 ❤\ufe0f",
    "zero\u200bwidth and no\u00a0break",
    "antidisestablishmentarianism" * 4,
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "https://example.com/a?b=c&d=%20#e user@example.com",
    "<s> </s> <mask> <pad> <unk>",
    "def f(x): return {x: [1, 2], 'y': \"z\"}",
    "nul\x00inside",
    "!?!?…—–«»„“”",
)


def tokenizer_files_digest(folder: Path) -> str:
    """Return the digest over the tokenizer's files alone, in the order of their names."""
    return files_digest(folder, [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()])


def tokenizer_digest(folder: Path, tokenize: Callable[[Sequence[str]], list[list[int]]]) -> str:
    """Return "sha256:…" over the tokenizer's files and its token ids of `GOLDEN_TEXTS`.

    The files alone do not fix the ids: another library version may read them differently.
    """
    golden = json.dumps(tokenize(GOLDEN_TEXTS), separators=(",", ":"))
    identity = f"{tokenizer_files_digest(folder)}\0{golden}"
    return f"sha256:{hashlib.sha256(identity.encode()).hexdigest()}"
