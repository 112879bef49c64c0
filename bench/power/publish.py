"""Write what was measured: a JSON summary, the page of tables, the plots and the ledger itself."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import machine
from bench.power import plots, tables
from bench.power.ledger import Ledger
from bench.power.outcome import LABELS, PEERS
from bench.power.scenarios import Cell
from bench.power.scoring import Rate, Standing, duel, ranking, standings

TEXT = Path(__file__).with_name("page.md")


def publish(
    cells: Sequence[Cell],
    ledger: Ledger,
    *,
    about: dict[str, Any],
    root: Path | None,
    committed: Path,
) -> None:
    """Write page, plots, summary and ledger below `root`; print the tables instead where it is None."""
    contenders = [name for name in LABELS if any(ledger.of(cell.name, name) for cell in cells)]
    stood = standings(cells, contenders, ledger)
    places = ranking(cells, contenders, stood)
    missing = [name for name in LABELS if name not in contenders]
    if root is None:
        print(tables.ranking_table(places, missing=missing), tables.duels_table(cells, stood), sep="\n\n")
        print(tables.synthetic_table(contenders, stood))
        return
    pages = root / "docs" / "benchmarks"
    pages.mkdir(parents=True, exist_ok=True)
    plots.draw(pages, contenders, stood, places)
    counted = tables.duels_count(cells, stood)
    page = TEXT.read_text(encoding="utf-8").format(
        accuracy=f"{about['model_accuracy']:.1%}",
        runs=tables.runs_text(cells, stood),
        duels="{above} cells above, {level} level, {below} below".format(**counted),
        calibrated=len({name for (_, name), one in stood.items() if name in PEERS and one.calibrated}),
        peers=len(PEERS),
        ranking=tables.ranking_table(places, missing=missing),
        duel_table=tables.duels_table(cells, stood),
        sections=tables.sections(cells, contenders, stood),
        synthetic=tables.synthetic_table(contenders, stood),
        parts=tables.parts_table(cells, ledger),
        versions=", ".join(f"{LABELS[name]} {version}" for name, version in versions(ledger).items()),
    )
    (pages / "power.md").write_text(page, encoding="utf-8")
    summary = {"benchmark": "power", "machine": machine.describe(), **about, "duels": counted}
    summary |= {"ranking": [_flat(asdict(place)) for place in places], "cells": _cells(cells, contenders, stood)}
    summary["detectors_without_drift"] = {
        cell.name: {name: _rate(rate) for name, rate in tables.part_rates(ledger, cell).items()}
        for cell in cells
        if not cell.drifts
    }
    (machine.RESULTS / "power.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    ledger.commit(committed)


def versions(ledger: Ledger) -> dict[str, str]:
    """Return the version of each contender's runs."""
    found = {entry.contender: entry.version for runs in ledger.entries.values() for entry in runs.values()}
    return {name: found[name] for name in LABELS if name in found}


def _cells(
    cells: Sequence[Cell], contenders: Sequence[str], stood: dict[tuple[Cell, str], Standing]
) -> list[dict[str, Any]]:
    rows = []
    for cell in cells:
        held = {name: _standing(stood[cell, name]) for name in contenders if (cell, name) in stood}
        best = duel(cell, stood) if cell.drifts else None
        row: dict[str, Any] = {"cell": cell.name, "contenders": held}
        if best is not None:
            row["duel"] = {"best_peer": best.peer, "outcome": best.outcome, "p_lower": best.p_lower}
        rows.append(row)
    return rows


def _standing(one: Standing) -> dict[str, Any]:
    found: dict[str, Any] = {"alarms": _rate(one.alarms), "median_seconds": round(one.seconds, 4)}
    if one.calibrated is not None:
        found["at_equal_false_alarms"] = _rate(one.calibrated)
    return found


def _rate(rate: Rate) -> dict[str, Any]:
    low, high = rate.interval
    return {"rate": round(rate.value, 4), "low": round(low, 4), "high": round(high, 4), "runs": rate.runs}


def _flat(place: dict[str, Any]) -> dict[str, Any]:
    rate = Rate(**place["false_alarms"])
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in place.items()}
    return rounded | {"false_alarms": _rate(rate)}
