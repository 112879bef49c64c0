"""Sampling by hash."""

from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from monitor.policy import ModelPolicy
from monitor.sampling import Sampler, unit_interval

AT = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)


def test_hashes_are_uniform_and_unlike_between_models() -> None:
    values = np.array([[unit_interval(model, f"event-{i}") for i in range(4000)] for model in ("a", "b")])
    assert kstest(values[0], "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(values)[0, 1]) < 0.07


def test_the_kept_share_is_the_rate() -> None:
    kept = sum(unit_interval("m", str(i)) < 0.2 for i in range(20_000))
    assert binomtest(kept, 20_000, 0.2).pvalue > 1e-4


@pytest.mark.parametrize("label", ["rare", None])
def test_the_first_of_a_class_in_an_hour_are_kept_in_any_case(label: str | None) -> None:
    sampler, policy = Sampler(), ModelPolicy(version="1", sampling_rate=0.1, class_floor_per_hour=3)
    found = [sampler.probability(policy, model="m", label=label, timestamp=AT) for _ in range(5)]
    assert found == [1.0, 1.0, 1.0, 0.1, 0.1]
    assert sampler.probability(policy, model="m", label="other", timestamp=AT) == 1.0


def test_weights_by_inclusion_probability_count_the_population() -> None:
    sampler, policy = Sampler(), ModelPolicy(version="1", sampling_rate=0.25, class_floor_per_hour=20)
    total = 0.0
    for i in range(8000):
        label = "rare" if i % 100 == 0 else "usual"
        probability = sampler.probability(policy, model="m", label=label, timestamp=AT)
        if unit_interval("m", f"e{i}") < probability:
            total += 1 / probability
    assert total == pytest.approx(8000, rel=0.06)


def test_memory_of_floors_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.sampling.MAX_STRATA", 10)
    sampler, policy = Sampler(), ModelPolicy(version="1", sampling_rate=0.5, class_floor_per_hour=1)
    for hour in range(24):
        sampler.probability(policy, model="m", label="a", timestamp=AT.replace(hour=hour))
    assert len(sampler._granted) <= 10
