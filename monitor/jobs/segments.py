"""Which segments drifted: attributes of sampled rows on either side, searched once a window has drifted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detectors.results import TooLittleData
from detectors.segments import search_segments
from detectors.sketch import Sketch

FALSE_DISCOVERIES = 0.05  # of the segments named, on average; the window's alpha has paid for its drift already
MOST_SEGMENTS = 10
MOST_PAIRED = 8  # attributes; more make more pairs of values than a verdict has time for
PERMUTATIONS = 2999  # finds one drifted segment among 35; where all of 170 drifted, 9999 took 50 s and this a third

Columns = dict[str, list[str | None]]


def attribute_columns(rows: Sequence[Mapping[str, str] | None]) -> Columns:
    """Return one column per attribute of rows, None where a row lacks it.

    >>> attribute_columns([{"language": "de"}, None])
    {'language': ['de', None]}
    """
    names = sorted({name for row in rows if row for name in row})
    return {name: [None if row is None else row.get(name) for row in rows] for name in names}


def drifted_segments(
    reference: Sketch,
    current: Sketch,
    *,
    reference_attributes: Columns,
    current_attributes: Columns,
    rng: np.random.Generator,
) -> tuple[dict[str, Any], ...]:
    """Return at most ten drifted segments, the largest effect first, from the sketches' rows and their attributes."""
    shared = set(reference_attributes) & set(current_attributes)
    if not shared:
        return ()
    searched = search_segments(
        reference.rows,
        current.rows,
        reference_attributes=reference_attributes,
        current_attributes=current_attributes,
        alpha=FALSE_DISCOVERIES,
        rng=rng,
        permutations=PERMUTATIONS,
        pairs=len(shared) <= MOST_PAIRED,
    )
    if isinstance(searched, TooLittleData):
        return ()
    return tuple(
        {
            "segment": dict(one.segment),
            "reference_n": one.reference_n,
            "current_n": one.current_n,
            "effect": one.effect,
            "p_value": one.p_value,
            "adjusted_p_value": one.adjusted_p_value,
        }
        for one in searched.drifted[:MOST_SEGMENTS]
    )
