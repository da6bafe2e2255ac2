"""The step `lowrank`: two factors in place of a matrix."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from sympress.compression.recipe import Count, Share, Step
from sympress.errors import InputError

if TYPE_CHECKING:
    from sympress.compression.lowrank.factorize import Statistics
    from sympress.compression.recipe.material import Context, State
    from sympress.compression.search.estimate import ModelShape
    from sympress.models.families import Family


#: Notes on which low rank measures activations: their second moments are `(in, in)` a layer in float64.
CALIBRATION_NOTES = 256


class LowRank(Step):
    """Replace matrices by two factors, wherever that saves weights.

    Attributes:
        rank: the same rank for every layer.
        energy: a rank a layer that keeps this share of its squared singular values.
        keep: ranks allocated over the layers so that this share of their weights stays.
        method: `svd` plain; `activation` whitened by calibration activations; `fisher` weighted.
        embeddings: rank of the word embeddings; None to leave them whole.
        where: `layers` of the encoder; or the `classifier` alone, as a published study had it: its weight is
            multiplied out again to the same size.
    """

    first: ClassVar[str | None] = "rank"
    step: Literal["lowrank"] = "lowrank"
    rank: Count | None = None
    energy: Share | None = None
    keep: Share | None = None
    method: Literal["svd", "activation", "fisher"] = "activation"
    embeddings: Count | None = None
    where: Literal["layers", "classifier"] = "layers"

    @model_validator(mode="after")
    def _one_way_to_choose_ranks(self) -> Self:
        given = [name for name in ("rank", "energy", "keep") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} each choose the ranks: give one of rank, energy, keep")
        if not given and self.embeddings is None:
            raise ValueError("give one of rank, energy, keep, or a rank for embeddings")
        if self.where == "classifier" and (self.rank is None or self.method != "svd" or self.embeddings):
            raise ValueError("where=classifier takes a rank and method=svd, and nothing else")
        return self

    @property
    def needs_notes(self) -> bool:
        """Where it measures activations or gradients, or counts word pieces."""
        return self.method != "svd" or self.embeddings is not None

    @property
    def factorizes(self) -> bool:
        """True if layers of the encoder become two factors."""
        return self.where == "layers" and any(it is not None for it in (self.rank, self.energy, self.keep))

    def check(self, shape: ModelShape, teacher: ModelShape, family: Family) -> None:
        """No rank is above the full one."""
        from sympress.compression.lowrank.factorize import check_rank

        if self.factorizes and not shape.layers:
            raise InputError("this model has no layers, word vectors alone: factorize the embeddings")
        if self.rank is not None and self.where == "layers":
            matrices = [matrix for layer in range(shape.layers) for matrix in shape.matrices(layer)]
            check_rank(self.rank, max(min(matrix) for matrix in matrices), "the largest linear layer")
        if self.embeddings is not None:
            check_rank(self.embeddings, min(shape.vocabulary, shape.embedding_width), "the word embeddings")

    def apply(self, state: State, context: Context, number: int) -> str:
        """Factorize wherever that saves weights."""
        from sympress.compression.lowrank.factorize import factorize_classifier_

        if self.where == "classifier":
            used = factorize_classifier_(state.model, self.rank or 1)
            exact = used == min(state.model.head.output.weight.shape)
            return (
                f"the classifier's weight is replaced by its rank-{used} approximation, "
                f"{'which is exact' if exact else 'multiplied out again'}: nothing is compressed"
            )
        said = [self._factorize(state, context)] if self.factorizes else []
        if self.embeddings is not None:
            said.append(self._factorize_embeddings(state, context))
        return "; ".join(said)

    def _factorize(self, state: State, context: Context) -> str:
        from sympress.compression.lowrank.factorize import lowrank_

        if state.masked:
            raise InputError("the zeros of mask do not outlast two factors: put lowrank before mask")
        done = lowrank_(
            state.model,
            method=self.method,
            rank=self.rank,
            energy=self.energy,
            keep=self.keep,
            statistics=self._statistics(state, context),
        )
        if not done.ranks:
            return f"all {len(done.left_whole)} linear layers stay whole because no rank pays there"
        return (
            f"{len(done.factorized)} linear layers become two factors of rank {min(done.ranks)} to "
            f"{max(done.ranks)}, {len(done.left_whole)} stay whole because no rank pays there"
        )

    def _statistics(self, state: State, context: Context) -> Statistics | None:
        from sympress.compression.lowrank.factorize import activation_statistics, fisher_statistics
        from sympress.compression.recipe.material import calibration_batches
        from sympress.training.losses import loss_of

        if self.method == "svd":
            return None
        batches = calibration_batches(state, context.material, CALIBRATION_NOTES)
        if self.method == "activation":
            return activation_statistics(state.model, batches)
        return fisher_statistics(state.model, batches, loss_of(context.material.task))

    def _factorize_embeddings(self, state: State, context: Context) -> str:
        import torch

        from sympress.compression.lowrank.factorize import factorize_embeddings_
        from sympress.compression.vocab.trim import count_pieces

        counts = torch.from_numpy(count_pieces(state.tokenizer, context.material.training))
        rank = factorize_embeddings_(state.model, rank=self.embeddings, counts=counts)
        return "embeddings stay whole" if rank is None else f"embeddings of rank {rank}"

    def reshape(self, shape: ModelShape) -> ModelShape:
        """Ranks; one by `energy` depends on the weights, which a shape does not know: it counts as whole."""
        if self.where == "classifier":
            return shape
        return replace(
            shape,
            rank=self.rank or shape.rank,
            kept_share=shape.kept_share * (self.keep or 1.0),
            embedding_rank=self.embeddings or shape.embedding_rank,
        )
