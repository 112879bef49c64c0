"""`policy check|schema|example`, `db upgrade`, `rules`, `alertmanager-config`."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from monitor.commands.common import JsonFlag, policy_or_default, print_json, read_settings, say
from monitor.errors import InputError

if TYPE_CHECKING:
    from monitor.policy import Policy

policy_app = typer.Typer(help="Check and describe the policy file.")
db_app = typer.Typer(help="Look after the database.")


@policy_app.command()
def check(file: Annotated[Path, typer.Argument(help="The policy file.")], as_json: JsonFlag = False) -> None:
    """Read a policy and say whether it holds.

    Exits 0, or 2 with file, key and value.
    """
    from monitor.policy import load_policy

    policy = load_policy(file)
    if as_json:
        print_json({"file": str(file), "digest": policy.digest, "models": sorted(policy.models)})
    else:
        say(f"{file}: fine, {len(policy.models)} model(s), {policy.digest}")


@policy_app.command()
def schema(as_json: JsonFlag = True) -> None:  # noqa: ARG001 the schema is JSON with and without the flag
    """Print the JSON Schema of the policy, for editors."""
    from monitor.policy import Policy

    print_json(Policy.model_json_schema())


@policy_app.command()
def example(as_json: JsonFlag = False) -> None:
    """Print a commented policy to start from.

    Example: driftwarden policy example > driftwarden.toml
    """
    from monitor.policy import EXAMPLE

    if as_json:
        print_json(tomllib.loads(EXAMPLE))
    else:
        say(EXAMPLE.rstrip())


@db_app.command()
def upgrade(as_json: JsonFlag = False) -> None:
    """Bring the database to the current schema.

    A SQLite file that does not exist is made. Safe to repeat.
    """
    from monitor import store

    store.upgrade_schema(store.open_engine(read_settings().database_url))
    if as_json:
        print_json({"upgraded": True})
    else:
        say("the schema is current")


def rules(
    out: Annotated[
        Path | None, typer.Option(help="Folder for every rule file and its promtool tests; made where missing.")
    ] = None,
    tests: Annotated[bool, typer.Option("--tests", help="Print the promtool unit tests of the rules instead.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Render the Prometheus rules of models and objectives.

    Printed are those of the models; a folder takes all of them with their promtool tests.

    Example: driftwarden rules --out rules && promtool test rules rules/*.tests.yml
    """
    import yaml

    from alerts.rules import RULE_FILE

    rendered = _render_rules(policy_or_default(read_settings()))
    if out is not None:
        return _write_rules(out, rendered, as_json=as_json)
    chosen = rendered[_tests_of(RULE_FILE) if tests else RULE_FILE]
    if as_json:
        print_json(yaml.safe_load(chosen))
    else:
        say(chosen.rstrip())
    return None


def alertmanager_config(
    out: Annotated[Path | None, typer.Option(help="File to write; printed by default.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Render routes, muting and receivers for Alertmanager.

    Example: driftwarden alertmanager-config --out alertmanager.yml && amtool check-config alertmanager.yml
    """
    import yaml

    from alerts.alertmanager import render_alertmanager
    from alerts.errors import AlertingError
    from monitor.files import write_failed, write_whole

    try:
        rendered = render_alertmanager(policy_or_default(read_settings()).notifications)
    except AlertingError as error:
        raise InputError(str(error)) from None
    if out is not None:
        try:
            write_whole(out, rendered.encode())
        except OSError as error:
            raise write_failed(out, error, remedy="name a file that can be written") from None
    if as_json:
        print_json(yaml.safe_load(rendered))
    elif out is None:
        say(rendered.rstrip())


def _tests_of(rule_file: str) -> str:
    return rule_file.removesuffix(".rules.yml") + ".tests.yml"


def _render_rules(policy: "Policy") -> dict[str, str]:
    """Return rule files and their promtool tests by name."""
    from alerts.rules import RULE_FILE, ModelAlerting, render_rule_tests, render_rules
    from alerts.slo_rules import RULE_FILE as SLO_RULE_FILE
    from alerts.slo_rules import render_slo_rules
    from alerts.slo_tests import render_slo_counter_tests, render_slo_tests
    from alerts.windows import read_windows

    models = [
        ModelAlerting(name=name, window_seconds=model.drift.window_hours * 3600)
        for name, model in sorted(policy.models.items())
    ]
    found = {RULE_FILE: render_rules(models), _tests_of(RULE_FILE): render_rule_tests(models)}
    if policy.slos:
        pairs, escalation = read_windows(), policy.slo_escalation
        found[SLO_RULE_FILE] = render_slo_rules(policy.slos, pairs, escalation=escalation)
        found[_tests_of(SLO_RULE_FILE)] = render_slo_tests(
            policy.slos, pairs, rule_file=SLO_RULE_FILE, escalation=escalation
        )
        found["driftwarden-slo-counters.tests.yml"] = render_slo_counter_tests(
            policy.slos, pairs, rule_file=SLO_RULE_FILE
        )
    return found


def _write_rules(out: Path, rendered: dict[str, str], *, as_json: bool) -> None:
    from monitor.files import write_folder

    write_folder(out, rendered)
    if as_json:
        print_json({"files": [str(out / name) for name in rendered]})
    else:
        say(f"{len(rendered)} files in {out}; try them with: promtool test rules {out}/*.tests.yml")


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.add_typer(policy_app, name="policy")
    app.add_typer(db_app, name="db")
    app.command()(rules)
    app.command("alertmanager-config")(alertmanager_config)
