import pytest

from reports.wording import p_phrase, p_text, share_text, significant


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0"),
        (0.01234, "0.0123"),
        (12.345, "12.3"),
        (1230.0, "1230"),
        (1.23e-7, "1.23e-07"),
        (float("nan"), "not finite"),
    ],
)
def test_numbers_keep_three_significant_digits(value: float, words: str) -> None:
    assert significant(value) == words


def test_a_small_p_value_is_never_rounded_to_zero_nor_told_beyond_what_a_null_supports() -> None:
    assert [p_text(p) for p in (0.0005, 1e-6, 4.5e-308, 0.0, 1.0)] == ["0.0005", "1.0e-06", "< 1e-6", "< 1e-6", "1"]
    assert [p_phrase(p) for p in (0.03, 1e-20)] == ["p = 0.03", "p < 1e-6"]


def test_a_small_share_is_never_rounded_to_nothing() -> None:
    assert [share_text(share) for share in (0.0, 0.0001, 0.123, 1.0)] == ["0%", "<0.1%", "12.3%", "100%"]
