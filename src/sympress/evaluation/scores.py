"""Figures of answers against gold, and of two models beside each other, with 95 % intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sympress.evaluation.cost import ROUNDS, by_index, pick_timed, time_in_turn
from sympress.evaluation.gold import Gold
from sympress.evaluation.quality import LEAST_POSITIVES
from sympress.evaluation.records import (
    AssertionPairs,
    CostRecord,
    DifferenceRecord,
    GroupScores,
    NoteScores,
    NoteSymptom,
)
from sympress.evaluation.significance import Bootstrap, Floats, compare_counts, macro_f1, micro_f1
from sympress.evaluation.spans import Notes, macro_of, match_spans, scores_of, span_counts
from sympress.labels.mentions import Mention
from sympress.labels.task import span_classes
from sympress.results import Estimate
from sympress.runtime.artifact import model_file
from sympress.runtime.extractor import Extractor

# Figures of answers against gold, with 95 % bootstrap intervals over patients, or notes.


#: Why a figure of whole notes has no value.
NO_SYMPTOM = "undefined: no note affirms a symptom"
#: Counts that are resampled together: bounds memory to some 100 MB.
_CELLS_AT_ONCE = 8_000_000
#: The group of notes of which nobody says it.
_NOT_GIVEN = "not given"
Affirmed = Sequence[AbstractSet[str]]


def score_notes(gold: Affirmed, found: Affirmed, known: Collection[str], bootstrap: Bootstrap) -> NoteScores:
    """Return how well the symptoms that whole notes affirm are found.

    Args:
        gold: `(notes,)` the symptoms that each note affirms.
        found: those that were found in the same notes.
        known: symptoms that the artifact can answer with.
        bootstrap: what is drawn.
    """
    frequency = Counter(name for note in gold for name in note)
    predicted = Counter(name for note in found for name in note)
    names = sorted(frequency | predicted, key=lambda name: (-frequency[name], -predicted[name], name))
    at_once = max(1, _CELLS_AT_ONCE // max(1, 3 * len(gold)))
    parts = [
        bootstrap.sums(outcomes(gold, found, names[start : start + at_once]))
        for start in range(0, len(names), at_once)
    ]
    shaped = [part.reshape(len(part), 3, -1) for part in parts]
    sums = np.concatenate(shaped, axis=2) if shaped else np.zeros((1, 3, 0))
    is_known = np.array([name in known for name in names], dtype=bool)
    return NoteScores(
        symptoms=len(names),
        gold=frequency.total(),
        predicted=predicted.total(),
        micro=scores_of(sums.sum(axis=2), NO_SYMPTOM),
        macro_f1=macro_of(sums, NO_SYMPTOM),
        known=scores_of(sums[:, :, is_known].sum(axis=2), NO_SYMPTOM),
        known_macro_f1=macro_of(sums[:, :, is_known], NO_SYMPTOM),
        per_symptom=[
            NoteSymptom(
                symptom=name,
                known=bool(is_known[column]),
                gold=frequency[name],
                predicted=predicted[name],
                scores=scores_of(sums[:, :, column], NO_SYMPTOM),
            )
            for column, name in enumerate(names)
        ],
    )


def outcomes(gold: Affirmed, found: Affirmed, names: Sequence[str]) -> Floats:
    """Return `(notes, 3K)`: of each note and symptom whether both have it, it was found, it is there."""
    columns = {name: column for column, name in enumerate(names)}
    counts = np.zeros((len(gold), 3, len(names)))
    for row, (wanted, answered) in enumerate(zip(gold, found, strict=True)):
        for kind, held in enumerate((wanted & answered, answered, wanted)):
            counts[row, kind, [columns[name] for name in held if name in columns]] = 1
    return counts.reshape(len(gold), -1)


def known_spans(gold: Notes, found: Notes, known: Collection[str]) -> tuple[Notes, Notes]:
    """Both sides without gold spans of symptoms that the artifact doesn't know, and what overlaps only those.

    What it found in such a place is neither right nor wrong.
    """
    kept_gold, kept_found = [], []
    for wanted, answered in zip(gold, found, strict=True):
        named = [one for one in wanted if one.symptom in known]
        others = [one for one in wanted if one.symptom not in known]
        kept_gold.append(named)
        kept_found.append(
            [
                one
                for one in answered
                if any(_meet(one, each) for each in named) or not any(_meet(one, each) for each in others)
            ]
        )
    return kept_gold, kept_found


def _meet(one: Mention, other: Mention) -> bool:
    return one.start < other.end and other.start < one.end


def confusion(gold: Notes, found: Notes) -> list[AssertionPairs]:
    """What overlapping spans assert, gold against found, in the order of `span_classes`."""
    counts: Counter[tuple[str, str]] = Counter(
        (wanted[row].assertion, answered[column].assertion)
        for wanted, answered in zip(gold, found, strict=True)
        for row, column in match_spans(wanted, answered, exact=False)
    )
    return [
        AssertionPairs(gold=one, found=other, spans=counts[one, other])
        for one in span_classes()
        for other in span_classes()
        if counts[one, other]
    ]


def score_by_group(
    groups: Sequence[str | None], counts: Mapping[str, Floats], bootstrap: Bootstrap
) -> list[GroupScores]:
    """Return F1 on the notes of each group, by name; notes without a group are one of their own.

    Args:
        groups: `(notes,)` the group of each note.
        counts: `(notes, 3)`, right, found, gold: `notes`, and of spans `exact` and `overlapping`.
        bootstrap: what is drawn.
    """
    names = [group or _NOT_GIVEN for group in groups]
    main = counts.get("overlapping", counts["notes"])
    rows = []
    for name in sorted(set(names), key=lambda name: (name == _NOT_GIVEN, name)):
        members = np.array([one == name for one in names])
        f1 = {kind: _group_f1(one, members, bootstrap) for kind, one in counts.items()}
        rows.append(
            GroupScores(
                group=name,
                notes=int(members.sum()),
                gold=int(main[members, 2].sum()),
                note_f1=f1["notes"],
                exact_f1=f1.get("exact"),
                overlapping_f1=f1.get("overlapping"),
            )
        )
    return rows


def _group_f1(counts: Floats, members: NDArray[np.bool_], bootstrap: Bootstrap) -> Estimate:
    if counts[members, 2].sum() < LEAST_POSITIVES:
        return Estimate(value=None, note=f"undefined: fewer than {LEAST_POSITIVES} true answers")
    return scores_of(bootstrap.sums(counts, members)).f1


def note_counts(gold: Affirmed, found: Affirmed) -> Floats:
    """Return `(notes, 3)`: symptoms that are right, found, and affirmed by gold in each note."""
    rows = [(len(one & other), len(other), len(one)) for one, other in zip(gold, found, strict=True)]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


# An artifact beside another on the same notes: cost, timed in turn, and paired differences of F1.


Figure = Literal["notes micro", "notes macro", "spans exact", "spans overlapping"]


@dataclass(frozen=True)
class Answered:
    """What an artifact found in each note.

    Attributes:
        mentions: `(notes,)` spans.
        affirmed: `(notes,)` symptoms, without those that gold of whole notes names nowhere.
        failed: notes without an answer.
        truncated: notes that it read in part.
    """

    mentions: Sequence[tuple[Mention, ...]]
    affirmed: Sequence[AbstractSet[str]]
    failed: int
    truncated: int = 0


def time_artifacts(
    artifacts: Mapping[str, Extractor], texts: Sequence[str], *, reference: str
) -> tuple[dict[str, CostRecord], dict[str, float]]:
    """What each artifact costs, one note at a time, and its time as a ratio to the reference's.

    Args:
        artifacts: by any name; they answer in turn, so that a change of the machine's speed hits all.
        texts: notes, of which `TIMED_NOTES` are drawn.
        reference: the name to compare with.
    """
    picked = pick_timed(texts)
    timings = time_in_turn(by_index(artifacts, picked), len(picked), reference=reference, rounds=ROUNDS)
    costs = {
        name: CostRecord(
            size_bytes=None if one.runtime is None else model_file(one.folder).stat().st_size,
            latency_ms_p50=timings[name].latency_ms_p50,
            latency_ms_p95=timings[name].latency_ms_p95,
        )
        for name, one in artifacts.items()
    }
    return costs, {name: timing.ratio for name, timing in timings.items()}


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
        _difference("notes macro", counts, macro_f1, drawn),
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
        undefined=NO_SYMPTOM,
        groups=drawn.index,
        seed=drawn.seed,
        resamples=drawn.resamples,
    )
    one, other = (None if np.isnan(value) else value for value in values)
    if difference.value is not None:
        difference = difference.model_copy(update={"note": None})
    return DifferenceRecord(figure=figure, f1=one, against_f1=other, difference=difference, p_value=p_value)
