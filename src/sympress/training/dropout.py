"""How much of its activations a model drops while it trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def dropping(model: nn.Module, share: float | None) -> Iterator[None]:
    """Within it `model` drops `share` of its activations wherever it drops any; as before if None.

    Afterwards everything is as it was.
    """
    places = [] if share is None else list(_places(model))
    before = [getattr(module, name) for module, name in places]
    try:
        for module, name in places:
            setattr(module, name, share)
        yield
    finally:
        for (module, name), own in zip(places, before, strict=True):
            setattr(module, name, own)


def _places(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            yield module, "p"
        elif isinstance(getattr(module, "attention_dropout", None), float):  # ModernBERT drops by hand
            yield module, "attention_dropout"
