"""Notes as word-piece ids, batched with no more padding than the longest note of a batch needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class EncodedNotes:
    """Word-piece ids a note, special tokens included; `truncated` notes were longer than the limit."""

    ids: tuple[NDArray[np.int64], ...]
    truncated: int

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens a note, shape `(notes,)`."""
        return np.array([len(note) for note in self.ids], dtype=np.int64)


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> EncodedNotes:
    """Tokenize `texts`, keeping at most `max_tokens` word pieces of each (special tokens included)."""
    if not texts:
        return EncodedNotes((), 0)
    whole = tokenizer(list(texts), return_attention_mask=False, verbose=False)["input_ids"]
    long = [row for row, note in enumerate(whole) if len(note) > max_tokens]
    if long:
        cut = tokenizer(
            [texts[row] for row in long],
            return_attention_mask=False,
            truncation=True,
            max_length=max_tokens,
        )["input_ids"]
        for row, note in zip(long, cut, strict=True):
            whole[row] = note
    return EncodedNotes(tuple(np.array(note, dtype=np.int64) for note in whole), len(long))


class NoteDataset(Dataset[dict[str, Tensor]]):
    """Encoded notes with their targets `(K,)` and, for distillation, the teacher's logits `(K,)`.

    `labelled` `(notes,)` is False for notes whose targets mean nothing: those that only the teacher judged.
    """

    def __init__(
        self,
        notes: EncodedNotes,
        targets: NDArray[np.uint8],
        teacher_logits: NDArray[np.float32] | None = None,
        labelled: NDArray[np.bool_] | None = None,
    ) -> None:
        self.notes = notes
        self.targets = torch.from_numpy(targets.astype(np.float32))
        self.teacher_logits = None if teacher_logits is None else torch.from_numpy(teacher_logits)
        self.labelled = None if labelled is None else torch.from_numpy(labelled.astype(np.float32))

    def __len__(self) -> int:
        return len(self.notes.ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        item = {"input_ids": torch.from_numpy(self.notes.ids[index]), "labels": self.targets[index]}
        if self.teacher_logits is not None:
            item["teacher_logits"] = self.teacher_logits[index]
        if self.labelled is not None:
            item["labelled"] = self.labelled[index]
        return item

    def with_teacher(self, logits: NDArray[np.float32]) -> NoteDataset:
        """The same notes, with teacher logits `(notes, K)` to imitate."""
        return NoteDataset(self.notes, self.targets.numpy().astype(np.uint8), logits)


@dataclass(frozen=True)
class Collate:
    """Stack items into a batch padded to its longest note."""

    pad_id: int

    def __call__(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask` `(batch, tokens)` and whatever else the notes carry."""
        ids = [item["input_ids"] for item in items]
        batch = {
            "input_ids": torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=self.pad_id),
            "attention_mask": torch.nn.utils.rnn.pad_sequence(
                [torch.ones_like(note) for note in ids], batch_first=True
            ),
        }
        for key in ("labels", "teacher_logits", "labelled"):
            if key in items[0]:
                batch[key] = torch.stack([item[key] for item in items])
        return batch


class LengthGroupedSampler(Sampler[int]):
    """Shuffled order in which notes of like length stand together; a function of seed and epoch alone.

    The order of transformers' own sampler depends on the global random state, so a run that was killed
    and resumed would see other batches than one that was not.
    """

    def __init__(self, lengths: NDArray[np.int64], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of epoch `epoch` (accelerate calls this)."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.lengths))
        pool = self.batch_size * 50
        batches: list[NDArray[np.int64]] = []
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            part = part[np.argsort(-self.lengths[part], kind="stable")]
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        full = [batch for batch in batches if len(batch) == self.batch_size]
        ragged = [batch for batch in batches if len(batch) != self.batch_size]  # only the last one
        for index in generator.permutation(len(full)):
            yield from (int(note) for note in full[index])
        for batch in ragged:
            yield from (int(note) for note in batch)
