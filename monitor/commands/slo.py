"""`slo lint|import|export|status`: objectives from the policy, as OpenSLO, and how much of their budgets is left."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from monitor.commands.common import JsonFlag, policy_or_default, print_json, read_settings, say
from monitor.errors import EXIT_DRIFT, InputError, TryAgainLater

if TYPE_CHECKING:
    from alerts.slo import Slo

slo_app = typer.Typer(help="Service level objectives: check, exchange, and see what is left of their budgets.")
TIMEOUT_SECONDS = 20
ASKED = {
    "error_ratio": "slo:sli_error:ratio_rate{period}",
    "burn_rate": "slo:current_burn_rate:ratio",
    "budget_remaining": "slo:period_error_budget_remaining:ratio",
}


def read_slos(file: Path | None) -> list["Slo"]:
    """Return the objectives of an OpenSLO file, or of the policy. Raises InputError."""
    if file is None:
        return list(policy_or_default(read_settings()).slos)
    from alerts.errors import SloRefused
    from alerts.openslo import read_openslo

    try:
        return read_openslo(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SloRefused) as error:
        raise InputError(f"{file}: {error}") from None


FileArgument = Annotated[Path | None, typer.Argument(help="An OpenSLO file; the policy's objectives by default.")]


@slo_app.command()
def lint(file: FileArgument = None, as_json: JsonFlag = False) -> None:
    """Say which objectives could never alarm or reset, and why.

    Exits 0, or 2 with a line for every problem. Example: driftwarden slo lint objectives.yaml
    """
    from alerts.slo import problems
    from alerts.windows import read_windows

    slos = read_slos(file)
    found = [problem for slo in slos for problem in problems(slo, read_windows())]
    if as_json:
        print_json({"objectives": [slo.id for slo in slos], "problems": found})
    else:
        for line in found:
            say(line)
    if found:
        raise InputError(f"{len(found)} problem(s) in {len(slos)} objective(s)")
    if not as_json:
        say(f"{len(slos)} objective(s), fine")


@slo_app.command("import")
def import_slos(
    file: Annotated[Path, typer.Argument(help="An OpenSLO file (apiVersion openslo/v1).")], as_json: JsonFlag = False
) -> None:
    """Print OpenSLO objectives as the policy writes them.

    Example: driftwarden slo import objectives.yaml >> driftwarden.toml
    """
    slos = read_slos(file)
    if as_json:
        print_json([slo.model_dump() for slo in slos])
    else:
        say("\n\n".join(_as_toml(slo) for slo in slos))


@slo_app.command("export")
def export_slos(as_json: JsonFlag = False) -> None:
    """Print the policy's objectives as OpenSLO.

    Example: driftwarden slo export > objectives.yaml
    """
    from alerts.openslo import write_openslo

    slos = read_slos(None)
    if not slos:
        raise InputError("the policy has no [[slos]]; docs/slo.md shows one")
    if as_json:
        import yaml

        print_json(list(yaml.safe_load_all(write_openslo(slos))))
    else:
        say(write_openslo(slos).rstrip())


@slo_app.command()
def status(
    prometheus: Annotated[str, typer.Option(help="Base URL of the Prometheus that runs the rules.")],
    as_json: JsonFlag = False,
) -> None:
    """Show error ratio, burn rate and the budget that is left.

    Exits 3 when a budget is spent, 0 otherwise; an objective without data says so.
    Example: driftwarden slo status --prometheus http://localhost:9090
    """
    slos = read_slos(None)
    if not slos:
        raise InputError("the policy has no [[slos]]; docs/slo.md shows one")
    asked = {
        key: _query(prometheus, name.format(period=period))
        for period in {slo.period for slo in slos}
        for key, name in ((f"{key} {period}", name) for key, name in ASKED.items())
    }
    rows = [_row(slo, asked) for slo in slos]
    if as_json:
        print_json({"objectives": rows})
    else:
        _print_table(rows)
    if any(row["budget_remaining"] is not None and row["budget_remaining"] <= 0 for row in rows):
        raise typer.Exit(EXIT_DRIFT)


def _row(slo: "Slo", asked: dict[str, dict[str, float]]) -> dict[str, Any]:
    values = {key: asked[f"{key} {slo.period}"].get(slo.id) for key in ASKED}
    return {"id": slo.id, "objective": slo.objective, "period_days": slo.period_days, **values}


def _query(base: str, name: str) -> dict[str, float]:
    """Return the value of a recorded series by objective. Raises TryAgainLater or InputError."""
    import httpx

    shown = re.sub(r"//[^/@]*@", "//", base)
    try:
        answer = httpx.get(f"{base.rstrip('/')}/api/v1/query", params={"query": name}, timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        found = answer.json()["data"]["result"]
    except httpx.InvalidURL:
        raise InputError(f"--prometheus {shown} is no address") from None
    except httpx.HTTPError as error:
        raise TryAgainLater(f"Prometheus at {shown} does not answer ({type(error).__name__})") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"--prometheus {shown} is no Prometheus: its answer has no data.result") from None
    return {one["metric"]["sloth_id"]: float(one["value"][1]) for one in found if "sloth_id" in one["metric"]}


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("objective", "target", "errors", "burns", "budget left")
    for row in rows:
        held = [row[key] for key in ASKED]
        told = ["no data"] * 3 if None in held else [f"{held[0]:.3%}", _times(held[1]), f"{held[2]:.1%}"]
        table.add_row(row["id"], f"{row['objective'] * 100:g} % in {row['period_days']:g} d", *told)
    Console().print(table)


def _times(value: float | None) -> str:
    return "no data" if value is None else f"{value:.2f} times"


def _as_toml(slo: "Slo") -> str:
    plain = slo.model_dump(exclude_defaults=True, exclude={"labels"})
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items() if value is not None]
    labels = [f"{json.dumps(key)} = {json.dumps(value, ensure_ascii=False)}" for key, value in slo.labels.items()]
    return "\n".join(["[[slos]]", *lines, *([f"labels = {{ {', '.join(labels)} }}"] if labels else [])])


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.add_typer(slo_app, name="slo")
