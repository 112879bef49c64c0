"""Render pages: one self-contained HTML document each, the same bytes for the same input."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reports.model import ReportInput
from reports.svg import legible
from reports.view import report_view

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_report(report: ReportInput) -> str:
    """Return a model version's report: no network, no script, readable on paper and in the dark."""
    return render("report.html.j2", page=report_view(report))


def render(template: str, **values: object) -> str:
    """Return a template filled in; characters that UTF-8 or HTML may not hold are replaced."""
    return legible(_TEMPLATES.get_template(template).render(**values))
