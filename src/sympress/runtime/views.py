"""What was found in notes as a table, and as a notebook shows it. Everything from a note is escaped."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import polars as pl

from sympress.errors import InputError
from sympress.labels.mentions import Assertion
from sympress.labels.task import span_classes
from sympress.runtime.note_result import Finding, NoteResult, findings_of, reason_in_words, rounded

if TYPE_CHECKING:
    import pandas as pd


# What was found in notes as a table.


_SCHEMA = {
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
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def frame_of(results: Iterable[NoteResult]) -> pl.DataFrame:
    """A row a finding, as `NoteResult.to_frame` says; `note` counts the notes from 0."""
    rows = [{"note": place, **row} for place, one in enumerate(results) for row in _rows(one)]
    return pl.DataFrame(rows, schema=_SCHEMA)


def _rows(result: NoteResult) -> list[dict[str, Any]]:
    if result.failure is not None:
        return [{"failure": result.failure}]
    rows = []
    for one in findings_of(result):
        start, end = one.span or (None, None)
        rows.append(
            {
                "symptom": one.symptom,
                "code": one.code,
                "assertion": one.assertion,
                "probability": rounded(one.probability),
                "start": start,
                "end": end,
                "words": None
                if result.text is None or one.span is None
                else encodable(result.text[start:end]),
                "source": one.source,
                "reason": None if one.reason is None else encodable(reason_in_words(one.reason)),
            }
        )
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
    return f'<div style="white-space:pre-wrap">{inner}</div>{rest}'


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
    style = f"background:{colour};color:#000;padding:.1em .2em;border-radius:.2em"
    return f'<mark style="{style}" title="{title}">{escape(words)}{labels}</mark>'


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
