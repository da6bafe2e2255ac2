"""What was found in a note as one list: its mentions, and the symptoms that no span accounts for."""

from __future__ import annotations

from dataclasses import dataclass

from sympress.deploy.extractor import NoteResult
from sympress.labels.mentions import Assertion


@dataclass(frozen=True, slots=True)
class Finding:
    """A mention, or a symptom of the whole note.

    Attributes:
        symptom: its name; None for a span that nothing names.
        code: its first code, or None.
        assertion: what the note says of it; `present` for a symptom of the whole note.
        probability: that of the symptom, or the score of the mention.
        span: first character and the one after the last, counted in the original text; None without a span.
    """

    symptom: str | None
    code: str | None
    assertion: Assertion
    probability: float | None
    span: tuple[int, int] | None


def findings_of(result: NoteResult) -> list[Finding]:
    """Mentions by start, then the symptoms that no mention calls present, the most probable first."""
    mentions = [
        Finding(one.symptom, one.code, one.assertion, one.score, (one.start, one.end))
        for one in result.mentions
    ]
    spanned = {one.symptom for one in mentions if one.assertion == "present"}
    return mentions + [
        Finding(one.symptom, one.code, "present", one.probability, None)
        for one in result.symptoms
        if one.symptom not in spanned
    ]
