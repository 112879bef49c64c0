"""What detectors return: frozen results, never NaN, never a p-value of 0."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DetectorResult:
    """One statistic with its unit, p-value in (0, 1], threshold at its share of alpha, and verdict.

    p_value is the detector's own, as if it stood alone; drift and threshold are at its share of the family's alpha.
    effect says how large the change is, in the words of `detectors.compare.EFFECTS`; None where it has none.
    """

    name: str
    statistic: float
    unit: str
    p_value: float
    threshold: float
    drift: bool
    effect: float | None = None


@dataclass(frozen=True, slots=True)
class TooLittleData:
    """An honest "cannot say": what there was and what it would take."""

    reason: str
    got: int
    needed: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """All detectors together, at a family-wise alpha."""

    drift: bool
    p_value: float
    alpha: float


@dataclass(frozen=True, slots=True)
class CellShift:
    """A cell's share before and after, and what it adds to the divergence (nats; positive when it grew)."""

    cell: int
    reference_share: float
    current_share: float
    contribution_nats: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A window beside its reference."""

    reference_n: int
    current_n: int
    detectors: tuple[DetectorResult, ...]
    verdict: Verdict
    cells: tuple[CellShift, ...]
