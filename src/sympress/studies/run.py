"""`run_study`: the pipeline from notes to the results file, in the order of the paper."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sympress.compression.recipe.language import BASELINE, LONGER, Recipe, choose_strategies, train_longer
from sympress.config import StudyConfig
from sympress.errors import InputError, SympressError, of_extra, require_training
from sympress.files import full_disk_explained, write_json, write_text
from sympress.labels.task import task_of
from sympress.models.encoder import fingerprint_encoder, load_encoder
from sympress.progress import Reporter
from sympress.provenance import environment, public_settings
from sympress.report.card import model_card
from sympress.report.page import write_report
from sympress.report.paper import file_stem, write_csvs
from sympress.report.sections import PrecisionRecall, flatten
from sympress.results import Cost, Quality, Results, StrategyResult, YardstickCost, load_results
from sympress.runtime.artifact import write_checksums, write_provenance
from sympress.studies.costs import TIMED_SEED, measure_costs, teacher_yardsticks
from sympress.studies.folder import RunFolder
from sympress.studies.press import named, train_settings, try_encoder
from sympress.studies.results import keep_predictions, precision_recall, read_predictions
from sympress.studies.rows import study_of
from sympress.studies.task import StudyTask, TestSet, assemble_row, judge_together

if TYPE_CHECKING:
    from mlflow import MlflowClient


def run_study(
    config: StudyConfig, output: str | Path, *, command: str | None = None, reporter: Reporter | None = None
) -> Results:
    """Run, or continue, the study `config` in the folder `output`.

    Every finished strategy is stored; a run that was killed goes on where it stopped and ends with the
    same results (timings aside). Writes `results.json`, the CSVs, `report.html`, the artifacts and
    `predictions.npz`.

    Args:
        config: what to run.
        output: the run folder; created, or continued when it holds the same study.
        command: the command line, for the record.
        reporter: where progress goes; a quiet one by default.

    Raises:
        InputError: the notes, the encoder, the folder or a setting cannot be used.
    """
    require_training()
    config = config.resolved()
    kind, strategies, recipes = study_of(config.task), choose_strategies(config), named(config.recipes)
    kind.check_strategies(strategies)
    run = RunFolder(Path(output))
    reporter = reporter or Reporter(quiet=True)
    run.check(config)
    with reporter, full_disk_explained(run.path):
        encoder = load_encoder(config.encoder or "bundled", case=config.case)
        task = kind.set_up(config, encoder, run, reporter)
        warnings = [*encoder.warnings, *task.warnings]
        for warning in warnings:
            reporter.say(f"note: {warning}")
        with run.held(config, {**task.data.inputs, "encoder": fingerprint_encoder(encoder)}):
            recipes = with_longer({name: task.recipe(name) for name in strategies[1:]} | recipes, task)
            names = (BASELINE, *recipes, *task.references)
            measured = measured_before(run, names)
            if run.read_row(BASELINE, 0) is None:
                pooling = "token" if task_of(config.task).finds_spans else config.pooling or "cls"
                try_encoder(encoder, task.outputs, pooling)
            _make_rows(task, recipes, reporter)
            test = task.test_set()
            costs, yardsticks = measured or _time(task, names, reporter)
            rows = _judge(task, test, names, costs, reporter)
            results = Results(
                protocol=config.protocol,
                task=config.task,
                data=task.data.description,
                strategies=rows,
                environment=environment(),
                yardsticks=yardsticks,
                config=public_settings(config) | ({"command": command} if command else {}),
                warnings=warnings,
            )
            kept = read_predictions(keep_predictions(run, test, rows), config.task)
            _write(results, run, task.references, precision_recall(results, kept))
    return results


def with_longer(recipes: dict[str, Recipe], task: StudyTask[Any]) -> dict[str, Recipe]:
    """The recipes, and the baseline trained for as long as the longest of them, if that is longer.

    A row of it that was made beside shorter recipes is dropped.
    """
    longer = None
    if task.config.baseline_longer:
        longer = train_longer(recipes.values(), *task.learnt_from, train_settings(task.config, 0))
    if longer is None:
        return recipes
    for seed in range(task.config.seeds):
        row = task.run.read_row(LONGER, seed)
        if row is not None and row["recipe"] != str(longer) and task.run.has_weights(BASELINE, seed):
            task.run.drop_row(LONGER, seed)
    return {**recipes, LONGER: longer}


Measured = tuple[dict[str, Cost], dict[str, YardstickCost]]


def measured_before(run: RunFolder, names: Sequence[str]) -> Measured | None:
    """What rows cost where it was measured before the weights went, without which none is timed or pressed.

    Args:
        run: of the study.
        names: of the rows that are wanted.

    Returns:
        The costs of rows and yardsticks; None while the weights are there, or not made yet.

    Raises:
        InputError: a row is wanted that the finished run does not have.
    """
    if run.read_row(BASELINE, TIMED_SEED) is None or run.has_weights(BASELINE, TIMED_SEED):
        return None
    finished = load_results(run.path)
    costs = {row.name: row.cost for row in finished.strategies if row.seed == TIMED_SEED}
    for name in names:
        if name not in costs:
            raise InputError(
                f"{run.path}: no row {name!r}, and none can be added: the run kept no weights "
                "(--no-keep-weights); choose another -o"
            )
    return costs, finished.yardsticks


def _make_rows(task: StudyTask[Any], recipes: Mapping[str, Recipe], reporter: Reporter) -> None:
    """Every row of every seed: all baselines first, then what no encoder makes, since both may teach."""
    seeds = range(task.config.seeds)
    for seed in seeds:
        _announce(reporter, task.run, BASELINE, seed)
        task.train(seed, reporter.step)
    for seed in seeds:
        for name in task.references:
            task.refer(name, seed)
    for seed in seeds:
        for name, recipe in recipes.items():
            _announce(reporter, task.run, name, seed)
            task.press(name, recipe, seed, reporter.step)


def _write(
    results: Results, run: RunFolder, references: Sequence[str], curves: Sequence[PrecisionRecall]
) -> None:
    """The results file, what is made from it, and what each artifact says of itself."""
    write_json(run.path / "results.json", results.model_dump(mode="json"))
    write_csvs(results, run.path)
    write_report(results, run.path, curves=curves)
    if not results.config["keep_weights"]:
        for row in results.strategies:
            run.drop_weights(row.name, row.seed)
        shutil.rmtree(run.path / "yardsticks", ignore_errors=True)
    _describe_artifacts(results, run, references)


def _time(task: StudyTask[Any], names: Sequence[str], reporter: Reporter) -> Measured:
    run, config = task.run, task.config
    reporter.say("timing every row in turn")
    return measure_costs(
        {name: task.candidate(name, TIMED_SEED) for name in names},
        task.timed_texts,
        baseline=BASELINE,
        yardsticks=teacher_yardsticks(
            run.artifact(BASELINE, TIMED_SEED), run.path / "yardsticks", threads=config.threads
        ),
        threads=config.threads,
    )


def _judge(
    task: StudyTask[Any], test: TestSet, names: Sequence[str], costs: Mapping[str, Cost], reporter: Reporter
) -> list[StrategyResult]:
    run, config = task.run, task.config
    reporter.say("computing intervals")
    rows = [
        assemble_row(
            run,
            test,
            name=name,
            seed=seed,
            cost=costs[name],
            baseline=costs[BASELINE],
            resamples=config.resamples,
        )
        for seed in range(config.seeds)
        for name in names
    ]
    return judge_together(rows, run, test, margin=config.margin, resamples=config.resamples)


def _announce(reporter: Reporter, run: RunFolder, name: str, seed: int) -> None:
    state = "done before" if run.read_row(name, seed) is not None else "running"
    reporter.say(f"{name} (seed {seed}): {state}")


def _describe_artifacts(results: Results, run: RunFolder, references: Sequence[str]) -> None:
    """Put the measured numbers and a card beside each artifact's weights."""
    for row in results.strategies:
        folder = run.artifact(row.name, row.seed)
        if row.name in references:
            continue  # a reference is no artifact
        stored = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        measured = row.model_dump(mode="json", include={"quality", "cost", "versus_baseline"})
        write_provenance(folder, stored | measured)
        write_text(folder / "README.md", model_card(results, row))
        write_checksums(folder)


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
        name = _UNSAFE.sub("_", f"sympress {results.data.name} {results.protocol} {results.task}")
        found = client.get_experiment_by_name(name)
        experiment = str(client.create_experiment(name)) if found is None else found.experiment_id
        return [_track_row(client, experiment, results, row, run_folder) for row in results.strategies]
    except MlflowException as error:
        said = str(error).partition("\n")[0]
        raise InputError(f"--track {uri}: {said[:_LONGEST]}") from error
    except ImportError as error:
        raise InputError(f"--track {uri}: this kind of store needs the package {error.name}") from error
    except OSError as error:
        raise SympressError(f"--track {uri}: {error.strerror or type(error).__name__}") from error


def require_mlflow() -> None:
    """Check that results can be tracked, before anything expensive is done.

    Raises:
        MissingExtraError: mlflow is not installed.
    """
    with of_extra("track", "mlflow-skinny"):
        import mlflow  # noqa: F401  only whether it is there


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
