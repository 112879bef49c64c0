"""Errors over HTTP: application/problem+json (RFC 9457), one line, no traceback."""

from http import HTTPStatus

from fastapi.responses import JSONResponse

RETRY_AFTER_SECONDS = "1"


def problem(status: HTTPStatus, detail: str) -> JSONResponse:
    """Return a problem document; those that pass by themselves say when to try again, a slow client is let go."""
    headers = {}
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        headers["Retry-After"] = RETRY_AFTER_SECONDS
    elif status == HTTPStatus.REQUEST_TIMEOUT:
        headers["Connection"] = "close"
    return JSONResponse(
        {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail},
        status_code=status,
        media_type="application/problem+json",
        headers=headers,
    )
