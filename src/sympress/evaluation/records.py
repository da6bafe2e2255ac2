"""What `sympress evaluate -o` writes: figures with 95 % intervals, no word of a note."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sympress.results import Estimate, Record, SpanQuality, SpanScores

EVALUATION_FORMAT: Literal[1] = 1


class GoldDescription(Record):
    """What judged.

    Attributes:
        name: of the file or folder.
        form: the format, or the rows, that it was read from.
        level: `spans` where people marked spans, `notes` where they said of whole notes what these affirm.
        notes: annotated notes.
        patients: how many patients they are of; null where nobody says.
        mentions: marked spans.
        asserted: the gold says what spans assert; otherwise all count as present.
        remarks: what a reader of the figures must know.
    """

    name: str
    form: str
    level: Literal["spans", "notes"]
    notes: int
    patients: int | None
    mentions: int
    asserted: bool
    remarks: list[str] = Field(default_factory=list)


class ArtifactDescription(Record):
    """What was judged; `digest` pins it, as `sympress show` prints it."""

    name: str
    digest: str
    task: str
    symptoms: int


class AssertionPairs(Record):
    """Gold spans that assert `gold` and overlap a found span that asserts `found`."""

    gold: str
    found: str
    spans: int


class NoteSymptom(Record):
    """One symptom of whole notes: how many affirm it by gold, of how many it was found, and how well."""

    symptom: str
    known: bool
    gold: int
    predicted: int
    scores: SpanScores


class NoteScores(Record):
    """Symptoms that whole notes affirm.

    Attributes:
        symptoms: how many are scored.
        gold: pairs of a note and a symptom that it affirms.
        predicted: pairs that were found.
        micro: all pairs together.
        macro_f1: mean over the symptoms that a note affirms.
        known: `micro` of the symptoms that the artifact knows.
        known_macro_f1: `macro_f1` of those.
        per_symptom: by symptom, those of most notes first.
    """

    symptoms: int
    gold: int
    predicted: int
    micro: SpanScores
    macro_f1: Estimate
    known: SpanScores
    known_macro_f1: Estimate
    per_symptom: list[NoteSymptom] = Field(default_factory=list)


class UnknownSymptom(Record):
    """A symptom of the gold that the artifact doesn't know: its spans, and the notes that affirm it."""

    symptom: str
    mentions: int
    notes: int


class GroupScores(Record):
    """F1 on the notes of one group; undefined, with the reason, where it has too few true answers."""

    group: str
    notes: int
    gold: int
    exact_f1: Estimate | None = None
    overlapping_f1: Estimate | None = None
    note_f1: Estimate


class CostRecord(Record):
    """What an artifact costs: bytes of its model (null for rules alone) and milliseconds a note."""

    size_bytes: int | None
    latency_ms_p50: float
    latency_ms_p95: float


class DifferenceRecord(Record):
    """One F1 beside that of another artifact on the same notes.

    Attributes:
        figure: which F1.
        f1: that of what was judged.
        against_f1: that of the other.
        difference: the first minus the second; the interval is that of the same resamples.
        p_value: two-sided, of paired approximate randomisation; null without resamples.
    """

    figure: Literal["notes micro", "notes macro", "spans exact", "spans overlapping"]
    f1: float | None
    against_f1: float | None
    difference: Estimate
    p_value: float | None


class AgainstRecord(Record):
    """Another artifact on the same notes.

    Attributes:
        artifact: which.
        failed: notes without an answer.
        cost: timed in turn with what was judged.
        latency_ratio: the time of what was judged, divided by this one's, note by note, the median.
        differences: F1 by F1.
    """

    artifact: ArtifactDescription
    failed: int
    cost: CostRecord
    latency_ratio: float
    differences: list[DifferenceRecord]


class EvaluationResults(Record):
    """How good an artifact is on gold notes.

    Attributes:
        format: of this file.
        artifact: what was judged.
        gold: what judged.
        resampled_by: what a bootstrap draws: patients where they are known, else notes.
        failed: notes without an answer; they count as notes in which nothing was found.
        truncated: notes that the model read in part.
        spans: of all spans; null without marked spans, or for an artifact that points at no words.
        spans_missing: why `spans` is null.
        known_exact: exact spans without those whose symptom the artifact doesn't know.
        known_overlapping: overlapping spans without those.
        assertions: what overlapping spans assert, gold against found; empty where the gold doesn't say.
        notes: of whole notes.
        unknown: symptoms of the gold that the artifact doesn't know, the most frequent first.
        unnamed: gold spans whose words name no symptom at all.
        never_asked: found pairs of a note and a symptom that gold of whole notes names nowhere; not scored.
        group_by: what `groups` are told apart by.
        groups: by subgroup.
        cost: bytes and milliseconds; null where nothing was timed.
        against: another artifact on the same notes; null where none was given.
    """

    format: Literal[1] = EVALUATION_FORMAT
    artifact: ArtifactDescription
    gold: GoldDescription
    resampled_by: Literal["patients", "notes"]
    failed: int
    truncated: int
    spans: SpanQuality | None = None
    spans_missing: str | None = None
    known_exact: SpanScores | None = None
    known_overlapping: SpanScores | None = None
    assertions: list[AssertionPairs] = Field(default_factory=list)
    notes: NoteScores
    unknown: list[UnknownSymptom] = Field(default_factory=list)
    unnamed: int = 0
    never_asked: int = 0
    group_by: str | None = None
    groups: list[GroupScores] = Field(default_factory=list)
    cost: CostRecord | None = None
    against: AgainstRecord | None = None
