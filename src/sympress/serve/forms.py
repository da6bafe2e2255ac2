"""What requests and answers look like: checked on the way in, documented by OpenAPI."""

from __future__ import annotations

import json
import re
import uuid
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from sympress.extract.shapes import id_fault, numbered
from sympress.labels.mentions import Assertion, ReasonKind, Source
from sympress.serve.config import NOTES_MOST
from sympress.serve.models import ServedModel
from sympress.serve.render import Question, Refusal, Rendered, Shape, encode_json

_Name = Annotated[str, Field(max_length=200)]
#: Keys of an object beyond which it is not looked which of them are fields.
_KEYS_MOST = 100


class _Strict(BaseModel):
    """One error is all that is told, so none may have many: each takes time and two kilobytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _few_keys(cls, value: Any) -> Any:
        if isinstance(value, dict) and len(value) > _KEYS_MOST:
            raise PydanticCustomError("extra_forbidden", "extra inputs are not permitted")
        return value


def _as_written(value: Any) -> Any:
    """A time as ISO 8601 writes it: a number, also in quotes, would be taken for seconds since 1970."""
    if not isinstance(value, str) or "-" not in value[1:]:
        raise PydanticCustomError("datetime_type", "input should be a valid datetime")
    return value


class _Note(_Strict):
    """`id` is the caller's own and comes back with the answer; what follows it is for answers as FHIR."""

    text: str
    id: _Name | None = None
    patient_id: _Name | None = None
    encounter_id: _Name | None = None
    time: Annotated[datetime, BeforeValidator(_as_written)] | None = Field(
        default=None, description="ISO 8601"
    )

    def question(self, shape: Shape) -> Question:
        """This note, to be answered in that form; FHIR gives one without an id an id of its own."""
        note_id = self.id or str(uuid.uuid4()) if shape == "fhir" else self.id
        return Question(self.text, shape, note_id, self.patient_id, self.encounter_id, self.time)


class OneNote(_Note):
    """A request for one note, or a line of NDJSON."""

    model: str | None = Field(default=None, description="name of a served model; the default one if absent")


class Note(_Note):
    """One note of several."""

    id: _Name


class ManyNotes(_Strict):
    """A request for several notes, answered in order."""

    notes: Annotated[list[Note], Field(min_length=1, max_length=NOTES_MOST), FailFast()]
    model: str | None = Field(default=None, description="name of a served model; the default one if absent")


#: What a place in a request may be called in a message; whatever else stands there is a client's own.
_FIELDS = frozenset({"notes", *OneNote.model_fields})


class ReasonAnswer(BaseModel):
    """What decided an assertion: its kind, its words in lower case, and where they stand in the text as sent.

    `words` is empty and the place null where it stands nowhere, as of a model.
    """

    kind: ReasonKind
    words: str
    start: int | None
    end: int | None


class SymptomAnswer(BaseModel):
    """A symptom that the note affirms; its probability is null where no model gave one."""

    symptom: str
    code: str | None
    probability: float | None = Field(ge=0, le=1)
    source: Source


class MentionAnswer(BaseModel):
    """A span that names a symptom. `start` and `end` count Unicode characters of the text as sent.

    `score` is a model's probability, null where none gave one; `reason` is null where nothing but the words
    of the symptom decided.
    """

    start: int
    end: int
    symptom: str | None
    code: str | None
    assertion: Assertion
    score: float | None = Field(ge=0, le=1)
    source: Source
    reason: ReasonAnswer | None


class NoteAnswer(BaseModel):
    """What was found in one note; `failure` says why there is no answer, else it is null.

    `markup` is what the note is written in and was read as text: `html`, `rtf`, `hl7`, `cda`; null for text.
    """

    id: str | None
    symptoms: list[SymptomAnswer]
    mentions: list[MentionAnswer]
    truncated: bool
    markup: str | None
    failure: str | None


class ExtractAnswer(BaseModel):
    """The answer to a request, its notes in the order of the request."""

    model: str
    task: str
    notes: list[NoteAnswer]


class LineAnswer(NoteAnswer):
    """The answer to a line of NDJSON; a line without one has `id` and `error` instead."""

    model: str


class ModelDescription(BaseModel):
    """A served model; the first of the list is the default.

    `symptom_count` says how many symptoms it may answer with, and `symptom_list` is the address of the first
    page of them; `card` is the address of its card. Without `points_at_words` it answers for the whole note,
    and there are no mentions.
    """

    name: str
    task: str
    symptom_count: int
    symptom_list: str
    size_bytes: int
    fingerprint: str
    loaded_at: str
    card: str | None
    points_at_words: bool


class SymptomName(BaseModel):
    """A symptom as answers have it, and what people call it."""

    symptom: str
    name: str


class SymptomPage(BaseModel):
    """Symptoms that a model may answer with, from `offset` on; `next` is the address of those behind them."""

    model: str
    total: int
    offset: int
    symptoms: list[SymptomName]
    next: str | None


class ModelList(BaseModel):
    """Every served model."""

    models: list[ModelDescription]


class Status(BaseModel):
    """Whether the service is well."""

    status: str


class ErrorText(BaseModel):
    """A code for programs and one line for people."""

    code: str
    message: str


class ErrorAnswer(BaseModel):
    """Every refusal and failure."""

    error: ErrorText


def _form_of(value: Any) -> str:
    return "many" if isinstance(value, dict) and "notes" in value else "one"


_Request = Annotated[
    Annotated[OneNote, Tag("one")] | Annotated[ManyNotes, Tag("many")], Discriminator(_form_of)
]
#: The body of `POST /v1/extract`.
EXTRACT_REQUEST: TypeAdapter[OneNote | ManyNotes] = TypeAdapter(_Request)


_LINE: TypeAdapter[OneNote] = TypeAdapter(OneNote)


def parse_request(body: bytes, most_notes: int, shape: Shape = "notes") -> OneNote | ManyNotes:
    """The request in `body`.

    Raises:
        Refusal: 422, it is no JSON, not of the documented form, or holds too many notes. The message
            names the place, never what stands there.
    """
    try:
        request = _read_json(EXTRACT_REQUEST, body)
    except ValidationError as error:
        if error.errors(include_input=False, include_url=False)[0]["type"] == "too_long":
            raise _too_many(most_notes) from None
        raise Refusal(422, "invalid_request", _explain(error, 1)) from None  # after the form: one or many
    if isinstance(request, ManyNotes) and len(request.notes) > most_notes:
        raise _too_many(most_notes)
    if isinstance(request, ManyNotes):
        for at, note in enumerate(request.notes):
            _check_id(note.id, shape, f"notes.{at}.")
    else:
        _check_id(request.id, shape, "")
    return request


_Form = TypeVar("_Form")
#: A backslash, a pair of surrogates, or half of one, as JSON escapes them.
_ESCAPES = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def _read_json(form: TypeAdapter[_Form], body: bytes) -> _Form:
    """What stands in `body` behind a byte order mark, if there is one; half a surrogate pair is U+FFFD.

    Raises:
        ValidationError: it is no JSON, or not of the form.
        Refusal: 422, a name stands twice in an object: which of the two holds is anybody's guess.
    """
    body = body.removeprefix(BOM_UTF8)
    try:
        read = form.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        if first["type"] != "json_invalid" or b"\\u" not in body:
            raise
        body = _ESCAPES.sub(lambda found: rb"\ufffd" if found[1] else found[0], body)
        read = form.validate_json(body)
    json.loads(body, object_pairs_hook=_refuse_twice)  # of a known form: neither deep nor of many names
    return read


def _refuse_twice(pairs: list[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Refusal(422, "invalid_request", f"{twice}: stands twice in one object; send it once")


def _too_many(most_notes: int) -> Refusal:
    return Refusal(422, "too_many_notes", f"notes: more than {most_notes} in one request; send them apart")


def parse_line(line: bytes, shape: Shape) -> OneNote:
    """The note in a line of NDJSON.

    Raises:
        Refusal: 422, it is no JSON or not of the documented form.
    """
    try:
        note = _read_json(_LINE, line)
    except ValidationError as error:
        raise Refusal(422, "invalid_line", _explain(error, 0, "line", "{'id', 'text'}")) from None
    _check_id(note.id, shape, "")
    return note


def _check_id(note_id: str | None, shape: Shape, place: str) -> None:
    if shape == "omop" and id_fault(note_id or "") is not None:
        raise Refusal(422, "invalid_request", f"{place}id: {id_fault(note_id or '')}")


def _explain(
    error: ValidationError,
    forms: int,
    whole: str = "body",
    wanted: str = "{'text': …} or {'notes': [{'id', 'text'}]}",
) -> str:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return f"the {whole} is not JSON in UTF-8"
    where = ".".join(
        str(part) if isinstance(part, int) or part in _FIELDS else "(unknown field)"
        for part in first["loc"][forms:]
    )
    return f"{where or whole}: {first['msg'].lower()}; send {wanted}"


# The form of an answer, chosen by `Accept`.


@dataclass(frozen=True, slots=True)
class MediaTypes:
    """What an answer in a form is called: as a whole, and a line at a time."""

    whole: str
    lines: str


MEDIA_TYPES: dict[Shape, MediaTypes] = {
    "notes": MediaTypes("application/json", "application/x-ndjson"),
    "fhir": MediaTypes("application/fhir+json", "application/fhir+ndjson"),
    "omop": MediaTypes("application/x-omop+json", "application/x-omop+ndjson"),
}


#: RFC 9110, 12.4.2.
_QUALITY = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def shape_of(accept: str) -> Shape:
    """The form that `Accept` likes best of those there are; sympress' own where it names none of them."""
    best: Shape = "notes"
    most = 0.0
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        quality = _quality(parameters)
        for shape, types in MEDIA_TYPES.items():
            if kind in (types.whole, types.lines) and quality > most:
                best, most = shape, quality
    return best


def _quality(parameters: Sequence[str]) -> float:
    """`q` of a part of `Accept`, 0 to 1; 1 where there is none, 0 where it is no number."""
    for parameter in parameters:
        if parameter.startswith("q="):
            given = parameter.removeprefix("q=")
            return float(given) if _QUALITY.fullmatch(given) else 0.0
    return 1.0


def assemble_answer(
    model: ServedModel, ids: Sequence[str | None], answers: Sequence[Rendered], shape: Shape, *, many: bool
) -> bytes:
    """The answer to a request in UTF-8.

    `ExtractAnswer`; or the Bundle of one note, or one of type `batch-response` with a Bundle for each note,
    in their order; or rows of NOTE_NLP, with the notes that failed beside them.
    """
    head = b'{"model":' + encode_json(model.name) + b',"task":' + encode_json(model.task)
    if shape == "fhir":
        bundles = [answer.body if answer.failure is None else _outcome(answer.failure) for answer in answers]
        if not many:
            return bundles[0]
        entries = b",".join(
            b'{"resource":' + bundle + b',"response":{"status":"200"}}'
            if answer.failure is None
            else b'{"response":{"status":"422","outcome":' + bundle + b"}}"
            for bundle, answer in zip(bundles, answers, strict=True)
        )
        return b'{"resourceType":"Bundle","type":"batch-response","entry":[' + entries + b"]}"
    if shape == "omop":
        rows = numbered(b"".join(one.body for one in answers if one.failure is None), 0, csv=False)
        failures = [
            {"note_id": note_id, "reason": answer.failure}
            for note_id, answer in zip(ids, answers, strict=True)
            if answer.failure is not None
        ]
        table = b",".join(rows.splitlines())
        return head + b',"note_nlp":[' + table + b'],"failures":' + encode_json(failures) + b"}"
    notes = b",".join(
        b'{"id":' + encode_json(note_id) + b"," + answer.body[1:]
        for note_id, answer in zip(ids, answers, strict=True)
    )
    return head + b',"notes":[' + notes + b"]}"


def assemble_line(
    model: ServedModel, note_id: str | None, answer: Rendered, shape: Shape, rows: int
) -> bytes:
    """The answer to a note that did not fail as lines: `LineAnswer`, a Bundle, or rows of NOTE_NLP.

    `rows` of NOTE_NLP were sent before.
    """
    if shape == "fhir":
        return answer.body + b"\n"
    if shape == "omop":
        return numbered(answer.body, rows, csv=False)
    marks = b'{"id":' + encode_json(note_id) + b',"model":' + encode_json(model.name)
    return marks + b"," + answer.body[1:] + b"\n"


def line_error(note_id: str | None, code: str, message: str, shape: Shape) -> bytes:
    """The line of one that has no answer: `id` and `error`, or an OperationOutcome."""
    if shape == "fhir":
        return _outcome(message) + b"\n"
    return encode_json({"id": note_id, "error": {"code": code, "message": message}}) + b"\n"


def _outcome(message: str) -> bytes:
    issue = {"severity": "error", "code": "processing", "diagnostics": message}
    return encode_json({"resourceType": "OperationOutcome", "issue": [issue]})


def describe_model(model: ServedModel) -> dict[str, Any]:
    """`model` as `ModelDescription`, as plain values. Does not reveal the path of its folder."""
    return {
        "name": model.name,
        "task": model.task,
        "symptom_count": len(model.named_symptoms),
        "symptom_list": _list_of(model),
        "size_bytes": model.size_bytes,
        "fingerprint": model.fingerprint,
        "loaded_at": model.loaded_at,
        "card": None if model.card is None else f"/v1/models/{model.name}/card",
        "points_at_words": model.points_at_words,
    }


def _list_of(model: ServedModel) -> str:
    return f"/v1/models/{model.name}/symptoms"


#: Symptoms of one page of a model's list, where the client asks for no fewer.
PAGE_SYMPTOMS = 1_000
_WHOLE = re.compile("[0-9]{1,9}")


def describe_symptoms(model: ServedModel, query: Mapping[str, str]) -> dict[str, Any]:
    """A page of the symptoms of `model` as `SymptomPage`, as plain values.

    Raises:
        Refusal: 422, `offset` or `limit` in `query` is no such number.
    """
    offset = _whole(query, "offset", 0, range(10**9))
    limit = _whole(query, "limit", PAGE_SYMPTOMS, range(1, PAGE_SYMPTOMS + 1))
    every, end = model.named_symptoms, offset + limit
    more = f"{_list_of(model)}?offset={end}&limit={limit}" if end < len(every) else None
    return {
        "model": model.name,
        "total": len(every),
        "offset": offset,
        "symptoms": [{"symptom": symptom, "name": name} for symptom, name in every[offset:end]],
        "next": more,
    }


def _whole(query: Mapping[str, str], name: str, default: int, allowed: range) -> int:
    given = query.get(name, str(default))
    if not _WHOLE.fullmatch(given) or int(given) not in allowed:
        message = f"{name}: give a whole number from {allowed[0]:,} to {allowed[-1]:,}"
        raise Refusal(422, "invalid_request", message)
    return int(given)
