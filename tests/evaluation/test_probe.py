"""The memory of a deployed artifact is its own, not that of the process that measures it."""

from __future__ import annotations

from pathlib import Path

from sympress.evaluation.cost import own_peak_bytes, peak_memory_bytes


def test_the_memory_of_the_measuring_process_is_not_counted(tiny_artifact: Path):
    ballast = b"x" * 300_000_000  # beside PyTorch, which this process holds anyway
    assert own_peak_bytes() > len(ballast)
    assert 20e6 < peak_memory_bytes(tiny_artifact, ["fever"] * 3) < len(ballast)
