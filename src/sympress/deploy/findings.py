"""What was found in a note as one list: its mentions, and the symptoms that no span accounts for."""

from __future__ import annotations

from dataclasses import dataclass

from sympress.deploy.note_result import NoteResult
from sympress.labels.mentions import Assertion, Reason, ReasonKind, Source


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
    spanned = {one.symptom for one in mentions if one.assertion == "present"}
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
