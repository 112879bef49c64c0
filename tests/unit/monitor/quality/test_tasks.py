"""Every task: hand-computed measures, readable answers, and a line for those that are not."""

import math
from typing import Any

import pytest

from detectors.estimates import Estimate, NotEstimated
from monitor.errors import InputError
from monitor.quality.answer import measure
from monitor.quality.examples import Asked, Cohort, Example, Unreadable
from monitor.quality.tasks import task_named

ONCE = Asked(0.05, "single")


def measured(task: str, *pairs: tuple[Any, Any], looks: str = "single", **fields: Any) -> dict[str, Estimate]:
    kind = task_named(task)
    rows = [
        Example(str(i), kind.read_prediction(given), kind.read_truth(true), **fields)
        for i, (given, true) in enumerate(pairs)
    ]
    answer = measure(Cohort(rows, []), kind, Asked(0.05, looks))  # type: ignore[arg-type]
    for one in answer.metrics:
        assert 0 <= one.low <= one.value <= one.high <= 1
    return {one.name: one for one in answer.metrics}


def test_a_span_counts_only_with_both_bounds_and_its_label() -> None:
    found = measured(
        "tagging",
        (
            [{"start": 0, "end": 4, "label": "PER"}, {"start": 9, "end": 12, "label": "LOC"}],
            [{"start": 0, "end": 4, "label": "PER"}, {"start": 9, "end": 13, "label": "LOC"}],
        ),
        (["B-PER", "O"], ["B-LOC", "O"]),
        ([], []),
    )
    # 1 right of 3 predicted and 3 true
    assert found["span_f1"].value == pytest.approx(1 / 3)
    assert found["span_precision[PER]"].value == pytest.approx(1 / 2)
    assert found["span_recall[LOC]"].value == 0
    assert found["span_f1"].n == 2


def test_bio_tags_read_as_conlleval_reads_them() -> None:
    read = task_named("tagging").read_truth
    assert read(["I-A", "I-A", "B-A", "I-B", "O"]) == ((0, 2, "A"), (2, 3, "A"), (3, 4, "B"))
    assert read("[]") == ()


def test_answers_match_after_squads_normalisation_and_against_the_best_truth() -> None:
    found = measured(
        "extractive",
        ("The Eiffel Tower!", ["eiffel tower", "tower"]),
        ("in Paris", {"text": ["Paris", "Lyon"]}),
        ("", []),
        ("x", []),
    )
    assert found["exact_match"].value == pytest.approx(2 / 4)
    assert found["token_f1"].value == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)


def test_rankings_have_the_hand_computed_reciprocal_rank_and_gain() -> None:
    found = measured(
        "ranking", (["a", "x", "b"], {"a": 1, "b": 2}), ({"x": 2.0, "c": 1.0}, ["c"]), ([], "a"), (["q"], {"z": 1})
    )
    assert found["mrr"].value == pytest.approx((1 + 1 / 2 + 0 + 0) / 4)
    first = (1 + 2 / math.log2(4)) / (2 + 1 / math.log2(3))
    second = 1 / math.log2(3)
    assert found["ndcg_at_10"].value == pytest.approx((first + second) / 4, abs=1e-9)


def test_a_cascade_tells_each_stages_share_and_accuracy() -> None:
    rows = [Example(str(i), "a", "a" if i < 6 else "b", stage="small") for i in range(8)]
    rows += [Example(str(i), "a", "a", stage="large") for i in range(8, 10)]
    waiting = [Example(str(i), "a", stage=None) for i in range(10, 20)]
    answer = measure(Cohort(rows, waiting), task_named("cascade"), ONCE)
    found = {one.name: one for one in answer.metrics}
    assert found["share[small]"].value == pytest.approx(0.4)
    assert found["share[unknown]"].n == 20
    assert found["accuracy[small]"].value == pytest.approx(0.75)
    assert found["accuracy[large]"].value == 1.0
    assert NotEstimated("accuracy[unknown]", "no row to judge", 0, 1) in answer.not_estimated


def test_at_every_look_means_have_sequences_and_ratios_say_that_they_have_none() -> None:
    once = measured("extractive", *[("a b", "b")] * 50)["token_f1"]
    always = measured("extractive", *[("a b", "b")] * 50, looks="every")["token_f1"]
    assert always.method == "betting sequence"
    assert always.high - always.low > once.high - once.low
    assert measured("tagging", ([], [{"start": 0, "end": 1, "label": "A"}]), looks="every") == {}


def test_unequal_chances_at_every_look_need_the_least_one() -> None:
    rows = [Example(str(i), "a", "a" if i % 4 else "b", inclusion_probability=0.5 + (i % 2) / 2) for i in range(400)]
    kind, cohort = task_named("classification"), Cohort(rows, [])
    without = measure(cohort, kind, Asked(0.05, "every"))
    assert "accuracy" in {one.name for one in without.not_estimated}
    accuracy = measure(cohort, kind, Asked(0.05, "every", least_inclusion_probability=0.5)).metrics[0]
    # a quarter is wrong, all drawn with 0.5: (100 / 0.5) / (200 / 0.5 + 200) = 1/3 of the traffic
    assert accuracy.value == pytest.approx(2 / 3)
    assert accuracy.low < 2 / 3 < accuracy.high


@pytest.mark.parametrize(
    ("task", "value", "told"),
    [
        ("tagging", [{"start": 4, "end": 4, "label": "A"}], "0 <= start < end"),
        ("tagging", ["B"], "O, B-LABEL or I-LABEL, got 'B'"),
        ("tagging", 3, "list of spans"),
        ("ranking", ["a", "a"], "every document once"),
        ("ranking", {"a": math.nan}, "a finite score"),
        ("multilabel", "a", "list of labels"),
        ("extractive", None, "must be a text"),
    ],
)
def test_what_a_task_cannot_read_is_named(task: str, value: Any, told: str) -> None:
    with pytest.raises(Unreadable, match=told):
        task_named(task).read_prediction(value)


def test_an_unknown_task_is_named_beside_those_there_are() -> None:
    with pytest.raises(InputError, match="no task is called 'poetry'; there are classification, pair, multilabel"):
        task_named("poetry")
