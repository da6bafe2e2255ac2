"""Every step that a recipe can have, and those that only train or start anew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from sympress.compression.distill import Distill
from sympress.compression.lowrank import LowRank
from sympress.compression.prune import Mask, Prune
from sympress.compression.quantize import Quantize
from sympress.compression.recipe import Count, Positive, Step
from sympress.compression.store import Store
from sympress.compression.vocab import Vocab
from sympress.errors import InputError
from sympress.labels.task import task_of

if TYPE_CHECKING:
    from sympress.compression.recipe.material import Context, State
    from sympress.compression.search.estimate import ModelShape
    from sympress.models.families import Family
    from sympress.models.model import SymptomModel
    from sympress.training.epochs import TrainSettings


# The step `adapt`: the encoder learns the notes' language.


class Adapt(Step):
    """Masked-language-model training of the encoder on the user's notes, before everything else.

    Attributes:
        epochs: passes over the notes.
        layers: how many layers stay, evenly spread; the whole encoder teaches them while they still predict
            hidden words. None for all.
    """

    first: ClassVar[str | None] = "epochs"
    step: Literal["adapt"] = "adapt"
    epochs: Count = 1
    layers: Count | None = None

    @property
    def trains(self) -> bool:
        """Always."""
        return True

    def further_notes(self, available: int) -> int:
        """All of them: it reads no labels."""
        return available

    def check_place(self, before: Sequence[Step], after: Sequence[Step]) -> None:
        """It trains a whole encoder."""
        if before:
            raise InputError("adapt must be the first step: it trains the encoder before anything is pressed")

    def check(self, shape: ModelShape, teacher: ModelShape, family: Family) -> None:
        """A convolution over word vectors never predicted hidden words."""
        if not family.attention:
            raise InputError("adapt needs an encoder with a masked-language head, which a convolution lacks")
        if self.layers is not None and self.layers > shape.layers:
            raise InputError(f"layers={self.layers} is more than the {shape.layers} of the encoder")

    def reshape(self, shape: ModelShape) -> ModelShape:
        """Fewer layers, where some go."""
        return shape if self.layers is None else replace(shape, layers=self.layers)

    def apply(self, state: State, context: Context, number: int) -> str:
        """Train; the head fits again once a later step has trained it."""
        from sympress.training.adapt import AdaptSettings, adapt_encoder_

        if not context.trains:
            raise InputError(
                f"step {number} trains, which --no-training rules out; take it out of the recipe"
            )
        settings = AdaptSettings(
            epochs=self.epochs,
            batch_size=context.settings.batch_size,
            seed=context.settings.seed,
            max_tokens=context.material.max_tokens,
            layers=self.layers,
        )
        texts = [*context.material.training, *context.material.transfer]
        folder = context.folder / f"checkpoints-{number}"
        log = adapt_encoder_(
            state.model.encoder, state.tokenizer, texts, settings, folder, progress=context.progress
        )
        state.train_seconds += log.seconds
        after = "its head no longer fits until a later step (distill, fine-tune) trains it"
        changed = log.helped or self.layers is not None
        return f"{log.verdict()}; {after}" if changed else log.verdict()


# The step `fine-tune`: training on the labels.


class FineTune(Step):
    """Train the present model on the labels.

    Attributes:
        epochs: passes over the notes; None for the run's own.
        rate: learning rate; None for the run's own.
        simulate: `int8` rounds weights and inputs of linear layers while it trains, and stores the rounded
            weights as floats. `eager` rounds weights of linear layers and the outputs of linear layers, layer
            norms and embeddings, and the file rounds both, as a published study had it. Either file is no
            smaller.
    """

    first: ClassVar[str | None] = "epochs"
    step: Literal["fine-tune"] = "fine-tune"
    epochs: Count | None = None
    rate: Positive | None = None
    simulate: Literal["no", "int8", "eager"] = "no"

    @property
    def trains(self) -> bool:
        """Always."""
        return True

    def updates_on(self, labelled: int, further: int, settings: TrainSettings) -> int:
        """Those over the labelled notes."""
        return (self.epochs or settings.epochs) * math.ceil(labelled / settings.batch_size)

    def apply(self, state: State, context: Context, number: int) -> str:
        """Train on the labels."""
        from sympress.compression.quantize.aware import (
            settle_eager_,
            simulate_eager_,
            simulate_int8_,
            store_rounded_weights_,
        )
        from sympress.compression.recipe.engine import learn_from_labels, settings_for

        settings = settings_for(context, epochs=self.epochs, rate=self.rate)
        simulated = {"no": None, "int8": simulate_int8_, "eager": simulate_eager_}[self.simulate]
        count = 0 if simulated is None else simulated(state.model)
        learn_from_labels(state, context, number, settings)
        said = f"{settings.epochs} epochs over {len(context.material.training):,} labelled notes"
        if not count:
            return said
        if self.simulate == "eager":
            settle_eager_(state.model)
            return f"{said}; {count} modules round their outputs, and weights, in float: int8 never runs"
        store_rounded_weights_(state.model)
        return f"{said}; int8 is simulated in {count} linear layers and never runs as int8"


# The step `pretrained`: back to the encoder as it was before fine-tuning, as a published study had it.


class Pretrained(Step):
    """Begin with the pretrained encoder and a fresh head instead of the fine-tuned model; the first step."""

    step: Literal["pretrained"] = "pretrained"

    @property
    def needs_pretrained(self) -> bool:
        """Always."""
        return True

    def check_place(self, before: Sequence[Step], after: Sequence[Step]) -> None:
        """Whatever came before would be lost."""
        if before:
            raise InputError("pretrained must be the first step: it drops what was done before")

    def apply(self, state: State, context: Context, number: int) -> str:
        """Make the model anew."""
        state.model = untrained_model(state, context, context.settings.seed)
        return "the encoder as it was before fine-tuning, with a fresh head"


def untrained_model(state: State, context: Context, seed: int) -> SymptomModel:
    """The pretrained encoder with a head like that of `state`, fresh by `seed`.

    Raises:
        InputError: the encoder is not at hand.
    """
    from sympress.models.model import build_model

    if context.pretrained is None:
        raise InputError("the encoder before fine-tuning is not at hand; a recipe of sympress study has it")
    head = state.model.head
    return build_model(context.pretrained, state.model.symptoms, head.pooling, seed)


# The step `fuse`: the model and the rules together.


class Fuse(Step):
    """Weigh the deployed file's logits against what the rules find; the last step.

    The weights are fitted on validation notes and stored in `extractor.json` (`runtime.affirm`); the file
    itself stays as it is.
    """

    step: Literal["fuse"] = "fuse"

    @property
    def fuses(self) -> bool:
        """Always."""
        return True

    def check_place(self, before: Sequence[Step], after: Sequence[Step]) -> None:
        """It weighs the finished file."""
        if after:
            raise InputError("fuse must be the last step: its weights belong to the finished file")

    def check_task(self, task: str) -> None:
        """A note that has exactly one symptom is not asked about each of them."""
        if not task_of(task).has_thresholds:
            raise InputError(f"fuse is for the task present; the task is {task}")

    def apply(self, state: State, context: Context, number: int) -> str:
        """Nothing: the weights are fitted once the file is deployed."""
        return "what the rules find moves the logits, by weights fitted on validation notes"


# The table of steps: the one place that names them all.


#: Every step by the word that recipes use for it, in the order in which a search asks for them.
STEPS: dict[str, type[Step]] = {
    "adapt": Adapt,
    "pretrained": Pretrained,
    "vocab": Vocab,
    "distill": Distill,
    "fine-tune": FineTune,
    "lowrank": LowRank,
    "prune": Prune,
    "mask": Mask,
    "quantize": Quantize,
    "fuse": Fuse,
    "store": Store,
}
