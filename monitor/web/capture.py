"""POST /v1/predictions and /v1/labels: a 202 means durable."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from monitor.capture import Answer, Kind, Prepared, prepare_labels, prepare_predictions
from monitor.clock import Clock
from monitor.errors import TryAgainLater
from monitor.events import LabelEvent, PredictionEvent
from monitor.policy import Policy
from monitor.sampling import Sampler
from monitor.web.bodies import INLINE_BYTES, MAX_EVENTS, BodyRefused, Uploads, read_events
from monitor.web.problems import problem
from monitor.writer import QueueFull, Writer

INLINE_EVENTS = 200  # more are checked in a thread, so that others are answered meanwhile

Taken = TypeVar("Taken")


def capture_routes(*, policy: Policy, clock: Clock, writer: Writer) -> APIRouter:
    """Return the capture routes, over one writer and one sampler."""
    router, sampler = APIRouter(tags=["capture"]), Sampler()
    uploads = Uploads(
        max_queued=policy.capture.max_queued_requests, timeout_seconds=policy.capture.body_timeout_seconds
    )

    def prepare(kind: Kind, events: list[Any]) -> Prepared[Any]:
        if kind == "predictions":
            return prepare_predictions(events, policy=policy, sampler=sampler, now=clock.now(), source="http")
        return prepare_labels(events, policy=policy, now=clock.now(), source="http")

    async def take(kind: Kind, request: Request) -> Response:
        try:
            body = await uploads.read(request)
            with writer.reserved():
                events = await _do(read_events, body, inline=len(body) <= INLINE_BYTES)
                prepared = await _do(prepare, kind, events, inline=len(events) <= INLINE_EVENTS)
                return answer(await asyncio.wrap_future(writer.submit(prepared)))
        except BodyRefused as refused:
            return problem(refused.status, str(refused))
        except ClientDisconnect:
            return problem(HTTPStatus.BAD_REQUEST, "the client went away before its request was complete")
        except QueueFull as error:
            return problem(HTTPStatus.TOO_MANY_REQUESTS, str(error))
        except TryAgainLater as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    @router.post("/v1/predictions", status_code=HTTPStatus.ACCEPTED, openapi_extra=_body(PredictionEvent))
    async def predictions(request: Request) -> Response:
        """Take in prediction events: a JSON array, gzip accepted, up to 5,000 events and 16 MiB."""
        return await take("predictions", request)

    @router.post("/v1/labels", status_code=HTTPStatus.ACCEPTED, openapi_extra=_body(LabelEvent))
    async def labels(request: Request) -> Response:
        """Take in labels of earlier predictions: a JSON array, gzip accepted, up to 5,000 events and 16 MiB."""
        return await take("labels", request)

    return router


async def _do(work: Callable[..., Taken], *arguments: Any, inline: bool) -> Taken:
    return work(*arguments) if inline else await asyncio.to_thread(work, *arguments)


def _body(event: type[PredictionEvent] | type[LabelEvent]) -> dict[str, Any]:
    schema = event.model_json_schema()
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "array", "items": schema, "maxItems": MAX_EVENTS}}},
        }
    }


def answer(taken: Answer) -> JSONResponse:
    """Return the 202 with counts and every refusal."""
    return JSONResponse(
        {
            "accepted": taken.accepted,
            "duplicate": taken.duplicate,
            "sampled_out": taken.sampled_out,
            "rejected": [{"index": one.index, "field": one.field, "reason": one.reason} for one in taken.rejected],
        },
        status_code=HTTPStatus.ACCEPTED,
    )
