"""What a recipe would leave of a model, by plain arithmetic, and whether it can be applied."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from sympress.compression.quantize import Quantize
from sympress.compression.recipe.language import Recipe
from sympress.errors import InputError
from sympress.models.families import Family, family_of, head_width, layers_of, position_rows
from sympress.models.model import LowRankEmbedding, LowRankLinear, SymptomModel

# What a recipe would leave of a model, by plain arithmetic: bytes and multiply-accumulates.
#
# These are proxies that let a search reject a trial before it is trained; what is reported is always
# measured.


#: What an ONNX file holds beside its weights, in all and a layer: nodes, names and shapes. From the int8
#: files of one and two layers in results/vaers-present.json.
GRAPH_BYTES = 18_000
GRAPH_BYTES_PER_LAYER = 11_500
#: A float scale and an int8 zero point for each output channel.
_SCALE_BYTES = 5
#: A float scale for each row of a table in integers.
_ROW_SCALE_BYTES = 4


@dataclass(frozen=True)
class ModelShape:
    """The sizes that decide what a model costs, before and after compression.

    Attributes:
        layers: transformer layers, or convolutions.
        hidden: width of the token states.
        heads: attention heads of each layer.
        head_width: channels of one head.
        ffn: feed-forward neurons of each layer.
        vocabulary: word pieces.
        symptoms: outputs of the head.
        positions: learnt position embeddings, 0 for rotary ones.
        positions_read: of those, what inputs of `max_tokens` read; None where that is not known.
        token_types: token type embeddings.
        embedding: width of the word embeddings; None where it is `hidden` (ELECTRA's may be smaller).
        gated: the feed-forward layer makes values and gates (ModernBERT).
        dense_head: the head has a dense layer before its output (pooling `cls`).
        rank: of every factorized matrix of the layers; None where they are whole.
        kept_share: share of the layers' weights that an allocated low rank keeps.
        embedding_rank: of the factorized word embeddings; None where they are whole.
        bits: of the weights of the layers and the head.
        embedding_bits: of the embeddings.
        float_layers: layers that stay in float.
        kernel: pieces that each convolution reads at once; 0 for a transformer. Without attention `heads`,
            `head_width` and `ffn` are 0, and `embedding` is what the first convolution reads.
    """

    layers: int
    hidden: int
    heads: int
    head_width: int
    ffn: int
    vocabulary: int
    symptoms: int
    positions: int = 512
    positions_read: int | None = None
    token_types: int = 2
    embedding: int | None = None
    gated: bool = False
    dense_head: bool = False
    rank: int | None = None
    kept_share: float = 1.0
    embedding_rank: int | None = None
    bits: int = 32
    embedding_bits: int = 32
    float_layers: int = 0
    kernel: int = 0

    @property
    def attention(self) -> bool:
        """True for transformers."""
        return self.heads > 0

    @property
    def embedding_width(self) -> int:
        """Width of the embeddings."""
        return self.hidden if self.embedding is None else self.embedding

    def matrices(self, layer: int = 0) -> tuple[tuple[int, int], ...]:
        """`(in, out)` of each matrix of a layer: query, key, value, output, and the feed-forward two.

        Of a convolution one: the states that it reads at once, side by side.
        """
        if not self.attention:
            inputs = self.hidden if layer else self.embedding_width
            return ((self.kernel * inputs, self.hidden),)
        channels = self.heads * self.head_width
        neurons_in = self.ffn * (2 if self.gated else 1)
        return (
            *((self.hidden, channels),) * 3,
            (channels, self.hidden),
            (self.hidden, neurons_in),
            (self.ffn, self.hidden),
        )

    def layer_weights(self, layer: int = 0) -> int:
        """Weights of a layer's matrices; a factor pair counts r (in + out), where that saves weights."""
        weights = 0
        for rows, columns in self.matrices(layer):
            whole = rows * columns
            weights += whole if self.rank is None else min(whole, self.rank * (rows + columns))
        return round(weights * self.kept_share)


def pressed_shape(recipe: Recipe, shape: ModelShape) -> ModelShape:
    """The shape that `recipe` leaves of `shape`.

    Raises:
        InputError: a step wants to keep more layers or hidden dimensions than there are.
    """
    for step in recipe.steps:
        shape = step.reshape(shape)
    return shape


def estimate_size_bytes(recipe: Recipe, shape: ModelShape) -> int:
    """Bytes of the ONNX file that `recipe` makes of a model of `shape`, weights in their stored bits."""
    pressed = pressed_shape(recipe, shape)
    whole = min(pressed.float_layers, pressed.layers)
    layers = sum(
        _layer_bytes(pressed, layer, 32 if layer < whole else pressed.bits) for layer in range(pressed.layers)
    )
    graph = GRAPH_BYTES + GRAPH_BYTES_PER_LAYER * pressed.layers
    return math.ceil(_embedding_bytes(pressed) + layers + _head_bytes(pressed) + graph)


def estimate_macs(recipe: Recipe, shape: ModelShape, tokens: int) -> int:
    """Multiply-accumulates of one note of `tokens` word pieces: matrix products, attention included.

    A layer costs its weights once a token, and 2 tokens² channels for scores and their weighted sum.
    """
    pressed = pressed_shape(recipe, shape)
    channels = pressed.heads * pressed.head_width
    weights = sum(pressed.layer_weights(layer) for layer in range(pressed.layers))
    layers = tokens * weights + pressed.layers * 2 * tokens**2 * channels
    embeddings = 0
    if pressed.embedding_rank is not None:
        embeddings += tokens * pressed.embedding_rank * pressed.embedding_width
    if pressed.attention and pressed.embedding_width != pressed.hidden:
        embeddings += tokens * pressed.embedding_width * pressed.hidden
    return embeddings + layers + _head_weights(pressed)


def estimates(recipe: Recipe, shape: ModelShape, tokens: int) -> dict[str, float]:
    """What arithmetic tells of a recipe before training: `size_mb` and `macs_ratio` to the teacher."""
    teacher = Recipe((Quantize(),))  # changes no multiply-accumulate
    return {
        "size_mb": estimate_size_bytes(recipe, shape) / 1e6,
        "macs_ratio": estimate_macs(recipe, shape, tokens) / estimate_macs(teacher, shape, tokens),
    }


def _layer_bytes(shape: ModelShape, layer: int, bits: int) -> float:
    outputs = sum(columns for _, columns in shape.matrices(layer))
    biases_and_norms = outputs + 4 * shape.hidden
    scales = _SCALE_BYTES * outputs if bits < 32 else 0
    return shape.layer_weights(layer) * bits / 8 + scales + 4 * biases_and_norms


def _embedding_bytes(shape: ModelShape) -> float:
    width = shape.embedding_width
    if shape.embedding_rank is None:
        words = shape.vocabulary * width
    else:
        words = shape.embedding_rank * (shape.vocabulary + width)
    weights = words + (shape.positions + shape.token_types) * width
    scales = _ROW_SCALE_BYTES * (shape.vocabulary + shape.positions) if shape.embedding_bits < 32 else 0
    norm = 2 * width
    projection = 0.0
    if shape.attention and width != shape.hidden:
        projection = width * shape.hidden * shape.bits / 8 + 4 * shape.hidden
    return weights * shape.embedding_bits / 8 + scales + 4 * norm + projection


def _head_weights(shape: ModelShape) -> int:
    return shape.hidden * shape.symptoms + (shape.hidden**2 if shape.dense_head else 0)


def _head_bytes(shape: ModelShape) -> float:
    outputs = shape.symptoms + (shape.hidden if shape.dense_head else 0)
    scales = _SCALE_BYTES * outputs if shape.bits < 32 else 0
    return _head_weights(shape) * shape.bits / 8 + scales + 4 * outputs


# The sizes of a model as it stands, and whether a recipe can be applied to them.


def shape_of(model: SymptomModel, max_tokens: int | None = None) -> ModelShape:
    """The shape of `model`; where layers differ (heads or neurons were removed), their mean.

    Args:
        model: as it stands.
        max_tokens: its longest input, which says how many positions a recipe may cut; None if not known.

    Raises:
        InputError: the architecture is not supported; the message names those that are.
    """
    encoder, family = model.encoder, family_of(model.encoder)
    layers = list(layers_of(encoder))
    tables = _tables(encoder, family)
    positions, first = position_rows(encoder)
    words, embedding = tables[0]
    table = encoder.get_input_embeddings()
    hidden = int(encoder.config.hidden_size)
    width = head_width(encoder) if family.attention else 0
    ranks = [module.first.out_features for module in encoder.modules() if isinstance(module, LowRankLinear)]
    return ModelShape(
        layers=len(layers),
        hidden=hidden,
        heads=_mean(layers, lambda layer: _channels(layer, family) / width) if family.attention else 0,
        head_width=width,
        ffn=_mean(layers, lambda layer: _neurons(layer, family)) if family.attention else 0,
        vocabulary=words,
        symptoms=model.symptoms,
        positions=positions,
        positions_read=None if max_tokens is None else min(positions, first + max_tokens),
        token_types=sum(
            rows for name, (rows, _) in zip(family.embeddings, tables, strict=True) if "type" in name
        ),
        embedding=None if embedding == hidden else embedding,
        gated=family.gated,
        dense_head=model.head.dense is not None,
        rank=round(sum(ranks) / len(ranks)) if ranks else None,
        embedding_rank=table.first.embedding_dim if isinstance(table, LowRankEmbedding) else None,
        kernel=0 if family.attention or not layers else int(encoder.config.kernel_size),
    )


def check_recipe(recipe: Recipe, model: SymptomModel, *, training: bool = True) -> ModelShape:
    """Refuse a recipe that could not be applied to `model`; returns the shape that it leaves.

    Raises:
        InputError: a step trains though `training` is False, keeps more than there is, removes heads where
            there is one a layer, or has a rank above the full one. The step's number is named.
    """
    teacher, family = shape_of(model), family_of(model.encoder)
    shape = teacher
    for number, step in enumerate(recipe.steps, 1):
        if not training and step.trains:
            raise InputError(
                f"step {number} ({step.step}) trains, which --no-training rules out; take it out"
            )
        if step.needs_pretrained:
            raise InputError(
                f"step {number} ({step.step}) needs the encoder before fine-tuning, which a study alone has; "
                "take it out"
            )
        try:
            step.check(shape, teacher, family)
            step.check_task("mentions" if model.per_token else "present")
            shape = step.reshape(shape)
        except InputError as error:
            raise InputError(f"step {number} ({step.step}): {error}") from error
    return shape


def _mean(layers: Sequence[nn.Module], size: Callable[[nn.Module], float]) -> int:
    return max(1, round(sum(map(size, layers)) / len(layers)))


def _tables(encoder: nn.Module, family: Family) -> list[tuple[int, int]]:
    """Rows and width of each embedding table of the family; an absent one has no rows."""
    modules = dict(encoder.named_modules())
    found = []
    for name in family.embeddings:
        table = modules.get(name)
        if isinstance(table, LowRankEmbedding):
            found.append((table.first.num_embeddings, table.second.out_features))
        elif isinstance(table, nn.Embedding):
            found.append((table.num_embeddings, table.embedding_dim))
        else:
            found.append((0, 0))
    return found


def _channels(layer: nn.Module, family: Family) -> int:
    """Channels of the queries of one layer; a third of the outputs where the three share a matrix."""
    outputs = _outputs(layer.get_submodule(family.relation_inputs[0]))
    return outputs // 3 if len(family.relation_inputs) == 1 else outputs


def _neurons(layer: nn.Module, family: Family) -> int:
    outputs = _outputs(layer.get_submodule(family.neurons_in))
    return outputs // 2 if family.gated else outputs


def _outputs(module: nn.Module) -> int:
    last = module.second if isinstance(module, LowRankLinear) else module
    if not isinstance(last, nn.Linear):
        raise InputError(f"a layer has a {type(last).__name__} where a linear layer belongs")
    return last.out_features
