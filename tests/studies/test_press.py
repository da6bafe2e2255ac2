"""A recipe in a study: its name, its file, its row, and adding one to a run that is finished."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from sympress.compression.distill import Distill
from sympress.compression.export import export_onnx
from sympress.compression.quantize import Quantize
from sympress.compression.quantize.choose import available_kernels, logits_of
from sympress.compression.recipe import Exported
from sympress.compression.recipe.language import Recipe, named_recipes, parse_recipe, read_recipe
from sympress.compression.recipe.material import Material
from sympress.compression.vocab import Vocab
from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.evaluation.cost import time_in_turn
from sympress.models.model import SymptomModel, build_model, load_model, save_model
from sympress.results import Results, StrategyResult
from sympress.runtime.artifact import Extractor, read_extractor
from sympress.runtime.session import Runtime
from sympress.studies.judge import KEPT
from sympress.studies.press import RESERVED, Compressed, named, press
from sympress.studies.rows import LOADERS
from sympress.studies.run import run_study
from sympress.training.epochs import TrainSettings

WORDS = ("fever", "cough", "pain", "nausea", "chills", "patient", "denies", "reports", "with", "rash")
RNG = np.random.default_rng(1)
TEXTS = [" ".join(RNG.choice(WORDS, size=RNG.integers(3, 12))) for _ in range(24)]
TARGETS = RNG.integers(0, 2, size=(24, 3)).astype(np.uint8)
IDS = [RNG.integers(5, 40, size=length).astype(np.int64) for length in (4, 9, 17, 12)]


# Names


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["quantize", "fine-tune"], {"quantize": "quantize(int8)", "fine-tune": "fine-tune"}),
        (["vocab(keep=0.4) > quantize(int8)"], {"recipe-1": "vocab(keep=0.4) > quantize(int8)"}),
        (
            ["distill > quantize(float_layers=2)", "distill(3)"],
            {"recipe-1": "distill > quantize(int8, float_layers=2)", "recipe-2": "distill(layers=3)"},
        ),
        (["  a-b_2=vocab(keep=0.4) > quantize"], {"a-b_2": "vocab(keep=0.4) > quantize(int8)"}),
        (
            [" q = quantize(kind = int8)", "r =\n distill(T=4)"],
            {"q": "quantize(int8)", "r": "distill(T=4)"},
        ),
        (["8x = prune(ffn=0.5)"], {"8x": "prune(ffn=0.5)"}),
    ],
)
def test_a_recipe_has_the_name_before_its_sign_or_one_of_its_own(texts: list[str], found: dict[str, str]):
    assert {name: str(recipe) for name, recipe in named(texts).items()} == found


def test_named_recipes_keep_their_names_unless_they_get_another():
    pocket = next(entry.recipe for entry in named_recipes() if entry.name == "pocket")
    assert named([" pocket", "small = pocket"]) == {"pocket": pocket, "small": pocket}


def test_a_recipe_from_a_file_can_be_named(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('[[step]]\nname = "quantize"\n', encoding="utf-8")
    found = named([f"mine = {path}", str(path)])
    assert {name: str(recipe) for name, recipe in found.items()} == {
        "mine": "quantize(int8)",
        "recipe-2": "quantize(int8)",
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["pocket", "pocket = quantize"],
            "two recipes are called 'pocket'; write NAME = before one of them",
        ),
        (
            ["recipe-2 = quantize", "prune(ffn=0.5)"],
            "two recipes are called 'recipe-2'; write NAME = before one of them",
        ),
        (["tiny/one = quantize"], "a recipe called 'tiny/one': a name has letters, digits, '-' and '_' only"),
        (["= quantize"], "a recipe called '': a name has letters, digits, '-' and '_' only"),
        (
            ["baseline = quantize"],
            "a recipe called 'baseline': a row of every study has that name; choose another",
        ),
        (["tfidf=quantize"], "a recipe called 'tfidf': a row of every study has that name; choose another"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(texts: list[str], message: str):
    with pytest.raises(InputError) as caught:
        named(texts)
    assert str(caught.value) == message


def test_the_references_are_reserved_and_no_named_recipe_is():
    assert set(LOADERS) <= set(RESERVED)
    assert not {entry.name for entry in named_recipes()} & set(RESERVED)


# The file


@pytest.fixture(scope="module")
def pad_last(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The tokenizer of the tests with its special tokens behind all word pieces."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    size = len(tokenizer)
    moved = {old: (old - 5) % size for old in range(size)}
    backend["model"]["vocab"] = {state: moved[old] for state, old in backend["model"]["vocab"].items()}
    for token in backend["added_tokens"]:
        token["id"] = moved[token["id"]]
    for special in backend["post_processor"]["special_tokens"].values():
        special["ids"] = [moved[old] for old in special["ids"]]
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(backend)),
        **{
            name: getattr(tokenizer, name)
            for name in tokenizer.SPECIAL_TOKENS_ATTRIBUTES[2:7]
            if name != "extra"
        },
        model_max_length=64,
    )


@pytest.fixture(scope="module")
def teacher(
    make_encoder: Callable[..., Any],
    pad_last: PreTrainedTokenizerFast,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An artifact, but for its ONNX file."""
    model = build_model(make_encoder("bert"), 3, "mean", seed=0)
    model.encoder.config.pad_token_id = pad_last.pad_token_id
    model.encoder.get_input_embeddings().padding_idx = pad_last.pad_token_id
    model.head.output.weight.data *= 20
    folder = tmp_path_factory.mktemp("teacher")
    save_model(model, folder)
    pad_last.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pressed(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Compressed]:
    """A trimmed, shallower, int8 model."""
    folder = tmp_path_factory.mktemp("pressed")
    return folder / "draft", press(
        teacher,
        parse_recipe("vocab(keep=48) > prune(layers=1) > quantize(int8)"),
        Material("present", TEXTS[:18], TARGETS[:18], (), TEXTS[18:], TARGETS[18:], max_tokens=20),
        TrainSettings(epochs=1, batch_size=8),
        Extractor(task="present", symptoms=["a", "b", "c"], max_tokens=20, pad_id=49),
        work=folder / "work" / "small-seed0",
        draft=folder / "draft",
        score=lambda _logits: (0.0, {}),
        trains=False,
    )


def operations(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_the_draft_is_an_artifact_with_the_pad_id_of_its_own_tokenizer(
    pressed: tuple[Path, Compressed], teacher: Path
):
    folder, made = pressed
    assert json.loads((teacher / "config.json").read_text())["pad_token_id"] == 49
    assert read_extractor(folder).pad_id == made.state.pad_id == 43
    runtime = Runtime.load(folder)
    one_by_one = runtime.predict_logits(TEXTS[:6])
    padded = runtime.batch_logits([runtime.windows_of(text).windows[0] for text in TEXTS[:6]])
    assert np.abs(one_by_one - padded).max() < 0.05 * one_by_one.std() + 0.02  # int8 rounds a batch as one
    assert one_by_one.shape == (6, 3)


def test_the_draft_answers_as_the_model_in_it_within_the_stated_difference(pressed: tuple[Path, Compressed]):
    folder, made = pressed
    model, runtime = load_model(folder), Runtime.load(folder)
    differences = []
    for text in TEXTS[18:]:
        (ids,) = runtime.windows_of(text).windows
        with torch.no_grad():
            ours = model(torch.from_numpy(ids[None]), torch.ones(1, len(ids), dtype=torch.int64))[0].numpy()
        differences.append(float(np.abs(ours - runtime.logits_of(ids)).max()))
    assert made.parity == pytest.approx(max(differences), rel=1e-3)
    assert 0 < made.parity < 0.2


def test_the_draft_is_int8_and_says_by_which_kernel(pressed: tuple[Path, Compressed]):
    folder, made = pressed
    assert operations(folder / "model.onnx")["MatMulInteger"] >= 6
    described = made.as_json(7)["kernel"]
    assert described is not None
    assert (described["name"], described["automatic"]) == ("dynamic-7bit", False)
    assert [candidate["name"] for candidate in described["candidates"]] == ["fp32", "dynamic-7bit"]
    sizes = [candidate["size_bytes"] for candidate in described["candidates"]]
    assert sizes[1] == (folder / "model.onnx").stat().st_size
    assert json.loads(json.dumps(described)) == json.loads(json.dumps(asdict(made.choice)))  # type: ignore[arg-type]
    assert replace(made, choice=None).as_json(7)["kernel"] is None


#: The named recipes at the size of the tiny encoder; everything else is theirs.
TINY = {"width": 16, "heads": 2, "ffn": 24}


def tiny(recipe: Recipe) -> Recipe:
    """`recipe` for a teacher that is 32 wide, with a training of a few steps."""
    steps = []
    for step in recipe.steps:
        changes: dict[str, Any] = {}
        if isinstance(step, Vocab):
            changes = {"keep": 48 if isinstance(step.keep, int) else 0.9}
        elif isinstance(step, Distill):
            changes = {"epochs": 1, "updates": None, "further": None, "batch": 8}
            changes |= TINY if step.width is not None else {}
        steps.append(step.model_copy(update=changes))
    return Recipe(tuple(steps))


@pytest.mark.parametrize("name", [entry.name for entry in named_recipes()])
def test_a_named_recipe_makes_the_file_it_made(
    name: str, teacher: Path, tmp_path: Path, check_golden: Callable[..., None], in_32_bits: None
):
    press(
        teacher,
        tiny(read_recipe(name)),
        Material("present", TEXTS[:18], TARGETS[:18], (), TEXTS[18:], TARGETS[18:], max_tokens=20),
        TrainSettings(epochs=1, batch_size=8),
        Extractor(task="present", symptoms=["a", "b", "c"], max_tokens=20, pad_id=49),
        work=tmp_path / "work" / name,
        draft=tmp_path / "draft",
        score=lambda _logits: (0.0, {}),
    )
    graph = onnx.load(tmp_path / "draft" / "model.onnx").graph
    stored = sorted(
        f"{onnx.TensorProto.DataType.Name(it.data_type)} {list(it.dims)}" for it in graph.initializer
    )
    logits = Runtime.load(tmp_path / "draft").predict_logits(TEXTS[:4])
    found = {
        "operators": dict(sorted(operations(tmp_path / "draft" / "model.onnx").items())),
        "stored": dict(sorted(Counter(stored).items())),
        "logits": [[round(float(value), 3) for value in row] for row in logits],
    }
    check_golden(f"recipe {name}", found, 0.05)


@pytest.fixture(scope="module")
def exported(make_encoder: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    model: SymptomModel = build_model(make_encoder("bert"), 3, "cls", seed=0).eval()
    model.head.output.weight.data *= 20
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export_onnx(model, path)
    return path


@pytest.mark.parametrize(
    ("step", "name", "operation", "count"),
    [
        (Quantize(), "dynamic-7bit", "MatMulInteger", 14),
        (Quantize(float_layers=3), "dynamic-7bit-3-float", "MatMulInteger", 11),
        (Quantize(kind="weights8"), "weights-8bit", "MatMulNBits", 12),
        (Quantize(kind="weights4", embeddings=4), "weights-4bit", "MatMulNBits", 12),
        (Quantize(kind="static"), "static-7bit", "QuantizeLinear", 14),
        (Quantize(kind="static", float_layers=3), "static-7bit-3-float", "QuantizeLinear", 11),
    ],
)
def test_a_kind_of_quantization_has_its_own_kernel(
    exported: Path, tmp_path: Path, step: Quantize, name: str, operation: str, count: int
):
    path = tmp_path / "model.onnx"
    path.write_bytes(exported.read_bytes())
    choice = step.apply_to_file(Exported(path, IDS, IDS, tmp_path / "work", 1, time_in_turn))
    assert (choice.name, choice.automatic) == (name, False)
    found = operations(path)
    assert found[operation] == count
    assert sum(found[other] for other in ("MatMulInteger", "MatMulNBits", "QuantizeLinear")) == count
    spread = logits_of(exported, IDS).std()
    assert np.abs(logits_of(path, IDS) - logits_of(exported, IDS)).mean() < 0.2 * spread


@pytest.mark.parametrize("float_layers", [0, 2])
def test_auto_times_every_kernel_of_this_machine(exported: Path, tmp_path: Path, float_layers: int):
    path = tmp_path / "model.onnx"
    path.write_bytes(exported.read_bytes())
    step = Quantize(kind="auto", float_layers=float_layers)
    choice = step.apply_to_file(Exported(path, IDS, IDS, tmp_path / "work", 1, time_in_turn))
    ending = f"-{float_layers}-float" if float_layers else ""
    names = [kernel + ending for kernel in available_kernels()]
    assert choice.automatic
    assert [candidate.name for candidate in choice.candidates] == ["fp32", *names]
    chosen = next(candidate for candidate in choice.candidates if candidate.name == choice.name)
    assert path.stat().st_size == chosen.size_bytes
    assert all(candidate.latency_ms > 0 for candidate in choice.candidates)


@pytest.mark.parametrize(
    ("step", "kernel", "names"),
    [
        (Quantize(), "auto", ["dynamic-7bit", "dynamic-8bit", "dynamic-unsigned"]),
        (Quantize(kind="static"), "auto", ["static-7bit", "static-8bit"]),
        (Quantize(aware=True), "auto", ["dynamic-7bit"]),  # it was trained for that one
        (Quantize(), "static-7bit", ["static-7bit"]),
    ],
)
def test_a_kernel_is_chosen_among_those_of_its_kind_or_given(
    exported: Path, tmp_path: Path, step: Quantize, kernel: str, names: list[str]
):
    path = tmp_path / "model.onnx"
    path.write_bytes(exported.read_bytes())
    choice = step.apply_to_file(Exported(path, IDS, IDS, tmp_path / "work", 1, time_in_turn, kernel))
    assert [candidate.name for candidate in choice.candidates] == ["fp32", *names]
    assert choice.automatic == (len(names) > 1)


def test_more_layers_in_float_than_there_are_is_one_line(exported: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"^99 layers to keep in float: must be from 0 to 14$"):
        Quantize(float_layers=99).apply_to_file(Exported(exported, IDS, IDS, tmp_path, 1, time_in_turn))


# The row of a study

SMALL: dict[str, Any] = {
    "baseline_longer": False,
    "synthetic_notes": 300,
    "epochs": 1,
    "max_tokens": 48,
    "windows": "first",
    "text_window": 200,
    "resamples": 50,
    "learning_rate": 1e-3,
    "protocol": "clinical",
    "labels": "coded",
    "task": "present",
    "split": "patient",
    "strategies": ("baseline",),
}
SMALLER = "small = vocab(keep=47) > distill(layers=1) > quantize(int8)"


def row(results: Results, name: str) -> StrategyResult:
    return next(found for found in results.strategies if found.name == name)


def written(run: Path) -> dict[str, int]:
    """When each row and each artifact's file was written."""
    files = [*(run / "rows").glob("*.json"), *(run / "artifacts").glob("*/model.onnx")]
    return {str(path.relative_to(run)): path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="module")
def studied(
    tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path, in_32_bits: None, memory_unmeasured: None
) -> tuple[Path, Results, Results]:
    """A run of the baseline and a recipe, and then of the baseline and three."""
    run = tmp_path_factory.mktemp("pressed-study") / "run"
    config = StudyConfig(encoder=str(encoder_folder), recipes=(SMALLER,), **SMALL)
    first = run_study(config, run)
    before = written(run)
    more = (SMALLER, "prune(layers=1)", "whole = vocab(keep=1.0)")
    second = run_study(config.model_copy(update={"recipes": more}), run)
    assert {name: time for name, time in written(run).items() if name in before} == before
    assert written(run).keys() - before.keys() == {
        "rows/recipe-2-seed0.json",
        "artifacts/recipe-2-seed0/model.onnx",
        "rows/whole-seed0.json",
        "artifacts/whole-seed0/model.onnx",
    }
    return run, first, second


def test_every_row_finds_what_it_found(
    studied: tuple[Path, Results, Results], check_golden: Callable[..., None], in_short: Callable[..., dict]
):
    check_golden("present", in_short(studied[0], studied[2]), 0.02)


def test_a_recipe_is_a_row_with_all_that_belongs_to_it(studied: tuple[Path, Results, Results]):
    run, results, _ = studied
    assert [found.name for found in results.strategies] == [
        "baseline",
        "small",
        "rule",
        "rule-assertion",
        "tfidf",
    ]
    made = row(results, "small")
    assert made.recipe == SMALLER.removeprefix("small = ")
    assert [note.partition(":")[0] for note in made.notes] == ["vocab", "distill", "quantize"]
    assert [epoch.epoch for epoch in made.epochs] == [1]
    assert made.cost.train_seconds > 0
    assert made.versus_baseline is not None
    assert made.versus_baseline.smaller
    assert 0 < (made.parity_max_difference or 0) < 0.2
    stored = json.loads((run / "rows" / "small-seed0.json").read_text(encoding="utf-8"))
    assert stored["transfer_notes"] == 0
    assert stored["thresholds"] == read_extractor(run / "artifacts" / "small-seed0").thresholds
    assert len(stored["thresholds"]) == len(results.data.symptoms)


def test_its_artifact_says_where_it_comes_from(studied: tuple[Path, Results, Results]):
    run, results, _ = studied
    folder = run / "artifacts" / "small-seed0"
    stored = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    assert (stored["recipe"], stored["seed"]) == (row(results, "small").recipe, 0)
    assert stored["kernel"]["name"] == "dynamic-7bit"
    assert "kernel" not in json.loads((run / "artifacts/baseline-seed0/provenance.json").read_text("utf-8"))
    assert (folder / "model.onnx").stat().st_size == row(results, "small").cost.size_bytes
    assert (folder / "README.md").is_file()
    assert [path.name for path in (run / "work").iterdir()] == ["logits"]


def test_adding_a_recipe_adds_its_row_and_changes_none(studied: tuple[Path, Results, Results]):
    _, first, second = studied
    assert [found.name for found in second.strategies] == [
        "baseline",
        "small",
        "recipe-2",
        "whole",
        "rule",
        "rule-assertion",
        "tfidf",
    ]
    for name in ("baseline", "small"):
        assert row(first, name).quality == row(second, name).quality
        assert row(first, name).cost.train_seconds == row(second, name).cost.train_seconds
    said = [note for note in row(second, "recipe-2").notes if note != KEPT]
    assert said == ["prune: 1 of 2 layers stay"]
    assert row(second, "recipe-2").epochs == []


def test_a_model_that_answers_as_before_keeps_its_teachers_thresholds(studied: tuple[Path, Results, Results]):
    run, _, results = studied
    assert row(results, "whole").notes[-1] == KEPT
    assert KEPT not in row(results, "small").notes
    ours, teachers = (read_extractor(run / "artifacts" / f"{n}-seed0") for n in ("whole", "baseline"))
    assert ours.thresholds == teachers.thresholds
    assert ours.calibration == teachers.calibration
    trained = read_extractor(run / "artifacts" / "small-seed0")
    assert trained.thresholds != teachers.thresholds


def test_another_recipe_of_the_same_name_is_refused(
    studied: tuple[Path, Results, Results], encoder_folder: Path
):
    run, _, _ = studied
    config = StudyConfig(encoder=str(encoder_folder), recipes=("small = prune(layers=1)",), **SMALL)
    with pytest.raises(InputError) as caught:
        run_study(config, run)
    assert str(caught.value) == (
        f"{run}: row 'small': its recipe is 'vocab(keep=47) > distill(layers=1) > quantize(int8)', not "
        "'prune(layers=1)'; give this recipe another name, or another -o"
    )
