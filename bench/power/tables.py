"""The page of tables: Markdown from standings, every rate with its interval."""

from collections.abc import Sequence
from statistics import fmean

from bench.power.ledger import Ledger
from bench.power.outcome import LABELS, OURS
from bench.power.scenarios import CLINC_KINDS, CLINC_SHARES, SHARES, SIZES, SYNTHETIC_SIZES, WORDS, Cell
from bench.power.scoring import ALPHA, Place, Rate, Standing, duel

Stood = dict[tuple[Cell, str], Standing]
BAND = (0.03, 0.07)


def rate_text(rate: Rate | None) -> str:
    """Return a rate with its 95 % interval.

    >>> rate_text(Rate(38, 40))
    '0.95 (0.83–0.99)'
    """
    if rate is None:
        return "–"
    low, high = rate.interval
    return f"{rate.value:.2f} ({low:.2f}–{high:.2f})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ranking_table(places: Sequence[Place], *, missing: Sequence[str]) -> str:
    head = [
        "", "score", "false alarms", "power, own verdict", "right alarms of 100", f"power at {ALPHA:.0%} false alarms",
        "seconds a run", "cells",
    ]  # fmt: skip
    rows = [
        [
            _bold(place.contender), f"{place.informedness:.2f}", rate_text(place.false_alarms), f"{place.power:.2f}",
            f"{100 * place.precision:.0f}", _power(place.calibrated_power), f"{place.seconds:.2g}", str(place.cells),
        ]
        for place in places
    ]  # fmt: skip
    return table(head, rows + [[LABELS[name], "not run", *[""] * 6] for name in missing])


def duels_table(cells: Sequence[Cell], stood: Stood) -> str:
    rows = []
    for cell in cells:
        found = duel(cell, stood) if cell.drifts else None
        if found is not None:
            rows.append(
                [
                    f"{cell.traffic}: {WORDS[cell.kind]} {cell.share:.0%}", f"{cell.n:,}", rate_text(found.ours),
                    f"{LABELS[found.peer]} {rate_text(found.theirs)}", found.outcome,
                ]
            )  # fmt: skip
    return table(["scenario", "n", "driftwarden", "best peer", "driftwarden is"], rows)


def duels_count(cells: Sequence[Cell], stood: Stood) -> dict[str, int]:
    """Return in how many cells ours is above, level with or below the best peer."""
    outcomes = [found.outcome for cell in cells if cell.drifts and (found := duel(cell, stood)) is not None]
    return {outcome: outcomes.count(outcome) for outcome in ("above", "level", "below")}


def banking_table(n: int, contenders: Sequence[str], stood: Stood, *, calibrated: bool) -> str:
    shares = SHARES if calibrated else (0.0, *SHARES)
    columns = [Cell("banking77", "oos" if share else "none", share, n) for share in shares]
    return _grid(
        [f"{share:.0%}" if share else "0 % (false alarms)" for share in shares], columns, contenders, stood, calibrated
    )


def clinc_table(n: int, share: float, contenders: Sequence[str], stood: Stood, *, calibrated: bool) -> str:
    columns = [Cell("clinc150", kind, share, n) for kind in CLINC_KINDS]
    heads = [WORDS[kind] for kind in CLINC_KINDS]
    if not calibrated:
        columns, heads = [Cell("clinc150", "none", 0.0, n), *columns], ["no drift (false alarms)", *heads]
    return _grid(heads, columns, contenders, stood, calibrated)


def synthetic_table(contenders: Sequence[str], stood: Stood) -> str:
    """Return alarms without drift on the anisotropic embeddings, with the number of runs."""
    rows = []
    for name in contenders:
        rates = [stood.get((Cell("synthetic", "none", 0.0, n), name)) for n in SYNTHETIC_SIZES]
        if any(rates):
            rows.append([_bold(name), *["not run" if one is None else alarms_text(one.alarms) for one in rates]])
    return table(["", *[f"n = {n:,}" for n in SYNTHETIC_SIZES]], rows)


def parts_table(cells: Sequence[Cell], ledger: Ledger) -> str:
    """Return how often each of our detectors alone, and the verdict, alarms in every cell without drift."""
    columns = [cell for cell in cells if not cell.drifts and ledger.of(cell.name, OURS)]
    rates = [part_rates(ledger, cell) for cell in columns]
    names = dict.fromkeys(name for found in rates for name in found)
    rows = [[name, *[alarms_text(found[name]) if name in found else "–" for found in rates]] for name in names]
    return table(["detector", *[f"{cell.traffic}, n = {cell.n:,}" for cell in columns]], rows)


def part_rates(ledger: Ledger, cell: Cell) -> dict[str, Rate]:
    """Return each detector's alarm rate at alpha in a cell, and the whole verdict's."""
    entries = ledger.of(cell.name, OURS)
    if not entries:
        return {}
    parts = {name: [entry.parts[name] <= ALPHA for entry in entries] for name in entries[0].parts}
    verdict = {"verdict": [entry.drift for entry in entries]}
    return {name: Rate(sum(alarms), len(alarms)) for name, alarms in (parts | verdict).items()}


def runs_text(cells: Sequence[Cell], stood: Stood) -> str:
    """Return how many runs a drifting and a calm real-text cell has, from the fewest to the most."""
    parts = []
    for word, drifts in (("with drift", True), ("without", False)):
        runs = [
            one.alarms.runs for (cell, _), one in stood.items()
            if cell in cells and cell.drifts == drifts and cell.traffic != "synthetic"
        ]  # fmt: skip
        if runs:
            parts.append(f"{min(runs)} to {max(runs)} runs a cell {word} (mean {fmean(runs):.0f})")
    return ", ".join(parts)


def _grid(
    heads: Sequence[str], columns: Sequence[Cell], contenders: Sequence[str], stood: Stood, calibrated: bool
) -> str:
    rows = []
    for name in contenders:
        found = [stood.get((cell, name)) for cell in columns]
        if any(found):
            rates = [None if one is None else one.calibrated if calibrated else one.alarms for one in found]
            rows.append([_bold(name), *[rate_text(rate) for rate in rates]])
    return table(["", *heads], rows)


def alarms_text(rate: Rate) -> str:
    """Return a rate without drift, its interval and its runs; marked where the interval lies outside [3 %, 7 %].

    >>> alarms_text(Rate(100, 2000))
    '0.050 (0.041–0.060) of 2,000'
    """
    low, high = rate.interval
    outside = " ✗" if high < BAND[0] or low > BAND[1] else ""
    return f"{rate.value:.3f} ({low:.3f}–{high:.3f}) of {rate.runs:,}{outside}"


def _power(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _bold(name: str) -> str:
    return f"**{LABELS[name]}**" if name == OURS else LABELS[name]


def sections(cells: Sequence[Cell], contenders: Sequence[str], stood: Stood) -> str:
    """Return the tables of every scenario, at equal false alarms first, then by everybody's own verdict."""
    present = set(cells)
    parts = []
    for calibrated, title in ((True, f"at {ALPHA:.0%} measured false alarms"), (False, "by everybody's own verdict")):
        for n in SIZES:
            if any(cell.traffic == "banking77" and cell.n == n for cell in present):
                parts.append(f"### BANKING77 with out-of-scope texts, n = {n:,}, {title}")
                parts.append(banking_table(n, contenders, stood, calibrated=calibrated))
        for n in SIZES:
            for share in CLINC_SHARES:
                if any(cell.traffic == "clinc150" and cell.n == n and cell.share == share for cell in present):
                    parts.append(f"### CLINC150, {share:.0%} of the window shifted, n = {n:,}, {title}")
                    parts.append(clinc_table(n, share, contenders, stood, calibrated=calibrated))
    return "\n\n".join(parts)
