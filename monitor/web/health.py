"""Health and metrics, at the paths Prometheus itself uses."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from monitor import store
from monitor.devices import DeviceCollector
from monitor.metrics import EncoderCollector, ResultsCollector
from monitor.web.problems import problem
from monitor.writer import Writer

if TYPE_CHECKING:
    from monitor.embed import EncoderCounts


def health_routes(*, engine: Engine, registry: CollectorRegistry, writer: Writer) -> APIRouter:
    """Return /-/healthy, /-/ready and /metrics."""
    router = APIRouter(tags=["operations"])

    @router.get("/-/healthy", response_class=PlainTextResponse)
    def healthy() -> str:
        """Say that the process answers."""
        return "driftwarden is healthy\n"

    @router.get("/-/ready", response_class=PlainTextResponse)
    def ready() -> Response:
        """Say whether the writer lives and the database answers at the schema this code knows."""
        if not writer.alive:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "the writer of events has ended; restart the service")
        try:
            store.require_current_schema(engine)
        except store.StoreError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        return PlainTextResponse("driftwarden is ready\n")

    @router.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """Expose the results as Prometheus text."""
        try:
            return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)
        except SQLAlchemyError as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the database does not answer ({type(error).__name__})")

    return router


def metrics_registry(
    engine: Engine, *, models: tuple[str, ...], version: str, encoders: "Mapping[str, EncoderCounts]"
) -> CollectorRegistry:
    """Return a registry of the results, the same series on every replica, and of this process's encoders and GPUs."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ResultsCollector(engine, models=models, code_version=version))
    registry.register(EncoderCollector(encoders, models=models))
    registry.register(DeviceCollector())
    return registry
