"""From a counter to a page: our rules in a real Prometheus, delivered by a real Alertmanager."""

import time
from collections.abc import Callable

import pytest

from alerts.slo import Slo
from alerts.slo_rules import render_slo_rules
from alerts.windows import BurnWindows
from tests.integration.alertmanager.conftest import Exporter, Stack, wait_for

pytestmark = pytest.mark.integration
SLO = Slo(
    service="api",
    name="availability",
    objective=0.99,
    period_days=1 / 144,
    total="requests_total",
    bad="failures_total",
)
# the period is ten minutes here: the page's factor is 5, an error ratio of .05, and the ticket's 9, crossed later
PAIRS = (
    BurnWindows("page", long="12s", short="4s", budget_share=0.1),
    BurnWindows("ticket", long="60s", short="20s", budget_share=0.9),
)
ROUTES = {
    "route": {"receiver": "test", "group_by": ["sloth_id"], "group_wait": "0s", "group_interval": "1s"},
    "inhibit_rules": [
        {
            "source_matchers": ['sloth_severity="page"'],
            "target_matchers": ['sloth_severity="ticket"'],
            "equal": ["sloth_id"],
        }
    ],
}


class Traffic:
    """100 requests a second, of which a share fails."""

    def __init__(self) -> None:
        self.failing, self.total, self.bad, self.last = 0.0, 0.0, 0.0, time.monotonic()

    def page(self) -> str:
        now = time.monotonic()
        self.total += 100 * (now - self.last)
        self.bad += 100 * (now - self.last) * self.failing
        self.last = now
        return f"requests_total {self.total}\nfailures_total {self.bad}\n"


@pytest.fixture
def running(make_stack: Callable[..., Stack]) -> tuple[Traffic, Stack]:
    traffic = Traffic()
    rules = render_slo_rules([SLO], PAIRS, escalation=None)
    stack = make_stack(Exporter(traffic.page), rules=rules, routes=ROUTES)
    wait_for(lambda: stack.query("slo:sli_total:increase12s > 500"), "traffic in the long window")
    return traffic, stack


def test_a_page_comes_within_ten_seconds_its_ticket_is_muted_and_recovery_resolves_it(
    running: tuple[Traffic, Stack],
) -> None:
    traffic, stack = running
    traffic.failing = 0.9
    crossed = wait_for(lambda: stack.query("slo:sli_error:lower_bound12s > 0.05") and time.monotonic(), "crossing")
    pages = wait_for(lambda: stack.exporter.alerts(sloth_severity="page", status="firing"), "a page", within=10)
    assert time.monotonic() - crossed < 10
    page = pages[0]
    assert page["labels"]["severity"] == "critical"
    assert page["labels"]["sloth_id"] == "api-availability"
    assert page["annotations"]["runbook_url"].endswith("/SloBurn.md")
    muted = wait_for(lambda: [one for one in stack.alerts() if one["status"]["inhibitedBy"]], "the ticket is muted")
    assert [one["labels"]["sloth_severity"] for one in muted] == ["ticket"]
    assert stack.exporter.alerts(sloth_severity="ticket") == []
    traffic.failing = 0.0
    wait_for(lambda: stack.exporter.alerts(sloth_severity="page", status="resolved"), "the page resolves")


def test_an_alertmanager_that_is_killed_and_started_again_still_delivers(running: tuple[Traffic, Stack]) -> None:
    traffic, stack = running
    stack.kill("prometheus-alertmanager")
    traffic.failing = 0.9
    wait_for(lambda: stack.query('ALERTS{sloth_severity="page",alertstate="firing"}'), "the page fires")
    assert stack.exporter.posted == []
    stack.start("prometheus-alertmanager")
    wait_for(lambda: stack.exporter.alerts(sloth_severity="page", status="firing"), "a page")
    traffic.failing = 0.0
    wait_for(lambda: stack.exporter.alerts(sloth_severity="page", status="resolved"), "the page resolves")
