"""OpenSLO in and out."""

import pytest
import yaml

from alerts.errors import SloRefused
from alerts.openslo import read_openslo, write_openslo
from alerts.slo import Slo

SLOS = [
    Slo(service="intents", name="availability", objective=0.999, total="all_total", bad='bad_total{code=~"5.."}'),
    Slo(
        service="intents",
        name="latency",
        objective=0.95,
        period_days=28,
        total="lat_count",
        good='lat_bucket{le="0.3"}',
        labels={"team": "ml"},
        description="95 % within 300 ms",
    ),
]
DOCUMENT = """
apiVersion: openslo/v1
kind: Service
metadata: {name: intents}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: web}
spec:
  service: intents
  indicator:
    metadata: {name: i}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {type: Prometheus, spec: {query: 'sum(rate(bad_total[{{.window}}]))'}}}
        total: {metricSource: {type: Prometheus, spec: {query: 'sum(rate(all_total[{{.window}}]))'}}}
  timeWindow: [{duration: 4w, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}, {targetPercent: 99.9}]
"""


def test_objectives_come_back_as_they_went_out() -> None:
    assert read_openslo(write_openslo(SLOS)) == SLOS


def test_sloths_rates_become_counts_of_events() -> None:
    first, second = read_openslo(DOCUMENT)
    assert first.total == "sum(increase(all_total[{{.window}}]))"
    assert (first.name, first.objective, first.period_days) == ("web-0", 0.99, 28)
    assert (second.name, second.objective) == ("web-1", 0.999)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("apiVersion",), "openslo/v2", "document 1: apiVersion must be openslo/v1, got 'openslo/v2'"),
        (("spec", "service"), None, "document 1: spec.service is missing"),
        (("spec", "indicator", "spec"), {}, "spec.indicator.spec.ratioMetric is missing"),
        (("spec", "budgetingMethod"), "Timeslices", "budgetingMethod must be Occurrences"),
        (("spec", "timeWindow"), [{"duration": "1M", "isRolling": True}], "timeWindow must be rolling"),
        (("spec", "timeWindow"), [{"duration": "30d", "calendar": {}}], "timeWindow must be rolling"),
        (("spec", "objectives"), [{"target": 1.5}], "objective: Input should be less than 1"),
        (("metadata", "name"), "Not a name", "name: String should match"),
    ],
)
def test_what_cannot_be_used_is_named(path: tuple[str, ...], value: object, told: str) -> None:
    document = yaml.safe_load(write_openslo(SLOS[:1]))
    held = document
    for key in path[:-1]:
        held = held[key]
    held[path[-1]] = value
    with pytest.raises(SloRefused, match=told.replace("[", r"\[")):
        read_openslo(yaml.safe_dump(document))


def test_a_file_without_objectives_is_refused() -> None:
    with pytest.raises(SloRefused, match="no document of kind SLO"):
        read_openslo("")
    with pytest.raises(SloRefused, match="not readable YAML"):
        read_openslo("a: [")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("sum(rate(bad_total[{{.window}}]))", "sum(rate(bad_total[{{.window}}])) # all", "holds a comment"),
        ("targetPercent: 99.9", "targetPercent: abc", "a target is a number, got str"),
        ("[{duration: 4w, isRolling: true}]", "{duration: 4w}", "not laid out as OpenSLO"),
        ("metadata: {name: web}", "metadata: {name: web, labels: [a]}", "not laid out as OpenSLO"),
        ("apiVersion: openslo/v1\nkind: SLO", "apiVersion: [[a]]\nkind: SLO", "got dict"),
    ],
)
def test_odd_documents_are_named_and_not_a_crash(old: str, new: str, told: str) -> None:
    assert old in DOCUMENT
    with pytest.raises(SloRefused, match=told):
        read_openslo(DOCUMENT.replace(old, new))
