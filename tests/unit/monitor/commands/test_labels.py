"""`driftwarden labels`: files of labels into the store."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor import store
from monitor.cli import app


@pytest.fixture(autouse=True)
def _local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/driftwarden.db"
    engine = store.open_engine(url)
    store.upgrade_schema(engine)
    engine.dispose()
    monkeypatch.setenv("DRIFTWARDEN_DATABASE_URL", url)
    monkeypatch.chdir(tmp_path)


def test_labels_and_their_corrections_are_taken_once_and_bad_rows_are_told(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "id,model,label\ne1,intents,billing\ne1,intents,login\n,intents,login\n", encoding="utf-8"
    )
    first = CliRunner().invoke(app, ["labels", "labels.csv", "--json"])
    again = CliRunner().invoke(app, ["labels", "labels.csv", "--json"])
    assert json.loads(first.stdout) == {"accepted": 2, "duplicate": 0, "sampled_out": 0, "rejected": 1}
    assert json.loads(again.stdout) == {"accepted": 0, "duplicate": 2, "sampled_out": 0, "rejected": 1}
