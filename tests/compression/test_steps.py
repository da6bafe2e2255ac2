"""A step is one class: a new one in this file runs everywhere, and what is recorded of old ones reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from sympress.compression.recipe import Positive, Step, Trial
from sympress.compression.recipe.engine import run_recipe
from sympress.compression.recipe.language import Recipe, parse_recipe, read_recipe
from sympress.compression.recipe.material import Context, Material, State
from sympress.compression.recipe.steps import STEPS
from sympress.compression.search.estimate import ModelShape, check_recipe, estimate_size_bytes
from sympress.compression.search.search import suggest
from sympress.errors import InputError
from sympress.models.model import build_model
from sympress.pipeline.order import Given, Order, check_order
from sympress.training.epochs import TrainSettings

IDS = torch.tensor([[2, 5, 9, 12, 7, 3], [2, 8, 3, 0, 0, 0]])
MASK = (IDS != 0).long()
SHAPE = ModelShape(layers=2, hidden=32, heads=4, head_width=8, ffn=48, vocabulary=54, symptoms=3)


class Sharpen(Step):
    """A strategy of the test's own: the head's weights times `by`, in half as many bits."""

    first = "by"
    step: Literal["sharpen"] = "sharpen"
    by: Positive = 2.0

    def check_place(self, before: Sequence[Step], after: Sequence[Step]) -> None:
        """Once is enough."""
        if any(isinstance(it, Sharpen) for it in before):
            raise InputError("sharpen stands once in a recipe")

    def apply(self, state: State, context: Context, number: int) -> str:
        """Multiply."""
        state.model.head.output.weight.data *= self.by
        return f"{self.by:g} times as sure"

    def reshape(self, shape: ModelShape) -> ModelShape:
        """Half the bits."""
        return replace(shape, bits=shape.bits // 2)

    @classmethod
    def suggest(cls, trial: Trial, teacher: ModelShape, steps: Sequence[Step]) -> tuple[Step, ...]:
        """Twice or four times."""
        return (*steps, cls(by=float(str(trial.suggest_categorical("sharpen_by", (2.0, 4.0))))))


@pytest.fixture
def sharpen() -> Iterator[None]:
    """The one line in the table of steps, before `quantize`."""
    known = dict(STEPS)
    last = STEPS.pop("quantize")
    STEPS.update(sharpen=Sharpen, quantize=last)
    yield
    STEPS.clear()  # each stands in its old place again
    STEPS.update(known)


class Highest:
    """A trial that takes the last of everything."""

    def suggest_int(self, _name: str, _low: int, high: int, **_: Any) -> int:
        return high

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return "copied" if name == "student" else choices[-1]


@pytest.mark.usefixtures("sharpen")
def test_a_new_step_is_parsed_refused_run_estimated_and_searched(
    make_encoder: Callable[..., Any], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    recipe = read_recipe("sharpen(3) > quantize")
    assert recipe == Recipe((Sharpen(by=3.0), STEPS["quantize"]()))
    assert str(recipe) == "sharpen(by=3) > quantize(int8)"
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(InputError, match="sharpen: by=-1 must be a number above 0"):
        parse_recipe("sharpen(-1)")
    with pytest.raises(InputError, match="sharpen stands once in a recipe"):
        parse_recipe("sharpen > sharpen")

    model = build_model(make_encoder("bert"), 3, "mean", seed=0).eval()
    blank = np.zeros((1, 3), dtype=np.uint8)
    material = Material("present", ["fever"], blank, (), ["cough"], blank, max_tokens=20)
    context = Context(
        material, TrainSettings(), lambda _: (0.0, {}), tmp_path, tmp_path / "logits", trains=False
    )
    made = run_recipe(parse_recipe("sharpen(3)"), model, tokenizer, context)
    assert made.remarks == ["sharpen: 3 times as sure"]
    with torch.inference_mode():
        bias = model.head.output.bias
        torch.testing.assert_close(made.model(IDS, MASK) - bias, 3 * (model(IDS, MASK) - bias))

    assert check_recipe(parse_recipe("sharpen"), model, training=False).bits == 16
    whole, half = (estimate_size_bytes(parse_recipe(text), SHAPE) for text in ("mask(0.5)", "sharpen"))
    assert half < whole
    assert str(suggest(Highest(), SHAPE)).startswith("distill(layers=2")
    assert [step.step for step in suggest(Highest(), SHAPE).steps] == ["distill", "sharpen", "quantize"]


@pytest.mark.parametrize(
    ("step", "needed"),
    [
        ("vocab(0.5)", True),
        ("distill(layers=1)", True),
        ("prune(heads=0.5)", True),
        ("mask(0.5)", False),
        ("mask(0.5, score=movement)", True),
        ("lowrank(rank=4, method=svd)", False),
        ("lowrank(rank=4)", True),
        ("lowrank(embeddings=4, method=svd)", True),
        ("quantize(int8)", False),
        ("quantize(int8, clusters=16) > store(entropy)", False),
        ("quantize(static)", True),
        ("quantize(int8, aware=true)", True),
    ],
)
def test_a_step_says_whether_it_needs_notes(tmp_path: Path, step: str, needed: bool):
    order = Order(tmp_path, tmp_path / "out", given=Given(), recipe=parse_recipe(step))
    if not needed:
        check_order(order)
        return
    with pytest.raises(InputError, match=r"step 1 \(\w+\) needs notes; give some"):
        check_order(order)
    check_order(order, dry=True)
    check_order(replace(order, given=Given(unlabelled=("fever",))))


def test_fuse_asks_for_labelled_notes_and_leaves_the_choice_of_a_kernel(tmp_path: Path):
    order = Order(tmp_path, tmp_path / "out", given=Given(), recipe=parse_recipe("quantize(int8) > fuse"))
    for given in (Given(), Given(unlabelled=("fever",))):
        with pytest.raises(InputError, match=r"step 2 \(fuse\) needs labelled validation notes"):
            check_order(replace(order, given=given))
    check_order(replace(order, given=None, kernel="dynamic-8bit"))


def test_the_ensemble_of_a_study_teaches_nowhere_else(
    make_encoder: Callable[..., Any], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    model = build_model(make_encoder("bert"), 3, "mean", seed=0).eval()
    blank = np.zeros((1, 3), dtype=np.uint8)
    material = Material("present", ["fever"], blank, (), ["cough"], blank, max_tokens=20)
    context = Context(material, TrainSettings(), lambda _: (0.0, {}), tmp_path, tmp_path / "logits")
    with pytest.raises(InputError, match="step 1, distill: teacher=ensemble is that of sympress study"):
        run_recipe(parse_recipe("distill(layers=1, teacher=ensemble)"), model, tokenizer, context)
    topic = replace(context, material=replace(material, task="topic", answers=np.zeros((1, 3), np.float32)))
    for text in ("distill(layers=1, teacher=ensemble)", "fuse"):
        with pytest.raises(InputError, match="is for the task present; the task is topic"):
            run_recipe(parse_recipe(text), model, tokenizer, topic)


def test_the_pretrained_encoder_is_asked_for_before_anything_runs(
    make_encoder: Callable[..., Any], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    model = build_model(make_encoder("bert"), 3, "mean", seed=0).eval()
    blank = np.zeros((1, 3), dtype=np.uint8)
    material = Material("present", ["fever"], blank, (), ["cough"], blank, max_tokens=20)
    context = Context(material, TrainSettings(), lambda _: (0.0, {}), tmp_path, tmp_path / "logits")
    for text, where in (
        ("pretrained > mask(0.3)", "step 1"),
        ("mask(0.3) > distill(teacher=pretrained)", "step 2"),
    ):
        recipe = parse_recipe(text)
        with pytest.raises(InputError, match=f"{where}, .*needs the encoder before fine-tuning"):
            run_recipe(recipe, model, tokenizer, context)
        with pytest.raises(InputError, match=rf"{where} \(.*needs the encoder before fine-tuning"):
            check_recipe(recipe, model)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="pretrained: unknown setting 'seed'; it has none"):
        parse_recipe("pretrained(seed=1)")
    with pytest.raises(InputError, match="pretrained must be the first step"):
        parse_recipe("mask(0.3) > pretrained")
