from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.clock import ReplayedClock, Window, complete_windows, floor_to, parse_span
from monitor.errors import InputError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_windows_are_whole_and_end_by_the_given_time() -> None:
    found = list(
        complete_windows(
            first_event=NOON + timedelta(minutes=5),
            until=NOON + timedelta(hours=2, minutes=59),
            step=timedelta(hours=1),
        )
    )
    assert found == [
        Window(NOON, NOON + timedelta(hours=1)),
        Window(NOON + timedelta(hours=1), NOON + timedelta(hours=2)),
    ]


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)), st.integers(1, 10_000))  # noqa: DTZ001 - made aware below
def test_flooring_never_moves_an_instant_by_a_step_or_more(instant: datetime, minutes: int) -> None:
    aware, step = instant.replace(tzinfo=UTC), timedelta(minutes=minutes)
    assert timedelta() <= aware - floor_to(aware, step) < step


def test_a_replayed_clock_never_goes_back() -> None:
    clock = ReplayedClock(NOON)
    clock.advance_to(NOON + timedelta(hours=1))
    with pytest.raises(ValueError, match="never goes back"):
        clock.advance_to(NOON)


@pytest.mark.parametrize(("text", "hours"), [("24h", 24), ("7d", 168), ("120m", 2)])
def test_spans_are_read(text: str, hours: float) -> None:
    assert parse_span(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "h", "24", "-1h", "1.5h", "0d", "1w", "²d", "٣h", "9" * 5000 + "d", "100000d"])
def test_other_spans_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--window"):
        parse_span(text)


@pytest.mark.parametrize("text", ["30m", "90m", "1m"])
def test_spans_that_are_no_whole_hours_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=f"whole hours, since windows are made of hourly sketches, got '{text}'"):
        parse_span(text)


def test_a_refused_span_is_not_repeated_at_length() -> None:
    with pytest.raises(InputError) as caught:
        parse_span("9" * 5000 + "d")
    assert len(str(caught.value)) < 200


def test_a_window_without_zone_or_length_is_refused() -> None:
    with pytest.raises(ValueError, match="ends after it starts"):
        Window(NOON, NOON)
    with pytest.raises(ValueError, match="time zone"):
        Window(NOON.replace(tzinfo=None), NOON)
