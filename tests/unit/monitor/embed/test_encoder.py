import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the models extra")
pytest.importorskip("transformers", reason="needs the models extra")

from monitor.embed import EmbeddingError, Encoder

MIXED = ["hi", "please reset my password, " * 3, "", "where is my order? 😀", "a\x00b", "refund " * 300, "hi"]


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> Encoder:
    return Encoder.load(checkpoint, device="cpu")


@pytest.fixture
def copied(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_vector_does_not_depend_on_its_batch_neighbours(checkpoint: Path, pooling: str) -> None:
    encoder = Encoder.load(checkpoint, device="cpu", pooling=pooling)
    together = encoder.encode(MIXED).vectors
    for row, text in enumerate(MIXED):
        assert cosine(together[row], encoder.encode([text]).vectors[0]) >= 0.99999


def test_unlike_texts_get_unlike_vectors(encoder: Encoder) -> None:
    vectors = encoder.encode(["where is my order", "I was charged twice"]).vectors
    assert cosine(vectors[0], vectors[1]) < 0.999


def test_identical_texts_get_identical_rows(encoder: Encoder) -> None:
    encoded = encoder.encode(MIXED)
    assert (encoded.vectors[0] == encoded.vectors[6]).all()
    assert encoded.vectors.shape == (7, encoder.dimension)
    assert encoded.vectors.dtype == np.float32


def test_counts_are_of_the_full_text_and_truncation_shows(encoder: Encoder) -> None:
    encoded = encoder.encode(MIXED)
    assert encoder.max_length == 64
    assert encoded.token_counts[2] == 2  # <s></s>
    assert encoded.token_counts[5] > 300
    assert encoded.truncated.tolist() == [False, False, False, False, False, True, False]
    assert encoder.token_counts(MIXED).tolist() == encoded.token_counts.tolist()


def test_the_numeric_mode_names_device_dtype_backend_pooling_and_length(checkpoint: Path, encoder: Encoder) -> None:
    assert encoder.numeric_mode == "cpu-fp32-packed-mean-64"
    assert Encoder.load(checkpoint, device="cpu", pooling="cls", max_length=16).numeric_mode == "cpu-fp32-packed-cls-16"
    assert Encoder.load(checkpoint, device="cpu", max_length=4096).max_length == 64


def test_lone_surrogates_are_replaced(encoder: Encoder) -> None:
    vectors = encoder.encode(["bad \ud800 text", "bad \ufffd text", "\ud83d\ude00", "😀"]).vectors
    assert (vectors[0] == vectors[1]).all()
    assert (vectors[2] == vectors[3]).all()


@pytest.mark.parametrize("text", ["where is my order? " * 280_000, "x" * 5_000_000], ids=["words", "one word"])
def test_a_text_of_5_mb_is_embedded_and_counted(encoder: Encoder, text: str) -> None:
    encoded = encoder.encode([text, "hi"])
    assert encoded.truncated.tolist() == [True, False]
    assert encoded.finite.all()
    assert encoded.token_counts[0] > 1000


def test_counting_in_pieces_is_exact_for_words(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "where is my order? it was due on Monday and I was charged twice. " * 700
    whole = encoder.token_counts([text])[0]
    monkeypatch.setattr("monitor.embed.tokenising.PIECE_CHARACTERS", 5000)
    assert encoder.token_counts([text])[0] == whole


def test_no_texts_give_no_rows(encoder: Encoder) -> None:
    assert encoder.encode([]).vectors.shape == (0, encoder.dimension)
    assert encoder.predict([])[1].shape == (0, 3)


def test_predictions_are_probabilities_over_the_labels(encoder: Encoder) -> None:
    labels, probabilities = encoder.predict(MIXED)
    assert set(labels) <= {"billing", "login", "shipping"}
    assert probabilities.sum(axis=1) == pytest.approx(1.0)


def test_a_pair_is_not_its_first_text(encoder: Encoder) -> None:
    encoded = encoder.encode(["hi", "hi"], [None, "there"])
    assert not np.allclose(encoded.vectors[0], encoded.vectors[1])
    assert encoded.token_counts[1] > encoded.token_counts[0]


def test_the_tokenizer_digest_follows_the_tokenizer_files(checkpoint: Path, copied: Path, encoder: Encoder) -> None:
    assert Encoder.load(copied, device="cpu").tokenizer_digest == encoder.tokenizer_digest
    path = copied / "tokenizer.json"
    found = json.loads(path.read_text())
    found["model"]["merges"] = found["model"]["merges"][:10]
    path.write_text(json.dumps(found))
    assert Encoder.load(copied, device="cpu").tokenizer_digest != encoder.tokenizer_digest


def test_non_finite_rows_are_flagged(copied: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    weights["roberta.encoder.layer.0.output.LayerNorm.bias"][0] = float("nan")
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    assert not Encoder.load(copied, device="cpu").encode(["hi"]).finite.any()


def test_a_checkpoint_without_a_head_embeds_and_refuses_to_predict(tiny, tmp_path: Path, encoder: Encoder) -> None:
    model, tokenizer = tiny
    model.base_model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    bare = Encoder.load(tmp_path, device="cpu")
    assert cosine(bare.encode(["hi"]).vectors[0], encoder.encode(["hi"]).vectors[0]) > 0.99999
    assert not bare.has_head
    with pytest.raises(EmbeddingError, match="no classification head"):
        bare.predict(["hi"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", None),
        ("config.json", b"{"),
        ("config.json", b'{"model_type": "bert"}'),
        ("config.json", b'{"model_type": "roberta", "pad_token_id": -1}'),
        ("config.json", b'{"model_type": "roberta", "id2label": {"0": "a", "5": "b"}}'),
        ("tokenizer_config.json", b'{"model_max_length": "x"}'),
        ("model.safetensors", None),
        ("model.safetensors", b"garbage"),
        ("tokenizer.json", None),
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"\xff"),
        ("pytorch_model.bin", b"x"),
    ],
)
def test_a_broken_checkpoint_is_one_line_naming_folder_and_file(copied: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (copied / name).unlink()
    else:
        (copied / name).write_bytes(content)
    with pytest.raises(EmbeddingError) as caught:
        Encoder.load(copied, device="cpu")
    message = str(caught.value)
    assert str(copied) in message
    assert name in message
    assert "\n" not in message


def test_weights_cut_short_are_refused(copied: Path) -> None:
    path = copied / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EmbeddingError, match=r"model\.safetensors"):
        Encoder.load(copied, device="cpu")


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(copied: Path, tiny) -> None:
    from monitor.demo.training import train_tokenizer

    train_tokenizer(
        ["antidisestablishmentarianism is a word " + str(i) for i in range(99)], vocabulary_size=500
    ).save_pretrained(copied)
    with pytest.raises(EmbeddingError, match="token id"):
        Encoder.load(copied, device="cpu")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match="nowhere"):
        Encoder.load(tmp_path / "nowhere")
