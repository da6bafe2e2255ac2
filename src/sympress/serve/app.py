"""The service as an ASGI application: what each address answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib import metadata, resources
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp
from structlog.typing import FilteringBoundLogger

from sympress.errors import InputError
from sympress.serve.auth import ApiKeys, Edge
from sympress.serve.batching import Batcher, BatchFailedError
from sympress.serve.config import ServeConfig
from sympress.serve.connection import Answers, HeldResponse, Uploads, is_lines, is_small, read_body
from sympress.serve.forms import (
    EXTRACT_REQUEST,
    MEDIA_TYPES,
    PAGE_SYMPTOMS,
    ErrorAnswer,
    ExtractAnswer,
    LineAnswer,
    ManyNotes,
    ModelDescription,
    ModelList,
    Status,
    SymptomPage,
    assemble_answer,
    describe_model,
    describe_symptoms,
    parse_request,
    shape_of,
)
from sympress.serve.lines import LineAnswers, LineResponse
from sympress.serve.metrics import Metrics, Traces
from sympress.serve.models import ServedModel, Shelf
from sympress.serve.render import Question, Refusal, Rendered, json_response

_PAGE_TYPES = {
    "index.html": "text/html",
    "app.js": "text/javascript",
    "docs.html": "text/html",
    "docs.js": "text/javascript",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}
_WORDS = {
    404: "nothing lives at this address; see /docs",
    405: "this address does not take that method; see /docs",
}
_LINES = '{"id": "1", "text": "c/o fever"}\n{"id": "2", "text": "denies cough"}\n'
_REFERENCE = "#/components/schemas/{model}"


class Service:
    """What the addresses share. `run_batches` must run while requests are answered."""

    def __init__(
        self,
        config: ServeConfig,
        shelf: Shelf,
        keys: ApiKeys,
        metrics: Metrics,
        log: FilteringBoundLogger,
        *,
        traces: Traces | None = None,
    ) -> None:
        self.config, self.shelf, self.keys, self.metrics, self.log = config, shelf, keys, metrics, log
        self.traces = traces or Traces()
        self.draining = False  # once it stops: it answers what it took, and asks clients to go elsewhere
        slowest = max(model.seconds_per_character for model in shelf.models())
        self.batcher = Batcher(config, metrics, log, seconds_per_character=slowest)
        self.uploads = Uploads(config, metrics)
        self.answers = Answers(config, metrics)
        self.lines = LineAnswers(self)

    async def extract(self, request: Request) -> Response:
        """Answer `POST /v1/extract`."""
        try:
            self.batcher.check_room()
        except Refusal as busy:
            busy.close = not is_small(request)
            raise
        if is_lines(request):
            return LineResponse(self.lines, request)
        shape = shape_of(request.headers.get("accept", ""))
        with self.uploads.hold() as hold:
            body = await read_body(request, hold, self.config)
            parsed = parse_request(body, self.config.request_notes, shape)
            del body
        many = isinstance(parsed, ManyNotes)
        notes = parsed.notes if isinstance(parsed, ManyNotes) else [parsed]
        questions = [note.question(shape) for note in notes]
        model, ids = self.shelf.pick(parsed.model), [note.id for note in notes]
        del parsed, notes
        characters = sum(len(question.text) for question in questions)
        with self.traces.step("model", model=model.name, notes=len(questions), characters=characters):
            answers = await self._wait(model, questions)
        body = assemble_answer(model, ids, answers, shape, many=many)
        failed = shape == "fhir" and not many and answers[0].failure is not None
        return HeldResponse(
            body,
            self.answers,
            request.state.connection,
            media_type=MEDIA_TYPES[shape].whole,
            status=422 if failed else 200,
        )

    async def _wait(self, model: ServedModel, questions: list[Question]) -> list[Rendered]:
        waiting = self.batcher.submit(model, questions)
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

    def warn_of_keys(self) -> None:
        """Log what is unsafe about where the keys come from."""
        for warning in self.keys.warnings:
            self.log.warning("api_key", message=warning)

    def read_keys_again(self) -> None:
        """Take the keys that their file holds now; the old ones stay, logged, where it cannot be used."""
        try:
            self.keys.read_again()
        except InputError as error:
            self.log.error("keys_kept", reason=str(error))
        else:
            self.warn_of_keys()

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
    return Edge(app, service)


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
        """The models answer and the service is not stopping."""
        if service.draining:
            raise Refusal(503, "stopping", "the service is stopping")
        failed = [model.name for model in service.shelf.models() if not model.is_answering()]
        if failed:
            message = f"{', '.join(failed)}: does not answer; put the artifact right and reload it"
            raise Refusal(503, "model_failed", message)
        return json_response({"status": "ready"})

    @app.get("/metrics", response_class=Response, tags=["probes"], responses=_errors(401))
    async def metrics() -> Response:
        """Counts, times and sizes for Prometheus."""
        body, kind = service.metrics.render()
        return Response(body, headers={"Content-Type": kind, "Cache-Control": "no-store"})


def _add_models(app: FastAPI, service: Service) -> None:
    schema = EXTRACT_REQUEST.json_schema(ref_template=_REFERENCE)
    body = {
        "required": True,
        "content": {
            "application/json": {"schema": {"oneOf": schema["oneOf"]}},
            "application/x-ndjson": {"schema": {"type": "string"}, "example": _LINES},
        },
    }

    @app.post(
        "/v1/extract",
        response_model=ExtractAnswer,
        tags=["extraction"],
        responses=_other_answers() | _errors(401, 404, 408, 413, 415, 422, 429, 500, 504),
        openapi_extra={"requestBody": body},
    )
    async def extract(request: Request) -> Response:
        """The symptoms of one note, or of several in order.

        JSON holds one note or several. NDJSON holds a note in each line; each is answered by a line as soon
        as it is there, and a line that cannot be answered has an error of its own. `Accept` chooses the form:
        sympress' own, FHIR R4, or rows of OMOP's NOTE_NLP.
        """
        return await service.extract(request)

    @app.get("/v1/models", response_model=ModelList, tags=["models"], responses=_errors(401))
    async def models() -> Response:
        """Every served model, the default first."""
        return json_response({"models": [describe_model(model) for model in service.shelf.models()]})

    @app.get(
        "/v1/models/{name}/symptoms",
        response_model=SymptomPage,
        tags=["models"],
        responses=_errors(401, 404, 422),
        openapi_extra={"parameters": [_page_parameter("offset", 0), _page_parameter("limit", PAGE_SYMPTOMS)]},
    )
    async def symptoms(request: Request, name: str) -> Response:
        """The symptoms that a model may answer with and what people call them, a page at a time."""
        return json_response(describe_symptoms(service.shelf.pick(name), request.query_params))

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
    app.add_api_route("/docs", lambda: show("docs.html"), include_in_schema=False)
    app.add_api_route("/page/{name}", show, include_in_schema=False)


def _page_parameter(name: str, default: int) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": {"type": "integer", "default": default}}


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorAnswer} for status in statuses}


def _other_answers() -> dict[int | str, dict[str, Any]]:
    """What a request can be answered with beside JSON of ours."""
    lines = {"type": "string", "description": "an answer (LineAnswer, Bundle or row), or an error, a line"}
    table = {"type": "object", "description": "`note_nlp`: rows; `failures`: notes without an answer"}
    bundle = {"type": "object", "description": "a Bundle; of several notes one of type batch-response"}
    content = {
        MEDIA_TYPES["notes"].lines: {"schema": lines},
        MEDIA_TYPES["fhir"].whole: {"schema": bundle},
        MEDIA_TYPES["fhir"].lines: {"schema": lines},
        MEDIA_TYPES["omop"].whole: {"schema": table},
        MEDIA_TYPES["omop"].lines: {"schema": lines},
    }
    return {200: {"content": content}}


def _describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the forms of the request among its components."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        forms = EXTRACT_REQUEST.json_schema(ref_template=_REFERENCE)["$defs"]
        line = LineAnswer.model_json_schema(ref_template=_REFERENCE)
        del line["$defs"]  # those of other answers
        document["components"]["schemas"].update(forms | {"LineAnswer": line})
        app.openapi_schema = document
    return app.openapi_schema
