"""Prometheus, Alertmanager, an exporter and a webhook receiver as plain processes on loopback."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import httpx
import pytest
import yaml

PATIENCE_SECONDS = 90


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, *, within: float = PATIENCE_SECONDS) -> Any:
    """Return the first true answer; fail with `what` when none comes."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            found = condition()
        except httpx.HTTPError:
            found = None
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen within {within:.0f} s")


@dataclass
class Exporter:
    """Counters that a test drives; `page` is what Prometheus scrapes."""

    page: Callable[[], str]
    port: int = 0
    posted: list[dict[str, Any]] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """Every alert that was delivered with these labels, oldest first."""
        with self.lock:
            told = [alert for body in self.posted for alert in body["alerts"]]
        return [one for one in told if labels.items() <= {**one["labels"], "status": one["status"]}.items()]


def serve_exporter(exporter: Exporter) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exporter.page().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with exporter.lock:
                exporter.posted.append(body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *told: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    exporter.port = server.server_port
    Thread(target=server.serve_forever, daemon=True).start()
    return server


@dataclass
class Stack:
    """A running Prometheus and Alertmanager."""

    folder: Path
    exporter: Exporter
    programs: dict[str, str]
    prometheus_port: int
    alertmanager_port: int
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"http://127.0.0.1:{self.prometheus_port}/api/v1/query", params={"query": expression})
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """Return what Alertmanager holds, with the state of each."""
        answer = httpx.get(f"http://127.0.0.1:{self.alertmanager_port}/api/v2/alerts")
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found

    def start(self, name: str) -> None:
        port = self.prometheus_port if name == "prometheus" else self.alertmanager_port
        listen = [f"--config.file={self.folder / name}.yml", f"--web.listen-address=127.0.0.1:{port}"]
        own = {
            "prometheus": [f"--storage.tsdb.path={self.folder / 'tsdb'}", "--rules.alert.resend-delay=1s"],
            "prometheus-alertmanager": [f"--storage.path={self.folder / 'am'}", "--cluster.listen-address="],
        }[name]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen([self.programs[name], *listen, *own], stdout=log, stderr=log)
        wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}/-/ready").status_code == 200, f"{name} ready")

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running.pop(name).wait()


@pytest.fixture
def make_stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    programs = {}
    for name in ("prometheus", "prometheus-alertmanager"):
        found = shutil.which(name)
        if found is None:
            request.getfixturevalue("missing_service")(name)
        programs[name] = str(found)
    stacks: list[Stack] = []
    servers: list[ThreadingHTTPServer] = []

    def make(exporter: Exporter, *, rules: str, routes: dict[str, Any], evaluation: str = "1s") -> Stack:
        servers.append(serve_exporter(exporter))
        stack = Stack(tmp_path, exporter, programs, free_port(), free_port())
        (tmp_path / "slo.rules.yml").write_text(rules, encoding="utf-8")
        receiver = {"url": f"http://127.0.0.1:{exporter.port}/", "send_resolved": True}
        (tmp_path / "prometheus-alertmanager.yml").write_text(
            yaml.safe_dump({**routes, "receivers": [{"name": "test", "webhook_configs": [receiver]}]}), encoding="utf-8"
        )
        told = {
            "global": {"scrape_interval": "1s", "evaluation_interval": evaluation},
            "rule_files": ["slo.rules.yml"],
            "alerting": {
                "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{stack.alertmanager_port}"]}]}]
            },
            "scrape_configs": [
                {"job_name": "app", "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"]}]},
            ],
        }
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(told), encoding="utf-8")
        stacks.append(stack)
        stack.start("prometheus-alertmanager")
        stack.start("prometheus")
        return stack

    yield make
    for stack in stacks:
        for name in list(stack.running):
            stack.kill(name)
    for server in servers:
        server.shutdown()
        server.server_close()
