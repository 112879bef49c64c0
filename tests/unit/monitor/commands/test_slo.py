"""`driftwarden slo` and `rules --out`."""

import json
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
import yaml
from typer.testing import CliRunner

from alerts.openslo import write_openslo
from alerts.slo import Slo
from monitor.cli import app
from monitor.errors import InputError, TryAgainLater
from monitor.policy import load_policy

POLICY = """
[[slos]]
service = "api"
name = "availability"
objective = 0.999
total = 'requests_total{job="api"}'
bad = 'requests_total{job="api",code=~"5.."}'
labels = { team = "ml \\"a\\"" }
"""
RUN = CliRunner()


@pytest.fixture(autouse=True)
def policy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "driftwarden.toml"
    path.write_text(POLICY, encoding="utf-8")
    return path


def run(*arguments: str) -> str:
    done = RUN.invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_objectives_survive_export_and_import(policy: Path, tmp_path: Path) -> None:
    (tmp_path / "o.yaml").write_text(run("slo", "export"), encoding="utf-8")
    imported = tomllib.loads(run("slo", "import", "o.yaml"))
    assert [Slo(**one) for one in imported["slos"]] == list(load_policy(policy).slos)


def test_lint_names_each_problem_and_ends_as_an_input_error(tmp_path: Path) -> None:
    assert run("slo", "lint") == "1 objective(s), fine\n"
    loose = Slo(service="api", name="loose", objective=0.9, total="a_total", bad="b_total")
    (tmp_path / "o.yaml").write_text(write_openslo([loose]), encoding="utf-8")
    done = RUN.invoke(app, ["slo", "lint", "o.yaml"])
    assert isinstance(done.exception, InputError)
    assert "5m/1h can never fire" in done.stdout


def test_a_policy_with_an_objective_that_cannot_alarm_is_refused(policy: Path) -> None:
    policy.write_text(POLICY.replace("0.999", "0.9"), encoding="utf-8")
    with pytest.raises(InputError, match="api-availability: 5m/1h can never fire"):
        load_policy(policy)


def test_rules_and_their_tests_are_written_to_a_folder(tmp_path: Path) -> None:
    told = json.loads(run("rules", "--out", "made/rules", "--json"))
    names = [Path(one).name for one in told["files"]]
    assert names == [
        "driftwarden.rules.yml",
        "driftwarden.tests.yml",
        "driftwarden-slo.rules.yml",
        "driftwarden-slo.tests.yml",
        "driftwarden-slo-counters.tests.yml",
    ]
    tests = yaml.safe_load((tmp_path / "made/rules/driftwarden-slo.tests.yml").read_text(encoding="utf-8"))
    assert tests["rule_files"] == ["driftwarden-slo.rules.yml"]


class _Prometheus(BaseHTTPRequestHandler):
    values: ClassVar[dict[str, str]] = {
        "slo:period_error_budget_remaining:ratio": "0.25",
        "slo:current_burn_rate:ratio": "1.5",
    }

    def do_GET(self) -> None:
        name = self.path.split("query=")[1].replace("%3A", ":")
        result = [{"metric": {"sloth_id": "api-availability"}, "value": [0, self.values.get(name, "0.00075")]}]
        body = json.dumps({"status": "success", "data": {"result": result}}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *told: object) -> None:
        """Say nothing."""


@pytest.fixture
def prometheus() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Prometheus) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_status_shows_what_is_left_of_each_budget(prometheus: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = json.loads(run("slo", "status", "--prometheus", prometheus, "--json"))
    assert told["objectives"] == [
        {
            "id": "api-availability",
            "objective": 0.999,
            "period_days": 30.0,
            "error_ratio": 0.00075,
            "burn_rate": 1.5,
            "budget_remaining": 0.25,
        }
    ]
    assert "25.0%" in run("slo", "status", "--prometheus", prometheus)
    monkeypatch.setitem(_Prometheus.values, "slo:period_error_budget_remaining:ratio", "-0.5")
    assert RUN.invoke(app, ["slo", "status", "--prometheus", prometheus]).exit_code == 3


def test_a_prometheus_that_does_not_answer_is_for_later() -> None:
    done = RUN.invoke(app, ["slo", "status", "--prometheus", "http://127.0.0.1:9"])
    assert isinstance(done.exception, TryAgainLater)
