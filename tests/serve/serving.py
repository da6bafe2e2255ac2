"""A service with a model of three words, run in this process on a free port of loopback."""

from __future__ import annotations

import asyncio
import io
import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from sympress.errors import InputError
from sympress.labels.mentions import Reason
from sympress.runtime.note_result import FoundMention, FoundSymptom, NoteResult
from sympress.serve.app import Service
from sympress.serve.auth import ApiKeys
from sympress.serve.config import ServeConfig
from sympress.serve.metrics import Metrics, Traces, open_log
from sympress.serve.models import ServedModel, Shelf
from sympress.serve.render import render
from sympress.serve.server import GracefulServer, listen, make_server

WORDS = {"fever": "386661006", "cough": "49727002", "chills": "43724002"}
NAMES = {"fever": "fever", "cough": "cough", "chills": "chills <i>or rigors</i>"}
KEY = "a-key-of-the-tests-0123456789"


@dataclass
class WordModel:
    """Finds the words; `denies` before one makes it absent. `seconds` is what a batch takes, or a note.

    `seconds_per_character` is what it was found to take when it was loaded. `beside` it affirms of every
    note; without `spans` it points at no words; `names` are theirs.
    """

    seconds: float = 0.0
    note_seconds: float = 0.0
    seconds_per_character: float = 0.0
    broken: bool = False
    spans: bool = True
    beside: tuple[FoundSymptom, ...] = ()
    version: int = 1
    names: dict[str, str] = field(default_factory=lambda: NAMES)
    batches: list[int] = field(default_factory=list)

    def __call__(self, notes: Sequence[str]) -> list[NoteResult]:
        self.batches.append(len(notes))
        time.sleep(self.seconds + self.note_seconds * len(notes))
        if self.broken:
            raise ValueError(f"cannot read {notes[0]!r}")  # as libraries do: the message quotes the note
        return [self.answer(note) for note in notes]

    def answer(self, note: str) -> NoteResult:
        if "too strange" in note:
            return NoteResult((), failure="the model failed (ValueError)")
        found = []
        for match in re.finditer("|".join(WORDS), note):
            start, end, name = match.start(), match.end(), match.group()
            if note[:start].endswith("denies "):
                cue = Reason("cue", "denies", start - 7, start - 1)
                found.append(FoundMention(start, end, name, WORDS[name], "absent", None, "rules", cue))
            else:
                found.append(FoundMention(start, end, name, WORDS[name], "present", 0.9, "both"))
        names = {mention.symptom for mention in found if mention.assertion == "present"}
        symptoms = tuple(
            FoundSymptom(name, WORDS[name], 0.9, "both" if self.spans else "model")
            for name in WORDS
            if name in names
        )
        return NoteResult((*symptoms, *self.beside), tuple(found) if self.spans else (), windows=1)


@dataclass
class Running:
    url: str
    service: Service
    server: GracefulServer
    log: io.StringIO

    def client(self, **given: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20, trust_env=False, **given)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def shelf_of(models: dict[str, WordModel], task: str = "mentions") -> Shelf:
    def load(name: str, _: Path) -> ServedModel:
        model = models[name]
        if model.version < 0:
            raise InputError(f"{name}: a damaged artifact; copy it again")
        return ServedModel(
            name=name,
            extract=lambda asked: map(render, model([one.text for one in asked]), asked),
            task=task,
            symptoms=tuple(WORDS),
            size_bytes=10,
            fingerprint=f"v{model.version}",
            loaded_at="2026-01-01T00:00:00",
            names=model.names,
            card="# Words <b>\n\nFinds three words.",
            points_at_words=model.spans,
            seconds_per_character=model.seconds_per_character,
        )

    return Shelf({name: Path(name) for name in models}, load)


@contextmanager
def running(
    models: dict[str, WordModel] | None = None,
    *,
    task: str = "mentions",
    key: str | None = None,
    traces: Traces | None = None,
    **limits: Any,
) -> Iterator[Running]:
    config = ServeConfig(**{"port": 0, "request_seconds": 5.0} | limits)
    log = io.StringIO()
    shelf = shelf_of(models or {"words": WordModel()}, task)
    service = Service(config, shelf, ApiKeys([key] if key else []), Metrics(), open_log(log), traces=traces)
    with listen(config) as listener:
        server = make_server(service, listener)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.005)
            yield Running(url, service, server, log)
        finally:
            server.should_exit = True
            thread.join(20)
        assert not thread.is_alive()
