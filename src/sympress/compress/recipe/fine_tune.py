"""The step `fine-tune`: training on the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from sympress.compress.recipe.step import Count, Positive, Step

if TYPE_CHECKING:
    from sympress.compress.recipe.material import Piece, Workshop


class FineTune(Step):
    """Train the present model on the labels.

    Attributes:
        epochs: passes over the notes; None for the run's own.
        rate: learning rate; None for the run's own.
        simulate: `int8` rounds weights and inputs of linear layers while it trains, and stores the rounded
            weights as floats, as a published study had it; the file is no smaller.
    """

    first: ClassVar[str | None] = "epochs"
    step: Literal["fine-tune"] = "fine-tune"
    epochs: Count | None = None
    rate: Positive | None = None
    simulate: Literal["no", "int8"] = "no"

    @property
    def trains(self) -> bool:
        """Always."""
        return True

    def apply(self, piece: Piece, shop: Workshop, number: int) -> str:
        """Train on the labels."""
        from sympress.compress.quantize.simulate import settle_weights_, simulate_int8_
        from sympress.compress.recipe.learn import learn_from_labels, settings_for

        settings = settings_for(shop, epochs=self.epochs, rate=self.rate)
        count = simulate_int8_(piece.model) if self.simulate == "int8" else 0
        learn_from_labels(piece, shop, number, settings)
        said = f"{settings.epochs} epochs over {len(shop.material.training):,} labelled notes"
        if not count:
            return said
        settle_weights_(piece.model)
        return f"{said}; int8 is simulated in {count} linear layers and never runs as int8"
