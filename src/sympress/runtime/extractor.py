"""The extractor that users call: notes in, symptoms and mentions out; no torch, no transformers."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, get_args, overload

import numpy as np
from numpy.typing import NDArray

from sympress.errors import InputError, SympressError, is_panic
from sympress.labels.annotate import too_many_mentions
from sympress.labels.lexicon import forms_by_symptom
from sympress.labels.mentions import Mention, Source
from sympress.labels.own_words import OURS, OwnWords
from sympress.labels.task import task_of
from sympress.notes.intake import NOTE_LIMIT, TOO_LONG
from sympress.notes.markup import View, read_view
from sympress.runtime.affirm import Belief, EvidenceReader, Sourced, affirm, by_tagger, sourced, weigh
from sympress.runtime.artifact import Extractor as Settings
from sympress.runtime.artifact import (
    artifact_digest,
    artifact_folder,
    bundled_name,
    check_files,
    read_extractor,
)
from sympress.runtime.linker import (
    carried_words,
    check_words,
    load_link,
    load_rules,
    with_lexicon,
    with_rule_codes,
    with_words,
)
from sympress.runtime.note_result import (
    FoundMention,
    FoundSymptom,
    NoteResult,
    NoteResults,
    failed,
    in_original,
)
from sympress.runtime.session import Runtime, Tagged, find_spans, open_tagger, pooled_logits
from sympress.runtime.tokens import Link, Pieces

#: Most mentions of a note that is answered, unless a job says otherwise. No clinical note has as many; one
#: that repeats a word without end would take gigabytes.
MENTIONS_MOST = 10_000

#: Notes that are read together, and characters from which on no further one is taken.
_TOGETHER_NOTES, _TOGETHER_CHARACTERS = 16, 100_000

#: A symptom without a threshold of its own is present from this probability on.
DEFAULT_THRESHOLD = 0.5

#: What becomes of a note without an answer: its result says why, or the call raises.
OnError = Literal["record", "raise"]

_LOG = logging.getLogger("sympress")
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Origin:
    """What opens an extractor again, in another process or on another machine.

    Attributes:
        source: folder of the artifact, or the name of one that comes with sympress.
        digest: of the artifact that was opened.
        words: a user's own.
        threads: as in `Extractor.load`.
        on_error: as in `Extractor.load`.
    """

    source: str
    digest: str
    words: OwnWords
    threads: int
    on_error: OnError


class Extractor:
    """An artifact, ready to answer; safe to call from several threads at the same time.

    Windows are run one at a time and unpadded, so the answer to a note is the same bytes whatever notes
    stand beside it. Activations that are quantized as they come take their scale from the whole batch: in
    a batch they would depend on it, and batches gain nothing (see docs/explanation/whole-notes.md).

    One that `load` opened pickles as its folder, digest and settings. Where it is unpickled, it opens the
    folder again when it is first used, and raises InputError if another artifact stands there. Its copies
    share what it has loaded.
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
        tagger: Runtime | None = None,
    ) -> None:
        self.settings, self.runtime, self.folder = settings, runtime, folder
        self.threads, self._link = threads, link
        self._tagger = runtime if task_of(settings.task).finds_spans else tagger
        self.on_error: OnError = "record"
        self._origin: Origin | None = None
        self.words = carried_words(folder, settings) if words is None else words
        self._rules = load_rules(settings, self.words)
        self._evidence = EvidenceReader(settings.evidence)
        #: Whether a model of whole notes reads the word pieces of the tagger beside it.
        self._cut_once = runtime is not None and tagger is not None and runtime.reads_like(tagger)

    @classmethod
    def load(
        cls,
        folder: str | Path | None = None,
        *,
        threads: int = 1,
        words: OwnWords = OURS,
        digest: str | None = None,
        on_error: OnError = "record",
    ) -> Self:
        """Load the artifact in `folder`.

        Args:
            folder: of the artifact, or `box` or `rules`; None for the one that comes with sympress.
            threads: notes that are answered at the same time.
            words: a user's own, in place of those that the artifact reads by (`read_own_words`).
            digest: of the one artifact that may be loaded (`artifact_digest`); None for any.
            on_error: `record` puts why a note has no answer into `NoteResult.failure`; `raise` raises it.

        Raises:
            InputError: the folder is no artifact or not the one of `digest`, a file of it is missing, not
                listed, changed, damaged or newer, it has no rules that would read `words`, or `threads` or
                `on_error` is none of those that there are.
        """
        _check_settings(threads, on_error)
        folder = artifact_folder(folder)
        stored = read_extractor(folder)
        check_words(folder, stored, words)
        check_files(folder, digest)
        opened = cls._open(folder, stored, words, threads)
        opened.on_error = on_error
        opened.folder = folder.absolute()  # a program may change its directory
        place = bundled_name(folder) or str(opened.folder)
        opened._origin = Origin(place, artifact_digest(folder), words, threads, on_error)
        _LOG.debug("%s: opened, task %s, %d symptoms", folder, opened.task, len(opened.settings.symptoms))
        return opened

    @classmethod
    def _open(cls, folder: Path, stored: Settings, words: OwnWords, threads: int) -> Self:
        """The artifact in `folder`, whose files are those that were written."""
        with _collector_paused():
            settings, held = with_words(stored, words), words.over(carried_words(folder, stored))
            if settings.rules_only and held.lexicon is not None:
                named = settings.model_copy(update={"symptoms": list(forms_by_symptom(held.lexicon))})
                return cls(with_lexicon(named, held.lexicon), None, folder, threads, words=held)
            link = load_link(held) if settings.finds_spans else None
            coded = with_rule_codes(settings, held.lexicon)
            runtime = Runtime.of_checked(folder, stored)
            tagger = open_tagger(folder, runtime) if settings.tagger else None
            return cls(coded, runtime, folder, threads, link, words=held, tagger=tagger)

    def complete(self) -> None:
        """Make now what is put off until some notes were read: 180 MB for a moment.

        For a process that answers many notes, each of which may take no more than some memory and time.
        """
        self._be_open()
        for rules in (self._rules, None if self.runtime is None else self.runtime.rules):
            if rules is not None:
                rules.complete()
        if self._link is not None:
            self._link("no form of any symptom")  # what names such words is made for the first of them

    def __repr__(self) -> str:
        origin = self.__dict__["_origin"]
        return f"Extractor({str(self.folder) if origin is None else origin.source!r})"

    def __copy__(self) -> Self:
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __getstate__(self) -> Origin:
        if self._origin is None:
            raise TypeError("an Extractor that was not made by Extractor.load cannot be pickled")
        return replace(self._origin, threads=self.threads, on_error=self.on_error)

    def __setstate__(self, origin: Origin) -> None:
        self._origin, self.threads, self.on_error = origin, origin.threads, origin.on_error
        self._opening = RLock()

    if not TYPE_CHECKING:  # or every misspelt name would pass for an attribute

        def __getattr__(self, name: str) -> Any:
            """What an unpickled extractor lacks until its folder is opened."""
            lock = self.__dict__.get("_opening")
            if lock is None or name.startswith("__"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            with lock:
                if "_opening" in self.__dict__:
                    self._open_again()
            return getattr(self, name)

    def _be_open(self) -> None:
        """Open an unpickled extractor, so that a folder that is not there is no failure of a note."""
        if "_opening" in self.__dict__:
            _ = self.settings

    def _open_again(self) -> None:
        origin = self._origin
        if origin is not None:
            made = type(self).load(origin.source, words=origin.words, digest=origin.digest)
            self.__dict__.update({**made.__dict__, "threads": self.threads, "on_error": self.on_error})
            del self.__dict__["_opening"]

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

    @overload
    def __call__(self, notes: str) -> NoteResult: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, notes: Iterable[str]) -> NoteResults: ...

    def __call__(self, notes: str | Iterable[str]) -> NoteResult | NoteResults:
        """Answer one note, or each of several in their order.

        Args:
            notes: a text, or any iterable of texts: a list, a generator, a column of a DataFrame.

        Returns:
            The result of the one text, or the results of all. A note that cannot be answered says why in
            `failure`.

        Raises:
            InputError: a note is no text; or a note cannot be answered and `on_error` is `raise`.
            SympressError: the model failed at a note and `on_error` is `raise`; what it raised is the cause,
                whose message, unlike ours, may quote the note.
        """
        self._be_open()
        if isinstance(notes, str):
            return self._told(self._read([notes], MENTIONS_MOST)[0], notes)
        texts = list(_each_text(notes))
        groups = list(_groups(texts, min(_TOGETHER_NOTES, -(-len(texts) // self.threads))))
        if self.threads == 1 or len(groups) < 2:
            read: Iterable[list[NoteResult | SympressError]] = (
                self._read(one, MENTIONS_MOST) for one in groups
            )
            return NoteResults(map(self._told, chain.from_iterable(read), texts, count()))
        with ThreadPoolExecutor(self.threads) as pool:
            read = pool.map(lambda one: self._read(one, MENTIONS_MOST), groups)
            return NoteResults(map(self._told, chain.from_iterable(read), texts, count()))

    def _told(self, read: NoteResult | SympressError, text: str, place: int | None = None) -> NoteResult:
        """What became of a note, with its text, as `on_error` has it; `place` is that among others."""
        if isinstance(read, SympressError):
            where = "" if place is None else f"note {place}: "
            if self.on_error == "raise":
                kind = InputError if isinstance(read, InputError) else SympressError
                raise kind(f"{where}{read}") from read.__cause__
            _LOG.warning("%sno answer: %s", where, read)
            read = failed(str(read))
        return replace(read, text=text)

    def answer(self, text: str, *, most_mentions: int = MENTIONS_MOST) -> NoteResult:
        """Answer one note, as `answers` does."""
        return next(self.answers([text], most_mentions=most_mentions))

    def answers(self, texts: Iterable[str], *, most_mentions: int = MENTIONS_MOST) -> Iterator[NoteResult]:
        """Answer notes in their order; never raises for what they hold.

        Args:
            texts: of the notes; a few are taken ahead.
            most_mentions: a note with more of them has no answer.
        """
        self._be_open()
        for group in _groups(texts):
            for read in self._read(group, most_mentions):
                yield failed(str(read)) if isinstance(read, SympressError) else read

    def _read(self, texts: Sequence[str], most: int) -> list[NoteResult | SympressError]:
        """Read notes, or say why one cannot be: it is too long, has too many mentions, or a library failed.

        All are shown to the models before the rules read any: in turn, each would push what the other needs
        out of the processor's cache, which takes a tenth longer.
        """
        seen = [_tried(self._see, text) for text in texts]
        return [one if isinstance(one, SympressError) else _tried(self._judge, one, most) for one in seen]

    def _see(self, text: str) -> _Seen:
        """What the models see in a note.

        Raises:
            InputError: it is too long, or a model's logits are no numbers.
        """
        if len(text) > NOTE_LIMIT:
            raise InputError(TOO_LONG)
        view = read_view(text)
        tagged = find_spans(self._tagger, view.text, self._link if self._rules is None else None)
        seen = _Seen(view, tagged)
        if task_of(self.task).finds_spans or self.settings.fusion is not None:
            return seen
        return replace(seen, read=self.note_logits(view.text, pieces=self._shared_pieces(tagged)))

    def _shared_pieces(self, tagged: Tagged) -> Pieces | None:
        return tagged.pieces if self._cut_once else None

    def _judge(self, seen: _Seen, most: int) -> NoteResult:
        """The answer to a note.

        Raises:
            InputError: it has more mentions than `most`, or a model's logits are no numbers.
        """
        view, answer = seen.view, self._answer(seen, most)
        return answer if view.starts is None else in_original(answer, view.span, view.markup)

    def _answer(self, seen: _Seen, most: int) -> NoteResult:
        view, tagged = seen.view, seen.tagged
        found = self._mentions_of(view, tagged.spans, most)
        if task_of(self.task).finds_spans:
            return self._result(found, tagged.windows, tagged.cut, most)
        logits, windows, truncated = seen.read or self.note_logits(
            view.text, self._read_by_rules(view, found), self._shared_pieces(tagged)
        )
        beliefs = self.beliefs(logits)
        if self._rules is None:
            affirmed = self._of_whole_note(beliefs) if windows else ()  # of a topic, too
            return NoteResult(affirmed, windows=windows, truncated=truncated)
        mentions = self._weighed(view.text, found, beliefs)
        decides = self.settings.decides
        doubted = {name for name, one in beliefs.items() if decides.get(name) == "model" and not one.affirms}
        return self._result(mentions, windows, truncated or tagged.cut, most, doubted)

    def _mentions_of(self, view: View, spans: Sequence[Mention], most: int) -> list[Sourced]:
        """What rules and a tagger's spans mention in a note, by start.

        Rules, where there are any, read what each span asserts; what no form names, `load_link` may.
        """
        if self._rules is None:
            return by_tagger(spans)
        found = sourced(self._rules.mentions_of(view, most, spans))
        if not spans or self._link is None:
            return found
        return [self._named(view.text, one) if one.source == "model" else one for one in found]

    def _named(self, text: str, one: Sourced) -> Sourced:
        start, end = one.mention.start, one.mention.end
        named = self._link and self._link(text[start:end])
        if named is None or (self._rules and named in self._rules.meant_otherwise(text, start, end)):
            return one
        return replace(one, mention=replace(one.mention, symptom=named))

    def mentions_in(self, text: str) -> list[Sourced]:
        """What rules and a tagger's spans mention in a note, by start; no model of whole notes is asked.

        Nothing where the artifact has no rules. Offsets count the characters of what its reader sees, where
        the note is in a markup.
        """
        if self._rules is None:
            return []
        view = read_view(text)
        return self._mentions_of(view, find_spans(self._tagger, view.text, None).spans, MENTIONS_MOST)

    def _weighed(self, text: str, found: Sequence[Sourced], beliefs: Mapping[str, Belief]) -> list[Sourced]:
        """What the note mentions, by start: what was `found`, with what the model says of it.

        Where the artifact has evidence for a symptom that the model affirms, its words are a mention of it.
        """
        weighed = weigh(found, beliefs, doubts=self._tagger is None)
        told = self._evidence.read(text, weighed, beliefs)
        return sorted(told, key=lambda one: (one.mention.start, one.mention.end))

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

    def note_logits(
        self, text: str, mentions: Sequence[Mention] | None = None, pieces: Pieces | None = None
    ) -> tuple[NDArray[np.float32], int, bool]:
        """Logits `(K,)` of a note, how many windows they come from, and whether text is left unread.

        Args:
            text: of the note.
            mentions: what rules found in it, where the artifact fuses them with its model; None to look.
            pieces: as in `Runtime.windows_of`.
        """
        read = self.model.windows_of(text, pieces)
        logits = pooled_logits(read.windows, self.model.logits_of)
        if self.settings.fusion is not None:
            logits = self.model.fuse(
                logits, self._read_by_rules(View(text)) if mentions is None else mentions
            )
        return logits, sum(len(one) > 0 for one in read.windows), not read.complete

    def _read_by_rules(self, view: View, found: Sequence[Sourced] | None = None) -> Sequence[Mention]:
        """The mentions that a fusion weighs, by the rules alone as when it was fitted.

        Args:
            view: the note.
            found: what rules and a tagger mention in it, where they were asked already.
        """
        if self._rules is None:
            return self.model.mentions_in(view)
        if found is not None and self._tagger is None:
            return [one.mention for one in found]
        fusion = self.settings.fusion
        return self._rules.mentions_of(view, MENTIONS_MOST, only=None if fusion is None else fusion.weighed)

    def beliefs(self, logits: NDArray[np.float32]) -> dict[str, Belief]:
        """What the model says of each symptom of a note with these logits `(K,)`."""
        settings = self.settings
        probabilities = self.model.probabilities(logits)
        affirms = task_of(settings.task).affirmed(probabilities, settings.thresholds)
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


@dataclass(frozen=True)
class _Seen:
    """A note, what a tagger found in it, and logits of the whole as `Extractor.note_logits` gives them.

    `read` is None where no model reads whole notes, or rules are fused with it.
    """

    view: View
    tagged: Tagged
    read: tuple[NDArray[np.float32], int, bool] | None = None


def _groups(texts: Iterable[str], most: int = _TOGETHER_NOTES) -> Iterator[list[str]]:
    """Texts that are read together: `most` or fewer, and of a bounded length, so that memory is."""
    group: list[str] = []
    characters = 0
    for text in texts:
        group.append(text)
        characters += len(text)
        if len(group) == most or characters >= _TOGETHER_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def _tried(read: Callable[..., _Read], *given: Any) -> _Read | SympressError:
    """What `read` returns of one note, or why it cannot: whatever happens to one, the others go on."""
    try:
        return read(*given)
    except SympressError as error:  # of ours, so without the note's words
        return error
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        short = isinstance(error, MemoryError)
        why = "not enough memory for this note" if short else f"the model failed ({type(error).__name__})"
        failure = SympressError(why)
        failure.__cause__ = error
        return failure


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


def _check_settings(threads: int, on_error: str) -> None:
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise InputError(f"threads {threads!r}: give a whole number from 1")
    if on_error not in get_args(OnError):
        raise InputError(f"on_error {on_error!r}: give 'record' or 'raise'")


def _each_text(notes: Any) -> Iterator[str]:
    """The texts of what a caller gave for notes.

    Raises:
        InputError: it is no collection of texts, such as a DataFrame, whose names of columns are.
    """
    if isinstance(notes, Mapping | bytes | bytearray) or hasattr(notes, "columns"):
        raise InputError(f"notes are a {type(notes).__name__}; give a text, a list of texts, or one column")
    if not isinstance(notes, Iterable):
        raise InputError(f"notes are {type(notes).__name__}; give a text or a list of texts")
    for at, text in enumerate(notes):
        if not isinstance(text, str):
            raise InputError(f"note {at} is {type(text).__name__}, not text; give str")
        yield text
