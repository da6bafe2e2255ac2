from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sympress.errors import InputError, MissingExtraError
from sympress.results import (
    Cost,
    DataDescription,
    EpochQuality,
    Estimate,
    Quality,
    Results,
    SplitCounts,
    StrategyResult,
)
from sympress.studies.run import track_results

METRICS = ("accuracy", "precision", "recall", "f1", "auroc")


def quality(value):
    return Quality(**{name: Estimate(value=value) for name in METRICS})


@pytest.fixture
def results():
    cost = Cost(
        size_bytes=5, latency_ms_p50=1, latency_ms_p95=2, notes_per_second=3, peak_rss_bytes=4,
        runtime="onnxruntime", threads=1, train_seconds=6,
    )  # fmt: skip
    counts = {"train": 7, "validation": 1, "test": 1}
    split = SplitCounts(
        **counts, rule="random", exact_duplicates=0, near_duplicates=0, patients_on_both_sides=0,
        duplicates_on_both_sides=0,
    )  # fmt: skip
    epochs = [EpochQuality(epoch=number, quality=quality(number / 10)) for number in (1, 2)]
    rows = [
        StrategyResult(name="a <b>", seed=seed, recipe="r", quality=quality(0.5), cost=cost, epochs=epochs)
        for seed in (0, 1)
    ]
    data = DataDescription(
        name="n", fingerprint="f", notes=9, **counts, symptoms=["fever"], labels="rule", split=split
    )
    return Results(
        protocol="paper", task="topic", data=data, strategies=rows, environment={}, config={"epochs": 2}
    )


def test_a_run_a_strategy_and_seed_with_metrics_by_epoch_and_artifacts(results, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="the extra `track` is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    (tmp_path / "results.json").write_text("{}")
    artifact = tmp_path / "artifacts" / "a <b>-seed1"
    artifact.mkdir(parents=True)
    (artifact / "extractor.json").write_text("{}")
    ids = track_results(results, tmp_path, "file")
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    runs = [client.get_run(one) for one in ids]
    assert [run.data.params["seed"] for run in runs] == ["0", "1"]
    assert runs[0].data.params["epochs"] == "2"
    assert runs[0].data.metrics["test_f1"] == 0.5
    assert runs[0].data.metrics["size_bytes"] == 5
    history = client.get_metric_history(ids[0], "validation_f1")
    assert [(one.step, one.value) for one in history] == [(1, 0.1), (2, 0.2)]
    assert [one.path for one in client.list_artifacts(ids[1])] == ["artifact", "results.json"]
    assert [one.path for one in client.list_artifacts(ids[0])] == ["results.json"]


def test_a_server_that_cannot_be_used_is_one_line(results, tmp_path):
    pytest.importorskip("mlflow", reason="the extra `track` is not installed")
    with pytest.raises(InputError, match=r"^--track nonsense://x: "):
        track_results(results, tmp_path, "nonsense://x")


def test_a_missing_mlflow_names_the_install_command(results, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"run  pip install 'sympress\[track\]'"):
        track_results(results, tmp_path)


def test_nothing_is_imported_when_it_is_not_asked_for():
    code = (
        "import sys, sympress.studies.run; sys.exit(any(name.startswith('mlflow') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, env=dict(os.environ)).returncode == 0
