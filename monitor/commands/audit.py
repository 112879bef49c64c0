"""`audit bias`: are groups treated alike, from a file or from the store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.commands.audit_app import audit_app
from monitor.commands.common import JsonFlag, comma_separated, print_json, say, shown
from monitor.errors import EXIT_DRIFT, EXIT_TOO_LITTLE_DATA, InputError

if TYPE_CHECKING:
    from monitor.bias.auditing import Audited

ALPHA, MARGIN = 0.05, 0.1


@audit_app.command()
def bias(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="NAME@ALIAS or NAME/VERSION; or give --predictions.")
    ] = None,
    *,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="A file (.jsonl, .csv, .parquet) with prediction, groups and, where known, label and score; no "
            "database is asked."
        ),
    ] = None,
    groups: Annotated[
        list[str] | None,
        typer.Option(help="Columns or attributes that name groups: A,B or repeated; of MODEL the policy's by default."),
    ] = None,
    window: Annotated[str, typer.Option(help="Of MODEL: how far back from now by event time, 24h, 30d.")] = "30d",
    join: Annotated[
        Path | None, typer.Option(help="Of MODEL: a file with id and groups that events do not carry.")
    ] = None,
    reference_group: Annotated[
        list[str] | None, typer.Option(help="VALUE, or COLUMN=VALUE for several; by default the largest group.")
    ] = None,
    positive: Annotated[
        str | None, typer.Option(help="The label that counts as selected; 1 or true by itself.")
    ] = None,
    label_column: Annotated[str, typer.Option(help="The column of the truth.")] = "label",
    intersections: Annotated[
        bool, typer.Option("--intersections", help="Audit the crossing of all groups too.")
    ] = False,
    metrics: Annotated[str | None, typer.Option(help="Rates to compare, A,B; all by default.")] = None,
    margin: Annotated[
        float | None,
        typer.Option(help="Difference of rates worth showing; 0.1, or of MODEL the policy's.", min=0.001, max=0.9),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(help="Chance of any false disparity; 0.05, or of MODEL the policy's.", min=0.0005, max=0.5),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for bias.json and impact_ratio.csv.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare groups' rates, with intervals and a verdict.

    Exits 0 when no disparity beyond the margin is shown to be there, 3 on a disparity, 4 when evidence does not
    suffice, 2 on bad input. Rows without a group are audited as the group `unknown`.

    Example: driftwarden audit bias --predictions decisions.csv --groups race,sex --positive hired
    """
    from monitor.bias.auditing import Rules, audit_rows
    from monitor.bias.rows import choose_positive, intersect, read_rows, require_bounded

    if model is not None and predictions is None:
        changed = {
            "groups": None if groups is None else tuple(_listed(groups)),
            "positive": positive,
            "metrics": None if metrics is None else _metrics(metrics),
            "intersections": intersections or None,
            "margin": margin,
            "alpha": alpha,
        }
        _of_store(model, window, changed, references=reference_group or [], join=join, out=out, as_json=as_json)
        return
    if model is not None or predictions is None:
        raise InputError("audit bias needs either MODEL or --predictions FILE")
    named = _listed(groups or [])
    rows = read_rows(predictions, named, label_column=label_column, positive=positive)
    if intersections:
        intersect(rows)
    require_bounded(rows)
    rules = Rules(
        positive=choose_positive(rows, positive),
        metrics=_metrics(metrics),
        reference_groups=_references(reference_group or [], named),
        alpha=alpha or ALPHA,
        margin=margin or MARGIN,
    )
    audited = audit_rows(rows, rules)
    show(audited, out=out, as_json=as_json)


def _of_store(
    model: str,
    window: str,
    changed: dict[str, Any],
    *,
    references: list[str],
    join: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Audit a window of the store at a single look; what the command line does not say is the policy's."""
    from monitor.bias.stored import audit_window, read_join
    from monitor.clock import Window, parse_span
    from monitor.commands.common import policy_or_default, read_settings
    from monitor.commands.opening import make_runner
    from monitor.policy import DEFAULTS
    from registry.model import parse_ref

    span, settings, name = parse_span(window), read_settings(), parse_ref(model).name
    policy = policy_or_default(settings, model=name)
    held = policy.models.get(name, DEFAULTS).bias
    asked = held.model_copy(update={key: value for key, value in changed.items() if value is not None})
    if not asked.groups:
        raise InputError("--groups needs a column: the policy names none for this model")
    if references:
        asked = asked.model_copy(update={"reference_groups": _references(references, list(asked.groups))})
    joined = None if join is None else read_join(join)
    runner = make_runner(settings, policy)
    version, now = runner.models.version_of(model), runner.clock.now()
    audited = audit_window(runner, name, version, Window(now - span, now), asked, join=joined)
    show(audited, out=out, as_json=as_json)


def _listed(given: list[str]) -> list[str]:
    named = [part for one in given for part in comma_separated(one)]
    if not named:
        raise InputError("--groups needs a column")
    return list(dict.fromkeys(named))


def _metrics(given: str | None) -> tuple[str, ...]:
    from detectors.bias import METRICS

    if given is None:
        return METRICS
    asked = comma_separated(given)
    unknown = [one for one in asked if one not in METRICS]
    if unknown or not asked:
        raise InputError(f"--metrics are of {', '.join(METRICS)}, got {given!r}")
    return asked


def _references(given: list[str], groups: list[str]) -> dict[str, str]:
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if equals and name in groups:
            found[name] = value
        elif len(groups) == 1:
            found[groups[0]] = one
        else:
            raise InputError(f"--reference-group {one!r}: of several columns say COLUMN=VALUE")
    return found


def show(audited: "Audited", *, out: Path | None, as_json: bool) -> None:
    """Print and write an audit, and exit by its verdict."""
    from detectors.bias import BiasVerdict

    told = audited.as_json()
    if out is not None:
        write_audit(audited, told, out)
    if as_json:
        print_json(told)
    else:
        _print(audited)
        if out is not None:
            say(f"written to {out}")
    if audited.verdict is BiasVerdict.DISPARITY:
        raise typer.Exit(EXIT_DRIFT)
    if audited.verdict is BiasVerdict.INSUFFICIENT:
        raise typer.Exit(EXIT_TOO_LITTLE_DATA)


def write_audit(audited: "Audited", told: dict[str, Any], out: Path) -> None:
    """Write bias.json, and an impact-ratio table of each attribute. Raises InputError for a folder that cannot be."""
    import csv
    import io
    import json

    from monitor.files import write_folder

    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["attribute", "category", "applicants", "selected", "selection rate", "impact ratio"])
    for one in audited.attributes:
        writer.writerows([_cell(one.attribute), *map(_cell, row.shown())] for row in one.impact.rows)
        writer.writerow([one.attribute, "unknown", one.impact.unknown, "", "", "not included"])
    as_json = json.dumps(told, ensure_ascii=False, indent=2) + "\n"
    write_folder(out, {"bias.json": as_json, "impact_ratio.csv": table.getvalue()})


def _cell(text: str) -> str:
    """Return text that a spreadsheet takes for text and not for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _print(audited: "Audited") -> None:
    from rich.console import Console
    from rich.table import Table

    from detectors.estimates import Estimate
    from monitor.bias.auditing import sentence

    console = Console()
    for one in audited.attributes:
        base = {measure.name.split("[")[0]: measure for measure in one.audit.references}
        table = Table("rate", "group", "value", "95 % interval", "ratio", "n", f"beside {shown(one.audit.reference)}")
        for metric, measure in base.items():
            if isinstance(measure, Estimate):
                interval = f"{measure.low:.3f} to {measure.high:.3f}"
                table.add_row(
                    metric,
                    shown(one.audit.reference),
                    f"{measure.value:.4f}",
                    interval,
                    "1",
                    f"{measure.n:,}",
                    "reference",
                )
            for compared in one.audit.comparisons:
                if compared.metric == metric:
                    rate, ratio = compared.rate, compared.ratio
                    cells = (
                        (f"{rate.value:.4f}", f"{rate.low:.3f} to {rate.high:.3f}")
                        if isinstance(rate, Estimate)
                        else ("–", "–")
                    )
                    told = f"{ratio.value:.2f}" if isinstance(ratio, Estimate) else "–"
                    words = sentence(compared, reference=one.audit.reference, margin=audited.rules.margin)
                    table.add_row(
                        "",
                        shown(compared.group),
                        *cells,
                        told,
                        f"{rate.n if isinstance(rate, Estimate) else 0:,}",
                        shown(words),
                    )
        console.print(f"{one.attribute}: {one.audit.verdict.value}", highlight=False, markup=False)
        console.print(table)
    labelled = f"{audited.labelled:,} of {audited.n:,} rows labelled"
    console.print(
        f"verdict: {audited.verdict.value} ({labelled}; positive is {audited.rules.positive!r})",
        highlight=False,
        markup=False,
    )


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.add_typer(audit_app, name="audit")
