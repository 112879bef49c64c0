"""Groups beside a reference group."""

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame, false_negative_rate, false_positive_rate, selection_rate
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_score, recall_score, roc_auc_score

from detectors.bias import METRICS, BiasVerdict, audit_groups, group_counts, holm, worst_gap
from detectors.errors import DetectorInputError
from detectors.estimates import Estimate, NotEstimated
from detectors.group_auc import auc_estimate, group_aucs
from detectors.impact_ratio import impact_ratio_table
from detectors.rates import rate_bounds


def rows(counts: dict[str, tuple[int, int, int, int]]) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Return names, codes, selected and truths from (fp, tn, fn, tp) by group."""
    codes, selected, truths = [], [], []
    for code, (fp, tn, fn, tp) in enumerate(counts.values()):
        for n, one, true in ((fp, 1, 0), (tn, 0, 0), (fn, 0, 1), (tp, 1, 1)):
            codes += [code] * n
            selected += [one] * n
            truths += [true] * n
    return list(counts), np.array(codes), np.array(selected), np.array(truths)


COMPAS = {"African-American": (805, 990, 532, 1369), "Caucasian": (349, 1139, 461, 505)}  # Larson et al. 2016


def test_the_published_compas_figures() -> None:
    audit = audit_groups(group_counts(*rows(COMPAS)), reference="Caucasian")
    found = {one.metric: one for one in audit.comparisons}
    base = {one.name: one for one in audit.references}
    assert isinstance(found["fpr"].rate, Estimate)
    assert isinstance(found["fpr"].ratio, Estimate)
    assert round(found["fpr"].rate.value, 4) == 0.4485
    assert round(base["fpr[Caucasian]"].value, 4) == 0.2345
    assert round(found["fpr"].ratio.value, 3) == pytest.approx(1.912, abs=0.001)
    assert round(found["fnr"].rate.value, 4) == 0.2799
    assert round(base["fnr[Caucasian]"].value, 4) == 0.4772
    assert audit.verdict is BiasVerdict.DISPARITY
    assert found["precision"].verdict is BiasVerdict.NO_DISPARITY


def test_points_are_fairlearns() -> None:
    rng = np.random.default_rng(1)
    codes, selected, truths = rng.integers(0, 7, 5000), rng.integers(0, 2, 5000), rng.integers(0, 2, 5000)
    counts = group_counts([str(g) for g in range(7)], codes, selected, truths)
    theirs = MetricFrame(
        metrics={
            "selection_rate": selection_rate,
            "tpr": recall_score,
            "fpr": false_positive_rate,
            "fnr": false_negative_rate,
            "precision": precision_score,
            "accuracy": accuracy_score,
        },
        y_true=truths,
        y_pred=selected,
        sensitive_features=codes,
    ).by_group
    for metric in METRICS:
        hits, n = counts.rate(metric)
        np.testing.assert_allclose(hits / n, theirs[metric].to_numpy(), rtol=0, atol=1e-12)


def test_alike_groups_are_called_unlike_in_at_most_one_audit_of_twenty() -> None:
    rng = np.random.default_rng(2)
    false = 0
    for _ in range(400):
        codes = np.repeat(np.arange(7), 100)
        counts = group_counts([str(g) for g in range(7)], codes, rng.random(700) < 0.3, rng.random(700) < 0.5)
        false += audit_groups(counts, reference="0").verdict is BiasVerdict.DISPARITY
    assert false <= 30  # of 400: above it with chance 0.01 where the level is 0.05


def test_groups_of_one_row_or_of_none_say_so() -> None:
    counts = group_counts(["a", "b", "c"], [0] * 50 + [1], [1, 0] * 25 + [1], [1, 0] * 25 + [1])
    audit = audit_groups(counts, reference="a")
    of = {(one.metric, one.group): one for one in audit.comparisons}
    assert isinstance(of["selection_rate", "c"].rate, NotEstimated)
    assert isinstance(of["fpr", "b"].difference, NotEstimated)
    assert of["selection_rate", "b"].verdict is BiasVerdict.INSUFFICIENT
    assert audit.verdict is BiasVerdict.INSUFFICIENT


def test_an_interval_of_a_rate_holds_where_the_selected_are_drawn_oftener() -> None:
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(300):
        truths = rng.random(6000) < 0.5
        selected = np.where(truths, rng.random(6000) < 0.9, rng.random(6000) < 0.3)
        chances = np.where(selected, 0.5, 0.1)
        kept = rng.random(6000) < chances
        counts = group_counts(
            ["a"], np.zeros(kept.sum(), int), selected[kept], truths[kept], inclusion_probability=chances[kept]
        )
        hits, n = counts.rate("fnr")
        low, high = rate_bounds(hits, n)
        covered += bool(low[0] <= 0.1 <= high[0])
    assert covered >= 272  # of 300: below it with chance 0.001 where 95 in 100 hold


def test_rows_that_were_drawn_unequally_keep_their_rates_and_lose_certainty() -> None:
    selected = np.array([1, 0] * 500)
    chances = np.where(np.arange(1000) % 4 < 2, 0.1, 1.0)  # half of each kind is drawn seldom
    weighed = group_counts(["a"], np.zeros(1000, int), selected, inclusion_probability=chances)
    hits, n = weighed.rate("selection_rate")
    assert hits[0] / n[0] == pytest.approx(0.5)
    assert n[0] == pytest.approx(1000 * 5.5**2 / 50.5, rel=0.01)  # Kish: (mean of w)² / mean of w²
    rare = group_counts(["a"], np.zeros(1000, int), selected, inclusion_probability=np.where(selected == 1, 0.5, 1.0))
    hits, n = rare.rate("selection_rate")
    assert hits[0] / n[0] == pytest.approx(2 / 3)  # the selected stand for two each


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_never_says_less_than_the_p_value_nor_more_than_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    p = np.array(p_values)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(p * p.size, 1)).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


def test_the_widest_gap_names_both_ends() -> None:
    counts = group_counts(
        ["a", "b", "c"], np.repeat([0, 1, 2], 1000), ([1] * 500 + [0] * 500) * 2 + [1] * 200 + [0] * 800
    )
    found = worst_gap(counts, "selection_rate")
    assert not isinstance(found, NotEstimated)
    assert found.lowest == "c"
    assert found.gap.value == pytest.approx(0.3)
    assert found.gap.low < 0.3 < found.gap.high


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"reference": "z"}, "'z'"),
        ({"metrics": ["nope"]}, "nope"),
        ({"margin": 0.0}, "margin"),
        ({"alpha": 2.0}, "alpha"),
    ],
)
def test_what_cannot_be_audited_is_named(changed: dict, told: str) -> None:
    with pytest.raises(DetectorInputError, match=told):
        audit_groups(group_counts(["a", "b"], [0, 1], [1, 0]), **{"reference": "a", **changed})


def test_areas_are_sklearns_and_cover() -> None:
    rng = np.random.default_rng(4)
    truths, codes = rng.integers(0, 2, 2000), rng.integers(0, 2, 2000)
    scores = np.round(rng.normal(size=2000) + truths, 1)  # with ties
    first = group_aucs(["a", "b"], codes, scores, truths)[0]
    inside = codes == 0
    assert isinstance(first.subgroup, Estimate)
    assert first.subgroup.value == pytest.approx(roc_auc_score(truths[inside], scores[inside]), abs=1e-12)
    kept = (inside & (truths == 0)) | (~inside & (truths == 1))
    assert isinstance(first.bpsn, Estimate)
    assert first.bpsn.value == pytest.approx(roc_auc_score(truths[kept], scores[kept]), abs=1e-12)
    covered = 0
    for _ in range(600):
        found = auc_estimate("auc", rng.normal(size=40) + 1, rng.normal(size=60))
        assert isinstance(found, Estimate)
        covered += found.low <= 0.760250 <= found.high  # Φ(1/√2)
    assert 0.92 <= covered / 600 <= 0.98
    assert isinstance(auc_estimate("auc", [1.0], [0.0] * 20), NotEstimated)


def test_a_perfect_ranking_still_has_an_interval() -> None:
    found = auc_estimate("auc", np.arange(20.0) + 100, np.arange(20.0))
    assert isinstance(found, Estimate)
    assert found.value == 1
    assert 0.9 < found.low < 1


def test_impact_ratios_are_shown_as_the_rule_shows_them_and_small_categories_left_out() -> None:
    """With counts like those of 6 RCNY § 5-302: rates of .46 and .42, and 250 whose sex is unknown."""
    table = impact_ratio_table(["Male", "Female", "unknown"], [1390, 1181, 250], [639, 492, 10])
    assert [row.shown()[3:] for row in table.rows] == [("0.46", "1.00"), ("0.42", "0.91")]
    assert table.unknown == 250
    small = impact_ratio_table(["a", "b"], [1000, 10], [100, 9])
    assert small.rows[1].excluded
    assert small.most_selected == "a"
    assert impact_ratio_table(["a"], [0], [0]).rows[0].shown() == ("a", "0", "0", "n/a", "excluded")
    with pytest.raises(DetectorInputError, match="selected <= applicants"):
        impact_ratio_table(["a"], [1], [2])


def test_the_widest_gap_of_alike_groups_holds_zero() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        codes = np.repeat(np.arange(20), 200)
        found = worst_gap(group_counts([str(g) for g in range(20)], codes, rng.random(4000) < 0.3), "selection_rate")
        assert not isinstance(found, NotEstimated)
        held += found.gap.low == 0.0
    assert held >= 180  # of 200, below it with chance 0.001 where nineteen in twenty hold


def test_many_small_groups_of_a_rare_rate_beside_a_large_one_keep_the_level() -> None:
    rng = np.random.default_rng(6)
    false = 0
    for _ in range(150):
        hits = np.append(rng.binomial(50, 0.05, 40), rng.binomial(5000, 0.05))
        sizes = np.append(np.full(40, 50), 5000)
        codes = np.repeat(np.arange(41), sizes)
        selected = np.concatenate([np.arange(n) < k for k, n in zip(hits, sizes, strict=True)])
        audit = audit_groups(group_counts([str(g) for g in range(41)], codes, selected), reference="40", alpha=0.025)
        false += audit.verdict is BiasVerdict.DISPARITY
    assert false <= 10  # of 150: above it with chance 0.003 where the level is 0.025
