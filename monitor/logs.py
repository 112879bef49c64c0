"""Structured logs: JSON lines on stderr, constant snake_case events, never a prediction's text."""

import logging
import sys

import structlog


def configure_logs(*, level: int = logging.INFO) -> None:
    """Send JSON log lines to stderr, so that stdout stays a command's answer."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_names: structlog.PrintLogger(sys.stderr),  # as it is when a line is written
    )
