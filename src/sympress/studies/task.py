"""What a study asks of a task, and one row of its table from what the run folder keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sympress.compression.recipe.language import Recipe, recipe_of
from sympress.config import StudyConfig
from sympress.evaluation.significance import holm
from sympress.models.encoder import Encoder
from sympress.models.families import family_of, removes_heads
from sympress.progress import Reporter
from sympress.results import (
    Changes,
    Comparison,
    Cost,
    EpochQuality,
    Quality,
    StrategyResult,
)
from sympress.studies.costs import Candidate, compare_costs
from sympress.studies.folder import RunFolder

# What a study asks of a task: its notes, its rows, their costs, and how they are judged.


#: Told which row is at work, steps done and steps in all.
Step = Callable[[str, int, int], None]


class StoredRows(Protocol):
    """Whatever keeps rows and their answers: the run folder, or the file of `keep_predictions`."""

    def read_row(self, name: str, seed: int) -> dict[str, Any] | None:
        """Thresholds, calibration and what else is known of a row, or None."""

    def answer(self, name: str, seed: int) -> Any:
        """What a row answers on test notes: uncalibrated probabilities `(notes, K)`, or mentions by id."""


@dataclass(frozen=True)
class TestSet(ABC):
    """What is true of the test notes, in the order of the split, and how rows are judged by it.

    Attributes:
        note_ids: of the notes.
        patients: a number a note, equal for notes of one patient: intervals resample patients.
        symptoms: what the notes are labelled with.
        task: of the study.
        truth: labels `(notes, K)`, 0 or 1, or mentions by note id.
    """

    note_ids: tuple[str, ...]
    patients: NDArray[np.int64]
    symptoms: tuple[str, ...]
    task: str
    truth: Any

    @abstractmethod
    def score(self, rows: StoredRows, name: str, seed: int, *, resamples: int) -> Quality:
        """The quality of a row, with intervals."""

    @abstractmethod
    def compare(
        self, rows: StoredRows, name: str, seed: int, *, resamples: int
    ) -> tuple[dict[str, Any], Changes | None]:
        """The paired differences of a row to the baseline of its seed, and which answers flipped."""

    @staticmethod
    @abstractmethod
    def score_of_epoch(entry: Mapping[str, Any]) -> EpochQuality:
        """What a stored epoch says of quality on validation notes."""

    @classmethod
    def read(cls, task: str, stored: Mapping[str, NDArray[Any]]) -> Self:
        """From a file of predictions, see `results.keep_predictions`.

        Raises:
            ValueError: its arrays are not of the same notes.
        """
        ids, symptoms = (tuple(str(one) for one in stored[key]) for key in ("note_ids", "symptoms"))
        patients = stored["patients"].astype(np.int64)
        if patients.shape != (len(ids),):
            raise ValueError("patients are those of other notes")
        return cls(ids, patients, symptoms, task, cls.unpack(stored["truth"], ids, symptoms))

    @staticmethod
    @abstractmethod
    def pack(answer: Any) -> NDArray[Any]:
        """What is true or what a row answers, as an array for the file of predictions."""

    @staticmethod
    @abstractmethod
    def unpack(stored: NDArray[Any], note_ids: Sequence[str], symptoms: Sequence[str]) -> Any:
        """What `pack` was given.

        Raises:
            ValueError: it is not of these notes and symptoms.
        """


D = TypeVar("D")


@dataclass(frozen=True)
class StudyTask(ABC, Generic[D]):
    """One study of one task: all that is not the same for every task between notes and results.

    Attributes:
        config: of the study, resolved.
        data: its notes, labelled and split, with a `description` and fingerprints, `inputs`.
        encoder: that baselines are trained from.
        run: where rows lie.
    """

    config: StudyConfig
    data: D
    encoder: Encoder
    run: RunFolder
    #: How this task is judged.
    tests: ClassVar[type[TestSet]]

    @staticmethod
    @abstractmethod
    def prepare(config: StudyConfig, reporter: Reporter) -> Any:
        """Read, label, split and check the notes of `config` (resolved).

        Raises:
            InputError: the notes cannot be read or do not fit the task.
            LeakError: a patient or a copy is on both sides (except under the protocol `paper`).
        """

    @classmethod
    def set_up(cls, config: StudyConfig, encoder: Encoder, run: RunFolder, reporter: Reporter) -> Self:
        """What all rows share, with the notes prepared; nothing is trained. Raises what `prepare` raises."""
        return cls(config, cls.prepare(config, reporter), encoder, run)

    @staticmethod
    def unread(_config: StudyConfig, _data: Any) -> str | None:
        """How much of the notes no model of a study of `config` (resolved) will read; None if all is read."""
        return None

    @classmethod
    def check_strategies(cls, names: Sequence[str]) -> None:
        """Refuse strategies that this task does not have.

        Raises:
            InputError: there is one.
        """

    def recipe(self, name: str) -> Recipe:
        """The recipe of the strategy `name` on the encoder of the study."""
        return recipe_of(name, self.config, removes_heads=removes_heads(family_of(self.encoder.model)))

    @property
    def warnings(self) -> list[str]:
        """What a reader should know of the notes."""
        return []

    @property
    @abstractmethod
    def references(self) -> tuple[str, ...]:
        """Names of the rows that no encoder makes."""

    @abstractmethod
    def train(self, seed: int, step: Step) -> None:
        """Fine-tune the encoder, deploy, answer and store the baseline of `seed`, unless it is there."""

    @abstractmethod
    def press(self, name: str, recipe: Recipe, seed: int, step: Step) -> None:
        """Press the baseline of `seed` by `recipe`, deploy, answer and store, unless it is there.

        Raises:
            InputError: the row was made by another recipe, or with other transfer notes.
        """

    @abstractmethod
    def refer(self, name: str, seed: int) -> None:
        """Build the reference `name`, answer and store, unless it is there."""

    @abstractmethod
    def candidate(self, name: str, seed: int) -> Candidate:
        """A finished row, ready to be timed."""

    @property
    @abstractmethod
    def timed_texts(self) -> list[str]:
        """The test notes, as candidates take them."""

    @abstractmethod
    def test_set(self) -> TestSet:
        """The test notes and what is true of them."""


# One row of the results file.


#: Each p-value of a comparison, and where the one corrected for the number of strategies goes.
_CORRECTED = {"p_value": "p_holm", "p_value_micro": "p_holm_micro", "p_mcnemar": "p_holm_mcnemar"}


def assemble_row(
    rows: StoredRows, test: TestSet, *, name: str, seed: int, cost: Cost, baseline: Cost, resamples: int
) -> StrategyResult:
    """One row: quality with intervals, cost, and the paired difference to the baseline of that seed.

    Corrected p-values are missing: they need all rows (`correct_p_values`).
    """
    row = rows.read_row(name, seed) or {}
    comparison = changes = None
    if name != "baseline":
        differences, changes = test.compare(rows, name, seed, resamples=resamples)
        comparison = Comparison(**differences, **compare_costs(cost, baseline))
    return StrategyResult(
        name=name,
        seed=seed,
        recipe=row["recipe"],
        quality=test.score(rows, name, seed, resamples=resamples),
        cost=cost,
        versus_baseline=comparison,
        changes=changes,
        epochs=[test.score_of_epoch(entry) for entry in row.get("epochs") or []],
        parity_max_difference=row.get("parity_max_difference"),
        kernel=row.get("kernel"),
        notes=row.get("remarks") or [],
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
