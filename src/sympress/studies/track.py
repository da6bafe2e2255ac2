"""The results of a run in MLflow, when asked: a run a strategy and seed; nothing is imported otherwise."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sympress.errors import InputError, MissingExtraError, SympressError
from sympress.report.paper import file_stem
from sympress.report.sections import flatten
from sympress.results import Quality, Results, StrategyResult
from sympress.studies.folder import RunFolder

if TYPE_CHECKING:
    from mlflow import MlflowClient

METRICS = ("accuracy", "precision", "recall", "f1", "auroc", "micro_f1", "average_precision")
#: What MLflow takes as the name of a metric or parameter.
_UNSAFE = re.compile(r"[^A-Za-z0-9_\-. /]")
#: What stands for the store of the run itself where a URI is asked for.
FILE = "file"
#: MLflow refuses longer values.
_LONGEST = 500


def default_store(run_folder: Path) -> str:
    """Return the URI of the file store of a run, `RUN/mlruns`."""
    return (run_folder / "mlruns").resolve().as_uri()


def track_results(results: Results, run_folder: Path, uri: str | None = None) -> list[str]:
    """Write one MLflow run a strategy and seed, and return their ids.

    Parameters: the study's settings, the recipe and the seed. Metrics: quality on the test notes, cost,
    difference to the baseline, and by epoch on validation notes (`validation_f1` and the like). Artifacts:
    the deployed folder, if the run folder has it, and `results.json` and `report.html`.

    Args:
        results: of the run.
        run_folder: where its files lie.
        uri: a folder, a database or a server; `default_store` when it is left out or `file`.

    Raises:
        MissingExtraError: mlflow is not installed.
        InputError: the URI cannot be used.
    """
    uri = default_store(run_folder) if uri in (None, "", FILE) else str(uri)
    if "://" not in uri:
        uri = Path(uri).resolve().as_uri()
    if uri.startswith("file:"):
        # MLflow 3 opens a folder only when told that this is meant.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    require_mlflow()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = _experiment(client, f"sympress {results.data.name} {results.protocol} {results.task}")
        return [_track_row(client, experiment, results, row, run_folder) for row in results.strategies]
    except MlflowException as error:
        raise InputError(f"--track {uri}: {_first_line(error)}") from error
    except ImportError as error:
        raise InputError(f"--track {uri}: this kind of store needs the package {error.name}") from error
    except OSError as error:
        raise SympressError(f"--track {uri}: {error.strerror or type(error).__name__}") from error


def require_mlflow() -> None:
    """Check that results can be tracked, before anything expensive is done.

    Raises:
        MissingExtraError: mlflow is not installed.
    """
    try:
        import mlflow  # noqa: F401  only whether it is there
    except ImportError:
        raise MissingExtraError("track", "mlflow-skinny") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:_LONGEST]


def _experiment(client: MlflowClient, name: str) -> str:
    safe = _UNSAFE.sub("_", name)
    found = client.get_experiment_by_name(safe)
    return found.experiment_id if found is not None else str(client.create_experiment(safe))


def _track_row(
    client: MlflowClient, experiment: str, results: Results, row: StrategyResult, folder: Path
) -> str:
    run = client.create_run(experiment, run_name=f"{file_stem(row.name)}-seed{row.seed}")
    run_id = str(run.info.run_id)
    settings = {
        **dict(flatten(results.config)),
        "recipe": row.recipe,
        "seed": str(row.seed),
        "strategy": row.name,
    }
    for name, value in settings.items():
        client.log_param(run_id, _UNSAFE.sub("_", name), value[:_LONGEST])
    for name, number in _measured(row):
        client.log_metric(run_id, name, number)
    for epoch in row.epochs:
        for name, number in _quality(epoch.quality):
            client.log_metric(run_id, f"validation_{name}", number, step=epoch.epoch)
    artifact = RunFolder(folder).artifact(row.name, row.seed)
    if artifact.is_dir():
        client.log_artifacts(run_id, str(artifact), "artifact")
    for name in ("results.json", "report.html"):
        if (folder / name).is_file():
            client.log_artifact(run_id, str(folder / name))
    client.set_terminated(run_id)
    return run_id


def _measured(row: StrategyResult) -> Iterator[tuple[str, float]]:
    """Quality on test notes, cost, and the difference to the baseline, where they are defined."""
    for name, value in _quality(row.quality):
        yield f"test_{name}", value
    for name, cost in row.cost.model_dump().items():
        if isinstance(cost, int | float):
            yield name, float(cost)
    if row.versus_baseline is not None and row.versus_baseline.f1_difference.value is not None:
        yield "f1_difference", row.versus_baseline.f1_difference.value


def _quality(quality: Quality) -> Iterator[tuple[str, float]]:
    for name in METRICS:
        estimate = getattr(quality, name)
        if estimate is not None and estimate.value is not None:
            yield name, float(estimate.value)
