"""Services for the tests: SQLite always, PostgreSQL from Debian's packages where they are installed."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from monitor import store


def _missing_service(what: str) -> None:
    if os.environ.get("DRIFTWARDEN_REQUIRE_SERVICES"):
        pytest.fail(f"{what} is required here and missing")
    pytest.skip(f"{what} is not installed")


@pytest.fixture(scope="session")
def missing_service() -> Callable[[str], None]:
    """Skip for want of a service, or fail where services are required."""
    return _missing_service


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DRIFTWARDEN_") and name != "DRIFTWARDEN_REQUIRE_SERVICES":
            monkeypatch.delenv(name)


def _as_postgres(*command: str) -> list[str]:
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server on loopback, without durability: its databases live as long as the tests."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    binaries = found[-1].parent if found else None
    if binaries is None and (on_path := shutil.which("initdb")):
        binaries = Path(on_path).parent
    if binaries is None:
        _missing_service("PostgreSQL")
        raise AssertionError
    # not below pytest's own folder: that is closed to the user the server runs as
    folder = Path(tempfile.mkdtemp(prefix="driftwarden-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    cluster = folder / "cluster"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    subprocess.run(
        _as_postgres(str(binaries / "initdb"), "-D", str(cluster), "-U", "driftwarden", "-A", "trust", "-E", "UTF8"),
        check=True,
        capture_output=True,
        cwd="/",
    )
    options = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    control = str(binaries / "pg_ctl")
    subprocess.run(
        _as_postgres(control, "-D", str(cluster), "-w", "-l", str(folder / "log"), "-o", options, "start"),
        check=True,
        capture_output=True,
        cwd="/",
    )
    try:
        yield f"postgresql://driftwarden@127.0.0.1:{port}"
    finally:
        subprocess.run(
            _as_postgres(control, "-D", str(cluster), "-m", "immediate", "stop"),
            check=True,
            capture_output=True,
            cwd="/",
        )
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> str:
    """A database at the current schema, to be copied."""
    _administer(postgres_url, "CREATE DATABASE prepared")
    engine = store.open_engine(f"{postgres_url}/prepared")
    store.upgrade_schema(engine)
    engine.dispose()
    return "prepared"


def _administer(url: str, statement: str) -> None:
    engine = create_engine(
        f"{url}/postgres".replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database at the current schema, once of each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/driftwarden.db"
        engine = store.open_engine(url)
        store.upgrade_schema(engine)
        engine.dispose()
        return url
    server = request.getfixturevalue("postgres_url")
    template = request.getfixturevalue("postgres_template")
    name = f"t{abs(hash(request.node.nodeid))}"
    _administer(server, f"DROP DATABASE IF EXISTS {name}")
    _administer(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    return f"{server}/{name}"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = store.open_engine(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    opened = store.open_engine(f"sqlite:///{tmp_path}/driftwarden.db")
    store.upgrade_schema(opened)
    yield opened
    opened.dispose()
