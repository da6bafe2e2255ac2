"""How a row of whole notes is judged by the test notes of its study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sympress.evaluation.probabilities import score_calibration
from sympress.evaluation.quality import (
    describe_changes,
    note_groups,
    score_groups,
    score_present,
    score_topic,
)
from sympress.evaluation.significance import (
    compare_present,
    compare_topic,
    macro_f1,
    mcnemar,
    micro_f1,
    outcome_counts,
)
from sympress.labels.task import task_of
from sympress.results import Changes, EpochQuality, Quality
from sympress.studies.data import StudyData
from sympress.studies.judge import stored_settled
from sympress.studies.task import StoredRows, TestSet

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
        scored = self.scored(rows, name, seed)
        calibrated = (rows.read_row(name, seed) or {}).get("calibration")
        before = rows.answer(name, seed) if calibrated else None
        probabilities, targets, symptoms = scored[0], self.truth, self.symptoms
        shared: dict[str, Any] = {"groups": self.patients, "resamples": resamples}
        if task_of(self.task).exclusive:
            quality = score_topic(probabilities, targets.argmax(axis=1), symptoms, **shared)
        else:
            quality = score_present(probabilities, targets, _cuts(scored), symptoms, **shared)
        calibration = score_calibration(self.task, probabilities, targets, symptoms, before=before, **shared)
        answered = task_of(self.task).affirmed(*scored)
        groups, gaps = score_groups(
            answered, targets.astype(bool), self.groups, patients=self.patients, resamples=resamples
        )
        return quality.model_copy(update={"calibration": calibration, "groups": groups, "gaps": gaps})

    def compare(
        self, rows: StoredRows, name: str, seed: int, *, resamples: int
    ) -> tuple[dict[str, Any], Changes | None]:
        """Paired differences to the baseline and their p-values; micro-F1 belongs to `present`."""
        ours, theirs = (self.scored(rows, one, seed) for one in (name, "baseline"))
        answered = (task_of(self.task).affirmed(*ours), task_of(self.task).affirmed(*theirs))
        truth = self.truth.astype(bool)
        changes = describe_changes(*answered, truth, self.symptoms, self.groups)
        ours_right, theirs_right = (one == truth for one in answered)
        shared: dict[str, Any] = {"groups": self.patients, "resamples": resamples}
        if task_of(self.task).exclusive:
            difference, p_value = compare_topic(ours[0], theirs[0], self.truth.argmax(axis=1), **shared)
            # The K columns of a note are one answer.
            p_mcnemar = mcnemar(ours_right.all(axis=1), theirs_right.all(axis=1))
            return {"f1_difference": difference, "p_value": p_value, "p_mcnemar": p_mcnemar}, changes
        shared |= {"thresholds_a": _cuts(ours), "thresholds_b": _cuts(theirs)}
        difference, p_value = compare_present(ours[0], theirs[0], self.truth, **shared)
        micro, p_micro = compare_present(ours[0], theirs[0], self.truth, average="micro", **shared)
        return {
            "f1_difference": difference,
            "micro_f1_difference": micro,
            "p_value": p_value,
            "p_value_micro": p_micro,
            "p_mcnemar": mcnemar(ours_right, theirs_right),
        }, changes

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


def _cuts(scored: Scored) -> NDArray[np.float64]:
    return np.full(scored[0].shape[1], 0.5) if scored[1] is None else scored[1]
