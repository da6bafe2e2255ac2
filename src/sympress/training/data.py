"""Notes as batches of word-piece ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset, Sampler
from transformers import PreTrainedTokenizerBase

from sympress.training.losses import IGNORED

# Notes as word-piece ids, batched with no more padding than the longest note of a batch needs.


#: Notes that are tokenized at once: of each the tokenizer keeps some 150 bytes a piece until all are done.
NOTES_AT_ONCE = 256


@dataclass(frozen=True)
class EncodedNotes:
    """Word-piece ids a note, special tokens included.

    Attributes:
        ids: `(tokens,)` of each note.
        truncated: how many notes were longer than the limit.
    """

    ids: tuple[NDArray[np.int64], ...]
    truncated: int

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens a note, shape `(notes,)`."""
        return np.array([len(note) for note in self.ids], dtype=np.int64)


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> EncodedNotes:
    """Tokenize `texts`, keeping at most `max_tokens` word pieces of each (special tokens included)."""
    ids: list[NDArray[np.int64]] = []
    truncated = 0
    for start in range(0, len(texts), NOTES_AT_ONCE):
        part = list(texts[start : start + NOTES_AT_ONCE])
        whole = tokenizer(part, return_attention_mask=False, verbose=False)["input_ids"]
        long = [row for row, note in enumerate(whole) if len(note) > max_tokens]
        truncated += len(long)
        if long:
            cut = tokenizer(
                [part[row] for row in long],
                return_attention_mask=False,
                truncation=True,
                max_length=max_tokens,
            )["input_ids"]
            for row, note in zip(long, cut, strict=True):
                whole[row] = note
        ids += [np.array(note, dtype=np.int64) for note in whole]
    return EncodedNotes(tuple(ids), truncated)


class NoteDataset(Dataset[dict[str, Tensor]]):
    """Encoded notes with their targets `(K,)` and, for distillation, the teacher's logits `(K,)`.

    Of the task `mentions` the notes are windows; a window's targets are `(its tokens,)` indices of tags (or
    `losses.IGNORED`) and its logits `(its tokens, tags)`.
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
        self._ends = np.concatenate([[0], np.cumsum(notes.lengths, dtype=np.int64)])

    def __len__(self) -> int:
        return len(self.notes.ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        own = slice(self._ends[index], self._ends[index + 1]) if self.per_token else index
        item = {"input_ids": torch.from_numpy(self.notes.ids[index]), "labels": self.targets[own]}
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
        """Read the notes as of `epoch`; returns the tokens of each item. Only windows of spans change."""
        del seed, epoch
        return self.notes.lengths

    def with_teacher(self, logits: NDArray[np.float32]) -> NoteDataset:
        """The same notes, with teacher logits to imitate."""
        weights = None if self.weights is None else self.weights.numpy()
        return NoteDataset(self.notes, self.targets.numpy().astype(np.int64), logits, weights=weights)


def blank_targets(notes: EncodedNotes, *, outputs: int, per_token: bool) -> NDArray[np.int64]:
    """Targets of notes that have none: all 0, of the shape that `NoteDataset` wants."""
    shape = (int(notes.lengths.sum()),) if per_token else (len(notes.ids), outputs)
    return np.zeros(shape, dtype=np.int64)


#: What fills a batch up to its longest note, by what it fills.
_PADDING: dict[str, float] = {"labels": IGNORED, "kinds": IGNORED, "teacher_logits": 0.0}


@dataclass(frozen=True)
class Collate:
    """Stack items into a batch padded to its longest note."""

    pad_id: int

    def __call__(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask` `(batch, tokens)` and whatever else the notes carry.

        What stands beside each token is padded: targets by `losses.IGNORED`, the teacher's logits by 0.
        """
        ids = [item["input_ids"] for item in items]
        batch = {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad_id),
            "attention_mask": pad_sequence([torch.ones_like(note) for note in ids], batch_first=True),
        }
        for key in ("labels", "kinds", "teacher_logits", "labelled", "weights"):
            if key in items[0]:
                batch[key] = self._join([item[key] for item in items], items, key)
        return batch

    @staticmethod
    def _join(values: list[Tensor], items: list[dict[str, Tensor]], key: str) -> Tensor:
        per_token = key in _PADDING and items[0]["labels"].dtype == torch.int64
        if per_token:
            return pad_sequence(values, batch_first=True, padding_value=_PADDING[key])
        return torch.stack(values)


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
