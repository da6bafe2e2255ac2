"""The artifacts that are served, each in processes of its own, reloaded as a whole or not at all."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from hashlib import file_digest, sha256
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from sympress.errors import InputError
from sympress.files import read_settings
from sympress.labels.own_words import OURS, OwnWords
from sympress.labels.task import task_of
from sympress.processes import end_with_parent, release_freed, unheard
from sympress.runtime.artifact import files_to_run, model_file, parse_digest
from sympress.serve.config import ServeConfig
from sympress.serve.render import Question, Refusal, Rendered, render, render_failure

if TYPE_CHECKING:
    from sympress.extract.concepts import Vocabulary
    from sympress.runtime.extractor import Extractor


# A model in processes of its own: a note that takes too long or too much memory costs one, and no more.
#
# A thread cannot be given up, and neither can one task of `concurrent.futures.ProcessPoolExecutor`. Here
# each process answers one note at a time over a pipe; one that is late or dies is killed and replaced, and
# what it was reading is answered with a failure.


#: Libraries in Rust panic where memory is out.
_TOO_MUCH = "not enough memory for this note; send it in parts"
#: Kept for the answer to a note that took all there is.
_RESERVE_BYTES = 4_000_000
_DIED = "the process that read it ended, most likely for want of memory; send a shorter note"

#: What a process reads twice before it is ready: first it makes what was put off, then it is timed.
_FIRST_NOTE = (
    """\
HPI: 54 year old woman with a history of asthma, seen for three days of fever and a dry cough.
She reports headache and mild nausea after the second dose, and denies chest pain, vomiting or rash.
Exam: Temp 38.2. Lungs clear, no wheezing. Abdomen soft, tender in the lower left. Oddly itching elbows.
Assessment: possible influenza. Return if breathing becomes difficult. Mother had migraine.
"""
    * 8
)  # as long as notes are: of a short one each character takes three times as long


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of an artifact when it is loaded.

    Attributes:
        task: `topic`, `present` or `mentions`.
        symptoms: names of the symptoms it knows.
        size_bytes: size of the model's file; 0 where rules answer alone.
        fingerprint: of its files and of a user's own; see `Source.fingerprint`.
        loaded_at: time in UTC, ISO 8601.
        names: what people call each symptom that it may answer with, by id.
        card: its card, in Markdown; None where the artifact has none.
        points_at_words: its answers have mentions; a model of whole notes without rules has none.
        seconds_per_character: what a note took of one core when it was loaded.
    """

    task: str
    symptoms: tuple[str, ...]
    size_bytes: int
    fingerprint: str
    loaded_at: str
    names: Mapping[str, str] = field(default_factory=dict)
    card: str | None = None
    points_at_words: bool = True
    seconds_per_character: float = 0.0


@dataclass(frozen=True, slots=True)
class Source:
    """What a process loads.

    Attributes:
        name: of the model, as requests call it.
        folder: of the artifact.
        words: a user's own, in place of those that the artifact reads by.
        digest: of the one artifact that may be loaded; None for any.
        concepts: file with further codes of the symptoms, for FHIR and OMOP.
    """

    name: str
    folder: Path
    words: OwnWords = OURS
    digest: str | None = None
    concepts: Path | None = None

    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the files that answers depend on."""
        digest = sha256(self.words.digest().encode() if self.words.named() else b"")
        paths = [self.folder / name for name in files_to_run(self.folder)]
        for path in [*paths, *([self.concepts] if self.concepts else [])]:
            if path.is_file():
                with path.open("rb") as file:
                    digest.update(file_digest(file, "sha256").digest())
        return digest.hexdigest()[:16]


class ModelProcesses:
    """`config.threads` processes with the artifact of `source`; they end when nothing refers to this."""

    def __init__(self, source: Source, config: ServeConfig) -> None:
        """Start them and wait until each has answered a note.

        Raises:
            InputError: the artifact cannot be used, takes too long to load, or changed meanwhile.
        """
        self._processes = [_Process(source, config) for _ in range(config.threads)]
        self.close = weakref.finalize(self, _stop, self._processes)
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        self._answers = True
        try:
            self.description = self._processes[0].wait_until_loaded()
            for process in self._processes:
                process.expect(self.description.fingerprint)
                self._idle.put(process)
        except BaseException:
            self.close()
            raise

    def answer(self, questions: Sequence[Question]) -> Iterator[Rendered]:
        """Yield the answer to each of `questions`, in order, as soon as it is there; blocks.

        Raises:
            InputError: a process had to be replaced, and the folder holds another artifact by now.
        """
        process = self._idle.get()
        try:
            for question in questions:
                yield process.answer(question)
                self._answers = True
        except InputError:
            self._answers = False
            raise
        finally:
            self._idle.put(process)

    def is_answering(self) -> bool:
        """Whether the process that was asked last could be had."""
        return self._answers


class _Process:
    """One process, replaced whenever it is late or dies."""

    def __init__(self, source: Source, config: ServeConfig) -> None:
        self._source, self._config = source, config
        self._fingerprint: str | None = None
        self._changing, self._stopped = threading.Lock(), False
        self._start()

    def _start(self) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._source, self._config), daemon=True)
        with unheard(signal.SIGINT):
            self._process.start()
        theirs.close()
        self._due = time.monotonic() + self._config.load_seconds
        self._loaded: Description | None = None

    def wait_until_loaded(self) -> Description:
        """What was loaded; only the first call takes time. An InputError says why it cannot be used."""
        if self._loaded is None:
            told: Description | str | None = None
            with suppress(EOFError, OSError):
                if not self._pipe.poll(max(0.0, self._due - time.monotonic())):
                    late = f"does not answer within {self._config.load_seconds:g} s of loading"
                    told = f"{self._source.folder}: {late}; make the artifact again"
                else:
                    told = self._pipe.recv()
            if not isinstance(told, Description):
                self.kill()
                died = "the process that loads it ended, most likely for want of memory"
                raise InputError(told or f"{self._source.folder}: {died}")
            self._loaded = told
        return self._loaded

    def expect(self, fingerprint: str) -> None:
        """From now on, refuse an artifact other than this one, with an InputError."""
        self._fingerprint = fingerprint
        if self.wait_until_loaded().fingerprint != fingerprint:
            self.kill()
            changed = "changed since it was loaded; reload it when it is complete"
            raise InputError(f"{self._source.folder}: {changed}")

    def answer(self, question: Question) -> Rendered:
        """The answer to one note, or the failure that it cost a process."""
        if not self._process.is_alive():
            self._replace()
        if self._stopped:
            return render_failure("the service stopped")
        self.expect(self._fingerprint or self.wait_until_loaded().fingerprint)
        try:
            self._pipe.send(question)
            if self._pipe.poll(self._config.note_seconds):
                answer: Rendered = self._pipe.recv()
                return answer
            late = f"no answer within {self._config.note_seconds:g} s; send it in parts"
        except (EOFError, OSError):
            late = _DIED
        self._replace()
        return render_failure(late)

    def _replace(self) -> None:
        with self._changing:
            self.kill()
            if not self._stopped:
                self._start()

    def stop(self) -> None:
        """End the process for good, from any thread; one that waits for its answer gets a failure."""
        with self._changing:
            self._stopped = True
            self._process.kill()
            self._process.join()

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _stop(processes: Sequence[_Process]) -> None:
    for process in processes:
        process.stop()


def _work(pipe: Connection, source: Source, config: ServeConfig) -> None:
    """Load, say what was loaded, then answer note after note until the pipe ends."""
    _leave_signals_to_parent()
    os.environ["RUST_BACKTRACE"] = "0"  # where memory is out, printing one may never end
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        extractor, vocabulary, description = _load(source)
    except InputError as error:
        pipe.send(str(error))
        return

    def answer_one(question: Question) -> Rendered:
        result = extractor.answer(question.text, most_mentions=config.most_mentions)
        if (result.failure or "").endswith("(PanicException)"):
            return render_failure(_TOO_MUCH)
        return render(result, question, vocabulary, f"sympress {source.name}")

    _limit_data(config.note_bytes)
    pipe.send(description)
    reserve: bytearray | None = None
    with suppress(EOFError, BrokenPipeError):
        while True:
            reserve = reserve or bytearray(_RESERVE_BYTES)
            try:
                answer = answer_one(pipe.recv())
            except MemoryError:
                reserve = None  # first of all: even this answer takes memory
                answer = render_failure(_TOO_MUCH)
            pipe.send(answer)
            del answer


def _leave_signals_to_parent() -> None:
    """A supervisor or a terminal signals every process; the one that serves decides when this one ends."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _limit_data(more_bytes: int) -> None:
    """Let the data of this process, without what it shares, grow by no more than `more_bytes`."""
    with suppress(ImportError, OSError, ValueError):  # not on Linux; or a lower limit holds already
        import resource

        status = Path("/proc/self/status").read_text(encoding="ascii")
        most = int(status.partition("VmData:")[2].split()[0]) * 1024 + more_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _load(source: Source) -> tuple[Extractor, Vocabulary, Description]:
    """Load an artifact on one core and let it answer, so that it works and works at once.

    Raises:
        InputError: the folder is no artifact, or not that of the digest, is damaged, does not answer, or
            changed while it was read; or the concepts are not of its symptoms.
    """
    from sympress.extract.concepts import ConceptMap, read_concepts, vocabulary_of
    from sympress.runtime.extractor import Extractor
    from sympress.runtime.linker import load_names

    folder = source.folder
    before = source.fingerprint()
    extractor = Extractor.load(folder, words=source.words, digest=source.digest)
    concepts = read_concepts(source.concepts, extractor) if source.concepts else ConceptMap()
    extractor.complete()
    release_freed()
    for _ in range(2):
        began = time.perf_counter()
        failure = extractor.answer(_FIRST_NOTE).failure
        seconds = time.perf_counter() - began
    if failure is not None:
        raise InputError(f"{folder}: loads, but does not answer ({failure}); make the artifact again")
    if source.fingerprint() != before:
        raise InputError(f"{folder}: changed while it was loaded; load it again when it is complete")
    description = Description(
        task=extractor.task,
        symptoms=tuple(extractor.symptoms),
        size_bytes=0 if extractor.runtime is None else model_file(folder).stat().st_size,
        fingerprint=before,
        loaded_at=datetime.now(UTC).isoformat(timespec="seconds"),
        names=load_names(extractor.settings, extractor.words.lexicon),
        card=_card(folder),
        points_at_words=extractor.settings.rules or task_of(extractor.task).finds_spans,
        seconds_per_character=seconds / len(_FIRST_NOTE),
    )
    return extractor, vocabulary_of(extractor, concepts), description


def _card(folder: Path) -> str | None:
    """The card of the artifact in `folder`, if there is one that can be read."""
    try:
        return read_settings(folder / "README.md")
    except (InputError, OSError, UnicodeDecodeError):
        return None


# The artifacts that are served side by side, each reloaded as a whole or not at all.


#: Answers notes in order, each as soon as it is done; called from several threads.
Extract = Callable[[Sequence[Question]], Iterable[Rendered]]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel(Description):
    """An artifact in memory; requests that began with it end with it, whatever is loaded meanwhile.

    Attributes:
        name: what requests call it.
        extract: answers notes.
        is_answering: whether it answered when it was asked last, or was not asked yet.
        close: ends its processes; otherwise they end when nothing refers to the model any more.
    """

    name: str
    extract: Extract
    is_answering: Callable[[], bool] = lambda: True
    close: Callable[[], object] = bool

    @property
    def named_symptoms(self) -> list[tuple[str, str]]:
        """Every symptom that it may answer with, its own first, and what people call it."""
        every = dict.fromkeys([*self.symptoms, *self.names])
        return [(symptom, self.names.get(symptom, symptom)) for symptom in every]


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

    `config` says how many, and what each may take; the rest is that of `Source`.

    Raises:
        InputError: the folder is no artifact, is not that of `digest`, is damaged, does not answer in time,
            or changed meanwhile.
    """
    config = config or ServeConfig()
    processes = ModelProcesses(Source(name, folder, words, digest, config.concepts), config)
    told = processes.description
    return ServedModel(
        name=name,
        extract=processes.answer,
        is_answering=processes.is_answering,
        close=processes.close,
        **{one.name: getattr(told, one.name) for one in fields(told)},
    )
