"""Notes as overlapping windows with a tag for each word piece, and a second head for what else was marked."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from sympress.errors import InputError
from sympress.labels.mentions import AnnotatedNote, Mention
from sympress.labels.task import Task
from sympress.models.model import SymptomModel
from sympress.runtime.tokens import (
    Pieces,
    SpecialTokens,
    classes_of,
    decode_at_biases,
    decode_mentions,
    merge_windows,
    pieces_of,
    window_spans,
    word_starts,
)
from sympress.training.data import EncodedNotes, NoteDataset, window_tokenizer
from sympress.training.epochs import Scorer
from sympress.training.losses import IGNORED, loss_of

# Notes as overlapping windows of word pieces, with a tag for each piece; windows back into whole notes.


#: What `span_bias` is chosen from, on validation notes.
BIASES = tuple(float(step) for step in np.arange(-1.0, 2.01, 0.25))

Gold = Sequence[Sequence[Mention]]


@dataclass(frozen=True)
class Windows:
    """Some notes, cut.

    Attributes:
        texts: the notes, as the model sees them.
        pieces: word pieces of each note, without special tokens.
        notes: the windows as word-piece ids, special tokens included; those of a note stand together.
        spans: for each note the first and past-last piece of each of its windows.
        specials: tokens around each window.
        room: the most word pieces of a window, special tokens aside.
    """

    texts: tuple[str, ...]
    pieces: tuple[Pieces, ...]
    notes: EncodedNotes
    spans: tuple[tuple[tuple[int, int], ...], ...]
    specials: SpecialTokens
    room: int

    @property
    def before(self) -> int:
        """Special tokens in front of each window."""
        return len(self.specials.before)

    @property
    def owners(self) -> NDArray[np.int64]:
        """The place of each window's note among the notes, `(windows,)`."""
        return np.repeat(np.arange(len(self.texts)), [len(spans) for spans in self.spans])

    def cut_at(self, spans: Sequence[Sequence[tuple[int, int]]]) -> Windows:
        """The same notes in other windows, those of each note given by first and past-last piece."""
        ids = tuple(
            self.specials.surround(own.ids[start:end])
            for own, cuts in zip(self.pieces, spans, strict=True)
            for start, end in cuts
        )
        return replace(self, notes=EncodedNotes(ids, 0), spans=tuple(map(tuple, spans)))

    def __add__(self, others: Windows) -> Windows:
        """These notes, then the others', which the same tokenizer cut."""
        ids = (*self.notes.ids, *others.notes.ids)
        return replace(
            self,
            texts=self.texts + others.texts,
            pieces=self.pieces + others.pieces,
            notes=EncodedNotes(ids, 0),
            spans=self.spans + others.spans,
        )


def cut_windows(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int, stride: int
) -> Windows:
    """Cut `texts` into windows as the deployed runtime does.

    Args:
        tokenizer: a fast one.
        texts: as the model sees them.
        max_tokens: word pieces a window, special tokens included.
        stride: pieces from the start of a window to that of the next.

    Raises:
        InputError: as `window_tokenizer`.
    """
    fresh, specials, room = window_tokenizer(tokenizer, max_tokens, stride)
    pieces = tuple(pieces_of(fresh, text, offsets=True) for text in texts)
    uncut = Windows(tuple(texts), pieces, EncodedNotes((), 0), (), specials, room)
    return uncut.cut_at([window_spans(len(own.ids), room, stride) for own in pieces])


def classes_in(notes: Gold, task: Task) -> tuple[str, ...]:
    """The classes of spans that `notes` hold, in the order of `task`; its first always."""
    held = {mention.assertion for mentions in notes for mention in mentions} | {task.classes[0]}
    return tuple(one for one in task.classes if one in held)


def piece_tags(
    text: str, pieces: Pieces, mentions: Sequence[Mention], tags: Sequence[str]
) -> NDArray[np.int64]:
    """The tag of each piece `(pieces,)`, as an index into `tags`.

    A word that a mention touches belongs to it whole. Of mentions that share a word the longest has it, of
    equals the first.

    Raises:
        InputError: a mention has an assertion that `tags` do not mark.
    """
    known = classes_of(tags)
    spans = []
    for mention in mentions:
        if mention.assertion not in known:
            raise InputError(f"a mention is {mention.assertion!r}; the tags mark {', '.join(known)} alone")
        spans.append((mention.start, mention.end, known.index(mention.assertion)))
    return mark_pieces(text, pieces, spans)


def mark_pieces(text: str, pieces: Pieces, spans: Sequence[tuple[int, int, int]]) -> NDArray[np.int64]:
    """0 for a piece outside, `1 + 2c` where a span of class c begins, `2 + 2c` inside; `(pieces,)`.

    Spans are start, end and class; words and shared words as in `piece_tags`.
    """
    begins = word_starts(text, pieces.starts, pieces.ends)
    word = np.cumsum(begins) - 1
    found = np.zeros(len(begins), dtype=np.int64)
    for first, last, kind in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):
        touched = np.flatnonzero((pieces.starts < last) & (pieces.ends > first))
        if not len(touched):
            continue
        own = np.flatnonzero((word >= word[touched[0]]) & (word <= word[touched[-1]]))
        if found[own].any():
            continue
        found[own] = 2 + 2 * kind
        found[own[0]] = 1 + 2 * kind
    return found


def note_tags(windows: Windows, mentions: Gold, tags: Sequence[str]) -> list[NDArray[np.int64]]:
    """The index of a tag for each piece of each whole note, `(pieces,)` each."""
    return [
        piece_tags(text, pieces, own, tags)
        for text, pieces, own in zip(windows.texts, windows.pieces, mentions, strict=True)
    ]


def window_targets(windows: Windows, mentions: Gold, tags: Sequence[str]) -> NDArray[np.int64]:
    """Targets `(tokens of all windows,)`: the index of a tag, or `IGNORED` for special tokens."""
    return spread_targets(windows, note_tags(windows, mentions, tags))


def spread_targets(windows: Windows, notes: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The same from the tags of whole notes, `(pieces,)` each."""
    return _spread(windows, notes, np.int64(IGNORED))


def spread_logits(windows: Windows, notes: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Logits `(tokens of all windows, tags)` from those of whole notes, `(pieces, tags)` each.

    Special tokens get zeros.
    """
    return _spread(windows, notes, np.float32(0))


def _spread(windows: Windows, notes: Sequence[NDArray[Any]], filling: Any) -> NDArray[Any]:
    """What belongs to the pieces of all windows, one behind the other; `filling` for special tokens."""
    parts = [
        whole[start:end] for whole, spans in zip(notes, windows.spans, strict=True) for start, end in spans
    ]
    shape = (int(windows.notes.lengths.sum()), *parts[0].shape[1:]) if parts else (0,)
    flat = np.full(shape, filling)
    at = windows.before
    for length, part in zip(windows.notes.lengths.tolist(), parts, strict=True):
        flat[at : at + len(part)] = part
        at += length
    return flat


class MovingWindows(NoteDataset):
    """Notes that are read in other windows at every epoch, so that no span is cut each time.

    Windows lie side by side. Where a note that needs several is cut is drawn anew by `move`, a function of
    seed and epoch alone; it has as many windows at every epoch, one more than it needs.

    Attributes:
        windows: the notes as they are cut now.
    """

    def __init__(
        self,
        windows: Windows,
        tags: Sequence[NDArray[np.int64]],
        *,
        kinds: Sequence[NDArray[np.int64]] | None = None,
        teacher_logits: Sequence[NDArray[np.float32]] | None = None,
        labelled: NDArray[np.bool_] | None = None,
        weights: NDArray[np.float32] | None = None,
    ) -> None:
        """Hold whole notes; of each what belongs to its pieces, or to all of it.

        Args:
            windows: the notes, cut in any way.
            tags: `(pieces,)` of each note, as of `note_tags`.
            kinds: `(pieces,)` of each note, further targets.
            teacher_logits: `(pieces, tags)` of each note.
            labelled: `(notes,)`, False where tags mean nothing.
            weights: `(notes,)`, what each note's label loss is multiplied by.
        """
        self.windows, self._tags, self._kinds = windows, tags, kinds
        self._logits, self._labelled, self._weights = teacher_logits, labelled, weights
        self._cut(None)

    def move(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Cut all notes anew; returns the tokens of each window."""
        self._cut(np.random.default_rng((seed, epoch)))
        return self.notes.lengths

    def _cut(self, rng: np.random.Generator | None) -> None:
        room, notes = self.windows.room, self.windows.pieces
        self.windows = cut = self.windows.cut_at([moved_spans(len(own.ids), room, rng) for own in notes])
        owners = cut.owners
        super().__init__(
            cut.notes,
            spread_targets(cut, self._tags),
            None if self._logits is None else spread_logits(cut, self._logits),
            None if self._labelled is None else self._labelled[owners],
            weights=None if self._weights is None else self._weights[owners],
            kinds=None if self._kinds is None else spread_targets(cut, self._kinds),
        )


def moved_spans(pieces: int, room: int, rng: np.random.Generator | None) -> list[tuple[int, int]]:
    """Cut `pieces` word pieces into windows side by side, the first of them of any length up to `room`.

    Returns:
        One window where all fit into it, else one more than are needed.
    """
    if pieces <= room:
        return [(0, pieces)]
    first = room if rng is None else int(rng.integers(1, room + 1))
    edges = [0, *range(first, pieces, room), pieces]
    if len(edges) <= -(-pieces // room) + 1:  # the first cut fell so that none was left over
        widths = np.diff(edges)
        longest = int(widths.argmax())
        edges.insert(longest + 1, edges[longest] + int(widths[longest]) // 2)
    return list(itertools.pairwise(edges))


def gather_logits(windows: Windows, flat: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Logits `(pieces, tags)` of each whole note, from `(tokens of all windows, tags)`."""
    notes, at = [], 0
    lengths = iter(windows.notes.lengths.tolist())
    for pieces, spans in zip(windows.pieces, windows.spans, strict=True):
        rows = []
        for start, end in spans:
            rows.append(flat[at + windows.before : at + windows.before + end - start])
            at += next(lengths)
        notes.append(merge_windows(rows, spans, len(pieces.ids)))
    return notes


def align_logits(logits: NDArray[np.float32], theirs: Pieces, ours: Pieces) -> NDArray[np.float32]:
    """A teacher's logits `(its pieces, tags)` for the pieces that another tokenizer cuts of the same text.

    Each piece takes the logits of the first of the teacher's that shares a character with it. Where it goes
    on with a piece that the teacher read whole, beginning counts as inside.
    """
    if len(theirs.ids) == 0:
        return np.zeros((len(ours.ids), logits.shape[-1]), dtype=np.float32)
    at = np.minimum(np.searchsorted(theirs.ends, ours.starts, side="right"), len(theirs.ids) - 1)
    aligned = logits[at].copy()
    going_on = ours.starts > theirs.starts[at]
    begin, inside = aligned[going_on, 1::2], aligned[going_on, 2::2]
    aligned[going_on, 2::2] = np.logaddexp(begin, inside)
    aligned[going_on, 1::2] = np.minimum(begin, aligned[going_on].min(axis=-1, keepdims=True))
    return aligned


def decode_windows(
    windows: Windows, flat: NDArray[np.float32], tags: Sequence[str]
) -> list[tuple[Mention, ...]]:
    """The mentions of each note, from logits `(tokens of all windows, tags)`."""
    return [
        decode_mentions(logits, pieces.starts, pieces.ends, tags, text)
        for logits, pieces, text in zip(
            gather_logits(windows, flat), windows.pieces, windows.texts, strict=True
        )
    ]


def strict_f1(gold: Gold, found: Gold, *, assertion: bool = True) -> float:
    """Micro-F1 of exact spans, with the right assertion unless `assertion` is False; 0 without any."""

    def keys(mentions: Sequence[Mention]) -> set[tuple[object, ...]]:
        return {(one.start, one.end, one.assertion if assertion else None) for one in mentions}

    pairs = [(keys(wanted), keys(given)) for wanted, given in zip(gold, found, strict=True)]
    both = sum(len(wanted & given) for wanted, given in pairs)
    all_of_them = sum(len(wanted) + len(given) for wanted, given in pairs)
    return 2 * both / all_of_them if all_of_them else 0.0


def choose_span_bias(
    answers: Sequence[tuple[NDArray[np.float32], Pieces, str]], gold: Gold, tags: Sequence[str]
) -> tuple[float, float]:
    """The `span_bias` of `BIASES` with the best `strict_f1` on validation notes, and that F1.

    Of equals the one nearest to 0. Each answer is a note's logits `(pieces, tags)`, pieces and text.
    """
    found = [
        decode_at_biases(logits, pieces.starts, pieces.ends, tags, text, biases=BIASES)
        for logits, pieces, text in answers
    ]
    f1, _, bias = max(
        (strict_f1(gold, [notes[at] for notes in found]), -abs(bias), bias) for at, bias in enumerate(BIASES)
    )
    return bias, f1


def span_scorer(windows: Windows, gold: Gold, tags: Sequence[str]) -> Scorer:
    """A scorer of an epoch: strict F1 of spans and assertions on validation notes."""

    def score(flat: NDArray[np.float32]) -> tuple[float, dict[str, Any]]:
        found = decode_windows(windows, flat, tags)
        strict = strict_f1(gold, found)
        return strict, {"strict_f1": strict, "span_f1": strict_f1(gold, found, assertion=False)}

    return score


# What else people marked, learnt by a second head beside the symptoms.
#
# Corpora of spans mark more than symptoms: of MACCROBAT's 18,642 spans 16,141 name anatomy, tests,
# findings, diseases or drugs. A head that names the kind of every span shares the encoder while it trains
# (Caruana 1997; Collobert & Weston 2008, section 5) and is taken away afterwards, so that it costs nothing
# when the tagger is deployed.


#: A kind that training notes hold less often teaches nothing.
LEAST_SPANS = 20
#: What mentions are called among the kinds.
SYMPTOM = "symptom"


def kinds_of(notes: Sequence[AnnotatedNote]) -> tuple[str, ...]:
    """`SYMPTOM` and the kinds of other spans that `notes` hold often enough, sorted; () if there are none."""
    counts = Counter(other.kind for note in notes for other in note.others)
    often = sorted(kind for kind, count in counts.items() if count >= LEAST_SPANS)
    return (SYMPTOM, *often) if often else ()


def note_kinds(
    windows: Windows, notes: Sequence[AnnotatedNote], kinds: Sequence[str]
) -> list[NDArray[np.int64]]:
    """Targets of each whole note as of `mark_pieces`, `(pieces,)` each.

    A note without other spans was not marked for them (silver labels, another corpus): all of it is ignored.
    """
    place = {kind: index for index, kind in enumerate(kinds)}
    wholes = []
    for text, pieces, note in zip(windows.texts, windows.pieces, notes, strict=True):
        if not note.others:
            wholes.append(np.full(len(pieces.ids), IGNORED, dtype=np.int64))
            continue
        spans = [(one.start, one.end, place[SYMPTOM]) for one in note.mentions]
        spans += [(one.start, one.end, place[one.kind]) for one in note.others if one.kind in place]
        wholes.append(mark_pieces(text, pieces, spans))
    return wholes


def attach_kinds_(model: SymptomModel, kinds: Sequence[str], seed: int) -> None:
    """Give `model` the second head, a function of `seed` alone, as its submodule `kinds`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(int(model.encoder.config.hidden_size), 1 + 2 * len(kinds))
        nn.init.normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
    model.kinds = head.to(next(model.parameters()).device)


def detach_kinds_(model: SymptomModel) -> None:
    """Take the second head away."""
    if "kinds" in model._modules:
        del model.kinds


@dataclass(frozen=True)
class KindsLoss:
    """The loss of the tags and `weight` times that of the kinds, both as `TaskLoss.of_notes` gives them."""

    weight: float

    def __call__(self, model: SymptomModel, batch: dict[str, Tensor]) -> Tensor:
        """The mean over the windows of `batch`, each multiplied by its weight where there are some."""
        mask = batch["attention_mask"]
        states = model.encoder(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
        of_notes = loss_of("mentions").of_notes
        losses = of_notes(model.head(states, mask).float(), batch["labels"])
        named = cast("nn.Linear", model.kinds)(model.head.dropout(states)).float()
        losses = losses + self.weight * of_notes(named, batch["kinds"])
        return (losses * batch["weights"]).mean() if "weights" in batch else losses.mean()
