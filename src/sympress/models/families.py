"""The one file that knows the attribute names of BERT, DistilBERT, RoBERTa, ELECTRA, ModernBERT and ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import nn
from transformers import PreTrainedModel

from sympress.errors import InputError
from sympress.models.convolution import CONVOLUTION


@dataclass(frozen=True)
class Family:
    """Dotted names, relative to the encoder (`layers`) or to one layer (the rest).

    `queries_keys_values` holds three names, or one where the three share a matrix (ModernBERT). `gated`
    feed-forward layers produce twice the neurons: values, then gates. DeBERTa's heads are tied to its
    relative positions and are never removed: its `queries_keys_values` is empty.

    `relation_inputs` are the linears whose outputs are queries, keys and values, for looking on (one where
    the three share a matrix). `embeddings` (from the encoder) are the tables whose rows are added up to a
    token's first state, words first; an encoder may lack some. `neurons_setting` is the config's name for
    the number of neurons.

    `positions` is the table of learnt positions (from the encoder), None where there are rotary ones alone.

    A `pre_norm` layer normalises the inputs of its two halves, the others their sums.

    Where `positions_follow_padding`, a note's positions are counted from the id of the padding token.

    A family without `attention` has none of its names; each layer is one linear one, `convolution`.
    """

    layers: str
    embeddings: tuple[str, ...]
    queries_keys_values: tuple[str, ...] = ()
    attention_output: str = ""
    neurons_in: str = ""
    neurons_out: str = ""
    relation_inputs: tuple[str, ...] = ()
    neurons_setting: str = "intermediate_size"
    positions: str | None = "embeddings.position_embeddings"
    gated: bool = False
    pre_norm: bool = False
    positions_follow_padding: bool = False
    convolution: str = ""

    @property
    def attention(self) -> bool:
        """True for transformers."""
        return not self.convolution


#: The largest size that config.json may give, by the names of all families: transformers makes objects of
#: them before any weight is compared with them.
CONFIG_SIZES: dict[str, int] = {
    "num_labels": 100_000,
    "vocab_size": 10_000_000,
    "max_position_embeddings": 10_000_000,
    "type_vocab_size": 1_000,
    **dict.fromkeys(("num_hidden_layers", "n_layers"), 1_000),
    **dict.fromkeys(("num_attention_heads", "n_heads"), 10_000),
    **dict.fromkeys(("hidden_size", "dim", "embedding_size"), 100_000),
    **dict.fromkeys(("intermediate_size", "hidden_dim"), 1_000_000),
}

_BERT = Family(
    layers="encoder.layer",
    queries_keys_values=("attention.self.query", "attention.self.key", "attention.self.value"),
    attention_output="attention.output.dense",
    neurons_in="intermediate.dense",
    neurons_out="output.dense",
    relation_inputs=("attention.self.query", "attention.self.key", "attention.self.value"),
    embeddings=(
        "embeddings.word_embeddings",
        "embeddings.position_embeddings",
        "embeddings.token_type_embeddings",
    ),
)
FAMILIES: dict[str, Family] = {
    "bert": _BERT,
    "roberta": replace(_BERT, positions_follow_padding=True),
    "xlm-roberta": replace(_BERT, positions_follow_padding=True),
    "electra": _BERT,
    "distilbert": Family(
        layers="transformer.layer",
        queries_keys_values=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        attention_output="attention.out_lin",
        neurons_in="ffn.lin1",
        neurons_out="ffn.lin2",
        relation_inputs=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        embeddings=("embeddings.word_embeddings", "embeddings.position_embeddings"),
        neurons_setting="hidden_dim",
    ),
    "modernbert": Family(
        layers="layers",
        queries_keys_values=("attn.Wqkv",),
        attention_output="attn.Wo",
        neurons_in="mlp.Wi",
        neurons_out="mlp.Wo",
        gated=True,
        pre_norm=True,
        relation_inputs=("attn.Wqkv",),
        embeddings=("embeddings.tok_embeddings",),
        positions=None,
    ),
    "deberta-v2": replace(
        _BERT,
        queries_keys_values=(),
        relation_inputs=("attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"),
    ),
    CONVOLUTION: Family(
        layers="layers", embeddings=("word_embeddings",), positions=None, convolution="dense"
    ),
}


#: What a step says that fits transformers alone.
NO_ATTENTION = "this model has no attention and no feed-forward layers"


def family_of(encoder: PreTrainedModel) -> Family:
    """The family of `encoder`.

    Raises:
        InputError: the architecture is not supported; the message names those that are.
    """
    return family_named(str(encoder.config.model_type))


def family_named(kind: str) -> Family:
    """The family of encoders whose config.json says `kind`; raises as `family_of`."""
    if kind not in FAMILIES:
        raise InputError(f"architecture {kind!r} cannot be compressed; supported are {', '.join(FAMILIES)}")
    return FAMILIES[kind]


def layers_of(encoder: PreTrainedModel) -> nn.ModuleList:
    """The transformer layers, first to last."""
    layers = encoder.get_submodule(family_of(encoder).layers)
    if not isinstance(layers, nn.ModuleList):
        raise InputError(f"architecture {encoder.config.model_type!r}: its layers are not a list")
    return layers


def spread_layers(layers: int, kept: int) -> tuple[int, ...]:
    """`kept` of `layers` indices, evenly spread, always with the first and (for two or more) the last.

    Raises:
        InputError: as `check_kept`.
    """
    check_kept(layers, kept)
    step = (layers - 1) / max(kept - 1, 1)
    return tuple(math.floor(index * step + 0.5) for index in range(kept))


def check_kept(layers: int, kept: int) -> None:
    """See that `kept` of `layers` can stay.

    Raises:
        InputError: there are not as many, or none is to stay.
    """
    if not 1 <= kept <= layers:
        raise InputError(f"a student of {kept} layers cannot be taken from a teacher of {layers}")


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


def removes_heads(family: Family) -> bool:
    """True where heads can be removed: nothing but the layers' shapes says how many there are."""
    return bool(family.queries_keys_values)


def tell_hidden_size_(encoder: PreTrainedModel, hidden: int) -> None:
    """Write a smaller hidden size into the config, with as many heads as keep a head's width true.

    Raises:
        InputError: `hidden` is no multiple of a head's width, or is ELECTRA's embedding width, at which it
            would lose the projection of its embeddings.
    """
    config, width, whole = encoder.config, head_width(encoder), int(encoder.config.hidden_size)
    if hidden < width or hidden % width:
        raise InputError(f"hidden={hidden} must be a multiple of the width of a head, which is {width}")
    embedding = getattr(config, "embedding_size", None)
    if embedding == hidden != whole:
        raise InputError(f"hidden={hidden} is the width of the embeddings, which are projected; take another")
    if embedding == whole:
        config.embedding_size = hidden
    config.num_attention_heads = hidden // width
    config.hidden_size = hidden


def position_rows(encoder: PreTrainedModel) -> tuple[int, int]:
    """Rows of the table of learnt positions, and the row of a note's first token; (0, 0) without a table."""
    table = position_table(encoder)
    if table is None:
        return 0, 0
    follows = family_of(encoder).positions_follow_padding
    return table.num_embeddings, int(encoder.config.pad_token_id) + 1 if follows else 0


def keep_positions_(encoder: PreTrainedModel, rows: int) -> None:
    """Keep the first `rows` learnt positions, with the constants as long as they are, and tell the config."""
    family, table = family_of(encoder), position_table(encoder)
    if family.positions is None or table is None:
        raise InputError(f"architecture {encoder.config.model_type!r} has no table of positions here")
    parent = encoder.get_submodule(family.positions.rpartition(".")[0])
    smaller = nn.Embedding.from_pretrained(
        table.weight.detach()[:rows].clone(),
        freeze=not table.weight.requires_grad,
        padding_idx=table.padding_idx,
    )
    setattr(parent, family.positions.rpartition(".")[2], smaller)
    for name, constant in list(parent.named_buffers(recurse=False)):  # ids of positions and token types
        if constant.shape == (1, table.num_embeddings):
            setattr(parent, name, constant[:, :rows].clone())
    config = encoder.config
    if getattr(config, "max_relative_positions", 1) < 1:  # DeBERTa: as many as absolute ones, if not said
        config.max_relative_positions = config.max_position_embeddings
    config.max_position_embeddings = rows


def position_table(encoder: PreTrainedModel) -> nn.Embedding | None:
    """The table of learnt positions; None where the family or this encoder (DeBERTa v3) has none."""
    name = family_of(encoder).positions
    if name is None:
        return None
    parent, _, attribute = name.rpartition(".")
    table = getattr(encoder.get_submodule(parent), attribute, None)
    return table if isinstance(table, nn.Embedding) else None
