"""`audit text`: ask a model texts that were made for it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from monitor.commands.audit_app import audit_app
from monitor.commands.common import JsonFlag, print_json, progress, read_settings, say, shown
from monitor.commands.opening import load_named
from monitor.errors import EXIT_DRIFT, EXIT_TOO_LITTLE_DATA, InputError


@audit_app.command()
def text(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="NAME@ALIAS, NAME/VERSION or a checkpoint folder.")],
    suite: Annotated[
        str, typer.Option(help="builtin, a .toml of templates, or a .csv of cases in HateCheck's columns.")
    ] = "builtin",
    positive: Annotated[str | None, typer.Option(help="The model's label that means hateful, for cases.")] = None,
    tolerance: Annotated[float, typer.Option(help="Flip rate that one accepts.", min=0.001, max=0.5)] = 0.15,
    least: Annotated[float, typer.Option(help="Share of right answers asked of cases.", min=0.01, max=0.999)] = 0.8,
    alpha: Annotated[float, typer.Option(help="Chance of any false finding.", min=0.0005, max=0.5)] = 0.05,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="File for the answer as JSON.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Swap identities in texts, or ask cases with an answer.

    Exits 0 when nothing is found, 3 when answers flip or shares are below what is asked, 4 when there are too few
    texts to say, 2 on bad input.

    Example: driftwarden audit text intents@champion --suite builtin
    """
    import json

    from monitor.files import require_writable, write_whole
    from monitor.suites.reading import Swaps, read_suite
    from monitor.suites.running import BELOW, FLIPS, INSUFFICIENT, run_cases, run_swaps

    read = read_suite(suite)
    if not isinstance(read, Swaps) and positive is None:
        raise InputError("a suite of cases needs --positive, the model's label that means hateful")
    if out is not None:
        require_writable(out)
    loaded = load_named(model, read_settings(), device=device)
    with progress("texts", quiet=as_json) as advance:
        if isinstance(read, Swaps):
            found = run_swaps(read, loaded.encoder, tolerance=tolerance, alpha=alpha, advance=advance)
        else:
            found = run_cases(read, loaded.encoder, positive=str(positive), least=least, alpha=alpha, advance=advance)
    told = {"model": loaded.name, "version": loaded.version, "suite": suite, **found.told}
    if out is not None:
        write_whole(out, (json.dumps(told, ensure_ascii=False, indent=2) + "\n").encode())
    if as_json:
        print_json(told)
    else:
        _print(told)
        if out is not None:
            say(f"written to {out}")
    if found.verdict in (FLIPS, BELOW):
        raise typer.Exit(EXIT_DRIFT)
    if found.verdict == INSUFFICIENT:
        raise typer.Exit(EXIT_TOO_LITTLE_DATA)


def _print(told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if told["kind"] == "swaps":
        for one in told["attributes"]:
            table = Table("identity", "flips", "95 % interval", "score moves by", f"beside {shown(one['reference'])}")
            for identity in one["identities"]:
                needed = "" if identity["needed"] is None else f": {identity['needed']} templates would tell"
                table.add_row(
                    shown(identity["identity"]),
                    *_cells(identity["flip_rate"]),
                    f"{identity['score_move']['value']:.4f}" if identity["score_move"]["value"] is not None else "–",
                    identity["verdict"] + needed,
                )
            console.print(one["attribute"], highlight=False, markup=False)
            console.print(table)
            for example in [held for held in one["examples"] if held["answer"] != held["reference_answer"]][:3]:
                answers = f"{example['answer']}, else {example['reference_answer']}"
                line = f"  {example['template']}  {example['identity']}: {answers}"
                console.print(line, highlight=False, markup=False)
    else:
        for title in ("functionalities", "identities"):
            table = Table(title, "right", "95 % interval", "n", f"asked {told['least']:.0%}")
            for one in told[title]:
                table.add_row(shown(one["name"]), *_cells(one), str(one["n"]), one["verdict"])
            console.print(table)
    console.print(f"verdict: {told['verdict']}", highlight=False, markup=False)


def _cells(measured: dict[str, Any]) -> tuple[str, str]:
    if measured["value"] is None:
        return "–", "–"
    return f"{measured['value']:.3f}", f"{measured['low']:.3f} to {measured['high']:.3f}"


def register(app: typer.Typer) -> None:
    """Add this room's command."""
