"""The demo as a new user runs it: one command, three incidents, each caught within one window."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

pytest.importorskip("torch", reason="needs the models extra")
pytest.importorskip("mlflow", reason="needs the registry extra")

pytestmark = pytest.mark.integration


def driftwarden(*arguments: str, cwd: Path, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "monitor", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("demo")
    done = driftwarden("demo", "--no-serve", "--json", "--days", "7", cwd=folder)
    assert "driftwarden serve --no-jobs --port 8000" in done.stderr
    return folder, json.loads(done.stdout)


def test_every_incident_is_caught_within_one_window(demo: tuple[Path, dict]) -> None:
    _, answer = demo
    assert [one["name"] for one in answer["incidents"]] == [
        "unseen topic arrives",
        "class mix shifts",
        "wrong tokenizer deployed",
    ]
    assert [one["delay_windows"] for one in answer["incidents"]] == [1, 1, 1]
    assert answer["incidents"][2]["detector"] == "tokenizer"
    assert answer["false_alarms"] <= 1
    assert answer["windows"] == 14


def test_the_report_needs_no_network_and_no_script(demo: tuple[Path, dict]) -> None:
    folder, _ = demo
    page = (folder / "driftwarden-demo/report/report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert "insufficient" in page or "windows drifted" in page
    assert (folder / "driftwarden-demo/report/texts.html").stat().st_size > 100_000


def test_the_demos_store_and_registry_serve_the_other_commands(demo: tuple[Path, dict]) -> None:
    folder, _ = demo
    inside = folder / "driftwarden-demo"
    environment = {
        "DRIFTWARDEN_DATABASE_URL": f"sqlite:///{inside}/driftwarden.db",
        "DRIFTWARDEN_POLICY_FILE": str(inside / "driftwarden.toml"),
        "DRIFTWARDEN_CACHE_DIR": str(inside / "cache"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{inside}/mlflow.db",
    }
    check = driftwarden(
        "check", "support-intents@champion", "--window", "9d", "--json", cwd=folder, code=3, **environment
    )
    judged = json.loads(check.stdout)
    assert judged["verdict"]["drift"] is True
    assert {one["name"] for one in judged["detectors"]} >= {"kl_cells", "kl_gaussian", "cosine", "js_classes"}
    empty = driftwarden(
        "check", "support-intents@champion", "--window", "1h", "--json", cwd=folder, code=4, **environment
    )
    assert json.loads(empty.stdout)["verdict"] is None
    nobody = driftwarden("check", "support-intents@nobody", cwd=folder, code=2, **environment)
    assert "support-intents@nobody" in nobody.stderr
    assert len(nobody.stderr.strip().splitlines()) == 1
    again = driftwarden("demo", "--no-serve", cwd=folder, code=2)
    assert "--force replaces it" in again.stderr


def test_the_command_it_printed_serves_the_demo_again(demo: tuple[Path, dict]) -> None:
    folder, _ = demo
    inside = folder / "driftwarden-demo"
    environment = {
        **os.environ,
        "DRIFTWARDEN_DATABASE_URL": f"sqlite:///{inside}/driftwarden.db",
        "DRIFTWARDEN_POLICY_FILE": str(inside / "driftwarden.toml"),
    }
    command = [sys.executable, "-u", "-m", "monitor", "serve", "--no-jobs", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        address = service.stdout.readline().removeprefix("serving on ").split(",")[0]
        page = httpx.get(f"{address}/", timeout=120).text
        report = httpx.get(f"{address}/models/support-intents/1/report", timeout=120).text
        evidently = httpx.get(f"{address}/models/support-intents/1/texts", timeout=120)
        service.terminate()
    assert service.returncode == 0
    (drifted,) = re.findall(r"(\d+ of 14) drifted", page)
    assert f"{drifted} windows drifted" in report
    assert (evidently.status_code, '/models/support-intents/1/texts"' in report) == (200, True)
