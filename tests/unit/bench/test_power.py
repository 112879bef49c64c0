import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench.power import ours
from bench.power.ledger import Entry, Ledger
from bench.power.outcome import Contender, Outcome
from bench.power.perturb import PERTURBATIONS
from bench.power.plan import Effort, matching, steps
from bench.power.pools import Pool
from bench.power.scenarios import CLINC_KINDS, Cell, Draw, cells, draw
from bench.power.scoring import Rate, duel, ranking, standings, threshold
from monitor.jobs.baseline import Observations

CALM, SHIFTED = Cell("banking77", "none", 0.0, 100), Cell("banking77", "oos", 0.1, 100)
ENTRY = Entry(CALM.name, "driftwarden", "v1", "w1", 0, drift=False, score=(-0.5,), seconds=0.1, parts={"mmd": 0.25})


def answer(draw: Draw, seed: int) -> Outcome:
    return Outcome(drift=False, score=(0.0,))


def contender(name: str) -> Contender:
    return Contender(name, "1", answer)


def ledger(path: Path, **versions: str) -> Ledger:
    return Ledger(path, committed=path.with_suffix(".gz"), world="w1", versions=versions)


def pool(name: str, count: int) -> Pool:
    texts = [f"{name} {i}" for i in range(count)]
    observed = Observations(np.arange(2.0 * count).reshape(count, 2), texts, texts, np.linspace(0, 1, count))
    return Pool(observed, tuple("abcdefghij"[i % 10] for i in range(count)) if name not in {"oos", "banking77"} else ())


POOLS = {name: pool(name, 7500) for name in ("banking77", "oos", "clinc150", "restaurant", *PERTURBATIONS, "tokenizer")}


def test_at_most_alpha_of_the_calm_scores_lie_above_the_threshold() -> None:
    scores = [(float(value),) for value in np.random.default_rng(0).normal(size=160)]
    level = threshold(scores, 0.05)
    assert sum(score > level for score in scores) == 8


def test_ties_in_the_first_score_are_told_apart_by_the_next() -> None:
    scores = [(0.0, float(i)) for i in range(20)]
    assert threshold(scores, 0.05) == (0.0, 18.0)


def test_an_interrupted_ledger_goes_on_and_forgets_the_half_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger(path).append(ENTRY)
    with path.open("a") as stream:
        stream.write('{"cell": "banking77/none')
    again = ledger(path)
    assert again.holds(CALM.name, "driftwarden", 0)
    assert again.of(CALM.name, "driftwarden") == [ENTRY]
    assert not again.holds(CALM.name, "driftwarden", 1)


def test_results_of_another_version_or_other_embeddings_are_run_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger(path).append(ENTRY)
    ledger(path).append(dataclasses.replace(ENTRY, world="w2", seed=1))
    assert ledger(path, driftwarden="v1").holds(CALM.name, "driftwarden", 0)
    assert not ledger(path, driftwarden="v2").holds(CALM.name, "driftwarden", 0)
    assert not ledger(path).holds(CALM.name, "driftwarden", 1)


def test_a_committed_ledger_is_the_same_bytes_again_and_is_read_first(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = ledger(path)
    first.append(ENTRY)
    first.commit(path.with_suffix(".gz"))
    written = path.with_suffix(".gz").read_bytes()
    path.unlink()
    second = ledger(path)
    assert second.of(CALM.name, "driftwarden") == [ENTRY]
    second.commit(path.with_suffix(".gz"))
    assert path.with_suffix(".gz").read_bytes() == written


def test_every_seed_is_planned_once_and_a_round_visits_every_cell() -> None:
    effort = Effort(drift=4, calm=8, synthetic_ours=4, synthetic_peers=(4, 4, 4))
    planned = list(steps([CALM, SHIFTED], [contender("driftwarden")], effort))
    assert Counter((step.cell, step.seed) for step in planned).most_common(1)[0][1] == 1
    assert Counter(step.cell for step in planned) == {CALM: 8, SHIFTED: 4}
    assert {step.cell for step in planned[:3]} == {CALM, SHIFTED}


def test_a_pattern_that_names_no_cell_is_refused() -> None:
    with pytest.raises(ValueError, match=r"banking78/\* matches none of"):
        matching(["banking77/none/0/100"], ["banking78/*"])


@pytest.mark.parametrize("cell", [cell for cell in cells() if cell.traffic != "synthetic"], ids=lambda cell: cell.name)
def test_a_draw_has_n_texts_a_side_its_share_drifted_and_none_on_both_sides(cell: Cell) -> None:
    drawn = draw(cell, POOLS, seed=3)
    assert len(drawn.reference) == len(drawn.current) == len(drawn.further) == cell.n
    sides = [set(side.texts) for side in (drawn.reference, drawn.current, drawn.further)]
    assert len(set.union(*sides)) == 3 * cell.n
    if cell.kind not in {"none", "domains", "mix"}:
        foreign = [text for text in drawn.current.texts if not text.startswith(cell.traffic)]
        assert len(foreign) == round(cell.share * cell.n)


def test_references_hold_no_unseen_domain_and_windows_hold_their_share() -> None:
    drawn = draw(Cell("clinc150", "domains", 0.2, 500), POOLS, seed=1)
    topics = dict(zip(POOLS["clinc150"].observed.texts, POOLS["clinc150"].topics, strict=True))
    assert not {topics[text] for text in drawn.reference.texts} & {"i", "j"}
    assert sum(topics[text] in {"i", "j"} for text in drawn.current.texts) == 100


def test_equal_seeds_draw_equal_texts_and_unlike_seeds_others() -> None:
    first, again, other = (draw(SHIFTED, POOLS, seed=seed) for seed in (1, 1, 2))
    assert first.current.texts == again.current.texts != other.current.texts


@pytest.mark.parametrize("kind", sorted(PERTURBATIONS))
def test_a_perturbation_changes_an_ordinary_text(kind: str) -> None:
    text = "please transfer forty dollars to my savings account"
    assert PERTURBATIONS[kind](text, np.random.default_rng(0)) != text
    assert kind in CLINC_KINDS


def scored(tmp_path: Path) -> Ledger:
    """One that finds all drift without a false alarm, one that finds none, and the two that know nothing."""
    found = ledger(tmp_path / "ledger.jsonl")
    for seed in range(40):
        for cell in (CALM, SHIFTED):
            right = {"driftwarden": cell.drifts, "alibi_mmd": False, "always_alarm": True, "never_alarm": False}
            for name, drift in right.items():
                score = (float(drift) + seed / 1000,) if name in {"driftwarden", "alibi_mmd"} else (0.0,)
                found.append(Entry(cell.name, name, "1", "w1", seed, drift=drift, score=score, seconds=0.0))
    return found


def test_always_and_never_alarming_both_score_nothing(tmp_path: Path) -> None:
    names = ["driftwarden", "alibi_mmd", "always_alarm", "never_alarm"]
    stood = standings([CALM, SHIFTED], names, scored(tmp_path))
    places = {place.contender: place for place in ranking([CALM, SHIFTED], names, stood)}
    assert next(iter(places)) == "driftwarden"
    assert places["driftwarden"].informedness == places["driftwarden"].precision == 1.0
    assert places["always_alarm"].informedness == places["never_alarm"].informedness == 0.0
    assert places["always_alarm"].precision == pytest.approx(0.05)
    assert places["always_alarm"].calibrated_power == 0.0


def test_ours_is_above_a_peer_that_finds_nothing(tmp_path: Path) -> None:
    stood = standings([CALM, SHIFTED], ["driftwarden", "alibi_mmd"], scored(tmp_path))
    found = duel(SHIFTED, stood)
    assert found is not None
    assert (found.peer, found.outcome, found.ours) == ("alibi_mmd", "above", Rate(40, 40))


def test_a_contenders_version_is_of_what_decides_its_verdict_and_of_nothing_beside() -> None:
    found = {path.relative_to(ours.ROOT).as_posix() for path in ours.sources(Path(ours.__file__))}
    deciding = {"bench/power/ours.py", "detectors/compare.py", "detectors/permutation.py", "monitor/jobs/baseline.py"}
    assert deciding <= found
    assert not found & {"detectors/estimates.py", "detectors/attribution.py", "bench/power/pools.py"}
