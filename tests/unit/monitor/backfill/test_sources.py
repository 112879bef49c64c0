"""Finding Parquet files: folders, globs, URIs, and one line for what is not there."""

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from monitor.backfill import sources
from monitor.backfill.sources import find_sources, is_passing, public
from monitor.errors import InputError, TryAgainLater


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/2.parquet", "a/1.parquet", "a/notes.txt", "_temporary/0.parquet", "a/.hidden.parquet"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def names(folder: Path, *inputs: str) -> list[str]:
    return [source.uri.removeprefix(f"{folder}/") for source in find_sources(inputs)]


def test_a_folder_gives_its_parquet_files_by_name_without_what_spark_left_behind(folder: Path) -> None:
    assert names(folder, str(folder)) == ["a/1.parquet", "b/2.parquet"]


def test_a_glob_stays_in_its_folder_and_overlapping_inputs_count_once(folder: Path) -> None:
    assert names(folder, f"{folder}/a/*.parquet") == ["a/1.parquet"]
    assert names(folder, f"{folder}/*/2*.parquet", f"{folder}/b", f"{folder}/a/1.parquet") == [
        "a/1.parquet",
        "b/2.parquet",
    ]


def test_a_relative_path_is_the_same_file_as_its_absolute_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert find_sources(["a"]) == find_sources([str(folder / "a")])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nowhere", "nowhere: no such file or folder"),
        ("*.csv", "no .parquet file there"),
        ("nostorage://bucket/x", "nostorage"),
        ("file:///nowhere-at-all", "no such file or folder"),
    ],
)
def test_an_input_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said.replace("*", r"\*")):
        find_sources([given])


def test_a_storage_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec", reason="needs the cloud extra")
    monkeypatch.setitem(sys.modules, "ocifs", None)
    with pytest.raises(InputError, match=r"ocifs.*pip install 'driftwarden\[cloud\]'"):
        find_sources(["oci://bucket@place/x"])
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(InputError, match=r"fsspec is not installed; pip install 'driftwarden\[cloud\]'"):
        find_sources(["oci://bucket@place/x"])


@pytest.mark.parametrize("given", ["s3://bucket/x?region=eu-west-1&endpoint_override=127.0.0.1:9&scheme=http"])
def test_an_object_store_that_does_not_answer_is_for_later(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    with pytest.raises(TryAgainLater, match="run the same command again"):
        find_sources([given])


def test_google_cloud_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "GCS_RETRY_SECONDS", 1)
    started = time.monotonic()
    with pytest.raises(
        TryAgainLater, match=r"gs://anonymous@bucket/x\?scheme=http.*run the same command again"
    ) as told:
        find_sources(["gs://anonymous@bucket/x?scheme=http&endpoint_override=127.0.0.1:9"])
    assert time.monotonic() - started < 20
    assert "\n" not in str(told.value)
    assert "retry_limit" not in str(told.value).partition(": ")[0]


@contextmanager
def ftp_server(answer: str) -> Iterator[int]:
    """A server that greets and answers everything with one line."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"220 hello\r\n")
                while connection.recv(1000):
                    connection.sendall(f"{answer}\r\n".encode())

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield server.getsockname()[1]
        serving.join(10)


@pytest.mark.parametrize(
    ("answer", "kind"), [("530 Login incorrect", InputError), ("421 Too many connections", TryAgainLater)]
)
def test_what_a_driver_of_fsspec_raises_is_told_in_one_line(answer: str, kind: type[Exception]) -> None:
    pytest.importorskip("fsspec", reason="needs the cloud extra")
    with ftp_server(answer) as port, pytest.raises(kind, match=rf"^ftp://127.0.0.1:{port}/x: {answer}") as told:
        find_sources([f"ftp://127.0.0.1:{port}/x"])
    assert "\n" not in str(told.value)


class Answered(Exception):
    """What drivers over HTTP raise: a class of their own, with the answer's status."""

    def __init__(self, status: int) -> None:
        super().__init__("the service says no")
        self.status = status


class CredentialsMissing(Exception):
    """Likewise, told apart by its name alone."""


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (Answered(503), True),
        (Answered(403), False),
        (CredentialsMissing(), False),
        (OSError("When getting information for key 'x': AWS Error NETWORK_CONNECTION during HeadObject"), True),
        (OSError("When getting information for key 'x': AWS Error ACCESS_DENIED during HeadObject"), False),
        (OSError("google::cloud::Status(PERMISSION_DENIED: no access)"), False),
        (OSError("Corrupt snappy compressed data."), False),
        (FileNotFoundError("bucket/x"), False),
        (FileNotFoundError(2, "No such file or directory"), False),
        (TimeoutError(), True),
    ],
)
def test_only_what_a_second_try_may_mend_is_for_later(error: Exception, passing: bool) -> None:
    assert is_passing(error) is passing


def test_uris_are_listed_by_folder_and_by_glob() -> None:
    fsspec = pytest.importorskip("fsspec", reason="needs the cloud extra")
    memory = fsspec.filesystem("memory")
    for name in ("day=1/a.parquet", "day=1/_SUCCESS", "day=2/b.parquet", "c.parquet"):
        memory.pipe(f"/logs/{name}", b"x")
    try:
        every = ["memory://logs/c.parquet", "memory://logs/day=1/a.parquet", "memory://logs/day=2/b.parquet"]
        assert [one.uri for one in find_sources(["memory://logs"])] == every
        assert [one.uri for one in find_sources(["memory://logs/*/*.parquet"])] == every[1:]
        assert [one.uri for one in find_sources(["memory://logs/**/*.parquet"])] == every
        assert [one.uri for one in find_sources(["memory://logs/c.parquet"])] == every[:1]
    finally:
        memory.rm("/logs", recursive=True)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("s3://id:hush@bucket/x?region=eu&secret_key=hush", "s3://***@bucket/x?region=eu&secret_key=***"),
        ("abfs://container@account/x?sig=hush", "abfs://container@account/x?sig=***"),
        ("s3://host:9000/a:b@c/x&key=1", "s3://host:9000/a:b@c/x&key=1"),
        ("/logs/a:b@c/x?key=1", "/logs/a:b@c/x?key=1"),
    ],
)
def test_secrets_of_a_uri_are_left_out_and_nothing_else(given: str, shown: str) -> None:
    assert public(given) == shown


@pytest.mark.parametrize(
    "given",
    [
        "nostorage://id:hush@bucket/x",
        "s3://id:hush@bucket:port/x",
        "ftp://id:hush@127.0.0.1:1/x",
        "s3://id:hush@bucket/x?region=eu&endpoint_override=127.0.0.1:9&scheme=http",
        "file://id:hush@nowhere/x",
    ],
)
def test_no_error_tells_a_password(given: str) -> None:
    with pytest.raises((InputError, TryAgainLater)) as caught:
        find_sources([given])
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("given", ["x" * 300, "hdfs://nowhere:1/x"])
def test_a_path_or_storage_that_the_system_refuses_is_named(given: str) -> None:
    with pytest.raises(InputError, match=given):
        find_sources([given])


def test_a_name_that_no_database_can_hold_is_refused(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.parquet")).write_bytes(b"x")
    with pytest.raises(InputError, match=r"udcff.parquet' is no UTF-8"):
        find_sources([str(tmp_path)])
