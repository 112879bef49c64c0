"""`serve` and `run` as an operator uses them: signals, leases and exit codes."""

import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from monitor import store
from monitor.commands.listening import address_of, listen, serve_until_signalled
from monitor.errors import DriftwardenError, InputError

pytest.importorskip("mlflow", reason="needs the registry extra")

POLICY = '[models."intents"]\nalias = "champion"\n'


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "driftwarden.toml").write_text(POLICY)
    (tmp_path / "mlflow.db").touch()  # MLflow fills an empty file
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


def run(environment: dict[str, str], name: str = "run") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monitor", name]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def leases(environment: dict[str, str]) -> list[str]:
    engine = store.open_engine(environment["DRIFTWARDEN_DATABASE_URL"])
    with engine.connect() as connection:
        found = [row[0] for row in connection.execute(text("SELECT expires_at FROM leases"))]
    engine.dispose()
    return found


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_the_service_with_its_code_and_gives_the_lease_back(
    environment: dict[str, str], sent: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-u", "-m", "monitor", "serve", "--port", "0"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as service:
        assert service.stdout is not None
        said = service.stdout.readline()
        address = said.removeprefix("serving on ").split(",")[0]
        assert httpx.get(f"{address}/-/ready", timeout=240).status_code == 200  # waits until the service answers
        service.send_signal(sent)
        _, told = service.communicate(timeout=120)
    assert service.returncode == code, told
    assert "Traceback" not in told
    (until,) = leases(environment)
    assert datetime.fromisoformat(until).replace(tzinfo=UTC) <= datetime.now(UTC)


def test_a_taken_port_is_an_input_error_before_anything_starts(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run({**environment, "DRIFTWARDEN_PORT": str(port)}, "serve")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"driftwarden: cannot listen on 127.0.0.1:{port} (Address already in use); "
        "choose another with --port or DRIFTWARDEN_PORT\n"
    )
    assert leases(environment) == []


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_an_input_error(host: str) -> None:
    with pytest.raises(InputError, match=rf"cannot listen on {host}:8000 \("):
        listen(host, 8000)


def test_an_ipv6_address_is_shown_in_brackets() -> None:
    try:
        listening = listen("::1", 0)
    except InputError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with listening:
        assert address_of(listening) == f"http://[::1]:{listening.getsockname()[1]}"


def test_an_app_that_cannot_start_is_a_failure_and_not_drift() -> None:
    async def broken(scope: dict, receive: object, send: object) -> None:
        assert scope["type"] == "lifespan"
        raise RuntimeError("no")

    with listen("127.0.0.1", 0) as listening, pytest.raises(DriftwardenError, match="did not start") as caught:
        serve_until_signalled(broken, listening)
    assert caught.value.exit_code == 1


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
