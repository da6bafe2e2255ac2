"""What processes that we start keep to: who hears Ctrl-C, and none outlives the one that started it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unheard(number: signal.Signals) -> Iterator[None]:
    """Processes that start in the block never get this signal; here it waits until the block ends.

    Ctrl-C reaches every process of a terminal. The one that started the others decides what becomes of them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Wait for the end of the process that started this one, then end it; to be run in a thread."""
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # SIGKILL of the parent tells nobody
