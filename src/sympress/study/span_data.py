"""The notes of a study of mentions: annotated by people, by rules or by construction, and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.labels.annotate import Annotator
from sympress.labels.coded import check_labelling
from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.labels.mentions import AnnotatedNote, Mention
from sympress.notes.schema import NoteSet
from sympress.notes.split import Split, check_leaks, patient_numbers
from sympress.notes.synthesize import synthesize
from sympress.progress import Reporter
from sympress.results import DataDescription
from sympress.study.inputs import data_inputs, fingerprint_annotated
from sympress.study.prepare import describe_notes, label_source, read_sources, split_frame

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

    @property
    def test_patients(self) -> NDArray[np.int64]:
        """A number a test note, the same for notes of one patient."""
        return patient_numbers(self.frame)[self.split.test]


def prepare_spans(config: StudyConfig, reporter: Reporter) -> SpanData:
    """Read, annotate and split the notes of `config` (resolved).

    Raises:
        InputError: the notes or annotations cannot be read, or a side has no mention.
        LeakError: a patient or a copy is on both sides (except under the protocol `paper`).
    """
    lexicon = load_lexicon(config.lexicon or "clinical")
    source = label_source(config, None)
    check_labelling("mentions", source)
    if source == "gold" and config.gold is None:
        source, notes, annotated = "synthetic", *_synthetic(config, reporter)
    else:
        gold, notes = read_sources(config, lexicon, reporter)
        annotated = _annotated(source, notes, gold, lexicon, reporter)
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


def _synthetic(config: StudyConfig, reporter: Reporter) -> tuple[NoteSet, list[AnnotatedNote]]:
    """Synthetic notes and the mentions that they hold by construction."""
    if config.notes is not None:
        raise InputError("labels from gold need the annotated notes: give --gold FILE or FOLDER")
    _, notes = read_sources(config, load_lexicon(config.lexicon or "clinical"), reporter)
    rows: dict[str, list[Mention]] = {}
    for row in synthesize(config.synthetic_notes, seed=0).mentions.iter_rows(named=True):
        mention = Mention(row["start"], row["end"], row["symptom"], row["assertion"])
        rows.setdefault(row["note_id"], []).append(mention)
    return notes, [
        AnnotatedNote(note_id, text, tuple(rows.get(note_id, ())))
        for note_id, text in notes.frame.select("note_id", "text").iter_rows()
    ]


def _symptoms(notes: list[AnnotatedNote], split: Split) -> list[str]:
    """Symptoms that training notes mention, most frequent first."""
    counts = Counter(m.symptom for row in split.train for m in notes[row].mentions if m.symptom)
    return sorted(counts, key=lambda name: (-counts[name], name))
