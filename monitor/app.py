"""The composition root of the web service."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from monitor import store
from monitor.clock import Clock
from monitor.policy import Policy
from monitor.results import Results
from monitor.settings import Settings
from monitor.web.capture import capture_routes
from monitor.web.health import health_routes, metrics_registry
from monitor.web.pages import page_routes
from monitor.web.problems import problem
from monitor.writer import Writer

if TYPE_CHECKING:
    from monitor.embed import EncoderCounts

log = structlog.get_logger()


def create_app(
    settings: Settings, policy: Policy, clock: Clock, *, encoders: "Mapping[str, EncoderCounts] | None" = None
) -> FastAPI:
    """Return the service over an existing database; `encoders` are the counts of its jobs' encoders, by model.

    Raises store.StoreError when its schema is not current.
    """
    engine = store.open_engine(settings.database_url)
    store.require_current_schema(engine)
    writer = Writer(engine, max_queued=policy.capture.max_queued_requests)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        writer.start()
        yield
        writer.stop()
        engine.dispose()

    release = version("driftwarden")
    app = FastAPI(
        title="driftwarden",
        version=release,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load scripts from a network
        redoc_url=None,
    )
    app.include_router(capture_routes(policy=policy, clock=clock, writer=writer))
    registry = metrics_registry(
        engine, models=tuple(policy.models), version=release, encoders={} if encoders is None else encoders
    )
    app.include_router(health_routes(engine=engine, registry=registry, writer=writer))
    app.include_router(page_routes(Results(engine=engine, policy=policy, clock=clock, code_version=release)))

    @app.exception_handler(HTTPException)
    async def _http_error(_request: Request, error: HTTPException) -> Response:
        return problem(HTTPStatus(error.status_code), str(error.detail))

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        log.error("request_failed", path=request.url.path, error=type(error).__name__)
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an unexpected error; the log names it")

    return app
