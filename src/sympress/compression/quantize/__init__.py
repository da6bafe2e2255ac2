"""The step `quantize`: fewer bits in the deployed file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from sympress.compression.recipe import Count, Exported, Positive, Step, Trial
from sympress.errors import InputError
from sympress.runtime.session import INT8_KERNEL

if TYPE_CHECKING:
    from sympress.compression.quantize.choose import Choice
    from sympress.compression.recipe.material import Context, State
    from sympress.compression.search.estimate import ModelShape
    from sympress.training.epochs import TrainSettings


#: The kernel of each kind, whatever machine makes the file; see `runtime.session`.
KERNEL_OF = {
    "int8": INT8_KERNEL,
    "static": "static-7bit",
    "weights8": "weights-8bit",
    "weights4": "weights-4bit",
    "int4": "weights-4bit",
}
#: What a kernel is chosen from by the clock, of a kind that has several.
CHOICE_OF = {
    "int8": ("dynamic-7bit", "dynamic-8bit", "dynamic-unsigned"),
    "static": ("static-7bit", "static-8bit"),
}
#: Every kernel there is.
KERNEL_NAMES = tuple(
    dict.fromkeys([name for names in CHOICE_OF.values() for name in names] + [*KERNEL_OF.values()])
)
#: Codebooks of at most so many values have indices of half a byte.
HALF_BYTE = 16
_WEIGHT_BITS = {"int8": 8, "static": 8, "auto": 8, "weights8": 8, "weights4": 4, "int4": 4}


class Quantize(Step):
    """Fewer bits in the deployed file; the last step but `store`.

    Attributes:
        kind: `int8` rounds activations as they come, `static` by a calibration set; `int4`, `weights4`
            and `weights8` store weights in fewer bits; `auto` times the candidates on this machine.
        embeddings: bits of the word embeddings.
        float_layers: how many layers, the most sensitive ones, stay in float.
        clusters: values of each matrix that its weights share; None for all that int8 has.
        aware: train with simulated int8, and clusters, first.
        epochs: passes of that training; None for the run's own.
        rate: learning rate of that training; None for the run's own.
    """

    first: ClassVar[str | None] = "kind"
    bare: ClassVar[bool] = True
    step: Literal["quantize"] = "quantize"
    kind: Literal["int8", "static", "int4", "weights8", "weights4", "auto"] = "int8"
    embeddings: Literal[8, 4] = 8
    float_layers: int = Field(0, ge=0)
    clusters: int | None = Field(None, ge=2, le=256)
    aware: bool = False
    epochs: Count | None = None
    rate: Positive | None = None

    @model_validator(mode="after")
    def _training_is_of_int8(self) -> Self:
        if self.aware and self.kind not in ("int8", "static"):
            raise ValueError(f"aware=true trains for int8 or static, not for {self.kind}")
        if self.clusters is not None and self.kind not in ("int8", "static"):
            raise ValueError(f"clusters are of the weights of int8 or static, not of {self.kind}")
        if not self.aware and (self.epochs is not None or self.rate is not None):
            raise ValueError("epochs and rate are those of training with simulated int8: add aware=true")
        return self

    @property
    def trains(self) -> bool:
        """With simulated int8, where asked."""
        return self.aware

    @property
    def needs_notes(self) -> bool:
        """Where it trains, or ranges of activations are measured."""
        return self.aware or self.kind == "static"

    def further_notes(self, available: int) -> int:
        """All of them, where it trains."""
        return available if self.aware else 0

    def updates_on(self, labelled: int, further: int, settings: TrainSettings) -> int:
        """Those of training with simulated int8."""
        if not self.aware:
            return 0
        return (self.epochs or settings.epochs) * math.ceil((labelled + further) / settings.batch_size)

    def check_place(self, before: Sequence[Step], after: Sequence[Step]) -> None:
        """It acts on the file, which is made at the end."""
        if not all(step.fuses or step.step == "store" for step in after):
            raise InputError("quantize must be the last step: nothing can be trained or removed after it")

    def apply(self, state: State, context: Context, number: int) -> str:
        """Train with int8 simulated, where asked; the file is quantized once it is exported."""
        from sympress.compression.distill import Distill
        from sympress.compression.quantize.aware import make_aware_, settle_aware_
        from sympress.compression.recipe.engine import learn_from_teacher, settings_for

        if not self.aware:
            shared = "" if self.clusters is None else f", {self.clusters} values a matrix"
            return f"the file is quantized ({self.kind}, embeddings {self.embeddings} bits{shared})"
        make_aware_(state.model, reduce_range=True, embedding_bits=self.embeddings, clusters=self.clusters)
        settings = settings_for(context, epochs=self.epochs, rate=self.rate)
        learn_from_teacher(state, context, number, Distill(), settings)
        settle_aware_(state.model)
        return f"{settings.epochs} epochs with int8 simulated; the file is quantized ({self.kind})"

    def apply_to_file(self, exported: Exported) -> Choice:
        """Replace the fp32 file by the quantized one."""
        from sympress.compression.quantize.choose import quantize_file

        return quantize_file(
            exported,
            kernels=self.kernels(exported.kernel),
            embedding_bits=self.embeddings,
            float_layers=self.float_layers,
            clusters=self.clusters,
        )

    def kernels(self, wanted: str | None) -> tuple[str, ...]:
        """The kernels to choose from; one where nothing is to be chosen.

        Args:
            wanted: one of `KERNELS`, instead of what `kind` stands for; or `auto`: of the kernels of that
                kind, the one that the clock prefers among those about as accurate as the best.
        """
        from sympress.compression.quantize.choose import available_kernels

        if wanted not in (None, "auto"):
            return (str(wanted),)
        if self.kind == "auto":
            return available_kernels()
        if wanted == "auto" and self.kind in CHOICE_OF and not self.aware:  # aware: trained for one kernel
            return CHOICE_OF[self.kind]
        return (KERNEL_OF[self.kind],)

    def reshape(self, shape: ModelShape) -> ModelShape:
        """Fewer bits; an index of a codebook has four or eight."""
        few = self.clusters is not None and self.clusters <= HALF_BYTE
        return replace(
            shape,
            bits=4 if few else _WEIGHT_BITS[self.kind],
            embedding_bits=4 if few else self.embeddings,
            float_layers=self.float_layers,
        )

    @classmethod
    def suggest(cls, trial: Trial, teacher: ModelShape, steps: Sequence[Step]) -> tuple[Step, ...]:
        """Int8, with embeddings of 8 or of 4 bits."""
        bits = trial.suggest_categorical("embedding_bits", (8, 4))
        return (*steps, cls(embeddings=4 if bits == 4 else 8))


# Codebooks of the integers that weights are rounded to: k-means of one dimension, solved exactly.


#: Smaller matrices save less than their codebook and its nodes cost.
SMALLEST_MATRIX = 1_024
#: Zero counts as much as this many weights, so that it is a value of its own.
_PINNED = 1e15


def codebook(levels: NDArray[np.integer], clusters: int) -> NDArray[np.int64]:
    """The `clusters` integers, rising, to which `levels` are rounded with the least squared error.

    k-means, as Han et al. 2016 (*Deep Compression*, section 3), of integers: solved exactly over their
    histogram (Wang and Song 2011, *Ckmeans.1d.dp*), so that nothing is drawn. Its values are integers, so
    that products stay those of int8. Zero stays zero where it is a level of a signed type: masked weights
    stay masked.

    Args:
        levels: of any shape, -128..255.
        clusters: how many; fewer come back where there are fewer levels.
    """
    counts = np.bincount(levels.reshape(-1).astype(np.int64) + 128, minlength=384).astype(np.float64)
    values = np.flatnonzero(counts) - 128
    if len(values) <= clusters:
        return values
    weights = counts[values + 128]
    if np.issubdtype(levels.dtype, np.signedinteger):
        weights[values == 0] += _PINNED
    sums = [np.concatenate([[0.0], np.cumsum(weights * values.astype(float) ** power)]) for power in range(3)]
    mass, first, second = (total[None] - total[:, None] for total in sums)  # of values from row to column
    later = np.tri(len(values) + 1, k=-1, dtype=bool).T
    nearest = np.rint(first / np.where(later, mass, 1.0))
    errors = np.where(later, second - 2 * nearest * first + nearest**2 * mass, np.inf)
    best, cuts = errors[0], []
    for _ in range(clusters - 1):
        every = best[:, None] + errors
        cuts.append(every.argmin(0))
        best = every.min(0)
    ends = [len(values)]
    for cut in reversed(cuts):
        ends.append(int(cut[ends[-1]]))
    bounds = [0, *reversed(ends)]
    return np.array([nearest[low, high] for low, high in pairwise(bounds)], dtype=np.int64)


def nearest_index(levels: NDArray[np.integer], book: NDArray[np.int64]) -> NDArray[np.intp]:
    """The place in `book` of the value nearest to each level; of two as near the lower one."""
    places: NDArray[np.intp] = np.searchsorted((book[1:] + book[:-1]) / 2, levels, side="left")
    return places
