import os
import socket
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("pandas")
pytestmark = pytest.mark.skipif(find_spec("evidently") is None, reason="evidently is not installed")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **_: object) -> None:
        pytest.fail(f"the network was asked for {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def rows(texts: list[str], **columns: object) -> list[dict[str, object]]:
    return [{"text": text, **columns} for text in texts]


def test_the_page_is_written_offline_with_every_known_column(tmp_path: Path, no_network: None) -> None:
    from reports.evidently_page import write_evidently_page

    reference = rows(["where is my card?", "open hours. please", ""] * 10, prediction="card", confidence=0.9)
    current = rows(["esim <script>alert(1)</script>"] * 20, prediction="sim", confidence=0.4)
    path = write_evidently_page(reference, current, tmp_path / "texts.html")
    page = path.read_text(encoding="utf-8")
    assert path == tmp_path / "texts.html"
    for column in ("text", "prediction", "confidence", "characters per text", "words per text", "sentences per text"):
        assert column in page
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert "<script>alert(1)" not in page


def test_texts_alone_are_enough(tmp_path: Path, no_network: None) -> None:
    from reports.evidently_page import write_evidently_page

    path = write_evidently_page(rows(["a b"] * 5), rows(["c d e"] * 5, prediction="x"), tmp_path / "texts.html")
    assert "characters per text" in path.read_text(encoding="utf-8")


def test_a_side_without_texts_is_refused(tmp_path: Path) -> None:
    from reports.errors import ReportInputError
    from reports.evidently_page import write_evidently_page

    with pytest.raises(ReportInputError, match="0 current rows"):
        write_evidently_page(rows(["a"]), [], tmp_path / "texts.html")
    with pytest.raises(ReportInputError, match="reference rows"):
        write_evidently_page([{"prediction": "x"}], rows(["a"]), tmp_path / "texts.html")
    assert not list(tmp_path.iterdir())
