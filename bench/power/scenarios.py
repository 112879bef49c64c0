"""The cells of the benchmark, and what each draws for a seed: reference, current window, further reference texts."""

import zlib
from dataclasses import dataclass

import numpy as np

from bench.power.perturb import PERTURBATIONS
from bench.power.pools import Pool, joined
from bench.power.synthetic import anisotropic
from monitor.jobs.baseline import Observations

SIZES = (100, 500, 1500)
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
CLINC_SHARES = (0.05, 0.2)
CLINC_KINDS = ("domains", "mix", *PERTURBATIONS, "restaurant", "tokenizer")
SYNTHETIC_SIZES = (200, 1000, 5000)
UNSEEN_TOPICS = 2  # of CLINC150's ten domains, the last two by name are kept out of reference and calm windows
NO_DRIFT = "none"

WORDS = {
    NO_DRIFT: "no drift",
    "oos": "out-of-scope texts",
    "domains": "unseen domains",
    "mix": "class-mix shift",
    "typos": "typos",
    "casing": "casing",
    "truncated": "truncated inputs",
    "restaurant": "another domain",
    "tokenizer": "wrong tokenizer",
}


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One scenario: `share` of the current window's n texts is of `kind`; the reference has n texts too."""

    traffic: str
    kind: str
    share: float
    n: int

    @property
    def name(self) -> str:
        return f"{self.traffic}/{self.kind}/{self.share:g}/{self.n}"

    @property
    def drifts(self) -> bool:
        return self.kind != NO_DRIFT


@dataclass(frozen=True, slots=True)
class Draw:
    """What every contender sees for a seed; `further` are n more reference texts, for a basis fitted beforehand."""

    reference: Observations
    current: Observations
    further: Observations


def cells() -> list[Cell]:
    """Return every cell, no-drift cells first."""
    calm = [Cell(traffic, NO_DRIFT, 0.0, n) for traffic in ("banking77", "clinc150") for n in SIZES]
    calm += [Cell("synthetic", NO_DRIFT, 0.0, n) for n in SYNTHETIC_SIZES]
    contaminated = [Cell("banking77", "oos", share, n) for share in SHARES for n in SIZES]
    shifted = [Cell("clinc150", kind, share, n) for kind in CLINC_KINDS for share in CLINC_SHARES for n in SIZES]
    return calm + contaminated + shifted


def draw(cell: Cell, pools: dict[str, Pool], *, seed: int) -> Draw:
    """Return the cell's draw for a seed: the same for every contender, no text on both sides."""
    rng = np.random.default_rng([zlib.crc32(cell.name.encode()), seed])
    if cell.traffic == "synthetic":
        return _synthetic(cell.n, rng)
    known, unseen = _split(pools[cell.traffic])
    order = rng.permutation(known)
    drifted = round(cell.share * cell.n)
    current, rest = order[cell.n : 2 * cell.n - drifted], order[2 * cell.n - drifted :]
    new, rest = _drifted(cell.kind, drifted, rest, unseen, pools, rng)
    pool = pools[cell.traffic]
    window = [pool.take(current), new] if drifted else [pool.take(current)]
    return Draw(pool.take(order[: cell.n]), joined(window), pool.take(rest[: cell.n]))


def _split(pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of known and of unseen topics; a pool without topics knows all its rows."""
    if not pool.topics:
        return np.arange(len(pool)), np.arange(0)
    hidden = set(sorted(set(pool.topics))[-UNSEEN_TOPICS:])
    is_hidden = np.array([topic in hidden for topic in pool.topics])
    return np.flatnonzero(~is_hidden), np.flatnonzero(is_hidden)


def _drifted(
    kind: str, count: int, rest: np.ndarray, unseen: np.ndarray, pools: dict[str, Pool], rng: np.random.Generator
) -> tuple[Observations, np.ndarray]:
    """Return `count` drifted texts and the rows of the traffic that are still unused."""
    if kind == "domains":
        return pools["clinc150"].take(rng.choice(unseen, count, replace=False)), rest
    if kind in {"oos", "restaurant"}:
        return pools[kind].take(rng.choice(len(pools[kind]), count, replace=False)), rest
    if kind == "mix":
        topics = np.array(pools["clinc150"].topics)
        chosen = rest[topics[rest] == rng.choice(np.unique(topics[rest]))][:count]
        return pools["clinc150"].take(chosen), rest[~np.isin(rest, chosen)]
    source = pools["clinc150"] if kind == NO_DRIFT or kind not in pools else pools[kind]
    return source.take(rest[:count]), rest[count:]


def _synthetic(n: int, rng: np.random.Generator) -> Draw:
    reference, current, further = (Observations(part, texts=()) for part in np.split(anisotropic(3 * n, rng), 3))
    return Draw(reference, current, further)
