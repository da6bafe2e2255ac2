"""The step `adapt`: the encoder learns the notes' language."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from sympress.compress.recipe.step import Count, Step
from sympress.errors import InputError

if TYPE_CHECKING:
    from sympress.compress.recipe.material import Piece, Workshop


class Adapt(Step):
    """Masked-language-model training of the encoder on the user's notes, before everything else.

    Attributes:
        epochs: passes over the notes.
    """

    first: ClassVar[str | None] = "epochs"
    step: Literal["adapt"] = "adapt"
    epochs: Count = 1

    @property
    def trains(self) -> bool:
        """Always."""
        return True

    def check_place(self, before: Sequence[Step], after: Sequence[Step]) -> None:
        """It trains a whole encoder."""
        del after
        if before:
            raise InputError("adapt must be the first step: it trains the encoder before anything is pressed")

    def apply(self, piece: Piece, shop: Workshop, number: int) -> str:
        """Train; the head fits again once a later step has trained it."""
        from sympress.training.adapt import AdaptSettings, adapt_encoder_

        if not shop.trains:
            raise InputError(
                f"step {number} trains, which --no-training rules out; take it out of the recipe"
            )
        settings = AdaptSettings(
            epochs=self.epochs,
            batch_size=shop.settings.batch_size,
            seed=shop.settings.seed,
            max_tokens=shop.material.max_tokens,
        )
        texts = [*shop.material.training, *shop.material.transfer]
        folder = shop.folder / f"checkpoints-{number}"
        log = adapt_encoder_(
            piece.model.encoder, piece.tokenizer, texts, settings, folder, progress=shop.progress
        )
        piece.train_seconds += log.seconds
        after = "its head no longer fits until a later step (distill, fine-tune) trains it"
        return f"{log.verdict()}; {after}" if log.helped else log.verdict()
