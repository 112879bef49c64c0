"""From receivers in the policy to an Alertmanager configuration: who is told what, and what mutes what.

Secrets stay in files that Alertmanager reads. Matchers are quoted, as every version from 0.22 on takes them.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from alerts.errors import AlertingError
from alerts.promql import dump

WATCHDOG = "DriftwardenWatchdog"
MODEL_QUALITY = "DriftwardenDrift|DriftwardenAccuracy.*|DriftwardenBias.*"
TEAM = "model-quality"  # the label `team` that sends an objective's alerts the same way
NOBODY = "nobody"
GROUPS = ("alertname", "model", "version", "endpoint", "sloth_id")


class ReceiverMissing(AlertingError):
    """A route names a receiver that the policy does not have."""


class Receiver(BaseModel):
    """One way to tell someone; exactly one kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    webhook_url: str | None = Field(None, pattern=r"^https?://", description="an address without a secret in it")
    webhook_token_file: str | None = Field(None, description="file with the webhook's bearer token")
    slack_url_file: str | None = Field(None, description="file with Slack's incoming-webhook address")
    slack_channel: str | None = None
    pagerduty_key_file: str | None = Field(None, description="file with PagerDuty's integration key (events v2)")
    email_to: str | None = None
    email_from: str | None = None
    email_smarthost: str | None = Field(None, description="host:port")

    @model_validator(mode="after")
    def _one_kind(self) -> "Receiver":
        kinds = [self.webhook_url, self.slack_url_file, self.pagerduty_key_file, self.email_to]
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("set exactly one of webhook_url, slack_url_file, pagerduty_key_file and email_to")
        if self.slack_url_file is not None and self.slack_channel is None:
            raise ValueError("slack_url_file needs slack_channel")
        if self.email_to is not None and (self.email_from is None or self.email_smarthost is None):
            raise ValueError("email_to needs email_from and email_smarthost")
        return self


class Notifications(BaseModel):
    """Who is told, and how often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    receivers: tuple[Receiver, ...] = Field((), description="ways to tell someone")
    model_quality: str | None = Field(None, description="receiver of drift, accuracy and bias: the ML engineers")
    infrastructure: str | None = Field(None, description="receiver of everything else: on-call")
    watchdog: str | None = Field(None, description="receiver that raises the alarm when the watchdog falls silent")
    group_wait_seconds: int = Field(30, ge=0, description="how long alerts gather before the first message")
    group_interval_seconds: int = Field(300, ge=1, description="how long until a group's news are told")
    repeat_interval_seconds: int = Field(14_400, ge=60, description="how long until what still fires is told again")
    watchdog_interval_seconds: int = Field(60, ge=10, description="the watchdog's heartbeat")


def render_alertmanager(notifications: Notifications) -> str:
    """Return an Alertmanager configuration. Raises ReceiverMissing naming the route."""
    names = [one.name for one in notifications.receivers]
    routed = {key: getattr(notifications, key) for key in ("model_quality", "infrastructure", "watchdog")}
    for key, name in routed.items():
        if name is not None and name not in names:
            told = ", ".join(names) or "none"
            raise ReceiverMissing(f"notifications.{key}: no receiver is named {name!r}; there are {told}")
    if len(set(names)) < len(names) or NOBODY in names:
        raise ReceiverMissing(f"receivers need names of their own, and none is {NOBODY!r}; got {', '.join(names)}")
    on_call = notifications.infrastructure or NOBODY
    quality = notifications.model_quality or on_call
    return dump(
        {
            "route": {
                "receiver": on_call,
                "group_by": list(GROUPS),
                "group_wait": f"{notifications.group_wait_seconds}s",
                "group_interval": f"{notifications.group_interval_seconds}s",
                "repeat_interval": f"{notifications.repeat_interval_seconds}s",
                "routes": [
                    {
                        "receiver": notifications.watchdog or NOBODY,
                        "matchers": [f'alertname="{WATCHDOG}"'],
                        "group_wait": "0s",
                        "group_interval": f"{notifications.watchdog_interval_seconds}s",
                        "repeat_interval": f"{notifications.watchdog_interval_seconds}s",
                    },
                    {"receiver": quality, "matchers": [f'alertname=~"{MODEL_QUALITY}"']},
                    {"receiver": quality, "matchers": [f'team="{TEAM}"']},
                ],
            },
            "inhibit_rules": _inhibitions(),
            "receivers": [{"name": NOBODY}, *_receivers(notifications.receivers)],
        }
    )


def _inhibitions() -> list[dict[str, Any]]:
    """A page mutes its ticket; a pipeline at a standstill what it would have judged; a dead service all of it."""
    return [
        _mutes('sloth_severity="page"', 'sloth_severity="ticket"', "sloth_id"),
        _mutes('alertname="SloNoData"', 'alertname="SloBurn"', "sloth_id"),
        _mutes('alertname="DriftwardenPipelineStale"', f'alertname=~"{MODEL_QUALITY}"', "model"),
        _mutes('alertname="DriftwardenDown"', 'alertname=~"DriftwardenPipelineStale|DriftwardenRunsFailing"'),
    ]


def _mutes(source: str, target: str, *equal: str) -> dict[str, Any]:
    return {"source_matchers": [source], "target_matchers": [target], **({"equal": list(equal)} if equal else {})}


def _receivers(receivers: Sequence[Receiver]) -> list[dict[str, Any]]:
    return [{"name": one.name, **_configuration(one)} for one in receivers]


def _configuration(receiver: Receiver) -> dict[str, Any]:
    if receiver.webhook_url is not None:
        http = {"authorization": {"type": "Bearer", "credentials_file": receiver.webhook_token_file}}
        told = {"url": receiver.webhook_url, **({"http_config": http} if receiver.webhook_token_file else {})}
        return {"webhook_configs": [told]}
    if receiver.slack_url_file is not None:
        return {"slack_configs": [{"api_url_file": receiver.slack_url_file, "channel": receiver.slack_channel}]}
    if receiver.pagerduty_key_file is not None:
        return {"pagerduty_configs": [{"routing_key_file": receiver.pagerduty_key_file}]}
    return {
        "email_configs": [{"to": receiver.email_to, "from": receiver.email_from, "smarthost": receiver.email_smarthost}]
    }
