"""The reference's own windows: judged like later ones, and what a run length makes of them."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import kstest

from monitor.clock import EPOCH
from monitor.jobs.baseline import Observations
from monitor.jobs.calibration import AS_INDEPENDENT, JudgedWindow, run_length_alarm, stream_rule
from monitor.jobs.stream import ReferenceStream, reference_stream, season_windows, windows_needed

DAY = timedelta(days=1)
FIRST = 20_000
SEASON = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0])  # of the scores: one day of the week is unlike the others


def observed(days: int, *, texts: int = 50, unlike: float = 0.0, seed: int = 0) -> Observations:
    """Vectors of so many texts a day, those of every seventh day moved by `unlike`."""
    numbers = np.repeat(np.arange(FIRST, FIRST + days), texts)
    vectors = np.random.default_rng(seed).normal(size=(numbers.size, 12))
    vectors[numbers % 7 == 6, 0] += unlike
    return Observations(vectors, (), hours=numbers * 24 + 5)


def stream_of(found: Observations, *, minimum: int = 50) -> ReferenceStream:
    return reference_stream(
        found, window_hours=24, alpha=0.05, permutations=199, minimum=minimum, rng=np.random.default_rng(1)
    )


def test_the_windows_of_an_even_reference_have_even_p_values() -> None:
    stream = stream_of(observed(112))
    assert (stream.reason, stream.first, stream.texts, len(stream.p_values)) == ("", FIRST, 50, 112)
    assert kstest(np.array(stream.p_values, dtype=float), "uniform").pvalue > 0.01


def test_a_weekday_unlike_the_others_shows_in_its_own_windows_and_in_no_others() -> None:
    p = np.array(stream_of(observed(112, unlike=2.0)).p_values, dtype=float)
    unlike = np.arange(FIRST, FIRST + 112) % 7 == 6
    assert p[unlike].max() < 0.05
    assert np.median(p[~unlike]) > 0.2


def test_a_window_with_few_texts_is_missing_and_keeps_its_place() -> None:
    found = observed(112)
    kept = np.ones(len(found), dtype=bool)
    kept[3 * 50 : 3 * 50 + 10] = False  # of the fourth day
    thinned = Observations(found.vectors[kept], (), hours=None if found.hours is None else found.hours[kept])
    p_values = stream_of(thinned).p_values
    assert [i for i, p in enumerate(p_values) if p is None] == [3]


@pytest.mark.parametrize(
    ("found", "minimum", "reason"),
    [
        (Observations(np.zeros((500, 3)), ()), 50, "the reference has no timestamps"),
        (observed(80), 50, "the reference spans 80 windows of 24 h, 100 are needed"),
        (observed(112), 60, "0 windows of the reference hold 60 texts or more, 100 are needed"),
    ],
)
def test_a_reference_that_holds_no_stream_says_why(found: Observations, minimum: int, reason: str) -> None:
    stream = stream_of(found, minimum=minimum)
    assert (stream.p_values, stream.reason) == ((), reason)
    assert ReferenceStream.from_summary(stream.as_summary()) == stream


def test_a_season_is_a_week_of_windows_and_four_of_them_are_needed() -> None:
    assert [season_windows(hours) for hours in (1, 6, 24, 36, 168, 336)] == [168, 28, 7, 14, 1, 1]
    assert [windows_needed(hours) for hours in (1, 6, 24, 168)] == [672, 112, 100, 100]


def p_of(scores: np.ndarray) -> tuple[float, ...]:
    return tuple(np.maximum(ndtr(-scores), 1e-6).tolist())


def seasonal(days: int, *, first: int, seed: int, shift: float = 0.0) -> tuple[float, ...]:
    numbers = np.arange(first, first + days)
    return p_of(np.random.default_rng(seed).normal(size=days) + SEASON[numbers % 7] + shift)


def alarms(reference: ReferenceStream | None, p_values: tuple[float, ...], *, first: int, texts: int = 50) -> list[int]:
    begin = EPOCH + first * DAY
    stream = [JudgedWindow(begin + i * DAY, p, 0, texts) for i, p in enumerate(p_values)]
    rule = stream_rule(reference, stream, expected_windows=50, step=DAY)
    return [i for i in range(len(stream)) if run_length_alarm(stream[: i + 1], calibrated=rule, step=DAY).drift]


@pytest.fixture(scope="module")
def usual() -> ReferenceStream:
    return ReferenceStream(24, FIRST, 50.0, seasonal(13 * 7, first=FIRST, seed=1) + seasonal(91, first=FIRST, seed=2))


def test_a_weekly_season_alarms_no_more_often_than_configured_and_without_a_reference_every_week(
    usual: ReferenceStream,
) -> None:
    """Ten streams of 100 windows at one alarm in 50: 20 are configured; 35 lie beyond three standard deviations."""
    later = FIRST + 1000
    streams = [seasonal(100, first=later, seed=seed) for seed in range(10, 20)]
    assert sum(len(alarms(usual, stream, first=later)) for stream in streams) <= 35
    assert sum(len(alarms(None, stream, first=later)) for stream in streams) > 100


def test_a_shift_on_top_of_the_season_alarms(usual: ReferenceStream) -> None:
    later = FIRST + 1000
    quiet = seasonal(30, first=later, seed=31)
    shifted = seasonal(20, first=later + 30, seed=32, shift=2.0)
    found = alarms(usual, quiet + shifted, first=later)
    assert any(30 <= one <= 40 for one in found)


def test_missing_windows_of_the_reference_move_no_phase(usual: ReferenceStream) -> None:
    holed = tuple(None if i % 9 == 0 else p for i, p in enumerate(usual.p_values))
    whole = stream_rule(usual, [window(0)], expected_windows=50, step=DAY).rule.model.means
    means = stream_rule(
        ReferenceStream(24, FIRST, 50.0, holed), [window(0)], expected_windows=50, step=DAY
    ).rule.model.means
    np.testing.assert_allclose(means, whole, atol=0.4)
    assert np.argmax(means) == np.argmax(whole)


def window(day: int, *, texts: int = 50) -> JudgedWindow:
    return JudgedWindow(datetime(2026, 5, 1, tzinfo=EPOCH.tzinfo) + day * DAY, 0.5, 0, texts)


def test_the_note_says_what_a_run_length_rests_on(usual: ReferenceStream) -> None:
    def note(reference: ReferenceStream | None, *, texts: int = 50, step: timedelta = DAY) -> str:
        return stream_rule(reference, [window(0, texts=texts)], expected_windows=50, step=step).note

    assert note(usual) == "calibrated on 182 windows of the reference"
    for said, reason in (
        (note(None), "the baseline was built without its own windows, build it again"),
        (note(ReferenceStream(24, 0, 0.0, (), "the reference has no timestamps")), "the reference has no timestamps"),
        (note(usual, texts=63), "windows hold 63 texts, the reference's own 50"),
        (note(usual, step=DAY / 2), "the baseline's own windows are of 24 h, build it again"),
        (note(ReferenceStream(24, 0, 50.0, usual.p_values[:99])), "99 reference windows, 100 are needed"),
    ):
        assert said == f"{AS_INDEPENDENT}: {reason}"
