"""Notes as windows of word-piece ids, in batches, and the logits of windows as those of notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, Sampler
from transformers import PreTrainedTokenizerBase

from sympress.errors import InputError
from sympress.runtime.tokens import SEGMENT_CHARACTERS, SpecialTokens, pieces_of, window_spans
from sympress.training.losses import IGNORED

# Notes as word-piece ids: cut off at a limit, or whole, as overlapping windows.


#: Notes, and characters of them, that are tokenized at once: of each piece the tokenizer keeps some 150 bytes
#: until all are done.
NOTES_AT_ONCE = 256
CHARACTERS_AT_ONCE = 8 * SEGMENT_CHARACTERS
#: Windows that a model trains on at once: what a batch has more of is run in several parts.
WINDOWS_AT_ONCE = 32


@dataclass(frozen=True)
class EncodedNotes:
    """Notes in word-piece ids, special tokens included: of each note one window, or several.

    Attributes:
        ids: `(tokens,)` of each window; those of a note stand together, in its order.
        truncated: how many notes are longer than what their windows hold.
        counts: windows of each note; None for one each.
    """

    ids: tuple[NDArray[np.int64], ...]
    truncated: int
    counts: tuple[int, ...] | None = None

    def __len__(self) -> int:
        """How many notes."""
        return len(self.ids) if self.counts is None else len(self.counts)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each window, shape `(windows,)`."""
        return np.array([len(window) for window in self.ids], dtype=np.int64)

    @property
    def ends(self) -> NDArray[np.int64]:
        """Where the windows of each note begin, and behind the last note `(notes + 1,)`."""
        counts = np.ones(len(self.ids), dtype=np.int64) if self.counts is None else np.array(self.counts)
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Tokens of each note in all its windows, `(notes,)`."""
        if self.counts is None:
            return self.lengths
        return np.diff(np.concatenate([[0], np.cumsum(self.lengths)])[self.ends])

    def part(self, start: int, stop: int) -> EncodedNotes:
        """The notes from `start` to before `stop`; how many of them are cut off is not known."""
        ends = self.ends[start : stop + 1]
        ids = self.ids[int(ends[0]) : int(ends[-1])]
        return EncodedNotes(ids, 0, None if self.counts is None else self.counts[start:stop])

    def pool(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits `(notes, K)` from those of the windows `(windows, K)`: the largest of each symptom."""
        if self.counts is None or not self.counts:
            return logits
        pooled: NDArray[np.float32] = np.maximum.reduceat(logits, self.ends[:-1], axis=0)
        return pooled


def joined_notes(parts: Sequence[EncodedNotes]) -> EncodedNotes:
    """The notes of all `parts`, in order."""
    ids = tuple(window for part in parts for window in part.ids)
    counts = None
    if any(part.counts is not None for part in parts):
        counts = tuple(count for part in parts for count in np.diff(part.ends).tolist())
    return EncodedNotes(ids, sum(part.truncated for part in parts), counts)


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> EncodedNotes:
    """Tokenize `texts`, keeping at most the first `max_tokens` word pieces of each (special tokens included).

    Args:
        tokenizer: a fast one.
        texts: as the model sees them.
        max_tokens: room for at least one piece.

    Raises:
        InputError: as `window_tokenizer`.
    """
    return encode_windows(tokenizer, texts, max_tokens, 1, most=1)


def encode_windows(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    max_tokens: int,
    stride: int,
    *,
    most: int | None = None,
) -> EncodedNotes:
    """Cut `texts` into windows as the deployed runtime does.

    Args:
        tokenizer: a fast one.
        texts: as the model sees them.
        max_tokens: word pieces a window, special tokens included.
        stride: pieces from the start of a window to that of the next.
        most: windows of a note that are kept, the first ones; None for all. Notes that have more count as
            truncated.

    Raises:
        InputError: as `window_tokenizer`.
    """
    backend, specials, room = window_tokenizer(tokenizer, max_tokens, stride)
    limit = None if most is None else room + (most - 1) * stride
    windows: list[NDArray[np.int64]] = []
    counts: list[int] = []
    truncated = 0
    for pieces, complete in _pieces_of_each(backend, texts, limit):
        spans = window_spans(len(pieces), room, stride)
        windows += [specials.surround(pieces[start:end]) for start, end in spans]
        counts.append(len(spans))
        truncated += not complete
    return EncodedNotes(tuple(windows), truncated, tuple(counts) if max(counts, default=1) > 1 else None)


def window_tokenizer(
    tokenizer: PreTrainedTokenizerBase, max_tokens: int, stride: int
) -> tuple[Tokenizer, SpecialTokens, int]:
    """What cuts notes into windows: a tokenizer of its own, the special tokens, the pieces between them.

    Raises:
        InputError: the tokenizer has no tokenizer.json, or a window has no room.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(f"{type(tokenizer).__name__} tells no offsets; windows need a fast tokenizer")
    fresh = Tokenizer.from_str(backend.to_str())  # transformers leaves truncation and padding set
    fresh.no_truncation()
    fresh.no_padding()
    specials = SpecialTokens.of(fresh)
    room = max_tokens - specials.count
    if not 1 <= stride <= room:
        raise InputError(
            f"stride {stride} of windows of {max_tokens} tokens: give 1 to {room}, or more tokens"
        )
    return fresh, specials, room


def default_stride(max_tokens: int) -> int:
    """Three quarters of a window, special tokens aside: each piece sees an eighth of one on both sides."""
    return max(1, (max_tokens - 2) * 3 // 4)


def _pieces_of_each(
    tokenizer: Tokenizer, texts: Sequence[str], limit: int | None
) -> Iterator[tuple[NDArray[np.int64], bool]]:
    """The first `limit` pieces of each text, and whether they are all; many short texts at once."""
    for part in _parts(texts):
        short = [row for row, text in enumerate(part) if len(text) <= SEGMENT_CHARACTERS]
        encoded = tokenizer.encode_batch_fast([part[row] for row in short], add_special_tokens=False)
        known = {row: np.array(one.ids, dtype=np.int64) for row, one in zip(short, encoded, strict=True)}
        del encoded
        for row, text in enumerate(part):
            if row not in known:
                pieces = pieces_of(tokenizer, text, offsets=False, limit=limit)
                yield pieces.ids, pieces.complete
            else:
                yield known[row][:limit], limit is None or len(known[row]) <= limit


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """`texts` in their order, as many at once as the two limits allow; a longer one alone."""
    start, characters = 0, 0
    for at, text in enumerate(texts):
        if at - start == NOTES_AT_ONCE or (at > start and characters + len(text) > CHARACTERS_AT_ONCE):
            yield texts[start:at]
            start, characters = at, 0
        characters += len(text)
    if start < len(texts):
        yield texts[start:]


# Items of a training, batched with no more padding than the longest window of a batch needs.


class NoteDataset(Dataset[dict[str, Tensor]]):
    """Encoded notes with their targets `(K,)` and, for distillation, the teacher's logits `(K,)`.

    An item is a note with all its windows. Of the task `mentions` each window is a note of its own: its
    targets are `(its tokens,)` indices of tags (or `losses.IGNORED`) and its logits `(its tokens, tags)`.
    """

    def __init__(
        self,
        notes: EncodedNotes,
        targets: NDArray[np.integer[Any]],
        teacher_logits: NDArray[np.float32] | None = None,
        labelled: NDArray[np.bool_] | None = None,
        *,
        weights: NDArray[np.float32] | None = None,
        kinds: NDArray[np.int64] | None = None,
    ) -> None:
        """Hold the notes.

        Args:
            notes: word pieces.
            targets: `(notes, K)` of 0 and 1, or of all tokens of all notes one behind the other, `(tokens,)`.
            teacher_logits: `(notes, K)`, or `(tokens, tags)`.
            labelled: `(notes,)`, False where targets mean nothing: only the teacher judged that note.
            weights: `(notes,)`, what each note's label loss is multiplied by.
            kinds: `(tokens,)`, further targets of each token (`training.kinds`).
        """
        self.notes = notes
        self.per_token = targets.ndim == 1
        kind = np.int64 if self.per_token else np.float32
        self.targets = torch.from_numpy(targets.astype(kind))
        self.teacher_logits = None if teacher_logits is None else torch.from_numpy(teacher_logits)
        self.labelled = None if labelled is None else torch.from_numpy(labelled.astype(np.float32))
        self.weights = None if weights is None else torch.from_numpy(weights.astype(np.float32))
        self.kinds = None if kinds is None else torch.from_numpy(kinds)
        self._windows = notes.ends
        self._ends = np.concatenate([[0], np.cumsum(notes.tokens, dtype=np.int64)])

    def __len__(self) -> int:
        return len(self.notes)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        own = slice(self._ends[index], self._ends[index + 1]) if self.per_token else index
        windows = self.notes.ids[self._windows[index] : self._windows[index + 1]]
        ids = windows[0] if len(windows) == 1 else np.concatenate(windows)
        item = {"input_ids": torch.from_numpy(ids), "labels": self.targets[own]}
        if len(windows) > 1:
            item["window_lengths"] = torch.tensor([len(window) for window in windows])
        if self.teacher_logits is not None:
            item["teacher_logits"] = self.teacher_logits[own]
        if self.labelled is not None:
            item["labelled"] = self.labelled[index]
        if self.weights is not None:
            item["weights"] = self.weights[index]
        if self.kinds is not None:
            item["kinds"] = self.kinds[own]
        return item

    def move(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Read the notes as of `epoch`; returns the tokens of each note. Only windows of spans change."""
        del seed, epoch
        return self.notes.tokens


def blank_targets(notes: EncodedNotes, *, outputs: int, per_token: bool) -> NDArray[np.int64]:
    """Targets of notes that have none: all 0, of the shape that `NoteDataset` wants."""
    shape = (int(notes.lengths.sum()),) if per_token else (len(notes), outputs)
    return np.zeros(shape, dtype=np.int64)


#: What fills a batch up to its longest window, by what it fills.
_PADDING: dict[str, float] = {"labels": IGNORED, "kinds": IGNORED, "teacher_logits": 0.0}


@dataclass(frozen=True)
class Collate:
    """Stack items into a batch padded to its longest window."""

    pad_id: int

    def __call__(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask` `(windows, tokens)` and whatever else the notes carry.

        Where a note has several windows, `owners` `(windows,)` has the place of each window's note in the
        batch. What stands beside each token is padded: targets by `losses.IGNORED`, teachers' logits by 0.
        """
        windows = [_windows_of(item) for item in items]
        batch = self.pad([window for own in windows for window in own])
        if len(batch["input_ids"]) > len(items):
            counts = torch.tensor([len(own) for own in windows])
            batch["owners"] = torch.arange(len(items)).repeat_interleave(counts)
        per_token = items[0]["labels"].dtype == torch.int64
        for key in ("labels", "kinds", "teacher_logits", "labelled", "weights"):
            if key in items[0]:
                values = [item[key] for item in items]
                padded = per_token and key in _PADDING
                batch[key] = (
                    pad_sequence(values, batch_first=True, padding_value=_PADDING[key])
                    if padded
                    else torch.stack(values)
                )
        return batch

    def pad(self, windows: Sequence[Tensor]) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask` `(windows, tokens)` of word-piece ids `(tokens,)` each."""
        return {
            "input_ids": pad_sequence(list(windows), batch_first=True, padding_value=self.pad_id),
            "attention_mask": pad_sequence([torch.ones_like(one) for one in windows], batch_first=True),
        }


def _windows_of(item: dict[str, Tensor]) -> tuple[Tensor, ...]:
    lengths = item.get("window_lengths")
    return (item["input_ids"],) if lengths is None else item["input_ids"].split(lengths.tolist())


# Logits of a batch's notes, whose windows were answered one by one.


#: What of a batch there is for each window; the rest there is for each note.
_OF_WINDOWS = ("input_ids", "attention_mask", "owners")


def note_logits(model: Callable[..., Tensor], batch: dict[str, Tensor]) -> Tensor:
    """Logits `(notes, K)` of a batch's notes, or `(windows, tokens, tags)` of a model of spans."""
    return pool_windows(model(batch["input_ids"], batch["attention_mask"]), batch)


def pool_windows(logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Logits `(notes, K)` from those of the windows of `batch`, `(windows, K)`.

    A symptom's logit is its largest over the windows, as in extraction: a note affirms what one of its parts
    affirms (multiple-instance learning with the maximum; Dietterich et al. 1997).
    """
    owners = batch.get("owners")
    if owners is None:
        return logits
    lowest = logits.new_full((int(owners[-1]) + 1, logits.shape[-1]), -torch.inf)
    places = owners[:, None].expand_as(logits)
    return lowest.scatter_reduce(0, places, logits, "amax", include_self=False)


def notes_in(batch: dict[str, Tensor]) -> int:
    """How many notes a batch holds."""
    owners = batch.get("owners")
    return len(batch["input_ids"]) if owners is None else int(owners[-1]) + 1


def take_notes(batch: dict[str, Tensor], first: int, last: int) -> dict[str, Tensor]:
    """The notes of `batch` from `first` to before `last`, with their windows; padded as they were."""
    owners = batch.get("owners")
    if owners is None:
        return {name: value[first:last] for name, value in batch.items()}
    own = (owners >= first) & (owners < last)
    part = {name: value[own] if name in _OF_WINDOWS else value[first:last] for name, value in batch.items()}
    return part | {"owners": part["owners"] - first}


def split_batch(batch: dict[str, Tensor], most: int) -> list[dict[str, Tensor]]:
    """`batch` in parts of whole notes with at most `most` windows each, or of one note."""
    owners = batch.get("owners")
    if owners is None or len(owners) <= most:
        return [batch]
    counts = torch.bincount(owners).tolist()
    starts, held = [0], 0
    for place, count in enumerate(counts):
        if held and held + count > most:
            starts.append(place)
            held = 0
        held += count
    return [take_notes(batch, *span) for span in zip(starts, [*starts[1:], len(counts)], strict=True)]


class LengthGroupedSampler(Sampler[int]):
    """Shuffled order in which notes of like length stand together; a function of seed and epoch alone.

    The order of transformers' own sampler depends on the global random state, so a run that was killed
    and resumed would see other batches than one that was not.
    """

    def __init__(self, notes: NoteDataset, batch_size: int, seed: int) -> None:
        self.notes, self.batch_size, self.seed, self.epoch = notes, batch_size, seed, 0

    def __len__(self) -> int:
        return len(self.notes)

    def set_epoch(self, epoch: int) -> None:
        """Choose order and windows of epoch `epoch` (accelerate calls this)."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        lengths = self.notes.move(self.seed, self.epoch)
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(lengths))
        pool = self.batch_size * 50
        batches: list[NDArray[np.int64]] = []
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            part = part[np.argsort(-lengths[part], kind="stable")]
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        full = [batch for batch in batches if len(batch) == self.batch_size]
        ragged = [batch for batch in batches if len(batch) != self.batch_size]  # only the last one
        for index in generator.permutation(len(full)):
            yield from (int(note) for note in full[index])
        for batch in ragged:
            yield from (int(note) for note in batch)
