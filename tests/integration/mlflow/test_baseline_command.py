"""`driftwarden baseline` against a real registry: what it pins, and what it refuses."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mlflow", reason="needs the registry extra")
pytest.importorskip("transformers", reason="needs the models extra")

from monitor import cli, store
from monitor.errors import InputError
from monitor.models import RegistryModels
from monitor.policy import DEFAULTS
from registry.client import Registry
from registry.model import ModelRef, ResolvedModel

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:::mlflow"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

Command = Callable[..., int]
WORDS = ["order", "parcel", "refund", "password", "invoice", "late", "please", "where"]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "cache")


@pytest.fixture
def registered(registry: Registry, tiny: tuple[Any, Any]) -> ResolvedModel:
    return registry.register_checkpoint(*tiny, name="intents", alias="champion", tags={})


@pytest.fixture
def weights(registered: ResolvedModel, tmp_path: Path) -> Path:
    return next((tmp_path / "artifacts").rglob("model.safetensors"))


@pytest.fixture
def baseline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, registered: ResolvedModel) -> Command:
    monkeypatch.setenv("DRIFTWARDEN_DATABASE_URL", f"sqlite:///{tmp_path}/driftwarden.db")
    monkeypatch.setenv("DRIFTWARDEN_MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("DRIFTWARDEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)  # where no policy file lies
    engine = store.open_engine(f"sqlite:///{tmp_path}/driftwarden.db")
    store.upgrade_schema(engine)
    engine.dispose()
    rng = np.random.default_rng(0)
    texts = [{"id": i, "text": " ".join(rng.choice(WORDS, size=5))} for i in range(200)]
    reference = tmp_path / "reference.jsonl"
    reference.write_text("".join(json.dumps(one) + "\n" for one in texts), encoding="utf-8")

    def run(*options: str, file: Path = reference) -> int:
        arguments = ["driftwarden", "baseline", "intents@champion", "--reference", str(file), "--json", *options]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    return run


def test_rows_that_a_join_has_doubled_count_once_and_copies_are_warned_about(
    baseline: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": i, "text": f"where is order {i}"} for i in range(120)]
    joined, copied = tmp_path / "joined.jsonl", tmp_path / "copied.jsonl"
    joined.write_text("".join(json.dumps(row) + "\n" for row in rows * 2), encoding="utf-8")
    copied.write_text("".join(json.dumps({"text": row["text"]}) + "\n" for row in rows * 2), encoding="utf-8")
    assert baseline(file=joined) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [answer[name] for name in ("texts", "distinct_texts", "repeated_ids")] == [120, 120, 120]
    assert "120 rows repeat the id" in answer["warnings"][0]
    assert baseline(file=copied) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [answer[name] for name in ("texts", "distinct_texts", "repeated_ids")] == [240, 120, 0]
    assert "240 of 240 rows have exactly the text of another row (120 distinct" in answer["warnings"][0]


def overwrite(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x00\x00\x80\x3f")


def test_an_overwritten_version_is_refused_until_its_new_digest_is_accepted(
    baseline: Command,
    registry: Registry,
    registered: ResolvedModel,
    weights: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert baseline() == 0
    overwrite(weights)
    capsys.readouterr()
    assert baseline() == 2
    said = capsys.readouterr().err.strip()
    changed = registry.resolve(ModelRef("intents", version="1"))
    assert registered.model_digest in said
    assert changed.model_digest in said
    assert len(said.splitlines()) == 1
    assert registry.resolve(ModelRef("intents", version="1")).pinned_digest == registered.model_digest
    assert baseline("--accept-new-digest") == 0
    assert registry.resolve(ModelRef("intents", version="1")).pinned_digest == changed.model_digest
    assert baseline() == 0


def test_a_version_without_a_tag_is_pinned_by_the_store(
    baseline: Command,
    registry: Registry,
    registered: ResolvedModel,
    weights: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry._client.delete_model_version_tag("intents", "1", "driftwarden.model_digest")
    assert baseline() == 0
    overwrite(weights)
    assert baseline() == 2
    assert registered.model_digest in capsys.readouterr().err
    assert baseline("--accept-new-digest") == 0


def test_a_model_whose_digest_is_not_its_tag_does_not_embed(
    registry: Registry, registered: ResolvedModel, weights: Path
) -> None:
    models = RegistryModels(registry, device="cpu")
    assert models.load("intents", "1", DEFAULTS).model_digest == registered.model_digest
    overwrite(weights)
    with pytest.raises(InputError, match=registered.model_digest):
        models.load("intents", "1", DEFAULTS)


def test_a_policy_that_asks_for_a_run_length_is_told_when_the_reference_cannot_calibrate_it(
    baseline: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = '[models.intents]\nalias = "champion"\n[models.intents.drift]\ncalibration = "run_length"\n'
    (tmp_path / "driftwarden.toml").write_text(policy, encoding="utf-8")
    assert baseline() == 0
    answer = json.loads(capsys.readouterr().out)
    said = "run lengths are calibrated as if windows were independent: the reference has no timestamps"
    assert answer["warnings"][-1].endswith(said)


def test_files_are_backfilled_under_the_baseline_and_a_backfill_becomes_one(
    baseline: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def driftwarden(*arguments: str) -> int:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["driftwarden", *arguments, "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    rng = np.random.default_rng(1)
    for name, words, count in (("calm", WORDS, 200), ("moved", ["BITCOIN", "WALLET"], 200), ("before", WORDS, 400)):
        texts = [" ".join(rng.choice(words, size=5)) for _ in range(count)]
        pq.write_table(pa.table({"text": texts}), tmp_path / f"{name}.parquet")
    assert baseline() == 0
    digest = json.loads(capsys.readouterr().out)["digest"]
    model = ("--model", "intents@champion")
    for name, drift in (("calm", 0), ("moved", 3)):
        assert driftwarden("backfill", *model, "--input", f"{name}.parquet", "--out", f"{name}.sketch") == 0
        answer = json.loads(capsys.readouterr().out)
        assert (answer["baseline"], answer["version"], answer["counts"]["fitted"]) == (digest, "1", 0)
        assert driftwarden("compare", "--current", f"{name}.sketch") == drift
    new = ("--basis", "new", "--input", "before.parquet", "--out", "before.sketch")
    assert driftwarden("backfill", *model, *new) == 0
    assert driftwarden("baseline", "intents@champion", "--reference", "calm.sketch") == 2
    assert "was folded for another" in capsys.readouterr().err
    assert driftwarden("baseline", "intents@champion", "--reference", "before.sketch") == 0
    built = json.loads(capsys.readouterr().out)
    assert (built["texts"], built["held_out"]) == (400, 200)
    assert driftwarden("backfill", *model, "--input", "calm.parquet", "--out", "calm.sketch") == 0
    assert json.loads(capsys.readouterr().out)["baseline"] == built["digest"]
