"""Which segments drifted: every attribute value and pair of them, with the false-discovery rate controlled."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from detectors.checks import FloatArray, IntArray, matrix, probability
from detectors.combination import benjamini_yekutieli
from detectors.errors import DetectorInputError
from detectors.permutation import dealt, sequential_p_value
from detectors.results import TooLittleData

MINIMUM = 30
MOST_VALUES = 50
ENOUGH = 20  # exceedances after which a p-value is told well enough
ROUNDING = 1e-24  # of the squared rows: what is left of equal rows when their mean is taken off

Attributes = Mapping[str, Sequence[str | None]]
Segment = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SegmentDrift:
    """A segment such as (("language", "de"), ("channel", "chat")): sizes, effect, p-value, adjusted p-value."""

    segment: Segment
    reference_n: int
    current_n: int
    effect: float
    p_value: float
    adjusted_p_value: float
    drift: bool


@dataclass(frozen=True, slots=True)
class SegmentSearch:
    """All tested segments, those that drifted first and by effect; how many were too small to test."""

    tested: tuple[SegmentDrift, ...]
    too_small: int
    alpha: float

    @property
    def drifted(self) -> tuple[SegmentDrift, ...]:
        """Return the segments whose adjusted p-value is at most alpha, by effect."""
        return tuple(segment for segment in self.tested if segment.drift)


def search_segments(
    reference: npt.ArrayLike,
    current: npt.ArrayLike,
    *,
    reference_attributes: Attributes,
    current_attributes: Attributes,
    alpha: float,
    rng: np.random.Generator,
    minimum: int = MINIMUM,
    pairs: bool = True,
    permutations: int = 9999,
) -> SegmentSearch | TooLittleData:
    """Test within every attribute=value, and pair of them, whether current rows (n, k) differ from reference (m, k).

    Rows are centred and whitened (a basis's projection). The effect is the distance of means in baseline standard
    deviations, less what chance alone gives; the p-value permutes sides within the segment and stops early once it is
    surely large (Besag & Clifford 1991), so 1,000 segments cost little more than those that drifted. Segments overlap,
    so discoveries are controlled under any dependence (Benjamini & Yekutieli 2001): of the segments named, at most
    alpha are wrong on average. A missing value (None) is in no segment; of an attribute with more than 50 values the
    50 most frequent are searched. A segment needs `minimum` rows a side.
    """
    probability("alpha", alpha)
    before = matrix("reference", reference)
    now = matrix("current", current, columns=before.shape[1])
    if minimum < 2 or permutations < 1:
        raise DetectorInputError(f"minimum >= 2 and permutations >= 1, got {minimum} and {permutations}")
    members = dict(_members(before, now, reference_attributes, current_attributes, pairs=pairs))
    large = {name: rows for name, rows in members.items() if min(map(len, rows)) >= minimum}
    if not large:
        most = max((min(map(len, rows)) for rows in members.values()), default=0)
        return TooLittleData("rows a side in the largest segment", got=most, needed=minimum)
    found = [
        (name, rows, *_tested(before[rows[0]], now[rows[1]], permutations=permutations, rng=rng))
        for name, rows in large.items()
    ]
    adjusted = benjamini_yekutieli([p for *_, p in found])
    tested = [
        SegmentDrift(name, rows[0].size, rows[1].size, effect, p, float(q), bool(q <= alpha))
        for (name, rows, effect, p), q in zip(found, adjusted, strict=True)
    ]
    tested.sort(key=lambda one: (not one.drift, -one.effect, one.segment))
    return SegmentSearch(tuple(tested), len(members) - len(large), alpha)


def _members(
    before: FloatArray, now: FloatArray, reference: Attributes, current: Attributes, *, pairs: bool
) -> Iterator[tuple[Segment, tuple[IntArray, IntArray]]]:
    """Yield every segment with its rows on either side; pairs only of different attributes."""
    shared = sorted(set(reference) & set(current))
    for side, rows, attributes in (("reference", before, reference), ("current", now, current)):
        for name in shared:
            if len(attributes[name]) != rows.shape[0]:
                raise DetectorInputError(
                    f"{side} attribute {name} must be one per row, got {len(attributes[name])} for {rows.shape[0]}"
                )
    singles: dict[str, list[tuple[str, IntArray, IntArray]]] = {}
    for name in shared:
        columns = [np.array(side[name], dtype=object) for side in (reference, current)]
        values = [value for column in columns for value in column if value is not None]
        names, counts = np.unique(np.array(values, dtype=str), return_counts=True)
        kept = names[np.argsort(-counts, kind="stable")[:MOST_VALUES]]
        singles[name] = [
            (str(value), np.flatnonzero(columns[0] == value), np.flatnonzero(columns[1] == value)) for value in kept
        ]
        for value, earlier, later in singles[name]:
            yield ((name, value),), (earlier, later)
    if not pairs:
        return
    for first, second in combinations(shared, 2):
        for one in singles[first]:
            for other in singles[second]:
                earlier = np.intersect1d(one[1], other[1], assume_unique=True)
                later = np.intersect1d(one[2], other[2], assume_unique=True)
                if earlier.size or later.size:
                    yield ((first, one[0]), (second, other[0])), (earlier, later)


def _tested(before: FloatArray, now: FloatArray, *, permutations: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return the effect and the sequential permutation p-value of the squared distance of means."""
    rows = np.concatenate([before, now])
    rows = rows - rows.mean(axis=0)
    n, total = now.shape[0], rows.shape[0]
    scale = 1 / n + 1 / (total - n)  # the rows sum to zero, so one side's sum gives both means
    chance = float((rows**2).sum()) / (total - 1) * scale
    if chance <= ROUNDING * float((before**2).sum() + (now**2).sum()):
        return 0.0, 1.0

    def in_chance(assignment: FloatArray) -> FloatArray:
        return np.asarray(((assignment @ rows * scale) ** 2).sum(axis=1, keepdims=True) / chance)

    sides = np.repeat([0.0, 1.0], [total - n, n])
    observed = float(in_chance(sides[None, :])[0, 0])
    p = sequential_p_value(
        observed,
        lambda count: in_chance(dealt(sides, count, rng=rng)),
        permutations=permutations,
        enough=ENOUGH,
    )
    return float(np.sqrt(max(0.0, observed - 1) * chance)), p
