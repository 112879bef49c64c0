"""Batched tokenising against transformers, a call per text."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the models extra")
pytest.importorskip("transformers", reason="needs the models extra")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from monitor.embed import Encoder
from monitor.embed.tokenising import PIECE_CHARACTERS, Tokeniser, distinct
from registry.tokenizer import GOLDEN_TEXTS

PAIRED = [(text, pair) for text in GOLDEN_TEXTS for pair in (None, "", "and another, naïve 😀 " * 9)]
LONG = [("refund " * 90, None), ("hi", "again " * 90), ("refund " * 90, "again " * 40), ("x" * 70_000, None)]


def called_one_by_one(tokenizer: Any, keys: list[Any], **options: Any) -> list[list[int]]:
    return [tokenizer(*key, verbose=False, **options)["input_ids"] for key in keys]


@pytest.mark.parametrize("parallelism", ["true", "false"])
def test_ids_are_those_of_transformers(checkpoint: Path, monkeypatch: pytest.MonkeyPatch, parallelism: str) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", parallelism)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    keys = [*PAIRED, *LONG] * 20
    wanted = called_one_by_one(tokenizer, keys)
    tokeniser = Tokeniser(AutoTokenizer.from_pretrained(checkpoint))
    assert tokeniser.ids(keys) == wanted
    assert tokeniser.ids(keys, special=False) == called_one_by_one(tokenizer, keys, add_special_tokens=False)


@pytest.mark.parametrize("max_length", [4, 9, 64])
def test_truncated_ids_are_those_of_transformers(checkpoint: Path, max_length: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    keys = [*PAIRED, *LONG]
    wanted = called_one_by_one(tokenizer, keys, truncation=True, max_length=max_length)
    found = Tokeniser(AutoTokenizer.from_pretrained(checkpoint))(keys, max_length=max_length)
    assert [one.tolist() for one in found.ids] == wanted
    assert found.counts[: len(PAIRED)].tolist() == [len(one) for one in called_one_by_one(tokenizer, PAIRED)]


def test_settings_saved_with_a_tokenizer_do_not_pad_or_cut(tiny: tuple[Any, Any], tmp_path: Path) -> None:
    tiny[1].save_pretrained(tmp_path)
    saved = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    saved.enable_truncation(8)
    saved.enable_padding(length=30)
    saved.save(str(tmp_path / "tokenizer.json"))
    tokeniser = Tokeniser(AutoTokenizer.from_pretrained(tmp_path))
    assert tokeniser.ids(LONG) == called_one_by_one(tiny[1], LONG)


def test_a_tokenizer_that_is_not_fast_gives_the_same_ids(tiny: tuple[Any, Any]) -> None:
    class Slow:
        is_fast = False

        def __getattr__(self, name: str) -> Any:
            return getattr(tiny[1], name)

        def __call__(self, *arguments: Any, **options: Any) -> Any:
            return tiny[1](*arguments, **options)

    slow, fast = Tokeniser(Slow())(PAIRED, max_length=9), Tokeniser(tiny[1])(PAIRED, max_length=9)
    assert [one.tolist() for one in slow.ids] == [one.tolist() for one in fast.ids]
    assert slow.counts.tolist() == fast.counts.tolist()


def test_a_text_beyond_the_first_piece_is_counted_and_not_seen(tiny: tuple[Any, Any]) -> None:
    tokens = Tokeniser(tiny[1])(
        [("ab " * PIECE_CHARACTERS, None), ("ab " * 10, "cd " * PIECE_CHARACTERS)], max_length=9
    )
    assert all(len(one) == 9 for one in tokens.ids)
    assert tokens.counts.min() > PIECE_CHARACTERS


def test_equal_inputs_are_one_and_lone_surrogates_are_replaced() -> None:
    keys, inverse = distinct(["a", "b", "a", "\ud800", "\ufffd", "a"], [None, None, None, None, None, ""])
    assert keys == [("a", None), ("b", None), ("\ufffd", None), ("a", "")]
    assert inverse.tolist() == [0, 1, 0, 2, 2, 3]


def test_bytes_of_characters_a_byte_level_vocabulary_lacks_are_unknown(checkpoint: Path) -> None:
    shares = Encoder.load(checkpoint, device="cpu").encode(["", "where is my order", "é", "a é", "😀😀"]).unknown_shares
    # é is two pieces of one byte each; "a é" is "a", a space, and those two
    np.testing.assert_allclose(shares, [0, 0, 1, 0.5, 1])


def test_whole_characters_are_known_to_a_byte_level_vocabulary() -> None:
    from monitor.demo.training import train_tokenizer

    tokenizer = train_tokenizer(["é à é à naïve"] * 20, vocabulary_size=300)
    assert Tokeniser(tokenizer)([("é à", None)], max_length=9).unknown_shares.tolist() == [0]


def test_unknown_and_byte_pieces_of_a_sentencepiece_vocabulary_are_unknown() -> None:
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -1.0), ("▁b", -1.0), ("▁", -2.0)]
    bytes_ = [(f"<0x{byte:02X}>", -5.0) for byte in range(256)]
    shares = []
    for vocabulary, fallback in ((pieces + bytes_, True), (pieces, False)):
        rust = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=fallback))
        rust.pre_tokenizer, rust.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
        named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
        tokeniser = Tokeniser(PreTrainedTokenizerFast(tokenizer_object=rust, **named))
        shares.append(tokeniser([("a b", None), ("a 好 b", None)], max_length=20).unknown_shares)
    np.testing.assert_allclose(shares[0], [0, 3 / 6])  # ▁a ▁ <0xE5> <0xA5> <0xBD> ▁b
    np.testing.assert_allclose(shares[1], [0, 1 / 4])  # ▁a ▁ <unk> ▁b
