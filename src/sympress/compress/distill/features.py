"""Look on while a model works: hidden states of every layer, queries, keys and values of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sympress.compress.arch import family_of, layers_of
from sympress.errors import InputError
from sympress.training.model import SymptomModel

Keep = Callable[[str, Tensor], None]


@dataclass(frozen=True)
class Features:
    """What was seen in one forward pass.

    Attributes:
        states: `(batch, tokens, width)` each: the embeddings, then what every layer puts out; the last is
            what the head reads (after ModernBERT's last norm). Empty where not asked for.
        relations: queries, keys and values of one layer, `(batch, tokens, channels)` each, before any
            rotary position. Empty where not asked for.
    """

    states: tuple[Tensor, ...] = ()
    relations: tuple[Tensor, ...] = ()


def forward_features(
    model: SymptomModel,
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    states: bool,
    relations_layer: int | None = None,
) -> tuple[Tensor, Features]:
    """Logits `(batch, K)` and the features asked for, from one forward pass; no hook stays behind.

    Args:
        model: any state; layers may be factorized or have heads and neurons removed.
        input_ids: `(batch, tokens)`.
        attention_mask: `(batch, tokens)`.
        states: whether hidden states are wanted.
        relations_layer: the layer whose queries, keys and values are wanted; -1 is the last.

    Raises:
        InputError: there is no such layer, or it has no attention left.
    """
    seen: dict[str, Tensor] = {}
    count = len(layers_of(model.encoder))
    hooks: list[RemovableHandle] = []
    try:
        if states:
            hooks += _watch_states(model, seen.__setitem__)
        if relations_layer is not None:
            hooks += _watch_relations(model, relations_layer, seen.__setitem__)
        logits: Tensor = model(input_ids, attention_mask)
    finally:
        for hook in hooks:
            hook.remove()
    return logits, Features(
        tuple(seen[f"state {index}"] for index in range(count + 1)) if states else (),
        _three([value for name, value in seen.items() if name.startswith("relation")]),
    )


def _watch_states(model: SymptomModel, keep: Keep) -> list[RemovableHandle]:
    layers = layers_of(model.encoder)

    def enter(_layer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        keep("state 0", arguments[0] if arguments else named["hidden_states"])

    def leave(index: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _arguments: Any, output: Any) -> None:
            # a layer may put out a tuple; the encoder's own result counts as the last layer's
            state = output if isinstance(output, Tensor) else output[0]
            keep(f"state {index}", state)

        return hook

    hooks = [layers[0].register_forward_pre_hook(enter, with_kwargs=True)]
    inner = list(layers)[:-1]
    hooks += [layer.register_forward_hook(leave(index)) for index, layer in enumerate(inner, start=1)]
    return [*hooks, model.encoder.register_forward_hook(leave(len(layers)))]


def _watch_relations(model: SymptomModel, index: int, keep: Keep) -> list[RemovableHandle]:
    layers = layers_of(model.encoder)
    if not -len(layers) <= index < len(layers):
        raise InputError(f"relations of layer {index}: the model has layers 0 to {len(layers) - 1}, or -1")
    names = family_of(model.encoder).relation_inputs

    def watch(name: str) -> RemovableHandle:
        try:
            linear = layers[index].get_submodule(name)
        except AttributeError as error:
            raise InputError(
                f"layer {index} has no attention left to take relations from; choose another layer"
            ) from error
        return linear.register_forward_hook(
            lambda _module, _arguments, output: keep(f"relation {name}", output)
        )

    return [watch(name) for name in names]


def _three(outputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Queries, keys and values; ModernBERT makes all three with one matrix, side by side."""
    return tuple(outputs[0].chunk(3, dim=-1)) if len(outputs) == 1 else tuple(outputs)
