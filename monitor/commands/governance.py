"""`policy check|schema|example`, `db upgrade`, `rules`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from monitor.commands.common import policy_or_default, print_json, read_settings, say

policy_app = typer.Typer(help="Check and describe the policy file.", no_args_is_help=True)
db_app = typer.Typer(help="Look after the database.", no_args_is_help=True)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@policy_app.command()
def check(file: Annotated[Path, typer.Argument(help="The policy file.")], as_json: JsonFlag = False) -> None:
    """Read a policy and say whether it holds: exit 0, or 2 with file, key and value."""
    from monitor.policy import load_policy

    policy = load_policy(file)
    if as_json:
        print_json({"file": str(file), "digest": policy.digest, "models": sorted(policy.models)})
    else:
        say(f"{file}: fine, {len(policy.models)} model(s), {policy.digest}")


@policy_app.command()
def schema() -> None:
    """Print the JSON Schema of the policy, for editors."""
    from monitor.policy import Policy

    say(json.dumps(Policy.model_json_schema(), indent=2))


@policy_app.command()
def example() -> None:
    """Print a commented policy to start from: driftwarden policy example > driftwarden.toml."""
    from monitor.policy import EXAMPLE

    say(EXAMPLE.rstrip())


@db_app.command()
def upgrade(as_json: JsonFlag = False) -> None:
    """Bring the database to the current schema; safe to repeat."""
    from monitor import store
    from monitor.errors import InputError, TryAgainLater

    settings = read_settings()
    try:
        engine = store.open_engine(settings.database_url)
        store.upgrade_schema(engine)
    except store.BadUrl as error:
        raise InputError(str(error)) from error
    except store.StoreError as error:
        raise TryAgainLater(str(error)) from error
    if as_json:
        print_json({"upgraded": True})
    else:
        say("the schema is current")


def rules(
    tests: Annotated[bool, typer.Option("--tests", help="Print the promtool unit tests of the rules instead.")] = False,
) -> None:
    """Print the Prometheus rule file: driftwarden rules > driftwarden.rules.yml."""
    from alerts.rules import ModelAlerting, render_rule_tests, render_rules

    policy = policy_or_default(read_settings())
    models = [
        ModelAlerting(name=name, window_seconds=model.drift.window_hours * 3600)
        for name, model in sorted(policy.models.items())
    ]
    say((render_rule_tests(models) if tests else render_rules(models)).rstrip())


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.add_typer(policy_app, name="policy")
    app.add_typer(db_app, name="db")
    app.command()(rules)
