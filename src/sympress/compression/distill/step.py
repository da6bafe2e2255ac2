"""The step `distill`: a student that imitates the teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sympress.compression.recipe.step import Count, Positive, Step, Trial, Weight
from sympress.errors import InputError

if TYPE_CHECKING:
    from sympress.compression.recipe.material import Context, State
    from sympress.compression.search.estimate import ModelShape
    from sympress.models.families import Family
    from sympress.models.model import SymptomModel
    from sympress.training.epochs import TrainSettings

#: How a teacher answers: in PyTorch, or from an int8 file where there is no GPU.
Answers = Literal["float", "int8"]
#: An int is how many, 1 included; a float is a share, never all of them; `half` of them, rounded down.
CountOrPart = Count | Annotated[float, Field(gt=0, lt=1)] | Literal["half"]
#: Feed-forward neurons of a narrow student, relative to its width, and its least width, in a search.
FFN_RATIOS = (2, 4)
NARROWEST = 64


class Distill(Step):
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
        teacher: whose soft targets: the `fine-tuned` model's, or those of the `pretrained` encoder with an
            untrained head, as a published study had it.
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
    teacher: Literal["fine-tuned", "pretrained"] = "fine-tuned"

    @model_validator(mode="after")
    def _shape_is_whole(self) -> Self:
        if self.width is None and (self.heads is not None or self.ffn is not None):
            raise ValueError(
                "heads and ffn shape a narrower student: give width too, or remove them with prune"
            )
        if self.width is not None and self.heads is not None and self.width % self.heads:
            raise ValueError(f"width={self.width} is not a multiple of heads={self.heads}")
        if self.layers is None and self.choose != "spread":
            raise ValueError(f"choose={self.choose} says which layers to copy: give layers too")
        if self.teacher == "pretrained" and (self.answers == "int8" or self.hidden or self.relations):
            raise ValueError("a pretrained teacher gives soft targets in float alone: leave out the others")
        return self

    def student_layers(self, present: int) -> int:
        """How many layers the student has where there are `present` now; at least one."""
        if isinstance(self.layers, float):
            return max(1, round(self.layers * present))
        if self.layers == "half":
            return max(1, present // 2)
        return present if self.layers is None else self.layers

    @property
    def trains(self) -> bool:
        """Always."""
        return True

    def further_notes(self, available: int) -> int:
        """All of them, or as many as the step says."""
        return available if self.further is None else min(self.further, available)

    def updates_on(self, labelled: int, further: int, settings: TrainSettings) -> int:
        """Those over the labelled and the further notes, `updates` at the least."""
        batch = self.batch or settings.batch_size
        each = math.ceil((labelled + self.further_notes(further)) / batch)
        return each * max(self.epochs or settings.epochs, math.ceil((self.updates or 0) / each))

    @property
    def needs_pretrained(self) -> bool:
        """Where the teacher was never fine-tuned."""
        return self.teacher == "pretrained"

    def check(self, shape: ModelShape, teacher: ModelShape, family: Family) -> None:
        """A fresh student takes rows of its teacher: it is at most as wide and as deep."""
        del shape, family
        if self.width is None:
            return
        if self.width > teacher.hidden:
            raise InputError(f"width={self.width} is more than the {teacher.hidden} of the teacher")
        if self.student_layers(teacher.layers) > teacher.layers:
            raise InputError(f"layers={self.layers} is more than the {teacher.layers} of the teacher")

    def apply(self, state: State, context: Context, number: int) -> str:
        """Make the student that the step describes and train it from the teacher."""
        from sympress.compression.distill.student import student_of
        from sympress.compression.recipe.engine import learn_from_teacher, settings_for
        from sympress.models.families import layers_of

        whole = len(layers_of(state.model.encoder))
        said = "the present model learns from the teacher"
        if self.width is not None:
            state.model = self._narrow(state, context.settings.seed)
            state.masked = False
            layers = len(layers_of(state.model.encoder))
            said = f"a fresh student, {self.width} wide, of {layers} layers"
        elif self.layers is not None:
            state.model = student_of(state.model, self.student_layers(whole), self.choose)
            said = f"a student of {self.student_layers(whole)} of {whole} layers"
        settings = settings_for(context, epochs=self.epochs, rate=self.rate, batch=self.batch)
        epochs = learn_from_teacher(state, context, number, self, settings)
        labelled, further = len(context.material.training), len(context.material.transfer)
        notes = labelled + (further if self.further is None else min(self.further, further))
        return f"{said}; {epochs} epochs over {notes:,} notes ({labelled:,} labelled)"

    def _narrow(self, state: State, seed: int) -> SymptomModel:
        """A fresh student of the step's sizes; what it does not say is as in the teacher, in proportion."""
        from sympress.compression.distill.student import narrow_student
        from sympress.models.families import family_of, head_width, layers_of

        config = state.teacher.encoder.config
        width = int(self.width or config.hidden_size)
        neurons = int(getattr(config, family_of(state.teacher.encoder).neurons_setting))
        return narrow_student(
            state.teacher,
            layers=self.student_layers(len(layers_of(state.model.encoder))),
            width=width,
            heads=self.heads or max(1, width // head_width(state.teacher.encoder)),
            ffn=self.ffn or max(1, round(neurons * width / int(config.hidden_size))),
            seed=seed,
        )

    def reshape(self, shape: ModelShape) -> ModelShape:
        """The student's."""
        layers = self.student_layers(shape.layers)
        if self.width is None:
            if layers > shape.layers:
                raise InputError(f"distill: layers={layers} is more than the {shape.layers} there are")
            return replace(shape, layers=layers)
        heads = self.heads or max(1, self.width // shape.head_width)
        return replace(
            shape,
            layers=layers,
            hidden=self.width,
            heads=heads,
            head_width=self.width // heads,
            ffn=self.ffn or round(shape.ffn * self.width / shape.hidden),
            embedding=None if shape.embedding is None else min(shape.embedding, self.width),
            rank=None,
            kept_share=1.0,
            embedding_rank=None,
        )

    @classmethod
    def suggest(cls, trial: Trial, teacher: ModelShape, steps: Sequence[Step]) -> tuple[Step, ...]:
        """A student: `copied`, the first layers of the teacher, or `narrow`, fresh, with fewer heads.

        Which names a trial is asked for depends on that one choice only, and their ranges on the teacher
        only, as a search over conditional settings needs. Intermediate losses are not tried: each costs a
        pass of the teacher a batch, and none was seen to help.
        """
        layers = trial.suggest_int("layers", 1, teacher.layers)
        least = min(teacher.heads, math.ceil(NARROWEST * teacher.heads / teacher.hidden))
        students = ("copied", "narrow") if least < teacher.heads else ("copied",)
        if trial.suggest_categorical("student", students) == "copied":
            return (*steps, COPIED.model_copy(update={"layers": layers, "choose": "first"}))
        kept = trial.suggest_int("width_heads", least, teacher.heads - 1)
        width = kept * (teacher.hidden // teacher.heads)
        ffn = width * int(str(trial.suggest_categorical("ffn_ratio", FFN_RATIOS)))
        shape = {"layers": layers, "width": width, "heads": kept, "ffn": ffn}
        return (*steps, NARROW.model_copy(update=shape))


#: How a student of a search learns: as those of the named recipes, which were chosen on validation notes. One
#: that keeps layers of its teacher needs little; fresh layers learn faster, and for longer.
COPIED = Distill(rate=0.0003, batch=32, updates=500, dropout=0, answers="int8")
NARROW = Distill(rate=0.001, batch=32, updates=4000, dropout=0, answers="int8")
