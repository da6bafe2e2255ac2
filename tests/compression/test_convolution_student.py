"""Students without attention: recipes, what is refused, several teachers, tagging, resuming, the file."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from test_engine import MATERIAL, SETTINGS, logits_of, make_context
from torch import nn
from transformers import PreTrainedTokenizerFast

from sympress.compression.distill import FRESH_RATE
from sympress.compression.distill.student import convolution_student, principal_directions
from sympress.compression.export import export_checked
from sympress.compression.quantize.kernels import quantize_onnx
from sympress.compression.recipe import engine
from sympress.compression.recipe.engine import run_recipe
from sympress.compression.recipe.language import parse_recipe
from sympress.compression.recipe.material import (
    FurtherTeacher,
    Material,
    State,
    Tagging,
    encode_notes,
    fingerprint_material,
    teacher_notes,
)
from sympress.compression.search.estimate import (
    check_recipe,
    estimate_macs,
    estimate_size_bytes,
    pressed_shape,
    shape_of,
)
from sympress.errors import InputError
from sympress.labels.mentions import Mention
from sympress.models.convolution import ConvolutionModel
from sympress.models.model import SymptomModel, build_model, count_macs, load_model
from sympress.runtime.tokens import tags_of
from sympress.training.epochs import EpochLog, TrainSettings

CONV = "distill(student=conv, width=16, channels=24)"


@pytest.fixture
def teacher(make_encoder: Callable[..., Any]) -> SymptomModel:
    model = build_model(make_encoder("bert"), 3, "cls", seed=0).eval()
    model.head.output.weight.data *= 20
    return model


def run(text: str, teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, folder: Path, **changes: Any):
    return run_recipe(parse_recipe(text), teacher, tokenizer, make_context(folder, **changes))


@pytest.mark.parametrize(
    ("text", "remark", "pooling", "sizes"),
    [
        (CONV, "16 wide and a convolution of 24 channels, 3 pieces wide", "maximum", (54, 16, 24, 1, 3, 1)),
        (
            "distill(student=conv, layers=3, kernel=2, dilation=2, pool=label)",
            "32 wide and 3 convolutions of 128 channels, 2 pieces wide",
            "label",
            (54, 32, 128, 3, 2, 2),
        ),
        ("distill(student=static, width=8)", "8 wide", "mean", (54, 8, 8, 0, 3, 1)),
    ],
)
def test_a_student_without_attention_is_what_the_recipe_says(
    text: str,
    remark: str,
    pooling: str,
    sizes: tuple[int, ...],
    teacher: SymptomModel,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
):
    recipe = parse_recipe(text)
    assert str(recipe) == text
    state = run(text, teacher, tokenizer, tmp_path)
    config = state.model.encoder.config
    assert isinstance(state.model.encoder, ConvolutionModel)
    assert state.model.head.pooling == pooling
    assert sizes == (
        config.vocab_size,
        config.embedding_size,
        config.hidden_size,
        config.num_hidden_layers,
        config.kernel_size,
        config.dilation,
    )
    assert state.remarks == [
        f"distill: a fresh student of word vectors {remark}; 1 epochs over 32 notes (24 labelled)"
    ]
    stored = max((tmp_path / "work").glob("[0-9][0-9]-*")) / "model"
    assert torch.equal(logits_of(load_model(stored)), logits_of(state.model))


@pytest.mark.parametrize("family", ["bert", "electra", "modernbert", "sympress-conv"])
def test_its_word_vectors_are_the_teachers_turned_and_scaled(family: str, make_encoder: Callable[..., Any]):
    teacher = build_model(make_encoder(family), 3, "mean", seed=0).eval()
    table = teacher.encoder.get_input_embeddings()
    width = table.embedding_dim  # as wide as the teacher's: nothing but a rotation and a scale
    student = convolution_student(teacher, width=width, channels=8, seed=0)
    wide, slim = table.weight.detach(), student.encoder.word_embeddings.weight.detach()
    ratio = torch.pdist(slim[1:]) / torch.pdist(wide[1:])
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0)
    assert not slim[0].any()
    assert slim.std().item() == pytest.approx(1, abs=0.05)
    again = convolution_student(teacher, width=width, channels=8, seed=0)
    other = convolution_student(teacher, width=width, channels=8, seed=1)
    assert torch.equal(again.encoder.layers[0].dense.weight, student.encoder.layers[0].dense.weight)
    assert not torch.equal(other.encoder.layers[0].dense.weight, student.encoder.layers[0].dense.weight)


def test_factorized_word_vectors_of_a_teacher_are_multiplied_out(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    low = run("lowrank(embeddings=8)", teacher, tokenizer, tmp_path, trains=False).model
    table = low.encoder.get_input_embeddings()
    rows = table.second(table.first.weight).detach().double()
    student = convolution_student(low, width=4, channels=8, seed=0)
    mean, basis, _ = principal_directions(rows, 4)
    ours = student.encoder.word_embeddings.weight.detach()[1:]
    ratio = torch.pdist(ours) / torch.pdist(((rows - mean) @ basis)[1:]).float()
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0)


def test_it_learns_at_a_rate_of_its_own_and_its_head_no_faster(
    teacher: SymptomModel,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    used: list[TrainSettings] = []

    def watched(
        _model: object, _notes: object, _validation: object, settings: TrainSettings, *_: Any, **__: Any
    ):
        used.append(settings)
        return EpochLog()

    monkeypatch.setattr(engine, "train", watched)
    settings = replace(SETTINGS, head_rate_ratio=10.0)
    for number, text in enumerate(
        (CONV, "distill(student=static, rate=0.01, batch=4)", "distill(layers=1, width=16)")
    ):
        run(text, teacher, tokenizer, tmp_path / str(number), settings=settings)
    assert [(one.learning_rate, one.head_rate_ratio, one.batch_size) for one in used] == [
        (FRESH_RATE, 1.0, 8),
        (0.01, 1.0, 4),
        (1e-3, 10.0, 8),
    ]


def test_it_learns_what_the_teacher_says(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    def gap(logits: np.ndarray) -> float:
        state = State(teacher, tokenizer, teacher, (teacher, tokenizer))
        material = replace(
            MATERIAL, training=MATERIAL.validation, targets=MATERIAL.validation_targets, transfer=[]
        )
        wanted = teacher_notes(state, make_context(tmp_path, material=material), parse_recipe(CONV).steps[0])
        return float(np.abs(logits - np.asarray(wanted.teacher_logits)).mean())

    seen: list[float] = []

    def score(logits: np.ndarray) -> tuple[float, dict[str, Any]]:
        seen.append(gap(logits))
        return -seen[-1], {"quality": {}}

    run(
        "distill(student=conv, channels=32, rate=0.01, epochs=20, T=1, dropout=0)",
        teacher,
        tokenizer,
        tmp_path / "run",
        score=score,
    )
    assert min(seen) < 0.6 * seen[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("distill(student=conv, heads=2)", "a student without attention has no heads: leave it out"),
        (
            "distill(student=conv, relations=1)",
            "student=conv has no transformer layers: leave out choose, hidden and relations",
        ),
        (
            "distill(student=static, channels=8)",
            "student=static is word vectors alone: leave out channels, or take conv",
        ),
        ("distill(student=conv, layers=half)", "layers=half of a conv student must be a whole number"),
        (
            "distill(student=conv, dilation=2)",
            "dilation spreads the convolutions after the first: give layers=2 or more",
        ),
        (
            "distill(width=16, channels=8)",
            "channels shapes a student without attention: give student=conv too",
        ),
        ("distill(pool=mean)", "pool is that of a fresh student's head: give width or student too"),
        ("distill(student=rnn)", "student='rnn' must be one of conv, static"),
    ],
)
def test_settings_that_do_not_fit_are_refused_as_they_are_read(text: str, message: str):
    with pytest.raises(InputError) as caught:
        parse_recipe(text)
    assert str(caught.value) == f"distill: {message}"


NONE = "this model has no attention and no feed-forward layers"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{CONV} > prune(heads=0.5)",
            f"step 2, prune: {NONE} to prune; give a smaller distill(student=conv), or lowrank",
        ),
        (
            f"{CONV} > prune(hidden=8)",
            f"step 2, prune: {NONE} to prune; give a smaller distill(student=conv), or lowrank",
        ),
        (
            f"{CONV} > distill(layers=1)",
            f"step 2, distill: {NONE} to copy layers from: make a student with student=conv",
        ),
        (
            f"{CONV} > distill(hidden=1)",
            f"step 2, distill: {NONE}, whose states hidden and relations imitate: leave them out",
        ),
        (
            "distill(student=static) > lowrank(rank=2)",
            "step 2, lowrank: this model has no layers, word vectors alone: factorize the embeddings",
        ),
        (
            "distill(student=conv, width=33)",
            "step 1, distill: width=33 is more than the 32 of the teacher's word vectors",
        ),
    ],
)
def test_a_step_that_needs_attention_is_refused_before_anything_is_trained(
    text: str, message: str, teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    with pytest.raises(InputError) as caught:
        run(text, teacher, tokenizer, tmp_path)
    assert str(caught.value) == message
    assert not (tmp_path / "work").exists()
    with pytest.raises(InputError) as caught:
        check_recipe(parse_recipe(text), teacher)
    assert str(caught.value).split(": ", 1)[1] == message.split(": ", 1)[1]


def test_a_model_without_attention_is_pressed_by_every_step_that_fits(
    make_encoder: Callable[..., Any], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    model = build_model(make_encoder("sympress-conv"), 3, "maximum", seed=0).eval()
    text = (
        "vocab(keep=50) > lowrank(rank=4, embeddings=4) > mask(0.2) > "
        "distill(student=conv, width=8, channels=8) > fine-tune > quantize(int8, aware=true)"
    )
    state = run(text, model, tokenizer, tmp_path)
    assert shape_of(state.model).hidden == 8
    with pytest.raises(InputError, match="the teacher has no attention: make a student with student=conv"):
        run("distill(width=8, heads=2)", model, tokenizer, tmp_path / "narrow")
    with pytest.raises(InputError, match="no attention and no feed-forward layers to prune"):
        run("prune(ffn=0.5)", model, tokenizer, tmp_path / "prune")
    with pytest.raises(
        InputError, match="adapt needs an encoder with a masked-language head, which a convolution lacks"
    ):
        run("adapt", model, tokenizer, tmp_path / "adapt")


@pytest.mark.parametrize(
    "text",
    [
        f"vocab(keep=50) > {CONV} > quantize(int8)",
        "distill(student=conv, layers=3, dilation=2) > lowrank(rank=4, method=svd)",
        "distill(student=static, width=8) > vocab(keep=50)",
        "distill(student=conv, width=24, channels=24) > lowrank(embeddings=4)",
    ],
)
def test_costs_are_estimated_as_they_are(
    text: str, teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    recipe, shape = parse_recipe(text), shape_of(teacher)
    state = run(text, teacher, tokenizer, tmp_path)
    made, wanted = shape_of(state.model), pressed_shape(recipe, shape)
    bits = {"bits": wanted.bits, "embedding_bits": wanted.embedding_bits}
    assert replace(made, vocabulary=wanted.vocabulary, **bits) == wanted
    assert estimate_macs(recipe, shape, 20) == count_macs(state.model, 20)
    export_checked(state.model, tmp_path / "model.onnx", [np.arange(2, 20)])
    file = tmp_path / "model.onnx"
    if bits["bits"] == 8:
        quantize_onnx(file, tmp_path / "int8.onnx", reduce_range=True)
        file = tmp_path / "int8.onnx"
    graph = 18_000 + 11_500 * wanted.layers  # what a file of a transformer holds beside its weights
    assert abs(estimate_size_bytes(recipe, shape) - file.stat().st_size) < graph


def test_several_teachers_and_stored_answers_are_averaged(
    teacher: SymptomModel,
    make_encoder: Callable[..., Any],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
):
    step, state = parse_recipe(CONV).steps[0], State(teacher, tokenizer, teacher, (teacher, tokenizer))
    other = build_model(make_encoder("bert", seed=3), 3, "mean", seed=1).eval()
    further = FurtherTeacher(other, tokenizer, (2, 0, 1), 12)
    answers = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    stored = replace(MATERIAL, answers=answers)

    def logits(name: str, **changes: Any) -> np.ndarray:
        return np.asarray(teacher_notes(state, make_context(tmp_path / name, **changes), step).teacher_logits)

    own, both = logits("own"), logits("both", teachers=(further,))
    assert np.array_equal(logits("stored", material=stored), answers)  # the model itself is not asked
    theirs = logits("mixed", material=stored, teachers=(further,))
    np.testing.assert_allclose(theirs, (answers + 2 * both - own) / 2, atol=1e-5)
    drawn = teacher_notes(
        state,
        make_context(tmp_path / "few", material=stored),
        parse_recipe("distill(student=conv, further=3)").steps[0],
    )
    rows = np.random.default_rng(0).permutation(8)[:3] + 24
    assert np.array_equal(np.asarray(drawn.teacher_logits), answers[[*range(24), *rows]])
    assert fingerprint_material(stored) != fingerprint_material(MATERIAL)
    with pytest.raises(InputError, match=r"stored answers of shape \(5, 3\) do not fit 32 notes of the task"):
        replace(MATERIAL, answers=answers[:5])
    run(CONV, teacher, tokenizer, tmp_path / "run", material=stored)


def test_a_student_may_read_more_of_a_note_than_its_teacher(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    long = replace(MATERIAL, training=["fever and " * 30] * 24, max_tokens=20)
    before = tokenizer.model_max_length
    state = run(f"vocab(keep=50) > {CONV[:-1]}, tokens=70)", teacher, tokenizer, tmp_path, material=long)
    assert (state.max_tokens, state.tokenizer.model_max_length) == (70, 70)
    assert tokenizer.model_max_length == before
    context = make_context(tmp_path, material=long)
    assert max(teacher_notes(state, context, parse_recipe(CONV).steps[0]).notes.lengths) == 62
    assert max(encode_notes(tokenizer, long.training, long).lengths) == 20
    again = run(f"vocab(keep=50) > {CONV[:-1]}, tokens=70)", teacher, tokenizer, tmp_path, material=long)
    assert again.max_tokens == 70  # of the stored step


class KilledError(Exception):
    pass


@pytest.mark.parametrize("text", ["distill(student=conv, width=16, channels=24, layers=2, epochs=2)"])
def test_a_killed_run_ends_as_one_that_was_not(
    text: str, teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    def kill(done: int, _total: int) -> None:
        if done == 6:
            raise KilledError

    settings = replace(SETTINGS, save_steps=2)
    with pytest.raises(KilledError):
        run(text, teacher, tokenizer, tmp_path / "cut", progress=kill, settings=settings)
    resumed = run(text, teacher, tokenizer, tmp_path / "cut", settings=settings)
    whole = run(text, teacher, tokenizer, tmp_path / "whole", settings=settings)
    assert torch.equal(logits_of(resumed.model), logits_of(whole.model))
    assert [epoch["score"] for epoch in resumed.epochs] == [epoch["score"] for epoch in whole.epochs]


@pytest.fixture
def spans() -> Material:
    texts = [f"patient reports {word} and no rash" for word in ("fever", "cough", "pain", "nausea")]
    found = [[Mention(16, text.index(" and"), None, "present")] for text in texts]
    tags = tags_of(("present",))
    blank = np.zeros((4, len(tags)), dtype=np.uint8)
    tagging = Tagging(tags, found, found)
    sides = (texts, blank, ["no chills"], texts, blank)
    return Material("mentions", *sides, max_tokens=12, stride=6, tagging=tagging)


def test_a_tagger_learns_spans_with_convolutions_and_is_exported(
    make_encoder: Callable[..., Any], tokenizer: PreTrainedTokenizerFast, tmp_path: Path, spans: Material
):
    teacher = build_model(
        make_encoder("bert"), len(spans.tagging.tags if spans.tagging else ()), "token", seed=0
    )
    text = (
        "distill(student=conv, layers=2, dilation=2, channels=32, rate=0.01, alpha=0, epochs=20, dropout=0)"
    )
    state = run(text, teacher.eval(), tokenizer, tmp_path, material=spans)
    assert state.model.head.pooling == "token"
    assert state.epochs[-1]["score"] > 0.9 > state.epochs[0]["score"]
    notes = list(encode_notes(tokenizer, spans.training, spans).ids)
    assert export_checked(state.model, tmp_path / "model.onnx", notes) < 1e-4
    quantize_onnx(tmp_path / "model.onnx", tmp_path / "int8.onnx", reduce_range=True)
    kinds = [node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node]
    assert kinds.count("MatMulInteger") == 3
    for wrong in ("tokens=40", "pool=mean"):
        with pytest.raises(InputError, match="is of no use to the task mentions"):
            run(f"distill(student=conv, {wrong})", teacher, tokenizer, tmp_path / "no", material=spans)


def test_masks_and_copies_leave_the_teacher_alone(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    before = copy.deepcopy(teacher.state_dict())
    state = run(f"mask(0.3) > {CONV}", teacher, tokenizer, tmp_path)
    assert not state.masked
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    dense = state.model.encoder.layers[0].dense
    assert isinstance(dense, nn.Linear)
    assert (dense.weight != 0).all()
