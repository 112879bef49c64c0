"""A verdict in words, for a reader who is no statistician."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from detectors.compare import EFFECTS
from reports.explained import MEANING, cost_text, explained, opinion_text
from reports.model import Cost, DetectorRow, Opinion, WindowVerdict

START = datetime(2026, 5, 1, tzinfo=UTC)
NOVEL = DetectorRow("novelty", 0.4, "score", 0.002, 0.1, True, 0.08)
CALM_CLASSES = DetectorRow("js_classes", 0.01, "nats", 0.4, 0.1, False, 0.03)
DRIFTED = WindowVerdict(
    START, START + timedelta(hours=1), "ok", True, 0.004, 0.01, 500, (NOVEL, CALM_CLASSES), "", "significant and large"
)
COST = Cost("benign", "labels", -0.005, -0.02, 0.015, 0.02, 600, "the interval excludes the tolerance")


def test_a_drift_says_how_surprising_it_is_and_how_much_changed() -> None:
    said = explained(DRIFTED)
    assert said == (
        "Had nothing changed, at most 1 in 250 windows would look like this. "
        "What changed: at least 8% of the texts are unlike the baseline's."
    )


def test_a_small_drift_wakes_nobody_and_a_graded_one_says_its_cost() -> None:
    said = explained(replace(DRIFTED, importance="significant but small", harm=COST))
    assert "it wakes nobody" in said
    assert said.endswith(
        "Cost: benign: by 600 labels, 0.5 fewer of 100 answers are wrong than on the baseline (−2 to 1.5), "
        "where 2 are tolerated."
    )


def test_a_usual_window_says_so() -> None:
    assert "No further than usual (p = 0.4)." in explained(replace(DRIFTED, usual="No further than usual (p = 0.4)"))


def test_a_p_value_below_telling_is_not_told_as_a_number() -> None:
    assert "fewer than 1 in 1,000,000" in explained(replace(DRIFTED, p_value=4e-308))


def test_a_window_without_drift_needs_no_explanation() -> None:
    assert explained(replace(DRIFTED, drift=False)) == ""
    assert explained(replace(DRIFTED, status="too_little_data", drift=None, p_value=None)) == ""


def test_a_wrong_tokenizer_is_told_by_its_share_and_an_unknown_detector_not_at_all() -> None:
    tokenizer = DetectorRow("tokenizer", 0.25, "ratio", 1e-9, 0.01, True)
    other = DetectorRow("later", 1.0, "x", 1e-9, 0.01, True, 0.5)
    assert "25% of the texts were tokenised otherwise." in explained(replace(DRIFTED, detectors=(tokenizer, other)))


@pytest.mark.parametrize("name", [*EFFECTS, "tokenizer"])
def test_every_detector_says_what_its_alarm_means_and_how_large_the_change_is(name: str) -> None:
    assert MEANING[name].startswith("An alarm means: ")
    said = explained(replace(DRIFTED, detectors=(DetectorRow(name, 0.25, "x", 0.001, 0.1, True, 0.25),)))
    shown = said.partition("What changed: ")[2]
    assert "0.25" in shown or "25%" in shown
    assert "nats" not in shown


def test_a_cost_that_nobody_knows_gives_its_reason() -> None:
    unknown = Cost("unknown", "scores", 0.0, -1.0, 1.0, 0.02, 12, "12 scores, 50 needed")
    assert cost_text(unknown) == "unknown: 12 scores, 50 needed"
    assert cost_text(replace(unknown, n=0, lower=-0.5, reason="no label yet")) == "unknown: no label yet"


@pytest.mark.parametrize(
    ("opinion", "said"),
    [
        (Opinion("mmd", 0.001, True, 0.243), "mmd finds a difference (p = 0.001): "),
        (Opinion("mmd", 0.001, True, 0.243), "lie 0.24 apart, from 0 (alike)"),
        (Opinion("classifier", 0.3, False, 0.52), "classifier finds no difference (p = 0.3): "),
        (Opinion("classifier", 0.3, False, 0.52), "guesses right which is which in 52% of pairs"),
        (Opinion("knn_kl", 0.001, True, 0.6931), "mean, 2 times as common in it as in the baseline"),
        (Opinion("knn_kl", 0.001, True, -0.1), "mean, 1 times as common"),
        (Opinion("knn_kl", 0.001, True, 60.0), "mean, more than 1,000 times as common"),
        (Opinion("knn_kl", 0.04, True, None), "knn_kl finds a difference (p = 0.04)."),
    ],
)
def test_a_second_opinion_is_one_sentence(opinion: Opinion, said: str) -> None:
    told = opinion_text(opinion)
    assert said in told
    assert told.count(". ") == 0
    assert told.endswith(".")


def test_the_spread_of_cosines_is_told_as_a_share_of_texts() -> None:
    spread = DetectorRow("cosine_spread", 4.2, "A²", 0.001, 2.5, True, 0.12)
    said = explained(replace(DRIFTED, detectors=(spread,)))
    assert "at least 12% of the texts came nearer to the baseline's typical text or went farther off." in said
