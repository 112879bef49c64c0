"""`quality`: how often the answers are right, by labels that came late, from files or from the store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.clock import parse_span
from monitor.commands.common import (
    JsonFlag,
    code_version,
    comma_separated,
    policy_or_default,
    print_json,
    read_settings,
    shown,
    warn,
)
from monitor.commands.opening import open_models, open_store
from monitor.errors import EXIT_TOO_LITTLE_DATA, InputError

if TYPE_CHECKING:
    from monitor.quality.examples import Looks

DEFAULT_TASK = "classification"


def quality(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="NAME@ALIAS or NAME/VERSION; or give --predictions.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="A file (.jsonl, .csv, .parquet) with id, prediction and, where known, label, scores, confidence, "
            "inclusion_probability, stage, timestamp; no database is asked."
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="The labels, when apart: id, label and, if any, timestamp.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="classification, pair, multilabel, tagging, extractive, ranking or cascade; of MODEL the policy's."
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="1 minus the confidence of every interval.", min=0.0005, max=0.5)] = 0.05,
    at_every_look: Annotated[
        bool,
        typer.Option(
            "--at-every-look",
            help="Intervals that hold however often one looks (confidence sequences, wider); by default they hold for "
            "this one look. The service, which looks again and again, always uses sequences.",
        ),
    ] = False,
    least_inclusion_probability: Annotated[
        float | None,
        typer.Option(help="The least there can be, for --at-every-look over rows of unequal ones.", min=1e-6, max=1.0),
    ] = None,
    window: Annotated[str, typer.Option(help="Of MODEL: how far back from now by event time, 24h, 30d.")] = "30d",
    single_look: Annotated[
        bool, typer.Option("--single-look", help="Of MODEL: narrower intervals, which hold for this one look.")
    ] = False,
    classes: Annotated[str | None, typer.Option(help="The class set, A,B,C: labels outside it are counted.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure accuracy and its like, each with an interval.

    Exits 0 with measures, 2 on bad input, 4 when not one prediction is labelled.

    Example: driftwarden quality --predictions answers.jsonl --labels truth.csv --task classification
    """
    if model is not None and predictions is None:
        show(_of_store(model, window, every=not single_look), as_json=as_json)
        return
    if model is not None or predictions is None:
        raise InputError("quality needs either MODEL or --predictions FILE")
    answer = _of_files(
        predictions,
        labels,
        task=task or DEFAULT_TASK,
        alpha=alpha,
        every=at_every_look,
        classes=() if classes is None else comma_separated(classes),
        least=least_inclusion_probability,
    )
    show(answer, as_json=as_json)


def _of_store(model: str, window: str, *, every: bool) -> dict[str, Any]:
    import numpy as np

    from monitor.clock import SystemClock, Window
    from monitor.quality.stored import assess
    from monitor.results import Results
    from registry.model import parse_ref

    span, reference, settings = parse_span(window), parse_ref(model), read_settings()
    # of NAME/VERSION the registry need not be asked
    version = reference.version or open_models(settings).version_of(model)
    results = Results(
        engine=open_store(settings),
        policy=policy_or_default(settings, model=reference.name),
        clock=SystemClock(),
        code_version=code_version(),
    )
    now = results.clock.now()
    looks: Looks = "every" if every else "single"
    assessed = assess(
        results, reference.name, version, Window(now - span, now), rng=np.random.default_rng(0), looks=looks
    )
    return {"model": reference.name, "version": version, **assessed.as_json()}


def _of_files(
    predictions: Path,
    labels: Path | None,
    *,
    task: str,
    alpha: float,
    every: bool,
    classes: tuple[str, ...],
    least: float | None,
) -> dict[str, Any]:
    from monitor.quality.answer import measure
    from monitor.quality.examples import Asked
    from monitor.quality.files import read_cohort
    from monitor.quality.tasks import task_named

    kind = task_named(task)
    read = read_cohort(predictions, labels, kind)
    asked = Asked(alpha, "every" if every else "single", classes, least)
    return measure(read.cohort, kind, asked, warnings=read.warnings).as_json()


def show(answer: dict[str, Any], *, as_json: bool) -> None:
    """Print an answer; exit 4 when it measures nothing."""
    if as_json:
        print_json(answer)
    else:
        for line in answer["warnings"]:
            warn(line)
        print_table(answer)
    if not answer["metrics"]:
        raise typer.Exit(EXIT_TOO_LITTLE_DATA)


def print_table(answer: dict[str, Any]) -> None:
    """Print the measures as a table and what could not be measured below it."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    confidence = f"{100 * (1 - answer['alpha']):g} %"
    holds = "at every look" if answer["looks"] == "every" else "for this look"
    table = Table("measure", "value", f"{confidence} interval", "n", "interval by")
    for one in answer["metrics"]:
        table.add_row(
            shown(one["name"]),
            f"{one['value']:.4f}",
            f"{one['low']:.4f} to {one['high']:.4f}",
            f"{one['n']:,}",
            one["method"],
        )
    matured = "" if answer["maturity"] is None else f" ({answer['maturity']:.1%})"
    console.print(
        f"{answer['task']}: {answer['labelled']:,} of {answer['predictions']:,} predictions labelled{matured}; "
        f"intervals hold {holds}",
        highlight=False,
    )
    if answer["metrics"]:
        console.print(table)
    for one in answer["not_estimated"]:
        needed = "" if one["needed"] is None else f" ({one['got']} of {one['needed']} needed)"
        console.print(f"  {shown(one['name'])}: not estimated, {shown(one['reason'])}{needed}", highlight=False)
    _print_beside(console, answer)


def _print_beside(console: Any, answer: dict[str, Any]) -> None:
    """Print what stands beside the measures of a stored window: few labels, none yet, and the verdict."""
    for key, words in (
        ("prediction_powered_accuracy", "accuracy with the scores' help"),
        ("lag_corrected_accuracy", "accuracy with the lag of labels undone"),
        ("estimated_accuracy", "accuracy that scores promise"),
        ("annotator_agreement", "agreement of annotators (Krippendorff's alpha)"),
    ):
        one = answer.get(key)
        if one is None:
            continue
        if one["value"] is None:
            console.print(f"  {words}: not estimated, {one['reason']}", highlight=False)
            continue
        doubt = "" if one.get("reliable", True) else f"; unreliable: {one['reason']}"
        span = f"{one['value']:.4f} ({one['low']:.4f} to {one['high']:.4f})"
        console.print(f"  {words}: {span}{doubt}", highlight=False)
    verdict = answer.get("degradation")
    if verdict is not None:
        word = {True: "DEGRADED", False: "no degradation found", None: f"degradation not judged: {verdict['reason']}"}
        console.print(f"  {word[verdict['degraded']]} ({verdict['labels']} labels)", highlight=False)


def register(app: typer.Typer) -> None:
    """Add this room's command."""
    app.command()(quality)
