"""Fingerprints of what a model learns from and starts from, by content; nothing can be read from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sympress.labels.lexicon import Lexicon
from sympress.labels.mentions import AnnotatedNote, LabelSet
from sympress.models.encoder import Encoder
from sympress.notes.split import Split

# Fingerprints of encoders and tokenizers by what they compute, wherever their files lie.


#: Settings that say where and by what a config was written, and change no logit.
_OF_THE_FILE = ("_name_or_path", "architectures", "sympress", "transformers_version")
#: How the last call padded and cut, which a tokenizer's own file remembers.
_OF_THE_CALL = ("padding", "truncation")


def fingerprint_weights(settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of a model's config, without what says where it was read from, and of its weights."""
    values = {name: value for name, value in settings.items() if name not in _OF_THE_FILE}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode())
    for name, value in weights.items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def fingerprint_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of how a tokenizer cuts text: normalizer, vocabulary, special tokens, limit."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        cuts = json.loads(backend.to_str())
        cuts = {name: value for name, value in cuts.items() if name not in _OF_THE_CALL}
    else:
        cuts = [type(tokenizer).__name__, tokenizer.get_vocab(), tokenizer.init_kwargs.get("do_lower_case")]
    told = [cuts, tokenizer.special_tokens_map, int(tokenizer.model_max_length)]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def fingerprint_encoder(encoder: Encoder) -> str:
    """SHA-256 of an encoder's config, weights and tokenizer; not of weights that its files lack."""
    weights = {name: value for name, value in encoder.model.state_dict().items() if name not in encoder.fresh}
    model = fingerprint_weights(encoder.model.config.to_dict(), weights)
    return hashlib.sha256(f"{model} {fingerprint_tokenizer(encoder.tokenizer)}".encode()).hexdigest()


# Fingerprints of what a study learns from and is judged by; nothing can be read from them.


#: Texts that are joined before they are hashed.
_PART = 10_000


def data_inputs(frame: pl.DataFrame, lexicon: Lexicon, split: Split, labels: str) -> dict[str, str]:
    """Fingerprints of the data of a study, by the names of `claim.INPUTS`.

    Args:
        frame: the notes as they were read, in their order.
        lexicon: with all that its file extends.
        split: rows of the labelled notes.
        labels: fingerprint of what the notes carry.
    """
    return {
        "notes": fingerprint_frame(frame),
        "lexicon": fingerprint_lexicon(lexicon),
        "labels": labels,
        "split": fingerprint_split(split),
    }


def fingerprint_frame(frame: pl.DataFrame) -> str:
    """SHA-256 of every note in order, with its ids, time, category, sex, age and codes: 1 s a gigabyte."""
    digest = hashlib.sha256()
    for name in frame.columns:
        series = frame[name]
        digest.update(f"{name} {len(series)}".encode())
        if series.dtype == pl.List(pl.String):
            digest.update(_integers(series.list.len()))
            series = series.explode()
        if series.dtype == pl.String:
            digest.update(_integers(series.str.len_bytes()))  # so that no two columns read alike
            for start in range(0, len(series), _PART):
                digest.update("".join(series[start : start + _PART].drop_nulls()).encode())
        elif series.dtype == pl.Float64:
            digest.update(_integers(series.is_null().cast(pl.Int64)))
            digest.update(series.fill_null(0.0).to_numpy().astype("<f8").tobytes())
        else:
            digest.update(_integers(series.is_null().cast(pl.Int64)))
            digest.update(_integers(series.to_physical()))
    return digest.hexdigest()


def fingerprint_texts(texts: Sequence[str]) -> str:
    """SHA-256 of texts in order."""
    return fingerprint_frame(pl.DataFrame({"text": list(texts)}, schema={"text": pl.String}))


def fingerprint_labels(labels: LabelSet, weights: NDArray[np.float32] | None = None) -> str:
    """SHA-256 of which notes are labelled with what, and of what their loss is multiplied by."""
    digest = hashlib.sha256(json.dumps([labels.task, labels.symptoms, labels.note_ids]).encode())
    digest.update(np.ascontiguousarray(labels.targets, dtype=np.uint8).tobytes())
    if weights is not None:
        digest.update(np.ascontiguousarray(weights, dtype="<f4").tobytes())
    return digest.hexdigest()


def fingerprint_split(split: Split) -> str:
    """SHA-256 of the rows of each side."""
    rows = [side.tolist() for side in (split.train, split.validation, split.test)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def fingerprint_lexicon(lexicon: Lexicon) -> str:
    """SHA-256 of a lexicon's entries in order, and of what else it says; not of its name."""
    held = asdict(lexicon)
    del held["name"]
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def fingerprint_annotated(notes: Sequence[AnnotatedNote]) -> str:
    """SHA-256 of the notes' ids, texts and spans, in order."""
    digest = hashlib.sha256()
    for note in notes:
        others = [repr(note.others)] if note.others else []
        for part in (note.note_id, note.text, repr(note.mentions), *others):
            written = part.encode("utf-8", "surrogatepass")
            digest.update(len(written).to_bytes(8, "little"))
            digest.update(written)
    return digest.hexdigest()


def _integers(series: pl.Series) -> bytes:
    """Little-endian int64, -1 where nothing is."""
    return series.cast(pl.Int64).fill_null(-1).to_numpy().astype("<i8").tobytes()
