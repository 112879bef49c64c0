"""`baseline`, `compare`, `check`, `report`: from texts to verdicts."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.clock import parse_span
from monitor.commands.common import (
    JsonFlag,
    model_policy,
    policy_or_default,
    print_json,
    progress,
    read_settings,
    say,
    warn,
)
from monitor.commands.opening import make_runner, open_models, open_store, require_registry
from monitor.errors import EXIT_DRIFT, EXIT_TOO_LITTLE_DATA, InputError

if TYPE_CHECKING:
    from monitor.models import RegistryModels
    from monitor.settings import Settings
    from monitor.store import StoredBaseline

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="NAME@ALIAS or NAME/VERSION in the registry.")]
OpinionsFlag = Annotated[
    bool | None,
    typer.Option(
        "--second-opinions/--no-second-opinions",
        help="Ask other tests too, which decide nothing; by default of a drift alone.",
        show_default=False,
    ),
]
REFERENCE_SUFFIXES = (".jsonl", ".csv", ".parquet")


def baseline(
    model: ModelArgument,
    reference: Annotated[Path, typer.Option(help="Reference texts (.jsonl, .csv, .parquet), or a backfill's .sketch.")],
    seed: Annotated[int, typer.Option(help="Seed of the projection and cells.", min=0)] = 0,
    accept_new_digest: Annotated[
        bool, typer.Option("--accept-new-digest", help="Pin a version anew whose registered files were overwritten.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Build what a model version's windows are compared with.

    Embeds the reference texts with the registered model, and tags the registered version with the baseline's digest.

    Example: driftwarden baseline intents@champion --reference reviewed-texts.jsonl
    """
    from monitor.baseline import build_baseline
    from monitor.jobs.calibration import AS_INDEPENDENT
    from monitor.sketchfiles import SUFFIX
    from monitor.texts import load_texts

    settings = read_settings()
    if reference.suffix == SUFFIX:
        _baseline_of_sketch(model, reference, settings, accept_new_digest=accept_new_digest, as_json=as_json)
        return
    if reference.suffix not in REFERENCE_SUFFIXES:
        raise InputError(f"{reference}: reference texts are {', '.join(REFERENCE_SUFFIXES)} with a text column")
    table = load_texts(reference)
    engine = open_store(settings, first_use=True)
    models = open_models(settings, first_use=True)
    resolved = models.resolve(model)
    policy = model_policy(settings, resolved.name)
    loaded = models.load(resolved.name, resolved.version, policy, accept_new_digest=accept_new_digest)
    native = None
    if policy.arithmetic != "native":
        full = policy.model_copy(update={"arithmetic": "native"})
        native = models.load(resolved.name, resolved.version, full, accept_new_digest=accept_new_digest)
    with progress("texts", quiet=as_json) as advance:
        built = build_baseline(
            loaded,
            table,
            engine=engine,
            seed=seed,
            minimum=policy.drift.minimum_texts,
            run_length=policy.drift if policy.drift.calibration == "run_length" else None,
            native=native,
            minimum_cosine=policy.int8_minimum_cosine,
            accept_new_digest=accept_new_digest,
            progress=advance,
        )
    _record(models, built, accept_new_digest=accept_new_digest)
    warnings = table.warnings(reference, labels_used=built.summary["labelled"] > 0)
    unlearnt = (built.summary["stream"] or {}).get("reason")
    if unlearnt:
        warnings = [*warnings, f"{reference}: run lengths are {AS_INDEPENDENT}: {unlearnt}"]
    if as_json:
        counts = {name: value for name, value in built.summary.items() if isinstance(value, int)}
        answer = {"model": built.model, "version": built.version, "digest": built.digest, **counts}
        if built.summary["arithmetic"] is not None:
            answer["arithmetic"] = built.summary["arithmetic"]
        print_json({**answer, "warnings": warnings})
    else:
        for line in warnings:
            warn(line)
        if (gate := built.summary["arithmetic"]) is not None:
            say(
                f"int8 against fp32: centred cosine {gate['centred_cosine_median']:.4f} in the median, "
                f"{gate['centred_cosine_low']:.4f} at the 5th percentile; same texts: p = {gate['same_text_p_value']}"
            )
        say(f"{built.model}/{built.version}: baseline {built.digest} of {built.summary['texts']} texts")


def _record(models: "RegistryModels", built: "StoredBaseline", *, accept_new_digest: bool) -> None:
    """Tell the registry of a stored baseline, and pin the version's digest anew where that was asked for."""
    if accept_new_digest:
        models.pin(built.model, built.version, built.model_digest)
    models.tag_baseline(built.model, built.version, built.digest)


def _baseline_of_sketch(
    model: str, path: Path, settings: "Settings", *, accept_new_digest: bool, as_json: bool
) -> None:
    from monitor.baseline import baseline_of_sketch
    from monitor.sketchfiles import read_sketch_file

    file = read_sketch_file(path)
    engine, models = open_store(settings, first_use=True), open_models(settings, first_use=True)
    resolved = models.resolve(model)
    policy = model_policy(settings, resolved.name)
    loaded = models.load(resolved.name, resolved.version, policy, accept_new_digest=accept_new_digest)
    built = baseline_of_sketch(
        file, loaded, engine=engine, minimum=policy.drift.minimum_texts, accept_new_digest=accept_new_digest
    )
    _record(models, built, accept_new_digest=accept_new_digest)
    answer = {"model": built.model, "version": built.version, "digest": built.digest, "texts": built.summary["texts"]}
    if as_json:
        print_json({**answer, "held_out": built.summary["held_out"], "warnings": []})
    else:
        say(f"{built.model}/{built.version}: baseline {built.digest} of {built.summary['texts']} texts")


def compare(
    current: Annotated[Path, typer.Option(help="The same kind of file as the reference, of what is compared with it.")],
    reference: Annotated[
        Path | None,
        typer.Option(
            help="n × d embeddings (.npy), texts (.jsonl, .csv, .parquet), or a sketch, which a sketch may hold itself."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="NAME@ALIAS, NAME/VERSION or a checkpoint folder; texts need it.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Probability of a false alarm.", min=0.0005, max=0.5)] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of split, cells and permutations.", min=0)] = 0,
    second_opinions: OpinionsFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare two files, without a database.

    Exits 0 without drift, 3 with it, 4 with too little data.

    Example: driftwarden compare --reference last-month.jsonl --current today.jsonl --model intents@champion
    """
    from monitor.comparing import compare_files

    settings = read_settings()
    compared = compare_files(
        reference,
        current,
        model=model,
        alpha=alpha,
        seed=seed,
        settings=settings,
        require_registry=partial(require_registry, settings),
        second_opinions=second_opinions,
    )
    for line in () if as_json else compared.warnings:
        warn(line)
    _answer(compared.as_json(), as_json=as_json)


def check(
    model: ModelArgument,
    window: Annotated[str, typer.Option(help="How far back from now, in whole hours: 24h, 7d.")] = "24h",
    second_opinions: OpinionsFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Judge the stored samples of the last hours now.

    Embeds what waits to be embedded, and records no verdict. Exits as compare does.
    """
    from monitor.clock import Window

    span = parse_span(window)
    name, runner = _runner_for(model)
    version = runner.models.version_of(model)
    now = runner.clock.now()
    runner.embed(name, version, until=now)
    judgement, _, _ = runner.judge_window(name, version, Window(now - span, now), second_opinions=second_opinions)
    _answer(judgement.as_json(), as_json=as_json)


def report(
    model: ModelArgument,
    window: Annotated[str, typer.Option(help="How far back from now, in whole hours: 24h, 7d.")] = "7d",
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("report"),
    as_json: JsonFlag = False,
) -> None:
    """Write a self-contained HTML report.

    Evidently's page about the texts goes beside it.
    """
    from monitor.clock import Window
    from monitor.reporting import write_report

    span = parse_span(window)
    name, runner = _runner_for(model)
    version = runner.models.version_of(model)
    now = runner.clock.now()
    path = write_report(runner, name, version, Window(now - span, now), out)
    if as_json:
        print_json({"report": str(path)})
    else:
        say(str(path))


def _runner_for(model: str) -> tuple[str, Any]:
    from registry.model import parse_ref

    settings = read_settings()
    name = parse_ref(model).name
    return name, make_runner(settings, policy_or_default(settings, model=name))


def _answer(judged: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(judged)
    else:
        _print_table(judged)
    if judged["verdict"] is None:
        raise typer.Exit(EXIT_TOO_LITTLE_DATA)
    if judged["verdict"]["drift"]:
        raise typer.Exit(EXIT_DRIFT)


def _print_table(judged: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from reports.wording import p_phrase, p_text, raw_cosine_text

    console = Console()
    counts = f"{judged['reference']['n']} reference and {judged['current']['n']} current texts"
    table = Table("detector", "statistic", "threshold", "unit", "p", "drift")
    for result in judged["detectors"]:
        table.add_row(
            result["name"],
            f"{result['statistic']:.4g}",
            f"{result['threshold']:.4g}",
            result["unit"],
            p_text(result["p_value"]),
            "yes" if result["drift"] else "no",
        )
    if judged["detectors"]:
        console.print(table)
    verdict = judged["verdict"]
    if verdict is None:
        console.print(f"too little data ({escape(judged['detail'])}): {counts}")
        return
    word = "DRIFT" if verdict["drift"] else "no drift"
    console.print(f"{word}: {p_phrase(verdict['p_value'])} at alpha = {verdict['alpha']:g}, {counts}")
    raw_cosine = judged["shown"]["raw_cosine"]
    if raw_cosine is not None:
        console.print(f"  {raw_cosine_text(raw_cosine)}", highlight=False)
    if judged["detail"]:
        console.print(f"  {escape(judged['detail'])}", highlight=False)
    if verdict["drift"]:
        console.print(f"  {_harm_text(judged['harm'])}")
        for cell in judged["cells"]:
            keywords = escape(", ".join(cell["keywords"]))
            console.print(
                f"  cell {cell['cell']}: {cell['reference_share']:.3f} → {cell['current_share']:.3f}  {keywords}"
            )
            for text in cell["examples"][:2]:
                console.print(f"      “{escape(text[:100])}”", highlight=False)
        if judged["usual_variation"] is not None:
            console.print(f"  {_usual_text(judged['usual_variation'])}", highlight=False)
        for segment in judged["segments"]:
            console.print(f"  {escape(_segment_text(segment))}", highlight=False)
    if judged["second_opinions"]:
        console.print(_opinions_table(judged["second_opinions"]))


def _opinions_table(opinions: list[dict[str, Any]]) -> Any:
    """Return the second opinions as a rich table, each in one sentence."""
    from rich.table import Table

    from reports.explained import opinion_text
    from reports.model import Opinion

    table = Table("second opinion on the embeddings, which decides nothing")
    for one in opinions:
        table.add_row(opinion_text(Opinion(one["name"], one["p_value"], one["drift"], one["effect"])))
    return table


def _harm_text(harm: dict[str, Any] | None) -> str:
    """Return one line that says what the drift costs."""
    from reports.explained import cost_text
    from reports.model import Cost

    return "harm: not graded" if harm is None else cost_text(Cost(**harm))


def _usual_text(variation: dict[str, Any]) -> str:
    """Return in one line how usual the window is for its hours of the week."""
    from reports.wording import p_phrase

    blocks = f"{variation['reference_blocks']} reference blocks"
    return f"against the reference's own hours and weekdays: {p_phrase(variation['p_value'])}, {blocks}"


def _segment_text(segment: dict[str, Any]) -> str:
    """Return a drifted segment in one line."""
    from reports.wording import p_phrase, segment_name

    sizes = f"{segment['reference_n']} and {segment['current_n']} texts"
    adjusted = p_phrase(segment["adjusted_p_value"])
    return f"segment {segment_name(segment['segment'])}: effect {segment['effect']:.3g}, adjusted {adjusted}, {sizes}"


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    for command in (baseline, compare, check, report):
        app.command()(command)
