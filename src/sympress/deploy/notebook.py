"""Results as a notebook shows them: the note with its mentions marked. Everything from a note is escaped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise

from sympress.deploy.findings import Finding, findings_of, reason_in_words
from sympress.deploy.frames import encodable
from sympress.deploy.note_result import NoteResult
from sympress.labels.mentions import ASSERTIONS, Assertion

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
    style = f"background:{_COLOURS[around[-1].assertion]};color:#000;padding:.1em .2em;border-radius:.2em"
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
    rows = sorted(found, key=lambda one: ASSERTIONS.index(one.assertion))
    return "".join(f"<div>{escape(_title(one))}</div>" for one in rows)
