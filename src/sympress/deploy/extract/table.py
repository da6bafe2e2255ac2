"""Results for people: one line a finding."""

from __future__ import annotations

import json
import re
from typing import Any

from sympress.deploy.extract.chunks import Chunk
from sympress.notes.intake import Note

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def table_lines(chunk: Chunk, data: bytes) -> bytes:
    """The rows in `data`, made for the notes of `chunk`, as aligned lines; spans with the note's words."""
    texts = {item.note_id: item.text for item in chunk.items if isinstance(item, Note)}
    lines: list[str] = []
    for raw in data.splitlines():
        row = json.loads(raw)
        lines += _note_lines(row, texts.get(row["note_id"], ""))
    return "".join(line + "\n" for line in lines).encode("utf-8", "replace")


def _note_lines(row: dict[str, Any], text: str) -> list[str]:
    name = _shown(row["note_id"])
    more = "  (only its beginning was read)" if row["truncated"] else ""
    mentions = [
        f"{name:<10}  {_shown(mention['symptom'] or '?'):<26} {mention['assertion']:<12} "
        f"{mention['score']:.2f}  "
        f"{mention['start']}-{mention['end']}  {_shown(text[mention['start'] : mention['end']])}"
        for mention in row["mentions"]
    ]
    spanned = {mention["symptom"] for mention in row["mentions"] if mention["assertion"] == "present"}
    symptoms = [
        f"{name:<10}  {_shown(found['symptom']):<26} {'present':<12} {found['probability']:.2f}"
        for found in row["symptoms"]
        if found["symptom"] not in spanned
    ]
    found = mentions + symptoms or [f"{name:<10}  no symptom"]
    found[-1] += more
    return found


def _shown(text: str) -> str:
    """`text` without what moves the cursor of a terminal."""
    return _CONTROL.sub(" ", text)
