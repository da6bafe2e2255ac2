"""A study of the task `mentions`: taggers, pressed like everything else, and the rules as the row to beat."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.compression.recipe.language import BASELINE, PUBLISHED, REAL, Recipe
from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.evaluation.spans import compare_spans, exact_counts, exact_f1, score_mentions
from sympress.labels.annotate import Annotator
from sympress.labels.gold.mentions import form_key, ids_by_form
from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.labels.mentions import AnnotatedNote, Mention
from sympress.labels.note_labels import check_labelling
from sympress.labels.task import task_of
from sympress.models.rules import AssertedRule
from sympress.notes.read import NoteSet
from sympress.notes.split import Split, check_leaks, patient_numbers
from sympress.notes.synthesize import synthesize
from sympress.progress import Reporter
from sympress.provenance import data_inputs, fingerprint_annotated
from sympress.results import Changes, DataDescription, EpochQuality, Estimate, Quality
from sympress.runtime.extractor import Extractor
from sympress.studies.costs import Candidate
from sympress.studies.data import describe_notes, label_source, read_sources, split_frame
from sympress.studies.folder import mentions_as_json, mentions_of_json
from sympress.studies.judge import predict_mentions
from sympress.studies.task import Step, StoredRows, StudyTask, TestSet
from sympress.studies.train import Labelled, Lesson, check_classes, press_artifact, train_artifact

# The notes of a study of mentions: annotated by people, by rules or by construction, and split.


#: What the labels of each source are, in the report.
_RULES = {
    "gold": "gold: spans that people marked",
    "silver": "silver: spans by lexicon, section and assertion rules",
    "synthetic": "gold: spans that synthetic notes hold by construction",
}


@dataclass(frozen=True)
class SpanData:
    """Annotated notes and their split.

    Attributes:
        notes: annotated notes; row i of `frame`.
        frame: the notes, `NOTE_SCHEMA`.
        split: rows of each side.
        lexicon: names the symptom of a span.
        description: what goes into the results file.
        inputs: fingerprints of notes, lexicon, annotations and split, see `inputs.data_inputs`.
    """

    notes: list[AnnotatedNote]
    frame: pl.DataFrame
    split: Split
    lexicon: Lexicon
    description: DataDescription
    inputs: Mapping[str, str]

    def side(self, rows: NDArray[np.int64]) -> list[AnnotatedNote]:
        """The notes of one side of the split."""
        return [self.notes[row] for row in rows]


def prepare_spans(config: StudyConfig, reporter: Reporter) -> SpanData:
    """Read, annotate and split the notes of `config` (resolved).

    Raises:
        InputError: the notes or annotations cannot be read, or a side has no mention.
        LeakError: a patient or a copy is on both sides (except under the protocol `paper`).
    """
    if config.validation_notes is False:
        raise InputError("--no-validation-notes is for --task topic: a tagger is settled on validation notes")
    lexicon = load_lexicon(config.lexicon or "clinical")
    source = label_source(config, None)
    check_labelling(config.task, source)
    if source == "gold" and config.gold is None:
        source, notes, annotated = "synthetic", *_synthetic(config, lexicon, reporter)
    else:
        gold, notes = read_sources(config, lexicon, reporter)
        annotated = _annotated(source, notes, gold, lexicon, reporter)
    task = task_of(config.task)
    check_classes(task.classes, annotated, notes.name, f"the task {task.name}")
    ids = [note.note_id for note in annotated]
    frame = pl.DataFrame({"note_id": ids}).join(notes.frame, on="note_id", how="left", maintain_order="left")
    split, duplicates = split_frame(config, frame, reporter)
    check_leaks(split, frame, duplicates, strict=config.protocol != "paper")
    counts = Counter(mention.assertion for note in annotated for mention in note.mentions)
    labelling = {
        "notes": len(annotated),
        "with a mention": sum(bool(note.mentions) for note in annotated),
        "mentions": counts.total(),
        "mentions that name a symptom of the lexicon": sum(
            mention.symptom is not None for note in annotated for mention in note.mentions
        ),
        **{f"mentions {assertion}": count for assertion, count in sorted(counts.items())},
    }
    description = describe_notes(
        notes, symptoms=_symptoms(annotated, split), labels=_RULES[source], labelling=labelling, split=split
    )
    inputs = data_inputs(notes.frame, lexicon, split, fingerprint_annotated(annotated))
    return SpanData(annotated, frame, split, lexicon, description, inputs)


def _annotated(
    source: str, notes: NoteSet, gold: list[AnnotatedNote] | None, lexicon: Lexicon, reporter: Reporter
) -> list[AnnotatedNote]:
    if source == "gold":
        known = set(notes.frame["note_id"])
        for note in gold or []:
            if note.note_id not in known:
                raise InputError(f"labels for notes that are not there (first: note {note.note_id!r})")
        return gold or []
    annotator, total = Annotator(lexicon), notes.frame.height
    found = []
    for row in notes.frame.select("note_id", "text").iter_rows():
        found.append(annotator.annotate(row[0], row[1] or ""))
        reporter.step("annotating by rules", len(found), total)
    return found


def _synthetic(
    config: StudyConfig, lexicon: Lexicon, reporter: Reporter
) -> tuple[NoteSet, list[AnnotatedNote]]:
    """Synthetic notes and the mentions that they hold by construction, called as the lexicon calls them."""
    if config.notes is not None:
        raise InputError("labels from gold need the annotated notes: give --gold FILE or FOLDER")
    _, notes = read_sources(config, lexicon, reporter)
    ids = ids_by_form(lexicon)
    rows: dict[str, list[Mention]] = {}
    for row in synthesize(config.synthetic_notes, seed=0).mentions.iter_rows(named=True):
        named = ids.get(form_key(row["symptom"]))
        mention = Mention(row["start"], row["end"], named, row["assertion"])
        rows.setdefault(row["note_id"], []).append(mention)
    return notes, [
        AnnotatedNote(note_id, text, tuple(rows.get(note_id, ())))
        for note_id, text in notes.frame.select("note_id", "text").iter_rows()
    ]


def _symptoms(notes: list[AnnotatedNote], split: Split) -> list[str]:
    """Symptoms that training notes mention, most frequent first."""
    counts = Counter(m.symptom for row in split.train for m in notes[row].mentions if m.symptom)
    return sorted(counts, key=lambda name: (-counts[name], name))


# How taggers are judged: exactly and by overlap (`evaluation.spans`); a row's F1 is that of exact spans.


class SpanTestSet(TestSet):
    """The mentions of the test notes, by note id."""

    def score(self, rows: StoredRows, name: str, seed: int, *, resamples: int) -> Quality:
        """The quality of the spans of a row."""
        gold, found = self._in_order(self.truth), self._in_order(rows.answer(name, seed))
        return score_mentions(gold, found, groups=self.patients, resamples=resamples)

    def compare(
        self, rows: StoredRows, name: str, seed: int, *, resamples: int
    ) -> tuple[dict[str, Any], Changes | None]:
        """The difference of exact span F1; which spans flipped is not told."""
        sides = (rows.answer(name, seed), rows.answer(BASELINE, seed), self.truth)
        difference, p_value = compare_spans(
            *(self._in_order(side) for side in sides), groups=self.patients, resamples=resamples
        )
        return {
            "f1_difference": difference,
            "micro_f1_difference": difference,
            "p_value": p_value,
            "p_value_micro": p_value,
        }, None

    def counts(self, rows: StoredRows, name: str, seed: int) -> NDArray[np.float64]:
        """Of each note its exact pairs, the spans that were found and the gold ones."""
        return exact_counts(self._in_order(self.truth), self._in_order(rows.answer(name, seed)))

    @property
    def averages(self) -> Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
        """F1 of exact spans, which is micro and macro in one."""
        return {"pooled": exact_f1, "pooled_micro": exact_f1}

    def _in_order(self, mentions: Mapping[str, Sequence[Mention]]) -> list[Sequence[Mention]]:
        return [mentions[note_id] for note_id in self.note_ids]

    @staticmethod
    def score_of_epoch(entry: Mapping[str, Any]) -> EpochQuality:
        """Exact span F1 on validation notes after an epoch; all else was not scored."""
        nothing = Estimate(value=None, note="not scored after an epoch")
        f1 = Estimate(value=entry.get("span_f1"), note=None if "span_f1" in entry else "not scored")
        quality = Quality(
            accuracy=nothing, precision=nothing, recall=nothing, f1=f1, auroc=nothing, micro_f1=f1
        )
        return EpochQuality(epoch=max(1, round(float(entry["epoch"]))), quality=quality)

    @staticmethod
    def pack(answer: Mapping[str, Sequence[Mention]]) -> NDArray[Any]:
        """Mentions by note id as JSON."""
        return np.array(json.dumps(mentions_as_json(answer), allow_nan=False))

    @staticmethod
    def unpack(
        stored: NDArray[Any], note_ids: Sequence[str], _symptoms: Sequence[str]
    ) -> dict[str, list[Mention]]:
        """Mentions by note id."""
        found = mentions_of_json(json.loads(str(stored)))
        if set(found) != set(note_ids):
            raise ValueError("not of these notes")
        return found


# The task `mentions`: taggers, pressed by recipes, and the rules as the row to beat.


#: The row of the rules: lexicon, sections, assertion.
RULE = "rule-assertion"


class MentionsTask(StudyTask[SpanData]):
    """A study of spans."""

    prepare = staticmethod(prepare_spans)
    tests = SpanTestSet

    @classmethod
    def check_strategies(cls, names: Sequence[str]) -> None:
        """Refuse the published strategies."""
        for name in names:
            if name in PUBLISHED:
                raise InputError(f"strategy {name!r}: not for mentions; there are {', '.join(REAL[1:])}")

    @property
    def learnt_from(self) -> tuple[int, int]:
        """The training notes, and none without labels."""
        return len(self.data.split.train), 0

    @property
    def outputs(self) -> int:
        """A logit a tag."""
        return self._lesson(0).outputs

    @property
    def references(self) -> tuple[str, ...]:
        """The rules, where they say what the task asks."""
        return (RULE,) if "silver" in task_of(self.config.task).sources else ()

    @property
    def timed_texts(self) -> list[str]:
        """The test notes."""
        return [note.text for note in self.data.side(self.data.split.test)]

    def test_set(self) -> SpanTestSet:
        """Mentions and patients of the test notes."""
        gold = {note.note_id: note.mentions for note in self.data.side(self.data.split.test)}
        symptoms = tuple(self.data.description.symptoms)
        patients = patient_numbers(self.data.frame)[self.data.split.test]
        return SpanTestSet(tuple(gold), patients, symptoms, self.config.task, gold)

    def train(self, seed: int, step: Step) -> None:
        """Train the tagger of `seed` and answer the test notes, unless it was done before."""
        if self.run.read_row(BASELINE, seed) is not None:
            return
        artifact = train_artifact(
            self._lesson(seed),
            self.encoder,
            self.run.artifact(BASELINE, seed),
            progress=lambda done, total: step(BASELINE, done, total),
        )
        self._store(BASELINE, seed, artifact)

    def press(self, name: str, recipe: Recipe, seed: int, step: Step) -> None:
        """Press the tagger of `seed` by `recipe` and answer the test notes, unless it was done before."""
        if self.run.has_row(name, seed, {"recipe": str(recipe)}):
            return
        artifact = press_artifact(
            self._lesson(seed),
            self.run.artifact(BASELINE, seed),
            recipe,
            self.run.artifact(name, seed),
            step=lambda what, done, total: step(f"{name}: {what}", done, total),
        )
        self._store(name, seed, artifact)

    def refer(self, name: str, seed: int) -> None:
        """Let the rules answer the test notes, unless it was done before."""
        if self.run.read_row(name, seed) is not None:
            return
        lexicon = self.data.lexicon
        rule = AssertedRule.of([symptom.id or symptom.name for symptom in lexicon.symptoms], lexicon)
        rule.save(self.run.artifact(name, seed))
        found = {note.note_id: rule.mentions(note.text) for note in self.data.side(self.data.split.test)}
        row = {"recipe": f"lexicon {lexicon.name!r} with sections and assertion"}
        self.run.write_row(name, seed, row, mentions=found)

    def candidate(self, name: str, seed: int) -> Candidate:
        """Of whole notes: every window, from text to mentions; rules have no parameters to count."""
        folder, row = self.run.artifact(name, seed), self.run.read_row(name, seed) or {}
        if name == RULE:
            rule = AssertedRule.load(folder)
            return Candidate(folder, row, rule.mentions, reference=rule, counted=False)
        return Candidate(folder, row, Extractor.load(folder, threads=self.config.threads).answer)

    def _lesson(self, seed: int) -> Lesson:
        sides = (self.data.split.train, self.data.split.validation)
        learnt, judged = (Labelled(self.data.side(rows)) for rows in sides)
        return Lesson(learnt, judged, self.config, self.data.lexicon, seed=seed)

    def _store(self, name: str, seed: int, artifact: Path) -> None:
        """Answer the test notes with the deployed file, and store answers and row."""
        made = json.loads((artifact / "provenance.json").read_text(encoding="utf-8"))
        notes = self.data.side(self.data.split.test)
        found = predict_mentions(artifact, [note.text for note in notes])
        kept = ("recipe", "epochs", "train_seconds", "parity_max_difference", "remarks", "macs_per_note")
        answers = {note.note_id: mentions for note, mentions in zip(notes, found, strict=True)}
        self.run.write_row(name, seed, {key: made.get(key) for key in kept}, mentions=answers)
