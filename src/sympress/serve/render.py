"""What a client is answered: a note in the form that was asked for, or a refusal, and how JSON is written."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sympress.extract.concepts import Vocabulary
from sympress.extract.shapes import fhir_bundle, omop_rows
from sympress.labels.mentions import Assertion
from sympress.notes.intake import Note
from sympress.runtime.note_result import NoteResult, findings_of

_LINGER_SECONDS = 2.0


class Refusal(Exception):  # noqa: N818  most are no errors of ours
    """A request is answered with `status` and `{"error": {"code", "message"}}`.

    `close` says that the rest of the request's body is not read, so that the connection ends with it.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.close = status, code, message, close
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer, ready to be sent."""
        headers = self.headers | ({"Connection": "close"} if self.close else {})
        answer = {"error": {"code": self.code, "message": self.message}}
        kind = LingeringResponse if self.close else Response
        return json_response(answer, self.status, headers, kind)


class LingeringResponse(Response):
    """A response to a body that is not wanted: sent at once; then what still comes is read and dropped.

    Closing at once would reset the connection before the client, still sending, has read the answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  the form of ASGI
        """Answer, then drop what comes for `_LINGER_SECONDS` at most."""
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def json_response(
    value: Any,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    kind: type[Response] = Response,
) -> Response:
    """`value` as compact UTF-8 JSON that no cache keeps."""
    body = encode_json(value)
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return kind(body, status, kept, media_type="application/json")


def encode_json(value: Any) -> bytes:
    """`value` as compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


# What a note is answered with, in the form that the client asked for; runs beside the model.


#: sympress' own form, a FHIR Bundle, or rows of OMOP's NOTE_NLP.
Shape = Literal["notes", "fhir", "omop"]


@dataclass(frozen=True, slots=True)
class Question:
    """A note, the form of its answer, and what FHIR and OMOP say of it beside its findings.

    Attributes:
        text: of the note.
        shape: form of the answer.
        note_id: the caller's own; for `omop` an integer of 32 bits.
        patient_id: None where unknown; then FHIR has no Conditions.
        encounter_id: None where unknown.
        time: of the note, as the caller gave it.
    """

    text: str
    shape: Shape = "notes"
    note_id: str | None = None
    patient_id: str | None = None
    encounter_id: str | None = None
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """The answer to one note as it is sent, in UTF-8.

    Attributes:
        body: the JSON object `NoteAnswer` without its `id`; for `fhir` a Bundle; for `omop` rows of
            NOTE_NLP, one a line, whose `note_nlp_id` is 0. Of a note that failed, always the first.
        failure: why the note has no answer, or None; it never quotes the note.
        found: how many findings there are of each symptom (None for one that nothing names) and assertion.
    """

    body: bytes
    failure: str | None = None
    found: tuple[tuple[str | None, Assertion, int], ...] = ()


def render(
    result: NoteResult,
    question: Question | None = None,
    vocabulary: Vocabulary | None = None,
    system: str = "sympress",
) -> Rendered:
    """`result` as it is sent.

    Args:
        result: of the note.
        question: the note and the form of its answer; sympress' own form by default.
        vocabulary: names, codes and concepts of the symptoms.
        system: what answered, as FHIR and OMOP name it.
    """
    shape = "notes" if question is None or result.failure is not None else question.shape
    if question is None or shape == "notes":
        answer = result.to_dict()
        del answer["windows"]
        body = encode_json(answer)
    else:
        try:
            body = _converted(result, question, vocabulary or Vocabulary(), system)
        except MemoryError:
            raise
        except Exception as error:  # whatever is odd in one note, the others go on
            return render_failure(f"its answer cannot be written ({type(error).__name__})")
    counted = Counter((one.symptom, one.assertion) for one in findings_of(result))
    found = tuple((symptom, assertion, count) for (symptom, assertion), count in counted.items())
    return Rendered(body, result.failure, found)


def _converted(result: NoteResult, question: Question, vocabulary: Vocabulary, system: str) -> bytes:
    note = Note(
        question.note_id or "",
        question.patient_id,
        question.encounter_id,
        question.time,
        category=None,
        sex=None,
        age=None,
        text=question.text,
        codes=None,
    )
    if question.shape == "fhir":
        return encode_json(fhir_bundle(note, result, 0, system, vocabulary))
    began = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    rows = omop_rows(note, result, system, began, vocabulary=vocabulary)
    return b"".join(encode_json(row) + b"\n" for row in rows)


def render_failure(reason: str) -> Rendered:
    """The answer to a note that cannot be answered."""
    fields: dict[str, Any] = {"symptoms": [], "mentions": [], "truncated": False, "markup": None}
    return Rendered(encode_json(fields | {"failure": reason}), reason)
