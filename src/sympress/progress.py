"""Progress of long work: a bar with an estimate on a terminal or in a notebook, plain lines elsewhere."""

from __future__ import annotations

import importlib.util
import logging
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

_LOG = logging.getLogger("sympress")


class Reporter:
    """Says what is going on, on standard error or in a notebook's cell.

    A quiet one shows nothing, and gives its lines to the logger `sympress`.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet)
        self._quiet = quiet
        self._plain = quiet or not (sys.stderr.isatty() or _draws_in_notebook(self.console))
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=self._plain,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, tuple[float, int]] = {}
        self._said = time.monotonic()

    def __enter__(self) -> Reporter:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """Print one line, or log it."""
        if self._quiet:
            _LOG.info("%s", line)
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def step(self, name: str, done: int, total: int) -> None:
        """Note that `done` of `total` steps of `name` are done."""
        now = time.monotonic()
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
            self._started[name] = (now, done - 1)
        self._bars.update(self._tasks[name], completed=done)
        if self._plain and now - self._said > 30:
            self._said = now
            began, first = self._started[name]
            left = (now - began) / (done - first) * (total - done)
            estimate = f", about {left / 60:.1f} minutes left" if now > began else ""  # none at first
            self.say(f"{name}: step {done:,} of {total:,}{estimate}")
        if done >= total:
            self._bars.remove_task(self._tasks.pop(name))


def _draws_in_notebook(console: Console) -> bool:
    """Whether a bar can move in a cell; rich warns where ipywidgets, which move it, are not installed."""
    return console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
