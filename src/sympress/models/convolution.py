"""Encoders without attention: word vectors and convolutions over them, or the word vectors alone.

One convolution of a few words' width, the maximum over the note and a linear layer are a strong text
classifier (Kim 2014); several with growing dilation read as far as a sentence and tag it (Strubell et al.
2017, iterated dilated convolutions). Without any, a note is its pooled word vectors (Tulkens and van Dongen
2024, model2vec). There are no positions: a note may be of any length.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutput

CONVOLUTION = "sympress-conv"


class ConvolutionConfig(PreTrainedConfig):  # type: ignore[misc,unused-ignore]
    """Sizes of a `ConvolutionModel`.

    Attributes:
        vocab_size: word pieces.
        embedding_size: width of the word vectors.
        hidden_size: channels of each convolution; `embedding_size` where there is none.
        num_hidden_layers: convolutions; 0 for the word vectors alone.
        kernel_size: pieces that a convolution reads at once, 1 or more.
        dilation: convolution i reads pieces that are `dilation ** i` apart; 1 for neighbours always.
        hidden_act: activation, as transformers calls it.
        hidden_dropout_prob: share of the word vectors' and the convolutions' numbers that training drops.
        initializer_range: standard deviation of random word vectors.
        layer_norm_eps: of the layer norm in each convolution from the second on.
    """

    model_type = CONVOLUTION

    vocab_size: int = 30522
    embedding_size: int = 96
    hidden_size: int = 128
    num_hidden_layers: int = 1
    kernel_size: int = 3
    dilation: int = 1
    hidden_act: str = "relu"
    hidden_dropout_prob: float | int = 0.1
    initializer_range: float = 1.0
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0

    @property
    def reach(self) -> int:
        """Word pieces to one side that a token's state depends on, at the most."""
        sides = [self.dilation**index * (self.kernel_size - 1) for index in range(self.num_hidden_layers)]
        return sum(side - side // 2 for side in sides)


class ConvolutionLayer(nn.Module):
    """`(batch, tokens, in)` -> `(batch, tokens, channels)`: each token from itself and its neighbours.

    The convolution is written as one linear layer over the neighbours' states side by side, so that low rank,
    masks and int8 treat it as any other: ONNX Runtime has fast integer products, and no fast integer
    convolution. Beyond the ends of a note all is 0. Where `residual`, a layer adds to its input, normalised
    before the activation.
    """

    def __init__(self, config: ConvolutionConfig, index: int) -> None:
        super().__init__()
        inputs = config.hidden_size if index else config.embedding_size
        self.kernel_size, self.step = config.kernel_size, config.dilation**index
        self.dense = nn.Linear(config.kernel_size * inputs, config.hidden_size)
        self.residual = index > 0
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps) if self.residual else None
        self.activation = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.hidden_dropout_prob if self.residual else 0.0)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Map `states`; `mask` `(batch, tokens, 1)` is 0 for padding, which has no influence."""
        made = self.dense(self._neighbours(states * mask))
        if self.norm is None:
            first: Tensor = self.activation(made)
            return first
        added: Tensor = states + self.dropout(self.activation(self.norm(made)))
        return added

    def _neighbours(self, states: Tensor) -> Tensor:
        """For each token the states around it, first to last: `(batch, tokens, kernel_size x in)`."""
        reach = self.step * (self.kernel_size - 1)
        before = reach // 2
        padded = nn.functional.pad(states, (0, 0, before, reach - before))
        parts = [padded[:, start : start - reach or None] for start in range(0, reach + 1, self.step)]
        return torch.cat(parts, dim=-1) if len(parts) > 1 else states


class ConvolutionModel(PreTrainedModel):  # type: ignore[misc,unused-ignore]
    """Word vectors and convolutions; `last_hidden_state` is `(batch, tokens, hidden_size)`."""

    config_class = ConvolutionConfig
    base_model_prefix = "convolution"
    main_input_name = "input_ids"

    def __init__(self, config: ConvolutionConfig) -> None:
        super().__init__(config)
        self.word_embeddings: nn.Module = nn.Embedding(
            config.vocab_size, config.embedding_size, padding_idx=config.pad_token_id
        )
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.layers = nn.ModuleList(
            ConvolutionLayer(config, index) for index in range(config.num_hidden_layers)
        )
        self.post_init()  # type: ignore[no-untyped-call,unused-ignore]

    def _init_weights(self, module: nn.Module) -> None:
        """PyTorch's own for linear layers and norms; normal ones for word vectors, 0 for padding."""
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if module.padding_idx is not None:
                nn.init.zeros_(module.weight[module.padding_idx])

    def get_input_embeddings(self) -> nn.Module:
        """The word vectors."""
        return self.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Other word vectors, such as those of a smaller vocabulary."""
        self.word_embeddings = value

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> BaseModelOutput:
        """States of each token of `input_ids` `(batch, tokens)`; where the mask is 0 they mean nothing."""
        states = self.dropout(self.word_embeddings(input_ids))
        if self.layers:
            given = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            mask = given.unsqueeze(-1).to(states.dtype)  # (batch, tokens, 1)
            for layer in self.layers:
                states = layer(states, mask)
        return BaseModelOutput(last_hidden_state=states)


AutoConfig.register(CONVOLUTION, ConvolutionConfig, exist_ok=True)
AutoModel.register(ConvolutionConfig, ConvolutionModel, exist_ok=True)
