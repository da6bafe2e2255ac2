"""The model that is trained: a pretrained encoder and a head for notes or tokens, saved as safetensors."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.activations import ACT2FN

from sympress.errors import InputError
from sympress.files import atomic_path, read_settings


class OutputRounding(nn.Module):
    """Round values to `levels + 1` steps of `scale` around `zero` (Jacob et al. 2018, eq. 1 and 12).

    q = clamp(round(x / s) + z, 0, levels), result (q - z) s. Both numbers are stored with the model.
    """

    scale: Tensor
    zero: Tensor
    levels: Tensor

    def __init__(self, levels: int = 127) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("zero", torch.zeros(()))
        self.register_buffer("levels", torch.tensor(float(levels)))

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape."""
        steps = torch.round(values * (1 / self.scale)) + self.zero
        return (torch.minimum(steps.clamp(min=0), self.levels) - self.zero) * self.scale


class _RoundsOutput(nn.Module):
    """Rounds the output of the layer that is the next of its bases."""

    rounding: OutputRounding

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  the name that the layers use
        """Map as the layer does."""
        rounded: Tensor = self.rounding(super().forward(input))
        return rounded


class RoundedLinear(_RoundsOutput, nn.Linear):
    """A linear layer whose output is rounded; shares its parameters with the layer it replaces."""

    def __init__(self, plain: nn.Linear, rounding: OutputRounding | None = None) -> None:
        bias = plain.bias is not None
        super().__init__(plain.in_features, plain.out_features, bias=bias, device="meta")
        self.weight, self.bias = plain.weight, plain.bias
        self.rounding = rounding or OutputRounding()


class RoundedNorm(_RoundsOutput, nn.LayerNorm):
    """A layer norm whose output is rounded; shares its parameters with the one it replaces."""

    def __init__(self, plain: nn.LayerNorm, rounding: OutputRounding | None = None) -> None:
        super().__init__(plain.normalized_shape, eps=plain.eps, device="meta")
        self.weight, self.bias = plain.weight, plain.bias
        self.rounding = rounding or OutputRounding()


class RoundedEmbedding(_RoundsOutput, nn.Embedding):
    """An embedding whose rows are rounded as they are looked up; shares its table."""

    def __init__(self, plain: nn.Embedding, rounding: OutputRounding | None = None) -> None:
        super().__init__(
            plain.num_embeddings, plain.embedding_dim, padding_idx=plain.padding_idx, device="meta"
        )
        self.weight = plain.weight
        self.rounding = rounding or OutputRounding()


class RoundedActivation(nn.Module):
    """An activation whose output is rounded."""

    def __init__(self, plain: nn.Module, rounding: OutputRounding | None = None) -> None:
        super().__init__()
        self.plain, self.rounding = plain, rounding or OutputRounding()

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape."""
        rounded: Tensor = self.rounding(self.plain(values))
        return rounded


Rounded = RoundedLinear | RoundedNorm | RoundedEmbedding | RoundedActivation


def with_rounding(plain: nn.Module, rounding: OutputRounding | None = None) -> Rounded:
    """`plain` with its output rounded."""
    if isinstance(plain, nn.Linear):
        return RoundedLinear(plain, rounding)
    if isinstance(plain, nn.LayerNorm):
        return RoundedNorm(plain, rounding)
    if isinstance(plain, nn.Embedding):
        return RoundedEmbedding(plain, rounding)
    return RoundedActivation(plain, rounding)


# Heads that turn token states into one logit a symptom, or one a tag for each token.
#
# `cls` is the classification head of Devlin et al. 2019 (dense, tanh, linear on the first token); `mean`
# and `maximum` pool over the real tokens; `token` answers for each token (Devlin et al., section 5.3: spans
# and what they assert are tags of one linear layer); `label` is the label-wise attention of Mullenbach et
# al. 2018 (CAML, eq. 2-4): each symptom looks for its own evidence in the note. A `HeadForm` turns them
# into the heads that other families of encoders are fine-tuned with.


Pooling = Literal["cls", "mean", "maximum", "label", "token"]
#: Those that answer for a note as a whole.
POOLINGS: tuple[Pooling, ...] = ("cls", "mean", "maximum", "label")


@dataclass(frozen=True)
class HeadForm:
    """What a head has between the pooled states and its output.

    Attributes:
        dense: a dense layer of the states' width, and behind it
        activation: as transformers calls it, and
        norm_epsilon: of a layer norm; None for none.
        groups: how many outputs each answer is made of, next to each other; () for one each. An answer is the
            log of the sum of its outputs' exponentials, so that its probability is the sum of theirs.
    """

    dense: bool
    activation: str = "tanh"
    norm_epsilon: float | None = None
    groups: tuple[int, ...] = ()

    @classmethod
    def of_pooling(cls, pooling: Pooling) -> HeadForm:
        """That of a head which sympress trains."""
        return cls(dense=pooling == "cls")

    @classmethod
    def read(cls, values: dict[str, Any]) -> HeadForm:
        """From JSON."""
        return cls(**{**values, "groups": tuple(values["groups"])})


class SymptomHead(nn.Module):
    """Pool `(batch, tokens, hidden)` states and map them to `(batch, symptoms)` logits.

    With the pooling `token` nothing is pooled: logits are `(batch, tokens, tags)`.
    """

    def __init__(
        self,
        hidden: int,
        symptoms: int,
        pooling: Pooling,
        dropout: float = 0.1,
        form: HeadForm | None = None,
    ) -> None:
        super().__init__()
        self.pooling, self.form = pooling, form or HeadForm.of_pooling(pooling)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, sum(self.form.groups) or symptoms)
        self.dense = nn.Linear(hidden, hidden) if self.form.dense else None
        self.activation = ACT2FN[self.form.activation]
        epsilon = self.form.norm_epsilon
        self.norm = None if epsilon is None else nn.LayerNorm(hidden, eps=epsilon)
        self.query = nn.Linear(hidden, symptoms, bias=False) if pooling == "label" else None
        for linear in (self.output, self.dense, self.query):
            if linear is not None:
                nn.init.normal_(linear.weight, std=0.02)
        nn.init.zeros_(self.output.bias)

    @property
    def answers(self) -> int:
        """How many logits it gives."""
        return len(self.form.groups) or self.output.out_features

    def forward(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits `(batch, symptoms)`, or `(batch, tokens, tags)`; tokens with mask 0 have no influence."""
        if self.query is not None:
            return self._label_attention(states, attention_mask, self.query)
        pooled = states if self.pooling == "token" else self._pool(states, attention_mask)
        if self.dense is not None:
            pooled = self.activation(self.dense(pooled))
        if self.norm is not None:
            pooled = self.norm(pooled)
        logits: Tensor = self.output(self.dropout(pooled))
        if not self.form.groups:
            return logits
        parts = logits.split(self.form.groups, dim=-1)
        return torch.stack([part.logsumexp(dim=-1) for part in parts], dim=-1)

    def _pool(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return states[:, 0]
        mask = attention_mask.unsqueeze(-1).to(states.dtype)  # (batch, tokens, 1)
        if self.pooling == "mean":
            return (states * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        largest: Tensor = (states + (mask - 1.0) * 1e4).amax(1)
        return largest

    def _label_attention(self, states: Tensor, attention_mask: Tensor, query: nn.Linear) -> Tensor:
        scores = query(states) + (attention_mask.unsqueeze(-1).to(states.dtype) - 1.0) * 1e4
        weights = scores.softmax(dim=1)  # (batch, tokens, symptoms)
        evidence = self.dropout(weights.transpose(1, 2) @ states)  # (batch, symptoms, hidden)
        logits: Tensor = (evidence * self.output.weight).sum(-1) + self.output.bias
        return logits


# The model that is trained: a pretrained encoder and a symptom head, saved as safetensors.


_KEY = "sympress"

#: Tensors without a number, by the names of the last layers of the heads that transformers has.
#: `AutoModelForSequenceClassification.from_pretrained` would take a random head in place of ours;
#: where these stand it fails, and its report names the last of them. `AutoModel` still reads the encoder.
_NO_HEADS = (
    "classifier.weight",
    "classifier.out_proj.weight",
    "qa_outputs.weight",
    "this_head_loads_with.sympress.load",
)


class SymptomModel(nn.Module):
    """`(batch, tokens)` word-piece ids in, logits `(batch, symptoms)` or `(batch, tokens, tags)` out."""

    def __init__(
        self, encoder: PreTrainedModel, symptoms: int, pooling: Pooling, form: HeadForm | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = SymptomHead(int(encoder.config.hidden_size), symptoms, pooling, form=form)
        pooler = getattr(encoder, "pooler", None)
        if pooler is not None:
            if self.head.dense is not None and hasattr(pooler, "dense"):
                self.head.dense.load_state_dict(pooler.dense.state_dict())
            setattr(encoder, "pooler", None)  # noqa: B010  mypy knows modules only; its work is the head's now

    @property
    def symptoms(self) -> int:
        """How many symptoms the head tells apart, or how many tags."""
        return self.head.answers

    @property
    def per_token(self) -> bool:
        """Whether the model answers for each token rather than for the note."""
        return self.head.pooling == "token"

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits of shape `(batch, symptoms)`, or `(batch, tokens, tags)` if `per_token`."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        logits: Tensor = self.head(states, attention_mask)
        return logits


def build_model(encoder: PreTrainedModel, symptoms: int, pooling: Pooling, seed: int) -> SymptomModel:
    """A model on a copy of `encoder` with a fresh head; the head depends on `seed` alone.

    Raises:
        InputError: `pooling` is not one of `POOLINGS`.
    """
    if pooling not in (*POOLINGS, "token"):
        raise InputError(f"pooling {pooling!r} is not one of {', '.join(POOLINGS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SymptomModel(copy.deepcopy(encoder), symptoms, pooling)


def save_model(model: SymptomModel, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`.

    Encoder weights carry the family's own prefix (`bert.`), so that `AutoModel.from_pretrained` reads
    the folder wherever no layer has been made physically smaller or factorized. transformers' classes that
    classify refuse it: they pool otherwise than ours. Those that predict words read the encoder and begin
    with a random head, which `sympress adapt` trains.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = json.loads(model.encoder.config.to_json_string(use_diff=False))
    config.pop("_name_or_path", None)
    config["problem_type"] = None  # a checkpoint's own would not fit the head that is ours
    config["architectures"] = [type(model).__name__]  # pipelines would try the encoder's own in its place
    config[_KEY] = {"symptoms": model.symptoms, "pooling": model.head.pooling}
    if model.head.form != HeadForm.of_pooling(model.head.pooling):
        config[_KEY]["form"] = asdict(model.head.form)
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    prefix = model.encoder.base_model_prefix + "."
    state = {prefix + name: value.contiguous().cpu() for name, value in model.encoder.state_dict().items()}
    state |= {"head." + name: value.contiguous().cpu() for name, value in model.head.state_dict().items()}
    factorized = [name.removesuffix("first.weight") for name in state if name.endswith(".first.weight")]
    # What transformers would fill with random numbers is there, and empty: it refuses the sizes.
    state |= {name: torch.zeros(0) for name in (*_NO_HEADS, *(f"{layer}weight" for layer in factorized))}
    with atomic_path(folder / "model.safetensors") as draft:  # safetensors alone: for its owner only
        save_file(state, draft, metadata={"format": "pt"})


def check_numbers(place: object, weights: Mapping[str, Tensor], what: str) -> None:
    """Check that every weight is a finite number: a model with another may find nothing, or fail at one word.

    Raises:
        InputError: one is NaN or infinite, with its name.
    """
    for name, value in weights.items():
        if not torch.isfinite(value).all():
            raise InputError(
                f"{place}: {name} holds NaN or an infinite number; copy or train the {what} again"
            )


def load_model(folder: Path) -> SymptomModel:
    """Read what `save_model` wrote; the shapes in the file say which layers are smaller or factorized.

    Raises:
        InputError: a file is missing, the folder was not written by sympress, or a weight is no number.
    """
    try:
        raw = json.loads(read_settings(folder / "config.json"))
        head = raw[_KEY]
        state = load_file(folder / "model.safetensors")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(f"{folder}: not a model that sympress saved ({type(error).__name__})") from error
    check_numbers(folder, state, "model")
    encoder = AutoModel.from_config(AutoConfig.from_pretrained(folder, local_files_only=True))
    form = HeadForm.read(head["form"]) if "form" in head else None
    model = SymptomModel(encoder, head["symptoms"], head["pooling"], form)
    prefix = encoder.base_model_prefix + "."
    renamed = {
        ("encoder." + name.removeprefix(prefix)) if name.startswith(prefix) else name: value
        for name, value in state.items()
        if name not in _NO_HEADS and f"{name.removesuffix('weight')}first.weight" not in state
    }
    fit_shapes_(model, renamed)
    for name, module in list(model.named_modules()):
        if f"{name}.rounding.scale" in renamed:
            model.set_submodule(name, with_rounding(module))
    model.load_state_dict(renamed)
    return model.eval()


class LowRankLinear(nn.Module):
    """Two factors in place of one linear layer: `x -> second(first(x))`, with `(in, r)` and `(r, out)`."""

    def __init__(self, in_features: int, rank: int, out_features: int, *, bias: bool) -> None:
        super().__init__()
        self.first = nn.Linear(in_features, rank, bias=False)
        self.second = nn.Linear(rank, out_features, bias=bias)

    def forward(self, states: Tensor) -> Tensor:
        """Map `(..., in)` to `(..., out)`."""
        result: Tensor = self.second(self.first(states))
        return result


class LowRankEmbedding(nn.Module):
    """Two factors in place of one embedding: `ids -> second(first(ids))`, `(rows, r)` and `(r, width)`."""

    def __init__(self, rows: int, rank: int, width: int, *, padding_idx: int | None) -> None:
        super().__init__()
        self.first = nn.Embedding(rows, rank, padding_idx=padding_idx)
        self.second = nn.Linear(rank, width, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids `(...)` to `(..., width)`."""
        result: Tensor = self.second(self.first(ids))
        return result


def fit_shapes_(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Replace the layers of `model` whose shape or factorization differs from `state`."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Embedding) and f"{name}.first.weight" in state:
            rows, rank = state[f"{name}.first.weight"].shape
            width = state[f"{name}.second.weight"].shape[0]
            embedding = LowRankEmbedding(rows, rank, width, padding_idx=module.padding_idx)
            model.set_submodule(name, embedding)
        if not isinstance(module, nn.Linear):
            continue
        if f"{name}.first.weight" in state:
            rank, in_features = state[f"{name}.first.weight"].shape
            out_features = state[f"{name}.second.weight"].shape[0]
            bias = f"{name}.second.bias" in state
            model.set_submodule(name, LowRankLinear(in_features, rank, out_features, bias=bias))
        elif f"{name}.weight" in state and state[f"{name}.weight"].shape != module.weight.shape:
            out_features, in_features = state[f"{name}.weight"].shape
            model.set_submodule(name, nn.Linear(in_features, out_features, bias=f"{name}.bias" in state))


# Multiply-accumulates of a PyTorch model on one note, counted by PyTorch as it runs.


def count_macs(model: nn.Module, tokens: int) -> int:
    """Multiply-accumulates of one note of `tokens` word pieces (matrix products, attention included)."""
    ids = torch.ones((1, max(tokens, 2)), dtype=torch.int64)
    model.zero_grad(set_to_none=True)
    # PyTorch counts the products of attention only where they are written out, not in its fused kernel.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.eval()(ids, torch.ones_like(ids))
    return int(counter.get_total_flops()) // 2
