"""Time several models in one run, in turn, so that a change of the machine's speed hits them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Milliseconds a note, one at a time, and the ratio to the reference, note by note.

    `ratios` holds the same ratio to further references, by their names.
    """

    latency_ms_p50: float
    latency_ms_p95: float
    ratio: float
    ratios: dict[str, float] = field(default_factory=dict)


def time_in_turn(
    models: Mapping[str, Callable[[int], object]],
    notes: int,
    *,
    reference: str,
    also: Sequence[str] = (),
    warmup: int = 3,
    rounds: int = 1,
) -> dict[str, Timing]:
    """Run every model on note 0, then every model on note 1, and so on, `rounds` times over.

    Args:
        models: name -> function that runs one note by its index.
        notes: how many notes there are.
        reference: the name to compare with; `ratio` is the median over notes of this model's time
            divided by the reference's time on the same note in the same round.
        also: further names to compare with.
        warmup: untimed calls of each model first.
        rounds: how often the notes are gone through.
    """
    for run in models.values():
        for index in range(min(warmup, notes)):
            run(index)
    names = list(models)
    seconds = np.zeros((len(names), rounds * notes))
    for step in range(rounds * notes):
        shift = step % len(names)  # nobody is always first
        for position in range(len(names)):
            row = (position + shift) % len(names)
            start = time.perf_counter()
            models[names[row]](step % notes)
            seconds[row, step] = time.perf_counter() - start
    base = seconds[names.index(reference)]
    return {
        name: Timing(
            latency_ms_p50=float(np.percentile(seconds[row], 50) * 1e3),
            latency_ms_p95=float(np.percentile(seconds[row], 95) * 1e3),
            ratio=float(np.median(seconds[row] / base)),
            ratios={other: float(np.median(seconds[row] / seconds[names.index(other)])) for other in also},
        )
        for row, name in enumerate(names)
    }


def rates_in_turn(batches: Mapping[str, Callable[[], int]], *, rounds: int = 3) -> dict[str, float]:
    """Notes a second of each model over the same notes: the median of `rounds`, models in turn."""
    rates: dict[str, list[float]] = {name: [] for name in batches}
    for _ in range(rounds):
        for name, run in batches.items():
            start = time.perf_counter()
            notes = run()
            rates[name].append(notes / (time.perf_counter() - start))
    return {name: float(np.median(values)) for name, values in rates.items()}
