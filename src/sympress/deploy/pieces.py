"""Word pieces of a text of any length, in memory that does not grow with what the tokenizer keeps of it.

The tokenizers library holds some 150 bytes a piece; here a note keeps 24.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sympress.errors import InputError

#: Characters that are given to the tokenizer at once. Notes are rarely longer.
SEGMENT_CHARACTERS = 65_536

#: A cut between segments: white space after a visible character. No tokenizer of a BERT family joins the
#: two into one piece.
_CUT = re.compile(r"(?<=\S)\s")
_LEAST_CHARACTERS = 512

#: How many times as long as a text a normalizer may make it; those of the BERT families make it three times.
GROWTH_MOST = 64


def load_tokenizer(path: Path) -> Tokenizer:
    """Load a `tokenizer.json`, without truncation and padding.

    Raises:
        InputError: its normalizer can make a text more than `GROWTH_MOST` times as long.
        Exception: it is damaged; the tokenizers library raises no other.
    """
    text = path.read_text(encoding="utf-8")
    raw = json.loads(text)
    if _growth(raw.get("normalizer")) > GROWTH_MOST:
        raise InputError(
            f"{path}: its normalizer makes a text more than {GROWTH_MOST} times as long; "
            "make the artifact again"
        )
    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _growth(normalizer: Any) -> int:
    """At most how many times as long what the user's replacements of a normalizer make a text."""
    if not isinstance(normalizer, dict):
        return 1
    inside = normalizer.get("normalizers")
    if isinstance(inside, list):
        return math.prod(map(_growth, inside))
    added = normalizer.get("content", normalizer.get("prepend"))
    return max(1, len(added)) if isinstance(added, str) else 1


@dataclass(frozen=True, slots=True)
class Pieces:
    """Word pieces of a text without special tokens.

    Attributes:
        ids: `(pieces,)` int64.
        starts, ends: `(pieces,)` int64 characters of the text; empty where they were not asked for.
        complete: False if the text goes on after the last piece.
    """

    ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    complete: bool


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Ids that stand before and after the pieces of a note, such as `[CLS]` and `[SEP]`."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> SpecialTokens:
        """Those that `tokenizer` puts around a single text."""
        encoding = tokenizer.encode("a")
        plain = [at for at, special in enumerate(encoding.special_tokens_mask) if not special]
        first, last = (plain[0], plain[-1]) if plain else (len(encoding.ids), len(encoding.ids))
        return cls(tuple(encoding.ids[:first]), tuple(encoding.ids[last + 1 :]))

    @property
    def count(self) -> int:
        """How many there are around a window."""
        return len(self.before) + len(self.after)

    def surround(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """`ids` `(pieces,)` with the special tokens around them, as the model was trained to see it."""
        return np.concatenate([self.before, ids, self.after]).astype(np.int64)


def pieces_of(tokenizer: Tokenizer, text: str, *, offsets: bool, limit: int | None = None) -> Pieces:
    """Return the word pieces of `text`, which holds no lone surrogate.

    Args:
        tokenizer: without truncation and padding.
        text: of any length.
        offsets: whether to tell the characters of each piece; without them it is faster.
        limit: the most pieces to return; text far beyond them is not even looked at.
    """
    encode = tokenizer.encode_batch if offsets else tokenizer.encode_batch_fast
    ids: list[NDArray[np.int64]] = []
    spans: list[NDArray[np.int64]] = []
    found, start = 0, 0
    size = SEGMENT_CHARACTERS if limit is None else min(SEGMENT_CHARACTERS, 8 * limit + _LEAST_CHARACTERS)
    while start < len(text) and (limit is None or found <= limit):
        end = _cut(text, start + size)
        encoding = encode([text[start:end]], add_special_tokens=False)[0]
        ids.append(np.array(encoding.ids, dtype=np.int64))
        if offsets:
            spans.append(np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2) + start)
        found, start = found + len(ids[-1]), end
        size = min(SEGMENT_CHARACTERS, 2 * size)
    every = np.concatenate(ids) if ids else np.zeros(0, dtype=np.int64)
    pairs = np.concatenate(spans) if spans else np.zeros((0, 2), dtype=np.int64)
    return Pieces(every[:limit], pairs[:limit, 0], pairs[:limit, 1], limit is None or len(every) <= limit)


def _cut(text: str, wanted: int) -> int:
    """The end of a segment that should end at `wanted`: there, or at the next white space not far away."""
    if wanted >= len(text):
        return len(text)
    found = _CUT.search(text, wanted, min(len(text), wanted + SEGMENT_CHARACTERS))
    return found.start() if found else min(len(text), wanted + SEGMENT_CHARACTERS)


def window_spans(pieces: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Cut `pieces` word pieces into windows of at most `room` that start `stride` apart; at least one.

    Every piece is in a window; the last window ends with the last piece.
    """
    count = max(0, -(-(pieces - room) // stride)) + 1
    return [(at * stride, min(at * stride + room, pieces)) for at in range(count)]
