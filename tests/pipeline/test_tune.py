"""The search for settings: really on a tiny encoder, and its decisions on trainings that are made up."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sympress.config import StudyConfig, make_config, read_config_file
from sympress.errors import InputError, SympressError
from sympress.pipeline import tune
from sympress.pipeline.tune import TUNABLE, Search, Tuned, run_tuning, search_space
from sympress.studies.folder import RunFolder


class KilledError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def config(encoder_folder: Path) -> StudyConfig:
    return StudyConfig(
        encoder=str(encoder_folder),
        synthetic_notes=600,
        epochs=2,
        max_tokens=32,
        text_window=200,
        learning_rate=1e-3,
        rank=4,
    )


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[StudyConfig, int], float]], list[dict]]:
    """Replace training: F1 after each epoch is a function of the settings; returns the trials begun."""

    def install(f1: Callable[[StudyConfig, int], float]) -> list[dict]:
        begun: list[dict] = []

        def train(bench: Any, *_: Any, score: Any, work: str) -> list[dict[str, Any]]:
            begun.append({name: getattr(bench.config, name) for name in ("learning_rate", "alpha", "rank")})
            epochs = []
            for epoch in range(1, bench.config.epochs + 1):
                value, _ = score(np.array([[f1(bench.config, epoch)]], dtype=np.float32))
                epochs.append({"epoch": epoch, "score": value})
            return epochs

        class Nothing:
            """Stands for data and model."""

            def __init__(self, *_: Any, **__: Any) -> None:
                self.model, self.model.config = self, self  # type: ignore[has-type]
                self.hidden_size, self.description, self.inputs = 32, self, {}

            def model_dump(self, **_: Any) -> dict[str, str]:
                return {"fingerprint": "made up"}

        def bench(config: StudyConfig, data: Any, _encoder: Any, run: RunFolder) -> tune.NoteTask:
            return tune.NoteTask(config, data, None, run, None, None, None, 1, 0)  # type: ignore[arg-type]

        monkeypatch.setattr(tune, "train_strategy", train)
        monkeypatch.setattr(tune, "_share_baseline", lambda *_: None)
        monkeypatch.setattr(tune, "load_encoder", Nothing)
        monkeypatch.setattr(tune, "prepare", Nothing)
        monkeypatch.setattr(tune, "make_bench", bench)
        monkeypatch.setattr(tune, "fingerprint_encoder", lambda _: "made up")
        monkeypatch.setattr(tune, "score_epoch", lambda _bench, logits: (float(logits[0, 0]), {}))
        return begun

    return install


def peak(config: StudyConfig, epoch: int) -> float:
    """Best at a learning rate of 4e-3; the second epoch adds a little."""
    return 0.8 - 0.2 * abs(math.log10((config.learning_rate or 1) / 4e-3)) + 0.01 * epoch


def test_a_real_search_finds_settings_a_study_can_read(config: StudyConfig, tmp_path: Path) -> None:
    tuned = run_tuning(config, Search("lowrank", trials=3), tmp_path)
    assert [trial["state"] for trial in tuned.trials] == ["finished"] * 3
    assert tuned.trials[0]["settings"] == {"learning_rate": 1e-3, "weight_decay": 0.01, "rank": 4}
    assert all(len(trial["epochs"]) == 2 and trial["value"] == trial["epochs"][-1] for trial in tuned.trials)
    best = tuned.trials[tuned.best]
    assert best["value"] == max(trial["value"] for trial in tuned.trials)
    read = make_config(read_config_file(tmp_path / "lowrank" / "best.toml"))
    assert read == config.model_copy(update={"strategies": ("lowrank",), **best["settings"]})
    stored = json.loads((tmp_path / "lowrank" / "tune.json").read_text())
    assert stored["best"] == best
    assert stored["data"]["notes"] > 0
    baseline = RunFolder(tmp_path).artifact("baseline", 0) / "model.safetensors"
    made = baseline.stat().st_mtime_ns
    run_tuning(config, Search("pruning-masked", trials=1), tmp_path)
    assert baseline.stat().st_mtime_ns == made
    assert not list((tmp_path / "work").iterdir())  # no checkpoints stay behind


def test_a_killed_search_ends_like_an_undisturbed_one(
    config: StudyConfig, made_up: Callable, tmp_path: Path
) -> None:
    begun = made_up(peak)
    search = Search("distillation", trials=7)
    whole = run_tuning(config, search, tmp_path / "whole")
    assert len(begun) == 7

    def killed(config: StudyConfig, epoch: int) -> float:
        if len(begun) in (1, 7) and epoch == 2:
            raise KilledError
        return peak(config, epoch)

    begun = made_up(killed)
    for _ in range(2):
        with pytest.raises(KilledError):
            run_tuning(config, search, tmp_path / "killed")
    resumed = run_tuning(config, search, tmp_path / "killed")
    assert resumed.trials == whole.trials
    assert len(begun) == 7 + 2  # only what was cut off is run again
    assert run_tuning(config, search, tmp_path / "killed").trials == whole.trials
    assert len(begun) == 7 + 2


def test_the_search_ends_no_worse_than_it_began_and_near_the_peak(
    config: StudyConfig, made_up: Callable, tmp_path: Path
) -> None:
    made_up(peak)
    tuned = run_tuning(config, Search("baseline", trials=14, settings=("learning_rate",)), tmp_path)
    values = [trial["value"] for trial in tuned.trials if trial["value"] is not None]
    assert tuned.trials[tuned.best]["value"] == max(values) > values[0] + 0.05
    assert tuned.trials[tuned.best]["settings"]["learning_rate"] == pytest.approx(4e-3, rel=0.6)
    assert tuned.importance == pytest.approx({"learning_rate": 1.0})


def test_trials_behind_the_median_end_early_and_are_counted(
    config: StudyConfig, made_up: Callable, tmp_path: Path
) -> None:
    def worse_and_worse(config: StudyConfig, epoch: int) -> float:
        return 0.9 - 0.05 * len(begun) + 0.01 * epoch

    begun = made_up(worse_and_worse)
    tuned = run_tuning(config, Search("baseline", trials=8), tmp_path)
    states = [trial["state"] for trial in tuned.trials]
    assert states == ["finished"] * 5 + ["ended early"] * 3
    assert [len(trial["epochs"]) for trial in tuned.trials] == [2] * 5 + [1] * 3
    assert all(trial["value"] is None for trial in tuned.trials[5:])
    assert tuned.best == 0


def test_the_value_is_that_of_the_epoch_that_is_kept(
    config: StudyConfig, made_up: Callable, tmp_path: Path
) -> None:
    made_up(lambda _config, epoch: [0.5, 0.3][epoch - 1])
    for select, value in (("last", 0.3), ("best", 0.5)):
        chosen = config.model_copy(update={"select": select})
        tuned = run_tuning(chosen, Search("baseline", trials=1), tmp_path / select)
        assert tuned.trials[0]["value"] == pytest.approx(value)


def test_a_trial_that_diverges_is_a_bad_trial(config: StudyConfig, made_up: Callable, tmp_path: Path) -> None:
    def diverging(config: StudyConfig, epoch: int) -> float:
        if (config.learning_rate or 0) > 1.5e-3:
            raise SympressError("the training loss is no longer finite; lower --learning-rate")
        return peak(config, epoch)

    made_up(diverging)
    tuned = run_tuning(config, Search("baseline", trials=4), tmp_path / "some")
    assert {trial["state"] for trial in tuned.trials} == {"finished", "diverged"}
    made_up(lambda *_: diverging(config.model_copy(update={"learning_rate": 1.0}), 1))
    with pytest.raises(SympressError, match="every trial diverged"):
        run_tuning(config, Search("baseline", trials=2), tmp_path / "all")


def test_more_trials_go_on_and_another_search_in_the_folder_is_refused(
    config: StudyConfig, made_up: Callable, tmp_path: Path
) -> None:
    begun = made_up(peak)
    first: Tuned = run_tuning(config, Search("baseline", trials=2), tmp_path)
    more = run_tuning(config, Search("baseline", trials=4), tmp_path)
    assert more.trials[:2] == first.trials
    assert len(begun) == 4
    with pytest.raises(InputError, match="baseline: its seed is 0, not 1; choose another -o"):
        run_tuning(config, Search("baseline", trials=4, seed=1), tmp_path)
    with pytest.raises(InputError, match="its epochs is 2, not 3"):
        run_tuning(config.model_copy(update={"epochs": 3}), Search("baseline"), tmp_path)
    run_tuning(config, Search("pruning", trials=1), tmp_path)  # another strategy has its own place


def test_values_of_two_scores_are_not_mixed(
    config: StudyConfig, made_up: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(peak)
    run_tuning(config, Search("baseline", trials=1), tmp_path)
    monkeypatch.setattr(tune, "epoch_score_name", lambda _task: "average precision")
    with pytest.raises(InputError, match="its score is 'F1', not 'average precision'; choose another -o"):
        run_tuning(config, Search("baseline", trials=2), tmp_path)


@pytest.mark.parametrize("strategy", TUNABLE)
def test_every_range_holds_the_settings_as_they_are(config: StudyConfig, strategy: str) -> None:
    for given in (config, StudyConfig(), StudyConfig(rank=500, weight_decay=0.5, temperature=0.5, alpha=0)):
        resolved = given.resolved()
        space = search_space(resolved, Search(strategy).names(), hidden=384)
        for name, where in space.items():
            assert where._contains(where.to_internal_repr(getattr(resolved, name))), name
    assert set(space) == {"learning_rate", "weight_decay", *TUNABLE[strategy]}


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (
            Search("low-rank"),
            "--strategy 'low-rank' cannot be tuned (did you mean 'lowrank'?); those that can are baseline, "
            "distillation, lowrank, pruning-masked, pruning",
        ),
        (
            Search("quantization"),
            "--strategy 'quantization' cannot be tuned (did you mean 'distillation'?); those that can are "
            "baseline, distillation, lowrank, pruning-masked, pruning",
        ),
        (
            Search("baseline", settings=("rank",)),
            "--search 'rank' is no setting of baseline; it has learning_rate, weight_decay",
        ),
        (Search("baseline", trials=0), "--trials 0: give at least 1"),
    ],
)
def test_searches_that_cannot_be(search: Search, message: str) -> None:
    with pytest.raises(InputError) as refused:
        search.names()
    assert str(refused.value) == message
