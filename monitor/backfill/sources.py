"""Find Parquet files behind paths, folders, globs and URIs, and open them again anywhere."""

import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs as arrow_fs

from monitor.errors import DriftwardenError, InputError, TryAgainLater

SUFFIX = ".parquet"
_URI = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_PASSWORD = re.compile(r"://[^/?#@\s]*:[^/?#@\s]*@")
_SECRET_OPTION = re.compile(r"((?:^|&)[^=&]*(?:key|secret|token|password|sig|credential)[^=&]*=)[^&]*", re.IGNORECASE)
# how the object stores' own failures begin; any other OSError without a number is the file's fault
_STORE_FAILURES = ("AWS Error", "google::cloud", "Google Cloud", "Curl")
# what no second try mends: the codes of S3 and Google Cloud, and how drivers name their exceptions
_LASTING_CODE = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|NO_SUCH_(BUCKET|KEY)|RESOURCE_NOT_FOUND"
    r"|PERMISSION_DENIED|UNAUTHENTICATED|\bNOT_FOUND|HTTP status 40[134]"
)
_LASTING_NAME = re.compile(
    r"auth|credential|permission|denied|forbidden|not_?found|nosuch|error_perm|directory|exists", re.IGNORECASE
)
_LASTING_STATUS = {400, 401, 403, 404}
GCS_RETRY_SECONDS = 30  # pyarrow's own default is 15 minutes without a word


@dataclass(frozen=True, slots=True)
class Source:
    """A Parquet file: its absolute path or URI, and its size and time of change, which tell when it was rewritten."""

    uri: str
    size_bytes: int
    modified_ns: int

    @property
    def name(self) -> str:
        """The URI without its secrets, for messages."""
        return public(self.uri)

    @property
    def written(self) -> str:
        """What another writing of the file changes."""
        return f"{self.size_bytes}-{self.modified_ns}"


def find_sources(inputs: Sequence[str]) -> list[Source]:
    """Return the Parquet files of all inputs by name, each once.

    Raises InputError for an input without any or a storage that cannot be opened, TryAgainLater when it is silent.
    """
    found: dict[str, Source] = {}
    for given in inputs:
        with storage_told(given):
            sources = _remote(given) if is_uri(given) else _local(given)
        _require_unicode(given, *(source.uri for source in sources))
        if not sources:
            raise InputError(f"{public(given)}: no {SUFFIX} file there")
        found |= {source.uri: source for source in sources}
    return [found[uri] for uri in sorted(found)]


def is_uri(given: str) -> bool:
    """Whether an input names a storage, such as s3://bucket/folder."""
    return _URI.match(given) is not None


def public(uri: str) -> str:
    """Return a URI without its password and the values of options that name a secret; a path as it is.

    >>> public("s3://id:secret@bucket/x?region=eu&session_token=abc")
    's3://***@bucket/x?region=eu&session_token=***'
    """
    if not is_uri(uri):
        return uri
    address, mark, options = uri.partition("?")
    return _PASSWORD.sub("://***@", address, count=1) + mark + _SECRET_OPTION.sub(r"\1***", options)


def _require_unicode(*paths: str) -> None:
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError:
            raise InputError(f"{path!a} is no UTF-8; rename it, so that the database can hold its name") from None


def absolute(given: str) -> str:
    """Return an input in the form that means the same from every folder."""
    return given if is_uri(given) else str(Path(given).expanduser().absolute())


def open_filesystem(uri: str) -> tuple[Any, str]:
    """Return pyarrow's filesystem of a path or URI and the path in it.

    s3:// and gs:// are pyarrow's own; any other is fsspec's. Raises InputError naming what is not installed.
    """
    if not is_uri(uri):
        return arrow_fs.LocalFileSystem(), uri
    try:
        filesystem, path = arrow_fs.FileSystem.from_uri(_bounded(uri))
    except pa.ArrowNotImplementedError:
        return _by_fsspec(uri)
    except (pa.ArrowInvalid, ValueError) as error:
        if "Unrecognized filesystem" not in str(error):
            raise InputError(f"{public(uri)}: {_one_line(error)}") from None
        return _by_fsspec(uri)
    except OSError as error:  # libhdfs that is not there
        raise read_failed(uri, error) from None
    return filesystem, str(path)


def _bounded(uri: str) -> str:
    """Return a URI of Google Cloud Storage with a limit on how long a request is tried again, unless it has one."""
    if not uri.lower().startswith(("gs://", "gcs://")) or "retry_limit_seconds=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={GCS_RETRY_SECONDS}"


def _by_fsspec(uri: str) -> tuple[Any, str]:
    remedy = "pip install 'driftwarden[cloud]' and fsspec's package for this storage"
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise InputError(f"{public(uri)}: fsspec is not installed; {remedy}") from None
    try:
        filesystem, path = url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise InputError(f"{public(uri)}: {_one_line(error)}; {remedy}") from None
    except OSError as error:
        raise read_failed(uri, error) from None
    return arrow_fs.PyFileSystem(arrow_fs.FSSpecHandler(filesystem)), path


def _local(given: str) -> list[Source]:
    path = Path(absolute(given))
    if path.is_file():
        return [_source_of(path)]
    if path.is_dir():
        paths: Iterable[Path] = (
            one for one in path.rglob(f"*{SUFFIX}") if _is_shown(str(one.relative_to(path))) and one.is_file()
        )
    elif glob.has_magic(given):
        paths = (Path(one) for one in glob.glob(str(path), recursive=True) if one.endswith(SUFFIX))  # noqa: PTH207 an absolute pattern
    else:
        raise InputError(f"{given}: no such file or folder")
    return [_source_of(one) for one in paths]


def is_as_written(uri: str, written: str) -> bool:
    """Whether a local file is still the one that was found; a storage's file is taken to be."""
    try:
        return is_uri(uri) or _source_of(Path(uri)).written == written
    except FileNotFoundError:
        return False


def _source_of(path: Path) -> Source:
    status = path.stat()
    return Source(str(path), status.st_size, status.st_mtime_ns)


def _is_shown(relative: str) -> bool:
    # _temporary and _SUCCESS are what unfinished Spark jobs leave
    return not any(part.startswith(("_", ".")) for part in relative.split("/"))


def _remote(given: str) -> list[Source]:
    address, _, query = given.partition("?")
    scheme, _, path = address.partition("://")
    pattern = "*" in path or "[" in path
    base = re.split(r"[*\[]", path, maxsplit=1)[0].rpartition("/")[0] if pattern else path
    options = f"?{query}" if query else ""
    filesystem, root = open_filesystem(f"{scheme}://{base}{options}")
    (info,) = filesystem.get_file_info([root])
    if info.type == arrow_fs.FileType.File:
        return [_described(f"{scheme}://{path}{options}", info)]
    if info.type == arrow_fs.FileType.NotFound:
        raise InputError(f"{public(given)}: no such file or folder")
    listed = filesystem.get_file_info(arrow_fs.FileSelector(root, recursive=True))
    inside = {one.path.removeprefix(root).lstrip("/"): one for one in listed if one.type == arrow_fs.FileType.File}
    wanted = _matcher(path.removeprefix(base).lstrip("/")) if pattern else re.compile(r".*")
    return [
        _described(f"{scheme}://{base.rstrip('/')}/{name}{options}", one)
        for name, one in inside.items()
        if name.endswith(SUFFIX) and wanted.fullmatch(name) and (pattern or _is_shown(name))
    ]


def _described(uri: str, info: Any) -> Source:
    return Source(uri, int(info.size or 0), int(info.mtime_ns or 0))


def _matcher(pattern: str) -> re.Pattern[str]:
    """Return a regular expression of a glob in which * stays in its folder and **/ goes through all of them."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]*\])", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(
        "".join(
            meaning.get(part) or (part.replace("[!", "[^") if part.startswith("[") else re.escape(part))
            for part in parts
        )
    )


@contextmanager
def storage_told(uri: str) -> Iterator[None]:
    """Tell what reading from a storage raises in one line.

    fsspec's drivers raise classes of their own, so of a URI all are told. Raises InputError, or TryAgainLater where a
    second try may mend it; errors of ours go through.
    """
    try:
        yield
    except DriftwardenError:
        raise
    except OSError as error:
        raise read_failed(uri, error) from None
    except Exception as error:
        if not is_uri(uri):
            raise
        raise read_failed(uri, error) from None


def read_failed(uri: str, error: Exception) -> InputError | TryAgainLater:
    """Return what to tell of a read that failed: a storage that does not answer is for later."""
    said = f"{public(uri)}: {getattr(error, 'strerror', None) or _one_line(error) or type(error).__name__}"
    return TryAgainLater(f"{said}; run the same command again to go on") if is_passing(error) else InputError(said)


def is_passing(error: Exception) -> bool:
    """Whether a failed read may go well later."""
    return is_of_storage(error) and not (
        _LASTING_CODE.search(str(error))
        or _LASTING_NAME.search(type(error).__name__)
        or _LASTING_STATUS & {getattr(error, name, None) for name in ("status", "status_code", "code")}
    )


def is_of_storage(error: Exception) -> bool:
    """Whether a storage or the way to it failed, not a file: of those pyarrow tells by its own or a bare OSError."""
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    if isinstance(error, OSError) and (error.errno is not None or type(error) is OSError):
        return any(one in str(error) for one in _STORE_FAILURES)
    return not isinstance(error, pa.ArrowException)


def _one_line(error: Exception) -> str:
    return " ".join(_PASSWORD.sub("://***@", str(error)).split())[:200]
