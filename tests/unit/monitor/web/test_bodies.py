"""Bodies are bounded while they are read, and a large one does not keep others waiting."""

import asyncio
import gzip
import json
import time
import tracemalloc
from collections.abc import Iterator

import pytest
from fastapi import Request

from monitor.web.bodies import MAX_BODY_BYTES, BodyRefused, Uploads, read_events

CHUNK = 64 << 10


def request(chunks: Iterator[bytes], *, encoding: str = "identity") -> Request:
    async def receive() -> dict:
        chunk = next(chunks, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    return Request({"type": "http", "headers": [(b"content-encoding", encoding.encode())]}, receive)


def read(body: Request, **bounds) -> bytes:
    return asyncio.run(Uploads(**{"max_queued": 4, "timeout_seconds": 30, **bounds}).read(body))


def refused(body: Request, **bounds) -> BodyRefused:
    with pytest.raises(BodyRefused) as caught:
        read(body, **bounds)
    return caught.value


@pytest.mark.parametrize("follows", [b"\x00", b"x", gzip.compress(b"")])
def test_fifty_mebibytes_after_a_gzip_body_are_never_held(follows: bytes) -> None:
    piece = follows * (CHUNK // len(follows))
    packed = gzip.compress(b"[]")
    chunks = (packed if i == 0 else piece for i in range((50 << 20) // CHUNK))
    tracemalloc.start()
    error = refused(request(chunks, encoding="gzip"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.status == 400
    assert peak < 4 << 20


def test_the_wire_is_bounded_too() -> None:
    stored = gzip.compress(b"", compresslevel=0)
    endless = stored[:10] + b"\x00\x00\x00\xff\xff" * 4_000_000  # empty stored blocks: they unpack to nothing
    chunks = (endless[i : i + CHUNK] for i in range(0, len(endless), CHUNK))
    assert refused(request(chunks, encoding="gzip")).status == 413


def test_a_body_of_the_largest_size_is_taken_and_one_byte_more_is_not() -> None:
    whole = b" " * MAX_BODY_BYTES
    assert len(read(request(iter([whole])))) == MAX_BODY_BYTES
    assert refused(request(iter([whole, b" "]))).status == 413
    assert len(read(request(iter([gzip.compress(whole)]), encoding="gzip"))) == MAX_BODY_BYTES


def never() -> Request:
    async def receive() -> dict:
        await asyncio.sleep(3600)
        raise AssertionError

    return Request({"type": "http", "headers": []}, receive)


def test_a_body_that_does_not_arrive_is_let_go() -> None:
    error = refused(never(), timeout_seconds=0.05)
    assert (error.status, str(error)) == (408, "the body did not arrive within 0.05 s")


def test_bodies_being_read_are_bounded_in_number_and_the_bound_is_free_again_afterwards() -> None:
    async def crowd() -> list:
        uploads = Uploads(max_queued=1, timeout_seconds=0.2)
        slow = [asyncio.create_task(uploads.read(never())) for _ in range(8)]
        await asyncio.sleep(0.01)
        with pytest.raises(BodyRefused) as caught:
            await uploads.read(request(iter([b"[]"])))
        assert caught.value.status == 429
        await asyncio.gather(*slow, return_exceptions=True)
        return [await uploads.read(request(iter([b"[]"]))) for _ in range(9)]

    assert asyncio.run(crowd()) == [b"[]"] * 9


def test_bodies_being_read_are_bounded_in_bytes() -> None:
    async def crowd() -> None:
        uploads = Uploads(max_queued=1, timeout_seconds=0.2)
        large = [b"x" * (MAX_BODY_BYTES - 1)]

        async def receive() -> dict:
            if not large:
                await asyncio.sleep(3600)
            return {"type": "http.request", "body": large.pop(), "more_body": True}

        slow = asyncio.create_task(uploads.read(Request({"type": "http", "headers": []}, receive)))
        await asyncio.sleep(0.01)
        with pytest.raises(BodyRefused, match="hold 16 MiB") as caught:
            await uploads.read(request(iter([b"[]"])))
        assert caught.value.status == 429
        with pytest.raises(BodyRefused):
            await slow
        assert await uploads.read(request(iter([b"[]"]))) == b"[]"

    asyncio.run(crowd())


def large(text: str) -> bytes:
    return text.replace("LARGE", json.dumps("x" * 300_000)).encode()


@pytest.mark.parametrize(
    "text",
    ["[]", " [ LARGE ] ", "[LARGE, {}, 1]", '\ufeff[LARGE,"\u00e9"]', "[LARGE\n,\t[],null]", "[1.5e3,LARGE,-0]"],
)
def test_a_large_body_is_read_as_json_reads_it(text: str) -> None:
    body = large(text)
    assert read_events(body) == json.loads(body.decode("utf-8-sig"))


@pytest.mark.parametrize(
    "text", ["[LARGE", "[LARGE,]", "[LARGE 1]", "[LARGE] 1", "[,LARGE]", "[LARGE}", "LARGE", "x LARGE"]
)
def test_a_large_body_that_is_no_array_is_refused_as_a_small_one_is(text: str) -> None:
    with pytest.raises(BodyRefused) as found:
        read_events(large(text))
    with pytest.raises(BodyRefused) as expected:
        read_events(text.replace("LARGE", '"x"').encode())
    assert found.value.status == expected.value.status == 400
    assert str(found.value)[:30] == str(expected.value)[:30]


def test_a_large_body_of_too_many_events_is_refused_before_all_are_parsed() -> None:
    with pytest.raises(BodyRefused, match="at most 5000 events, got 5001"):
        read_events(b"[" + b"1," * 2_000_000 + b"1]")


def test_others_run_while_a_large_body_is_parsed() -> None:
    body = json.dumps([{"text": "where is my order", "scores": {str(i): 0.5 for i in range(150)}}] * 5000).encode()
    started = time.perf_counter()
    json.loads(body)
    whole = time.perf_counter() - started

    async def longest_wait() -> float:
        parsing = asyncio.create_task(asyncio.to_thread(read_events, body))
        longest = 0.0
        while not parsing.done():
            before = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - before)
        return longest

    assert min(asyncio.run(longest_wait()) for _ in range(3)) < whole / 3
