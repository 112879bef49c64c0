"""The bodies of requests: bounded in size, time and number while they are read, unpacked, and taken as JSON arrays."""

import asyncio
import json
import re
import zlib
from http import HTTPStatus
from typing import Any

from fastapi import Request

MAX_EVENTS = 5_000
MAX_BODY_BYTES = 16 << 20
MAX_GZIP_MEMBERS = 1_000
UPLOADS_PER_QUEUED = 8  # bodies being read for every request that may wait to be written: slow clients hold few bytes
INLINE_BYTES = 256 << 10  # larger bodies are parsed event by event, in a thread

_GAP = re.compile(r"[ \t\n\r]*")


class BodyRefused(Exception):
    """A body that is not taken, with the status to answer."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Uploads:
    """Reads bodies, so many at a time, holding so many bytes of them together. Lives on the event loop: no lock."""

    def __init__(self, *, max_queued: int, timeout_seconds: float) -> None:
        self._max_bodies, self._max_bytes = UPLOADS_PER_QUEUED * max_queued, MAX_BODY_BYTES * max_queued
        self._timeout_seconds = timeout_seconds
        self._bodies = self._bytes = 0

    async def read(self, request: Request) -> bytes:
        """Return a request's body, unpacked. Raises BodyRefused: too large, too slow, too many, or not gzip."""
        unpacker = _unpacker(request.headers.get("content-encoding", "identity").lower())
        if self._bodies >= self._max_bodies:
            raise BodyRefused(HTTPStatus.TOO_MANY_REQUESTS, f"{self._bodies} bodies are being read, the most at a time")
        self._bodies += 1
        body = bytearray()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._fill(body, request, unpacker)
        except TimeoutError:
            raise BodyRefused(
                HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {self._timeout_seconds:g} s"
            ) from None
        finally:
            self._bodies -= 1
            self._bytes -= len(body)
        return bytes(body)

    async def _fill(self, body: bytearray, request: Request, unpacker: "_Gunzip | None") -> None:
        packed_bytes = 0
        async for chunk in request.stream():
            packed_bytes += len(chunk)
            part = chunk if unpacker is None else unpacker.unpack(chunk, limit=MAX_BODY_BYTES + 1 - len(body))
            body += part
            self._bytes += len(part)
            if max(packed_bytes, len(body)) > MAX_BODY_BYTES:
                raise BodyRefused(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"a request holds at most {MAX_BODY_BYTES >> 20} MiB; send it in parts",
                )
            if self._bytes > self._max_bytes:
                raise BodyRefused(
                    HTTPStatus.TOO_MANY_REQUESTS, f"{self._bodies} bodies being read hold {self._bytes >> 20} MiB"
                )
        if unpacker is not None:
            unpacker.end()


def _unpacker(encoding: str) -> "_Gunzip | None":
    if encoding not in {"identity", "gzip"}:
        raise BodyRefused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Encoding must be gzip or none, got {encoding!r:.50}"
        )
    return _Gunzip() if encoding == "gzip" else None


class _Gunzip:
    """Unpacks a gzip body of one or more members (RFC 1952, section 2.2)."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._members = 1

    def unpack(self, chunk: bytes, *, limit: int) -> bytes:
        """Return what a chunk unpacks to, at most `limit` bytes. Raises BodyRefused for what is not gzip."""
        try:
            unpacked = self._member.decompress(chunk, limit)
            while self._member.eof and self._member.unused_data and len(unpacked) < limit:
                rest = self._next_member()
                unpacked += self._member.decompress(rest, limit - len(unpacked))
        except zlib.error as error:
            where = "the body" if self._members == 1 else f"what follows gzip member {self._members - 1} of the body"
            raise BodyRefused(HTTPStatus.BAD_REQUEST, f"{where} is not gzip ({error})") from None
        return unpacked

    def end(self) -> None:
        """Raise BodyRefused when the last member is not whole."""
        if not self._member.eof:
            raise BodyRefused(HTTPStatus.BAD_REQUEST, "the gzip body ends too early")

    def _next_member(self) -> bytes:
        if self._members == MAX_GZIP_MEMBERS:
            raise BodyRefused(HTTPStatus.BAD_REQUEST, f"a gzip body has at most {MAX_GZIP_MEMBERS} members")
        rest = self._member.unused_data
        self._members += 1
        self._member = zlib.decompressobj(wbits=31)
        return rest


def read_events(body: bytes) -> list[Any]:
    """Return the events of a body. Raises BodyRefused unless it is a JSON array of at most 5,000."""
    try:
        text = body.decode("utf-8-sig")
        events = json.loads(text) if len(body) <= INLINE_BYTES else _load_apart(text)
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


def _load_apart(text: str) -> Any:
    """Parse a JSON array event by event, up to one too many: the parser lets no other thread run while it is in a call.

    Raises ValueError as json.loads does.
    """
    decoder, events = json.JSONDecoder(), list[Any]()
    position = _after_gap(text, 0)
    if not text.startswith("[", position):
        return decoder.decode(text)
    position = _after_gap(text, position + 1)
    more = not text.startswith("]", position)
    while more:
        event, position = decoder.raw_decode(text, position)
        events.append(event)
        position = _after_gap(text, position)
        more = text.startswith(",", position)
        if len(events) > MAX_EVENTS:
            return events
        if more:
            position = _after_gap(text, position + 1)
    if not text.startswith("]", position):
        raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
    end = _after_gap(text, position + 1)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return events


def _after_gap(text: str, position: int) -> int:
    found = _GAP.match(text, position)
    return position if found is None else found.end()
