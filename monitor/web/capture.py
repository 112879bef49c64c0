"""POST /v1/predictions and /v1/labels: a 202 means durable."""

import asyncio
import json
import zlib
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from monitor.capture import Answer, Kind, Prepared, prepare_labels, prepare_predictions
from monitor.clock import Clock
from monitor.errors import TryAgainLater
from monitor.events import LabelEvent, PredictionEvent
from monitor.policy import Policy
from monitor.sampling import Sampler
from monitor.web.problems import problem
from monitor.writer import QueueFull, Writer

MAX_EVENTS = 5_000
MAX_BODY_BYTES = 16 << 20
INLINE_EVENTS = 200  # more are checked in a thread, so that others are answered meanwhile


class BodyRefused(Exception):
    """A body that cannot be read, with the status to answer."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def capture_routes(*, policy: Policy, clock: Clock, writer: Writer) -> APIRouter:
    """Return the capture routes, over one writer and one sampler."""
    router, sampler = APIRouter(tags=["capture"]), Sampler()

    def prepare(kind: Kind, events: list[Any]) -> Prepared[Any]:
        if kind == "predictions":
            return prepare_predictions(events, policy=policy, sampler=sampler, now=clock.now(), source="http")
        return prepare_labels(events, policy=policy, now=clock.now(), source="http")

    async def take(kind: Kind, request: Request) -> Response:
        try:
            writer.reserve()
        except QueueFull as error:
            return problem(HTTPStatus.TOO_MANY_REQUESTS, str(error))
        try:
            events = read_events(await read_body(request))
            if len(events) <= INLINE_EVENTS:
                prepared = prepare(kind, events)
            else:
                prepared = await asyncio.to_thread(prepare, kind, events)
            return answer(await asyncio.wrap_future(writer.submit(prepared)))
        except BodyRefused as refused:
            return problem(refused.status, str(refused))
        except ClientDisconnect:
            return problem(HTTPStatus.BAD_REQUEST, "the client went away before its request was complete")
        except TryAgainLater as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        finally:
            writer.release()

    @router.post("/v1/predictions", status_code=HTTPStatus.ACCEPTED, openapi_extra=_body(PredictionEvent))
    async def predictions(request: Request) -> Response:
        """Take in prediction events: a JSON array, gzip accepted, up to 5,000 events and 16 MiB."""
        return await take("predictions", request)

    @router.post("/v1/labels", status_code=HTTPStatus.ACCEPTED, openapi_extra=_body(LabelEvent))
    async def labels(request: Request) -> Response:
        """Take in labels of earlier predictions: a JSON array, gzip accepted, up to 5,000 events and 16 MiB."""
        return await take("labels", request)

    return router


def _body(event: type[PredictionEvent] | type[LabelEvent]) -> dict[str, Any]:
    schema = event.model_json_schema()
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "array", "items": schema, "maxItems": MAX_EVENTS}}},
        }
    }


async def read_body(request: Request) -> bytes:
    """Return the request's body, unpacked, never holding more than the limit. Raises BodyRefused."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in {"identity", "gzip"}:
        raise BodyRefused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Encoding must be gzip or none, got {encoding!r:.50}"
        )
    unpacker = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    body = bytearray()
    async for chunk in request.stream():
        if unpacker is None:
            body += chunk
        else:
            try:
                body += unpacker.decompress(chunk, MAX_BODY_BYTES + 1 - len(body))
            except zlib.error as error:
                raise BodyRefused(HTTPStatus.BAD_REQUEST, f"the body is not gzip ({error})") from None
        if len(body) > MAX_BODY_BYTES:
            raise BodyRefused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"a request holds at most {MAX_BODY_BYTES >> 20} MiB; send it in parts",
            )
    if unpacker is not None and not unpacker.eof:
        raise BodyRefused(HTTPStatus.BAD_REQUEST, "the gzip body ends too early")
    return bytes(body)


def read_events(body: bytes) -> list[Any]:
    """Return the events of a body. Raises BodyRefused unless it is a JSON array of at most 5,000."""
    try:
        events = json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BodyRefused(HTTPStatus.BAD_REQUEST, f"the body is not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:
        raise BodyRefused(HTTPStatus.BAD_REQUEST, f"the body is not JSON ({error})") from None
    if not isinstance(events, list):
        raise BodyRefused(
            HTTPStatus.BAD_REQUEST, f"the body must be a JSON array of events, got {type(events).__name__}"
        )
    if len(events) > MAX_EVENTS:
        raise BodyRefused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request holds at most {MAX_EVENTS} events, got {len(events)}"
        )
    return events


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
