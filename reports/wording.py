"""How verdicts, numbers and times are put into words, the same in plots, tables and sentences."""

import math
from collections.abc import Mapping
from datetime import datetime

from reports.model import WindowVerdict

DRIFT, CALM, LITTLE, FAILED = "drifted", "calm", "unknown", "failed"
WORDS = {DRIFT: "drift", CALM: "no drift found", LITTLE: "insufficient evidence", FAILED: "failed"}
JUDGED = (DRIFT, CALM)
SMALLEST_P = 1e-6  # no null distribution here is known further out


def kind_of(one: WindowVerdict) -> str:
    """Return which of the four kinds a window is; a window without a verdict is never "no drift"."""
    if one.status == "failed":
        return FAILED
    if one.status == "too_little_data" or one.drift is None or one.p_value is None or math.isnan(one.p_value):
        return LITTLE
    return DRIFT if one.drift else CALM


def when(instant: datetime) -> str:
    """Return 2026-01-02 03:04 UTC."""
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def significant(value: float, *, digits: int = 3) -> str:
    """Return a number to three significant digits: 0.0123, 12.3, 1230, 1.2e-05; "not finite" when it is not."""
    if not math.isfinite(value):
        return "not finite"
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    plain = f"{value:.{places}f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def p_text(p_value: float) -> str:
    """Return a p-value to two significant digits; one smaller than any null can support is "< 1e-6".

    >>> p_text(0.0213), p_text(4.5e-308)
    ('0.021', '< 1e-6')
    """
    return "< 1e-6" if p_value < SMALLEST_P else significant(p_value, digits=2)


def p_phrase(p_value: float) -> str:
    """Return "p = 0.021" or "p < 1e-6"."""
    told = p_text(p_value)
    return f"p {told}" if told.startswith("<") else f"p = {told}"


def segment_name(segment: Mapping[str, str]) -> str:
    """Return language = de, channel = chat."""
    return ", ".join(f"{name} = {value}" for name, value in segment.items())


def share_text(share: float) -> str:
    """Return a share as a percentage; a small one is never rounded to nothing.

    >>> share_text(0.1234), share_text(0.0), share_text(0.0002)
    ('12.3%', '0%', '<0.1%')
    """
    if not math.isfinite(share):
        return "not finite"
    if 0 < share < 0.0005:
        return "<0.1%"
    return f"{share:.1%}".replace(".0%", "%")


def raw_cosine_text(raw_cosine: float) -> str:
    """Return the raw cosine in words that leave no doubt about what it decides.

    >>> raw_cosine_text(0.99871234)
    'raw cosine of the two mean embeddings: 0.9987 (shown for comparison, never decides)'
    """
    return f"raw cosine of the two mean embeddings: {raw_cosine:.4f} (shown for comparison, never decides)"
