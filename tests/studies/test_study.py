"""The whole study on a tiny encoder: every strategy through one contract, killed, resumed, pressed again."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from sympress.compression.recipe.language import LONGER, PUBLISHED, REAL, parse_recipe
from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.files import alone
from sympress.models.encoder import load_encoder
from sympress.models.model import load_model
from sympress.notes.synthesize import synthesize
from sympress.progress import Reporter
from sympress.results import Results, StrategyResult, load_results
from sympress.runtime.session import Runtime
from sympress.studies.folder import RunFolder
from sympress.studies.results import check_results, read_predictions
from sympress.studies.rows import NoteTask
from sympress.studies.run import run_study, with_longer

SMALL = {
    "synthetic_notes": 600,
    "epochs": 1,
    "max_tokens": 48,
    "text_window": 200,
    "resamples": 50,
    "learning_rate": 1e-3,
    "rank": 4,
    "baseline_longer": False,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums are added up in one order, whatever was timed before, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path, in_32_bits: None, memory_unmeasured: None
) -> tuple[Path, Results]:
    """A run of every strategy, the published variants included."""
    run = tmp_path_factory.mktemp("study") / "run"
    config = StudyConfig(encoder=str(encoder_folder), protocol="paper", **SMALL)
    return run, run_study(config, run, command="sympress study -o run")


def row(results: Results, name: str) -> StrategyResult:
    return next(found for found in results.strategies if found.name == name)


def test_every_strategy_and_both_references_have_a_row(finished: tuple[Path, Results]) -> None:
    run, results = finished
    assert [found.name for found in results.strategies] == [*REAL, *PUBLISHED, "rule", "tfidf"]
    assert load_results(run) == results
    assert row(results, "rule").quality.accuracy.value == 1.0  # the labels are the rule's own
    assert all(found.versus_baseline is not None for found in results.strategies[1:])
    assert (
        results.data.train + results.data.validation + results.data.test
        == len(np.load(run / "predictions" / "rule-seed0.npz")["test"])
        + results.data.train
        + results.data.validation
    )


def test_every_row_finds_what_it_found(
    finished: tuple[Path, Results], check_golden: Callable[..., None], in_short: Callable[..., dict]
) -> None:
    check_golden("topic", in_short(*finished), 0.02)


def test_a_run_has_one_writer_at_a_time(finished: tuple[Path, Results], encoder_folder: Path) -> None:
    run, _ = finished
    config = StudyConfig(encoder=str(encoder_folder), protocol="paper", **SMALL)
    with alone(run, run), pytest.raises(InputError, match=r"run: another process is writing it; wait"):
        run_study(config, run)


def test_an_encoder_that_cannot_be_exported_is_refused_before_it_is_trained(
    tmp_path: Path, encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("an operator that ONNX does not have")

    monkeypatch.setattr("sympress.studies.press.export_checked", broken)
    monkeypatch.setattr("sympress.studies.run._make_rows", lambda *_arguments: pytest.fail("trained"))
    config = StudyConfig(encoder=str(encoder_folder), protocol="paper", **SMALL)
    with pytest.raises(
        InputError, match=r"cannot be run and exported \(RuntimeError\); take another encoder"
    ):
        run_study(config, tmp_path / "run")
    assert not (tmp_path / "run" / "artifacts").exists()


@pytest.mark.parametrize("name", [*REAL, *PUBLISHED])
def test_the_artifact_reloads_agrees_with_pytorch_and_is_what_was_scored(
    finished: tuple[Path, Results], name: str
) -> None:
    run, results = finished
    folder = run / "artifacts" / f"{name}-seed0"
    made = row(results, name)
    assert made.cost.size_bytes == (folder / "model.onnx").stat().st_size
    runtime = Runtime.load(folder)
    ids = np.array([2, 5, 9, 12, 7, 3], dtype=np.int64)
    with torch.no_grad():
        ours = load_model(folder)(torch.from_numpy(ids[None]), torch.ones(1, 6, dtype=torch.int64)).numpy()[0]
    tolerance = 0.2 if name == "quantization" else 1e-3
    assert np.abs(runtime.logits_of(ids) - ours).max() < tolerance
    assert made.parity_max_difference is not None
    assert made.parity_max_difference < tolerance


def test_each_strategy_is_smaller_as_its_row_says(finished: tuple[Path, Results]) -> None:
    _, results = finished
    base = row(results, "baseline").cost
    smaller = {
        found.name: found.cost.size_bytes < 0.98 * base.size_bytes
        for found in results.strategies
        if found.name in (*REAL, *PUBLISHED) and found.name != "lowrank"  # 32 wide: nodes outweigh weights
    }
    assert smaller == {
        "baseline": False,
        "distillation": True,
        "pruning-masked": False,
        "pruning": True,
        "quantization": True,
        "distillation-published": False,
        "lowrank-published": False,
        "pruning-published": False,
        "quantization-published": False,
    }
    for name in ("distillation", "lowrank", "pruning"):
        cost = row(results, name).cost
        assert cost.parameters is not None
        assert base.parameters is not None
        assert cost.parameters < base.parameters
        assert (cost.macs_per_note or 0) < (base.macs_per_note or 0)


def test_masks_leave_zeros_in_a_file_of_the_same_size(finished: tuple[Path, Results]) -> None:
    run, results = finished
    masked, base = row(results, "pruning-masked"), row(results, "baseline")
    assert masked.cost.parameters == base.cost.parameters
    model = load_model(run / "artifacts" / "pruning-masked-seed0")
    linears = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    for linear in linears:
        share = (linear.weight == 0).float().mean().item()
        assert share == pytest.approx(0.3, abs=0.02)
    assert any("masked" in remark for remark in masked.notes)


def test_an_artifact_carries_its_card_and_its_measured_numbers(finished: tuple[Path, Results]) -> None:
    run, results = finished
    folder = run / "artifacts" / "distillation-seed0"
    stored = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    made = row(results, "distillation")
    assert stored["quality"] == made.quality.model_dump(mode="json")
    assert stored["seed"] == 0
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Not validated for clinical use" in card
    assert f"{made.cost.size_bytes:,} bytes" in card
    assert all(f"| {symptom} |" in card for symptom in results.data.symptoms)


def test_int8_runs_as_int8(finished: tuple[Path, Results]) -> None:
    run, _ = finished
    graph = onnx.load(run / "artifacts" / "quantization-seed0" / "model.onnx").graph
    assert sum(node.op_type == "MatMulInteger" for node in graph.node) >= 12


def test_the_published_csvs_are_written(finished: tuple[Path, Results]) -> None:
    run, _ = finished
    lines = (run / "metrics_baseline.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "Epoch,Accuracy,Precision,Recall,F1,AUROC,Part"
    assert len(lines) == 2
    symptoms = (run / "per_symptom_baseline.csv").read_text(encoding="utf-8").splitlines()
    assert symptoms[0] == "Epoch,Symptom,Precision,Recall,F1,AUROC,Part"
    assert len(symptoms) == 6


def test_no_text_of_a_note_is_in_the_run_folder_outside_the_weights(finished: tuple[Path, Results]) -> None:
    run, results = finished
    texts = synthesize(SMALL["synthetic_notes"], seed=0).frame["text"].to_list()  # type: ignore[arg-type]
    lines = {line.strip() for text in texts[:50] for line in text.splitlines() if len(line.strip()) > 60}
    written = [
        path for path in run.rglob("*") if path.suffix in (".json", ".html", ".csv") and path.is_file()
    ]
    assert written
    assert lines
    for path in written:
        if path.name in ("tokenizer.json", "tfidf.json"):
            continue
        content = path.read_text(encoding="utf-8")
        assert not any(line in content for line in lines), path.name
    assert results.environment["cores"] >= 1


def test_every_figure_follows_from_the_predictions_beside_the_results(
    finished: tuple[Path, Results],
) -> None:
    run, results = finished
    kept = read_predictions(run / "predictions.npz", results.task)
    assert len(kept.test.note_ids) == results.data.test
    checked = check_results(load_results(run), kept)
    assert checked.differing == ()
    assert checked.rows == len(results.strategies)
    assert checked.figures > 500


def test_another_study_in_the_same_folder_is_refused(
    finished: tuple[Path, Results], encoder_folder: Path
) -> None:
    run, _ = finished
    other = StudyConfig(encoder=str(encoder_folder), protocol="paper", **(SMALL | {"epochs": 2}))
    with pytest.raises(InputError, match=r"run: its epochs is 1, not 2; choose another -o$"):
        run_study(other, run)


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"not empty and not a sympress run; choose another -o$"):
        run_study(StudyConfig(**SMALL), tmp_path)


STRATEGIES = "baseline,distillation,pruning-masked"
#: `python -m sympress`, computing and tracing as the fixtures `in_32_bits` and `traced` let this process do.
ALIKE = """
import sys, torch
from pathlib import Path
tests, traced = sys.argv.pop(1), Path(sys.argv.pop(1))
sys.path.insert(0, tests)
from traces import shared_in
torch.onnx.export = shared_in(traced, torch.onnx.export)
torch.cpu.get_capabilities = dict
from sympress.cli.main import run
run()
"""


def in_two_epochs(encoder: Path) -> StudyConfig:
    return StudyConfig(
        encoder=str(encoder),
        strategies=tuple(STRATEGIES.split(",")),
        **{**SMALL, "epochs": 2},  # type: ignore[arg-type]
    )


def command(encoder: Path, run: Path, traced: Path) -> list[str]:
    """`in_two_epochs` as a process of its own, which can be killed."""
    config = in_two_epochs(encoder)
    flags = {"--encoder": encoder, "--strategies": STRATEGIES, "-o": run}
    named = {*SMALL, "epochs"} - {"baseline_longer"}
    flags |= {f"--{name.replace('_', '-')}": getattr(config, name) for name in sorted(named)}
    parts = [*(str(part) for pair in flags.items() for part in pair), "--no-baseline-longer"]
    tests = str(Path(__file__).parents[1])
    return [sys.executable, "-c", ALIKE, tests, str(traced), "study", *parts]


def without_timings(results: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(results.read_text(encoding="utf-8"))
    value["config"].pop("command", None)
    for yardstick in value["yardsticks"].values():
        yardstick.pop("latency_ms_p50")
        yardstick.pop("latency_ms_p95")
    for made in value["strategies"]:
        for timing in (
            "latency_ms_p50",
            "latency_ms_p95",
            "latency_ratio",
            "latency_ratio_pytorch",
            "latency_ratio_int8",
            "notes_per_second",
            "peak_rss_bytes",
            "train_seconds",
        ):
            made["cost"].pop(timing)
        if made["versus_baseline"]:
            made["versus_baseline"].pop("faster")
    return value


def test_a_run_killed_in_its_third_strategy_ends_as_one_never_killed(
    tmp_path: Path,
    encoder_folder: Path,
    in_32_bits: None,
    memory_unmeasured: None,
    traced: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run_study(in_two_epochs(encoder_folder), whole)
    victim = subprocess.Popen(
        command(encoder_folder, killed, traced),
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    third = killed / "work" / "pruning-masked-seed0" / "checkpoints-2"
    deadline = time.monotonic() + 200
    while not list(third.glob("checkpoint-*/trainer_state.json")) and time.monotonic() < deadline:
        assert victim.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert not (killed / "results.json").exists()
    before = (killed / "rows" / "baseline-seed0.json").stat().st_mtime_ns
    with caplog.at_level(logging.INFO, "sympress"):
        run_study(in_two_epochs(encoder_folder), killed)
    assert "baseline (seed 0): done before" in caplog.text
    assert (killed / "rows" / "baseline-seed0.json").stat().st_mtime_ns == before
    assert without_timings(killed / "results.json") == without_timings(whole / "results.json")


#: What a row says of its recipe.
SAID = ("recipe", "epochs", "remarks")


@pytest.fixture(scope="module")
def task(
    finished: tuple[Path, Results], encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> NoteTask:
    """The finished study in a copy of its folder, for further rows."""
    run = shutil.copytree(finished[0], tmp_path_factory.mktemp("further") / "run")
    settings: dict[str, Any] = SMALL | {"baseline_longer": True}
    config = StudyConfig(encoder=str(encoder_folder), protocol="paper", **settings).resolved()
    return NoteTask.set_up(config, load_encoder(str(encoder_folder)), RunFolder(run), Reporter(quiet=True))


def step(_name: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def answered(task: NoteTask, name: str) -> list[np.ndarray]:
    return [task.run.predictions(name, 0, part) for part in ("validation", "test")]


@pytest.mark.parametrize("name", [name for name in (*REAL, *PUBLISHED) if name != "baseline"])
def test_a_recorded_recipe_gives_the_same_row_again(task: NoteTask, name: str) -> None:
    row = task.run.read_row(name, 0)
    assert row is not None
    task.press(f"again-{name}", parse_recipe(row["recipe"]), 0, step)
    repeated = task.run.read_row(f"again-{name}", 0)
    assert [repeated[key] for key in SAID] == [row[key] for key in SAID]
    for once, again in zip(answered(task, name), answered(task, f"again-{name}"), strict=True):
        np.testing.assert_array_equal(once, again)


def test_the_baseline_is_trained_on_and_anew_when_a_longer_recipe_comes(task: NoteTask) -> None:
    recipes = with_longer({"distillation": task.recipe("distillation")}, task)
    assert {name: str(recipe) for name, recipe in recipes.items()}[LONGER] == "fine-tune(epochs=1)"
    task.press(LONGER, recipes[LONGER], 0, step)
    before, after = answered(task, "baseline"), answered(task, LONGER)
    changed = [np.abs(a - b).max() for a, b in zip(before, after, strict=True)]
    assert min(changed) > 0
    assert with_longer(recipes, task)[LONGER] == recipes[LONGER]
    assert task.run.read_row(LONGER, 0) is not None
    longer = with_longer({"slow": parse_recipe("distill(layers=1, epochs=3)")}, task)
    assert str(longer[LONGER]) == "fine-tune(epochs=3)"
    assert task.run.read_row(LONGER, 0) is None
    assert list(with_longer({"quick": parse_recipe("quantize(int8)")}, task)) == ["quick"]
