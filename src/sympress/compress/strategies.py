"""Every strategy in one table: where it starts, what it changes, what it learns from, how it is deployed.

Each function takes a model it may change and returns one line that says what it did. The names that end
in `-published` do literally what the published study did, so that a reader can see what that changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from sympress.compress.arch import family_of, layers_of
from sympress.compress.distill.student import student_of
from sympress.compress.lowrank.factorize import factorize_classifier_, factorize_encoder_
from sympress.compress.prune.importance import taylor_importance
from sympress.compress.prune.masks import apply_masks_, magnitude_masks
from sympress.compress.prune.structured import choose_kept, remove_
from sympress.compress.quantize.simulate import simulate_int8_
from sympress.config import StudyConfig
from sympress.errors import InputError, nearest
from sympress.labels.labelset import AnyTask
from sympress.training.loss import LABEL_LOSSES
from sympress.training.model import SymptomModel

Start = Literal["pretrained", "baseline"]
Teacher = Literal["baseline", "pretrained"]


@dataclass(frozen=True)
class Prepared:
    """A model ready to be trained: what was done to it and which weights must stay zero."""

    model: SymptomModel
    remarks: tuple[str, ...] = ()
    masks: dict[str, Tensor] | None = None


#: (model it may change, config, task, batches to measure importance on) -> what is trained
Prepare = Callable[[SymptomModel, StudyConfig, AnyTask, Sequence[dict[str, Tensor]]], Prepared]


@dataclass(frozen=True)
class Strategy:
    """One way to compress.

    Attributes:
        recipe: what it does, with the study's settings to fill in.
        start: from the pretrained encoder or from the fine-tuned baseline.
        prepare: the surgery.
        rate: learning rate relative to the baseline's (the published ratios).
        teacher: whose logits it imitates, if any.
        trains: False where nothing is learnt after the surgery.
        int8: deployed with int8 weights.
    """

    recipe: str
    start: Start
    prepare: Prepare
    rate: float = 1.0
    teacher: Teacher | None = None
    trains: bool = True
    int8: bool = False


def _as_is(
    model: SymptomModel, _config: StudyConfig, _task: AnyTask, _batches: Sequence[dict[str, Tensor]]
) -> Prepared:
    return Prepared(model)


def _distill(
    model: SymptomModel, config: StudyConfig, _task: AnyTask, _batches: Sequence[dict[str, Tensor]]
) -> Prepared:
    whole = len(layers_of(model.encoder))
    layers = config.student_layers or max(1, whole // 2)
    return Prepared(student_of(model, layers), (f"student of {layers} of the teacher's {whole} layers",))


def _factorize(
    model: SymptomModel, config: StudyConfig, _task: AnyTask, _batches: Sequence[dict[str, Tensor]]
) -> Prepared:
    done = factorize_encoder_(model, config.rank)
    remarks = [f"rank {config.rank} replaces {len(done.factorized)} linear layers by two factors each"]
    if done.left_whole:
        remarks.append(f"rank {config.rank} does not pay in {len(done.left_whole)} layers, left whole")
    return Prepared(model, tuple(remarks))


def _factorize_classifier(
    model: SymptomModel, config: StudyConfig, _task: AnyTask, _batches: Sequence[dict[str, Tensor]]
) -> Prepared:
    used = factorize_classifier_(model, config.rank)
    if used < min(model.head.output.weight.shape):
        remark = (
            f"the classifier's weight is replaced by its rank-{used} approximation, multiplied out again to "
            "the same size, so nothing is compressed"
        )
    else:
        remark = (
            f"the classifier of {model.symptoms} symptoms has rank {model.symptoms} at most: its rank-{used} "
            "approximation is exact, so nothing is compressed"
        )
    return Prepared(model, (remark,))


def _mask(
    model: SymptomModel, config: StudyConfig, _task: AnyTask, _batches: Sequence[dict[str, Tensor]]
) -> Prepared:
    masks = magnitude_masks(model, config.masked_share)
    apply_masks_(model, masks)
    remark = (
        f"{config.masked_share:.0%} of the weights of {len(masks)} linear layers are masked: zeros in a file "
        "of the same size, multiplied like any number"
    )
    return Prepared(model, (remark,), masks)


def _remove(
    model: SymptomModel, config: StudyConfig, task: AnyTask, batches: Sequence[dict[str, Tensor]]
) -> Prepared:
    importance = taylor_importance(model, batches, LABEL_LOSSES[task])
    removable = bool(family_of(model.encoder).queries_keys_values)
    kept = choose_kept(importance, heads=config.keep_heads if removable else 1.0, neurons=config.keep_neurons)
    remove_(model, kept)
    heads = sum(map(len, kept.heads)), sum(map(len, importance.heads))
    neurons = sum(map(len, kept.neurons)), sum(map(len, importance.neurons))
    remark = (
        f"{heads[0]} of {heads[1]} heads and {neurons[0]} of {neurons[1]} neurons stay, the rest is removed"
    )
    return Prepared(model, (remark,))


def _simulate_int8(
    model: SymptomModel, _config: StudyConfig, _task: AnyTask, _batches: Sequence[dict[str, Tensor]]
) -> Prepared:
    count = simulate_int8_(model)
    return Prepared(model, (f"int8 is simulated in {count} linear layers and never runs as int8",))


STRATEGIES: dict[str, Strategy] = {
    "baseline": Strategy("fine-tune", "pretrained", _as_is),
    "distillation": Strategy(
        "distill(layers={student_layers}, T={temperature:g}, alpha={alpha:g})",
        "baseline",
        _distill,
        rate=5 / 3,
        teacher="baseline",
    ),
    "lowrank": Strategy("lowrank(rank={rank}) > fine-tune", "baseline", _factorize, rate=5 / 3),
    "pruning-masked": Strategy("mask({masked_share:g}) > fine-tune", "baseline", _mask, rate=2 / 3),
    "pruning": Strategy(
        "prune(heads={keep_heads:g}, ffn={keep_neurons:g}) > distill(T={temperature:g}, alpha={alpha:g})",
        "baseline",
        _remove,
        teacher="baseline",
    ),
    "quantization": Strategy("quantize(int8)", "baseline", _as_is, trains=False, int8=True),
    "distillation-published": Strategy(
        "distill(T={temperature:g}, alpha={alpha:g}) from a teacher that was never fine-tuned, same size",
        "pretrained",
        _as_is,
        rate=5 / 3,
        teacher="pretrained",
    ),
    "lowrank-published": Strategy(
        "lowrank(classifier only, rank={rank}) > fine-tune", "pretrained", _factorize_classifier, rate=5 / 3
    ),
    "pruning-published": Strategy("mask({masked_share:g}) > fine-tune", "pretrained", _mask, rate=2 / 3),
    "quantization-published": Strategy(
        "quantization-aware training, simulated", "pretrained", _simulate_int8, rate=2 / 3
    ),
}

REAL = ("baseline", "distillation", "lowrank", "pruning-masked", "pruning", "quantization")
PUBLISHED = tuple(name for name in STRATEGIES if name.endswith("-published"))


def choose_strategies(config: StudyConfig) -> tuple[str, ...]:
    """The strategies to run, baseline first (every other is compared with it).

    Raises:
        InputError: a name is unknown; the nearest known one is named.
    """
    wanted = config.strategies or REAL + (PUBLISHED if config.published_variants else ())
    for name in wanted:
        if name not in STRATEGIES:
            raise InputError(
                f"unknown strategy {name!r}{nearest(name, STRATEGIES)}; known are {', '.join(STRATEGIES)}"
            )
    return ("baseline", *(name for name in STRATEGIES if name in wanted and name != "baseline"))


def recipe_of(name: str, config: StudyConfig) -> str:
    """The recipe of a strategy with the study's settings filled in."""
    values = config.model_dump()
    values["student_layers"] = config.student_layers or "half"
    return STRATEGIES[name].recipe.format(**values)
