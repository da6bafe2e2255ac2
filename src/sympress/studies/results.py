"""From stored predictions and costs to the rows of the results file, and back to its figures."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sympress.config import StudyConfig, make_config
from sympress.errors import InputError
from sympress.evaluation.probabilities import score_calibration
from sympress.evaluation.quality import (
    describe_changes,
    note_groups,
    score_groups,
    score_present,
    score_topic,
)
from sympress.evaluation.significance import compare_present, compare_topic, holm, mcnemar, one_hot
from sympress.files import atomic_path, check_inputs
from sympress.labels.mentions import Task
from sympress.progress import Reporter
from sympress.report.page import Example
from sympress.results import Comparison, Cost, EpochQuality, Quality, Results, StrategyResult, load_results
from sympress.studies.costs import compare_costs
from sympress.studies.data import StudyData, prepare
from sympress.studies.folder import RunFolder
from sympress.studies.judge import stored_settled

# From stored predictions and costs to the rows of the results file.


#: Each p-value of a comparison, and where the one corrected for the number of strategies goes.
_CORRECTED = {"p_value": "p_holm", "p_value_micro": "p_holm_micro", "p_mcnemar": "p_holm_mcnemar"}

#: Probabilities `(notes, K)` and, for `present`, thresholds `(K,)`.
Scored = tuple[NDArray[np.float64], NDArray[np.float64] | None]


class StoredRows(Protocol):
    """Whatever keeps rows and their predictions: the run folder, or the file of `study.predictions`."""

    def read_row(self, name: str, seed: int) -> dict[str, Any] | None:
        """Thresholds, calibration and what else is known of a row, or None."""

    def predictions(self, name: str, seed: int, part: str) -> NDArray[np.float64]:
        """Uncalibrated probabilities `(notes, K)` of `test`."""


@dataclass(frozen=True)
class TestSet:
    """Targets and patients of the test notes, in the order of the split."""

    targets: NDArray[np.uint8]
    patients: NDArray[np.int64]
    symptoms: tuple[str, ...]
    groups: dict[str, NDArray[np.bool_]]

    @classmethod
    def of(cls, data: StudyData) -> TestSet:
        """The test side of `data`."""
        rows = data.split.test
        notes = data.frame[rows]
        groups = note_groups(*(notes[name].to_list() for name in ("sex", "age", "category")))
        return cls(data.labels.targets[rows], data.patients[rows], data.labels.symptoms, groups)


def assemble_row(
    run: StoredRows, test: TestSet, config: StudyConfig, *, name: str, seed: int, cost: Cost, baseline: Cost
) -> StrategyResult:
    """One row: quality with intervals, cost, and the paired difference to the baseline of that seed.

    Corrected p-values are missing: they need all rows (`correct_p_values`).
    """
    row = run.read_row(name, seed) or {}
    ours = _scored(run, config, name, seed)
    comparison = changes = None
    if name != "baseline":
        theirs = _scored(run, config, "baseline", seed)
        comparison = Comparison(
            **_compare(config, test, ours, theirs),
            **compare_costs(cost, baseline),
        )
        answered = (answers(config.note_task, *ours), answers(config.note_task, *theirs))
        changes = describe_changes(*answered, test.targets.astype(bool), test.symptoms, test.groups)
    before = run.predictions(name, seed, "test") if row.get("calibration") else None
    return StrategyResult(
        name=name,
        seed=seed,
        recipe=row["recipe"],
        quality=score_all(config.note_task, ours, test, before=before, resamples=config.resamples),
        cost=cost,
        versus_baseline=comparison,
        changes=changes,
        epochs=[EpochQuality(epoch=e["epoch"], quality=e["quality"]) for e in row.get("epochs", [])],
        parity_max_difference=row.get("parity_max_difference"),
        kernel=row.get("kernel"),
        notes=row.get("remarks", []),
    )


def correct_p_values(rows: Sequence[StrategyResult]) -> list[StrategyResult]:
    """Return the rows with p-values corrected for the number of strategies compared with the baseline.

    Holm's step-down over all strategies of the table, references included, for each of the three tests.
    Several seeds of a strategy count once: their largest p-value stands for it, so that a strategy is
    different only where it is with every seed.
    """
    corrected = list(rows)
    for plain, adjusted in _CORRECTED.items():
        found: dict[str, list[float | None]] = {}
        for row in rows:
            if row.versus_baseline is not None:
                found.setdefault(row.name, []).append(getattr(row.versus_baseline, plain))
        largest = [None if None in each else max(p for p in each if p is not None) for each in found.values()]
        holms = dict(zip(found, holm(largest), strict=True))
        corrected = [_with_p(row, adjusted, holms.get(row.name)) for row in corrected]
    return corrected


def _with_p(row: StrategyResult, key: str, value: float | None) -> StrategyResult:
    if row.versus_baseline is None:
        return row
    return row.model_copy(update={"versus_baseline": row.versus_baseline.model_copy(update={key: value})})


def _scored(run: StoredRows, config: StudyConfig, name: str, seed: int) -> Scored:
    """Calibrated probabilities of the test notes, and their thresholds."""
    operating_point = stored_settled(run.read_row(name, seed) or {})
    return operating_point.apply(
        config.note_task, run.predictions(name, seed, "test")
    ), operating_point.thresholds


def score_all(
    task: Task,
    scored: Scored,
    test: TestSet,
    *,
    before: NDArray[np.float64] | None = None,
    resamples: int = 1000,
) -> Quality:
    """Everything that is said of a model's answers: metrics, calibration, subgroups; patients are resampled.

    Args:
        task: `topic` or `present`.
        scored: probabilities `(notes, K)` and thresholds `(K,)`.
        test: what is true.
        before: the probabilities before they were calibrated; None if they never were.
        resamples: behind each interval.
    """
    probabilities, symptoms = scored[0], test.symptoms
    if task == "topic":
        classes = test.targets.argmax(axis=1)
        quality = score_topic(probabilities, classes, symptoms, groups=test.patients, resamples=resamples)
    else:
        quality = score_present(
            probabilities, test.targets, _cuts(scored), symptoms, groups=test.patients, resamples=resamples
        )
    calibration = score_calibration(
        task, probabilities, test.targets, symptoms, before=before, groups=test.patients, resamples=resamples
    )
    truth = test.targets.astype(bool)
    groups, gaps = score_groups(
        answers(task, *scored), truth, test.groups, patients=test.patients, resamples=resamples
    )
    return quality.model_copy(update={"calibration": calibration, "groups": groups, "gaps": gaps})


def _cuts(scored: Scored) -> NDArray[np.float64]:
    return np.full(scored[0].shape[1], 0.5) if scored[1] is None else scored[1]


def answers(
    task: Task, probabilities: NDArray[np.float64], thresholds: NDArray[np.float64] | None
) -> NDArray[np.bool_]:
    """What is answered `(notes, K)`: the most probable topic, or all that reach their thresholds."""
    if task == "topic":
        return one_hot(probabilities.argmax(axis=1), probabilities.shape[1])
    answered: NDArray[np.bool_] = probabilities >= (0.5 if thresholds is None else thresholds)
    return answered


def _compare(config: StudyConfig, test: TestSet, ours: Scored, theirs: Scored) -> dict[str, Any]:
    """Paired differences to the baseline and their p-values; micro-F1 belongs to `present`."""
    shared: dict[str, Any] = {"groups": test.patients, "resamples": config.resamples}
    truth = test.targets.astype(bool)
    ours_right, theirs_right = (answers(config.note_task, *scored) == truth for scored in (ours, theirs))
    if config.note_task == "topic":
        difference, p_value = compare_topic(ours[0], theirs[0], test.targets.argmax(axis=1), **shared)
        # The K columns of a note are one answer.
        p_mcnemar = mcnemar(ours_right.all(axis=1), theirs_right.all(axis=1))
        return {"f1_difference": difference, "p_value": p_value, "p_mcnemar": p_mcnemar}
    shared |= {"thresholds_a": _cuts(ours), "thresholds_b": _cuts(theirs)}
    difference, p_value = compare_present(ours[0], theirs[0], test.targets, **shared)
    micro, p_micro = compare_present(ours[0], theirs[0], test.targets, average="micro", **shared)
    return {
        "f1_difference": difference,
        "micro_f1_difference": micro,
        "p_value": p_value,
        "p_value_micro": p_micro,
        "p_mcnemar": mcnemar(ours_right, theirs_right),
    }


# A finished run read again: its configuration, its notes in the order of the split, its predictions.


@dataclass(frozen=True)
class Reread:
    """A run and the notes it was made from.

    Attributes:
        run: the folder.
        config: its study, resolved.
        data: its notes, labels and split.
    """

    run: RunFolder
    config: StudyConfig
    data: StudyData

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Labels of the test notes `(notes, K)`."""
        return self.data.labels.targets[self.data.split.test].astype(bool)

    def answers(self, name: str, seed: int) -> NDArray[np.bool_]:
        """What a row of the run answers on the test notes, `(notes, K)`.

        Raises:
            InputError: the run has no such row.
        """
        row = self.run.read_row(name, seed)
        if row is None:
            raise InputError(f"{self.run.path}: no row {name!r} with seed {seed}")
        operating_point, task = stored_settled(row), self.config.note_task
        stored = self.run.predictions(name, seed, "test")
        return answers(task, operating_point.apply(task, stored), operating_point.thresholds)


def reread(folder: Path, *, notes: Path | None = None) -> Reread:
    """Read the study of a run folder and its notes again, from `notes` where they moved.

    Raises:
        InputError: no study lies there, it is damaged, its notes cannot be read, or they, their labels or
            the lexicon are not what its predictions belong to.
    """
    marker = folder / "study.json"
    try:
        stored = json.loads(marker.read_text(encoding="utf-8"))
        config = StudyConfig.model_validate(stored["config"])
    except FileNotFoundError:
        raise InputError(f"{folder}: no study.json; give the folder that `sympress study -o` wrote") from None
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise InputError(f"{marker}: damaged ({type(error).__name__}); run the study again") from error
    if notes is not None:
        config = config.model_copy(update={"notes": str(notes)})
    data = prepare(config, Reporter(quiet=True))
    check_inputs(folder, stored.get("inputs"), data.inputs, advice="run the study again with another -o")
    return Reread(RunFolder(folder), config, data)


# The test predictions of every row in one file, and a table's figures computed again from it.
#
# `RUN/predictions.npz` holds ids, labels and probabilities of the test notes, and no text. It is read
# without pickle. Whoever has it and the results file can check every figure and interval without training
# anything.
#
#     note_ids (N,)       of the test notes
#     patients (N,)       a number a note, equal for notes of one patient: intervals resample patients
#     symptoms (K,)       names of the columns
#     truth (N, K)        0 or 1
#     rows                JSON: of each row its name, seed, recipe, thresholds and calibration
#     row-I (N, K)        probabilities of row I before they are calibrated


#: Of a run folder, the file with the predictions of all rows.
PREDICTIONS = "predictions.npz"
_FORMAT = 1
_SETTLED = ("recipe", "thresholds", "calibration")
#: Figures of groups of notes (sex, age, category), which the file does not hold.
_BY_GROUP = {"groups", "gaps", "per_group"}
#: A figure agrees up to the rounding of sums in another order.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class KeptPredictions:
    """What the file holds.

    Attributes:
        note_ids: of the test notes.
        test: their labels and patients.
        stored: recipe, thresholds and calibration of each row, by name and seed.
        probabilities: `(notes, K)` of each row, uncalibrated.
    """

    note_ids: tuple[str, ...]
    test: TestSet
    stored: Mapping[tuple[str, int], dict[str, Any]]
    probabilities: Mapping[tuple[str, int], NDArray[np.float64]]

    def read_row(self, name: str, seed: int) -> dict[str, Any] | None:
        """As `RunFolder.read_row`, with what its predictions are read by."""
        return self.stored.get((name, seed))

    def predictions(self, name: str, seed: int, part: str) -> NDArray[np.float64]:
        """As `RunFolder.predictions`; there is no other part than `test`."""
        if part != "test":
            raise ValueError(f"only predictions of test notes are kept, not of {part}")
        return self.probabilities[name, seed]


def keep_predictions(run: RunFolder, data: StudyData, rows: list[StrategyResult]) -> Path:
    """Write `RUN/predictions.npz` from what the folder stores of `rows`."""
    test = TestSet.of(data)
    told = []
    for row in rows:
        stored = run.read_row(row.name, row.seed) or {}
        told.append({"name": row.name, "seed": row.seed, **{key: stored.get(key) for key in _SETTLED}})
    arrays: dict[str, NDArray[Any]] = {
        "format": np.array(_FORMAT),
        "note_ids": np.array(data.frame["note_id"].gather(data.split.test).to_list(), dtype=np.str_),
        "patients": test.patients,
        "symptoms": np.array(test.symptoms, dtype=np.str_),
        "truth": test.targets,
        "rows": np.array(json.dumps(told, allow_nan=False)),
    }
    for at, row in enumerate(rows):
        arrays[f"row-{at}"] = run.predictions(row.name, row.seed, "test")
    with atomic_path(run.path / PREDICTIONS) as draft, draft.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return run.path / PREDICTIONS


def read_predictions(path: Path) -> KeptPredictions:
    """Read what `keep_predictions` wrote.

    Raises:
        InputError: the file is missing, damaged, or of a newer format.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            found = int(stored["format"])
            if found != _FORMAT:
                raise InputError(f"{path}: format {found}, this sympress reads {_FORMAT}; update sympress")
            symptoms = tuple(str(name) for name in stored["symptoms"])
            truth = stored["truth"].astype(np.uint8)
            test = TestSet(truth, stored["patients"].astype(np.int64), symptoms, {})
            told = json.loads(str(stored["rows"]))
            keys = [(str(row["name"]), int(row["seed"])) for row in told]
            probabilities = {key: stored[f"row-{at}"].astype(np.float64) for at, key in enumerate(keys)}
            ids = tuple(str(one) for one in stored["note_ids"])
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; `sympress study` writes RUN/{PREDICTIONS} when it ends"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged, or no {PREDICTIONS} of a study; run the study again") from error
    shapes = {one.shape for one in (truth, *probabilities.values())}
    if shapes != {(len(ids), len(symptoms))} or test.patients.shape != (len(ids),):
        raise InputError(f"{path}: damaged (its rows are not of the same notes); run the study again")
    return KeptPredictions(ids, test, dict(zip(keys, told, strict=True)), probabilities)


@dataclass(frozen=True)
class Checked:
    """What came of computing a table again.

    Attributes:
        rows: of the table.
        figures: numbers that were compared.
        differing: one line for each that differs.
    """

    rows: int
    figures: int
    differing: tuple[str, ...]


def check_results(results: Results, kept: KeptPredictions) -> Checked:
    """Compute quality, intervals and tests of every row again, and compare them with the results file.

    Costs are measurements and are not compared, nor are figures of groups of notes, of which the file says
    nothing. Fields that an older results file lacks are not missed.

    Raises:
        InputError: the results are of another task, other notes or symptoms, or of a row that is not kept.
    """
    if results.task == "mentions":
        raise InputError("predictions are kept for --task topic and --task present; mentions has spans")
    if list(kept.test.symptoms) != results.data.symptoms or len(kept.note_ids) != results.data.test:
        raise InputError(
            "the predictions are of other notes or symptoms than the results; give the run's own"
        )
    for row in results.strategies:
        if (row.name, row.seed) not in kept.stored:
            raise InputError(f"no predictions are kept of row {row.name!r} with seed {row.seed}")
    config = make_config({"task": results.task, "resamples": results.config.get("resamples", 1000)})
    base = next((row.cost for row in results.strategies if row.name == "baseline"), None)
    if base is None:
        raise InputError("the results have no row 'baseline', to which the others are compared")
    again = correct_p_values(
        [
            assemble_row(kept, kept.test, config, name=row.name, seed=row.seed, cost=row.cost, baseline=base)
            for row in results.strategies
        ]
    )
    figures, differing = 0, []
    for ours, theirs in zip(again, results.strategies, strict=True):
        computed = ours.model_dump(mode="json")
        said = theirs.model_dump(
            mode="json", exclude_unset=True, include={"quality", "versus_baseline", "changes"}
        )
        for where, stored, found in _pairs(said, computed):
            figures += 1
            if not _agree(stored, found):
                differing.append(f"{theirs.name} (seed {theirs.seed}): {where} is {stored}, computed {found}")
    return Checked(len(again), figures, tuple(differing))


def _pairs(stored: Any, found: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every leaf of `stored` with its place and what was computed there; figures of groups aside."""
    if isinstance(stored, dict) and isinstance(found, dict):
        for key, value in stored.items():
            if key not in _BY_GROUP:
                yield from _pairs(value, found.get(key), f"{where}.{key}" if where else key)
    elif isinstance(stored, list) and isinstance(found, list) and len(stored) == len(found):
        for at, (one, other) in enumerate(zip(stored, found, strict=True)):
            yield from _pairs(one, other, f"{where}[{at}]")
    else:
        yield where, stored, found


def _agree(stored: Any, found: Any) -> bool:
    if isinstance(stored, float) and isinstance(found, int | float):
        return bool(abs(stored - found) <= _TOLERANCE)
    return bool(stored == found)


# Test notes whose answer compression changed, for a report that was asked to show them.


#: Notes a row, and characters a note.
NOTES_A_ROW, CHARACTERS = 3, 1200


def flipped_examples(folder: Path) -> list[Example]:
    """Return up to `NOTES_A_ROW` flipped test notes of each compressed row, first seed, with text.

    Raises:
        InputError: the run or its notes cannot be read.
    """
    results = load_results(folder)
    again = reread(folder)
    seed = min((row.seed for row in results.strategies), default=0)
    names = [row.name for row in results.strategies if row.seed == seed and row.changes is not None]
    return [example for name in names for example in _of_row(again, name, seed)]


def _of_row(again: Reread, name: str, seed: int) -> list[Example]:
    found, base = again.answers(name, seed), again.answers("baseline", seed)
    notes = again.data.frame[again.data.split.test]
    names = again.data.labels.symptoms
    flipped = np.flatnonzero((found != base).any(axis=1))[:NOTES_A_ROW]
    return [
        Example(
            note_id=notes["note_id"][int(row)],
            row=name,
            text=notes["text"][int(row)][:CHARACTERS],
            truth=_named(again.truth[row], names),
            baseline=_named(base[row], names),
            found=_named(found[row], names),
        )
        for row in flipped
    ]


def _named(present: NDArray[np.bool_], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name, one in zip(names, present, strict=True) if one)
