"""The artifacts that are served side by side, each reloaded as a whole or not at all."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sympress.deploy.checksums import parse_digest
from sympress.deploy.serve.config import ServeConfig
from sympress.deploy.serve.processes import ModelProcesses, ProcessLimits, Rendered
from sympress.deploy.serve.refusals import Refusal
from sympress.errors import InputError
from sympress.labels.own_words import OURS, OwnWords

#: Answers notes in order, each as soon as it is done; called from several threads.
Extract = Callable[[Sequence[str]], Iterable[Rendered]]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """An artifact in memory; requests that began with it end with it, whatever is loaded meanwhile.

    Attributes:
        name: what requests call it.
        extract: answers notes.
        task: `topic`, `present` or `mentions`.
        symptoms: names of the symptoms it knows.
        size_bytes: size of `model.onnx`; 0 where rules answer alone.
        fingerprint: first 16 hexadecimal digits of the SHA-256 of its files, and of a user's own.
        loaded_at: time in UTC, ISO 8601.
        names: what people call each symptom that it may answer with, by id.
        card: its card, in Markdown; None where the artifact has none.
        points_at_words: its answers have mentions; a model of whole notes without rules has none.
        close: ends its processes; otherwise they end when nothing refers to the model any more.
    """

    name: str
    extract: Extract
    task: str
    symptoms: tuple[str, ...]
    size_bytes: int
    fingerprint: str
    loaded_at: str
    names: Mapping[str, str] = field(default_factory=dict)
    card: str | None = None
    points_at_words: bool = True
    close: Callable[[], object] = bool


class Shelf:
    """The served models by name. The first is the one that requests without a name get."""

    def __init__(
        self, folders: Mapping[str, Path], load: Callable[[str, Path], ServedModel] | None = None
    ) -> None:
        """Load every folder.

        Raises:
            InputError: there is none, or one is no artifact or damaged.
        """
        if not folders:
            raise InputError("no artifact to serve: name one with --model DIR")
        self._folders = dict(folders)
        self._load = load or load_model
        self._changing = threading.Lock()
        self._models = {name: self._load(name, folder) for name, folder in self._folders.items()}

    def names(self) -> list[str]:
        """Every name, the default first."""
        return list(self._models)

    def models(self) -> list[ServedModel]:
        """Every model, the default first."""
        return list(self._models.values())

    def pick(self, name: str | None) -> ServedModel:
        """The model called `name`, or the default.

        Raises:
            Refusal: 404, no model has that name.
        """
        model = next(iter(self._models.values())) if name is None else self._models.get(name)
        if model is None:
            known = ", ".join(self._models)
            raise Refusal(404, "unknown_model", f"no model has that name; served are: {known}")
        return model

    def close(self) -> None:
        """End the processes of every model."""
        for model in self.models():
            model.close()

    def reload(self, name: str) -> ServedModel:
        """Load the folder of `name` again and swap it in; on any failure the old one stays.

        Blocks; to be called outside the event loop.

        Raises:
            Refusal: 404, no model has that name.
            InputError: the folder is no artifact any more, is damaged, or changed while it was read.
        """
        self.pick(name)
        with self._changing:
            fresh = self._load(name, self._folders[name])
            self._models = self._models | {name: fresh}
        return fresh


def parse_models(given: Sequence[str]) -> dict[str, Path]:
    """Names and folders of `name=DIR` or `DIR`, whose name is then that of the folder.

    Raises:
        InputError: a name is not usable or stands twice.
    """
    folders: dict[str, Path] = {}
    for one in given:
        name, equals, place = one.partition("=")
        folder = Path(place if equals else one)
        name = name if equals else folder.resolve().name
        if not _NAME.fullmatch(name):
            raise InputError(f"--model {one}: the name may hold letters, digits and . _ - (say NAME=DIR)")
        if name in folders:
            raise InputError(f"--model {one}: {name!r} stands twice; give each artifact a name (NAME=DIR)")
        folders[name] = folder
    return folders


def parse_digests(given: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Digests by the model's name, of `NAME=sha256:…`, or of `sha256:…` where one model is served.

    Args:
        given: what the user gave.
        names: of the models that are served.

    Raises:
        InputError: one is no digest, or for no model, or there are two for one.
    """
    digests: dict[str, str] = {}
    for one in given:
        name, equals, digest = one.rpartition("=")
        if not equals and len(names) > 1:
            raise InputError(f"--digest {one}: of which model? say NAME={one}")
        name = name if equals else names[0]
        if name not in names:
            raise InputError(f"--digest {one}: no model is called {name!r}; served are {', '.join(names)}")
        if name in digests:
            raise InputError(f"--digest {one}: {name!r} has two; give one")
        digests[name] = parse_digest(digest)
    return digests


def load_model(
    name: str,
    folder: Path,
    words: OwnWords = OURS,
    config: ServeConfig | None = None,
    digest: str | None = None,
) -> ServedModel:
    """Load the artifact in `folder` into processes of its own, each of which has answered once.

    Args:
        name: what requests call it.
        folder: of the artifact.
        words: a user's own, in place of those that the artifact reads by.
        config: how many processes, and what each may take; the defaults unless given.
        digest: of the one artifact that may be loaded; None for any.

    Raises:
        InputError: the folder is no artifact, is not that of `digest`, is damaged, does not answer in time,
            or changed meanwhile.
    """
    config = config or ServeConfig()
    limits = ProcessLimits(
        load_seconds=config.load_seconds,
        note_seconds=config.note_seconds,
        note_bytes=config.note_bytes,
        mentions=config.note_mentions,
    )
    processes = ModelProcesses(folder, words, limits, config.threads, digest)
    told = processes.description
    fields = {one: getattr(told, one) for one in told.__dataclass_fields__}
    return ServedModel(name=name, extract=processes.answer, close=processes.close, **fields)
