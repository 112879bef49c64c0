"""The `audit` commands hang here: bias, and text suites."""

import typer

audit_app = typer.Typer(help="Audits: are groups treated alike, in answers and in texts made for it.")


@audit_app.callback()
def _audits() -> None:
    """Audit what a model does."""
