"""What a recipe would leave of a model, by plain arithmetic: bytes and multiply-accumulates.

These are proxies that let a search reject a trial before it is trained; what is reported is always measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sympress.compress.recipe.parse import Recipe

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
    """The sizes that decide what a model of the BERT family costs, before and after compression.

    Attributes:
        layers: transformer layers.
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

    @property
    def embedding_width(self) -> int:
        """Width of the embeddings."""
        return self.hidden if self.embedding is None else self.embedding

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """`(in, out)` of each matrix of one layer: query, key, value, output, and the feed-forward two."""
        channels = self.heads * self.head_width
        neurons_in = self.ffn * (2 if self.gated else 1)
        return (
            *((self.hidden, channels),) * 3,
            (channels, self.hidden),
            (self.hidden, neurons_in),
            (self.ffn, self.hidden),
        )

    @property
    def layer_weights(self) -> int:
        """Weights of one layer's matrices; a factor pair counts r (in + out), where that saves weights."""
        weights = 0
        for rows, columns in self.matrices:
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
    layers = whole * _layer_bytes(pressed, 32) + (pressed.layers - whole) * _layer_bytes(
        pressed, pressed.bits
    )
    graph = GRAPH_BYTES + GRAPH_BYTES_PER_LAYER * pressed.layers
    return math.ceil(_embedding_bytes(pressed) + layers + _head_bytes(pressed) + graph)


def estimate_macs(recipe: Recipe, shape: ModelShape, tokens: int) -> int:
    """Multiply-accumulates of one note of `tokens` word pieces: matrix products, attention included.

    A layer costs its weights once a token, and 2 tokens² channels for scores and their weighted sum.
    """
    pressed = pressed_shape(recipe, shape)
    channels = pressed.heads * pressed.head_width
    layer = tokens * pressed.layer_weights + 2 * tokens**2 * channels
    embeddings = 0
    if pressed.embedding_rank is not None:
        embeddings += tokens * pressed.embedding_rank * pressed.embedding_width
    if pressed.embedding_width != pressed.hidden:
        embeddings += tokens * pressed.embedding_width * pressed.hidden
    return embeddings + pressed.layers * layer + _head_weights(pressed)


def _layer_bytes(shape: ModelShape, bits: int) -> float:
    outputs = sum(columns for _, columns in shape.matrices)
    biases_and_norms = outputs + 4 * shape.hidden
    scales = _SCALE_BYTES * outputs if bits < 32 else 0
    return shape.layer_weights * bits / 8 + scales + 4 * biases_and_norms


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
    if width != shape.hidden:
        projection = width * shape.hidden * shape.bits / 8 + 4 * shape.hidden
    return weights * shape.embedding_bits / 8 + scales + 4 * norm + projection


def _head_weights(shape: ModelShape) -> int:
    return shape.hidden * shape.symptoms + (shape.hidden**2 if shape.dense_head else 0)


def _head_bytes(shape: ModelShape) -> float:
    outputs = shape.symptoms + (shape.hidden if shape.dense_head else 0)
    scales = _SCALE_BYTES * outputs if shape.bits < 32 else 0
    return _head_weights(shape) * shape.bits / 8 + scales + 4 * outputs
