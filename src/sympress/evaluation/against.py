"""An artifact beside another on the same notes: cost, timed in turn, and paired differences of F1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sympress.deploy.extractor import Extractor
from sympress.evaluation.gold import Gold
from sympress.evaluation.records import CostRecord, DifferenceRecord
from sympress.evaluation.scores import Bootstrap, outcomes, span_counts
from sympress.labels.mentions import Mention
from sympress.measure.latency import time_in_turn
from sympress.measure.significance import (
    Floats,
    compare_counts,
    mean_of_defined,
    micro_f1,
    precision_recall_f1,
)

#: Notes that are timed, and rounds over them.
TIMED_NOTES, ROUNDS = 60, 3

Figure = Literal["notes micro", "notes macro", "spans exact", "spans overlapping"]


@dataclass(frozen=True)
class Answered:
    """What an artifact found in each note.

    Attributes:
        mentions: `(notes,)` spans.
        affirmed: `(notes,)` symptoms, without those that gold of whole notes names nowhere.
        failed: notes without an answer.
    """

    mentions: Sequence[tuple[Mention, ...]]
    affirmed: Sequence[AbstractSet[str]]
    failed: int


def time_artifacts(
    artifacts: Mapping[str, Extractor], texts: Sequence[str], *, reference: str
) -> tuple[dict[str, CostRecord], dict[str, float]]:
    """What each artifact costs, one note at a time, and its time as a ratio to the reference's.

    Args:
        artifacts: by any name; they answer in turn, so that a change of the machine's speed hits all.
        texts: notes, of which `TIMED_NOTES` are drawn.
        reference: the name to compare with.
    """
    rows = np.random.default_rng(0).permutation(len(texts))[:TIMED_NOTES]
    picked = [texts[row] for row in rows]

    def timed(extractor: Extractor) -> Callable[[int], object]:
        return lambda index: extractor.answer(picked[index])

    runs = {name: timed(one) for name, one in artifacts.items()}
    timings = time_in_turn(runs, len(picked), reference=reference, rounds=ROUNDS)
    costs = {
        name: CostRecord(
            size_bytes=size_of(artifacts[name]),
            latency_ms_p50=timing.latency_ms_p50,
            latency_ms_p95=timing.latency_ms_p95,
        )
        for name, timing in timings.items()
    }
    return costs, {name: timing.ratio for name, timing in timings.items()}


def size_of(extractor: Extractor) -> int | None:
    """Bytes of the model file; None where rules answer alone."""
    path = extractor.folder / "model.onnx"
    return None if extractor.runtime is None else path.stat().st_size


def differences(
    gold: Gold, ours: Answered, theirs: Answered, drawn: Bootstrap, *, spans: bool
) -> list[DifferenceRecord]:
    """F1 of `ours` less that of `theirs`: of whole notes, and of spans where both have them."""
    wanted = [note.affirmed for note in gold.notes]
    names = sorted(
        {name for side in (wanted, ours.affirmed, theirs.affirmed) for note in side for name in note}
    )
    counts = [outcomes(wanted, side.affirmed, names) for side in (ours, theirs)]
    found = [
        _difference("notes micro", counts, micro_f1, drawn),
        _difference("notes macro", counts, _macro_f1, drawn),
    ]
    if spans:
        marked = [note.mentions for note in gold.notes]
        figures: tuple[tuple[Figure, bool], ...] = (("spans exact", True), ("spans overlapping", False))
        for figure, exact in figures:
            pairs = [span_counts(marked, side.mentions, exact=exact) for side in (ours, theirs)]
            found.append(_difference(figure, pairs, micro_f1, drawn))
    return found


def _difference(
    figure: Figure, counts: Sequence[Floats], f1: Callable[[Floats], Floats], drawn: Bootstrap
) -> DifferenceRecord:
    ours, theirs = counts
    values = [float(f1(side.sum(axis=0))) for side in counts]
    difference, p_value = compare_counts(
        ours,
        theirs,
        f1,
        undefined="undefined: no note affirms a symptom",
        groups=drawn.index,
        seed=drawn.seed,
        resamples=drawn.resamples,
    )
    one, other = (None if np.isnan(value) else value for value in values)
    if difference.value is not None:
        difference = difference.model_copy(update={"note": None})
    return DifferenceRecord(figure=figure, f1=one, against_f1=other, difference=difference, p_value=p_value)


def _macro_f1(totals: Floats) -> Floats:
    return mean_of_defined(precision_recall_f1(totals)[2])
