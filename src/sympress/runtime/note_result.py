"""What was found in notes, as one list of findings and as a program takes it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from sympress.errors import InputError
from sympress.labels.mentions import Assertion, Reason, ReasonKind, Source
from sympress.labels.task import affirms, span_classes

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

# What was found in notes, and the forms in which a program or a notebook takes it.


_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class FoundSymptom:
    """A symptom that a note affirms.

    Attributes:
        symptom: its name, as the artifact lists it.
        code: its first code, such as a SNOMED CT id; None where the artifact knows none.
        probability: a model's, calibrated where the artifact carries a calibration, 0..1; None where none
            gave one.
        source: who found it.
        span: of the mention that affirms it, the surest or else the first; None where a model answers for
            the whole note and points at no words.
    """

    symptom: str
    code: str | None
    probability: float | None
    source: Source = "model"
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class FoundMention:
    """A span of a note that names a symptom.

    Attributes:
        start: its first character, counted in the original text.
        end: one past its last character.
        symptom: its name; None for a span that nothing names.
        code: its first code, or None.
        assertion: what the note says of it.
        score: a model's probability, 0..1; None where none gave one.
        source: who found it.
        reason: what decided the assertion; None where nothing but the words speaks.
    """

    start: int
    end: int
    symptom: str | None
    code: str | None
    assertion: Assertion
    score: float | None
    source: Source = "rules"
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class NoteResult:
    """What was found in one note.

    Attributes:
        symptoms: what the note affirms, the most probable first, then those without a probability. Each has a
            present mention, unless a model of whole notes answers without rules; that of a `topic` names
            exactly one.
        mentions: by start; empty unless the task is `mentions` or the artifact asks for rules besides.
        windows: how many windows of the note the model read.
        markup: that the note is written in and that was read as text: `html`, `rtf`, `hl7`, `cda`; or None.
        truncated: the note goes on after what the model read.
        failure: why the note has no answer, or None; it never quotes the note.
        text: the note, where its result was asked for in Python; neither printed nor compared.
    """

    symptoms: tuple[FoundSymptom, ...]
    mentions: tuple[FoundMention, ...] = ()
    windows: int = 0
    truncated: bool = False
    failure: str | None = None
    markup: str | None = None
    text: str | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """What was found as plain values for JSON; probabilities have six decimals.

        The fields are those of a row of `sympress extract`, and `failure`. Nothing in it quotes the note but
        the words of reasons, such as `denies`.
        """
        return {
            "symptoms": [
                {
                    "symptom": found.symptom,
                    "code": found.code,
                    "probability": rounded(found.probability),
                    "source": found.source,
                }
                for found in self.symptoms
            ],
            "mentions": [
                {
                    "start": mention.start,
                    "end": mention.end,
                    "symptom": mention.symptom,
                    "code": mention.code,
                    "assertion": mention.assertion,
                    "score": rounded(mention.score),
                    "source": mention.source,
                    "reason": reason_fields(mention.reason),
                }
                for mention in self.mentions
            ],
            "windows": self.windows,
            "truncated": self.truncated,
            "markup": self.markup,
            "failure": self.failure,
        }

    def to_frame(self) -> pl.DataFrame:
        """A row a mention, and one a symptom that the model affirms without words.

        The columns are `symptom`, `code`, `assertion`, `probability` (0..1), `start` and `end` (characters of
        the note), `words` of the note, `source`, `reason` and `failure`. A note without an answer has one
        row, which says why in `failure`.
        """
        return _frame([self]).drop("note")

    def to_pandas(self) -> pd.DataFrame:
        """`to_frame`, for pandas.

        Raises:
            InputError: pandas is not installed.
        """
        return _as_pandas(self.to_frame())

    def _repr_html_(self) -> str:
        return _html([self])


class NoteResults(tuple[NoteResult, ...]):
    """The results of several notes, in their order; a slice of them is one of these too."""

    __slots__ = ()

    @overload
    def __getitem__(self, at: SupportsIndex) -> NoteResult: ...

    @overload
    def __getitem__(self, at: slice) -> NoteResults: ...

    def __getitem__(self, at: SupportsIndex | slice) -> NoteResult | NoteResults:
        if isinstance(at, slice):
            return NoteResults(super().__getitem__(at))
        return super().__getitem__(at)

    def to_dict(self) -> list[dict[str, Any]]:
        """`NoteResult.to_dict` of each note."""
        return [one.to_dict() for one in self]

    def to_frame(self) -> pl.DataFrame:
        """`NoteResult.to_frame` of all notes, with the place of each, from 0, in the column `note`."""
        return _frame(self)

    def to_pandas(self) -> pd.DataFrame:
        """`to_frame`, for pandas.

        Raises:
            InputError: pandas is not installed.
        """
        return _as_pandas(self.to_frame())

    def _repr_html_(self) -> str:
        return _html(self)


def _frame(results: Sequence[NoteResult]) -> pl.DataFrame:
    return frame_of(results)


def _as_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    return as_pandas(frame)


def _html(results: Sequence[NoteResult]) -> str:

    return html_of(results)


def rounded(probability: float | None) -> float | None:
    """A probability as rows hold it; None where no model gave one."""
    return None if probability is None else round(probability, _DECIMALS)


def reason_fields(reason: Reason | None) -> dict[str, Any] | None:
    """What decided an assertion, as plain values; None where nothing but the words speaks."""
    if reason is None:
        return None
    return {"kind": reason.kind, "words": reason.words, "start": reason.start, "end": reason.end}


def failed(reason: str) -> NoteResult:
    """The result of a note without an answer."""
    return NoteResult((), failure=reason)


def in_original(
    result: NoteResult, span: Callable[[int, int], tuple[int, int]], markup: str | None
) -> NoteResult:
    """`result` of a note's text with every span, of mentions, reasons and symptoms, moved to the note itself.

    Args:
        result: with spans of the text that was read.
        span: where a start and an end of that text are in the note as it was given.
        markup: what was read as text.
    """
    if result.failure is not None:
        return replace(result, markup=markup)

    mentions = []
    for one in result.mentions:
        start, end = span(one.start, one.end)
        mentions.append(replace(one, start=start, end=end, reason=one.reason and one.reason.moved(span)))
    symptoms = [one if one.span is None else replace(one, span=span(*one.span)) for one in result.symptoms]
    return replace(result, mentions=tuple(mentions), symptoms=tuple(symptoms), markup=markup)


def joined(results: Sequence[NoteResult]) -> NoteResult:
    """The results of notes that became one text, whose spans were moved to it (`in_original`).

    A symptom that several notes affirm has its highest probability. The text is left out.
    """
    if len(results) == 1:
        return results[0]
    surest: dict[str, FoundSymptom] = {}
    for one in sorted(chain.from_iterable(each.symptoms for each in results), key=_surest_first):
        surest.setdefault(one.symptom, one)
    return NoteResult(
        symptoms=tuple(surest.values()),
        mentions=tuple(chain.from_iterable(each.mentions for each in results)),
        windows=sum(each.windows for each in results),
        truncated=any(each.truncated for each in results),
        failure=next((each.failure for each in results if each.failure is not None), None),
        markup=next((each.markup for each in results if each.markup is not None), None),
    )


def _surest_first(one: FoundSymptom) -> float:
    return 1.0 if one.probability is None else -one.probability


# What was found in a note as one list: its mentions, and the symptoms that no span accounts for.


@dataclass(frozen=True, slots=True)
class Finding:
    """A mention, or a symptom of the whole note.

    Attributes:
        symptom: its name; None for a span that nothing names.
        code: its first code, or None.
        assertion: what the note says of it; `present` for a symptom of the whole note.
        probability: that of the symptom, or the score of the mention; None where no model gave one.
        span: first character and the one after the last, counted in the original text; None without a span.
        source: who found it.
        reason: what decided the assertion; None where nothing but the words speaks.
    """

    symptom: str | None
    code: str | None
    assertion: Assertion
    probability: float | None
    span: tuple[int, int] | None
    source: Source
    reason: Reason | None


def findings_of(result: NoteResult) -> list[Finding]:
    """Mentions by start, then the symptoms that no mention calls present, the most probable first."""
    mentions = [
        Finding(one.symptom, one.code, one.assertion, one.score, (one.start, one.end), one.source, one.reason)
        for one in result.mentions
    ]
    spanned = {one.symptom for one in mentions if affirms(one.assertion)}
    return mentions + [
        Finding(one.symptom, one.code, "present", one.probability, one.span, one.source, None)
        for one in result.symptoms
        if one.symptom not in spanned
    ]


#: What stands before the words of a reason; a cue needs nothing.
_REASONS: dict[ReasonKind, str] = {
    "cue": "",
    "section": "section ",
    "mark": "mark ",
    "word": "the word itself, ",
    "value": "value ",
    "model": "the model",
}


def reason_in_words(reason: Reason) -> str:
    """A reason for people to read: `"denies" at 0-6`, `section "family history" at 40-54`, `the model`."""
    said = _REASONS[reason.kind] + (f'"{reason.words}"' if reason.words else "")
    place = "" if reason.start is None else f" at {reason.start}-{reason.end}"
    return (said or reason.kind) + place


def finding_fields(one: Finding) -> dict[str, Any]:
    """A finding as the fields of a flat row; the reason in words."""
    start, end = one.span or (None, None)
    return {
        "symptom": one.symptom,
        "code": one.code,
        "assertion": one.assertion,
        "probability": rounded(one.probability),
        "start": start,
        "end": end,
        "source": one.source,
        "reason": None if one.reason is None else reason_in_words(one.reason),
    }


# What was found in notes as a table.


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def frame_of(results: Iterable[NoteResult]) -> pl.DataFrame:
    """A row a finding, as `NoteResult.to_frame` says; `note` counts the notes from 0."""
    import polars as pl  # late: a service does without it

    rows = [{"note": place, **row} for place, one in enumerate(results) for row in _rows(one)]
    schema = {
        "note": pl.Int64,
        "symptom": pl.String,
        "code": pl.String,
        "assertion": pl.String,
        "probability": pl.Float64,
        "start": pl.Int64,
        "end": pl.Int64,
        "words": pl.String,
        "source": pl.String,
        "reason": pl.String,
        "failure": pl.String,
    }
    return pl.DataFrame(rows, schema=schema)


def _rows(result: NoteResult) -> list[dict[str, Any]]:
    if result.failure is not None:
        return [{"failure": result.failure}]
    rows = []
    for one in findings_of(result):
        row = finding_fields(one)
        if result.text is not None and one.span is not None:
            row["words"] = encodable(result.text[slice(*one.span)])
        if one.reason is not None:
            row["reason"] = encodable(row["reason"])
        rows.append(row)
    return rows


def as_pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """`frame` for pandas, with pandas' own types.

    Raises:
        InputError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise InputError("pandas is not installed: run  pip install pandas, or use to_frame()") from None
    return pd.DataFrame(frame.to_dict(as_series=False), columns=frame.columns)


def encodable(text: str) -> str:
    """`text` with lone surrogates, which no UTF-8 can hold, as U+FFFD; offsets stay what they were."""
    return _LONE_SURROGATE.sub("\ufffd", text)


# Results as a notebook shows them: the note with its mentions marked. Everything from a note is escaped.


#: Most that is shown: a notebook keeps what it shows, and a browser has to draw it.
NOTES_SHOWN = 20
CHARACTERS_SHOWN = 20_000

#: Colours behind black words: Okabe and Ito's, which colour-blind people tell apart, paler.
_COLOURS: dict[Assertion, str] = {
    "present": "#f6c9a8",
    "absent": "#bcdcf2",
    "possible": "#f5ecb0",
    "hypothetical": "#eed3e3",
    "historical": "#d8d8d8",
    "family": "#bfe3d4",
}
#: Of spans that are told something else than an assertion.
_COLOUR = "#f6c9a8"
#: Of each mention: corners also where a line breaks in it, and its colour on paper.
_MARK = (
    "color:#000;padding:.1em .2em;border-radius:.2em;-webkit-box-decoration-break:clone;"
    "box-decoration-break:clone;-webkit-print-color-adjust:exact;print-color-adjust:exact"
)
_LEFT_OUT = '<div style="opacity:.7">{}</div>'

_Part = tuple[int, int, tuple[Finding, ...]]


def html_of(results: Sequence[NoteResult]) -> str:
    """The first `NOTES_SHOWN` notes and what was found in them; a `$` stays one, no formula."""
    notes = "".join(_note(one) for one in results[:NOTES_SHOWN])
    more = len(results) - NOTES_SHOWN
    rest = _LEFT_OUT.format(f"and {more:,} more notes") if more > 0 else ""
    return f'<div class="sympress tex2jax_ignore mathjax_ignore">{notes}{rest}</div>'


def _note(result: NoteResult) -> str:
    if result.failure is not None:
        inner = f"no answer: {escape(encodable(result.failure))}"
    else:
        found = findings_of(result)
        marked = [] if result.text is None else [one for one in found if one.span is not None]
        listed = found if result.text is None else [one for one in found if one.span is None]
        inner = ("" if result.text is None else _text(encodable(result.text), marked)) + _list(listed)
        inner = inner or "no symptom found"
    return f'<div style="border-left:3px solid #999;margin:.5em 0;padding:0 .8em">{inner}</div>'


def _text(text: str, found: Sequence[Finding]) -> str:
    shown = text[:CHARACTERS_SHOWN]
    inner = "".join(_part(shown[start:end], end, around) for start, end, around in _parts(found, len(shown)))
    left = len(text) - len(shown)
    rest = _LEFT_OUT.format(f"and {left:,} more characters") if left else ""
    return f'<div style="white-space:pre-wrap;line-height:1.9">{inner}</div>{rest}'


def _parts(found: Sequence[Finding], length: int) -> Iterator[_Part]:
    """The parts of a note, cut wherever a mention begins or ends, and which mentions are around each."""
    beginning: dict[int, list[Finding]] = defaultdict(list)
    cuts = {0, length}
    for one in found:
        start, end = one.span or (0, 0)
        if start < min(end, length):
            beginning[start].append(one)
            cuts |= {start, min(end, length)}
    around: list[Finding] = []
    places = sorted(cuts)
    for start, end in pairwise(places):
        around = [one for one in around if one.span is not None and one.span[1] > start] + beginning[start]
        yield start, end, tuple(around)


def _part(words: str, end: int, around: Sequence[Finding]) -> str:
    """A part in the colour of the mention that began last, with a label after each that ends here."""
    if not around:
        return escape(words)
    labels = "".join(
        f'<small style="opacity:.75"> {_label(one)}</small>'
        for one in around
        if one.span is not None and one.span[1] == end
    )
    title = escape("; ".join(_title(one) for one in around))
    colour = _COLOURS.get(around[-1].assertion, _COLOUR)
    return f'<mark style="background:{colour};{_MARK}" title="{title}">{escape(words)}{labels}</mark>'


def _label(one: Finding) -> str:
    return escape(f"{one.symptom or 'unnamed'} {one.assertion}")


def _title(one: Finding) -> str:
    parts = [f"{one.symptom or 'unnamed'}, {one.assertion}", f"by {one.source}"]
    parts += [] if one.probability is None else [f"probability {one.probability:.2f}"]
    parts += [] if one.reason is None else [encodable(reason_in_words(one.reason))]
    return ", ".join(parts)


def _list(found: Sequence[Finding]) -> str:
    """Findings without words to mark: those of the whole note, or all where the text is not at hand."""
    rows = sorted(found, key=lambda one: span_classes().index(one.assertion))
    return "".join(f"<div>{escape(_title(one))}</div>" for one in rows)
