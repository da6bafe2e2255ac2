"""Scoring an artifact on gold: every note is answered, and the answers are compared with what people said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sympress.deploy.checksums import artifact_digest
from sympress.deploy.extractor import Extractor
from sympress.deploy.note_result import FoundMention, NoteResult
from sympress.errors import SympressError
from sympress.evaluation.gold import Gold
from sympress.evaluation.records import (
    ArtifactDescription,
    EvaluationResults,
    GoldDescription,
    UnknownSymptom,
)
from sympress.evaluation.scores import (
    Bootstrap,
    confusion,
    known_spans,
    note_counts,
    score_by_group,
    score_notes,
    scores_of,
    span_counts,
)
from sympress.evaluation.vocabulary import Vocabulary
from sympress.labels.mentions import Mention
from sympress.measure.spans import score_spans

#: Told how many notes of how many are answered.
Step = Callable[[str, int, int], None]


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
    affirmed: Sequence[frozenset[str]]

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values; no word of a note."""
        return self.results.model_dump(mode="json")


def evaluate(
    extractor: Extractor,
    gold: Gold,
    *,
    seed: int = 0,
    resamples: int = 1000,
    step: Step | None = None,
    say: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score an artifact on annotated notes.

    A note without an answer counts as one in which nothing was found. Spans of symptoms that the artifact
    doesn't know count as missed, and are counted by name; figures of what it knows stand beside. Gold of
    whole notes lists a closed set of symptoms: only those that it names somewhere are scored.

    Args:
        extractor: the artifact.
        gold: annotated notes, from `read_for`, `gold_of_spans` or `gold_of_symptoms`.
        seed: of the resampling.
        resamples: number of resamples of patients, or of notes; 0 gives values without intervals.
        step: called with what is done, and how much of how much.
        say: called with what begins.

    Raises:
        SympressError: not one note was answered.
    """
    vocabulary = Vocabulary.of(extractor)
    gold = _named(gold, vocabulary)
    answers: list[NoteResult] = []
    for note in gold.notes:
        answers.append(extractor.answer(note.text))
        if step is not None:
            step("answering notes", len(answers), len(gold.notes))
    if say is not None and resamples:
        say("computing intervals")
    failed = Counter(one.failure for one in answers if one.failure is not None)
    if failed.total() == len(answers):
        raise SympressError(f"not one note of {len(answers):,} was answered: {failed.most_common(1)[0][0]}")
    found = [tuple(_mention(one) for one in answer.mentions) for answer in answers]
    affirmed = [frozenset(one.symptom for one in answer.symptoms) for answer in answers]
    bootstrap = Bootstrap.of(gold.patients, len(gold.notes), seed, resamples)
    scored = _Scored(gold, found, affirmed, vocabulary.known, bootstrap, points=_points_at_words(extractor))
    results = EvaluationResults(
        artifact=_artifact(extractor, vocabulary),
        gold=_description(gold),
        resampled_by="patients" if gold.patients is not None else "notes",
        failed=failed.total(),
        truncated=sum(one.truncated for one in answers),
        **scored.fields(),
    )
    return Evaluation(results, gold, found, affirmed)


@dataclass(frozen=True)
class _Scored:
    """Gold and answers, note by note, and the figures that come from them."""

    gold: Gold
    found: Sequence[tuple[Mention, ...]]
    affirmed: Sequence[frozenset[str]]
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
            "known_exact": scores_of(drawn.sums(span_counts(*known, exact=True))),
            "known_overlapping": scores_of(drawn.sums(span_counts(*known, exact=False))),
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

    def name(one: str) -> str:
        return vocabulary.symptom(one) or one

    notes = tuple(
        replace(
            note,
            affirmed=frozenset(map(name, note.affirmed)),
            mentions=tuple(
                one if one.symptom is None else replace(one, symptom=name(one.symptom))
                for one in note.mentions
            ),
        )
        for note in gold.notes
    )
    return replace(gold, notes=notes)


def _mention(one: FoundMention) -> Mention:
    return Mention(one.start, one.end, one.symptom, one.assertion, one.score, one.reason)


def _points_at_words(extractor: Extractor) -> bool:
    return extractor.settings.rules or extractor.task == "mentions"


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
