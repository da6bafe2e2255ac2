"""The extractor that users call: notes in, symptoms and mentions out; no torch, no transformers."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sympress.deploy.artifact import Extractor as Settings
from sympress.deploy.artifact import read_extractor
from sympress.deploy.decode import Link, add_mentions, decode_mentions, note_logits, scored
from sympress.deploy.link import load_link, load_rules, with_lexicon, with_rule_codes
from sympress.deploy.pieces import window_spans
from sympress.deploy.rule_files import carried_words, check_words, with_words
from sympress.deploy.runtime import Runtime
from sympress.errors import InputError
from sympress.labels.mentions import Assertion, Mention, Reason, Source
from sympress.labels.own_words import OURS, OwnWords
from sympress.labels.surface import forms_by_symptom
from sympress.notes.intake import NOTE_LIMIT

#: A symptom without a threshold of its own is present from this probability on.
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class FoundSymptom:
    """A symptom that a note affirms.

    Attributes:
        symptom: its name, as the artifact lists it.
        code: its first code, such as a SNOMED CT id; None where the artifact knows none.
        probability: a model's, calibrated where the artifact carries a calibration, 0..1; None where none
            gave one.
        source: who found it.
        span: of the mention that affirms it, the surest or else the first; None where a model answers for
            the whole note and points at no words.
    """

    symptom: str
    code: str | None
    probability: float | None
    source: Source = "model"
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class FoundMention:
    """A span of a note that names a symptom.

    Attributes:
        start: its first character, counted in the original text.
        end: one past its last character.
        symptom: its name; None for a span that nothing names.
        code: its first code, or None.
        assertion: what the note says of it.
        score: a model's probability, 0..1; None where none gave one.
        source: who found it.
        reason: what decided the assertion; None where nothing but the words speaks.
    """

    start: int
    end: int
    symptom: str | None
    code: str | None
    assertion: Assertion
    score: float | None
    source: Source = "rules"
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class NoteResult:
    """What was found in one note.

    Attributes:
        symptoms: what the note affirms, the most probable first, then what only rules affirm; the model of a
            `topic` names exactly one.
        mentions: by start; empty unless the task is `mentions` or the artifact asks for rules besides.
        windows: how many windows of the note the model read.
        truncated: the note goes on after what the model read.
        failure: why the note has no answer, or None; it never quotes the note.
    """

    symptoms: tuple[FoundSymptom, ...]
    mentions: tuple[FoundMention, ...] = ()
    windows: int = 0
    truncated: bool = False
    failure: str | None = None


class Extractor:
    """An artifact, ready to answer; safe to call from several threads at the same time.

    Windows are run one at a time and unpadded, so the answer to a note is the same bytes whatever notes
    stand beside it. Activations that are quantized as they come take their scale from the whole batch: in
    a batch they would depend on it, and batches gain nothing (see docs/extract.md).
    """

    def __init__(
        self,
        settings: Settings,
        runtime: Runtime | None,
        folder: Path,
        threads: int,
        link: Link | None = None,
        *,
        words: OwnWords | None = None,
    ) -> None:
        self.settings, self.runtime, self.folder = settings, runtime, folder
        self.threads, self._link = threads, link
        self._rules = load_rules(settings, carried_words(folder, settings) if words is None else words)

    @classmethod
    def load(cls, folder: str | Path, *, threads: int = 1, words: OwnWords = OURS) -> Extractor:
        """Load the artifact in `folder`.

        Args:
            folder: of the artifact.
            threads: notes that are answered at the same time.
            words: a user's own, in place of those that the artifact reads by (`read_own_words`).

        Raises:
            InputError: the folder is no artifact, a file of it is missing, changed, damaged or newer, or it
                has no rules that would read `words`.
        """
        folder = Path(folder)
        stored = read_extractor(folder)
        check_words(folder, stored, words)
        with _collector_paused():
            settings, held = with_words(stored, words), words.over(carried_words(folder, stored))
            if settings.rules_only and held.lexicon is not None:
                named = settings.model_copy(update={"symptoms": list(forms_by_symptom(held.lexicon))})
                return cls(with_lexicon(named, held.lexicon), None, folder, threads, words=held)
            link = load_link(held) if settings.task == "mentions" else None
            coded = with_rule_codes(settings, held.lexicon)
            return cls(coded, Runtime.load(folder), folder, threads, link, words=held)

    @property
    def model(self) -> Runtime:
        """What runs the model.

        Raises:
            InputError: rules answer alone, there is none.
        """
        if self.runtime is None:
            raise InputError(f"{self.folder}: rules alone, without a model; give an artifact with --model")
        return self.runtime

    @property
    def task(self) -> str:
        """`topic`, `present` or `mentions`."""
        return self.settings.task

    @property
    def symptoms(self) -> list[str]:
        """Every symptom that the artifact knows."""
        return list(self.settings.symptoms)

    def __call__(self, notes: str | Iterable[str]) -> list[NoteResult]:
        """Answer each of `notes`, in order; a note that cannot be answered says why in `failure`.

        Raises:
            InputError: a note is no text.
        """
        texts: Sequence[str] = [notes] if isinstance(notes, str) else list(notes)
        for at, text in enumerate(texts):
            if not isinstance(text, str):
                raise InputError(f"note {at} is {type(text).__name__}, not text; give str")
        if self.threads == 1 or len(texts) < 2:
            return [self.answer(text) for text in texts]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(self.answer, texts))

    def answer(self, text: str) -> NoteResult:
        """Answer one note; never raises for what the note holds."""
        if len(text) > NOTE_LIMIT:
            return failed(f"longer than {NOTE_LIMIT:,} characters")
        try:
            return self._answer_note(text)
        except MemoryError:
            return failed("not enough memory for this note")
        except Exception as error:  # whatever a library does with one note, the others go on
            return failed(f"the model failed ({type(error).__name__})")

    def _answer_note(self, text: str) -> NoteResult:
        if self.task == "mentions":
            return self._answer_mentions(text)
        logits, windows, truncated = self.note_logits(text)
        symptoms = self._symptoms(logits)
        if self._rules is None:
            return NoteResult(symptoms, windows=windows, truncated=truncated)
        likely = {one.symptom: one.probability or 0.0 for one in symptoms}
        mentions = self._found(scored(self._rules(text), likely))
        besides = (one for one in self._affirmed(mentions) if one.symptom not in likely)
        return NoteResult((*symptoms, *besides), mentions, windows, truncated)

    def _answer_mentions(self, text: str) -> NoteResult:
        found, windows, cut = self._tagged(text)
        if self._rules is not None:
            more = self._rules(text)
            found = add_mentions(found, more) if windows else tuple(more)
        mentions = self._found(found)
        return NoteResult(self._affirmed(mentions), mentions, windows, cut)

    def _found(self, mentions: Iterable[Mention]) -> tuple[FoundMention, ...]:
        return tuple(
            FoundMention(one.start, one.end, one.symptom, self.code_of(one.symptom), one.assertion, one.score)
            for one in mentions
        )

    def _tagged(self, text: str) -> tuple[tuple[Mention, ...], int, bool]:
        """What the model finds, in how many windows, and whether text is left unread; nothing without one."""
        runtime, settings = self.runtime, self.settings
        if runtime is None:
            return (), 0, False
        pieces = runtime.pieces(text, offsets=True)
        logits = note_logits(
            pieces, runtime.specials, room=runtime.room, stride=runtime.stride, run=runtime.logits_of
        )
        found = decode_mentions(
            logits,
            pieces.starts,
            pieces.ends,
            settings.tags or (),
            text,
            span_bias=settings.span_bias,
            link=self._link,
        )
        windows = len(window_spans(len(pieces.ids), runtime.room, runtime.stride))
        return found, windows, runtime.cuts(text)

    def _affirmed(self, mentions: Iterable[FoundMention]) -> tuple[FoundSymptom, ...]:
        """Symptoms with a mention that calls them present, each with the score of its surest one."""
        best: dict[str, float] = {}
        for one in mentions:
            if one.symptom is not None and one.assertion == "present":
                best[one.symptom] = max(one.score or 0.0, best.get(one.symptom, 0.0))
        ranked = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))
        return tuple(FoundSymptom(name, self.code_of(name), score) for name, score in ranked)

    def note_logits(self, text: str) -> tuple[NDArray[np.float32], int, bool]:
        """Logits `(K,)` of a note, how many windows they come from, and whether text is left unread.

        A symptom's logit is its largest over the windows: a note affirms what one of its parts affirms.
        """
        runtime = self.model
        pieces = runtime.pieces(text, offsets=False, limit=None if runtime.reads_all else runtime.room)
        spans = window_spans(len(pieces.ids), runtime.room, runtime.stride)
        rows = [runtime.logits_of(runtime.specials.surround(pieces.ids[start:end])) for start, end in spans]
        return np.max(np.stack(rows), axis=0), len(rows), runtime.cuts(text) or not pieces.complete

    def _symptoms(self, logits: NDArray[np.float32]) -> tuple[FoundSymptom, ...]:
        extractor = self.settings
        probabilities = self.model.probabilities(logits)
        if extractor.task == "topic":
            chosen = [int(np.argmax(probabilities))]
        else:
            limits = np.asarray(extractor.thresholds or [DEFAULT_THRESHOLD] * len(probabilities))
            above = np.flatnonzero(probabilities >= limits)
            chosen = sorted(above.tolist(), key=lambda k: (-probabilities[k], k))
        names = extractor.symptoms
        return tuple(FoundSymptom(names[k], self.code_of(names[k]), float(probabilities[k])) for k in chosen)

    def code_of(self, symptom: str | None) -> str | None:
        """The first code of a symptom, or None."""
        codes = self.settings.codes.get(symptom or "", [])
        return codes[0] if codes else None


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Rules make half a million objects that all stay; to look through them for garbage takes 0.1 s."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def failed(reason: str) -> NoteResult:
    """The result of a note without an answer."""
    return NoteResult((), failure=reason)
