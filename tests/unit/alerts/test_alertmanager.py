"""Routes, muting and receivers."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from alerts.alertmanager import Notifications, Receiver, ReceiverMissing, render_alertmanager

RECEIVERS = (
    Receiver(name="ml", slack_url_file="/run/secrets/slack", slack_channel="#ml"),
    Receiver(name="on-call", pagerduty_key_file="/run/secrets/pagerduty"),
    Receiver(name="dead-man", webhook_url="https://heartbeat.example/x", webhook_token_file="/run/secrets/token"),
    Receiver(name="mail", email_to="a@b.example", email_from="c@d.example", email_smarthost="mail.example:587"),
)
NOTIFICATIONS = Notifications(receivers=RECEIVERS, model_quality="ml", infrastructure="on-call", watchdog="dead-man")


def test_no_secret_stands_in_the_configuration() -> None:
    receivers = {one["name"]: one for one in yaml.safe_load(render_alertmanager(NOTIFICATIONS))["receivers"]}
    assert receivers["ml"]["slack_configs"][0]["api_url_file"] == "/run/secrets/slack"
    assert receivers["on-call"]["pagerduty_configs"] == [{"routing_key_file": "/run/secrets/pagerduty"}]
    assert receivers["dead-man"]["webhook_configs"][0]["http_config"]["authorization"]["credentials_file"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model_quality": "nemo"}, "notifications.model_quality: no receiver is named 'nemo'; there are ml, on-call"),
        ({"receivers": (*RECEIVERS, RECEIVERS[0])}, "names of their own"),
    ],
)
def test_a_route_to_nowhere_is_refused(changed: dict, told: str) -> None:
    with pytest.raises(ReceiverMissing, match=told):
        render_alertmanager(NOTIFICATIONS.model_copy(update=changed))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"webhook_url": "https://a.example", "email_to": "a@b.example"},
        {"slack_url_file": "/x"},
        {"email_to": "a@b.example"},
        {"webhook_url": "file:///etc/passwd"},
    ],
)
def test_a_receiver_of_no_kind_or_two_is_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        Receiver(name="x", **wrong)


@pytest.mark.integration
@pytest.mark.parametrize("notifications", [NOTIFICATIONS, Notifications()], ids=["full", "empty"])
def test_amtool_accepts_the_configuration_and_routes_as_meant(
    notifications: Notifications, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    amtool = shutil.which("amtool")
    if amtool is None:
        request.getfixturevalue("missing_service")("amtool")
    config = tmp_path / "alertmanager.yml"
    config.write_text(render_alertmanager(notifications), encoding="utf-8")
    checked = subprocess.run([str(amtool), "check-config", str(config)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    full = bool(notifications.receivers)
    for labels, receiver in (
        (["alertname=DriftwardenDrift", "model=m"], "ml"),
        (["alertname=SloBurn", "team=model-quality"], "ml"),
        (["alertname=SloBurn", "team=web"], "on-call"),
        (["alertname=DriftwardenDown"], "on-call"),
        (["alertname=DriftwardenWatchdog"], "dead-man"),
    ):
        told = subprocess.run(
            [str(amtool), "config", "routes", "test", f"--config.file={config}", *labels],
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.strip() == (receiver if full else "nobody")
