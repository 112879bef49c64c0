"""Suites read and run."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.errors import InputError
from monitor.suites.reading import SLOT, Swaps, parse_swaps, read_cases, read_suite
from monitor.suites.running import run_cases, run_swaps

HATECHECK = Path(__file__).parents[5] / "shared/data/hatecheck/test_suite_cases.csv"


class Words:
    """Answers by whether a word occurs."""

    labels = ("no", "yes")
    has_head = True

    def __init__(self, *words: str) -> None:
        self.words = words

    def predict(self, texts: Sequence[str]) -> tuple[list[str], npt.NDArray[np.float64]]:
        found = np.array([any(word in text for word in self.words) for text in texts], dtype=float)
        scores = np.column_stack([0.9 - 0.8 * found, 0.1 + 0.8 * found])
        return [self.labels[int(one)] for one in found], scores


def quiet(done: int, total: int) -> None:
    assert done <= total


def test_our_own_suite_finds_the_model_that_reacts_to_one_identity_and_names_it() -> None:
    swaps = read_suite("builtin")
    assert isinstance(swaps, Swaps)
    assert len(swaps.templates) == 40
    assert all(SLOT in template for template in swaps.templates)
    found = run_swaps(swaps, Words("Muslim"), tolerance=0.15, alpha=0.05, advance=quiet)
    assert found.verdict == "flips"
    flipping = {
        one["identity"]
        for attribute in found.told["attributes"]
        for one in attribute["identities"]
        if one["verdict"] == "flips"
    }
    assert flipping == {"Muslim"}
    religion = next(one for one in found.told["attributes"] if one["attribute"] == "religion")
    assert religion["examples"][0]["identity"] == "Muslim"
    assert religion["examples"][0]["answer"] == "yes"
    calm = run_swaps(swaps, Words("parcel"), tolerance=0.15, alpha=0.05, advance=quiet)
    assert calm.verdict == "nothing found"


def test_a_model_without_a_head_is_refused() -> None:
    model = Words()
    model.has_head = False
    with pytest.raises(InputError, match="no classification head"):
        run_swaps(Swaps(("{who}",), {"a": ("x", "y")}), model, tolerance=0.1, alpha=0.05, advance=quiet)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("templates = [", "TOML|Invalid|Unclosed"),
        ("a = 1", "unknown key a"),
        ("templates = []\n[attributes]\na = ['x', 'y']", "templates must be a list of texts"),
        ("templates = ['none']\n[attributes]\na = ['x', 'y']", r"templates\[0\] has no \{who\}"),
        ("templates = ['{who}']\n[attributes]\na = ['x']", "attributes.a needs two terms"),
        ("templates = ['{who}', '{who}']\n[attributes]\na = ['x', 'y']", "holds '{who}' twice"),
        ("templates = ['{who}']\n[attributes]\na = ['x', 3]", r"attributes.a\[1\] must be a text"),
        ("templates = ['{who}']", r"\[attributes\] must name terms"),
    ],
)
def test_a_malformed_suite_is_named_with_its_place(document: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_swaps(document, where="s.toml")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("functionality,test_case\nf,t\n", "row 1: label_gold is missing; a suite of cases has"),
        (
            "functionality,test_case,label_gold\nf,t,maybe\n",
            "row 1: label_gold must be hateful or non-hateful, got 'maybe'",
        ),
        ("functionality,test_case,label_gold\nf,,hateful\n", "row 1: test_case is missing"),
        ("functionality,test_case,label_gold\n", "no case"),
    ],
)
def test_malformed_cases_are_named_with_row_and_column(tmp_path: Path, rows: str, said: str) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(rows, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_cases(path)


@pytest.mark.parametrize("name", ["nope.toml", "suite.txt"])
def test_a_suite_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(InputError, match=name):
        read_suite(name)


@pytest.mark.skipif(not HATECHECK.is_file(), reason="HateCheck is not in ../shared/data")
def test_hatecheck_shows_what_a_word_list_cannot_do() -> None:
    cases = read_cases(HATECHECK)
    assert len(cases) == 3728
    model = Words("hate", "scum", "disgust", "vermin", "cockroach")
    found = run_cases(cases, model, positive="yes", least=0.8, alpha=0.05, advance=quiet)
    of = {one["name"]: one for one in found.told["functionalities"]}
    assert len(of) == 29
    assert found.verdict == "below"
    assert of["slur_h"]["verdict"] == "below"  # slurs are not on the list
    assert {one["name"] for one in found.told["identities"]} >= {"women", "Muslims", "black people"}
    with pytest.raises(InputError, match="'hateful' is no label of the model; it has no, yes"):
        run_cases(cases, model, positive="hateful", least=0.8, alpha=0.05, advance=quiet)


def test_the_command_runs_a_checkpoint_and_writes_its_answer(
    build: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = build(headed=True, num_labels=3)
    done = CliRunner().invoke(app, ["audit", "text", str(folder), "--device", "cpu", "--json", "--out", "a.json"])
    assert done.exit_code in (0, 3, 4), done.exception
    told = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [one["attribute"] for one in told["attributes"]][:2] == ["gender", "religion"]
    assert {"flips": 3, "insufficient evidence": 4, "nothing found": 0}[told["verdict"]] == done.exit_code


def test_cases_need_to_know_which_label_is_hateful(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text("functionality,test_case,label_gold\nf,t,hateful\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["audit", "text", "m@champion", "--suite", str(path)])
    assert isinstance(done.exception, InputError)
    assert "--positive" in str(done.exception)
