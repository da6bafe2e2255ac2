"""Training learns, repeats itself, and goes on after a kill as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from sympress.errors import SympressError
from sympress.models.model import SymptomModel, build_model
from sympress.training import from_logits, parameter_groups, train
from sympress.training.data import NoteDataset, encode_texts, note_logits
from sympress.training.epochs import EpochLog, TrainSettings, predict_logits
from sympress.training.losses import loss_of

SYMPTOMS = ("fever", "cough", "pain")
FILLER = ("patient", "reports", "with", "and", "the", "after", "dose", "arm", "a", "b", "c", "d", "e", "f")
SETTINGS = TrainSettings(epochs=3, batch_size=8, learning_rate=1e-3, save_steps=3, warmup_share=0.1)
#: Five steps an epoch: 40 notes, 8 a batch.
NOTES, STEPS = 40, 5


class KilledError(Exception):
    """Stands for a process that ends."""


def make_notes(tokenizer: PreTrainedTokenizerFast, count: int, seed: int) -> NoteDataset:
    """Notes of different lengths that name one symptom among other words."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, len(SYMPTOMS), size=count)
    texts = []
    for symptom in classes:
        words = list(rng.choice(FILLER, size=rng.integers(1, 12)))
        words.insert(int(rng.integers(0, len(words) + 1)), SYMPTOMS[symptom])
        texts.append(" ".join(words))
    return NoteDataset(encode_texts(tokenizer, texts, 32), np.eye(3, dtype=np.uint8)[classes])


@pytest.fixture(scope="module")
def notes(tokenizer: PreTrainedTokenizerFast) -> NoteDataset:
    return make_notes(tokenizer, NOTES, seed=0)


@pytest.fixture(scope="module")
def validation(tokenizer: PreTrainedTokenizerFast) -> NoteDataset:
    return make_notes(tokenizer, 12, seed=1)


def mean_logit(logits: np.ndarray) -> tuple[float, dict[str, Any]]:
    """A score that changes with any weight, and goes down as well as up."""
    return float(np.abs(logits).mean()), {"first": float(logits[0, 0])}


Run = Callable[..., tuple[SymptomModel, EpochLog]]


@pytest.fixture(scope="module")
def run(make_encoder: Callable, notes: NoteDataset, validation: NoteDataset) -> Run:
    """Train a fresh model in a folder; `kill_at` ends it after that step, `kill_scoring` in that scoring."""

    def start(
        folder: Path,
        settings: TrainSettings = SETTINGS,
        kill_at: int | None = None,
        kill_scoring: int | None = None,
        score: Callable[[np.ndarray], tuple[float, dict[str, Any]]] = mean_logit,
        **options: Any,
    ) -> tuple[SymptomModel, EpochLog]:
        model = build_model(make_encoder("bert"), 3, "cls", seed=0)
        scorings = 0

        def progress(done: int, total: int) -> None:
            assert total == settings.epochs * STEPS
            if done == kill_at:
                raise KilledError

        def scoring(logits: np.ndarray) -> tuple[float, dict[str, Any]]:
            nonlocal scorings
            scorings += 1
            if scorings == kill_scoring:
                raise KilledError
            return score(logits)

        torch.manual_seed(int.from_bytes(folder.name.encode()[:4], "big"))  # must not matter
        options = {"batch_loss": from_logits(loss_of("topic")), "progress": progress} | options
        return model, train(model, notes, validation, settings, folder, pad_id=0, score=scoring, **options)

    return start


@pytest.fixture(scope="module")
def whole_run(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that nothing interrupts; each of its settings is run once."""
    done: dict[TrainSettings, tuple[SymptomModel, EpochLog]] = {}

    def start(settings: TrainSettings = SETTINGS) -> tuple[SymptomModel, EpochLog]:
        if settings not in done:
            done[settings] = run(tmp_path_factory.mktemp("whole"), settings)
        return done[settings]

    return start


def assert_same_weights(found: SymptomModel, expected: SymptomModel) -> None:
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_a_tiny_bert_learns_a_plain_task(
    make_encoder: Callable, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    training, held_out = make_notes(tokenizer, 240, seed=2), make_notes(tokenizer, 60, seed=3)
    model = build_model(make_encoder("bert"), 3, "mean", seed=0)
    losses: list[float] = []

    def objective(logits: Tensor, targets: Tensor, teacher: Tensor | None) -> Tensor:
        loss = loss_of("topic")(logits, targets, teacher)
        losses.append(loss.item())
        return loss

    def accuracy(logits: np.ndarray) -> tuple[float, dict[str, Any]]:
        return float((logits.argmax(1) == held_out.targets.numpy().argmax(1)).mean()), {}

    settings = TrainSettings(epochs=6, learning_rate=5e-3)
    log = train(
        model,
        training,
        held_out,
        settings,
        tmp_path,
        pad_id=0,
        batch_loss=from_logits(objective),
        score=accuracy,
    )
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:5])
    assert log.epochs[-1]["score"] > 0.9
    assert [epoch["epoch"] for epoch in log.epochs] == [1, 2, 3, 4, 5, 6]
    assert log.seconds > 0
    assert not model.training
    with torch.inference_mode():  # no trace of mixed precision is left in the model
        assert model(torch.ones(1, 4, dtype=torch.int64), torch.ones(1, 4)).dtype == torch.float32
    assert accuracy(predict_logits(model, held_out, 0))[0] == log.epochs[-1]["score"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    run: Run, whole_run: Run, tmp_path: Path
):
    first, log = whole_run()
    second, again = run(tmp_path / "second")
    assert_same_weights(first, second)
    assert log.epochs == again.epochs
    other, _ = run(tmp_path / "third", replace(SETTINGS, seed=1))
    assert not torch.equal(first.head.output.weight, other.head.output.weight)


@pytest.mark.parametrize(
    ("save_steps", "kill"),
    [
        (3, {"kill_at": 2}),  # before the first checkpoint
        (3, {"kill_at": 4}),  # inside the first epoch
        (3, {"kill_at": STEPS + 3}),  # inside the second
        (3, {"kill_at": 2 * STEPS}),  # its last step
        (3, {"kill_scoring": 1}),
        (400, {"kill_at": STEPS + 1}),  # a checkpoint an epoch
        (400, {"kill_at": 3 * STEPS}),  # the very last step
        (400, {"kill_scoring": 1}),  # after the checkpoint that closes an epoch, before its score
        (400, {"kill_scoring": 3}),
    ],
    ids=str,
)
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    run: Run, whole_run: Run, tmp_path: Path, kill: dict[str, int], save_steps: int
):
    settings = replace(SETTINGS, save_steps=save_steps)
    expected, whole = whole_run(settings)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", settings, **kill)
    found, resumed = run(tmp_path / "killed", settings)
    assert_same_weights(found, expected)
    assert resumed.epochs == whole.epochs
    assert (resumed.best_epoch, resumed.best_score) == (whole.best_epoch, whole.best_score)


@pytest.mark.parametrize("kill", [{"kill_at": STEPS + 3}, {"kill_scoring": 1}, {"kill_scoring": 2}], ids=str)
def test_the_best_epoch_survives_a_kill(run: Run, whole_run: Run, tmp_path: Path, kill: dict[str, int]):
    settings = replace(SETTINGS, select="best", save_steps=400)
    expected, whole = whole_run(settings)
    with pytest.raises(KilledError):
        run(tmp_path / "killed", settings, **kill)
    found, resumed = run(tmp_path / "killed", settings)
    assert resumed.best_epoch == whole.best_epoch
    assert_same_weights(found, expected)


def test_a_run_killed_twice_still_ends_alike(run: Run, whole_run: Run, tmp_path: Path):
    expected, whole = whole_run()
    for kill in ({"kill_at": 4}, {"kill_at": 13}):
        with pytest.raises(KilledError):
            run(tmp_path / "killed", **kill)
    found, resumed = run(tmp_path / "killed")
    assert_same_weights(found, expected)
    assert resumed.epochs == whole.epochs


@pytest.mark.parametrize("state", [None, "", "{"])
def test_a_half_written_checkpoint_is_not_used(run: Run, whole_run: Run, tmp_path: Path, state: str | None):
    """Its state file is what a checkpoint writes last."""
    expected, whole = whole_run()
    with pytest.raises(KilledError):
        run(tmp_path / "killed", kill_at=8)
    checkpoints = sorted((tmp_path / "killed").glob("checkpoint-*"))
    assert checkpoints
    for checkpoint in checkpoints:
        (checkpoint / "trainer_state.json").unlink()
        if state is not None:
            (checkpoint / "trainer_state.json").write_text(state, encoding="utf-8")
    found, resumed = run(tmp_path / "killed")
    assert_same_weights(found, expected)
    assert resumed.epochs == whole.epochs


def test_a_finished_run_is_not_trained_again(run: Run, tmp_path: Path):
    expected, whole = run(tmp_path / "run")
    steps: list[int] = []
    found, again = run(tmp_path / "run", progress=lambda done, _: steps.append(done))
    assert_same_weights(found, expected)
    assert again.epochs == whole.epochs
    assert steps == []


def score_by_epoch(scores: list[float]) -> Callable[[np.ndarray], tuple[float, dict[str, Any]]]:
    left = iter(scores)
    return lambda logits: (next(left), {"first": float(logits[0, 0])})


@pytest.mark.parametrize(
    ("scores", "best"), [([1.0, 3.0, 2.0], 2), ([2.0, 2.0, 2.0], 1), ([0.0, 1.0, 2.0], 3)]
)
def test_select_best_restores_the_best_epoch(
    run: Run, validation: NoteDataset, tmp_path: Path, scores: list[float], best: int
):
    settings = replace(SETTINGS, select="best")
    model, log = run(tmp_path / "best", settings, score=score_by_epoch(scores))
    assert (log.best_epoch, log.best_score) == (best, scores[best - 1])
    assert predict_logits(model, validation, 0, mixed=True)[0, 0] == log.epochs[best - 1]["first"]


def test_select_last_keeps_the_last_epoch(run: Run, validation: NoteDataset, tmp_path: Path):
    model, log = run(tmp_path / "last", score=score_by_epoch([1.0, 3.0, 2.0]))
    assert log.best_epoch == 2
    assert predict_logits(model, validation, 0, mixed=True)[0, 0] == log.epochs[-1]["first"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run(run: Run, tmp_path: Path, bad: float):
    with pytest.raises(SympressError) as caught:
        run(tmp_path / "bad", batch_loss=lambda model, batch: note_logits(model, batch).sum() * 0 + bad)
    assert str(caught.value) == "the training loss is no longer finite; lower --learning-rate"


def test_after_step_is_called_after_every_step(run: Run, tmp_path: Path):
    calls: list[None] = []
    run(tmp_path / "steps", after_step=lambda: calls.append(None))
    assert len(calls) == 3 * STEPS


def test_every_parameter_is_in_one_group_with_its_own_rate_and_decay(make_encoder: Callable):
    model = build_model(make_encoder("bert"), 3, "cls", seed=0)
    settings = TrainSettings(learning_rate=1e-4, head_rate_ratio=10.0, weight_decay=0.02)
    seen: dict[int, tuple[float, float]] = {}
    for group in parameter_groups(model, settings):
        for parameter in group["params"]:
            assert id(parameter) not in seen
            seen[id(parameter)] = (group["lr"], group["weight_decay"])
    for name, parameter in model.named_parameters():
        rate = 1e-3 if name.startswith("head.") else 1e-4
        decay = 0.0 if name.endswith("bias") or "LayerNorm" in name else 0.02
        assert seen[id(parameter)] == (pytest.approx(rate), decay), name


def test_frozen_parameters_are_left_out(make_encoder: Callable):
    model = build_model(make_encoder("bert"), 3, "cls", seed=0)
    model.encoder.embeddings.requires_grad_(False)
    counted = sum(len(group["params"]) for group in parameter_groups(model, TrainSettings()))
    assert counted == sum(parameter.requires_grad for parameter in model.parameters())


def test_the_average_is_that_of_the_epochs_of_the_second_half(run: Run, tmp_path: Path) -> None:
    """Epochs 3 and 4 of 4, also of a run that was killed in between."""
    settings = replace(SETTINGS, epochs=4, select="average")
    folder = tmp_path / "run"
    with pytest.raises(KilledError):
        run(folder, settings, kill_at=3 * STEPS + 2)
    model, _ = run(folder, settings)
    files = sorted(folder.glob("epoch-*.safetensors"))
    assert [path.stem for path in files] == ["epoch-0003", "epoch-0004"]
    first, second = (load_file(path) for path in files)
    whole, _ = run(tmp_path / "whole", settings)
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, (first[name] + second[name]) / 2, atol=1e-6), name
        assert torch.equal(value, whole.state_dict()[name]), name
