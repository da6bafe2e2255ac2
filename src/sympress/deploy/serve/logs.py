"""Structured logs, one JSON object a line. Never note text, nor a path or a header that a client chose."""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import FilteringBoundLogger


def open_log(stream: TextIO | None = None) -> FilteringBoundLogger:
    """A logger that writes to `stream`, standard error unless told otherwise."""
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream or sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return logger


def failure_place(error: BaseException) -> dict[str, str]:
    """The type of `error` and the line that raised it. Not its message, which may quote a note."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"
    return {"error": type(error).__name__, "place": place}


class UvicornHandler(logging.Handler):
    """Passes on what uvicorn logs: the fixed part of its warnings, and where an error arose.

    The values that fill a message are left out, since a client may have chosen them.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        raised = record.exc_info[1] if record.exc_info else None
        shown = "failed" if raised else str(record.msg).split("\n", maxsplit=1)[0]
        self._log.warning("uvicorn", message=shown, **(failure_place(raised) if raised else {}))


def route_uvicorn(log: FilteringBoundLogger) -> None:
    """Let everything that uvicorn and asyncio log go through `log`, and nowhere else."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers = [UvicornHandler(log)] if name in ("uvicorn", "asyncio") else []
        logger.propagate = name == "uvicorn.error"
        logger.setLevel(logging.WARNING)
