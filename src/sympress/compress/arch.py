"""The one file that knows the attribute names of BERT, DistilBERT, RoBERTa, ELECTRA and ModernBERT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from sympress.errors import InputError


@dataclass(frozen=True)
class Family:
    """Dotted names, relative to the encoder (`layers`) or to one layer (the rest).

    `queries_keys_values` holds three names, or one where the three share a matrix (ModernBERT). `gated`
    feed-forward layers produce twice the neurons: values, then gates. DeBERTa's heads are tied to its
    relative positions and are never removed: its `queries_keys_values` is empty.
    """

    layers: str
    queries_keys_values: tuple[str, ...]
    attention_output: str
    neurons_in: str
    neurons_out: str
    gated: bool = False


_BERT = Family(
    layers="encoder.layer",
    queries_keys_values=("attention.self.query", "attention.self.key", "attention.self.value"),
    attention_output="attention.output.dense",
    neurons_in="intermediate.dense",
    neurons_out="output.dense",
)
FAMILIES: dict[str, Family] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _BERT,
    "distilbert": Family(
        layers="transformer.layer",
        queries_keys_values=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        attention_output="attention.out_lin",
        neurons_in="ffn.lin1",
        neurons_out="ffn.lin2",
    ),
    "modernbert": Family(
        layers="layers",
        queries_keys_values=("attn.Wqkv",),
        attention_output="attn.Wo",
        neurons_in="mlp.Wi",
        neurons_out="mlp.Wo",
        gated=True,
    ),
    "deberta-v2": Family(
        layers="encoder.layer",
        queries_keys_values=(),
        attention_output="attention.output.dense",
        neurons_in="intermediate.dense",
        neurons_out="output.dense",
    ),
}


def family_of(encoder: PreTrainedModel) -> Family:
    """The family of `encoder`.

    Raises:
        InputError: the architecture is not supported; the message names those that are.
    """
    kind = encoder.config.model_type
    if kind not in FAMILIES:
        raise InputError(f"architecture {kind!r} cannot be compressed; supported are {', '.join(FAMILIES)}")
    return FAMILIES[kind]


def layers_of(encoder: PreTrainedModel) -> nn.ModuleList:
    """The transformer layers, first to last."""
    layers = encoder.get_submodule(family_of(encoder).layers)
    if not isinstance(layers, nn.ModuleList):
        raise InputError(f"architecture {encoder.config.model_type!r}: its layers are not a list")
    return layers


def keep_layers_(encoder: PreTrainedModel, kept: Sequence[int]) -> None:
    """Keep only the layers with the indices `kept`, in that order, and tell the config."""
    family, layers = family_of(encoder), layers_of(encoder)
    parent, _, attribute = family.layers.rpartition(".")
    setattr(encoder.get_submodule(parent), attribute, nn.ModuleList(layers[index] for index in kept))
    if getattr(encoder.config, "layer_types", None) is not None:
        encoder.config.layer_types = [encoder.config.layer_types[index] for index in kept]
    encoder.config.num_hidden_layers = len(kept)


def layer_linears(encoder: PreTrainedModel) -> Iterator[tuple[str, nn.Linear]]:
    """Name (from the encoder) and module of every linear layer inside the transformer layers."""
    prefix = family_of(encoder).layers + "."
    for name, module in encoder.named_modules():
        if name.startswith(prefix) and isinstance(module, nn.Linear):
            yield name, module


def head_width(encoder: PreTrainedModel) -> int:
    """Channels of one attention head; unchanged by removing heads."""
    return int(encoder.config.hidden_size) // int(encoder.config.num_attention_heads)
