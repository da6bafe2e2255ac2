"""Tiny random encoders and tokenizers, built offline, that behave like the real ones."""

from __future__ import annotations

import copy
import gc
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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
    BertModel,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

from artifacts import (  # noqa: F401  fixtures
    tiny_artifact,
    tiny_tagger,
)
from sympress.models.convolution import ConvolutionConfig
from traces import shared_in

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
    "sympress-conv": lambda: ConvolutionConfig(
        vocab_size=_SIZES["vocab_size"],
        embedding_size=24,
        hidden_size=32,
        num_hidden_layers=2,
        dilation=2,
    ),
}


def tiny_encoder(family: str = "bert", seed: int = 0) -> torch.nn.Module:
    """A random encoder of `family`: 2 layers, 32 wide, 4 heads."""
    torch.manual_seed(seed)
    return AutoModel.from_config(FAMILIES[family]()).eval()


@pytest.fixture(scope="session", autouse=True)
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Tracing a tiny encoder takes seconds: the processes of a test run share what they have traced, here."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "traced"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", shared_in(folder, torch.onnx.export))
        yield folder


@pytest.fixture(scope="module", autouse=True)
def imported_modules_are_no_garbage() -> None:
    """Every training collects garbage: a second of reading what was imported, unless that is set aside."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture(scope="session")
def roomy_encoder_folder(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast
) -> Path:
    """The same, in place of the packaged encoder, with word pieces enough to leave some out."""
    folder = tmp_path_factory.mktemp("roomy")
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = backend["model"]["vocab"]
    vocabulary.update({f"rare{number}": len(vocabulary) + number for number in range(100)})
    roomy = copy.deepcopy(tokenizer)
    roomy._tokenizer = Tokenizer.from_str(json.dumps(backend))
    BertModel(BertConfig(**_SIZES | {"vocab_size": len(vocabulary)})).save_pretrained(folder)
    roomy.save_pretrained(folder)
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


#: What a tiny study finds, and what a named recipe makes of a tiny encoder; `SYMPRESS_WRITE_GOLDEN=1` anew.
GOLDEN = Path(__file__).parent / "golden.json"


@pytest.fixture(scope="module")
def in_32_bits() -> Iterator[None]:
    """Trainings of this module compute alike on every CPU: none uses bfloat16, which some have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", dict)
        yield


@pytest.fixture(scope="module")
def memory_unmeasured() -> Iterator[None]:
    """Studies of this module measure no memory, for which they would start a process a row."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sympress.studies.costs.peak_memory_bytes", lambda _folder, _texts: 1)
        yield


@pytest.fixture(scope="session")
def check_golden() -> Callable[..., None]:
    """`(key, found, tolerance)`: compare with what is stored; numbers may differ by as much."""

    def check(key: str, found: Any, tolerance: float) -> None:
        stored = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.is_file() else {}
        if os.environ.get("SYMPRESS_WRITE_GOLDEN"):
            lines = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted((stored | {key: found}).items()))
            GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        else:
            _same(found, stored[key], tolerance, key)

    return check


def _same(found: Any, wanted: Any, tolerance: float, where: str) -> None:
    if isinstance(wanted, dict):
        assert list(found) == list(wanted), where
        for name, value in wanted.items():
            _same(found[name], value, tolerance, f"{where}/{name}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for place, value in enumerate(wanted):
            _same(found[place], value, tolerance, f"{where}/{place}")
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, abs=tolerance), where
    else:
        assert found == wanted, where


@pytest.fixture(scope="session")
def in_short() -> Callable[[Path, Any], dict[str, Any]]:
    """The results of a study without times, bytes and intervals, and what rows answer to two test notes."""

    def short(run: Path, results: Any) -> dict[str, Any]:
        return {
            row.name: {
                "recipe": row.recipe,
                "parameters": row.cost.parameters,
                "macs": row.cost.macs_per_note,
                "f1": [_rounded(e.quality.f1) for e in row.epochs] + [_rounded(row.quality.f1)],
                "accuracy": _rounded(row.quality.accuracy),
                "auroc": _rounded(row.quality.auroc),
                "answers": _answers(run / "predictions" / f"{row.name}-seed{row.seed}.npz"),
            }
            for row in results.strategies
        }

    return short


def _rounded(estimate: Any) -> float | None:
    return None if estimate.value is None else round(estimate.value, 4)


def _answers(path: Path) -> list[list[float]]:
    """Probabilities of the first test notes; none of `mentions`."""
    with np.load(path) as stored:
        return np.round(stored["test"][:2], 3).tolist() if "test" in stored else []
