"""The file of all test predictions, and the figures of a table that are computed again from it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sympress.cli.main import run as run_command
from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.files import write_json
from sympress.progress import Reporter
from sympress.results import Cost, Results, load_results
from sympress.studies.data import StudyData, prepare
from sympress.studies.folder import RunFolder
from sympress.studies.results import (
    _curve,
    check_results,
    keep_predictions,
    precision_recall,
    read_predictions,
)
from sympress.studies.task import NoteTestSet, assemble_row, judge_together

COST = Cost(
    size_bytes=1,
    latency_ms_p50=1,
    latency_ms_p95=1,
    notes_per_second=1,
    runtime="r",
    threads=1,
    train_seconds=0,
)
ROWS = [("baseline", 0), ("safe", 0), ("baseline", 1), ("safe", 1)]


@pytest.fixture(scope="module", params=["topic", "present"])
def study(request: pytest.FixtureRequest) -> tuple[StudyConfig, StudyData]:
    config = StudyConfig(
        task=request.param, protocol="clinical", synthetic_notes=300, encoder="bundled", resamples=60, top_k=3
    ).resolved()
    return config, prepare(config, Reporter(quiet=True))


@pytest.fixture
def run(study: tuple[StudyConfig, StudyData], tmp_path: Path) -> Path:
    """A run folder with made-up predictions, its results, and the file under test."""
    config, data = study
    folder, random, test = RunFolder(tmp_path / "run"), np.random.default_rng(0), NoteTestSet.of(data)
    for name, seed in ROWS:
        noise = random.random(test.truth.shape)
        found = np.clip(0.6 * test.truth + 0.5 * noise, 0.01, 0.99)
        if config.task == "topic":
            found /= found.sum(axis=1, keepdims=True)
        row = {
            "recipe": "r",
            "thresholds": [0.45] * 3 if config.task == "present" else None,
            "calibration": {"a": [1.2] * 3, "b": [0.0] * 3},
        }
        folder.write_row(name, seed, row, {"test": found})
    rows = [
        assemble_row(folder, test, name=name, seed=seed, cost=COST, baseline=COST, resamples=config.resamples)
        for name, seed in ROWS
    ]
    rows = judge_together(rows, folder, test, margin=config.margin, resamples=config.resamples)
    results = Results(
        protocol=config.protocol,
        task=config.task,
        data=data.description,
        strategies=rows,
        environment={},
        config={"resamples": config.resamples},
    )
    write_json(folder.path / "results.json", results.model_dump(mode="json"))
    keep_predictions(folder, test, rows)
    return folder.path


def report(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        run_command(["report", *map(str, arguments)])
    return int(done.value.code or 0)


def test_the_file_holds_ids_and_probabilities_of_the_test_notes_and_no_text(
    run: Path, study: tuple[StudyConfig, StudyData]
) -> None:
    _, data = study
    kept = read_predictions(run / "predictions.npz", "topic")
    assert list(kept.test.note_ids) == data.frame["note_id"].gather(data.split.test).to_list()
    assert list(kept.answers) == ROWS
    stored = RunFolder(run).predictions("safe", 1, "test")
    np.testing.assert_array_equal(kept.answer("safe", 1), stored)
    with np.load(run / "predictions.npz", allow_pickle=False) as arrays:
        words = {
            str(value) for name in arrays for value in arrays[name].ravel() if arrays[name].dtype.kind == "U"
        }
    assert words == {*kept.test.note_ids, *kept.test.symptoms, json.dumps(list(kept.stored.values()))}


def test_a_table_agrees_with_its_predictions(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert report(run, "--check", run / "predictions.npz") == 0
    assert f"figures of 4 rows agree with {run / 'predictions.npz'}" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


@pytest.mark.parametrize(
    "place", [("quality", "f1", "value"), ("quality", "f1", "low"), ("versus_baseline", "p_holm")]
)
def test_a_figure_that_was_edited_is_named(
    run: Path, capsys: pytest.CaptureFixture[str], place: tuple[str, ...]
) -> None:
    stored = json.loads((run / "results.json").read_text())
    part: dict[str, Any] = stored["strategies"][1]
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = (part[place[-1]] or 0) + 0.001
    write_json(run / "results.json", stored)
    assert report(run, "--check", run / "predictions.npz") == 1
    said = capsys.readouterr()
    assert f"safe (seed 0): {'.'.join(place)} is {part[place[-1]]}, computed" in said.out
    assert f"{run}: 1 of " in said.err


def test_predictions_of_other_notes_rows_and_files_are_refused(run: Path, tmp_path: Path) -> None:
    results, kept = load_results(run), read_predictions(run / "predictions.npz", "topic")
    fewer = results.model_copy(update={"data": results.data.model_copy(update={"test": 7})})
    with pytest.raises(InputError, match="the predictions are of other notes or symptoms"):
        check_results(fewer, kept)
    new = results.strategies[1].model_copy(update={"name": "micro"})
    with pytest.raises(InputError, match="no predictions are kept of row 'micro' with seed 0"):
        check_results(results.model_copy(update={"strategies": [*results.strategies, new]}), kept)
    with pytest.raises(InputError, match=r"no predictions.npz of a study of mentions"):
        read_predictions(run / "predictions.npz", "mentions")
    with pytest.raises(InputError, match=r"missing.npz: no such file; `sympress study` writes"):
        read_predictions(tmp_path / "missing.npz", "topic")
    whole = (run / "predictions.npz").read_bytes()
    rotten = bytearray(whole)
    rotten[len(whole) // 2 :: 7] = bytes(len(rotten[len(whole) // 2 :: 7]))
    for content in (b"", b"not one", whole[: len(whole) // 2], bytes(rotten)):
        (tmp_path / "damaged.npz").write_bytes(content)
        with pytest.raises(InputError, match=r"damaged.npz: damaged, or no predictions.npz of a study"):
            read_predictions(tmp_path / "damaged.npz", "topic")


def test_precision_against_recall_has_a_curve_a_row_with_the_f1_of_its_thresholds(
    run: Path, study: tuple[StudyConfig, StudyData]
) -> None:
    config, _ = study
    results, kept = load_results(run), read_predictions(run / "predictions.npz", config.task)
    curves = precision_recall(results, kept)
    if config.task == "topic":
        assert curves == []
        return
    assert [one.name for one in curves] == ["baseline", "safe"]
    for one in curves:
        assert list(one.recall) == sorted(one.recall)
        assert one.recall[-1] == pytest.approx(1)
        quality = next(row for row in results.strategies if (row.name, row.seed) == (one.name, 0)).quality
        recall, precision = one.chosen
        assert quality.micro_f1 is not None
        assert 2 * recall * precision / (recall + precision) == pytest.approx(quality.micro_f1.value)


def test_the_point_of_the_thresholds_lies_on_the_curve() -> None:
    random = np.random.default_rng(0)
    truth = random.random((30, 3)) < 0.15
    found = np.clip(0.6 * truth + 0.5 * random.random(truth.shape), 0.01, 0.99)
    row = {"recipe": "r", "thresholds": [0.45] * 3, "calibration": {"a": [1.2] * 3, "b": [0.0] * 3}}
    kept: Any = SimpleNamespace(stored={("safe", 0): row}, answers={("safe", 0): found})
    curve = _curve("safe", "present", kept, truth, 0)
    assert curve.chosen == (1.0, 13 / 24)
    assert curve.chosen in list(zip(curve.recall, curve.precision, strict=True))
