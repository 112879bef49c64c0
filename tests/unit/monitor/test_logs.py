"""Logs go where stderr is when a line is written."""

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from monitor.logs import configure_logs


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_line_is_json_on_the_stderr_of_its_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.stderr", before)
    configure_logs()
    monkeypatch.setattr("sys.stderr", now)
    before.close()
    structlog.get_logger().info("run_recorded", drift=False)
    line = json.loads(now.getvalue())
    assert (line["event"], line["level"], line["drift"]) == ("run_recorded", "info", False)
