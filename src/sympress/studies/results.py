"""A finished run read again: its notes, its predictions in one file, its figures computed from that."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sympress.config import StudyConfig, as_stored, make_config
from sympress.errors import InputError
from sympress.files import atomic_path, check_inputs
from sympress.labels.task import task_of
from sympress.progress import Reporter
from sympress.report.page import Example
from sympress.report.sections import PrecisionRecall
from sympress.results import Results, StrategyResult, load_results
from sympress.studies.data import StudyData, prepare
from sympress.studies.folder import RunFolder
from sympress.studies.judge import stored_settled
from sympress.studies.rows import study_of
from sympress.studies.task import NoteTestSet, TestSet, assemble_row, judge_together

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
        if self.run.read_row(name, seed) is None:
            raise InputError(f"{self.run.path}: no row {name!r} with seed {seed}")
        scored = NoteTestSet.of(self.data).scored(self.run, name, seed)
        return task_of(self.config.note_task).affirmed(*scored)


def reread(folder: Path, *, notes: Path | None = None) -> Reread:
    """Read the study of a run folder and its notes again, from `notes` where they moved.

    Raises:
        InputError: no study lies there, it is damaged, its notes cannot be read, or they, their labels or
            the lexicon are not what its predictions belong to.
    """
    marker = folder / "study.json"
    try:
        stored = json.loads(marker.read_text(encoding="utf-8"))
        config = StudyConfig.model_validate(as_stored(stored["config"]))
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
# `RUN/predictions.npz` holds ids, labels and answers of the test notes, and no text. It is read without
# pickle. Whoever has it and the results file can check every figure and interval without training anything.
#
#     note_ids (N,)       of the test notes
#     patients (N,)       a number a note, equal for notes of one patient: intervals resample patients
#     symptoms (K,)       names of the columns
#     truth (N, K)        0 or 1; of mentions JSON: by note id [start, end, symptom, assertion, score]
#     rows                JSON: of each row its name, seed, recipe, thresholds and calibration
#     row-I (N, K)        probabilities of row I before they are calibrated; of mentions JSON as in `truth`


#: Of a run folder, the file with the predictions of all rows.
PREDICTIONS = "predictions.npz"
_FORMAT = 1
_SETTLED = ("recipe", "thresholds", "calibration")
#: Figures of groups of notes (sex, age, category), which the file does not hold.
_BY_GROUP = {"groups", "gaps", "per_group"}
#: Of files from before seeds were judged together, corrected p-values of another test.
_OF_ALL_SEEDS = {"p_holm", "p_holm_micro"}
#: A figure agrees up to the rounding of sums in another order.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class KeptPredictions:
    """What the file holds.

    Attributes:
        test: what is true of the test notes.
        stored: recipe, thresholds and calibration of each row, by name and seed.
        answers: of each row, as `TestSet.unpack` returns them.
    """

    test: TestSet
    stored: Mapping[tuple[str, int], dict[str, Any]]
    answers: Mapping[tuple[str, int], Any]

    def read_row(self, name: str, seed: int) -> dict[str, Any] | None:
        """As `RunFolder.read_row`, with what its predictions are read by."""
        return self.stored.get((name, seed))

    def answer(self, name: str, seed: int) -> Any:
        """As `RunFolder.answer`."""
        return self.answers[name, seed]


def keep_predictions(run: RunFolder, test: TestSet, rows: Sequence[StrategyResult]) -> Path:
    """Write `RUN/predictions.npz` from what the folder stores of `rows`."""
    told = []
    for row in rows:
        stored = run.read_row(row.name, row.seed) or {}
        told.append({"name": row.name, "seed": row.seed, **{key: stored.get(key) for key in _SETTLED}})
    arrays: dict[str, NDArray[Any]] = {
        "format": np.array(_FORMAT),
        "note_ids": np.array(test.note_ids, dtype=np.str_),
        "patients": test.patients,
        "symptoms": np.array(test.symptoms, dtype=np.str_),
        "truth": test.pack(test.truth),
        "rows": np.array(json.dumps(told, allow_nan=False)),
    }
    for at, row in enumerate(rows):
        arrays[f"row-{at}"] = test.pack(run.answer(row.name, row.seed))
    with atomic_path(run.path / PREDICTIONS) as draft, draft.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return run.path / PREDICTIONS


def read_predictions(path: Path, task: str) -> KeptPredictions:
    """Read what `keep_predictions` wrote of a study of `task`.

    Raises:
        InputError: the file is missing, damaged, of another task or of a newer format.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            found = int(stored["format"])
            if found != _FORMAT:
                raise InputError(f"{path}: format {found}, this sympress reads {_FORMAT}; update sympress")
            test = study_of(task).tests.read(task, stored)
            told = json.loads(str(stored["rows"]))
            keys = [(str(row["name"]), int(row["seed"])) for row in told]
            of = (test.note_ids, test.symptoms)
            answered = {key: test.unpack(stored[f"row-{at}"], *of) for at, key in enumerate(keys)}
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; `sympress study` writes RUN/{PREDICTIONS} when it ends"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path}: damaged, or no {PREDICTIONS} of a study of {task}; run the study again"
        ) from error
    return KeptPredictions(test, dict(zip(keys, told, strict=True)), answered)


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
        InputError: the results are of other notes or symptoms, or of a row that is not kept.
    """
    if list(kept.test.symptoms) != results.data.symptoms or len(kept.test.note_ids) != results.data.test:
        raise InputError(
            "the predictions are of other notes or symptoms than the results; give the run's own"
        )
    for row in results.strategies:
        if (row.name, row.seed) not in kept.stored:
            raise InputError(f"no predictions are kept of row {row.name!r} with seed {row.seed}")
    given: dict[str, Any] = {
        key: results.config[key] for key in ("resamples", "margin") if key in results.config
    }
    settings = make_config(given)
    base = next((row.cost for row in results.strategies if row.name == "baseline"), None)
    if base is None:
        raise InputError("the results have no row 'baseline', to which the others are compared")
    rows = [
        assemble_row(
            kept,
            kept.test,
            name=row.name,
            seed=row.seed,
            cost=row.cost,
            baseline=base,
            resamples=settings.resamples,
        )
        for row in results.strategies
    ]
    again = judge_together(rows, kept, kept.test, margin=settings.margin, resamples=settings.resamples)
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
            if key not in _BY_GROUP and not (key in _OF_ALL_SEEDS and "pooled" not in stored):
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


# Test notes for a report that was asked to show errors, and what other thresholds would give.


#: Notes a row of each kind (changed by compression, wrong without it), and characters a note.
NOTES_A_ROW, CHARACTERS = 3, 1200
#: Points of a curve.
_POINTS = 80


def error_examples(folder: Path) -> list[Example]:
    """Return test notes that the compressed rows answer otherwise than the baseline, or wrongly, with text.

    Of each row, first seed: up to `NOTES_A_ROW` notes whose answer compression changed, then as many more
    whose answer is wrong.

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
    changed = (found != base).any(axis=1)
    wrong = (found != again.truth).any(axis=1) & ~changed
    return [
        Example(
            note_id=notes["note_id"][int(row)],
            row=name,
            text=notes["text"][int(row)][:CHARACTERS],
            truth=_named(again.truth[row], names),
            baseline=_named(base[row], names),
            found=_named(found[row], names),
        )
        for row in (*np.flatnonzero(changed)[:NOTES_A_ROW], *np.flatnonzero(wrong)[:NOTES_A_ROW])
    ]


def precision_recall(results: Results, kept: KeptPredictions) -> list[PrecisionRecall]:
    """Precision against recall of every row, first seed, as all its thresholds move together.

    A finding is ranked by the distance of its logit to the logit of its symptom's threshold, so that the
    point where the thresholds are lies on the curve. Tasks without thresholds have no curves.

    Args:
        results: of the run.
        kept: its predictions.
    """
    if not task_of(results.task).has_thresholds or not isinstance(kept.test, NoteTestSet):
        return []
    seed = min((row.seed for row in results.strategies), default=0)
    truth = np.asarray(kept.test.truth, dtype=bool)
    return [
        _curve(row.name, results.task, kept, truth, seed)
        for row in results.strategies
        if row.seed == seed and (row.name, seed) in kept.stored
    ]


def _curve(
    name: str, task: str, kept: KeptPredictions, truth: NDArray[np.bool_], seed: int
) -> PrecisionRecall:
    settled = stored_settled(kept.stored[name, seed])
    found = settled.apply(task, np.asarray(kept.answers[name, seed], dtype=np.float64))
    cuts = np.full(found.shape[1], 0.5) if settled.thresholds is None else settled.thresholds
    logits = task_of(task).logits
    distance = (logits(found) - logits(cuts)).ravel()
    order = np.argsort(-distance, kind="stable")
    right = np.cumsum(truth.ravel()[order])
    ends = np.flatnonzero(np.diff(distance[order], append=-np.inf))  # findings of one distance come together
    recall, precision = right[ends] / max(1, int(truth.sum())), right[ends] / (ends + 1)
    affirmed = task_of(task).affirmed(found, cuts)
    hits = int((affirmed & truth).sum())
    grid = np.linspace(0, recall[-1], _POINTS)
    chosen = np.searchsorted(ends, [max(0, int(affirmed.sum()) - 1)])
    # Where recall stays while precision falls, both ends of the fall are shown.
    places = (np.searchsorted(recall, grid), np.searchsorted(recall, grid, side="right") - 1, chosen)
    shown = np.unique(np.clip(np.concatenate(places), 0, len(ends) - 1))
    return PrecisionRecall(
        name,
        tuple(float(value) for value in recall[shown]),
        tuple(float(value) for value in precision[shown]),
        (hits / max(1, int(truth.sum())), hits / max(1, int(affirmed.sum()))),
    )


def _named(present: NDArray[np.bool_], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name, one in zip(names, present, strict=True) if one)
