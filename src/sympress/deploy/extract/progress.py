"""How fast a job goes and when it will be done, on standard error."""

from __future__ import annotations

import sys
import time

_ON_TERMINAL, _ELSEWHERE = 0.5, 30.0


class Pace:
    """Rate and estimate, a line that is rewritten on a terminal and one every 30 seconds elsewhere.

    The estimate comes from the share of the source's bytes that was read: how many notes there are is not
    known before the end.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._terminal = sys.stderr.isatty()
        self._quiet = quiet
        self._began = self._said = time.monotonic()
        self._first, self._share, self._share_first = 0, None, 0.0
        self._shown = False

    _share: float | None

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._began

    def read(self, done: int, total: int | None) -> None:
        """Note how many bytes of the source have been read."""
        self._share = done / total if total else None

    def start(self, notes: int) -> None:
        """Start the clock; `notes` were done before."""
        self._began, self._first, self._share_first = time.monotonic(), notes, self._share or 0.0

    def done(self, notes: int) -> None:
        """Show that `notes` are done, now and then."""
        now = time.monotonic()
        if self._quiet or now - self._said < (_ON_TERMINAL if self._terminal else _ELSEWHERE):
            return
        self._said = now
        line = self.line(notes, now - self._began)
        sys.stderr.write(f"\r\x1b[K{line}" if self._terminal else line + "\n")
        sys.stderr.flush()
        self._shown = self._terminal

    def line(self, notes: int, seconds: float) -> str:
        """Notes, rate, share and time left."""
        rate = (notes - self._first) / max(seconds, 1e-9)
        shown = f"{notes:,} notes, {rate:,.0f} a second"
        gained = (self._share or 0.0) - self._share_first
        if self._share is None or gained <= 0:
            return shown
        left = seconds * (1.0 - self._share) / gained
        return f"{shown}, {self._share:.0%} read, about {_spoken(left)} left"

    def end(self) -> None:
        """Clear the line on a terminal."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            self._shown = False


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
