"""What `sympress evaluate` says on a terminal and writes to a file; no word of a note."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from sympress.report.columns import format_difference, format_estimate
from sympress.report.verdict import printable
from sympress.results import Estimate, Record, SpanQuality, SpanScores

# What `sympress evaluate -o` writes: figures with 95 % intervals, no word of a note.


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


# The figures of an evaluation as lines to read on a terminal; no word of a note.


#: Rows of a table by symptom; the results file has all.
SYMPTOMS_SHOWN = 20
_UNKNOWN_SHOWN = 10
_SCORES = ("precision", "recall", "F1")
Row = Sequence[str]


def lines_of(results: EvaluationResults) -> Iterator[str]:
    """Yield the lines that say how good the artifact is."""
    gold = results.gold
    patients = "" if gold.patients is None else f" of {gold.patients:,} patients"
    marked = f" with {gold.mentions:,} marked spans" if gold.level == "spans" else ", symptoms of whole notes"
    one = results.artifact
    yield (
        f"{printable(one.name)} ({one.task}, {one.symptoms:,} symptoms) on "
        f"{printable(gold.name)}: {gold.notes:,} notes{patients}{marked}"
    )
    yield f"[ ] 95 % bootstrap interval, {results.resampled_by} resampled"
    yield from _remarks(results)
    yield from _cost(results)
    if results.spans is None:
        yield f"no figures of spans: {results.spans_missing}"
    else:
        yield from _spans(results, results.spans)
    yield from _notes(results)
    yield from _groups(results)
    yield from _unknown(results)


def _remarks(results: EvaluationResults) -> Iterator[str]:
    yield from (printable(line) for line in results.gold.remarks)
    if results.failed:
        yield f"{results.failed:,} notes have no answer and count as notes in which nothing was found"
    if results.truncated:
        yield f"{results.truncated:,} notes were read in part, being longer than the model reads"


def _cost(results: EvaluationResults) -> Iterator[str]:
    """What it costs, and how it differs from what it was scored against."""
    if (cost := results.cost) is None:
        return
    yield f"{_bytes(cost)}{cost.latency_ms_p50:.2f} ms a note (median; 95 % within {cost.latency_ms_p95:.2f})"
    if (other := results.against) is None:
        return
    yield (
        f"against {printable(other.artifact.name)}: {_bytes(other.cost)}{other.cost.latency_ms_p50:.2f} ms a "
        f"note, {other.latency_ratio:.3f} of whose time it takes"
    )
    yield from _table(
        "Difference of F1, and the p-value of a paired test",
        ("", "F1", "against", "difference", "p"),
        [
            (
                one.figure,
                _f1(one.f1),
                _f1(one.against_f1),
                format_difference(one.difference),
                "–" if one.p_value is None else f"{one.p_value:.3g}",
            )
            for one in other.differences
        ],
    )


def _bytes(cost: CostRecord) -> str:
    return "" if cost.size_bytes is None else f"{cost.size_bytes:,} bytes, "


def _f1(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _spans(results: EvaluationResults, spans: SpanQuality) -> Iterator[str]:
    rows = [
        ("exact", *_cells(spans.exact)),
        ("overlapping", *_cells(spans.overlapping)),
        ("exact, and its symptom", *_cells(spans.exact_symptom)),
        ("overlapping, and its symptom", *_cells(spans.overlapping_symptom)),
    ]
    if results.gold.asserted:
        rows += [
            ("exact, and its assertion", *_cells(spans.exact_assertion)),
            ("overlapping, and its assertion", *_cells(spans.overlapping_assertion)),
        ]
    rows += [
        ("exact, of what it knows", *_cells(results.known_exact)),
        ("overlapping, of what it knows", *_cells(results.known_overlapping)),
    ]
    yield from _table("Spans", ("a match is", *_SCORES), rows)
    symptoms = sorted(spans.per_symptom, key=lambda one: (-one.gold, -one.predicted, one.symptom))
    yield from _table(
        _first("Spans by symptom", len(symptoms)),
        ("symptom", "gold", "found", "F1 exact", "F1 overlapping"),
        [
            (
                one.symptom,
                f"{one.gold:,}",
                f"{one.predicted:,}",
                format_estimate(one.exact_f1),
                format_estimate(one.overlapping_f1),
            )
            for one in symptoms[:SYMPTOMS_SHOWN]
        ],
    )
    if results.gold.asserted:
        yield from _assertions(results, spans)


def _assertions(results: EvaluationResults, spans: SpanQuality) -> Iterator[str]:
    rows = spans.assertions
    yield from _table(
        "Assertion, of spans that overlap",
        ("assertion", "gold", "found", *_SCORES),
        [(one.assertion, f"{one.gold:,}", f"{one.predicted:,}", *_cells(one.given_span)) for one in rows],
    )
    names = [one.assertion for one in rows]
    pairs = {(one.gold, one.found): one.spans for one in results.assertions}
    yield from _table(
        "Assertion, gold (rows) against found (columns)",
        ("", *names),
        [(name, *(f"{pairs.get((name, other), 0):,}" for other in names)) for name in names],
    )


def _notes(results: EvaluationResults) -> Iterator[str]:
    notes = results.notes
    yield from _table(
        "Notes: the symptoms that each affirms",
        ("", *_SCORES, "macro F1"),
        [
            ("all that gold names", *_cells(notes.micro), format_estimate(notes.macro_f1)),
            ("what the artifact knows", *_cells(notes.known), format_estimate(notes.known_macro_f1)),
        ],
    )
    if results.never_asked:
        yield (
            f"not scored: {results.never_asked:,} answers with symptoms that the gold names in no note: its "
            "list of symptoms may not have them"
        )
    yield from _table(
        _first("Notes by symptom", len(notes.per_symptom)),
        ("symptom", "gold", "found", *_SCORES),
        [
            (one.symptom, f"{one.gold:,}", f"{one.predicted:,}", *_cells(one.scores))
            for one in notes.per_symptom[:SYMPTOMS_SHOWN]
        ],
    )


def _groups(results: EvaluationResults) -> Iterator[str]:
    if results.group_by is None:
        return
    spans = results.spans is not None
    header = ("F1 spans exact", "F1 overlapping") if spans else ()
    yield from _table(
        f"By {printable(results.group_by)}",
        ("", "notes", "gold", *header, "F1 notes"),
        [
            (
                one.group,
                f"{one.notes:,}",
                f"{one.gold:,}",
                *((format_estimate(one.exact_f1), format_estimate(one.overlapping_f1)) if spans else ()),
                format_estimate(one.note_f1),
            )
            for one in results.groups
        ],
    )


def _unknown(results: EvaluationResults) -> Iterator[str]:
    """Say what the gold names and the artifact doesn't know, and where that is counted."""
    if not (results.unknown or results.unnamed):
        return
    yield ""
    if results.unknown:
        shown = ", ".join(
            f"{printable(one.symptom)} ({one.mentions or one.notes:,})"
            for one in results.unknown[:_UNKNOWN_SHOWN]
        )
        more = len(results.unknown) - _UNKNOWN_SHOWN
        spans = sum(one.mentions for one in results.unknown)
        what = (
            f"{spans:,} spans" if spans else f"{sum(one.notes for one in results.unknown):,} answers of notes"
        )
        yield (
            f"outside its vocabulary: {len(results.unknown):,} symptoms, {what}, counted as missed: {shown}"
            + (f" and {more:,} more" if more > 0 else "")
        )
    if results.unnamed:
        yield (
            f"outside its vocabulary: {results.unnamed:,} gold spans whose words name no symptom of its "
            "lexicon; they count among the spans, and in no figure by symptom"
        )


def _first(title: str, count: int) -> str:
    return title if count <= SYMPTOMS_SHOWN else f"{title}, the first {SYMPTOMS_SHOWN} of {count:,}"


def _cells(scores: SpanScores | None) -> tuple[str, str, str]:
    if scores is None:
        return ("–", "–", "–")
    return (
        format_estimate(scores.precision),
        format_estimate(scores.recall),
        format_estimate(scores.f1),
    )


def _table(title: str, header: Row, rows: Sequence[Row]) -> Iterator[str]:
    """A title, the header and a line a row; the first column to the left, the others to the right."""
    if not rows:
        return
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    yield ""
    yield title
    for row in cells:
        first, *rest = row
        padded = [
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)),
        ]
        yield "  " + "  ".join(padded).rstrip()
