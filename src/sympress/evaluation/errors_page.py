"""An HTML browser of what an artifact missed and made up, by symptom and kind, with note text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from sympress.evaluation.evaluate import Evaluation
from sympress.evaluation.gold import Gold, GoldNote
from sympress.evaluation.spans import match_spans
from sympress.files import write_text
from sympress.labels.mentions import Mention
from sympress.labels.task import affirms
from sympress.report.page import renderer, template

Kind = Literal["missed", "made up", "wrong symptom", "wrong assertion", "other ends"]
#: Every kind, and what it is.
KINDS: dict[Kind, str] = {
    "missed": "the gold has it, nothing that was found overlaps it",
    "made up": "it was found, nothing in the gold overlaps it",
    "wrong symptom": "the spans overlap, the symptoms differ",
    "wrong assertion": "the spans overlap, what they assert differs",
    "other ends": "the spans overlap, symptom and assertion agree, an end differs",
}
#: Characters of the note that are shown on either side of a span, or at its start where there is none.
AROUND, BEGINNING = 160, 600
#: Errors that a page holds; it says how many there are.
MOST_ERRORS = 5_000
_UNNAMED = "(no symptom)"


@dataclass(frozen=True, slots=True)
class ErrorShown:
    """One error, and the words around it.

    Attributes:
        kind: of it.
        symptom: that it is filed under: the gold's, else the one that was found.
        note_id: of the note.
        gold: what the gold says, in words; empty for nothing.
        found: what was found, in words; empty for nothing.
        pieces: text around it, each piece with its marks: `gold`, `found`, both or none.
    """

    kind: Kind
    symptom: str
    note_id: str
    gold: str
    found: str
    pieces: tuple[tuple[str, str], ...]


def errors_of(evaluation: Evaluation) -> Iterator[ErrorShown]:
    """Yield the errors of every note, in the order of the notes and of their text."""
    gold = evaluation.gold
    by_span = evaluation.results.spans is not None
    named = frozenset(name for note in gold.notes for name in note.affirmed)
    for note, found, affirmed in zip(gold.notes, evaluation.found, evaluation.affirmed, strict=True):
        if by_span:
            yield from _of_spans(gold, note, found)
        else:
            yield from _of_note(note, found, affirmed if gold.spans else affirmed & named)


def _of_spans(gold: Gold, note: GoldNote, found: tuple[Mention, ...]) -> Iterator[ErrorShown]:
    both = dict(match_spans(note.mentions, found, exact=False))
    told = [(wanted, found[both[row]] if row in both else None) for row, wanted in enumerate(note.mentions)]
    matched = set(both.values())
    added = [(None, one) for column, one in enumerate(found) if column not in matched]
    for wanted, answered in sorted([*told, *added], key=lambda pair: (pair[0] or pair[1]).start):  # type: ignore[union-attr]
        kind = _kind(wanted, answered, asserted=gold.asserted)
        if kind is not None:
            yield ErrorShown(
                kind,
                (wanted or answered).symptom or _UNNAMED,  # type: ignore[union-attr]
                note.note_id,
                _in_words(wanted),
                _in_words(answered),
                _pieces(note.text, wanted, answered),
            )


def _kind(wanted: Mention | None, found: Mention | None, *, asserted: bool) -> Kind | None:
    """What is wrong with a pair; None where nothing is."""
    if found is None:
        return "missed"
    if wanted is None:
        return "made up"
    if wanted.symptom is not None and wanted.symptom != found.symptom:
        return "wrong symptom"
    if asserted and wanted.assertion != found.assertion:
        return "wrong assertion"
    return "other ends" if (wanted.start, wanted.end) != (found.start, found.end) else None


def _of_note(note: GoldNote, found: tuple[Mention, ...], affirmed: AbstractSet[str]) -> Iterator[ErrorShown]:
    """Errors of the whole note; where words speak for what was made up, or against, they are shown."""
    for symptom in sorted(note.affirmed ^ affirmed):
        missed = symptom in note.affirmed
        spans = [one for one in found if one.symptom == symptom]
        marked = [one for one in note.mentions if one.symptom == symptom and affirms(one.assertion)]
        gold = marked[0] if missed and marked else None
        span = next((one for one in spans if missed or affirms(one.assertion)), None)
        yield ErrorShown(
            "missed" if missed else "made up",
            symptom,
            note.note_id,
            f"{symptom}, of the whole note" if missed else "",
            _in_words(span) if span else "" if missed else f"{symptom}, of the whole note",
            _pieces(note.text, gold, span),
        )


def _in_words(mention: Mention | None) -> str:
    return "" if mention is None else f"{mention.symptom or _UNNAMED}, {mention.assertion}"


def _pieces(text: str, gold: Mention | None, found: Mention | None) -> tuple[tuple[str, str], ...]:
    """The words around two spans, cut where a mark begins or ends; the beginning of a note without spans."""
    spans = {name: one for name, one in (("gold", gold), ("found", found)) if one is not None}
    if not spans:
        more = "…" if len(text) > BEGINNING else ""
        return ((text[:BEGINNING] + more, ""),)
    first, last = min(one.start for one in spans.values()), max(one.end for one in spans.values())
    begin, end = max(0, first - AROUND), min(len(text), last + AROUND)
    cuts = sorted({begin, end, *(at for one in spans.values() for at in (one.start, one.end))})
    pieces = [
        (
            text[start:stop],
            " ".join(name for name, one in spans.items() if one.start <= start and stop <= one.end),
        )
        for start, stop in pairwise(cuts)
    ]
    front, back = ("…", "") if begin else ("", ""), ("…", "") if end < len(text) else ("", "")
    return tuple(piece for piece in (front, *pieces, back) if piece[0])


def write_errors(evaluation: Evaluation, path: Path) -> int:
    """Write the page, all of it or none, and return how many errors there are; it holds words of the notes.

    Raises:
        MissingExtraError: jinja2 is not installed.
        InputError: the file cannot be written.
    """
    page, count = render_errors(evaluation)
    write_text(path, page)
    return count


def render_errors(evaluation: Evaluation) -> tuple[str, int]:
    """Return the page as text, and how many errors there are; the first `MOST_ERRORS` stand in it.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    environment = renderer()
    from markupsafe import Markup

    errors = list(errors_of(evaluation))
    kinds = Counter(one.kind for one in errors)
    symptoms = Counter(one.symptom for one in errors)
    own = "sympress.evaluation"
    # Ours, not the data's: a style sheet and a script of the package.
    style = template("report.css") + template("errors.css", own)
    values: dict[str, Any] = {
        "results": evaluation.results,
        "errors": errors[:MOST_ERRORS],
        "total": len(errors),
        "kinds": [(kind, told, kinds[kind]) for kind, told in KINDS.items() if kinds[kind]],
        "symptoms": sorted(symptoms.items(), key=lambda pair: (-pair[1], pair[0])),
        "style": Markup(style),  # noqa: S704
        "script": Markup(template("errors.js", own)),  # noqa: S704
    }
    page = environment.from_string(template("errors.html.j2", own)).render(values)
    return page, len(errors)


def check_renderer() -> None:
    """Refuse to begin where the page could not be written in the end.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    renderer()
