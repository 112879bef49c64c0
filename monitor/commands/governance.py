"""`policy check|schema|example`, `db upgrade`, `rules`."""

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from monitor.commands.common import JsonFlag, policy_or_default, print_json, read_settings, say

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
    tests: Annotated[bool, typer.Option("--tests", help="Print the promtool unit tests of the rules instead.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Print the Prometheus rules of the policy's models.

    Example: driftwarden rules > driftwarden.rules.yml
    """
    import yaml

    from alerts.rules import ModelAlerting, render_rule_tests, render_rules

    policy = policy_or_default(read_settings())
    models = [
        ModelAlerting(name=name, window_seconds=model.drift.window_hours * 3600)
        for name, model in sorted(policy.models.items())
    ]
    rendered = render_rule_tests(models) if tests else render_rules(models)
    if as_json:
        print_json(yaml.safe_load(rendered))
    else:
        say(rendered.rstrip())


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.add_typer(policy_app, name="policy")
    app.add_typer(db_app, name="db")
    app.command()(rules)
