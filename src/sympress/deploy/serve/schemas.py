"""What requests and answers look like: checked on the way in, documented by OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError

from sympress.deploy.serve.models import ServedModel
from sympress.deploy.serve.processes import Rendered
from sympress.deploy.serve.refusals import Refusal, encode_json
from sympress.labels.mentions import Assertion, ReasonKind, Source

_FIELDS = frozenset({"text", "notes", "model", "id"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class OneNote(_Strict):
    """A request for one note."""

    text: str
    model: str | None = Field(default=None, description="name of a served model; the default one if absent")


class Note(_Strict):
    """One note of several; `id` is the caller's own and comes back with the answer."""

    id: Annotated[str, Field(max_length=200)]
    text: str


class ManyNotes(_Strict):
    """A request for several notes, answered in order."""

    notes: Annotated[list[Note], Field(min_length=1)]
    model: str | None = Field(default=None, description="name of a served model; the default one if absent")


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


class ModelDescription(BaseModel):
    """A served model; the first of the list is the default.

    `names` says what people call each symptom that it may answer with; `card` is the address of its card.
    Without `points_at_words` it answers for the whole note, and there are no mentions.
    """

    name: str
    task: str
    symptoms: list[str]
    size_bytes: int
    fingerprint: str
    loaded_at: str
    names: dict[str, str]
    card: str | None
    points_at_words: bool


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


def parse_request(body: bytes, most_notes: int) -> OneNote | ManyNotes:
    """The request in `body`.

    Raises:
        Refusal: 422, it is no JSON, not of the documented form, or holds too many notes. The message
            names the place, never what stands there.
    """
    try:
        request = EXTRACT_REQUEST.validate_json(body)
    except ValidationError as error:
        raise Refusal(422, "invalid_request", _explain(error)) from None
    if isinstance(request, ManyNotes) and len(request.notes) > most_notes:
        raise Refusal(422, "too_many_notes", f"notes: more than {most_notes} in one request; send them apart")
    return request


def _explain(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return "the body is not JSON in UTF-8"
    where = ".".join(
        str(part) if isinstance(part, int) or part in _FIELDS else "(unknown field)"
        for part in first["loc"][1:]  # the first part is the form: one note or many
    )
    return f"{where or 'body'}: {first['msg'].lower()}; send {{'text': …}} or {{'notes': [{{'id', 'text'}}]}}"


def assemble_answer(model: ServedModel, ids: Sequence[str | None], answers: Sequence[Rendered]) -> bytes:
    """`ExtractAnswer` in UTF-8: the notes as they were rendered, each with its id put before."""
    notes = b",".join(
        b'{"id":' + encode_json(note_id) + b"," + answer.body[1:]
        for note_id, answer in zip(ids, answers, strict=True)
    )
    head = b'{"model":' + encode_json(model.name) + b',"task":' + encode_json(model.task)
    return head + b',"notes":[' + notes + b"]}"


def describe_model(model: ServedModel) -> dict[str, Any]:
    """`model` as `ModelDescription`, as plain values; where its folder lies is nobody's business."""
    return {
        "name": model.name,
        "task": model.task,
        "symptoms": list(model.symptoms),
        "size_bytes": model.size_bytes,
        "fingerprint": model.fingerprint,
        "loaded_at": model.loaded_at,
        "names": dict(model.names),
        "card": None if model.card is None else f"/v1/models/{model.name}/card",
        "points_at_words": model.points_at_words,
    }
