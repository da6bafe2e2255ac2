"""Recipes as text: what parses, what it means, and one clear line for each mistake."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import PydanticUndefined

import sympress
from sympress.compression.distill import Distill
from sympress.compression.lowrank import LowRank
from sympress.compression.prune import Mask, Prune
from sympress.compression.quantize import Quantize
from sympress.compression.recipe import Step, range_of, write_value
from sympress.compression.recipe.language import (
    STRATEGIES,
    Recipe,
    make_step,
    named_recipes,
    parse_recipe,
    read_recipe,
    recipe_of,
    settings_of,
)
from sympress.compression.recipe.steps import STEPS, Adapt, FineTune
from sympress.compression.store import Store
from sympress.compression.vocab import Vocab
from sympress.config import StudyConfig
from sympress.errors import InputError

FOLDER = Path(sympress.__file__).parent / "compression" / "recipe"
CARD = (FOLDER / "README.md").read_text(encoding="utf-8")
LAYERS = "a whole number of at least 1 or a number above 0 and below 1 or half"
NAMES = "adapt, pretrained, vocab, distill, fine-tune, lowrank, prune, mask, quantize, fuse, store"


def complaint(text: str | Path) -> str:
    with pytest.raises(InputError) as caught:
        read_recipe(text)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("quantize", (Quantize(),)),
        ("quantize()", (Quantize(kind="int8", embeddings=8, float_layers=0, aware=False),)),
        ("distill", (Distill(T=2.0, alpha=1.0),)),
        ("distill(3)", (Distill(layers=3),)),
        (" distill ( layers = 3 ,\n T=4,alpha=.5 ) ", (Distill(layers=3, T=4.0, alpha=0.5),)),
        ("vocab(0.35)>quantize(int8)", (Vocab(keep=0.35), Quantize())),
        ("vocab(keep=6000)", (Vocab(keep=6000),)),
        ("vocab(1)", (Vocab(keep=1.0),)),
        ("mask(0.3, score=movement) > fine-tune", (Mask(share=0.3, score="movement"), FineTune())),
        ("finetune(2, rate=1e-4)", (FineTune(epochs=2, rate=1e-4),)),
        ("adapt > fine-tune(epochs=3)", (Adapt(epochs=1), FineTune(epochs=3))),
        ("adapt(2, layers=3) > distill", (Adapt(epochs=2, layers=3), Distill())),
        ("lowrank(32, method=svd)", (LowRank(rank=32, method="svd"),)),
        ("prune(hidden=256, reconstruct=true)", (Prune(hidden=256, reconstruct=True),)),
        ("prune(hidden=0.5)", (Prune(hidden=0.5),)),
        (
            "quantize(static, aware=true, epochs=1, embeddings=4)",
            (Quantize(kind="static", aware=True, epochs=1, embeddings=4),),
        ),
    ],
)
def test_text_means_steps(text: str, steps: tuple[Step, ...]):
    assert parse_recipe(text) == Recipe(steps)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("vocab(0.35)>distill(3)>quantize", "vocab(keep=0.35) > distill(layers=3) > quantize(int8)"),
        ("vocab(1)", "vocab(keep=1.0)"),
        ("distill(T=4.0, alpha=0.50, hidden=1)", "distill(T=4, alpha=0.5, hidden=1)"),
        ("distill(T=2, layers=3)", "distill(layers=3)"),
        ("mask(share=0)", "mask(0.0)"),
        ("finetune", "fine-tune"),
        ("quantize(embeddings=4, kind=auto)", "quantize(auto, embeddings=4)"),
        ("prune(reconstruct=true, ffn=0.5)", "prune(ffn=0.5, reconstruct=true)"),
    ],
)
def test_text_is_canonical(text: str, canonical: str):
    assert str(parse_recipe(text)) == canonical
    assert parse_recipe(canonical) == parse_recipe(text)


_counts, _shares = st.integers(1, 10**6), st.floats(0, 1, exclude_min=True)
_weights = st.floats(0, 1e30)
_parts = st.floats(0, 1, exclude_min=True, exclude_max=True)
_share_or_count = st.integers(2, 10**6) | _shares
_positive = st.floats(0, 1e30, exclude_min=True)


def _maybe(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | values


_students = st.builds(
    lambda shape, losses, training: Distill(**shape, **losses, **training),
    st.one_of(
        st.just({}),
        st.fixed_dictionaries(
            {"layers": _counts | _parts, "choose": st.sampled_from(["spread", "first", "last"])}
        ),
        st.builds(
            lambda heads, channels, ffn: {"width": heads * channels, "heads": heads, "ffn": ffn},
            st.integers(1, 16),
            st.integers(1, 64),
            _maybe(_counts),
        ),
    ),
    st.fixed_dictionaries(
        {"T": _positive, "alpha": st.floats(0, 1), "hidden": _weights, "relations": _weights}
    ),
    st.fixed_dictionaries({"epochs": _maybe(_counts), "rate": _maybe(_positive), "batch": _maybe(_counts)}),
)
_removals = st.one_of(
    st.builds(Prune, heads=_shares, ffn=_maybe(_shares), hidden=_maybe(_share_or_count)),
    st.builds(Prune, macs=_shares, layers=_maybe(_counts), reconstruct=st.booleans()),
)
_factors = st.one_of(
    st.builds(LowRank, rank=_counts, embeddings=_maybe(_counts)),
    st.builds(LowRank, energy=_shares, method=st.sampled_from(["svd", "activation", "fisher"])),
    st.builds(LowRank, keep=_shares),
)
_middle = st.one_of(
    st.builds(Vocab, keep=_share_or_count),
    _students,
    st.builds(FineTune, epochs=_maybe(_counts), rate=_maybe(_positive)),
    st.builds(
        Mask, share=st.floats(0, 1, exclude_max=True), score=st.sampled_from(["magnitude", "movement"])
    ),
)
_ends = st.one_of(
    st.builds(
        Quantize,
        kind=st.sampled_from(["int8", "static", "int4", "weights8", "weights4", "auto"]),
        embeddings=st.sampled_from([8, 4]),
        float_layers=st.integers(0, 12),
    ),
    st.builds(
        Quantize,
        kind=st.sampled_from(["int8", "static"]),
        clusters=_maybe(st.integers(2, 256)),
        aware=st.just(True),
        epochs=_maybe(_counts),
    ),
)
RECIPES = st.builds(
    lambda *parts: Recipe(tuple(step for part in parts for step in part)),
    st.lists(st.builds(Adapt, epochs=_counts, layers=_maybe(_counts)), max_size=1),
    st.lists(_middle, min_size=1, max_size=3),
    st.lists(_removals, max_size=1),
    st.lists(_factors, max_size=1),
    st.lists(_middle, max_size=2),
    st.lists(_ends, max_size=1),
    st.lists(st.builds(Store), max_size=1),
)


@settings(deadline=None)  # other work may hold the core
@given(RECIPES)
def test_text_and_json_read_back_equal(recipe: Recipe):
    text = str(recipe)
    again = parse_recipe(text)
    assert again == recipe
    assert str(again) == text
    assert parse_recipe(text.replace(" ", "")) == recipe
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_a_dictionary_spells_out_the_defaults():
    recipe = parse_recipe("mask(0.3) > fine-tune")
    assert recipe.to_dict() == {
        "step": [
            {"name": "mask", "share": 0.3, "score": "magnitude"},
            {"name": "fine-tune", "epochs": None, "rate": None, "simulate": "no"},
        ]
    }


def test_a_step_cannot_be_changed():
    step = Distill(layers=3)
    with pytest.raises(ValidationError):
        step.layers = 4
    assert {Distill(layers=3), step} == {step}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'the recipe is empty; write steps such as "distill(layers=3) > quantize(int8)"'),
        (" \n", 'the recipe is empty; write steps such as "distill(layers=3) > quantize(int8)"'),
        ("distil(3)", f"unknown step 'distil' (did you mean 'distill'?); known are {NAMES}"),
        (
            "distill > wxyz",
            f"unknown step 'wxyz'; known are {NAMES}",
        ),
        (
            "mask(0.3, scores=movement)",
            "mask: unknown setting 'scores' (did you mean 'score'?); its settings are share, score",
        ),
        (
            "vocab",
            "vocab: keep is missing; it must be a whole number of at least 2 or "
            "a number above 0 and at most 1",
        ),
        (
            "vocab(1.5)",
            "vocab: keep=1.5 must be a whole number of at least 2 or a number above 0 and at most 1",
        ),
        ("distill(layers=0)", f"distill: layers=0 must be {LAYERS}"),
        ("distill(layers=3.0)", f"distill: layers=3.0 must be {LAYERS}"),
        ("distill(layers=true)", f"distill: layers=true must be {LAYERS}"),
        ("distill(layers=third)", f"distill: layers='third' must be {LAYERS}"),
        ("distill(T=0)", "distill: T=0 must be a number above 0"),
        ("distill(T=1e400)", "distill: T=inf must be a number above 0"),
        ("distill(alpha=-0.1)", "distill: alpha=-0.1 must be a number of at least 0 and at most 1"),
        ("distill(hidden=-1)", "distill: hidden=-1 must be a number of at least 0"),
        ("distill(choose=middle)", "distill: choose='middle' must be one of spread, first, last"),
        ("mask(1)", "mask: share=1 must be a number of at least 0 and below 1"),
        ("prune(reconstruct=1, ffn=0.5)", "prune: reconstruct=1 must be true or false"),
        ("quantize(embeddings=5)", "quantize: embeddings=5 must be one of 8, 4"),
        (
            "quantize(int7)",
            "quantize: kind='int7' must be one of int8, static, int4, weights8, weights4, auto",
        ),
    ],
)
def test_a_wrong_word_or_value_is_named(text: str, message: str):
    assert complaint(text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("distill(3", "recipe, column 10: expected ',' or ')', found the end"),
        ("distill 3", "recipe, column 9: expected '>' or the end, found '3'"),
        ("distill >", "recipe, column 10: expected a step, found the end"),
        ("> distill", "recipe, column 1: expected a step, found '>'"),
        ("distill > > quantize", "recipe, column 11: expected a step, found '>'"),
        ("distill(T=)", "recipe, column 11: expected a value, found ')'"),
        ("distill(3,)", "recipe, column 11: expected a value, found ')'"),
        ("distill(3 > quantize)", "recipe, column 11: expected ',' or ')', found '>'"),
        ("distill; quantize", "recipe, column 8: ';' has no meaning here"),
        ("distill(layers=3, layers=4)", "recipe, column 19: layers is given twice"),
        ("distill(3, layers=4)", "recipe, column 12: layers is given twice"),
        ("mask(0.3, movement)", "recipe, column 11: only the first value may stand without a name"),
        ("prune(0.5)", "recipe, column 7: prune needs a name before each value"),
        ("vocab(" + "9" * 50 + ")", "recipe, column 7: a number of 50 digits is not meant"),
    ],
)
def test_text_that_does_not_parse_names_the_column(text: str, message: str):
    assert complaint(text) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "quantize(int8) > distill",
            "quantize must be the last step: nothing can be trained or removed after it",
        ),
        ("quantize > quantize", "quantize must be the last step: nothing can be trained or removed after it"),
        (
            "vocab(0.4) > adapt",
            "adapt must be the first step: it trains the encoder before anything is pressed",
        ),
        (
            "lowrank(rank=4) > prune(heads=0.5)",
            "prune: the layers are already factorized; put prune before lowrank",
        ),
        (
            "lowrank(keep=0.5) > distill > prune(macs=0.5)",
            "prune: the layers are already factorized; put prune before lowrank",
        ),
        ("lowrank()", "lowrank: give one of rank, energy, keep, or a rank for embeddings"),
        (
            "lowrank(rank=4, energy=0.9)",
            "lowrank: rank and energy each choose the ranks: give one of rank, energy, keep",
        ),
        ("prune", "prune: give what stays: heads, ffn, hidden, layers or macs"),
        ("prune(reconstruct=true)", "prune: give what stays: heads, ffn, hidden, layers or macs"),
        (
            "prune(macs=0.5, score=surgeon)",
            "prune: score=surgeon counts on the rest making up for what goes: add reconstruct=true",
        ),
        (
            "prune(layers=2, score=surgeon, reconstruct=true)",
            "prune: score ranks heads and neurons: give heads, ffn or macs",
        ),
        (
            "prune(macs=0.5, ffn=0.5)",
            "prune: macs chooses the heads and neurons itself: leave out heads and ffn",
        ),
        (
            "distill(layers=2, ffn=64)",
            "distill: heads and ffn shape a narrower student: give width too, or remove them with prune",
        ),
        ("distill(width=100, heads=3)", "distill: width=100 is not a multiple of heads=3"),
        (
            "distill(choose=last)",
            "distill: choose=last says which layers to copy: give layers too",
        ),
        ("quantize(int4, aware=true)", "quantize: aware=true trains for int8 or static, not for int4"),
        (
            "quantize(int8, epochs=2)",
            "quantize: epochs and rate are those of training with simulated int8: add aware=true",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_change(text: str, message: str):
    with pytest.raises(InputError) as caught:
        parse_recipe(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "text",
    [
        "vocab(0.5) > distill > vocab(2000)",
        "prune(heads=0.5) > lowrank(rank=4)",
        "lowrank(rank=4) > prune(layers=2)",
        "lowrank(embeddings=64) > prune(heads=0.5)",
        "lowrank(rank=4) > distill > lowrank(rank=2)",
    ],
)
def test_other_orders_are_fine(text: str):
    assert str(parse_recipe(text)) == text.replace("(0.5)", "(keep=0.5)").replace("(2000)", "(keep=2000)")


def test_the_strategies_of_the_study_are_recipes_with_its_settings_written_out():
    config = StudyConfig(learning_rate=3e-5, rank=8, student_layers=3, alpha=0.25)
    assert {name: str(recipe_of(name, config)) for name in STRATEGIES} == {
        "baseline": "fine-tune",
        "distillation": "distill(layers=3, T=4, alpha=0.25, rate=5e-05, further=0)",
        "lowrank": "lowrank(rank=8, method=svd) > fine-tune(rate=5e-05)",
        "pruning-masked": "mask(0.3) > fine-tune(rate=2e-05)",
        "pruning": "prune(heads=0.5, ffn=0.5, score=taylor) > distill(T=4, alpha=0.25, further=0)",
        "quantization": "quantize(int8)",
        "distillation-published": "pretrained > "
        "distill(T=4, alpha=0.25, rate=5e-05, further=0, teacher=pretrained)",
        "lowrank-published": "pretrained > lowrank(rank=8, method=svd, where=classifier) > "
        "fine-tune(rate=5e-05)",
        "pruning-published": "pretrained > mask(0.3) > fine-tune(rate=2e-05)",
        "quantization-published": "pretrained > fine-tune(rate=2e-05, simulate=eager)",
    }
    tied = recipe_of("pruning", config, removes_heads=False)
    assert str(tied).startswith("prune(heads=1, ffn=0.5, score=taylor)")
    assert [Distill(layers="half").student_layers(layers) for layers in (1, 2, 3, 7)] == [1, 1, 1, 3]


def test_named_recipes_are_complete_and_in_order():
    assert [entry.name for entry in named_recipes()] == ["safe", "balanced", "pocket", "micro"]
    for entry in named_recipes():
        assert entry.purpose
        assert read_recipe(f" {entry.name} ") == entry.recipe
        assert isinstance(entry.recipe.steps[-1], Quantize)


def test_a_word_that_is_neither_a_name_nor_a_step_lists_both():
    assert complaint("saef") == (
        "unknown recipe 'saef' (did you mean 'safe'?); named recipes are safe, balanced, pocket, micro; "
        f"steps are {NAMES}"
    )
    assert read_recipe("finetune") == Recipe((FineTune(),))


def test_a_toml_file_holds_a_recipe(tmp_path: Path):
    path = tmp_path / "mine.toml"
    (block,) = re.findall(r"```toml\n(.*?)```", CARD, re.DOTALL)
    path.write_text(block, encoding="utf-8")
    assert read_recipe(path) == read_recipe(str(path))
    assert read_recipe(path) == parse_recipe("vocab(keep=0.35) > distill(layers=3) > quantize(int8)")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", 'the recipe is empty; write steps such as "distill(layers=3) > quantize(int8)"'),
        (
            '[[steps]]\nname = "distill"',
            "unknown key 'steps' (did you mean 'step'?); a recipe has [[step]] tables",
        ),
        ("step = 3", 'a recipe has [[step]] tables, each with a name, such as name = "distill"'),
        ('step = "distill"', 'a recipe has [[step]] tables, each with a name, such as name = "distill"'),
        ("[[step]]\nlayers = 3", 'step 1 has no name; write one such as name = "distill"'),
        ('[[step]]\nname = "mask"\nshare = 1', "mask: share=1 must be a number of at least 0 and below 1"),
        (
            '[[step]]\nname = "mask"\nshare = "0.5"',
            "mask: share='0.5' must be a number of at least 0 and below 1",
        ),
    ],
)
def test_a_wrong_toml_file_is_named_with_its_mistake(tmp_path: Path, content: str, message: str):
    path = tmp_path / "mine.toml"
    path.write_text(content, encoding="utf-8")
    assert complaint(path) == f"{path}: {message}"


def test_a_missing_file_is_one_line(tmp_path: Path):
    path = tmp_path / "none.toml"
    assert complaint(str(path)) == f"{path}: cannot be read (No such file or directory)"


def test_the_card_lists_every_setting_with_its_default_and_range():
    rows = [line.split(" | ")[:4] for line in CARD.splitlines() if line.startswith("| `") and " | `" in line]
    listed = [tuple(cell.strip("| `") for cell in row) for row in rows if row[0].strip("| `") in STEPS]
    expected = []
    for name, kind in STEPS.items():
        for setting in settings_of(kind):
            default = kind.model_fields[setting].default
            shown = {None: "none", PydanticUndefined: "required"}.get(default)
            expected.append(
                (name, setting, shown or write_value(default, whole=False), range_of(kind, setting))
            )
    assert listed == expected


def test_the_code_of_the_card_runs():
    for code in re.findall(r"```python\n(.*?)```", CARD, re.DOTALL):
        exec(compile(code, "README.md", "exec"), {})


def test_make_step_takes_python_values():
    assert make_step("finetune", {"epochs": 2}) == FineTune(epochs=2)
    with pytest.raises(InputError, match="vocab: unknown setting 'kept'"):
        make_step("vocab", {"kept": 3})


def test_a_student_keeps_a_number_or_a_share_of_the_layers_there_are():
    assert [Distill(layers=0.67).student_layers(whole) for whole in (1, 2, 3, 6, 12)] == [1, 1, 2, 4, 8]
    assert [Distill(layers=2).student_layers(whole) for whole in (6, 12)] == [2, 2]
    assert Distill().student_layers(6) == 6
    assert str(Distill(layers=0.67)) == "distill(layers=0.67)"
