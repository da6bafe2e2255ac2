"""Drop the word pieces and positions that the notes do not need, from tokenizer and embeddings."""

from __future__ import annotations

import copy
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sympress.errors import InputError, SympressError
from sympress.models.families import family_of, keep_positions_, position_rows
from sympress.models.model import SymptomModel

# Which word pieces the notes use, and which of them to keep.


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


# Drop the rows of the position table that no input is long enough to read.


def cut_positions_(model: SymptomModel, max_tokens: int) -> tuple[int, int]:
    """Keep the positions of inputs of up to `max_tokens` word pieces; returns rows before and after.

    Such inputs get the same logits as before, to the last bit; longer ones can no longer be read, also not
    after training: a pressed model reads longer notes by windows of `max_tokens`. RoBERTa's first tokens
    stand at the row after that of its padding token, so that it keeps as many rows more. Rotary positions
    (ModernBERT) and relative ones (DeBERTa v3) have no such table: (0, 0). A table that is no longer than
    needed stays as it is.

    Args:
        model: changed in place, its config included; safe to call again.
        max_tokens: longest input, special tokens included; at least 1.

    Raises:
        InputError: `max_tokens` is below 1, or the architecture is not supported.
    """
    if max_tokens < 1:
        raise InputError(f"inputs of {max_tokens} word pieces: the longest must be 1 or more")
    rows, first = position_rows(model.encoder)
    kept = min(rows, first + max_tokens)
    if kept < rows:
        keep_positions_(model.encoder, kept)
    return rows, kept


# Drop word pieces from a tokenizer and from the embedding that it indexes.
#
# Text whose pieces are all kept is split as before, so its logits are the same:
#
# - WordPiece takes the longest piece that matches; the longest is kept and none that is longer is new. -
# BPE applies the merge of the lowest rank; a kept piece keeps every merge that leads to it, so each step
# finds the same lowest one. - Unigram takes the split of the highest score; it is still there, and none
# that is new competes with it.
#
# Other text falls back to smaller pieces, down to single characters or bytes. In WordPiece a word becomes
# the unknown token only if one of its characters has no piece of its own in that place: `q` where a word
# starts with it, `##q` where it does not. BERT's uncased English vocabulary has both for every character it
# knows. In one that lacks `##q` but holds `##iq`, a word that ends so was known as long as that piece
# stayed. (A word that was unknown although its characters have pieces, since its longest first match led
# nowhere, may become known when that match is dropped.) Characters of a script other than Latin and Greek
# stay only where the counted notes use them; elsewhere they become unknown.
#
# Source: Abdaoui, Pradel, Sigel 2020, *Load What You Need: Smaller Versions of Multilingual BERT*.


def trim_vocabulary_(
    model: SymptomModel, tokenizer: PreTrainedTokenizerBase, kept: Sequence[int]
) -> PreTrainedTokenizerBase:
    """Drop every row of the word embedding but `kept`; returns the tokenizer that belongs to the rest.

    Pieces keep their order and are numbered without gaps. The config says the new size and the new ids of
    its special tokens, so `save_model` and `load_model` need nothing else. A teacher whose vocabulary is
    whole reads other ids: it must never see notes that the new tokenizer encoded.

    Args:
        model: changed in place; `encoder.get_input_embeddings()` `(ids, width)` becomes `(kept, width)`.
        tokenizer: of `model`; left as it is.
        kept: old ids, e.g. of `choose_pieces`.

    Raises:
        InputError: a piece is missing that always stays, the tokenizer is not this model's or cannot be
            trimmed, or the embedding was changed by another strategy before.
    """
    trimmed = trim_tokenizer(tokenizer, kept)
    new_ids = _renumbered(kept)
    embedding = _plain_embedding(model.encoder, max(kept))
    specials = _special_ids(model.encoder, trimmed, new_ids)
    rows = torch.tensor(list(new_ids), device=embedding.weight.device)
    smaller = nn.Embedding.from_pretrained(
        embedding.weight.detach()[rows],
        freeze=not embedding.weight.requires_grad,
        padding_idx=None if embedding.padding_idx is None else specials.get("pad_token_id"),
    )
    model.encoder.set_input_embeddings(smaller)
    for name, value in {"vocab_size": len(new_ids), **specials}.items():
        setattr(model.encoder.config, name, value)
    return trimmed


def trim_tokenizer(tokenizer: PreTrainedTokenizerBase, kept: Sequence[int]) -> PreTrainedTokenizerBase:
    """A copy of `tokenizer` that knows only the pieces `kept` (old ids), numbered without gaps in that order.

    Raises:
        InputError: an id is unknown, a piece is missing that always stays, or it cannot be trimmed.
        SympressError: the rebuilt tokenizer numbers its pieces otherwise.
    """
    backend = read_backend(tokenizer)
    whole = tokenizer.get_vocab()
    new_ids = _renumbered(kept)
    unknown = new_ids.keys() - set(whole.values())
    missing = always_kept(backend) - new_ids.keys()
    if unknown or missing:
        raise InputError(
            f"{len(missing)} word pieces are missing that always stay and {len(unknown)} ids are not in the "
            "vocabulary; keep the ids that choose_pieces gives"
        )
    backend["model"] = _trim_model(backend["model"], new_ids)
    for place, key in id_places(backend):
        place[key] = new_ids[place[key]]
    rebuilt = Tokenizer.from_str(json.dumps(backend))
    if rebuilt.get_vocab() != {piece: new_ids[old] for piece, old in whole.items() if old in new_ids}:
        raise SympressError(
            f"{type(tokenizer).__name__}: the trimmed tokenizer numbers its word pieces otherwise than "
            "asked; please report the encoder"
        )
    trimmed = copy.deepcopy(tokenizer)
    trimmed._tokenizer = rebuilt
    return trimmed


def _renumbered(kept: Sequence[int]) -> dict[int, int]:
    """Old id to new id, ascending and without gaps."""
    return {int(old): new for new, old in enumerate(sorted(set(kept)))}


def _trim_model(model: dict[str, Any], new_ids: dict[int, int]) -> dict[str, Any]:
    """The model with only the pieces in `new_ids` and the merges between them."""
    pieces = {piece: new_ids[old] for piece, old in model_pieces(model).items() if old in new_ids}
    if model["type"] == "Unigram":
        scored = [entry for entry in model["vocab"] if entry[0] in pieces]
        return {**model, "vocab": scored, "unk_id": new_ids.get(model["unk_id"])}
    trimmed = {**model, "vocab": pieces}
    if model["type"] == "BPE":
        trimmed["merges"] = [
            [left, right]
            for left, right in model["merges"]
            if left in pieces and right in pieces and left + right in pieces
        ]
    return trimmed


def _plain_embedding(encoder: PreTrainedModel, last: int) -> nn.Embedding:
    """The word embedding, if it is a plain table that has a row `last`."""
    embedding = encoder.get_input_embeddings()
    if type(embedding) is not nn.Embedding:
        raise InputError(
            "vocab: the word embedding is factorized or quantized already; let vocab come before lowrank and "
            "quantize"
        )
    if last >= embedding.num_embeddings:
        raise InputError(
            f"vocab: word piece {last} has no row in the embedding of {embedding.num_embeddings}; give the "
            "tokenizer of this model"
        )
    return embedding


def _special_ids(
    encoder: PreTrainedModel, trimmed: PreTrainedTokenizerBase, new_ids: dict[int, int]
) -> dict[str, int | None]:
    """New value of each `..._token_id` of the config; one that was dropped becomes the tokenizer's own."""
    old_ids = {
        name: value
        for name, value in encoder.config.to_dict().items()
        if name.endswith("_token_id") and isinstance(value, int)
    }
    specials = {name: new_ids.get(old, getattr(trimmed, name, None)) for name, old in old_ids.items()}
    padding = old_ids.get("pad_token_id")
    if family_of(encoder).positions_follow_padding and specials.get("pad_token_id") != padding:
        raise InputError(
            f"vocab: {encoder.config.model_type} counts positions from the id of its padding token, "
            f"{padding}, which would change; its tokenizer must hold no word piece before that token"
        )
    return specials
