"""What a study asks of a task, and one row of its table from what the run folder keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sympress.compression.recipe.language import Recipe, recipe_of
from sympress.config import StudyConfig
from sympress.evaluation.probabilities import score_calibration
from sympress.evaluation.quality import (
    describe_changes,
    note_groups,
    score_groups,
    score_quality,
)
from sympress.evaluation.significance import (
    macro_f1,
    mcnemar,
    micro_f1,
    outcome_counts,
    paired_difference,
    pooled_difference,
)
from sympress.labels.task import task_of
from sympress.models.encoder import Encoder
from sympress.models.families import family_of, removes_heads
from sympress.progress import Reporter
from sympress.report.claims import holm
from sympress.results import (
    Changes,
    Comparison,
    Cost,
    EpochQuality,
    Quality,
    StrategyResult,
)
from sympress.studies.costs import Candidate, compare_costs
from sympress.studies.data import StudyData
from sympress.studies.folder import RunFolder
from sympress.studies.judge import stored_settled

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

    @abstractmethod
    def counts(self, rows: StoredRows, name: str, seed: int) -> NDArray[np.float64]:
        """What of each note its F1 is made from, `(notes, C)`: sums of it are what `averages` take."""

    @property
    @abstractmethod
    def averages(self) -> Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
        """The field of a comparison that all seeds together fill -> its F1, from sums of `counts`."""

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
    @abstractmethod
    def learnt_from(self) -> tuple[int, int]:
        """How many labelled and how many further notes there are to learn from."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Of the head of its models: symptoms or tags."""

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


#: The corrected p-value of each pooled comparison.
_CORRECTED = {"pooled": "p_holm", "pooled_micro": "p_holm_micro"}


def assemble_row(
    rows: StoredRows, test: TestSet, *, name: str, seed: int, cost: Cost, baseline: Cost, resamples: int
) -> StrategyResult:
    """One row: quality with intervals, cost, and the paired difference to the baseline of that seed.

    What all seeds together say is missing: it needs all rows (`judge_together`).
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


def judge_together(
    rows: Sequence[StrategyResult], stored: StoredRows, test: TestSet, *, margin: float, resamples: int
) -> list[StrategyResult]:
    """Return the rows with what all seeds of a strategy say together, corrected for their number.

    Holm's step-down over all strategies of the table, references included, for each of the tests. Of
    McNemar's test, which is of a seed, the largest p-value stands for a strategy.

    Args:
        rows: of all seeds.
        stored: what they answer.
        test: the test notes.
        margin: the loss below which a row counts as good as the baseline.
        resamples: of patients.
    """
    seeds: dict[str, list[int]] = {}
    mcnemars: dict[str, list[float | None]] = {}
    for row in rows:
        if row.versus_baseline is not None:
            seeds.setdefault(row.name, []).append(row.seed)
            mcnemars.setdefault(row.name, []).append(row.versus_baseline.p_mcnemar)
    told: dict[str, dict[str, Any]] = {name: {} for name in seeds}
    for key, f1 in test.averages.items():
        found = {
            name: pooled_difference(
                [(test.counts(stored, name, seed), test.counts(stored, "baseline", seed)) for seed in each],
                f1,
                margin=margin,
                groups=test.patients,
                resamples=resamples,
            )
            for name, each in seeds.items()
        }
        plain = holm([one.p_value for one in found.values()])
        within = holm([one.p_margin for one in found.values()])
        for name, p_holm, p_margin in zip(found, plain, within, strict=True):
            told[name] |= {
                key: found[name].model_copy(update={"p_margin_holm": p_margin}),
                _CORRECTED[key]: p_holm,
            }
    largest = [None if None in ps else max(p for p in ps if p is not None) for ps in mcnemars.values()]
    for name, p_holm in zip(mcnemars, holm(largest), strict=True):
        told[name]["p_holm_mcnemar"] = p_holm
    return [
        row
        if row.versus_baseline is None
        else row.model_copy(update={"versus_baseline": row.versus_baseline.model_copy(update=told[row.name])})
        for row in rows
    ]


#: Probabilities `(notes, K)` and, for `present`, thresholds `(K,)`.
Scored = tuple[NDArray[np.float64], NDArray[np.float64] | None]


@dataclass(frozen=True)
class NoteTestSet(TestSet):
    """Labels of the test notes, in the order of the split.

    Attributes:
        groups: test notes by sex, age and category.
    """

    task: str
    truth: NDArray[np.uint8]
    groups: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    @classmethod
    def of(cls, data: StudyData) -> NoteTestSet:
        """The test side of `data`."""
        rows, labels = data.split.test, data.labels
        notes = data.frame[rows]
        groups = note_groups(*(notes[name].to_list() for name in ("sex", "age", "category")))
        ids = tuple(notes["note_id"].to_list())
        return cls(ids, data.patients[rows], labels.symptoms, labels.task, labels.targets[rows], groups)

    def score(self, rows: StoredRows, name: str, seed: int, *, resamples: int) -> Quality:
        """Metrics, calibration (also before it, where a row is calibrated) and subgroups."""
        probabilities, thresholds = self.scored(rows, name, seed)
        calibrated = (rows.read_row(name, seed) or {}).get("calibration")
        before = rows.answer(name, seed) if calibrated else None
        targets, symptoms = self.truth, self.symptoms
        shared: dict[str, Any] = {"groups": self.patients, "resamples": resamples}
        quality = score_quality(self.task, probabilities, targets, symptoms, thresholds=thresholds, **shared)
        calibration = score_calibration(self.task, probabilities, targets, symptoms, before=before, **shared)
        answered = task_of(self.task).affirmed(probabilities, thresholds)
        groups, gaps = score_groups(
            answered, targets.astype(bool), self.groups, patients=self.patients, resamples=resamples
        )
        return quality.model_copy(update={"calibration": calibration, "groups": groups, "gaps": gaps})

    def compare(
        self, rows: StoredRows, name: str, seed: int, *, resamples: int
    ) -> tuple[dict[str, Any], Changes | None]:
        """Paired differences to the baseline and their p-values; micro-F1 belongs to `present`."""
        task, truth = task_of(self.task), self.truth.astype(bool)
        ours, theirs = (task.affirmed(*self.scored(rows, one, seed)) for one in (name, "baseline"))
        right = [ours == truth, theirs == truth]
        if task.exclusive:  # the K columns of a note are one answer
            right = [one.all(axis=1) for one in right]
        shared: dict[str, Any] = {"groups": self.patients, "resamples": resamples}
        difference, p_value = paired_difference(ours, theirs, truth, **shared)
        found = {"f1_difference": difference, "p_value": p_value, "p_mcnemar": mcnemar(*right)}
        if not task.exclusive:
            micro, p_micro = paired_difference(ours, theirs, truth, average="micro", **shared)
            found |= {"micro_f1_difference": micro, "p_value_micro": p_micro}
        return found, describe_changes(ours, theirs, truth, self.symptoms, self.groups)

    def counts(self, rows: StoredRows, name: str, seed: int) -> NDArray[np.float64]:
        """Of each note and symptom whether it is found rightly, found, and there."""
        answered = task_of(self.task).affirmed(*self.scored(rows, name, seed))
        return outcome_counts(answered, self.truth.astype(bool))

    @property
    def averages(self) -> Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]:
        """Macro-F1, and micro-F1 of the task `present`."""
        return {"pooled": macro_f1} | (
            {"pooled_micro": micro_f1} if task_of(self.task).has_thresholds else {}
        )

    def scored(self, rows: StoredRows, name: str, seed: int) -> Scored:
        """Calibrated probabilities of the test notes, and their thresholds."""
        operating_point = stored_settled(rows.read_row(name, seed) or {})
        stored = rows.answer(name, seed)
        return operating_point.apply(self.task, stored), operating_point.thresholds

    @staticmethod
    def score_of_epoch(entry: Mapping[str, Any]) -> EpochQuality:
        """All quality numbers, as they were stored."""
        return EpochQuality(epoch=entry["epoch"], quality=entry["quality"])

    @staticmethod
    def pack(answer: NDArray[Any]) -> NDArray[Any]:
        """Labels, or probabilities before they are calibrated, as they are."""
        return answer

    @staticmethod
    def unpack(stored: NDArray[Any], note_ids: Sequence[str], symptoms: Sequence[str]) -> NDArray[Any]:
        """Labels or probabilities `(notes, K)`."""
        if stored.shape != (len(note_ids), len(symptoms)):
            raise ValueError("not of these notes")
        return stored
