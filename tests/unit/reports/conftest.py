"""A report with everything in it, small enough to compute by hand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from reports.model import Counts, DetectorRow, MixRow, MovedCell, Projection, ReportInput, WindowVerdict

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def verdict_on(day: int, status: str = "ok", p_value: float | None = 0.5, **changes: object) -> WindowVerdict:
    """Return the verdict on one day; drift follows from p_value and alpha 0.01."""
    drift = None if p_value is None else p_value <= 0.01
    row = DetectorRow("kl_cells", 0.3 if drift else 0.1, "nats", p_value or 1.0, 0.2, bool(drift))
    values: dict[str, object] = {
        "start": START + day * DAY,
        "end": START + (day + 1) * DAY,
        "status": status,
        "drift": drift,
        "p_value": p_value,
        "alpha": 0.01,
        "n": 100,
        "detectors": (row,) if status == "ok" else (),
        "detail": "",
    }
    return WindowVerdict(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def verdict() -> Callable[..., WindowVerdict]:
    return verdict_on


@pytest.fixture
def report() -> ReportInput:
    rng = np.random.default_rng(1)
    return ReportInput(
        model="intents",
        version="3",
        window_start=START,
        window_end=START + 4 * DAY,
        generated_at=START + 4 * DAY,
        verdicts=(
            verdict_on(0, p_value=0.5),
            verdict_on(1, p_value=0.001),
            verdict_on(2, "too_little_data", None, n=31, detail="31 texts, 50 needed"),
            verdict_on(3, "failed", None, n=0, detail="the checkpoint is gone"),
        ),
        projection=Projection(rng.normal(size=(20, 2)), rng.normal(size=(10, 2)), ("first", "second")),
        cells=(MovedCell(7, 0.02, 0.14, 0.25, ("esim", "roaming"), ("my esim is lost",)),),
        mix=(MixRow("lost_card", 0.4, 0.6, 60), MixRow("other", None, 0.4, 40)),
        counts=Counts(90, 5, 4, 1, 90, 9, 0, 90, 0),
        provenance=(("code version", "0.1.0"),),
        evidently_href="texts.html",
    )
