"""Plots of power against contamination, of the CLINC150 shifts and of the ranking: SVG and PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

from bench.power.outcome import LABELS, OURS
from bench.power.scenarios import CLINC_KINDS, CLINC_SHARES, SHARES, SIZES, WORDS, Cell
from bench.power.scoring import ALPHA, Place
from bench.power.tables import Stood

COLOURS = {
    "driftwarden": "#d55e00",
    "alibi": "#0072b2",
    "evidently": "#009e73",
    "always": "#8a8f98",
    "never": "#8a8f98",
}
SHADES = {"driftwarden": "Oranges", "alibi": "Blues", "evidently": "Greens", "always": "Greys", "never": "Greys"}
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
MARKS = "os^Dv"


def draw(folder: Path, contenders: Sequence[str], stood: Stood, places: Sequence[Place]) -> list[Path]:
    """Write every plot to the folder twice, as SVG and as PNG; the same standings give the same SVG bytes."""
    mpl.rcParams.update({"svg.hashsalt": "power", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figures = {
        "power-contamination": _contamination(contenders, stood),
        "power-shifts": _shifts(contenders, stood),
        "power-ranking": _ranking(places),
    }
    written = []
    for name, figure in figures.items():
        for suffix in ("svg", "png"):
            path = folder / f"{name}.{suffix}"
            metadata = {"Date": None} if suffix == "svg" else {"Software": None}
            figure.savefig(path, dpi=110, metadata=metadata, bbox_inches="tight")
            written.append(path)
        plt.close(figure)
    return written


def _contamination(contenders: Sequence[str], stood: Stood) -> Any:
    figure, axes = plt.subplots(2, len(SIZES), figsize=(13, 8), sharex=True, sharey=True)
    for column, n in enumerate(SIZES):
        for row, calibrated in enumerate((True, False)):
            axis = axes[row, column]
            for name in contenders:
                _line(axis, name, n, stood, calibrated=calibrated)
            axis.axhline(ALPHA, color="#8a8f98", linewidth=0.8)
            title = f"thresholds for {ALPHA:.0%} false alarms" if calibrated else "own verdicts"
            axis.set_title(f"n = {n:,}, {title}")
            axis.set_ylim(-0.03, 1.03)
            axis.set_xticks(range(len(SHARES) + 1), ["0 %", *[f"{share:.0%}" for share in SHARES]])
    axes[0, 0].set_ylabel("share of windows that alarm")
    axes[1, 0].set_ylabel("share of windows that alarm")
    for axis in axes[1]:
        axis.set_xlabel("out-of-scope texts in the window")
    handles, labels = axes[1, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=5, bbox_to_anchor=(0.5, -0.07), frameon=False)
    figure.suptitle("BANKING77 with CLINC out-of-scope texts: power against contamination")
    return figure


def _line(axis: Any, name: str, n: int, stood: Stood, *, calibrated: bool) -> None:
    if calibrated and name in {"always_alarm", "never_alarm"}:
        return
    cells = [Cell("banking77", "none", 0.0, n), *[Cell("banking77", "oos", share, n) for share in SHARES]]
    points = []
    for position, cell in enumerate(cells):
        found = stood.get((cell, name))
        rate = None if found is None else found.calibrated if calibrated else found.alarms
        if rate is not None:
            points.append((position, rate.value, *rate.interval))
    if not points:
        return
    x, y, low, high = (np.array(values) for values in zip(*points, strict=True))
    order = [one for one in LABELS if one.partition("_")[0] == name.partition("_")[0]].index(name)
    shade = mpl.colormaps[SHADES[name.partition("_")[0]]](0.75 - 0.09 * order)
    style = {"color": shade, "linestyle": DASHES[order], "marker": MARKS[order]}
    axis.plot(x, y, label=LABELS[name], markersize=4, linewidth=2.4 if name == OURS else 1.1, **style)
    if name == OURS:
        axis.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _shifts(contenders: Sequence[str], stood: Stood) -> Any:
    """Draw a map of power at equal false alarms: contenders down, shifts across, one panel for each n."""
    columns = [(kind, share) for kind in CLINC_KINDS for share in CLINC_SHARES]
    shown = [name for name in contenders if name not in {"always_alarm", "never_alarm"}]
    figure, axes = plt.subplots(1, len(SIZES), figsize=(19, 5.5), sharey=True)
    for axis, n in zip(axes, SIZES, strict=True):
        values = np.full((len(shown), len(columns)), np.nan)
        for i, name in enumerate(shown):
            for j, (kind, share) in enumerate(columns):
                found = stood.get((Cell("clinc150", kind, share, n), name))
                if found is not None and found.calibrated is not None:
                    values[i, j] = found.calibrated.value
                    ink = "white" if values[i, j] > 0.55 else "black"
                    axis.text(j, i, f"{values[i, j]:.2f}".lstrip("0"), ha="center", va="center", color=ink, fontsize=7)
        axis.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set_title(f"n = {n:,}")
        labels = [f"{WORDS[kind]} {share:.0%}" for kind, share in columns]
        axis.set_xticks(range(len(columns)), labels, rotation=60, ha="right")
        axis.set_yticks(range(len(shown)), [LABELS[name] for name in shown])
    figure.suptitle(f"CLINC150: share of shifted windows found at {ALPHA:.0%} measured false alarms")
    return figure


def _ranking(places: Sequence[Place]) -> Any:
    figure, axis = plt.subplots(figsize=(9, 0.42 * max(len(places), 2) + 1.2))
    for position, place in enumerate(reversed(places)):
        colour = COLOURS[place.contender.partition("_")[0]]
        axis.barh(position, place.informedness, color=colour)
        if place.calibrated_power is not None:
            axis.plot(place.calibrated_power, position, "D", color="black", markersize=4)
        axis.plot(place.false_alarms.value, position, "x", color="black", markersize=6)
    axis.set_yticks(range(len(places)), [LABELS[place.contender] for place in reversed(places)])
    axis.set_xlim(min([-0.1, *[place.informedness for place in places]]), 1.02)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_xlabel(f"bar: score (power less false alarms) · ◆ power at {ALPHA:.0%} false alarms · × false alarms")
    return figure
