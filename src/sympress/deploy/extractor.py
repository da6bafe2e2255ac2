"""The extractor that users call: notes in, symptoms and mentions out; no torch, no transformers."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sympress.deploy.affirm import Belief, EvidenceReader, Sourced, affirm, join, weigh
from sympress.deploy.artifact import Extractor as Settings
from sympress.deploy.artifact import read_extractor
from sympress.deploy.checksums import check_files
from sympress.deploy.decode import Link, decode_mentions, note_logits
from sympress.deploy.link import load_link, load_rules, with_lexicon, with_rule_codes
from sympress.deploy.pieces import window_spans
from sympress.deploy.rule_files import carried_words, check_words, with_words
from sympress.deploy.runtime import Runtime
from sympress.errors import InputError, is_panic
from sympress.labels.annotate import too_many_mentions
from sympress.labels.mentions import Assertion, Mention, Reason, Source
from sympress.labels.own_words import OURS, OwnWords
from sympress.labels.surface import forms_by_symptom
from sympress.notes.intake import NOTE_LIMIT, TOO_LONG
from sympress.notes.markup.view import View, read_view

#: Most mentions of a note that is answered, unless a job says otherwise. No clinical note has as many; one
#: that repeats a word without end would take gigabytes.
MENTIONS_MOST = 10_000

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
        symptoms: what the note affirms, the most probable first, then those without a probability. Each has a
            present mention, unless a model of whole notes answers without rules; that of a `topic` names
            exactly one.
        mentions: by start; empty unless the task is `mentions` or the artifact asks for rules besides.
        windows: how many windows of the note the model read.
        markup: that the note is written in and that was read as text: `html`, `rtf`, `hl7`, `cda`; or None.
        truncated: the note goes on after what the model read.
        failure: why the note has no answer, or None; it never quotes the note.
    """

    symptoms: tuple[FoundSymptom, ...]
    mentions: tuple[FoundMention, ...] = ()
    windows: int = 0
    truncated: bool = False
    failure: str | None = None
    markup: str | None = None


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
        self.words = carried_words(folder, settings) if words is None else words
        self._rules = load_rules(settings, self.words)
        self._evidence = EvidenceReader(settings.evidence)

    @classmethod
    def load(
        cls, folder: str | Path, *, threads: int = 1, words: OwnWords = OURS, digest: str | None = None
    ) -> Extractor:
        """Load the artifact in `folder`.

        Args:
            folder: of the artifact.
            threads: notes that are answered at the same time.
            words: a user's own, in place of those that the artifact reads by (`read_own_words`).
            digest: of the one artifact that may be loaded (`artifact_digest`); None for any.

        Raises:
            InputError: the folder is no artifact or not the one of `digest`, a file of it is missing, not
                listed, changed, damaged or newer, or it has no rules that would read `words`.
        """
        folder = Path(folder)
        stored = read_extractor(folder)
        check_words(folder, stored, words)
        check_files(folder, digest)
        with _collector_paused():
            settings, held = with_words(stored, words), words.over(carried_words(folder, stored))
            if settings.rules_only and held.lexicon is not None:
                named = settings.model_copy(update={"symptoms": list(forms_by_symptom(held.lexicon))})
                return cls(with_lexicon(named, held.lexicon), None, folder, threads, words=held)
            link = load_link(held) if settings.task == "mentions" else None
            coded = with_rule_codes(settings, held.lexicon)
            return cls(coded, Runtime.of_checked(folder, stored), folder, threads, link, words=held)

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

    def answer(self, text: str, *, most_mentions: int = MENTIONS_MOST) -> NoteResult:
        """Answer one note; never raises for what the note holds.

        Args:
            text: of the note.
            most_mentions: a note with more of them has no answer.
        """
        if len(text) > NOTE_LIMIT:
            return failed(TOO_LONG)
        try:
            view = read_view(text)
            return in_original(self._answer_view(view, most_mentions), view.span, view.markup)
        except MemoryError:
            return failed("not enough memory for this note")
        except InputError as error:  # of ours, so without the note's words
            return failed(str(error))
        except BaseException as error:  # whatever a library does with one note, the others go on
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            return failed(f"the model failed ({type(error).__name__})")

    def _answer_view(self, view: View, most: int) -> NoteResult:
        rules = () if self._rules is None else self._rules(view, most)
        if self.task == "mentions":
            found, windows, cut = self._tagged(view.text)
            return self._result(join(found, rules), windows, cut, most)
        logits, windows, truncated = self.note_logits(view.text)
        beliefs = self.beliefs(logits)
        if self._rules is None:
            return NoteResult(self._of_whole_note(beliefs), windows=windows, truncated=truncated)
        mentions = self._weighed(view.text, rules, beliefs)
        decides = self.settings.decides
        doubted = {name for name, one in beliefs.items() if decides.get(name) == "model" and not one.affirms}
        return self._result(mentions, windows, truncated, most, doubted)

    def rule_mentions(self, text: str) -> Sequence[Mention]:
        """What the rules find in a note, by start; nothing where the artifact asks for none.

        Offsets count the characters of what its reader sees, where it is in a markup.
        """
        return () if self._rules is None else self._rules(read_view(text))

    def _weighed(
        self, text: str, mentions: Sequence[Mention], beliefs: Mapping[str, Belief]
    ) -> list[Sourced]:
        """What the note mentions, by start: `mentions` of the rules with what the model says of them.

        Where the artifact has evidence for a symptom that the model affirms, its words are a mention of it.
        """
        found = weigh(mentions, beliefs) + self._evidence.read(text, mentions, beliefs)
        return sorted(found, key=lambda one: (one.mention.start, one.mention.end))

    def _result(
        self,
        found: Sequence[Sourced],
        windows: int,
        truncated: bool,
        most: int,
        doubted: AbstractSet[str] = frozenset(),
    ) -> NoteResult:
        if len(found) > most:
            raise InputError(too_many_mentions(most))
        mentions = tuple(self._mention(one.mention, one.source) for one in found)
        symptoms = tuple(
            FoundSymptom(one.symptom, self.code_of(one.symptom), one.probability, one.source, one.span)
            for one in affirm(found, doubted)
        )
        return NoteResult(symptoms, mentions, windows, truncated)

    def _mention(self, one: Mention, source: Source) -> FoundMention:
        code = self.code_of(one.symptom)
        return FoundMention(
            one.start, one.end, one.symptom, code, one.assertion, one.score, source, one.reason
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

    def note_logits(self, text: str) -> tuple[NDArray[np.float32], int, bool]:
        """Logits `(K,)` of a note, how many windows they come from, and whether text is left unread.

        A symptom's logit is its largest over the windows: a note affirms what one of its parts affirms.
        """
        runtime = self.model
        pieces = runtime.pieces(text, offsets=False, limit=None if runtime.reads_all else runtime.room)
        spans = window_spans(len(pieces.ids), runtime.room, runtime.stride)
        rows = [runtime.logits_of(runtime.specials.surround(pieces.ids[start:end])) for start, end in spans]
        return np.max(np.stack(rows), axis=0), len(rows), runtime.cuts(text) or not pieces.complete

    def beliefs(self, logits: NDArray[np.float32]) -> dict[str, Belief]:
        """What the model says of each symptom of a note with these logits `(K,)`."""
        settings = self.settings
        probabilities = self.model.probabilities(logits)
        if settings.task == "topic":
            affirms = np.arange(len(probabilities)) == np.argmax(probabilities)
        else:
            affirms = probabilities >= np.asarray(
                settings.thresholds or [DEFAULT_THRESHOLD] * len(probabilities)
            )
        rows = zip(settings.symptoms, probabilities.tolist(), affirms.tolist(), strict=True)
        return {name: Belief(probability, affirmed) for name, probability, affirmed in rows}

    def _of_whole_note(self, beliefs: Mapping[str, Belief]) -> tuple[FoundSymptom, ...]:
        """What the model affirms, pointing at no words, the most probable first."""
        chosen = [(name, one.probability) for name, one in beliefs.items() if one.affirms]
        ranked = sorted(chosen, key=lambda pair: -pair[1])
        return tuple(FoundSymptom(name, self.code_of(name), probability) for name, probability in ranked)

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


def in_original(
    result: NoteResult, span: Callable[[int, int], tuple[int, int]], markup: str | None
) -> NoteResult:
    """`result` of a note's text with every span, of mentions, reasons and symptoms, moved to the note itself.

    Args:
        result: with spans of the text that was read.
        span: where a start and an end of that text are in the note as it was given.
        markup: what was read as text.
    """
    if result.failure is not None:
        return replace(result, markup=markup)

    mentions = []
    for one in result.mentions:
        start, end = span(one.start, one.end)
        mentions.append(replace(one, start=start, end=end, reason=one.reason and one.reason.moved(span)))
    symptoms = [one if one.span is None else replace(one, span=span(*one.span)) for one in result.symptoms]
    return replace(result, mentions=tuple(mentions), symptoms=tuple(symptoms), markup=markup)
