"""Budgets: limits from text, the Pareto set, and estimates against hand-computed and measured costs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sympress
from sympress.compression.distill import COPIED, NARROW, Distill
from sympress.compression.prune import Prune
from sympress.compression.quantize import Quantize
from sympress.compression.recipe.language import Recipe, named_recipes, parse_recipe
from sympress.compression.search import BUDGET_KEYS, Budget, parse_budget
from sympress.compression.search.estimate import (
    GRAPH_BYTES,
    GRAPH_BYTES_PER_LAYER,
    ModelShape,
    estimate_macs,
    estimate_size_bytes,
    pressed_shape,
)
from sympress.compression.search.search import pareto_front, suggest
from sympress.compression.vocab import Vocab
from sympress.errors import InputError, SympressError
from sympress.models.model import build_model, count_macs

FOLDER = Path(sympress.__file__).parent / "compression" / "search"
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
KNOWN = "known are size_mb, latency_ratio, int8_latency_ratio, f1_drop, macs_ratio, memory_mb"
MINILM = ModelShape(
    layers=6, hidden=384, heads=12, head_width=32, ffn=1536, vocabulary=30522, symptoms=5
)  # pooling `maximum`: no dense layer in the head
#: Two layers of two heads, so that every number can be computed by hand.
SMALL = ModelShape(
    layers=2, hidden=8, heads=2, head_width=4, ffn=16, vocabulary=100, symptoms=3, positions=10
)


def test_a_budget_is_read_from_text():
    budget = parse_budget(" size_mb <= 6,latency_ratio<=0.1 , f1_drop<=1e-2")
    assert budget == Budget(size_mb=6.0, latency_ratio=0.1, f1_drop=0.01)
    assert str(budget) == "size_mb<=6, latency_ratio<=0.1, f1_drop<=0.01"
    assert parse_budget("f1_drop<=0") == Budget(f1_drop=0.0)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(BUDGET_KEYS), st.floats(1e-9, 1e20), min_size=1))
def test_its_text_reads_back_equal(limits: dict[str, float]):
    budget = Budget(**limits)
    assert parse_budget(str(budget)) == budget
    assert budget.limits() == limits


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  ", 'the budget is empty; write limits such as "size_mb<=6, f1_drop<=0.01"'),
        ("size<=6", f"budget: unknown key 'size' (did you mean 'size_mb'?); {KNOWN}"),
        ("size_mb<6", "budget: 'size_mb<6' is not an upper limit; write size_mb<=6"),
        ("size_mb = 6", "budget: 'size_mb = 6' is not an upper limit; write size_mb<=6"),
        ("f1_drop>=0.01", "budget: 'f1_drop>=0.01' is not an upper limit; write f1_drop<=0.01"),
        (
            "size_mb<=6,",
            "budget: '' is not a limit; write limits such as \"size_mb<=6, f1_drop<=0.01\"",
        ),
        (
            "size_mb<=",
            "budget: 'size_mb<=' is not a limit; write limits such as \"size_mb<=6, f1_drop<=0.01\"",
        ),
        ("size_mb<=6 MB", "budget: the limit of size_mb must be a number, not '6 MB'"),
        ("size_mb<=-3", "budget: the limit of size_mb must be a number above 0, not -3"),
        ("size_mb<=0", "budget: the limit of size_mb must be a number above 0, not 0"),
        ("size_mb<=nan", "budget: the limit of size_mb must be a number above 0, not nan"),
        ("size_mb<=inf", "budget: the limit of size_mb must be a number above 0, not inf"),
        ("f1_drop<=-0.1", "budget: the limit of f1_drop must be a number of at least 0, not -0.1"),
        ("size_mb<=6, size_mb<=7", "budget: size_mb is given twice"),
    ],
)
def test_a_mistake_is_one_clear_line(text: str, message: str):
    with pytest.raises(InputError) as caught:
        parse_budget(text)
    assert str(caught.value) == message


def test_what_breaks_a_budget_and_by_how_much():
    budget = parse_budget("size_mb<=4, latency_ratio<=0.5, f1_drop<=0")
    met = {"size_mb": 4.0, "latency_ratio": 0.1, "f1_drop": -0.02, "macs_ratio": 9.0}
    assert budget.meets(met)
    assert budget.violations(met) == {}
    assert budget.excess(met) == 0
    over = {"size_mb": 5.0, "latency_ratio": 0.875, "f1_drop": 0.0}
    assert budget.violations(over) == {"size_mb": 1.0, "latency_ratio": 0.375}
    assert not budget.meets(over)
    assert budget.excess(over) == 0.75  # 0.375 / 0.5, more than 1 / 4
    assert budget.excess(met | {"f1_drop": 0.02}) == 2.0  # two points above a limit of none
    assert budget.excess(met | {"f1_drop": math.nan}) == math.inf


def test_what_was_not_measured_is_never_within_budget():
    budget = parse_budget("size_mb<=4, f1_drop<=0.01")
    with pytest.raises(SympressError, match="the budget limits f1_drop, which was not measured"):
        budget.meets({"size_mb": 3.0})
    assert budget.among({"size_mb", "macs_ratio"}) == Budget(size_mb=4.0)
    assert budget.among({"size_mb"}).meets({"size_mb": 3.0})


def brute_force(points: Sequence[dict[str, float]], keys: Sequence[str]) -> list[int]:
    def beats(one: dict[str, float], other: dict[str, float]) -> bool:
        return all(one[k] <= other[k] for k in keys) and any(one[k] < other[k] for k in keys)

    return [i for i, point in enumerate(points) if not any(beats(other, point) for other in points)]


_costs = st.integers(0, 4).map(float) | st.floats(allow_nan=False)


@settings(deadline=None)
@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(_costs, min_size=n, max_size=n), max_size=14)))
def test_the_pareto_set_is_that_of_brute_force(rows: list[list[float]]):
    keys = ["abcd"[place] for place in range(len(rows[0]) if rows else 1)]
    points = [dict(zip(keys, row, strict=True)) | {"ignored": float(i)} for i, row in enumerate(rows)]
    assert pareto_front(points, keys) == brute_force(points, keys)


def test_equal_points_all_stay_in_the_pareto_set():
    points = [{"a": a, "b": b} for a, b in [(2.0, 1.0), (1.0, 2.0), (1.0, 2.0), (1.0, 3.0), (3.0, 3.0)]]
    assert pareto_front(points, ["a", "b"]) == [0, 1, 2]
    assert pareto_front(points, ["a"]) == [1, 2, 3]
    assert pareto_front([], ["a"]) == []


def test_a_pareto_set_needs_numbers():
    for point in ({"a": math.nan}, {"b": 1.0}):
        with pytest.raises(InputError, match="point 1 of the Pareto set has no a"):
            pareto_front([{"a": 1.0}, point], ["a"])
    with pytest.raises(InputError, match="a Pareto set needs at least one value to minimise"):
        pareto_front([{"a": 1.0}], [])


# One layer of SMALL: 3 of 8x8, 8x8, 8x16, 16x8 = 512 weights; 3 x 8 + 8 + 16 + 8 = 56 outputs.
# Embeddings: (100 + 10 + 2) x 8 = 896 weights. Head: 24 weights, 3 outputs.
@pytest.mark.parametrize(
    ("recipe", "layers", "size"),
    [
        ("fine-tune", 2, 4 * (896 + 16 + 2 * (512 + 56 + 32) + 24 + 3)),
        ("mask(0.9)", 2, 4 * (896 + 16 + 2 * (512 + 56 + 32) + 24 + 3)),
        ("distill(layers=1)", 1, 4 * (896 + 16 + (512 + 56 + 32) + 24 + 3)),
        ("prune(layers=1)", 1, 4 * (896 + 16 + (512 + 56 + 32) + 24 + 3)),
        ("vocab(keep=0.5)", 2, 4 * (496 + 16 + 2 * (512 + 56 + 32) + 24 + 3)),
        ("vocab(keep=50)", 2, 4 * (496 + 16 + 2 * (512 + 56 + 32) + 24 + 3)),
        ("vocab(keep=5000)", 2, 4 * (896 + 16 + 2 * (512 + 56 + 32) + 24 + 3)),
        # one head of 4 channels: 3 of 8x4, 4x8, 8x8, 8x8 = 256 weights, 12 + 8 + 8 + 8 = 36 outputs
        ("prune(heads=0.5, ffn=0.5)", 2, 4 * (896 + 16 + 2 * (256 + 36 + 32) + 24 + 3)),
        ("prune(macs=0.5)", 2, 4 * (896 + 16 + 2 * (256 + 36 + 32) + 24 + 3)),
        # half as wide, heads kept: 3 of 4x8, 8x4, 4x16, 16x4 = 256 weights, 24 + 4 + 16 + 4 = 48 outputs
        ("prune(hidden=4)", 2, 4 * (448 + 8 + 2 * (256 + 48 + 16) + 12 + 3)),
        ("prune(hidden=0.5)", 2, 4 * (448 + 8 + 2 * (256 + 48 + 16) + 12 + 3)),
        # rank 2: 4 of 2 x 16, 2 of 2 x 24 = 224 weights; rank 5 does not pay in 8x8 (80), does in 8x16 (120)
        ("lowrank(rank=2)", 2, 4 * (896 + 16 + 2 * (224 + 56 + 32) + 24 + 3)),
        ("lowrank(rank=5)", 2, 4 * (896 + 16 + 2 * (4 * 64 + 2 * 120 + 56 + 32) + 24 + 3)),
        ("lowrank(keep=0.25)", 2, 4 * (896 + 16 + 2 * (128 + 56 + 32) + 24 + 3)),
        ("lowrank(energy=0.5)", 2, 4 * (896 + 16 + 2 * (512 + 56 + 32) + 24 + 3)),
        ("lowrank(embeddings=2)", 2, 4 * (2 * 108 + 96 + 16 + 2 * (512 + 56 + 32) + 24 + 3)),
        # narrow: 4 wide, 1 head of 4, 8 neurons: 4 of 4x4, 4x8, 8x4 = 128 weights, 28 outputs
        ("distill(width=4)", 2, 4 * (448 + 8 + 2 * (128 + 28 + 16) + 12 + 3)),
        ("distill(layers=1, width=4, heads=2, ffn=8)", 1, 4 * (448 + 8 + (128 + 28 + 16) + 12 + 3)),
        # int8: a byte a weight, 9 bytes an output (bias, scale, zero point), 4 a norm; 110 rows have a scale
        ("quantize(int8)", 2, 896 + 440 + 64 + 2 * (512 + 9 * 56 + 4 * 32) + 24 + 9 * 3),
        ("quantize(int8, embeddings=4)", 2, 448 + 440 + 64 + 2 * (512 + 9 * 56 + 4 * 32) + 24 + 9 * 3),
        ("quantize(weights4)", 2, 896 + 440 + 64 + 2 * (256 + 9 * 56 + 4 * 32) + 12 + 9 * 3),
        (
            "quantize(int8, float_layers=1)",
            2,
            896 + 440 + 64 + (512 + 9 * 56 + 4 * 32) + 4 * (512 + 56 + 32) + 24 + 9 * 3,
        ),
    ],
)
def test_bytes_by_hand(recipe: str, layers: int, size: int):
    graph = GRAPH_BYTES + layers * GRAPH_BYTES_PER_LAYER
    assert estimate_size_bytes(parse_recipe(recipe), SMALL) - graph == size


# 10 tokens: a layer costs 10 x 512 + 2 x 100 x 8 = 6720, the head 24.
@pytest.mark.parametrize(
    ("recipe", "macs"),
    [
        ("fine-tune", 2 * 6720 + 24),
        ("vocab(keep=0.1) > quantize(int8)", 2 * 6720 + 24),
        ("distill(layers=1)", 6720 + 24),
        ("prune(heads=0.5, ffn=0.5)", 2 * (2560 + 800) + 24),
        ("prune(macs=0.5)", 2 * (2560 + 800) + 24),
        ("prune(heads=0.5)", 2 * (10 * 384 + 800) + 24),
        ("lowrank(rank=2)", 2 * (2240 + 1600) + 24),
        ("lowrank(embeddings=2)", 10 * 2 * 8 + 2 * 6720 + 24),
        ("distill(width=4) > prune(ffn=0.5)", 2 * (10 * 96 + 800) + 12),
    ],
)
def test_multiply_accumulates_by_hand(recipe: str, macs: int):
    assert estimate_macs(parse_recipe(recipe), SMALL, 10) == macs


def test_other_families_by_hand():
    recipe = parse_recipe("quantize(int8)")
    electra, dense = replace(SMALL, embedding=4), replace(SMALL, dense_head=True)
    gated = replace(SMALL, gated=True)
    whole = estimate_size_bytes(recipe, SMALL)
    # ELECTRA: half the embeddings and their norm, and a projection of 4x8 with 8 biases
    assert estimate_size_bytes(recipe, electra) == whole - 448 - 32 + 32 + 32
    assert estimate_size_bytes(recipe, dense) == whole + 64 + 9 * 8
    assert estimate_size_bytes(recipe, gated) == whole + 2 * (128 + 9 * 16)
    assert estimate_macs(recipe, electra, 10) == 2 * 6720 + 24 + 10 * 32
    assert estimate_macs(recipe, dense, 10) == 2 * 6720 + 24 + 64
    assert estimate_macs(recipe, gated, 10) == 2 * (6720 + 10 * 128) + 24


@pytest.mark.parametrize("tokens", [2, 17])
def test_multiply_accumulates_are_those_pytorch_counts(make_encoder: Callable, tokens: int):
    shape = ModelShape(
        layers=2, hidden=32, heads=4, head_width=8, ffn=48, vocabulary=54, symptoms=3, dense_head=True
    )
    for family, here in (("bert", shape), ("electra", replace(shape, embedding=16))):
        model = build_model(make_encoder(family), 3, "cls", seed=0)
        assert estimate_macs(parse_recipe("fine-tune"), here, tokens) == count_macs(model, tokens)


@pytest.mark.parametrize(
    ("recipe", "macs"),
    [  # results/vaers-coded.json, 41 tokens
        ("fine-tune", 443_038_080),
        ("distill(layers=3)", 221_520_000),
        ("lowrank(rank=32) > fine-tune", 62_159_232),
        ("prune(heads=0.5, ffn=0.5) > distill", 221_520_000),
        ("quantize(int8)", 443_038_080),
    ],
)
def test_estimates_agree_with_counted_products(recipe: str, macs: int):
    assert estimate_macs(parse_recipe(recipe), MINILM, 41) == macs


@pytest.mark.parametrize(
    ("recipe", "size"),
    [  # results/vaers-present.json, whose files have all 512 positions
        ("vocab(keep=10000, positions=all) > distill(layers=2)", 7_744_565),
        ("vocab(keep=6000, positions=all) > distill(layers=1, width=256, heads=8, ffn=512)", 2_274_994),
        ("vocab(keep=4000, positions=all) > distill(layers=1, width=128, heads=4, ffn=512)", 837_337),
    ],
)
def test_estimates_agree_with_measured_files(recipe: str, size: int):
    shape = replace(MINILM, symptoms=20)
    estimated = estimate_size_bytes(parse_recipe(f"{recipe} > quantize(int8)"), shape)
    assert estimated == pytest.approx(size, rel=0.002)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("distill(layers=7)", "distill: layers=7 is more than the 6 there are"),
        ("distill(layers=3) > prune(layers=4)", "prune: layers=4 is more than the 3 there are"),
        ("prune(hidden=400)", "prune: hidden=400 is more than the 384 there are"),
    ],
)
def test_more_than_there_is_cannot_be_kept(recipe: str, message: str):
    with pytest.raises(InputError) as caught:
        pressed_shape(parse_recipe(recipe), MINILM)
    assert str(caught.value) == message


def test_named_recipes_shrink_in_their_order():
    sizes = [estimate_size_bytes(entry.recipe, MINILM) for entry in named_recipes()]
    assert sizes == sorted(sizes, reverse=True)


class Chooser:
    """Answers as `choose(low, high)` says, and remembers what it was asked."""

    def __init__(self, choose: Callable[[int, int], int]) -> None:
        self.choose, self.asked = choose, {}

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        assert low <= high
        self.asked[name] = (low, high)
        return self.choose(low, high)

    def suggest_categorical(self, name: str, choices: Sequence) -> object:
        self.asked[name] = tuple(choices)
        return choices[self.choose(0, len(choices) - 1)]


TEACHER = ModelShape(layers=6, hidden=384, heads=12, head_width=32, ffn=1536, vocabulary=30522, symptoms=20)


def test_the_gentlest_copied_student_is_the_teacher_in_int8():
    answers = {"student": "copied", "heads_share": 1.0, "ffn_share": 1.0}

    class Gentle(Chooser):
        def suggest_categorical(self, name: str, choices: Sequence) -> object:
            return answers.get(name, choices[0])

    student = COPIED.model_copy(update={"layers": 6, "choose": "first"})
    assert suggest(Gentle(lambda _, high: high), TEACHER) == Recipe((student, Quantize()))


def test_the_smallest_copied_student_has_lost_heads_and_neurons_before_it_learns():
    recipe = suggest(Chooser(lambda low, _: low), TEACHER)
    assert recipe.steps == (
        Vocab(keep=2000),
        Prune(heads=0.25, ffn=0.25, reconstruct=True),
        COPIED.model_copy(update={"layers": 1, "choose": "first"}),
        Quantize(),
    )


def test_the_largest_narrow_student_is_narrower_than_its_teacher():
    recipe = suggest(Chooser(lambda _, high: high), TEACHER)
    student = NARROW.model_copy(update={"layers": 6, "width": 352, "heads": 11, "ffn": 1408})
    assert recipe.steps == (student, Quantize(embeddings=4))


@settings(deadline=None)
@given(
    st.randoms(use_true_random=False),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from([8, 32, 64]),
    st.integers(2, 50_000),
)
def test_every_suggestion_is_a_recipe_that_fits_the_teacher(random, layers, heads, head_width, vocabulary):
    hidden = heads * head_width
    trial = Chooser(random.randint)
    shape = ModelShape(layers, hidden, heads, head_width, 4 * hidden, vocabulary, symptoms=20)
    recipe = suggest(trial, shape)
    assert parse_recipe(str(recipe)) == recipe
    for step in recipe.steps:
        if isinstance(step, Distill) and step.width is not None:
            assert min(64, hidden) <= step.width < hidden
            assert step.width % step.heads == 0
    teacher = parse_recipe("quantize(int8)")
    assert estimate_size_bytes(recipe, shape) <= estimate_size_bytes(teacher, shape)
    assert estimate_macs(recipe, shape, 100) <= estimate_macs(teacher, shape, 100)


def test_the_card_lists_every_key():
    rows = re.findall(r"^\| `(\w+)` \| (above 0|at least 0) \|", CARD, re.MULTILINE)
    assert rows == [(key, "at least 0" if key == "f1_drop" else "above 0") for key in BUDGET_KEYS]


def test_the_code_of_the_card_runs():
    for code in re.findall(r"```python\n(.*?)```", CARD, re.DOTALL):
        exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize(
    ("recipe", "read", "rows"),
    [
        ("vocab(0.5)", 4, 4),
        ("vocab(0.5, positions=all)", 4, 10),
        ("vocab(0.5)", None, 10),  # the longest input is not known
        ("vocab(0.5)", 99, 10),
        ("fine-tune", 4, 10),
    ],
)
def test_positions_that_no_input_reads_cost_nothing_after_vocab(recipe: str, read: int | None, rows: int):
    pressed = pressed_shape(parse_recipe(recipe), replace(SMALL, positions_read=read))
    assert pressed.positions == rows
    whole = pressed_shape(parse_recipe(recipe), SMALL)
    size = [estimate_size_bytes(parse_recipe("fine-tune"), shape) for shape in (whole, pressed)]
    assert size[0] - size[1] == (10 - rows) * 8 * 4
