"""The steps a recipe is made of: one frozen, range-checked model a step, each default in one place."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sympress.compress.recipe.words import takes_counts, write_value

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
#: How a teacher answers: in PyTorch, or from an int8 file where there is no GPU.
Answers = Literal["float", "int8"]
#: A float is a share, an int how many; 1 is the share, all of them, not one.
ShareOrCount = Annotated[int, Field(ge=2)] | Share
#: An int is how many, 1 included; a float is a share, never all of them.
CountOrPart = Count | Annotated[float, Field(gt=0, lt=1)]


class _Step(BaseModel):
    """What all steps have in common: strict types, and text that parses back equal.

    `first` is the setting that may be written without its name; `bare` steps are always written so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    first: ClassVar[str | None] = None
    bare: ClassVar[bool] = False

    def __str__(self) -> str:
        """Canonical text: the settings that differ from their defaults, in the order of the class."""
        fields = type(self).model_fields
        written = [f"{getattr(self, self.first)}"] if self.bare and self.first else []
        for name, value in self.settings().items():
            if value != fields[name].default and not (self.bare and name == self.first):
                written.append(f"{name}={write_value(value, whole=takes_counts(type(self), name))}")
        name = fields["step"].default
        return f"{name}({', '.join(written)})" if written else name

    def settings(self) -> dict[str, Any]:
        """Every setting, defaults included, without the step's name."""
        return self.model_dump(exclude={"step"})


class Adapt(_Step):
    """Masked-language-model training of the encoder on the user's notes, before everything else.

    Attributes:
        epochs: passes over the notes.
    """

    first: ClassVar[str | None] = "epochs"
    step: Literal["adapt"] = "adapt"
    epochs: Count = 1


class Vocab(_Step):
    """Keep the rows of the embeddings that notes read: word pieces, and the positions of the longest input.

    Attributes:
        keep: a share of the pieces (float, above 0, at most 1) or how many (int, 2 or more).
        positions: `read` keeps those of the longest input (`max_tokens`), `all` the whole table.
    """

    first: ClassVar[str | None] = "keep"
    step: Literal["vocab"] = "vocab"
    keep: ShareOrCount
    positions: Literal["read", "all"] = "read"


class Distill(_Step):
    """Train a student to imitate the teacher.

    With `layers` the student copies that many, or that share, of the present model's layers; with `width`
    it is a narrower one. With neither, the present model itself is trained from the teacher.

    Attributes:
        layers: transformer layers of the student, how many or a share of those now; None for as many as now.
        choose: which layers are copied: evenly spread, the first or the last ones.
        width: hidden size of a narrower student; None for the present one.
        heads: attention heads of a narrower student; None for heads as wide as the teacher's.
        ffn: feed-forward neurons of a narrower student; None for the teacher's ratio to the width.
        T: temperature of the soft targets (Hinton et al. 2015).
        alpha: share of the soft targets against the labels.
        hidden: weight of the loss on hidden states, 0 for none.
        relations: weight of the loss on self-attention relations, 0 for none.
        epochs: passes over the notes; None for the run's own.
        updates: steps of the optimizer at the least: more passes where the notes are too few for them.
        rate: learning rate; None for the run's own.
        batch: notes a step; None for the run's own.
        further: unlabelled notes at the most; None for all there are. The same ones for every seed.
        dropout: share of a student's activations that training drops; None for the teacher's.
        answers: how the teacher gives its soft targets: `int8`, where there is no GPU, is faster than `float`
            and rounds.
    """

    first: ClassVar[str | None] = "layers"
    step: Literal["distill"] = "distill"
    layers: CountOrPart | None = None
    choose: Literal["spread", "first", "last"] = "spread"
    width: Count | None = None
    heads: Count | None = None
    ffn: Count | None = None
    T: Positive = 2.0
    alpha: float = Field(1.0, ge=0, le=1)
    hidden: Weight = 0.0
    relations: Weight = 0.0
    epochs: Count | None = None
    updates: Count | None = None
    rate: Positive | None = None
    batch: Count | None = None
    further: Annotated[int, Field(ge=0)] | None = None
    dropout: float | None = Field(None, ge=0, lt=1)
    answers: Answers = "float"

    @model_validator(mode="after")
    def _shape_is_whole(self) -> Distill:
        if self.width is None and (self.heads is not None or self.ffn is not None):
            raise ValueError(
                "heads and ffn shape a narrower student: give width too, or remove them with prune"
            )
        if self.width is not None and self.heads is not None and self.width % self.heads:
            raise ValueError(f"width={self.width} is not a multiple of heads={self.heads}")
        if self.layers is None and self.choose != "spread":
            raise ValueError(f"choose={self.choose} says which layers to copy: give layers too")
        return self

    def student_layers(self, present: int) -> int:
        """How many layers the student has where there are `present` now; at least one."""
        if isinstance(self.layers, float):
            return max(1, round(self.layers * present))
        return present if self.layers is None else self.layers


class FineTune(_Step):
    """Train the present model on the labels.

    Attributes:
        epochs: passes over the notes; None for the run's own.
        rate: learning rate; None for the run's own.
    """

    first: ClassVar[str | None] = "epochs"
    step: Literal["fine-tune"] = "fine-tune"
    epochs: Count | None = None
    rate: Positive | None = None


class LowRank(_Step):
    """Replace matrices by two factors, wherever that saves weights.

    Attributes:
        rank: the same rank for every layer.
        energy: a rank a layer that keeps this share of its squared singular values.
        keep: ranks allocated over the layers so that this share of their weights stays.
        method: `svd` plain; `activation` whitened by calibration activations; `fisher` weighted.
        embeddings: rank of the word embeddings; None to leave them whole.
    """

    first: ClassVar[str | None] = "rank"
    step: Literal["lowrank"] = "lowrank"
    rank: Count | None = None
    energy: Share | None = None
    keep: Share | None = None
    method: Literal["svd", "activation", "fisher"] = "activation"
    embeddings: Count | None = None

    @model_validator(mode="after")
    def _one_way_to_choose_ranks(self) -> LowRank:
        given = [name for name in ("rank", "energy", "keep") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} each choose the ranks: give one of rank, energy, keep")
        if not given and self.embeddings is None:
            raise ValueError("give one of rank, energy, keep, or a rank for embeddings")
        return self


class Prune(_Step):
    """Remove heads, feed-forward neurons, hidden dimensions or layers: they are gone, not masked.

    Attributes:
        heads: share of each layer's attention heads that stays, at least one.
        ffn: share of each layer's feed-forward neurons that stays, at least one.
        hidden: hidden dimensions that stay, a share (float) or how many (int).
        layers: how many layers stay.
        macs: share of the multiply-accumulates that stays; heads and neurons are searched for it.
        score: by what heads and neurons go: `fisher`, what the loss misses when they fall silent, or
            `surgeon`, what it misses once the others have made up for them, which `reconstruct` does.
        reconstruct: fit the rest to the removed part's outputs by least squares.
    """

    step: Literal["prune"] = "prune"
    heads: Share | None = None
    ffn: Share | None = None
    hidden: ShareOrCount | None = None
    layers: Count | None = None
    macs: Share | None = None
    score: Literal["fisher", "surgeon"] = "fisher"
    reconstruct: bool = False

    @model_validator(mode="after")
    def _something_is_removed(self) -> Prune:
        if self.macs is not None and (self.heads is not None or self.ffn is not None):
            raise ValueError("macs chooses the heads and neurons itself: leave out heads and ffn")
        if all(value is None for value in (self.heads, self.ffn, self.hidden, self.layers, self.macs)):
            raise ValueError("give what stays: heads, ffn, hidden, layers or macs")
        if self.score == "surgeon" and all(value is None for value in (self.heads, self.ffn, self.macs)):
            raise ValueError("score ranks heads and neurons: give heads, ffn or macs")
        if self.score == "surgeon" and not self.reconstruct:
            raise ValueError("score=surgeon counts on the rest making up for what goes: add reconstruct=true")
        return self


class Mask(_Step):
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


class Quantize(_Step):
    """Fewer bits in the deployed file; the last step.

    Attributes:
        kind: `int8` rounds activations as they come, `static` by a calibration set; `int4`, `weights4`
            and `weights8` store weights in fewer bits; `auto` times the candidates on this machine.
        embeddings: bits of the word embeddings.
        float_layers: how many layers, the most sensitive ones, stay in float.
        aware: train with simulated int8 first.
        epochs: passes of that training; None for the run's own.
        rate: learning rate of that training; None for the run's own.
    """

    first: ClassVar[str | None] = "kind"
    bare: ClassVar[bool] = True
    step: Literal["quantize"] = "quantize"
    kind: Literal["int8", "static", "int4", "weights8", "weights4", "auto"] = "int8"
    embeddings: Literal[8, 4] = 8
    float_layers: int = Field(0, ge=0)
    aware: bool = False
    epochs: Count | None = None
    rate: Positive | None = None

    @model_validator(mode="after")
    def _training_is_of_int8(self) -> Quantize:
        if self.aware and self.kind not in ("int8", "static"):
            raise ValueError(f"aware=true trains for int8 or static, not for {self.kind}")
        if not self.aware and (self.epochs is not None or self.rate is not None):
            raise ValueError("epochs and rate are those of training with simulated int8: add aware=true")
        return self


Step = Adapt | Vocab | Distill | FineTune | LowRank | Prune | Mask | Quantize

#: Every step by the word that recipes use for it, in the order they usually stand.
STEPS: dict[str, type[Step]] = {
    "adapt": Adapt,
    "vocab": Vocab,
    "distill": Distill,
    "fine-tune": FineTune,
    "lowrank": LowRank,
    "prune": Prune,
    "mask": Mask,
    "quantize": Quantize,
}
