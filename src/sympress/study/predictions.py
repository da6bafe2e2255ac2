"""The test predictions of every row in one file, and a table's figures computed again from it.

`RUN/predictions.npz` holds ids, labels and probabilities of the test notes, and no text. It is read without
pickle. Whoever has it and the results file can check every figure and interval without training anything.

    note_ids (N,)       of the test notes
    patients (N,)       a number a note, equal for notes of one patient: intervals resample patients
    symptoms (K,)       names of the columns
    truth (N, K)        0 or 1
    rows                JSON: of each row its name, seed, recipe, thresholds and calibration
    row-I (N, K)        probabilities of row I before they are calibrated
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sympress.config import make_config
from sympress.errors import InputError
from sympress.files import atomic_path
from sympress.results import Results, StrategyResult
from sympress.study.assemble import TestSet, assemble_row, correct_p_values
from sympress.study.folder import RunFolder
from sympress.study.prepare import StudyData

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
