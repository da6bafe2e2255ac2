"""Drop word pieces from a tokenizer and from the embedding that it indexes.

Text whose pieces are all kept is split as before, so its logits are the same:

- WordPiece takes the longest piece that matches; the longest is kept and none that is longer is new.
- BPE applies the merge of the lowest rank; a kept piece keeps every merge that leads to it, so each step
  finds the same lowest one.
- Unigram takes the split of the highest score; it is still there, and none that is new competes with it.

Other text falls back to smaller pieces, down to single characters or bytes. In WordPiece a word becomes the
unknown token only if one of its characters has no piece of its own in that place: `q` where a word starts
with it, `##q` where it does not. BERT's uncased English vocabulary has both for every character it knows.
In one that lacks `##q` but holds `##iq`, a word that ends so was known as long as that piece stayed. (A word
that was unknown although its characters have pieces, since its longest first match led nowhere, may become
known when that match is dropped.) Characters of a script other than Latin and Greek stay only where the
counted notes use them; elsewhere they become unknown.

Source: Abdaoui, Pradel, Sigel 2020, *Load What You Need: Smaller Versions of Multilingual BERT*.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sympress.compress.arch import family_of
from sympress.compress.vocab.pieces import always_kept, id_places, model_pieces, read_backend
from sympress.errors import InputError, SympressError
from sympress.training.model import SymptomModel


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
    rebuilt = Tokenizer.from_str(json.dumps(_trim_backend(backend, new_ids)))
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


def _trim_backend(backend: dict[str, Any], new_ids: dict[int, int]) -> dict[str, Any]:
    """`tokenizer.json` with only the pieces in `new_ids`, under their new ids everywhere."""
    backend = copy.deepcopy(backend)
    backend["model"] = _trim_model(backend["model"], new_ids)
    for place, key in id_places(backend):
        place[key] = new_ids[place[key]]
    return backend


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
