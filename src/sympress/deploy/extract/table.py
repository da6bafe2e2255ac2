"""Results for people: one line a finding."""

from __future__ import annotations

import json
import re
from typing import Any

from sympress.deploy.extract.chunks import Answered, Chunk
from sympress.deploy.findings import reason_in_words
from sympress.labels.mentions import Reason
from sympress.notes.intake import Note

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


#: Said once, before the first symptom that a model found by the whole note.
POINTS_AT_NO_WORDS = "(this model answers for the whole note: it points at no words)"
_FOUND_BY = {"rules": "rules", "model": "model", "both": "rules and model"}


class Table:
    """Writes the rows of a job as aligned lines, chunk after chunk."""

    def __init__(self, *, explain: bool = False) -> None:
        """`explain` adds to each line who found it and what decided its assertion."""
        self._explain, self._told = explain, False

    def lines(self, chunk: Chunk, answered: Answered) -> bytes:
        """The rows of `answered`, made for the notes of `chunk`; spans with the note's words."""
        lines: list[str] = []
        for place, raw in zip(answered.places, answered.data.splitlines(), strict=True):
            row, item = json.loads(raw), chunk.items[place]
            if not self._told and row["symptoms"] and not row["mentions"]:
                self._told = True
                lines.append(POINTS_AT_NO_WORDS)
            lines += self._note_lines(row, item.text if isinstance(item, Note) else "")
        return "".join(line + "\n" for line in lines).encode("utf-8", "replace")

    def _note_lines(self, row: dict[str, Any], text: str) -> list[str]:
        name = _shown(row["note_id"])
        spanned = {one["symptom"] for one in row["mentions"] if one["assertion"] == "present"}
        found = [self._line(name, one, text) for one in row["mentions"]]
        found += [self._line(name, one, text) for one in row["symptoms"] if one["symptom"] not in spanned]
        found = found or [f"{name:<10}  no symptom"]
        if row["markup"] is not None:
            found[-1] += f"  ({row['markup']}, read as text)"
        if row["truncated"]:
            found[-1] += "  (only its beginning was read)"
        return found

    def _line(self, name: str, found: dict[str, Any], text: str) -> str:
        """A mention, or a symptom of the whole note, which has neither an assertion nor a place."""
        probability = found.get("score", found.get("probability"))
        # where rules and model disagree the number is the doubt of the one, not the certainty of the other
        shown = "" if probability is None or found["source"] == "rules" else f"{probability:.2f}"
        symptom, assertion = _shown(found["symptom"] or "?"), found.get("assertion", "present")
        line = f"{name:<10}  {symptom:<26} {assertion:<12} {shown:<4}"
        if "start" in found:
            line += f"  {found['start']}-{found['end']}  {_shown(text[found['start'] : found['end']])}"
        if self._explain:
            line += f"  [{_explained(found, probability)}]"
        return line.rstrip()


def _explained(found: dict[str, Any], probability: float | None) -> str:
    """Who found it, what decided its assertion, and a doubt of the model."""
    said: str = _FOUND_BY[found["source"]]
    if (reason := found.get("reason")) is not None:
        said += f": {_shown(reason_in_words(Reason(**reason)))}"
    if probability is not None and found["source"] == "rules":
        said += f"; the model doubts it, {probability:.2f}"
    return said


def _shown(text: str) -> str:
    """`text` without what moves the cursor of a terminal."""
    return _CONTROL.sub(" ", text)
