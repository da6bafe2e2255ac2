"""What `sympress compress` is asked for, checked against the model before any note is read."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from sympress.compress.budget.estimate import ModelShape
from sympress.compress.budget.parse import Budget
from sympress.compress.budget.search import estimates
from sympress.compress.budget.shape import check_recipe, shape_of
from sympress.compress.distill.classifier import label_order, load_classifier_teacher
from sympress.compress.quantize.choose import KERNELS, available_kernels
from sympress.compress.recipe.material import FurtherTeacher
from sympress.compress.recipe.named import UNTRAINED, read_recipe
from sympress.compress.recipe.parse import Recipe
from sympress.compress.recipe.steps import Quantize
from sympress.compress.vocab.pieces import choose_pieces, count_pieces
from sympress.compress.vocab.trim import trim_vocabulary_
from sympress.deploy.artifact import Extractor, read_extractor
from sympress.deploy.checksums import TRAINING_FILES, check_files
from sympress.errors import InputError, nearest
from sympress.study.given import Given, check_notes
from sympress.study.origin import Origin, read_origin
from sympress.training.model import load_model


@dataclass(frozen=True)
class Order:
    """What is asked for; one of `recipe` and `budget` is given, or neither where nothing may be trained.

    Attributes:
        model: the artifact to press.
        output: where the pressed one goes; `OUTPUT.work` beside it holds what is under way.
        notes: of the model's study; None where that made its own.
        given: notes with their labels, instead of those of the study; None for those.
        recipe: what to do, or
        budget: what the result may cost.
        trials: recipes that a search trains.
        teachers: folders or ids of further teachers.
        trains: False forbids steps that train; without a recipe, `UNTRAINED` is done.
        kernel: of the int8 file: a name, `auto` for the one that is fastest here, None for the recipe's.
        seed: of every training; None for the study's.
        test: whether test notes are scored, for the record.
        called: what the caller named the model, where that is not its folder.
        changes: settings of the study that differ: epochs, learning_rate, threads, transfer_fraction.
    """

    model: Path
    output: Path
    notes: Path | None = None
    given: Given | None = None
    recipe: Recipe | None = None
    budget: Budget | None = None
    trials: int = 30
    teachers: tuple[str, ...] = ()
    trains: bool = True
    kernel: str | None = None
    seed: int | None = None
    test: bool = True
    called: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """The folder of what is under way."""
        return self.output.with_name(self.output.name + ".work")


@dataclass(frozen=True)
class Plan:
    """An order that was checked against its model, before any note is read."""

    order: Order
    origin: Origin
    shape: ModelShape
    seed: int
    teachers: tuple[FurtherTeacher, ...]


def make_plan(order: Order) -> Plan:
    """Check all that can be checked without notes.

    Raises:
        InputError: both or neither of recipe and budget, a model that cannot be pressed, a recipe that
            cannot be applied to it, an unknown kernel, or a teacher with different labels.
    """
    bare = order.recipe is None and order.budget is None and not order.trains
    if bare:
        order = replace(order, recipe=read_recipe(_untrained(order.given)))
    if (order.recipe is None) == (order.budget is None):
        raise InputError("give either --recipe or --budget: what to do, or what the result may cost")
    if order.budget is not None and not order.trains:
        raise InputError("--budget searches recipes that train; leave out --budget or --no-training")
    if order.trials < 1:
        raise InputError(f"--trials {order.trials} must be at least 1")
    origin = read_origin(order.model, order.notes, order.changes, given=order.given is not None)
    if order.given is None and origin.fingerprint is None:
        order = replace(order, given=Given())  # no study made it: without notes, then
        if bare:
            order = replace(order, recipe=read_recipe(_untrained(order.given)))
    if order.given is not None:
        _check_given(order, order.given)
    shape = shape_of(origin.model, origin.extractor.max_tokens)
    if order.recipe is not None:
        check_recipe(order.recipe, origin.model, training=order.trains)
        _try_vocabulary(order.recipe, origin)
    _check_kernel(order)
    teachers = tuple(load_teacher(name, origin.extractor) for name in order.teachers)
    return Plan(order, origin, shape, origin.seed if order.seed is None else order.seed, teachers)


def _untrained(given: Given | None) -> str:
    """The recipe of who gives none and trains nothing: without notes no step may count what they hold."""
    return UNTRAINED if given is None or given.train is not None or given.unlabelled else "quantize(int8)"


def _try_vocabulary(recipe: Recipe, origin: Origin) -> None:
    """Trim the vocabulary of a copy, so that a tokenizer that cannot be trimmed is refused at once.

    Raises:
        InputError: with the number of the step.
    """
    for number, step in enumerate(recipe.steps, 1):
        if step.step != "vocab":
            continue
        counts = count_pieces(origin.tokenizer, ())
        try:
            kept = choose_pieces(origin.tokenizer, counts, 1.0)
            trim_vocabulary_(copy.deepcopy(origin.model), origin.tokenizer, kept.ids)
        except InputError as error:
            raise InputError(f"step {number} ({step.step}): {error}") from error


def _check_given(order: Order, given: Given) -> None:
    if order.budget is not None and given.empty:
        raise InputError("a budget searches recipes that train; give notes, unlabelled ones are enough")
    if order.recipe is not None:
        check_notes(order.recipe, given)


def _check_kernel(order: Order) -> None:
    name = order.kernel
    if name in (None, "auto"):
        return
    if name not in KERNELS:
        raise InputError(f"unknown kernel {name!r}{nearest(name, KERNELS)}; known are {', '.join(KERNELS)}")
    if name not in available_kernels():
        raise InputError(f"kernel {name!r} is not in this machine's runtime; take another or leave it out")
    last = order.recipe.steps[-1] if order.recipe is not None else Quantize()
    if not isinstance(last, Quantize):
        raise InputError("--kernel needs a recipe that ends with quantize")


def load_teacher(name: str, extractor: Extractor) -> FurtherTeacher:
    """Load an artifact of sympress, a Hugging Face classifier's folder, or a Hub id as a teacher.

    Raises:
        InputError: it cannot be read, was trained for another task, or its labels are not the symptoms.
    """
    folder = Path(name).expanduser()
    if (folder / "extractor.json").is_file():
        theirs = read_extractor(folder)
        check_files(folder, also=TRAINING_FILES)
        if theirs.task != extractor.task:
            raise InputError(f"{name}: a teacher of the task {theirs.task}, not {extractor.task}")
        order = label_order(name, theirs.symptoms, extractor.symptoms)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return FurtherTeacher(load_model(folder), tokenizer, tuple(order), theirs.max_tokens)
    teacher = load_classifier_teacher(name, extractor.symptoms, several=extractor.task == "present")
    limit = min(int(teacher.tokenizer.model_max_length), extractor.max_tokens)
    return FurtherTeacher(teacher, teacher.tokenizer, tuple(range(len(extractor.symptoms))), limit)


def describe(plan: Plan) -> list[str]:
    """What would be done, line by line, with estimates; nothing is read or trained."""
    tokens = plan.origin.extractor.max_tokens
    teacher = (plan.origin.folder / "model.safetensors").stat().st_size / 1e6
    lines = [
        f"teacher: {plan.order.called or plan.origin.folder}, {teacher:.2f} MB, {plan.shape.layers} layers, "
        f"{plan.shape.hidden} wide"
    ]
    if plan.order.recipe is None:
        return [
            *lines,
            f"budget: {plan.order.budget}",
            f"{plan.order.trials} recipes would be trained, at first for one epoch on a part of the notes",
        ]
    guessed = estimates(plan.order.recipe, plan.shape, tokens)
    lines += [f"step {number}: {step}" for number, step in enumerate(plan.order.recipe.steps, 1)]
    return [
        *lines,
        f"estimated file: {guessed['size_mb']:.2f} MB ({teacher / guessed['size_mb']:.1f}x smaller)",
        f"estimated multiply-accumulates, {tokens} word pieces: {guessed['macs_ratio']:.3f} of the teacher's",
    ]
