"""The step `mask`: weights that are zero and stay so."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sympress.compress.recipe.step import Step

if TYPE_CHECKING:
    from sympress.compress.recipe.material import Piece, Workshop


class Mask(Step):
    """Set weights to zero and keep them there; file and arithmetic stay as large as before.

    Attributes:
        share: of the weights of each linear layer.
        score: `magnitude` masks the smallest; `movement` those that training moves towards zero.
    """

    first: ClassVar[str | None] = "share"
    bare: ClassVar[bool] = True
    step: Literal["mask"] = "mask"
    share: float = Field(ge=0, lt=1)
    score: Literal["magnitude", "movement"] = "magnitude"

    @property
    def trains(self) -> bool:
        """Where training says which weights go."""
        return self.score == "movement"

    def apply(self, piece: Piece, shop: Workshop, number: int) -> str:
        """At once by magnitude, or in the course of a training by movement."""
        from sympress.compress.prune.masks import apply_masks_, magnitude_masks
        from sympress.compress.recipe.learn import learn_with_masks, settings_for

        if self.score == "movement":
            settings = replace(settings_for(shop, epochs=None, rate=None), select="last")
            learn_with_masks(piece, shop, number, share=self.share, settings=settings)
        else:
            apply_masks_(piece.model, magnitude_masks(piece.model, self.share))
        piece.masked = True
        where = "linear layer of the encoder" if self.score == "movement" else "linear layer"
        return f"{self.share:.0%} of the weights of each {where} are masked: zeros in a file of the same size"
