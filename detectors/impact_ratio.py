"""The impact-ratio table that New York City asks of automated employment decisions, as its rule lays it out.

Source: 6 RCNY § 5-300 to 5-304 (Department of Consumer and Worker Protection, Local Law 144 of 2021). A selection rate
is the selected over all of a category; an impact ratio is a category's rate over that of the most selected category;
rows whose category is unknown are counted beside the table; a category under 2 % of the rows may be left out of the
ratios, with its count and rate shown. The rule's examples show two decimals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.errors import DetectorInputError

SMALL_SHARE = 0.02
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ImpactRow:
    """A category: how many applied and were selected, its rate, and its ratio; None where left out or undefined."""

    category: str
    applicants: int
    selected: int
    selection_rate: float | None
    impact_ratio: float | None
    excluded: bool

    def shown(self) -> tuple[str, str, str, str, str]:
        """Return the cells as the rule prints them: two decimals, n/a where there is no number."""
        rate = "n/a" if self.selection_rate is None else f"{self.selection_rate:.2f}"
        ratio = "excluded" if self.excluded else "n/a" if self.impact_ratio is None else f"{self.impact_ratio:.2f}"
        return self.category, str(self.applicants), str(self.selected), rate, ratio


@dataclass(frozen=True, slots=True)
class ImpactTable:
    """The categories in the order given, the most selected one, and how many rows are of an unknown category."""

    rows: tuple[ImpactRow, ...]
    most_selected: str | None
    unknown: int


def impact_ratio_table(
    categories: Sequence[str], applicants: npt.ArrayLike, selected: npt.ArrayLike, *, small_share: float = SMALL_SHARE
) -> ImpactTable:
    """Return the table of categories with their counts (k,). The category `unknown` is counted beside it.

    A category below small_share of the known rows gets no ratio, and is not the most selected one.
    Raises DetectorInputError for counts that cannot be.

    >>> found = impact_ratio_table(["men", "women", "unknown"], [2000, 1000, 30], [1000, 300, 9])
    >>> [row.shown() for row in found.rows], found.unknown
    ([('men', '2000', '1000', '0.50', '1.00'), ('women', '1000', '300', '0.30', '0.60')], 30)
    """
    all_of, chosen = np.asarray(applicants, dtype=np.int64), np.asarray(selected, dtype=np.int64)
    if not len(categories) == all_of.size == chosen.size or (chosen < 0).any() or (chosen > all_of).any():
        raise DetectorInputError(f"each category needs 0 <= selected <= applicants, got {chosen} of {all_of}")
    held = [(name, int(n), int(k)) for name, n, k in zip(categories, all_of, chosen, strict=True) if name != UNKNOWN]
    total = sum(n for _, n, _ in held)
    included = {name: k / n for name, n, k in held if n and n >= small_share * total}
    most = max(included, key=lambda name: included[name], default=None)
    best = included[most] if most is not None else 0.0
    rows = tuple(
        ImpactRow(
            name,
            n,
            k,
            k / n if n else None,
            included[name] / best if name in included and best > 0 else None,
            name not in included,
        )
        for name, n, k in held
    )
    return ImpactTable(rows, most, int(all_of.sum()) - total)
