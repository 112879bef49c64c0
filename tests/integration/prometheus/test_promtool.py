"""Rules and metrics before Prometheus's own checker."""

import shutil
import subprocess
from pathlib import Path

import pytest

from alerts.rules import RULE_FILE, ModelAlerting, render_rule_tests, render_rules

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def promtool(request: pytest.FixtureRequest) -> str:
    found = shutil.which("promtool")
    if found is None:
        request.getfixturevalue("missing_service")("promtool")
    return str(found)


def check(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, input=stdin, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "models",
    [
        [ModelAlerting("support-intents", 43_200)],
        [ModelAlerting('odd "name" \\ {{ x }}', 3600), ModelAlerting("b", 86_400)],
        [],
    ],
    ids=["one", "two", "none"],
)
def test_rules_are_valid_and_fire_stay_silent_and_reset(
    promtool: str, tmp_path: Path, models: list[ModelAlerting]
) -> None:
    rules, tests = tmp_path / RULE_FILE, tmp_path / "tests.yml"
    rules.write_text(render_rules(models), encoding="utf-8")
    tests.write_text(render_rule_tests(models), encoding="utf-8")
    check(promtool, "check", "rules", str(rules))
    check(promtool, "test", "rules", str(tests))
