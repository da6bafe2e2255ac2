"""The step `pretrained`: back to the encoder as it was before fine-tuning, as a published study had it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from sympress.compress.recipe.step import Step
from sympress.errors import InputError

if TYPE_CHECKING:
    from sympress.compress.recipe.material import Piece, Workshop
    from sympress.training.model import SymptomModel


class Pretrained(Step):
    """Begin with the pretrained encoder and a fresh head instead of the fine-tuned model; the first step."""

    step: Literal["pretrained"] = "pretrained"

    @property
    def needs_pretrained(self) -> bool:
        """Always."""
        return True

    def check_place(self, before: Sequence[Step], after: Sequence[Step]) -> None:
        """Whatever came before would be lost."""
        del after
        if before:
            raise InputError("pretrained must be the first step: it drops what was done before")

    def apply(self, piece: Piece, shop: Workshop, number: int) -> str:
        """Make the model anew."""
        del number
        piece.model = untrained_model(piece, shop, shop.settings.seed)
        return "the encoder as it was before fine-tuning, with a fresh head"


def untrained_model(piece: Piece, shop: Workshop, seed: int) -> SymptomModel:
    """The pretrained encoder with a head like that of `piece`, fresh by `seed`.

    Raises:
        InputError: the encoder is not at hand.
    """
    from sympress.training.model import build_model

    if shop.pretrained is None:
        raise InputError("the encoder before fine-tuning is not at hand; a recipe of sympress study has it")
    head = piece.model.head
    return build_model(shop.pretrained, piece.model.symptoms, head.pooling, seed)
