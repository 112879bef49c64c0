"""`serve` and `run` as an operator uses them: signals, leases and exit codes."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from monitor import store

pytest.importorskip("mlflow", reason="needs the registry extra")

POLICY = '[models."intents"]\nalias = "champion"\n'


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "driftwarden.toml").write_text(POLICY)
    engine = store.open_engine(f"sqlite:///{tmp_path}/driftwarden.db")
    store.upgrade_schema(engine)
    engine.dispose()
    return {
        **os.environ,
        "DRIFTWARDEN_DATABASE_URL": f"sqlite:///{tmp_path}/driftwarden.db",
        "DRIFTWARDEN_POLICY_FILE": str(tmp_path / "driftwarden.toml"),
        "DRIFTWARDEN_MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "DRIFTWARDEN_CACHE_DIR": str(tmp_path / "cache"),
    }


def run(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monitor", "run"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_sigterm_ends_the_service_and_gives_the_lease_back(environment: dict[str, str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "monitor", "serve", "--port", str(port)]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as service:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5) as answer:
                    assert answer.status == 200
                break
            except OSError:
                assert service.poll() is None, service.communicate()
        service.send_signal(signal.SIGTERM)
        _, told = service.communicate(timeout=120)
    assert service.returncode == 0, told
    assert "Traceback" not in told
    engine = store.open_engine(environment["DRIFTWARDEN_DATABASE_URL"])
    with engine.connect() as connection:
        (until,) = connection.execute(text("SELECT expires_at FROM leases")).one()
    engine.dispose()
    assert datetime.fromisoformat(until).replace(tzinfo=UTC) <= datetime.now(UTC)


def test_a_run_that_fails_says_why_and_ends_with_1(environment: dict[str, str]) -> None:
    done = run(environment)
    assert done.returncode == 1
    assert "1 run(s) recorded, 1 failed" in done.stdout
    assert "intents@champion" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_beside_a_leader_says_so_and_ends_with_75(environment: dict[str, str]) -> None:
    engine = store.open_engine(environment["DRIFTWARDEN_DATABASE_URL"])
    with store.writing(engine) as session:
        now = datetime.now(UTC)
        store.take_lease(session, name="scheduler", holder="other", now=now, ttl=timedelta(hours=1))
    engine.dispose()
    done = run(environment)
    assert (done.returncode, done.stderr.strip()) == (75, "driftwarden: another replica leads and runs the jobs")
