"""Every step of a recipe on tiny encoders: what it does, what it says, and going on after a kill."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from sympress.compression.distill import Distill, teachers
from sympress.compression.recipe import engine as learn
from sympress.compression.recipe.engine import run_recipe
from sympress.compression.recipe.language import parse_recipe
from sympress.compression.recipe.material import Context, Material, State, fingerprint_material, teacher_notes
from sympress.errors import InputError
from sympress.models.families import family_of, layer_linears, layers_of, position_rows
from sympress.models.model import LowRankEmbedding, LowRankLinear, SymptomModel, build_model, load_model
from sympress.training import train
from sympress.training.data import Collate, NoteDataset, encode_texts
from sympress.training.epochs import EpochLog, TrainSettings, predict_logits
from sympress.training.losses import loss_of

WORDS = ("fever", "cough", "pain", "nausea", "chills", "patient", "denies", "reports", "with", "rash")
FAMILIES = ("bert", "modernbert")
SETTINGS = TrainSettings(epochs=1, batch_size=8, learning_rate=1e-3)
IDS = torch.tensor([[2, 5, 9, 12, 7, 3], [2, 8, 3, 0, 0, 0]])
MASK = (IDS != 0).long()


def notes(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(3, 12))) for _ in range(count)]


def targets(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, size=(count, 3)).astype(np.uint8)


MATERIAL = Material(
    task="present",
    training=notes(24, 1),
    targets=targets(24, 1),
    transfer=notes(8, 2),
    validation=notes(6, 3),
    validation_targets=targets(6, 3),
    max_tokens=20,
)


def score(logits: np.ndarray) -> tuple[float, dict[str, Any]]:
    return float(-np.abs(logits).mean()), {"quality": {}}


def make_context(folder: Path, **changes: Any) -> Context:
    values: dict[str, Any] = {"material": MATERIAL, "settings": SETTINGS, "score": score}
    return Context(folder=folder / "work", logits_folder=folder / "logits", **(values | changes))


@pytest.fixture(scope="module")
def teachers_by_family(make_encoder: Callable[..., Any]) -> dict[str, SymptomModel]:
    made = {family: build_model(make_encoder(family), 3, "cls", seed=0).eval() for family in FAMILIES}
    for model in made.values():  # answers that differ from note to note
        model.head.output.weight.data *= 20
        for _, linear in layer_linears(model.encoder):
            linear.weight.data *= 5
    return made


@pytest.fixture
def teacher(teachers_by_family: dict[str, SymptomModel]) -> SymptomModel:
    return teachers_by_family["bert"]


def logits_of(model: SymptomModel) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(IDS, MASK)


def same_weights(ours: nn.Module, theirs: nn.Module) -> bool:
    first, second = ours.state_dict(), theirs.state_dict()
    return list(first) == list(second) and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


def last_step(folder: Path) -> Path:
    return max((folder / "work").glob("[0-9][0-9]-*"))


def zero_shares(model: SymptomModel, *, everywhere: bool = True) -> list[float]:
    source = model.modules() if everywhere else (linear for _, linear in layer_linears(model.encoder))
    return [float((m.weight == 0).float().mean()) for m in source if isinstance(m, nn.Linear)]


def widths(model: SymptomModel) -> tuple[int, int, int, int]:
    """Layers, hidden size, channels of the first layer's attention, its neurons."""
    family, layers = family_of(model.encoder), layers_of(model.encoder)
    attention = layers[0].get_submodule(family.attention_output)
    neurons = layers[0].get_submodule(family.neurons_out)
    return len(layers), model.encoder.config.hidden_size, attention.in_features, neurons.in_features


TAUGHT = "1 epochs over 32 notes (24 labelled)"
SHAPES = [
    ("distill(layers=1)", (1, 32, 32, 48), f"distill: a student of 1 of 2 layers; {TAUGHT}"),
    (
        "distill(layers=1, width=16, hidden=1)",
        (1, 16, 16, 24),
        f"distill: a fresh student, 16 wide, of 1 layers; {TAUGHT}",
    ),
    ("distill(hidden=1)", (2, 32, 32, 48), f"distill: the present model learns from the teacher; {TAUGHT}"),
    (
        "distill(relations=1)",
        (2, 32, 32, 48),
        f"distill: the present model learns from the teacher; {TAUGHT}",
    ),
    ("fine-tune(epochs=2)", (2, 32, 32, 48), "fine-tune: 2 epochs over 24 labelled notes"),
    (
        "prune(heads=0.5, ffn=0.5)",
        (2, 32, 16, 24),
        "prune: 4 of 8 heads and 48 of 96 neurons stay",
    ),
    ("prune(hidden=16)", (2, 16, 32, 48), "prune: 16 of 32 hidden dimensions stay"),
    ("prune(layers=1)", (1, 32, 32, 48), "prune: 1 of 2 layers stay"),
    (
        "prune(heads=0.5, ffn=0.5, hidden=0.5, reconstruct=true)",
        (2, 16, 16, 24),
        "prune: 4 of 8 heads, 48 of 96 neurons and 16 of 32 hidden dimensions stay",
    ),
    (
        "prune(heads=0.5, ffn=0.5, hidden=16, score=surgeon, reconstruct=true)",
        (2, 16, 16, 24),
        "prune: 4 of 8 heads, 48 of 96 neurons and 16 of 32 hidden dimensions stay",
    ),
    (
        "quantize(int8, aware=true)",
        (2, 32, 32, 48),
        "quantize: 1 epochs with int8 simulated; the file is quantized (int8)",
    ),
    (
        "quantize(static, embeddings=4)",
        (2, 32, 32, 48),
        "quantize: the file is quantized (static, embeddings 4 bits)",
    ),
]


@pytest.mark.parametrize(("settings", "passes"), [("updates=10", 3), ("epochs=2, updates=3", 2)])
def test_few_notes_are_passed_over_until_the_updates_are_done(
    settings: str, passes: int, teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    recipe = parse_recipe(f"distill(layers=1, {settings})")
    state = run_recipe(recipe, teacher, tokenizer, make_context(tmp_path))  # 4 updates a pass
    assert len(state.epochs) == passes
    assert state.remarks[0].endswith(f"; {passes} epochs over 32 notes (24 labelled)")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("text", "shape", "remark"), SHAPES)
def test_a_step_leaves_the_sizes_it_says_and_reloads_equal(
    teachers_by_family: dict[str, SymptomModel],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    family: str,
    text: str,
    shape: tuple[int, int, int, int],
    remark: str,
):
    whole = teachers_by_family[family]
    recipe = parse_recipe(text)
    state = run_recipe(recipe, whole, tokenizer, make_context(tmp_path))
    assert widths(state.model) == shape
    assert state.remarks == [remark]
    assert torch.equal(logits_of(load_model(last_step(tmp_path) / "model")), logits_of(state.model))
    learnt = recipe.steps[0].trains
    epochs = getattr(recipe.steps[0], "epochs", None) or 1
    assert [epoch["epoch"] for epoch in state.epochs] == (list(range(1, epochs + 1)) if learnt else [])
    assert (state.train_seconds > 0) == learnt
    if shape == widths(whole):  # then only training changes an answer
        assert torch.equal(logits_of(whole), logits_of(state.model)) != learnt
    assert all(parameter.requires_grad for parameter in state.teacher.parameters())
    assert not any(name.startswith("projections") for name in state.model.state_dict())
    # nothing of a training is left that would make a second one, in the same process, another one
    loaded = load_model(last_step(tmp_path) / "model")
    assert vars(state.model).keys() == vars(loaded).keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_vocab_trims_model_teacher_and_tokenizer_alike(
    teachers_by_family: dict[str, SymptomModel],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    family: str,
):
    whole = teachers_by_family[family]
    state = run_recipe(parse_recipe("vocab(keep=48)"), whole, tokenizer, make_context(tmp_path))
    learnt = family == "bert"  # ModernBERT's positions are no table
    assert state.remarks == [
        "vocab: 48 of 54 word pieces stay; 100.0% of the notes' pieces are among them, the others "
        "split further" + "; 20 of 80 positions stay, those of inputs of 20 pieces" * learnt
    ]
    assert len(state.tokenizer) == 48
    assert state.tokenizer.model_max_length == (20 if learnt else 64)
    for model in (state.model, state.teacher):
        assert model.encoder.get_input_embeddings().weight.shape == (48, 32)
        assert position_rows(model.encoder)[0] == (20 if learnt else 0)
    untouched, its_tokenizer = state.untouched
    assert len(its_tokenizer) == 54
    assert its_tokenizer.model_max_length == 64
    assert position_rows(untouched.encoder)[0] == (80 if learnt else 0)
    new, old = (encode_texts(t, MATERIAL.training, 20) for t in (state.tokenizer, its_tokenizer))
    blank = np.zeros((24, 3), dtype=np.uint8)
    ours = predict_logits(state.model, NoteDataset(new, blank), state.pad_id)
    assert np.array_equal(ours, predict_logits(untouched, NoteDataset(old, blank), 0))


def test_vocab_leaves_all_positions_where_it_is_told_to(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    state = run_recipe(
        parse_recipe("vocab(keep=48, positions=all)"), teacher, tokenizer, make_context(tmp_path)
    )
    assert position_rows(state.model.encoder) == position_rows(state.teacher.encoder) == (80, 0)
    assert state.tokenizer.model_max_length == 64
    assert "positions" not in state.remarks[0]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["svd", "activation", "fisher"])
def test_lowrank_replaces_the_layers_in_which_it_pays(
    teachers_by_family: dict[str, SymptomModel],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    family: str,
    method: str,
):
    whole = teachers_by_family[family]
    text = f"lowrank(rank=4, method={method}, embeddings=8)"
    state = run_recipe(parse_recipe(text), whole, tokenizer, make_context(tmp_path, trains=False))
    count = sum(1 for _ in layer_linears(whole.encoder))
    assert state.remarks == [
        f"lowrank: {count} linear layers become two factors of rank 4 to 4, 0 stay whole because no "
        "rank pays there; embeddings of rank 8"
    ]
    assert sum(isinstance(module, LowRankLinear) for module in state.model.modules()) == count
    assert isinstance(state.model.encoder.get_input_embeddings(), LowRankEmbedding)
    assert torch.equal(logits_of(load_model(last_step(tmp_path) / "model")), logits_of(state.model))


def test_lowrank_says_where_it_changes_nothing(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    text = "lowrank(rank=32, method=svd, embeddings=30)"
    state = run_recipe(parse_recipe(text), teacher, tokenizer, make_context(tmp_path))
    assert state.remarks == [
        "lowrank: all 12 linear layers stay whole because no rank pays there; embeddings stay whole"
    ]
    assert same_weights(state.model, teacher)


def test_prune_keeps_the_share_of_macs_it_is_told(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    state = run_recipe(parse_recipe("prune(macs=0.5)"), teacher, tokenizer, make_context(tmp_path))
    sizes = [
        sum(linear.weight.numel() for _, linear in layer_linears(model.encoder))
        for model in (teacher, state.model)
    ]
    assert sizes[1] <= 0.5 * sizes[0] * 1.05  # attention's own products are in the budget too
    assert sizes[1] >= 0.35 * sizes[0]
    assert state.remarks[0].startswith("prune: ")


@pytest.mark.parametrize("family", FAMILIES)
def test_masked_weights_stay_zero_in_what_is_trained_afterwards(
    teachers_by_family: dict[str, SymptomModel],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    family: str,
):
    whole = teachers_by_family[family]
    recipe = parse_recipe("mask(0.5) > fine-tune > distill > quantize(int8, aware=true)")
    state = run_recipe(recipe, whole, tokenizer, make_context(tmp_path))
    assert zero_shares(state.model) == pytest.approx([0.5] * len(zero_shares(whole)), abs=0.02)
    assert state.masked
    assert state.remarks[0] == (
        "mask: 50% of the weights of each linear layer are masked: zeros in a file of the same size"
    )
    assert not same_weights(state.model, whole)


def test_masks_by_movement_are_exact_and_stay(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    recipe = parse_recipe("mask(0.25, score=movement) > fine-tune")
    settings = TrainSettings(epochs=4, batch_size=8, learning_rate=1e-3, select="best")
    state = run_recipe(recipe, teacher, tokenizer, make_context(tmp_path, settings=settings))
    assert zero_shares(state.model, everywhere=False) == [0.25] * 12
    assert state.remarks[0].startswith(
        "mask: 25% of the weights of each linear layer of the encoder are masked"
    )
    assert not any("prune_" in name for name in state.model.state_dict())


COMPOSITIONS = [
    "vocab(keep=0.9) > distill(layers=1) > prune(heads=0.5, ffn=0.5) > distill > "
    "lowrank(rank=3) > quantize(int8)",
    "distill(width=16, hidden=1, relations=1) > vocab(keep=46) > prune(hidden=8, reconstruct=true) > "
    "fine-tune > quantize(static, aware=true)",
    "vocab(keep=48) > prune(layers=1, macs=0.6, reconstruct=true) > lowrank(keep=0.6, embeddings=6) > "
    "distill(hidden=1) > mask(0.3) > fine-tune > quantize(auto)",
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", COMPOSITIONS)
def test_steps_compose_and_the_teacher_is_left_alone(
    teachers_by_family: dict[str, SymptomModel],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    family: str,
    text: str,
):
    whole = teachers_by_family[family]
    before, recipe = copy.deepcopy(whole), parse_recipe(text)
    state = run_recipe(recipe, whole, tokenizer, make_context(tmp_path))
    assert [remark.partition(":")[0] for remark in state.remarks] == [step.step for step in recipe.steps]
    size, whole_size = (sum(p.numel() for p in model.parameters()) for model in (state.model, whole))
    assert size < 0.75 * whole_size
    stored = load_model(last_step(tmp_path) / "model")
    assert torch.equal(logits_of(stored), logits_of(state.model))
    assert same_weights(whole, before)
    assert len(tokenizer) == 54
    assert all(parameter.requires_grad for parameter in whole.parameters())
    assert not whole.training


def test_a_student_comes_nearer_to_its_teacher(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    distances = {}
    encoded = encode_texts(tokenizer, MATERIAL.transfer, 20)
    unseen = NoteDataset(encoded, np.zeros((8, 3), dtype=np.uint8))
    wanted = predict_logits(teacher, unseen, 0)
    for text in ("prune(layers=1)", "distill(layers=1, choose=first, epochs=15, rate=2e-3)"):
        state = run_recipe(parse_recipe(text), teacher, tokenizer, make_context(tmp_path / text[:5]))
        distances[text[:5]] = float(np.abs(predict_logits(state.model, unseen, 0) - wanted).mean())
    assert distances["disti"] < 0.5 * distances["prune"]


class KilledError(Exception):
    """Not one of ours: what a kill looks like from inside."""


def dying_score(calls: int) -> Callable[[np.ndarray], tuple[float, dict[str, Any]]]:
    """A scorer that dies when it is called for the `calls`-th time."""
    left = [calls]

    def judge(logits: np.ndarray) -> tuple[float, dict[str, Any]]:
        left[0] -= 1
        if left[0] == 0:
            raise KilledError
        return score(logits)

    return judge


LONG = "vocab(keep=48) > distill(layers=1) > fine-tune(epochs=2) > prune(ffn=0.5)"


def run_noting(
    text: str, teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, context: Context
) -> tuple[list[int], State]:
    """The numbers of the steps that ran, and the piece."""
    ran: list[int] = []
    state = run_recipe(
        parse_recipe(text),
        teacher,
        tokenizer,
        context,
        announce=lambda number, _total, _step: ran.append(number),
    )
    return ran, state


@pytest.fixture
def killed(teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    """A folder in which `LONG` died in the second epoch of its third step."""
    with pytest.raises(KilledError):
        run_recipe(parse_recipe(LONG), teacher, tokenizer, make_context(tmp_path, score=dying_score(3)))
    assert (tmp_path / "work" / "02-distill" / "model").is_dir()
    return tmp_path


def test_a_killed_recipe_goes_on_and_ends_as_one_never_killed(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, killed: Path
):
    ran, state = run_noting(LONG, teacher, tokenizer, make_context(killed))
    whole, undisturbed = run_noting(LONG, teacher, tokenizer, make_context(killed / "other"))
    assert (ran, whole) == ([3, 4], [1, 2, 3, 4])
    assert same_weights(state.model, undisturbed.model)
    assert same_weights(state.teacher, undisturbed.teacher)
    assert state.tokenizer.get_vocab() == undisturbed.tokenizer.get_vocab()
    assert (state.remarks, state.epochs) == (undisturbed.remarks, undisturbed.epochs)
    assert not list((killed / "work").glob("checkpoints-*"))
    assert run_noting(LONG, teacher, tokenizer, make_context(killed))[0] == []


OTHER_SETTINGS = TrainSettings(epochs=1, batch_size=8, learning_rate=2e-3)


@pytest.mark.parametrize(
    ("text", "changes", "first"),
    [
        (LONG.replace("48", "47"), {}, 1),
        (LONG, {"material": replace(MATERIAL, transfer=())}, 1),
        (LONG, {"settings": OTHER_SETTINGS}, 1),
        (LONG.replace("epochs=2", "epochs=1"), {}, 3),  # what comes before is the same
    ],
)
def test_another_recipe_in_the_folder_takes_over_only_what_is_its_own(
    teacher: SymptomModel,
    tokenizer: PreTrainedTokenizerFast,
    killed: Path,
    text: str,
    changes: dict[str, Any],
    first: int,
):
    ran, state = run_noting(text, teacher, tokenizer, make_context(killed, **changes))
    fresh = run_noting(text, teacher, tokenizer, make_context(killed / "other", **changes))[1]
    assert ran == list(range(first, 5))
    assert same_weights(state.model, fresh.model)
    assert state.epochs == fresh.epochs


def test_another_teacher_takes_over_nothing(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, killed: Path
):
    other = copy.deepcopy(teacher)
    other.head.output.bias.data += 1
    assert run_noting(LONG, other, tokenizer, make_context(killed))[0] == [1, 2, 3, 4]


def test_a_half_written_step_does_not_count(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    text, context = "vocab(keep=48) > prune(ffn=0.5)", make_context(tmp_path)
    run_noting(text, teacher, tokenizer, context)
    (context.folder / "02-prune").rename(context.folder / "02-prune.draft")
    (context.folder / "01-vocab" / "step.json").write_text("{", encoding="utf-8")
    assert run_noting(text, teacher, tokenizer, context)[0] == [1, 2]
    assert sorted(path.name for path in context.folder.iterdir()) == ["01-vocab", "02-prune"]


def test_a_step_that_says_less_of_its_state_does_not_count(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    text, context = "vocab(keep=48)", make_context(tmp_path)
    run_noting(text, teacher, tokenizer, context)
    record = context.folder / "01-vocab" / "step.json"
    assert run_noting(text, teacher, tokenizer, context)[0] == []
    said = json.loads(record.read_text(encoding="utf-8"))
    del said["masked"]
    record.write_text(json.dumps(said), encoding="utf-8")
    assert run_noting(text, teacher, tokenizer, context)[0] == [1]


def test_material_that_differs_in_anything_has_another_fingerprint():
    others = [
        MATERIAL,
        replace(MATERIAL, task="topic"),
        replace(MATERIAL, max_tokens=21),
        replace(MATERIAL, training=[*MATERIAL.training[:-1], "fever"]),
        replace(MATERIAL, transfer=[*MATERIAL.transfer, "fever"]),
        replace(MATERIAL, validation=MATERIAL.validation[::-1]),
        replace(MATERIAL, targets=1 - MATERIAL.targets),
        replace(MATERIAL, validation_targets=1 - MATERIAL.validation_targets),
        replace(MATERIAL, training=(), transfer=[*MATERIAL.training, *MATERIAL.transfer]),
    ]
    assert len({fingerprint_material(material) for material in others}) == len(others)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vocab(keep=48) > distill(layers=1)", "step 2, distill: "),
        ("fine-tune", "step 1, fine-tune: "),
        ("mask(0.3, score=movement)", "step 1, mask: "),
        ("prune(ffn=0.5) > quantize(int8, aware=true)", "step 2, quantize: "),
    ],
)
def test_without_training_a_step_that_trains_is_refused_before_any_other_runs(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, text: str, message: str
):
    with pytest.raises(InputError) as caught:
        run_recipe(parse_recipe(text), teacher, tokenizer, make_context(tmp_path, trains=False))
    assert str(caught.value) == (
        f"{message}it trains, which --no-training rules out; take it out of the recipe"
    )
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "vocab(keep=48) > prune(layers=3)",
            "step 2, prune: layers=3 is more than the 2 there are",
        ),
        ("distill(layers=5)", "step 1, distill: layers=5 is more than the 2 there are"),
        (
            "mask(0.3) > lowrank(rank=4)",
            "step 2, lowrank: the zeros of mask do not outlast two factors: put lowrank before mask",
        ),
        (
            "mask(0.3) > prune(ffn=0.5, reconstruct=true)",
            "step 2, prune: least squares would fill the zeros of mask: put prune before mask",
        ),
        (
            "prune(heads=0.25) > prune(heads=0.5)",
            "step 2, prune: the model has one head a layer already; no head can be removed",
        ),
    ],
)
def test_a_step_that_cannot_apply_is_named(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, text: str, message: str
):
    with pytest.raises(InputError) as caught:
        run_recipe(parse_recipe(text), teacher, tokenizer, make_context(tmp_path))
    assert str(caught.value) == message


def test_the_teacher_answers_once_for_all_recipes(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[int] = []

    def counted(model: Any, dataset: NoteDataset, *arguments: Any, **settings: Any) -> np.ndarray:
        asked.append(len(dataset))
        return predict_logits(model, dataset, *arguments, **settings)

    monkeypatch.setattr(teachers, "predict_logits", counted)
    first = make_context(tmp_path)
    run_recipe(parse_recipe("distill(layers=1) > distill"), teacher, tokenizer, first)
    assert asked == [24, 8]
    second = replace(first, folder=tmp_path / "second")
    run_recipe(parse_recipe("vocab(keep=46) > distill"), teacher, tokenizer, second)
    assert asked == [24, 8]


def caught_loss(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What training is given, in place of training."""
    given: dict[str, Any] = {}

    def instead(_model: Any, training: NoteDataset, *_rest: Any, **named: Any) -> EpochLog:
        given.update(named, training=training)
        return EpochLog()

    monkeypatch.setattr(learn, "train", instead)
    return given


def measured_loss(
    given: dict[str, Any], model: SymptomModel, rows: Sequence[int]
) -> tuple[float, torch.Tensor]:
    batch = Collate(0)([given["training"][row] for row in rows])
    with torch.no_grad():
        logits = model.eval()(batch["input_ids"], batch["attention_mask"])
        return float(given["batch_loss"](model, batch)), logits


def test_unlabelled_notes_teach_by_the_teachers_answers_alone(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given = caught_loss(monkeypatch)
    rows = range(32)
    labels = torch.from_numpy(MATERIAL.targets.astype(np.float32))
    state = run_recipe(
        parse_recipe("distill(layers=1, alpha=0)"), teacher, tokenizer, make_context(tmp_path / "a")
    )
    assert given["training"].labelled.tolist() == [1.0] * 24 + [0.0] * 8
    loss, logits = measured_loss(given, state.model, rows)
    assert loss == pytest.approx(float(loss_of("present")(logits[:24], labels)), rel=1e-5)
    assert measured_loss(given, state.model, range(24, 32))[0] == 0.0

    state = run_recipe(
        parse_recipe("distill(layers=1, T=3)"), teacher, tokenizer, make_context(tmp_path / "b")
    )
    loss, logits = measured_loss(given, state.model, rows)
    wanted = given["training"].teacher_logits
    assert loss == pytest.approx(float(loss_of("present").soft_targets(logits, wanted, 3.0)), rel=1e-5)
    assert measured_loss(given, state.model, range(24, 32))[0] > 0


def test_what_is_taught_is_the_untrimmed_teachers_answer_to_the_trimmed_notes(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    context = make_context(tmp_path)
    state = run_recipe(parse_recipe("vocab(keep=40)"), teacher, tokenizer, context)
    taught = teacher_notes(state, context, Distill())
    texts = [*MATERIAL.training, *MATERIAL.transfer]
    whole = NoteDataset(encode_texts(tokenizer, texts, 20), np.zeros((32, 3), dtype=np.uint8))
    assert taught.teacher_logits is not None
    wanted = predict_logits(
        teacher, whole, 0
    )  # in full precision; teachers answer in bfloat16 where there is some
    assert np.abs(taught.teacher_logits.numpy() - wanted).mean() < 0.02 * wanted.std()
    assert max(int(ids.max()) for ids in taught.notes.ids) < 40
    trimmed = predict_logits(state.teacher, NoteDataset(taught.notes, whole.targets.numpy()), 0)
    assert np.abs(trimmed - wanted).mean() > 0.1 * wanted.std()  # most words are unknown to it
    assert torch.equal(taught.targets[:24], torch.from_numpy(MATERIAL.targets.astype(np.float32)))


def test_without_transfer_notes_every_note_is_labelled(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    context = make_context(tmp_path, material=replace(MATERIAL, transfer=()))
    state = run_recipe(parse_recipe("distill(layers=1)"), teacher, tokenizer, context)
    assert state.remarks == ["distill: a student of 1 of 2 layers; 1 epochs over 24 notes (24 labelled)"]
    assert teacher_notes(state, context, Distill()).labelled.tolist() == [1.0] * 24  # type: ignore[union-attr]


def test_a_step_may_take_fewer_further_notes_and_smaller_draws_begin_larger_ones(
    teacher: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    context = make_context(tmp_path)
    state = run_recipe(parse_recipe("distill(layers=1, further=5)"), teacher, tokenizer, context)
    assert state.remarks == ["distill: a student of 1 of 2 layers; 1 epochs over 29 notes (24 labelled)"]
    three, five, more = (teacher_notes(state, context, Distill(further=count)) for count in (3, 5, 99))
    assert [len(taught) for taught in (three, five, more)] == [27, 29, 32]
    for shorter, longer in zip(three.notes.ids, five.notes.ids, strict=False):
        np.testing.assert_array_equal(shorter, longer)
    torch.testing.assert_close(three.teacher_logits, five.teacher_logits[:27])  # type: ignore[index]
    drawn = {tuple(ids) for ids in five.notes.ids[24:]}
    everything = [tuple(ids) for ids in more.notes.ids[24:]]
    assert drawn <= set(everything)
    assert [tuple(ids) for ids in five.notes.ids[24:]] != everything[:5]  # drawn, not the first ones
    assert len(teacher_notes(state, context, Distill(further=0))) == 24


def shares_dropped(model: nn.Module) -> set[float]:
    return {module.p for module in model.modules() if isinstance(module, nn.Dropout)}


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"])
def test_a_student_drops_nothing_where_its_step_says_so(
    family: str,
    make_encoder: Callable,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    whole = build_model(make_encoder(family), 3, "mean", seed=0)
    alike: list[bool] = []

    def looked_at(model: SymptomModel, *arguments: Any, **named: Any) -> EpochLog:
        model.train()
        alike.append(torch.equal(model(IDS, MASK), model(IDS, MASK)))
        return train(model, *arguments, **named)

    monkeypatch.setattr(learn, "train", looked_at)
    for settings in ("dropout=0.0", "dropout=0.5", "epochs=1"):
        context = make_context(tmp_path / settings)
        state = run_recipe(parse_recipe(f"distill(layers=1, {settings})"), whole, tokenizer, context)
        assert shares_dropped(state.model) == shares_dropped(whole)  # as it was, for whatever comes after
    assert alike == [True, False, False]
