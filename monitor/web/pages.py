"""The first pages: what is watched and how it stands, and a model version's report."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from monitor import store
from monitor.clock import Clock, Window, parse_span
from monitor.errors import InputError
from monitor.reporting import gather
from monitor.results import Results
from monitor.runner import JOB_DRIFT
from monitor.web.problems import problem
from reports.overview import OverviewRow, render_overview
from reports.render import render_report

HEADERS = {
    # the pages hold texts of strangers: nothing in them may run or load anything
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def page_routes(results: Results) -> APIRouter:
    """Return the pages."""
    router = APIRouter(include_in_schema=False)
    engine, clock = results.engine, results.clock

    @router.get("/")
    def overview() -> Response:
        """Show every model version with its latest verdict."""
        try:
            return _page(render_overview(_rows(engine, clock), now=clock.now()))
        except SQLAlchemyError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the database does not answer ({type(error).__name__})")

    @router.get("/models/{name}/{version}/report")
    def report(name: str, version: str, window: Annotated[str, Query()] = "14d") -> Response:
        """Show a model version's report over the last hours or days."""
        try:
            end = clock.now()
            return _page(render_report(gather(results, name, version, Window(end - parse_span(window), end))))
        except InputError as error:
            return problem(HTTPStatus.NOT_FOUND, str(error))
        except SQLAlchemyError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the database does not answer ({type(error).__name__})")

    return router


def _page(html: str) -> HTMLResponse:
    return HTMLResponse(html, headers=HEADERS)


def _rows(engine: Engine, clock: Clock) -> tuple[OverviewRow, ...]:
    with Session(engine) as session:
        versions = store.versions(session)
        latest = {(run.model, run.version): run for run in store.latest_runs(session) if run.job == JOB_DRIFT}
        recent = store.runs(session, job=JOB_DRIFT, start=clock.now() - timedelta(days=14))
        waiting = store.count_unembedded(session)
    rows = []
    for version in versions:
        key = (version.model, version.version)
        run = latest.get(key)
        judged = [one for one in recent if (one.model, one.version) == key]
        rows.append(
            OverviewRow(
                model=version.model,
                version=version.version,
                status="none" if run is None else run.status,
                drift=None if run is None else run.drift,
                p_value=None if run is None else run.p_value,
                window_end=None if run is None else run.window_end,
                n=0 if run is None else run.n,
                windows=len(judged),
                drifted=sum(bool(one.drift) for one in judged),
                waiting=waiting.get(key, 0),
            )
        )
    return tuple(rows)
