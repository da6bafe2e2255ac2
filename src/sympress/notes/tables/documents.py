"""Notes in FHIR resources, one a line as bulk exports write them: DocumentReference and DiagnosticReport.

Source: HL7 FHIR R4 (4.0.1), resources DocumentReference (`content.attachment`) and DiagnosticReport
(`presentedForm`), data type Attachment.
"""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Any

from sympress.errors import InputError
from sympress.notes.tables.encoding import decode_file

#: Content types of attachments that hold text, the best to read first.
_TEXT_TYPES = ("text/plain", "text/html", "application/xhtml", "text/rtf", "application/rtf", "text/", "")
_DOCUMENTS = ("DocumentReference", "DiagnosticReport")
_CHARSET = re.compile(r"charset=\"?([\w.-]+)", re.IGNORECASE)


def fields_of_document(fields: dict[str, Any], path: Path, *, first: bool) -> dict[str, Any]:
    """Return a FHIR document's text and ids under the names that tables use; any other object as it is.

    Raises:
        InputError: `first`, the first object of the file, is a resource that holds no note.
    """
    kind = fields.get("resourceType")
    if not isinstance(kind, str) or ("text" in fields and isinstance(fields["text"], str)):
        return fields
    if kind not in _DOCUMENTS and first:
        what = "of its entries (jq -c '.entry[].resource')" if kind == "Bundle" else "with the notes"
        raise InputError(
            f"{path}: FHIR resources of type {kind[:40]}, which hold no note as text; give the "
            f"DocumentReference resources {what}, one a line"
        )
    attachments = [one.get("attachment") for one in _list(fields.get("content")) if isinstance(one, dict)]
    encounters = _list(_inside(fields, "context", "encounter")) or _list(fields.get("encounter"))
    return {
        "note_id": fields.get("id"),
        "patient_id": _reference(fields.get("subject")),
        "encounter_id": _reference(encounters[0] if encounters else None),
        "time": fields.get("date") or fields.get("effectiveDateTime") or fields.get("issued"),
        "category": _label(fields.get("type") or fields.get("code")),
        "text": _text([*attachments, *_list(fields.get("presentedForm"))]),
    }


def _text(attachments: list[Any]) -> str | None:
    """The text of the attachment that is best to read; None where none is in the resource itself."""
    usable = [one for one in attachments if isinstance(one, dict) and isinstance(one.get("data"), str)]
    for wanted in _TEXT_TYPES:
        for one in usable:
            kind = str(one.get("contentType") or "").lower()
            if (kind.startswith(wanted) if wanted else not kind) and (
                text := _decoded(one, kind)
            ) is not None:
                return text
    return None


def _decoded(attachment: dict[str, Any], kind: str) -> str | None:
    charset = _CHARSET.search(kind)
    try:
        raw = base64.b64decode(attachment["data"])
        return decode_file(raw, charset[1] if charset else None)[0]
    except (binascii.Error, ValueError, LookupError):
        return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _inside(fields: dict[str, Any], outer: str, inner: str) -> Any:
    value = fields.get(outer)
    return value.get(inner) if isinstance(value, dict) else None


def _reference(value: Any) -> str | None:
    """The id of a Reference: what follows `Patient/`, or the value of its identifier."""
    if not isinstance(value, dict):
        return None
    reference = value.get("reference") or _inside(value, "identifier", "value")
    return None if reference is None else str(reference).split("/_history/", 1)[0].rsplit("/", 1)[-1]


def _label(value: Any) -> str | None:
    """What a CodeableConcept is called."""
    if not isinstance(value, dict):
        return None
    codings = [one for one in _list(value.get("coding")) if isinstance(one, dict)]
    names = [value.get("text"), *(one.get("display") or one.get("code") for one in codings)]
    return next((str(name) for name in names if name), None)
