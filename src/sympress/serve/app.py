"""The service as an ASGI application: what requests and answers look like, what each address does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from importlib import metadata, resources
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp
from structlog.typing import FilteringBoundLogger

from sympress.errors import InputError
from sympress.labels.mentions import Assertion, ReasonKind, Source
from sympress.serve.auth import ApiKeys, Draining, Edge
from sympress.serve.batching import Batcher, BatchFailedError
from sympress.serve.config import Refusal, ServeConfig, encode_json, json_response
from sympress.serve.connection import Answers, HeldResponse, Uploads, is_small, read_body
from sympress.serve.metrics import Metrics
from sympress.serve.models import Rendered, ServedModel, Shelf

# What requests and answers look like: checked on the way in, documented by OpenAPI.


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


# The service as an ASGI application: what each address answers.


_PAGE_TYPES = {
    "index.html": "text/html",
    "app.js": "text/javascript",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}
_WORDS = {
    404: "nothing lives at this address; see /openapi.json",
    405: "this address does not take that method; see /openapi.json",
}
_REFERENCE = "#/components/schemas/{model}"


class Service:
    """What the addresses share. `run_batches` must run while requests are answered."""

    def __init__(
        self, config: ServeConfig, shelf: Shelf, keys: ApiKeys, metrics: Metrics, log: FilteringBoundLogger
    ) -> None:
        self.config, self.shelf, self.keys, self.metrics, self.log = config, shelf, keys, metrics, log
        self.draining = Draining()
        self.batcher = Batcher(config, metrics, log)
        self.uploads = Uploads(config, metrics)
        self.answers = Answers(config, metrics)

    async def extract(self, request: Request) -> Response:
        """Answer `POST /v1/extract`."""
        try:
            self.batcher.check_room()
        except Refusal as busy:
            busy.close = not is_small(request)
            raise
        with self.uploads.hold() as hold:
            body = await read_body(request, hold, self.config)
            parsed = parse_request(body, self.config.request_notes)
            del body
        notes = parsed.notes if isinstance(parsed, ManyNotes) else None
        texts = (
            [note.text for note in notes] if notes else [parsed.text] if isinstance(parsed, OneNote) else []
        )
        model = self.shelf.pick(parsed.model)
        ids = [note.id for note in notes] if notes else [None]
        del parsed, notes
        answer = assemble_answer(model, ids, await self._wait(model, texts))
        return HeldResponse(answer, self.answers, request.state.connection)

    async def _wait(self, model: ServedModel, texts: list[str]) -> list[Rendered]:
        waiting = self.batcher.submit(model, texts)
        answers: list[Rendered] = []
        room = self.config.answer_bytes
        try:
            async with asyncio.timeout(self.config.request_seconds):
                for one in waiting:
                    answers.append(await one)
                    room -= len(answers[-1].body)
                    if room < 0:
                        message = f"the answer is larger than {self.config.answer_bytes} bytes; "
                        raise Refusal(413, "answer_too_large", message + "send fewer or shorter notes")
            return answers
        except TimeoutError:
            message = f"no answer within {self.config.request_seconds:g} s; send fewer or shorter notes"
            raise Refusal(504, "too_slow", message) from None
        except BatchFailedError:
            raise Refusal(500, "model_failed", "the model failed; the service's log says where") from None
        finally:
            for one in waiting:
                if not one.cancel() and not one.cancelled():
                    one.exception()  # nobody else asks for it

    async def reload(self, name: str) -> Response:
        """Answer `POST /v1/models/{name}/reload`; only a service with a key lets itself be told."""
        if not self.keys:
            message = "reloading needs an API key: start the service with one, or send it SIGHUP"
            raise Refusal(403, "no_key", message)
        self.shelf.pick(name)
        try:
            return json_response(describe_model(await self.reload_model(name)))
        except InputError as error:
            raise Refusal(409, "kept_old_model", f"the old model goes on; {error}") from error

    async def reload_model(self, name: str) -> ServedModel:
        """Load `name` again beside the requests that run, and swap it in.

        Raises:
            InputError: what lies in its folder does not work; the old one stays.
        """
        try:
            model = await asyncio.to_thread(self.shelf.reload, name)
        except InputError as error:
            self.metrics.reloads.labels(name, "kept_old").inc()
            self.log.error("reload_failed", model=name, reason=str(error))
            raise
        self.metrics.reloads.labels(name, "swapped").inc()
        self.log.info("reloaded", model=name, fingerprint=model.fingerprint)
        return model

    @contextlib.asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Run batches from start to stop. Nobody waits for one that still runs then, so it is given up."""
        running = asyncio.create_task(self.batcher.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.to_thread(self.shelf.close)
            await asyncio.gather(running, return_exceptions=True)


def build_app(service: Service) -> ASGIApp:
    """The application around `service`, with its outermost layer."""
    app = FastAPI(
        title="sympress",
        version=metadata.version("sympress"),
        description="Symptoms of clinical notes. Not validated for clinical use.",
        lifespan=service.lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    _add_refusals(app)
    _add_probes(app, service)
    _add_models(app, service)
    _add_page(app)
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    return Edge(
        app,
        service.config,
        keys=service.keys,
        metrics=service.metrics,
        log=service.log,
        draining=service.draining,
    )


def _add_refusals(app: FastAPI) -> None:
    async def refuse(_: Request, error: Exception) -> Response:
        if isinstance(error, Refusal):
            return error.response()
        if isinstance(error, HTTPException):
            message = _WORDS.get(error.status_code, "this request cannot be answered")
            return Refusal(error.status_code, "not_here", message, error.headers).response()
        return Refusal(500, "failed", "the service failed; its log says where").response()

    for kind in (Refusal, HTTPException, Exception):
        app.add_exception_handler(kind, refuse)


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", response_model=Status, tags=["probes"])
    async def healthz() -> Response:
        """The process answers."""
        return json_response({"status": "alive"})

    @app.get("/readyz", response_model=Status, tags=["probes"], responses=_errors(503))
    async def readyz() -> Response:
        """The models are loaded and the service is not stopping."""
        if service.draining.begun:
            raise Refusal(503, "stopping", "the service is stopping")
        return json_response({"status": "ready"})

    @app.get("/metrics", response_class=Response, tags=["probes"], responses=_errors(401))
    async def metrics() -> Response:
        """Counts, times and sizes for Prometheus."""
        body, kind = service.metrics.render()
        return Response(body, headers={"Content-Type": kind, "Cache-Control": "no-store"})


def _add_models(app: FastAPI, service: Service) -> None:
    schema = EXTRACT_REQUEST.json_schema(ref_template=_REFERENCE)
    body = {"required": True, "content": {"application/json": {"schema": {"oneOf": schema["oneOf"]}}}}

    @app.post(
        "/v1/extract",
        response_model=ExtractAnswer,
        tags=["extraction"],
        responses=_errors(401, 404, 408, 413, 415, 422, 429, 500, 504),
        openapi_extra={"requestBody": body},
    )
    async def extract(request: Request) -> Response:
        """The symptoms of one note, or of several in order."""
        return await service.extract(request)

    @app.get("/v1/models", response_model=ModelList, tags=["models"], responses=_errors(401))
    async def models() -> Response:
        """Every served model, the default first."""
        return json_response({"models": [describe_model(model) for model in service.shelf.models()]})

    @app.get(
        "/v1/models/{name}/card",
        response_class=PlainTextResponse,
        tags=["models"],
        responses=_errors(401, 404),
    )
    async def card(name: str) -> Response:
        """The card of a model, in Markdown: what it is for, how it was measured, its limits."""
        text = service.shelf.pick(name).card
        if text is None:
            raise Refusal(404, "no_card", "this model came without a card")
        return PlainTextResponse(text, headers={"Cache-Control": "no-store"})

    @app.post(
        "/v1/models/{name}/reload",
        response_model=ModelDescription,
        tags=["models"],
        responses=_errors(401, 403, 404, 409),
    )
    async def reload(name: str) -> Response:
        """Load an artifact again; if it does not work the old one stays."""
        return await service.reload(name)


def _add_page(app: FastAPI) -> None:
    folder = resources.files("sympress.serve") / "page"
    files = {name: (folder / name).read_bytes() for name in _PAGE_TYPES}

    def show(name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return Response(files[name], media_type=_PAGE_TYPES[name], headers={"Cache-Control": "no-cache"})

    app.add_api_route("/", lambda: show("index.html"), include_in_schema=False)
    app.add_api_route("/page/{name}", show, include_in_schema=False)


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorAnswer} for status in statuses}


def _describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the forms of the request among its components."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        forms = EXTRACT_REQUEST.json_schema(ref_template=_REFERENCE)["$defs"]
        document["components"]["schemas"].update(forms)
        app.openapi_schema = document
    return app.openapi_schema
