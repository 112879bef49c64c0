"""Listening: the socket is taken before anything else starts, so that a taken port costs nothing."""

import os
import signal
import socket
from typing import Any

from monitor.errors import DriftwardenError, InputError

GRACEFUL_SECONDS = 10
BACKLOG = 2048  # requests that may wait while the service starts


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises InputError naming host and port when they cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number and number > 0 else str(error)
        raise InputError(
            f"cannot listen on {host}:{port} ({reason}); choose another with --port or DRIFTWARDEN_PORT"
        ) from None


def address_of(listening: socket.socket) -> str:
    """Return the URL of a listening socket; port 0 has become the one that the system chose."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def end_on_sigterm() -> None:
    """Let SIGTERM end the process with 0 after every `finally`; uvicorn hands it on once its requests are done."""
    signal.signal(signal.SIGTERM, _end)


def serve_until_signalled(app: Any, listening: socket.socket) -> None:
    """Serve an app on a socket until SIGINT, which ends with 130, or SIGTERM; requests in hand are answered first."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="on", log_level="warning", timeout_graceful_shutdown=GRACEFUL_SECONDS)
    )
    try:
        server.run(sockets=[listening])
    except SystemExit as ended:
        if ended.code == 0:
            raise
        raise DriftwardenError("the service did not start; the log above says why") from ended


def _end(_signal: int, _frame: object) -> None:
    raise SystemExit(0)
