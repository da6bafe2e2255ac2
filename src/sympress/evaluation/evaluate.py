"""Scoring an artifact on gold, with 95 % bootstrap intervals over patients or notes."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from sympress.config import check_seed
from sympress.errors import InputError, SympressError
from sympress.evaluation.gold import Gold, Vocabulary, gold_of
from sympress.evaluation.records import (
    AgainstRecord,
    ArtifactDescription,
    CostRecord,
    EvaluationResults,
    GoldDescription,
    UnknownSymptom,
    lines_of,
)
from sympress.evaluation.scores import (
    NO_SYMPTOM,
    Answered,
    confusion,
    differences,
    known_spans,
    note_counts,
    score_by_group,
    score_notes,
    time_artifacts,
)
from sympress.evaluation.significance import Bootstrap
from sympress.evaluation.spans import score_spans, scores_of, span_counts
from sympress.labels.mentions import Mention
from sympress.labels.task import task_of
from sympress.runtime.artifact import artifact_digest
from sympress.runtime.extractor import Extractor
from sympress.runtime.note_result import FoundMention, NoteResult

#: Told how many notes of how many are answered.
Step = Callable[[str, int, int], None]
_SIDES = ("ours", "theirs")
_FRAME = {
    "symptom": pl.String,
    "known": pl.Boolean,
    "gold": pl.Int64,
    "found": pl.Int64,
    **dict.fromkeys(("precision", "recall", "f1", "f1_low", "f1_high"), pl.Float64),
}


@dataclass(frozen=True)
class Evaluation:
    """Figures, and what they come from, for an error browser.

    Attributes:
        results: the figures.
        gold: what judged, its symptoms named as the artifact names them.
        found: `(notes,)` the mentions that were found in each note.
        affirmed: `(notes,)` the symptoms that were found in each note.
    """

    results: EvaluationResults
    gold: Gold
    found: Sequence[tuple[Mention, ...]]
    affirmed: Sequence[AbstractSet[str]]

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values; no word of a note."""
        return self.results.model_dump(mode="json")

    def to_frame(self) -> pl.DataFrame:
        """A row a symptom, of whole notes: how many affirm it, of how many it was found, and how well."""
        rows = [
            {
                "symptom": one.symptom,
                "known": one.known,
                "gold": one.gold,
                "found": one.predicted,
                "precision": one.scores.precision.value,
                "recall": one.scores.recall.value,
                "f1": one.scores.f1.value,
                "f1_low": one.scores.f1.low,
                "f1_high": one.scores.f1.high,
            }
            for one in self.results.notes.per_symptom
        ]
        return pl.DataFrame(rows, schema=_FRAME)

    def __str__(self) -> str:
        return "\n".join(lines_of(self.results))

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def evaluate(
    model: Extractor,
    notes: Any,
    labels: Any = None,
    *,
    against: Extractor | None = None,
    groups: Any = None,
    by: Any = None,
    seed: int = 0,
    resamples: int = 1000,
    timed: bool = True,
    step: Step | None = None,
    say: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score a model on notes that people labelled, beside another on the same notes if one is given.

    A note without an answer counts as one in which nothing was found. Spans of symptoms that the artifact
    doesn't know count as missed, and are counted by name; figures of what it knows stand beside. Gold of
    whole notes lists a closed set of symptoms: only those that it names somewhere are scored.

    Args:
        model: what `sympress.load` returns.
        notes: texts, a table (polars, pandas) or `Gold`; see `evaluation.gold.gold_of`, also for `labels`.
        labels: one entry a note: an array of 0 and 1 in the order of `model.symptoms`, names, or spans.
        against: another model; both answer every note, and the differences have intervals and p-values.
        groups: `(notes,)` whose note each is: patients are resampled, not notes.
        by: `(notes,)` what figures are told apart by, such as a hospital.
        seed: of the resampling.
        resamples: number of resamples of patients, or of notes; 0 gives values without intervals.
        timed: whether the model is timed, also without another one.
        step: called with what is done, and how much of how much.
        say: called with what begins.

    Raises:
        InputError: labels do not fit the notes, or a number is below 0.
        SympressError: not one note was answered.
    """
    check_drawing(seed, resamples)
    vocabulary = Vocabulary.of(model)
    gold = gold_of(notes, labels, symptoms=model.symptoms, patients=groups, groups=by)
    gold = _named(gold, vocabulary)
    ours = _answered(model, gold, step)
    if say is not None and resamples:
        say("computing intervals")
    bootstrap = Bootstrap.of(gold.patients, len(gold.notes), seed, resamples)
    points = _points_at_words(model)
    scored = _Scored(gold, ours.mentions, ours.affirmed, vocabulary.known, bootstrap, points=points)
    cost, beside = None, None
    if against is not None:
        theirs = _answered(against, gold, step, vocabulary.name)
        cost, beside = _against((model, against), gold, (ours, theirs), bootstrap)
    elif timed:
        texts = [note.text for note in gold.notes]
        cost = time_artifacts({"ours": model}, texts, reference="ours")[0]["ours"]
    results = EvaluationResults(
        artifact=_artifact(model, vocabulary),
        gold=_description(gold),
        resampled_by="patients" if gold.patients is not None else "notes",
        failed=ours.failed,
        truncated=ours.truncated,
        cost=cost,
        against=beside,
        **scored.fields(),
    )
    return Evaluation(results, gold, ours.mentions, ours.affirmed)


def check_drawing(seed: int, resamples: int) -> None:
    """Refuse what no bootstrap can draw by.

    Raises:
        InputError: a number is below 0, or none.
    """
    check_seed(seed)
    if not isinstance(resamples, int) or resamples < 0:
        raise InputError(f"--resamples {resamples}: give a whole number; 0 for no intervals")


def _answered(
    extractor: Extractor, gold: Gold, step: Step | None, name: Callable[[str], str] = str
) -> Answered:
    """The answers to all notes, with symptoms as `name` calls them.

    Raises:
        SympressError: not one note was answered.
    """
    answers: list[NoteResult] = []
    for answer in extractor.answers(note.text for note in gold.notes):
        answers.append(answer)
        if step is not None:
            step("answering notes", len(answers), len(gold.notes))
    failed = Counter(one.failure for one in answers if one.failure is not None)
    if failed.total() == len(answers):
        raise SympressError(f"not one note of {len(answers):,} was answered: {failed.most_common(1)[0][0]}")
    return Answered(
        [tuple(_mention(one, name) for one in answer.mentions) for answer in answers],
        [frozenset(name(one.symptom) for one in answer.symptoms) for answer in answers],
        failed.total(),
        sum(one.truncated for one in answers),
    )


def _against(
    sides: tuple[Extractor, Extractor],
    gold: Gold,
    answered: tuple[Answered, Answered],
    bootstrap: Bootstrap,
) -> tuple[CostRecord, AgainstRecord]:
    """What an artifact costs, and how it differs from another one that answered the same notes."""
    ours, theirs = answered
    if not gold.spans:
        named = frozenset(name for note in gold.notes for name in note.affirmed)
        ours, theirs = (replace(side, affirmed=[note & named for note in side.affirmed]) for side in answered)
    spans = gold.spans and all(map(_points_at_words, sides))
    found = differences(gold, ours, theirs, bootstrap, spans=spans)
    texts = [note.text for note in gold.notes]
    costs, ratios = time_artifacts(dict(zip(_SIDES, sides, strict=True)), texts, reference="theirs")
    return costs["ours"], AgainstRecord(
        artifact=_artifact(sides[1], Vocabulary.of(sides[1])),
        failed=theirs.failed,
        cost=costs["theirs"],
        latency_ratio=ratios["ours"],
        differences=found,
    )


@dataclass(frozen=True)
class _Scored:
    """Gold and answers, note by note, and the figures that come from them."""

    gold: Gold
    found: Sequence[tuple[Mention, ...]]
    affirmed: Sequence[AbstractSet[str]]
    known: frozenset[str]
    bootstrap: Bootstrap
    points: bool

    def fields(self) -> dict[str, Any]:
        """The figures of `EvaluationResults`."""
        gold, wanted = self.gold, [note.affirmed for note in self.gold.notes]
        named = frozenset(name for note in wanted for name in note)
        kept = self.affirmed if gold.spans else [note & named for note in self.affirmed]
        counts = {"notes": note_counts(wanted, kept)}
        fields: dict[str, Any] = {
            "notes": score_notes(wanted, kept, self.known, self.bootstrap),
            "never_asked": sum(len(note) for note in self.affirmed) - sum(len(note) for note in kept),
            "unknown": self._unknown(),
            "unnamed": sum(one.symptom is None for note in gold.notes for one in note.mentions),
        }
        if not gold.spans:
            fields["spans_missing"] = "the gold says of whole notes what they affirm and marks no spans"
        elif not self.points:
            fields["spans_missing"] = "the artifact answers for whole notes and points at no words"
        else:
            fields |= self._spans(counts)
        if gold.group_by is not None:
            groups = [note.group for note in gold.notes]
            fields |= {
                "group_by": gold.group_by,
                "groups": score_by_group(groups, counts, self.bootstrap),
            }
        return fields

    def _spans(self, counts: dict[str, Any]) -> dict[str, Any]:
        """Figures of spans; their counts, by note, go into `counts`."""
        gold, drawn = self.gold, self.bootstrap
        wanted = [note.mentions for note in gold.notes]
        counts |= {
            "exact": span_counts(wanted, self.found, exact=True),
            "overlapping": span_counts(wanted, self.found, exact=False),
        }
        known = known_spans(wanted, self.found, self.known)
        return {
            "spans": score_spans(
                wanted, self.found, groups=drawn.index, seed=drawn.seed, resamples=drawn.resamples
            ),
            "known_exact": scores_of(drawn.sums(span_counts(*known, exact=True)), NO_SYMPTOM),
            "known_overlapping": scores_of(drawn.sums(span_counts(*known, exact=False)), NO_SYMPTOM),
            "assertions": confusion(wanted, self.found) if gold.asserted else [],
        }

    def _unknown(self) -> list[UnknownSymptom]:
        mentions = Counter(
            one.symptom for note in self.gold.notes for one in note.mentions if one.symptom is not None
        )
        notes = Counter(name for note in self.gold.notes for name in note.affirmed)
        names = sorted(
            {*mentions, *notes} - self.known, key=lambda name: (-mentions[name], -notes[name], name)
        )
        return [UnknownSymptom(symptom=name, mentions=mentions[name], notes=notes[name]) for name in names]


def _named(gold: Gold, vocabulary: Vocabulary) -> Gold:
    """`gold` with the artifact's own names of symptoms, where it knows them."""
    notes = tuple(
        replace(
            note,
            affirmed=frozenset(map(vocabulary.name, note.affirmed)),
            mentions=tuple(map(vocabulary.named, note.mentions)),
        )
        for note in gold.notes
    )
    return replace(gold, notes=notes)


def _mention(one: FoundMention, name: Callable[[str], str]) -> Mention:
    symptom = None if one.symptom is None else name(one.symptom)
    return Mention(one.start, one.end, symptom, one.assertion, one.score, one.reason)


def _points_at_words(extractor: Extractor) -> bool:
    return extractor.settings.rules or task_of(extractor.task).finds_spans


def _artifact(extractor: Extractor, vocabulary: Vocabulary) -> ArtifactDescription:
    return ArtifactDescription(
        name=extractor.folder.resolve().name,
        digest=artifact_digest(extractor.folder),
        task=extractor.task,
        symptoms=len(vocabulary.known),
    )


def _description(gold: Gold) -> GoldDescription:
    patients = gold.patients
    return GoldDescription(
        name=gold.name,
        form=gold.form,
        level="spans" if gold.spans else "notes",
        notes=len(gold.notes),
        patients=None if patients is None else len({one for one in patients if one is not None}),
        mentions=sum(len(note.mentions) for note in gold.notes),
        asserted=gold.asserted,
        remarks=list(gold.remarks),
    )
