"""Read suites: templates with identity slots (TOML), and cases with a known answer in HateCheck's columns (CSV)."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from monitor.errors import InputError
from monitor.ingest import readable_records

BUILTIN = "builtin"
SLOT = "{who}"
MAX_TEXT = 10_000
MAX_VARIANTS = 200_000
COLUMNS = ("functionality", "test_case", "label_gold")


@dataclass(frozen=True, slots=True)
class Swaps:
    """Templates with a slot, and the terms of each attribute, the reference first."""

    templates: tuple[str, ...]
    attributes: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Case:
    """A text with its right answer, what it tests, whom it is about (None: nobody), and the template it is of."""

    text: str
    hateful: bool
    functionality: str
    identity: str | None
    template: str


def read_suite(name: str) -> Swaps | tuple[Case, ...]:
    """Read a suite by its file's kind, or ours by the name `builtin`. Raises InputError naming file and place."""
    if name == BUILTIN:
        return parse_swaps(resources.files("monitor.suites").joinpath("swaps.toml").read_text("utf-8"), where=BUILTIN)
    path = Path(name)
    if path.suffix == ".toml":
        try:
            return parse_swaps(path.read_text(encoding="utf-8"), where=str(path))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not UTF-8 at byte {error.start}") from None
    if path.suffix == ".csv":
        return read_cases(path)
    raise InputError(f"{path}: a suite is .toml (templates) or .csv (cases), or the name {BUILTIN}")


def parse_swaps(document: str, *, where: str) -> Swaps:
    """Read `templates` and `[attributes]`. Raises InputError naming the place and the value."""
    try:
        told = tomllib.loads(document)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: {error}") from None
    unknown = sorted(told.keys() - {"templates", "attributes"})
    if unknown:
        raise InputError(f"{where}: unknown key {unknown[0]}")
    templates = _texts(told.get("templates"), f"{where}: templates")
    for place, template in enumerate(templates):
        if template.count(SLOT) < 1:
            raise InputError(f"{where}: templates[{place}] has no {SLOT}, got {template!r:.80}")
    attributes = told.get("attributes")
    if not isinstance(attributes, dict) or not attributes:
        raise InputError(f"{where}: [attributes] must name terms of at least one attribute")
    terms = {name: _texts(given, f"{where}: attributes.{name}") for name, given in attributes.items()}
    short = next((name for name, given in terms.items() if len(given) < 2), None)
    if short is not None:
        raise InputError(f"{where}: attributes.{short} needs two terms or more, the first to compare with")
    longest = max(len(term) for given in terms.values() for term in given)
    for place, template in enumerate(templates):
        if len(template) + template.count(SLOT) * longest > MAX_TEXT:
            raise InputError(f"{where}: templates[{place}] makes texts of over {MAX_TEXT:,} characters")
    variants = len(templates) * sum(len(given) for given in terms.values())
    if variants > MAX_VARIANTS:
        raise InputError(f"{where}: {variants:,} texts; a suite makes at most {MAX_VARIANTS:,}")
    return Swaps(templates, terms)


def _texts(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{where} must be a list of texts, got {value!r:.80}")
    for place, one in enumerate(value):
        if not isinstance(one, str) or not one.strip() or len(one) > MAX_TEXT:
            raise InputError(f"{where}[{place}] must be a text of up to {MAX_TEXT:,} characters, got {one!r:.80}")
    twice = next((one for one, times in Counter(value).items() if times > 1), None)
    if twice is not None:
        raise InputError(f"{where} holds {twice!r:.80} twice")
    return tuple(value)


def read_cases(path: Path) -> tuple[Case, ...]:
    """Read cases in HateCheck's columns. Raises InputError naming file, row, column and value."""
    cases = []
    for number, held in readable_records(path):
        missing = [name for name in COLUMNS if name not in held]
        if missing:
            told = f"{missing[0]} is missing; a suite of cases has {', '.join(COLUMNS)}"
            raise InputError(f"{path}: row {number}: {told}")
        functionality, text, gold = (str(held[name] or "").strip() for name in COLUMNS)
        for name, value in (("functionality", functionality), ("test_case", text)):
            if not value or len(value) > MAX_TEXT:
                raise InputError(f"{path}: row {number}: {name} must be a text, got {value!r:.80}")
        if gold not in ("hateful", "non-hateful"):
            raise InputError(f"{path}: row {number}: label_gold must be hateful or non-hateful, got {gold!r:.80}")
        identity = str(held.get("target_ident") or "").strip() or None
        template = str(held.get("templ_id") or "").strip() or f"row {number}"
        cases.append(Case(text, gold == "hateful", functionality, identity, template))
    if not cases:
        raise InputError(f"{path}: no case")
    return tuple(cases)


def expand(swaps: Swaps) -> Sequence[str]:
    """Return every template with every term, by template, attribute and term in their order."""
    return [
        template.replace(SLOT, term)
        for template in swaps.templates
        for terms in swaps.attributes.values()
        for term in terms
    ]
