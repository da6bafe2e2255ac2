"""Which word pieces the notes use, and which of them to keep."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sympress.errors import InputError

_TEXTS_AT_ONCE = 1000


@dataclass(frozen=True)
class KeptPieces:
    """The word pieces that stay.

    Attributes:
        ids: old ids, ascending.
        vocabulary: pieces before.
        used: pieces that occur in the counted texts.
        allowed: pieces that `keep` would have allowed; `len(ids)` is less where fewer are used.
        coverage: share of the texts' tokens that stay, 0 to 1; the rest falls back to smaller pieces.
    """

    ids: tuple[int, ...]
    vocabulary: int
    used: int
    allowed: int
    coverage: float


def count_pieces(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> NDArray[np.int64]:
    """How often each word piece occurs in `texts`, indexed by id; special tokens around a text do not count.

    The texts must be prepared as for training (cut, masked, lower-cased).
    """
    counts = np.zeros(max(tokenizer.get_vocab().values()) + 1, dtype=np.int64)
    remaining = iter(texts)
    while some := list(islice(remaining, _TEXTS_AT_ONCE)):
        notes = tokenizer(some, add_special_tokens=False, return_attention_mask=False, verbose=False)
        ids = np.fromiter(chain.from_iterable(notes["input_ids"]), dtype=np.int64)
        counts += np.bincount(ids, minlength=len(counts))
    return counts


def choose_pieces(tokenizer: PreTrainedTokenizerBase, counts: NDArray[np.int64], keep: float) -> KeptPieces:
    """The most frequent pieces, with every piece that text can fall back to; of equals the lower id.

    A BPE piece brings the parts it is merged from, and is passed over where they no longer fit. Pieces that
    `counts` never saw are not kept, even where `keep` would allow them (except as such a part).

    Args:
        tokenizer: WordPiece, byte-level BPE or Unigram.
        counts: of each piece, shape `(ids,)`, from `count_pieces`.
        keep: above 0 and up to 1, the share of the vocabulary; above 1, a number of pieces.

    Raises:
        InputError: `keep` is out of range or below the pieces that always stay, or the tokenizer cannot be
            trimmed.
    """
    backend = read_backend(tokenizer)
    always = always_kept(backend) | _foreign_singles(backend["model"], counts)
    vocabulary = len(tokenizer.get_vocab())
    allowed = _allowed(keep, vocabulary, len(always))
    parts = _parts(backend["model"])
    kept = set(always)
    for piece in np.argsort(-counts, kind="stable"):
        if counts[piece] == 0 or len(kept) == allowed:
            break
        wanted = _with_parts(int(piece), parts, kept)
        if len(kept) + len(wanted) <= allowed:
            kept |= wanted
    ids = sorted(kept)
    coverage = float(counts[ids].sum() / max(counts.sum(), 1))
    return KeptPieces(tuple(ids), vocabulary, int(np.count_nonzero(counts)), allowed, coverage)


def _allowed(keep: float, vocabulary: int, least: int) -> int:
    """The number of pieces that `keep` allows."""
    if not 0 < keep < math.inf or (keep > 1 and keep != int(keep)):
        raise InputError(
            f"vocab keep={keep:g} is neither a share above 0 and up to 1 nor a whole number of word pieces"
        )
    allowed = round(keep * vocabulary) if keep <= 1 else min(int(keep), vocabulary)
    if allowed < least:
        share = math.ceil(least / vocabulary * 1000) / 1000
        raise InputError(
            f"vocab keep={keep:g} allows {allowed} word pieces, but {least} always stay (special tokens and "
            f"single characters); give at least {least}, or the share {share:g}"
        )
    return allowed


def read_backend(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """The tokenizer as its `tokenizer.json` describes it.

    Raises:
        InputError: it has none, or splits words in a way that cannot be trimmed.
    """
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise InputError(f"{type(tokenizer).__name__} has no tokenizer.json, so its vocabulary stays whole")
    backend: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    model = backend["model"]
    marked = model["type"] != "WordPiece" and any(
        model.get(option) for option in ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix")
    )
    if marked or model["type"] not in ("WordPiece", "BPE", "Unigram"):
        raise InputError(
            f"a {model['type']} tokenizer of this kind cannot be trimmed; WordPiece, byte-level BPE and "
            "Unigram without byte fallback can"
        )
    return backend


def model_pieces(model: dict[str, Any]) -> dict[str, int]:
    """Piece to id, of the tokenizer's model alone (added tokens may stand outside of it)."""
    if model["type"] == "Unigram":
        return {piece: index for index, (piece, _score) in enumerate(model["vocab"])}
    return dict(model["vocab"])


def id_places(backend: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """(container, key) of each id that the tokenizer names outside of its model."""
    for token in backend["added_tokens"]:
        yield token, "id"
    if backend["padding"] is not None:
        yield backend["padding"], "pad_id"
    processor = backend["post_processor"] or {}
    for step in processor.get("processors", [processor]):  # the steps of a Sequence, or the only one
        for special in step.get("special_tokens", {}).values():  # TemplateProcessing
            yield from ((special["ids"], index) for index in range(len(special["ids"])))
        for name in ("cls", "sep"):  # BertProcessing, RobertaProcessing: [token, id]
            if name in step:
                yield step[name], 1


def always_kept(backend: dict[str, Any]) -> frozenset[int]:
    """Ids that no trimming drops: special and added tokens, and all that text can fall back to.

    The latter is every piece of one character of Latin, Greek, punctuation and symbols: in WordPiece `x` and
    `##x`, in byte-level BPE the 256 bytes. Of other scripts those stay that the notes use (`choose_pieces`).
    Unigram scores an unknown character 10 below its worst piece (`tokenizers`, `unigram/model.rs`), so the
    worst one stays too, else notes with such characters would be split differently.
    """
    model = backend["model"]
    pieces = model_pieces(model)
    prefix = _prefix(model)
    kept = {place[key] for place, key in id_places(backend)}
    kept |= {index for character, index in _singles(pieces, prefix) if _is_common(character)}
    if model["type"] == "Unigram":
        scores = [score for _piece, score in model["vocab"]]
        kept |= {scores.index(min(scores))} | ({model["unk_id"]} - {None})
    elif model.get("unk_token") in pieces:
        kept.add(pieces[model["unk_token"]])
    return frozenset(kept)


def _foreign_singles(model: dict[str, Any], counts: NDArray[np.int64]) -> frozenset[int]:
    """Single characters of other scripts that occur in a piece which `counts` saw."""
    pieces, prefix = model_pieces(model), _prefix(model)
    seen = {character for piece, index in pieces.items() if counts[index] for character in piece}
    return frozenset(index for character, index in _singles(pieces, prefix) if character in seen)


def _singles(pieces: dict[str, int], prefix: str) -> Iterator[tuple[str, int]]:
    """(character, id) of each piece of one character."""
    for piece, index in pieces.items():
        character = piece.removeprefix(prefix)
        if len(character) == 1:
            yield character, index


def _is_common(character: str) -> bool:
    """Latin (and what byte-level BPE writes for bytes), Greek, punctuation, symbols, Unigram's space."""
    code = ord(character)
    return code < 0x250 or 0x370 <= code < 0x400 or 0x2000 <= code < 0x2300 or code == 0x2581


def _prefix(model: dict[str, Any]) -> str:
    return str(model["continuing_subword_prefix"]) if model["type"] == "WordPiece" else ""


def _parts(model: dict[str, Any]) -> dict[int, set[int]]:
    """For each BPE piece, the ids of the pieces that some merge joins into it; empty for other models."""
    pieces = model_pieces(model)
    parts: dict[int, set[int]] = defaultdict(set)
    for left, right in model.get("merges", ()):
        parts[pieces[left + right]] |= {pieces[left], pieces[right]}
    return dict(parts)


def _with_parts(piece: int, parts: dict[int, set[int]], kept: set[int]) -> set[int]:
    """`piece` and, down to single bytes, what it is merged from, as far as it is not in `kept` already."""
    wanted: set[int] = set()
    waiting = [piece]
    while waiting:
        piece = waiting.pop()
        if piece not in kept and piece not in wanted:
            wanted.add(piece)
            waiting.extend(parts.get(piece, ()))
    return wanted
