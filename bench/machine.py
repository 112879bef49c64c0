"""What a benchmark ran on, where it writes its result, and a PostgreSQL of its own."""

import json
import os
import platform
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def describe() -> dict[str, object]:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "cpu": names[0].partition(":")[2].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory.split()[1]) / 2**20, 1),
        "python": platform.python_version(),
        "driftwarden": _version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _version() -> str:
    try:
        return version("driftwarden")
    except PackageNotFoundError:  # an environment made for the peers
        return "from its source tree"


def write(name: str, result: dict[str, object]) -> None:
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"benchmark": name, "machine": describe(), **result}, indent=2) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    print(text)


def put(page: Path, *, command: str, body: str) -> None:
    """Replace what stands between a page's two markers of a command. Raises SystemExit where they are missing."""
    begin, end = f"<!-- begin: {command} -->", f"<!-- end: {command} -->"
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise SystemExit(f"{page} lacks {begin} or {end}")
    page.write_text(f"{before}{begin}\n\n{body}\n\n{end}{after}", encoding="utf-8")


@contextmanager
def postgres() -> Iterator[str | None]:
    """Start a PostgreSQL with its default durability on loopback; None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        yield None
        return
    binaries = found[-1].parent
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    if prefix:
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(*command: str) -> None:
        subprocess.run([*prefix, *command], check=True, capture_output=True, cwd="/")

    run(str(binaries / "initdb"), "-D", str(folder / "c"), "-U", "driftwarden", "-A", "trust", "-E", "UTF8")
    options = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
    control = str(binaries / "pg_ctl")
    run(control, "-D", str(folder / "c"), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql://driftwarden@127.0.0.1:{port}/postgres"
    finally:
        run(control, "-D", str(folder / "c"), "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
