"""A verdict in words, for a reader who is no statistician."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from detectors.compare import EFFECTS
from reports.explained import MEANING, SHARES, SIZES, explained
from reports.model import DetectorRow, WindowVerdict

START = datetime(2026, 5, 1, tzinfo=UTC)
NOVEL = DetectorRow("novelty", 0.4, "score", 0.002, 0.1, True, 0.08)
CALM_CLASSES = DetectorRow("js_classes", 0.01, "nats", 0.4, 0.1, False, 0.03)
DRIFTED = WindowVerdict(
    START, START + timedelta(hours=1), "ok", True, 0.004, 0.01, 500, (NOVEL, CALM_CLASSES), "", "significant and large"
)


def test_a_drift_says_how_surprising_it_is_and_how_much_changed() -> None:
    said = explained(DRIFTED)
    assert said == (
        "Had nothing changed, at most 1 in 250 windows would look like this. "
        "What changed: at least 8% of the texts are unlike the baseline's."
    )


def test_a_small_drift_wakes_nobody_and_a_graded_one_says_its_cost() -> None:
    said = explained(replace(DRIFTED, importance="significant but small", harm="benign by labels, none fell"))
    assert "it wakes nobody" in said
    assert said.endswith("Cost: benign by labels, none fell.")


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


def test_every_detector_of_the_verdict_is_explained_and_its_effect_told() -> None:
    assert set(EFFECTS) <= set(MEANING)
    assert set(EFFECTS) == set(SHARES) | set(SIZES)


def test_the_spread_of_cosines_is_told_as_a_share_of_texts() -> None:
    spread = DetectorRow("cosine_spread", 4.2, "A²", 0.001, 2.5, True, 0.12)
    said = explained(replace(DRIFTED, detectors=(spread,)))
    assert "at least 12% of the texts came nearer to the baseline's typical text or went farther off." in said
