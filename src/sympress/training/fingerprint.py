"""Fingerprints of encoders and tokenizers by what they compute, wherever their files lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sympress.training.encoder import Encoder

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
