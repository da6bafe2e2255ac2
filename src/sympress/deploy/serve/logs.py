"""Structured logs, one JSON object a line. Never note text, nor a path or a header that a client chose."""

from __future__ import annotations

import logging
import math
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

#: How often the same warning of uvicorn, asyncio or the listener is written at most.
SPARING_SECONDS = 10.0


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
        self._log = SparingLog(log)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        raised = record.exc_info[1] if record.exc_info else None
        shown = "failed" if raised else str(record.msg).split("\n", maxsplit=1)[0]
        self._log.warning("uvicorn", message=shown, **(failure_place(raised) if raised else {}))


class SparingLog:
    """Writes what is said over and over once in `SPARING_SECONDS`, with how often it was left out since."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._said: dict[tuple[Any, ...], float] = {}
        self._left_out: Counter[tuple[Any, ...]] = Counter()

    def warning(self, event: str, **fields: Any) -> None:
        """Write `event`, or count it; the values of `fields` must be few."""
        key, now = (event, *sorted(fields.items())), time.monotonic()
        if now - self._said.get(key, -math.inf) < SPARING_SECONDS:
            self._left_out[key] += 1
            return
        self._said[key] = now
        left_out = self._left_out.pop(key, 0)
        self._log.warning(event, **fields, **({"left_out": left_out} if left_out else {}))


def route_uvicorn(log: FilteringBoundLogger) -> None:
    """Let everything that uvicorn and asyncio log go through `log`, and nowhere else."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers = [UvicornHandler(log)] if name in ("uvicorn", "asyncio") else []
        logger.propagate = name == "uvicorn.error"
        logger.setLevel(logging.WARNING)
