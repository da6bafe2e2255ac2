"""What `compress` is asked for, and what of it is wrong whatever the model is; without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sympress.compression.quantize import KERNEL_NAMES, Quantize
from sympress.compression.recipe.language import Recipe
from sympress.compression.search import Budget
from sympress.config import check_seed
from sympress.errors import InputError, nearest, require_optuna
from sympress.evaluation.gold import Gold, pair_of, texts_of
from sympress.files import read_object


@dataclass(frozen=True)
class Given:
    """Notes, checked as far as they can be without the model.

    Attributes:
        train: labelled notes to learn from; None where nobody labelled any.
        validation: labelled notes that choose epochs and thresholds; None to hold some out.
        unlabelled: further notes, from which the model teaches.
    """

    train: Gold | None = None
    validation: Gold | None = None
    unlabelled: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is no note at all."""
        return self.train is None and self.validation is None and not self.unlabelled


def read_given(
    train: Any = None, validation: Any = None, unlabelled: Any = None, *, symptoms: Sequence[str] = ()
) -> Given:
    """Read what a Python program gives.

    Args:
        train: `(texts, labels)`, a table with labels or `Gold`; see `evaluation.gold.gold_of`.
        validation: the same.
        unlabelled: texts, or a table with the column `text`.
        symptoms: names of the columns of arrays of labels.

    Raises:
        InputError: texts and labels do not fit each other, or a note to learn from is one to validate on.
    """
    given = Given(
        None if train is None else pair_of(train, symptoms=symptoms, what="train"),
        None if validation is None else pair_of(validation, symptoms=symptoms, what="validation"),
        () if unlabelled is None else tuple(texts_of(unlabelled, "unlabelled")),
    )
    return check_given(given)


def check_given(given: Given) -> Given:
    """`given` without unlabelled notes that are among the labelled ones.

    Raises:
        InputError: a note to learn from is one to validate on.
    """
    learnt, judged = (
        set() if side is None else {note.text for note in side.notes}
        for side in (given.train, given.validation)
    )
    if shared := len(learnt & judged):
        raise InputError(f"validation: {shared:,} of its notes are in train too; take them out of one")
    known = learnt | judged
    return replace(given, unlabelled=tuple(text for text in given.unlabelled if text not in known))


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


def check_order(order: Order, *, dry: bool = False) -> None:
    """Refuse what no model could make right: nothing but the output folder is looked at.

    If `dry`, nothing is going to be pressed: notes that a recipe needs may be missing.

    Raises:
        InputError: both or neither of recipe and budget, steps or a search that train where nothing may,
            notes that are needed and missing, an unknown kernel, or an output that is taken.
        MissingExtraError: Optuna, which searches for a budget, is not installed.
    """
    recipe, budget = order.recipe, order.budget
    if (recipe is not None) + (budget is not None) != 1 and (budget is not None or order.trains):
        raise InputError("give either --recipe or --budget: what to do, or what the result may cost")
    if budget is not None and not order.trains:
        raise InputError("--budget searches recipes that train; leave out --budget or --no-training")
    if budget is not None and not dry:
        require_optuna()
    if order.trials < 1:
        raise InputError(f"--trials {order.trials} must be at least 1")
    if order.seed is not None:
        check_seed(order.seed)
    _check_kernel(order)
    if recipe is not None:
        _check_steps(recipe, order, dry=dry)
    if budget is not None and order.given is not None and order.given.empty and not dry:
        raise InputError("a budget searches recipes that train; give notes, unlabelled ones are enough")
    read_made_before(order.output)


def _check_steps(recipe: Recipe, order: Order, *, dry: bool) -> None:
    given = order.given
    unlabelled = given is not None and given.train is None and given.validation is None and not dry
    without = given is not None and given.train is None and not given.unlabelled and not dry
    for number, step in enumerate(recipe.steps, 1):
        if step.trains and not order.trains:
            raise InputError(
                f"step {number} ({step.step}) trains, which --no-training rules out; take it out"
            )
        if step.fuses and unlabelled:
            raise InputError(
                f"step {number} ({step.step}) needs labelled validation notes; give some, or take it out"
            )
        if step.needs_notes and without:
            raise InputError(
                f"step {number} ({step.step}) needs notes; give some, unlabelled ones are enough, or take it "
                "out: quantize(int8) needs none"
            )


def _check_kernel(order: Order) -> None:
    name = order.kernel
    if name in (None, "auto"):
        return
    if name not in KERNEL_NAMES:
        known = ", ".join(KERNEL_NAMES)
        raise InputError(f"unknown kernel {name!r}{nearest(name, KERNEL_NAMES)}; known are {known}")
    if order.recipe is not None and not any(isinstance(step, Quantize) for step in order.recipe.steps):
        raise InputError("--kernel needs a recipe that ends with quantize")


def read_made_before(output: Path) -> dict[str, Any] | None:
    """The provenance of what `compress` made in the folder `output`; None where nothing is there yet.

    Raises:
        InputError: the output is a file, or holds something else.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: a file, not a folder; choose another -o")
    if not output.is_dir() or not any(output.iterdir()):
        return None
    stored = read_object(output / "provenance.json") or {}
    if not isinstance(stored.get("asked"), dict):
        raise InputError(f"{output}: holds another artifact or other files; choose another -o")
    return stored
