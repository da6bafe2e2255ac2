"""Tiny random encoders and tokenizers, built offline, that behave like the real ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModel,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

WORDS = [
    "fever",
    "cough",
    "pain",
    "nausea",
    "chills",
    "patient",
    "denies",
    "reports",
    "with",
    "and",
    "no",
    "the",
    "after",
    "dose",
    "arm",
    "rash",
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
    "j",
    "k",
    "l",
    "m",
    "n",
    "o",
    "p",
    "q",
    "r",
    "s",
    "t",
    "u",
    "v",
    "w",
    "x",
    "y",
    "z",
    "##a",
    "##b",
    "##e",
    "##n",
    "##s",
    "##t",
    "##r",
]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_SIZES = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 80,
}
FAMILIES: dict[str, Callable[[], PreTrainedConfig]] = {
    "bert": lambda: BertConfig(**_SIZES),
    "distilbert": lambda: DistilBertConfig(
        vocab_size=_SIZES["vocab_size"],
        dim=32,
        n_layers=2,
        n_heads=4,
        hidden_dim=48,
        max_position_embeddings=80,
    ),
    "roberta": lambda: RobertaConfig(**_SIZES, pad_token_id=0),
    "electra": lambda: ElectraConfig(**_SIZES, embedding_size=16),
    "deberta-v2": lambda: DebertaV2Config(
        **_SIZES, relative_attention=True, pos_att_type=["p2c", "c2p"], max_relative_positions=64
    ),
    "modernbert": lambda: ModernBertConfig(
        **_SIZES,
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
        local_attention=8,
        global_attn_every_n_layers=2,
    ),
}


def tiny_encoder(family: str = "bert", seed: int = 0) -> torch.nn.Module:
    """A random encoder of `family`: 2 layers, 32 wide, 4 heads."""
    torch.manual_seed(seed)
    return AutoModel.from_config(FAMILIES[family]()).eval()


@pytest.fixture(scope="session")
def make_encoder() -> Callable[..., torch.nn.Module]:
    """`tiny_encoder`, for tests in folders that have a conftest.py of their own."""
    return tiny_encoder


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A word-piece tokenizer over `WORDS`."""
    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    backend = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = BertNormalizer(lowercase=True)
    backend.pre_tokenizer = BertPreTokenizer()
    backend.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A tiny BERT as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("encoder")
    tiny_encoder().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def token_ids() -> list[np.ndarray]:
    """Notes of word-piece ids with different lengths."""
    rng = np.random.default_rng(0)
    return [rng.integers(5, _SIZES["vocab_size"], size=length).astype(np.int64) for length in (4, 9, 17, 30)]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of open data; the test is skipped where it is missing."""
    folder = Path(os.environ.get("SYMPRESS_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the open data is not here ({folder.name}): set SYMPRESS_DATA")
    return folder
