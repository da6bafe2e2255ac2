"""The steps `prune` and `mask`: heads, neurons, dimensions and layers removed, or weights set to zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sympress.compression.distill import Distill
from sympress.compression.lowrank import LowRank
from sympress.compression.recipe import Count, Share, ShareOrCount, Step, Trial, share_or_count
from sympress.errors import InputError

if TYPE_CHECKING:
    from sympress.compression.recipe.material import Context, State
    from sympress.compression.search.estimate import ModelShape
    from sympress.models.families import Family
    from sympress.training.epochs import TrainSettings


# The step `prune`: heads, neurons, hidden dimensions or layers that are gone.


#: Shares of heads and of feed-forward neurons that stay, in a search; 1 removes none.
KEPT_SHARES = (0.25, 0.5, 0.75, 1.0)
#: Notes on which `score=taylor` measures, as the study's strategy does.
TAYLOR_NOTES = 256


class Prune(Step):
    """Remove heads, feed-forward neurons, hidden dimensions or layers: they are gone, not masked.

    Attributes:
        heads: share of each layer's attention heads that stays, at least one.
        ffn: share of each layer's feed-forward neurons that stays, at least one.
        hidden: hidden dimensions that stay, a share (float) or how many (int).
        layers: how many layers stay.
        macs: share of the multiply-accumulates that stays; heads and neurons are searched for it.
        score: by what heads and neurons go: `fisher`, what the loss misses when they fall silent together,
            `taylor`, the same of each by itself, or `surgeon`, what it misses once the others have made up
            for them, which `reconstruct` does.
        reconstruct: fit the rest to the removed part's outputs by least squares.
    """

    step: Literal["prune"] = "prune"
    heads: Share | None = None
    ffn: Share | None = None
    hidden: ShareOrCount | None = None
    layers: Count | None = None
    macs: Share | None = None
    score: Literal["fisher", "taylor", "surgeon"] = "fisher"
    reconstruct: bool = False

    @model_validator(mode="after")
    def _something_is_removed(self) -> Self:
        if self.macs is not None and (self.heads is not None or self.ffn is not None):
            raise ValueError("macs chooses the heads and neurons itself: leave out heads and ffn")
        if all(value is None for value in (self.heads, self.ffn, self.hidden, self.layers, self.macs)):
            raise ValueError("give what stays: heads, ffn, hidden, layers or macs")
        if self.score != "fisher" and all(value is None for value in (self.heads, self.ffn, self.macs)):
            raise ValueError("score ranks heads and neurons: give heads, ffn or macs")
        if self.score == "surgeon" and not self.reconstruct:
            raise ValueError("score=surgeon counts on the rest making up for what goes: add reconstruct=true")
        return self

    @property
    def removes_channels(self) -> bool:
        """True if the step cuts rows or columns out of matrices, rather than whole layers only."""
        return any(value is not None for value in (self.heads, self.ffn, self.hidden, self.macs))

    def check_place(self, before: Sequence[Step], after: Sequence[Step]) -> None:
        """Rows of two factors cannot be cut."""
        if self.removes_channels and any(isinstance(it, LowRank) and it.factorizes for it in before):
            raise InputError("prune: the layers are already factorized; put prune before lowrank")

    def check(self, shape: ModelShape, teacher: ModelShape, family: Family) -> None:
        """Heads can go where they are not tied to relative positions and there is more than one."""
        from sympress.models.families import NO_ATTENTION, removes_heads

        if not shape.attention:
            raise InputError(f"{NO_ATTENTION} to prune; give a smaller distill(student=conv), or lowrank")
        if self.heads is None or self.heads >= 1:
            return
        if not removes_heads(family):
            raise InputError("this architecture's heads are tied to its relative positions; remove ffn alone")
        if shape.heads == 1:
            raise InputError("the model has one head a layer already; no head can be removed")

    def apply(self, state: State, context: Context, number: int) -> str:
        """Remove what matters least."""
        import torch

        from sympress.compression.prune.remove import prune_
        from sympress.compression.recipe.material import CALIBRATION_NOTES, calibration_batches
        from sympress.training.losses import loss_of

        if state.masked and self.reconstruct:
            raise InputError("least squares would fill the zeros of mask: put prune before mask")
        loss = loss_of(context.material.task)
        notes = TAYLOR_NOTES if self.score == "taylor" else CALIBRATION_NOTES
        draw = partial(loss.sample, generator=torch.Generator().manual_seed(0))
        return prune_(
            state.model,
            calibration_batches(state, context.material, notes),
            loss,
            heads=self.heads,
            ffn=self.ffn,
            hidden=self.hidden,
            layers=self.layers,
            macs=self.macs,
            reconstruct=self.reconstruct,
            alone=self.score == "taylor",
            sample=draw if self.score == "surgeon" else None,
        )

    def reshape(self, shape: ModelShape) -> ModelShape:
        """What stays; all of a layer's arithmetic is linear in its heads and neurons, so `macs` is both."""
        heads, ffn = self.heads or self.macs or 1.0, self.ffn or self.macs or 1.0
        hidden = shape.hidden if self.hidden is None else share_or_count(self.hidden, shape.hidden)
        layers = shape.layers if self.layers is None else self.layers
        for name, wanted, total in (("layers", layers, shape.layers), ("hidden", hidden, shape.hidden)):
            if wanted > total:
                raise InputError(f"prune: {name}={wanted} is more than the {total} there are")
        return replace(
            shape,
            layers=layers,
            hidden=hidden,
            heads=max(1, round(heads * shape.heads)),
            ffn=max(1, round(ffn * shape.ffn)),
        )

    @classmethod
    def suggest(cls, trial: Trial, teacher: ModelShape, steps: Sequence[Step]) -> tuple[Step, ...]:
        """Before a student of copied layers: which shares of heads and neurons stay; the rest is mended."""
        if not (steps and isinstance(steps[-1], Distill) and steps[-1].width is None):
            return tuple(steps)
        heads, ffn = (
            float(str(trial.suggest_categorical(name, KEPT_SHARES))) for name in ("heads_share", "ffn_share")
        )
        if heads == ffn == 1:
            return tuple(steps)
        removal = cls(heads=None if heads == 1 else heads, ffn=None if ffn == 1 else ffn, reconstruct=True)
        return (*steps[:-1], removal, steps[-1])


# The step `mask`: weights that are zero and stay so.


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

    @property
    def needs_notes(self) -> bool:
        """Where it trains."""
        return self.trains

    def updates_on(self, labelled: int, further: int, settings: TrainSettings) -> int:
        """Those of the training that says which weights go."""
        return settings.epochs * math.ceil(labelled / settings.batch_size) if self.trains else 0

    def apply(self, state: State, context: Context, number: int) -> str:
        """At once by magnitude, or in the course of a training by movement."""
        from sympress.compression.prune.masks import apply_masks_, magnitude_masks
        from sympress.compression.recipe.engine import learn_with_masks, settings_for

        if self.score == "movement":
            settings = replace(settings_for(context, epochs=None, rate=None), select="last")
            learn_with_masks(state, context, number, share=self.share, settings=settings)
        else:
            apply_masks_(state.model, magnitude_masks(state.model, self.share))
        state.masked = True
        where = "linear layer of the encoder" if self.score == "movement" else "linear layer"
        return f"{self.share:.0%} of the weights of each {where} are masked: zeros in a file of the same size"
