"""Knowledge distillation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sympress.compression.recipe import Count, Positive, Step, Trial, Weight
from sympress.errors import InputError
from sympress.labels.task import task_of

if TYPE_CHECKING:
    from sympress.compression.recipe.material import Context, State
    from sympress.compression.search.estimate import ModelShape
    from sympress.models.families import Family
    from sympress.models.model import Pooling, SymptomModel
    from sympress.training.epochs import TrainSettings


#: How a teacher answers: in PyTorch, or from an int8 file where there is no GPU.
Answers = Literal["float", "int8"]
#: An int is how many, 1 included; a float is a share, never all of them; `half` of them, rounded down.
CountOrPart = Count | Annotated[float, Field(gt=0, lt=1)] | Literal["half"]
#: Feed-forward neurons of a narrow student, relative to its width, and its least width, in a search.
FFN_RATIOS = (2, 4)
NARROWEST = 64
#: Sizes of a student without attention, and its learning rate: all of it is fresh, or soon is.
WIDTH, CHANNELS, KERNEL = 96, 128, 3
FRESH_RATE = 0.002


class Distill(Step):
    """Train a student to imitate the teacher.

    With `layers` the student copies that many, or that share, of the present model's layers; with `width`
    it is a narrower one. With neither, the present model itself is trained from the teacher. With `student`
    it is one without attention, on the teacher's word vectors.

    Attributes:
        student: `conv` for convolutions over word vectors, `static` for the word vectors alone; None for a
            transformer.
        layers: transformer layers of the student, how many or a share of those now; None for as many as now.
            Of a `conv` student the convolutions, 1 if None.
        choose: which layers are copied: evenly spread, the first or the last ones.
        width: hidden size of a narrower student; None for the present one. Of a student without attention
            the width of the word vectors, 96 at the most if None.
        heads: attention heads of a narrower student; None for heads as wide as the teacher's.
        ffn: feed-forward neurons of a narrower student; None for the teacher's ratio to the width.
        channels: of each convolution; 128 if None.
        kernel: word pieces that a convolution reads at once; 3 if None.
        dilation: convolution i reads pieces `dilation ** i` apart; 1, neighbours, if None.
        pool: how a fresh student's states become a note's; None for the teacher's way, of a student without
            attention the `maximum` (`conv`) or the `mean` (`static`).
        tokens: the longest input of a student without attention; None for the teacher's.
        T: temperature of the soft targets (Hinton et al. 2015).
        alpha: share of the soft targets against the labels.
        hidden: weight of the loss on hidden states, 0 for none.
        relations: weight of the loss on self-attention relations, 0 for none.
        epochs: passes over the notes; None for the run's own.
        updates: steps of the optimizer at the least: more passes where the notes are too few for them.
        rate: learning rate; None for the run's own, of a student without attention 0.002.
        batch: notes a step; None for the run's own.
        further: unlabelled notes at the most; None for all there are. The same ones for every seed.
        dropout: share of a student's activations that training drops; None for the teacher's.
        answers: how the teacher gives its soft targets: `int8`, where there is no GPU, is faster than `float`
            and rounds.
        teacher: whose soft targets: the `fine-tuned` model's; those of the study's `ensemble`, its baselines
            of every seed with TF-IDF and the rules; or those of the `pretrained` encoder with an untrained
            head, as a published study had it.
    """

    first: ClassVar[str | None] = "layers"
    step: Literal["distill"] = "distill"
    student: Literal["conv", "static"] | None = None
    layers: CountOrPart | None = None
    choose: Literal["spread", "first", "last"] = "spread"
    width: Count | None = None
    heads: Count | None = None
    ffn: Count | None = None
    channels: Count | None = None
    kernel: Count | None = None
    dilation: Annotated[int, Field(ge=2)] | None = None
    pool: Literal["mean", "maximum", "label"] | None = None
    tokens: Annotated[int, Field(ge=8)] | None = None
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
    teacher: Literal["fine-tuned", "ensemble", "pretrained"] = "fine-tuned"

    @model_validator(mode="after")
    def _shape_is_whole(self) -> Self:
        if self.student is not None:
            self._check_no_attention()
        else:
            given = self._given("channels", "kernel", "dilation", "tokens")
            if given:
                raise ValueError(f"{given} shapes a student without attention: give student=conv too")
            if self.pool is not None and self.width is None:
                raise ValueError("pool is that of a fresh student's head: give width or student too")
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

    def _check_no_attention(self) -> None:
        given = self._given("heads", "ffn")
        if given:
            raise ValueError(f"a student without attention has no {given}: leave it out")
        if self.choose != "spread" or self.hidden or self.relations:
            raise ValueError(
                f"student={self.student} has no transformer layers: leave out choose, hidden and relations"
            )
        if self.student == "static":
            given = self._given("layers", "channels", "kernel", "dilation")
            if given:
                raise ValueError(f"student=static is word vectors alone: leave out {given}, or take conv")
        if self.layers is not None and not isinstance(self.layers, int):
            raise ValueError(f"layers={self.layers} of a conv student must be a whole number")
        if self.dilation is not None and self.convolutions < 2:
            raise ValueError("dilation spreads the convolutions after the first: give layers=2 or more")

    def _given(self, *names: str) -> str:
        """The first of the settings `names` that was given; empty if none was."""
        return next((name for name in names if getattr(self, name) is not None), "")

    @property
    def convolutions(self) -> int:
        """Layers of a student without attention."""
        return 0 if self.student == "static" else int(self.layers or 1)

    def vectors(self, wide: int) -> int:
        """Width of the word vectors of a student without attention, where the teacher's are `wide`."""
        return self.width or min(WIDTH, wide)

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

    @property
    def needs_ensemble(self) -> bool:
        """Where that is the teacher."""
        return self.teacher == "ensemble"

    def check_place(self, before: Sequence[Step], after: Sequence[Step]) -> None:
        """All students of a recipe have one kind of teacher."""
        others = [step for step in after if isinstance(step, Distill)]
        if any(step.needs_ensemble != self.needs_ensemble for step in others):
            raise InputError("distill: give teacher=ensemble in every distill of the recipe, or in none")

    def check(self, shape: ModelShape, teacher: ModelShape, family: Family) -> None:
        """A fresh student takes rows of its teacher: it is at most as wide and as deep."""
        from sympress.models.families import NO_ATTENTION

        if self.student is not None:
            wide = teacher.embedding_width
            if self.width is not None and self.width > wide:
                raise InputError(f"width={self.width} is more than the {wide} of the teacher's word vectors")
            return
        if (self.hidden or self.relations) and not (shape.attention and teacher.attention):
            raise InputError(f"{NO_ATTENTION}, whose states hidden and relations imitate: leave them out")
        if self.layers is not None and self.width is None and not shape.attention:
            raise InputError(f"{NO_ATTENTION} to copy layers from: make a student with student=conv")
        if self.width is None:
            return
        if not teacher.attention:
            raise InputError(
                f"the teacher has no attention: make a student with student=conv, width={self.width}"
            )
        if self.width > teacher.hidden:
            raise InputError(f"width={self.width} is more than the {teacher.hidden} of the teacher")
        if self.student_layers(teacher.layers) > teacher.layers:
            raise InputError(f"layers={self.layers} is more than the {teacher.layers} of the teacher")

    def check_task(self, task: str) -> None:
        """Spans are read by windows, of one size in every model of a study."""
        if self.needs_ensemble and not task_of(task).has_thresholds:
            raise InputError(f"teacher=ensemble is for the task present; the task is {task}")
        if task == "mentions":
            given = self._given("tokens", "pool")
            if given:
                raise InputError(
                    f"{given} is of no use to the task mentions, which answers for each token of a window"
                )

    def apply(self, state: State, context: Context, number: int) -> str:
        """Make the student that the step describes and train it from the teacher."""
        from sympress.compression.distill.student import student_of
        from sympress.compression.recipe.engine import learn_from_teacher, settings_for
        from sympress.models.families import layers_of

        whole = len(layers_of(state.model.encoder))
        said = "the present model learns from the teacher"
        settings = settings_for(context, epochs=self.epochs, rate=self.rate, batch=self.batch)
        if self.student is not None:
            said = self._without_attention(state, context)
            # all of it is fresh: its head learns no faster than the rest
            settings = replace(settings, learning_rate=self.rate or FRESH_RATE, head_rate_ratio=1.0)
        elif self.width is not None:
            state.model = self._narrow(state, context.settings.seed)
            state.masked, state.max_tokens = False, None
            layers = len(layers_of(state.model.encoder))
            said = f"a fresh student, {self.width} wide, of {layers} layers"
        elif self.layers is not None:
            state.model = student_of(state.model, self.student_layers(whole), self.choose)
            said = f"a student of {self.student_layers(whole)} of {whole} layers"
        epochs = learn_from_teacher(state, context, number, self, settings)
        labelled, further = len(context.material.training), len(context.material.transfer)
        notes = labelled + (further if self.further is None else min(self.further, further))
        return f"{said}; {epochs} epochs over {notes:,} notes ({labelled:,} labelled)"

    def _without_attention(self, state: State, context: Context) -> str:
        """Make the student of the step's sizes; returns what it is."""
        from sympress.compression.distill.student import convolution_student

        pooling: Pooling = self.pool or ("maximum" if self.convolutions else "mean")
        if state.teacher.per_token:
            pooling = "token"
        table = state.teacher.encoder.config
        width = self.vectors(int(getattr(table, "embedding_size", None) or table.hidden_size))
        channels, kernel = self.channels or CHANNELS, self.kernel or KERNEL
        state.model = convolution_student(
            state.teacher,
            width=width,
            channels=channels,
            layers=self.convolutions,
            kernel=kernel,
            dilation=self.dilation or 1,
            pooling=pooling,
            seed=context.settings.seed,
        )
        state.masked, state.max_tokens = False, None
        if self.tokens is not None:
            state.read_up_to_(self.tokens)
        vectors = f"a fresh student of word vectors {width} wide"
        if not self.convolutions:
            return vectors
        count = "a convolution" if self.convolutions == 1 else f"{self.convolutions} convolutions"
        return f"{vectors} and {count} of {channels} channels, {kernel} pieces wide"

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
            pooling=None if state.teacher.per_token else self.pool,
        )

    def reshape(self, shape: ModelShape) -> ModelShape:
        """The student's."""
        if self.student is not None:
            return self._reshape_without_attention(shape)
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

    def _reshape_without_attention(self, shape: ModelShape) -> ModelShape:
        width = self.vectors(shape.embedding_width)
        hidden = (self.channels or CHANNELS) if self.convolutions else width
        return replace(
            shape,
            layers=self.convolutions,
            hidden=hidden,
            heads=0,
            head_width=0,
            ffn=0,
            positions=0,
            positions_read=None if shape.positions_read is None else 0,
            token_types=0,
            embedding=None if width == hidden else width,
            gated=False,
            dense_head=False,
            rank=None,
            kept_share=1.0,
            embedding_rank=None,
            kernel=(self.kernel or KERNEL) if self.convolutions else 0,
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
