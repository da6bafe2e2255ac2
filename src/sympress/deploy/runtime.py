"""Run an artifact on notes with ONNX Runtime and the tokenizers library; no torch, no transformers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sympress.deploy.artifact import Extractor, read_extractor
from sympress.deploy.checksums import check_files
from sympress.deploy.kernels import check_kernel, open_session
from sympress.deploy.pieces import Pieces, SpecialTokens, load_tokenizer, pieces_of
from sympress.errors import InputError, is_panic
from sympress.notes.placeholders import mask_placeholders


class Runtime:
    """An artifact in memory. One note at a time needs no padding, so its answer never depends on others."""

    def __init__(self, extractor: Extractor, tokenizer: Tokenizer, session: Any) -> None:
        self.extractor, self.tokenizer, self.session = extractor, tokenizer, session
        self.specials = SpecialTokens.of(tokenizer)
        #: Pieces of a note that a window has room for.
        self.room = max(1, extractor.max_tokens - self.specials.count)
        #: Whether all of a note is read, window by window, or its first window only.
        self.reads_all = extractor.windows == "all" or extractor.task == "mentions"
        #: Pieces from the start of a window to that of the next.
        self.stride = min(self.room, extractor.stride or max(1, self.room // 2))

    @classmethod
    def load(cls, folder: str | Path, *, threads: int = 1) -> Runtime:
        """Load the artifact in `folder` to run on `threads` cores.

        Raises:
            InputError: the folder is no artifact, a file of it is missing, unlisted, changed or damaged, or
                this CPU would multiply its weights wrong.
        """
        folder = Path(folder)
        extractor = read_extractor(folder)
        check_files(folder)
        return cls.of_checked(folder, extractor, threads=threads)

    @classmethod
    def of_checked(cls, folder: Path, extractor: Extractor, *, threads: int = 1) -> Runtime:
        """Load an artifact whose files `check_files` has let pass.

        Raises:
            InputError: a file of it is damaged or of another artifact, or this CPU would multiply its weights
                wrong.
        """
        try:
            tokenizer = load_tokenizer(folder / "tokenizer.json")
            session = open_session(folder / "model.onnx", threads=threads)
            loaded = cls(extractor, tokenizer, session)
        except InputError:
            raise
        except BaseException as error:  # tokenizers raises Exception and panics, onnxruntime its own types
            if not (isinstance(error, Exception) or is_panic(error)):
                raise
            raise InputError(
                f"{folder}: a damaged artifact ({type(error).__name__}); copy it again"
            ) from error
        check_kernel(folder)
        answers, asked = session.get_outputs()[0].shape[-1], len(extractor.tags or extractor.symptoms)
        if isinstance(answers, int) and answers != asked:
            raise InputError(
                f"{folder}: model.onnx gives {answers} numbers where extractor.json names {asked}; "
                "copy the artifact again"
            )
        return loaded

    def prepare(self, text: str) -> str:
        """The text as the model was trained to see it."""
        return prepare_text(text, self.extractor)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Word-piece ids of each note's first window, special tokens included, `max_tokens` at most."""
        first = (self.pieces(text, offsets=False, limit=self.room) for text in texts)
        return [self.specials.surround(pieces.ids) for pieces in first]

    def pieces(self, text: str, *, offsets: bool, limit: int | None = None) -> Pieces:
        """Word pieces of `text` as the model sees it; offsets count characters of `text` itself."""
        return pieces_of(self.tokenizer, self.prepare(text), offsets=offsets, limit=limit)

    def cuts(self, text: str) -> bool:
        """Whether the artifact reads no more than the first characters of `text`."""
        window = self.extractor.text_window
        return window is not None and len(text) > window

    def logits_of(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits `(K,)`, or `(tokens, tags)` of the task `mentions`, of word-piece ids `(tokens,)`."""
        row = ids[None]
        result: NDArray[np.float32] = self.session.run(
            None, {"input_ids": row, "attention_mask": np.ones_like(row)}
        )[0][0]
        return checked_logits(result)

    def batch_logits(self, ids: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Logits `(batch, K)` of notes padded to the longest of them."""
        longest = max(len(note) for note in ids)
        padded = np.full((len(ids), longest), self.extractor.pad_id, dtype=np.int64)
        mask = np.zeros_like(padded)
        for row, note in enumerate(ids):
            padded[row, : len(note)] = note
            mask[row, : len(note)] = 1
        result: NDArray[np.float32] = self.session.run(None, {"input_ids": padded, "attention_mask": mask})[0]
        return checked_logits(result)

    def predict_logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Logits `(notes, K)`."""
        notes = self.encode(texts)
        if not notes:
            return np.zeros((0, len(self.extractor.symptoms)), dtype=np.float32)
        return np.stack([self.logits_of(note) for note in notes])

    def predict(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities `(notes, K)`."""
        return self.probabilities(self.predict_logits(texts))

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities of logits `(..., K)`, calibrated where the artifact says how: softmax or sigmoids."""
        task, calibration = self.extractor.task, self.extractor.calibration
        if calibration is None or task == "mentions":
            return to_probabilities(task, logits)
        return calibration.apply(logits, task=task)


def checked_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """`logits`, of any shape, which are numbers: NaN is below every threshold and would say "no symptoms".

    Raises:
        InputError: one of them is NaN or infinite.
    """
    if not np.isfinite(logits).all():
        raise InputError("the model gives NaN or infinity for logits: its weights are damaged, make it again")
    return logits


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def prepare_text(text: str, extractor: Extractor) -> str:
    """Cut, mask placeholders and lower-case as `extractor` says, in that order; offsets stay what they were.

    Lone surrogates, which no UTF-8 can hold, become U+FFFD. A letter whose lower case is longer than one
    character stays as it is.
    """
    if extractor.text_window is not None:
        text = text[: extractor.text_window]
    if not text.isascii():
        text = _LONE_SURROGATE.sub("\ufffd", text)
    if extractor.mask_placeholders:
        text = mask_placeholders(text)
    return _lower(text) if extractor.lower else text


def _lower(text: str) -> str:
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def to_probabilities(task: str, logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax over symptoms for `topic`, a sigmoid each for `present`; shape as `logits`."""
    wide = logits.astype(np.float64)
    if task == "topic":
        raised = np.exp(wide - wide.max(axis=-1, keepdims=True, initial=-np.inf))
        return np.asarray(raised / raised.sum(axis=-1, keepdims=True), dtype=np.float64)
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(wide, -60, 60))), dtype=np.float64)
