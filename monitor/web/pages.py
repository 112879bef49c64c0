"""The first pages: what is watched and how it stands, and a model version's report."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, HTMLResponse, Response
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from monitor import store
from monitor.clock import Window, parse_span
from monitor.errors import InputError
from monitor.reporting import gather, latest_evidently_page
from monitor.results import Results
from monitor.runner import JOB_DRIFT
from monitor.web.problems import problem
from reports.model import ReportInput
from reports.overview import OverviewRow, render_overview
from reports.render import render_report
from reports.wording import when

HEADERS = {
    # the pages hold texts of strangers: nothing in them may run or load anything
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
EVIDENTLY_HEADERS = HEADERS | {
    # Evidently's page is a script: it runs without an origin, so that it can ask nothing of this service or any other
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'none'",
}
RECENT = timedelta(days=14)


def page_routes(results: Results) -> APIRouter:
    """Return the pages."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def overview() -> Response:
        """Show every model version with its latest verdict."""
        now = results.clock.now()
        try:
            return _page(render_overview(_rows(results, now=now), now=now))
        except SQLAlchemyError as error:
            return _silent(error)

    @router.get("/models/{name}/{version}/report")
    def report(name: str, version: str, window: Annotated[str, Query()] = "14d") -> Response:
        """Show a model version's report over the last hours or days."""
        end = results.clock.now()
        try:
            span = Window(end - parse_span(window), end)
        except InputError as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error).removeprefix("--"))
        try:
            return _page(render_report(_linked(gather(results, name, version, span), results)))
        except InputError as error:
            return problem(HTTPStatus.NOT_FOUND, str(error))
        except SQLAlchemyError as error:
            return _silent(error)

    @router.get("/models/{name}/{version}/texts")
    def texts(name: str, version: str) -> Response:
        """Show Evidently's page of the latest written report."""
        try:
            found = latest_evidently_page(results, name, version)
        except SQLAlchemyError as error:
            return _silent(error)
        if found is None:
            return problem(HTTPStatus.NOT_FOUND, f"no report of {name}/{version} with Evidently's page lies here")
        return FileResponse(found[0], media_type="text/html; charset=utf-8", headers=EVIDENTLY_HEADERS)

    return router


def _page(html: str) -> HTMLResponse:
    return HTMLResponse(html, headers=HEADERS)


def _silent(error: SQLAlchemyError) -> Response:
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the database does not answer ({type(error).__name__})")


def _linked(report: ReportInput, results: Results) -> ReportInput:
    """Return a report with its links: to the overview, and to Evidently's page where one was written."""
    linked = replace(report, overview_href="/")
    found = latest_evidently_page(results, report.model, report.version)
    if found is None:
        return linked
    _, window = found
    return replace(
        linked,
        evidently_href=f"/models/{quote(report.model, safe='')}/{quote(report.version, safe='')}/texts",
        evidently_label=f"Evidently's summary of the texts, {when(window.start)} to {when(window.end)}",
    )


def _rows(results: Results, *, now: datetime) -> tuple[OverviewRow, ...]:
    with Session(results.engine) as session:
        watched = [(version.model, version.version) for version in store.versions(session)]
        latest = {(run.model, run.version): run for run in store.latest_runs(session) if run.job == JOB_DRIFT}
        recent = store.runs(session, job=JOB_DRIFT, start=now - RECENT, end=now)
        waiting = store.count_unembedded(session)
    rows = [_row(key, latest.get(key), recent, waiting=waiting.get(key, 0)) for key in watched]
    bare = sorted(key for key in waiting if key not in watched)
    return (*rows, *(_row(key, None, (), waiting=waiting[key], status="no_baseline") for key in bare))


def _row(
    key: tuple[str, str],
    run: store.StoredRun | None,
    recent: Sequence[store.StoredRun],
    *,
    waiting: int,
    status: str = "none",
) -> OverviewRow:
    judged = [one for one in recent if (one.model, one.version) == key and one.drift is not None]
    return OverviewRow(
        model=key[0],
        version=key[1],
        status=status if run is None else run.status,
        drift=None if run is None else run.drift,
        p_value=None if run is None else run.p_value,
        window_end=None if run is None else run.window_end,
        n=0 if run is None else run.n,
        windows=len(judged),
        drifted=sum(bool(one.drift) for one in judged),
        waiting=waiting,
    )
