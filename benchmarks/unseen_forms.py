"""Surface forms held out of training: does a model find a symptom by words it was never taught?

Labels are silver, by the rule with assertions. Of each symptom's forms some are held out by hash; training
and validation notes that contain one are removed, whatever they assert of it. On test notes whose only
forms of a symptom are held-out ones, the model, TF-IDF and the rule without those forms are asked for it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sympress.evaluation.significance import estimate, group_index, resample_weights
from sympress.models.rules import AssertedRule, FoundForm

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Evidence:
    """What the rule finds in notes.

    Attributes:
        found: of each note, the forms.
        affirmed: `(notes, K)`, symptoms that the note affirms: the silver labels.
        mentioned: `(notes, K)`, symptoms of which any form stands in the note.
    """

    found: list[list[FoundForm]]
    affirmed: Bools
    mentioned: Bools

    @classmethod
    def of(cls, rule: AssertedRule, texts: list[str]) -> Evidence:
        """What `rule` finds in `texts`."""
        found = [rule.find(text) for text in texts]
        affirmed = np.zeros((len(texts), len(rule.symptoms)), dtype=bool)
        mentioned = affirmed.copy()
        for row, forms in enumerate(found):
            for each in forms:
                columns = list(rule.columns(each.form))
                mentioned[row, columns] = True
                affirmed[row, columns] |= each.affirmed
        return cls(found, affirmed, mentioned)

    def rows(self, rows: NDArray[np.int64]) -> Evidence:
        """The evidence of some notes."""
        return Evidence([self.found[row] for row in rows], self.affirmed[rows], self.mentioned[rows])


def hold_out(rule: AssertedRule, evidence: Evidence, training: NDArray[np.int64], share: float) -> set[str]:
    """Return the forms to hold out, chosen by hash and by training notes alone.

    Of each symptom the most frequent form stays: whoever writes a rule knows it. Of the others that occur,
    those whose hash falls below `share` are held out; a form that names two symptoms stays.
    """
    counts = Counter(each.form for row in training for each in evidence.found[row])
    held: set[str] = set()
    for column, known in enumerate(rule.forms):
        occurring = [form for form in known if counts.get(form)]
        ranked = sorted(occurring, key=lambda form: (-counts[form], form))
        held |= {form for form in ranked[1:] if rule.columns(form) == (column,) and _hash(form) < share}
    return held


def _hash(form: str) -> float:
    return int.from_bytes(hashlib.blake2b(form.encode(), digest_size=8).digest(), "big") / 2**64


def contains(evidence: Evidence, forms: set[str]) -> Bools:
    """Return `(notes,)`: whether a note contains one of `forms`."""
    return np.array([any(each.form in forms for each in found) for found in evidence.found], dtype=bool)


def only_held_out(rule: AssertedRule, evidence: Evidence, held: set[str]) -> Bools:
    """Return `(notes, K)`: the note affirms the symptom, and every form of it in the note is held out."""
    kept = np.zeros_like(evidence.affirmed)
    for row, found in enumerate(evidence.found):
        for each in found:
            if each.form not in held:
                kept[row, list(rule.columns(each.form))] = True
    return evidence.affirmed & ~kept


def score_unseen(
    answers: dict[str, Bools],
    evidence: Evidence,
    unseen: Bools,
    patients: NDArray[np.int64],
    *,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Recall on symptoms named by held-out forms alone, recall on the others, and false alarms.

    Args:
        answers: by model, `(notes, K)`.
        evidence: of the same notes.
        unseen: `(notes, K)`, `only_held_out` of them.
        patients: `(notes,)`, resampled for the intervals.
        resamples: behind each interval.

    Returns:
        By model `recall_unseen`, `recall_seen`, and `false_alarms`: the share of symptoms without any form in
        the note that are answered all the same; each pooled over symptoms.
    """
    seen, without = evidence.affirmed & ~unseen, ~evidence.mentioned
    parts = {"recall_unseen": unseen, "recall_seen": seen, "false_alarms": without}
    index = group_index(patients, len(unseen))
    scores: dict[str, Any] = {name: {} for name in answers}
    for key, wanted in parts.items():
        columns = [(answered & wanted).sum(axis=1) for answered in answers.values()]
        counts = np.stack([wanted.sum(axis=1), *columns], axis=1).astype(np.float64)
        drawn = resample_weights(index, 0, resamples)
        totals = np.concatenate([weights.astype(np.float64) @ counts for weights in drawn])
        rates = np.where(totals[:, :1] > 0, totals[:, 1:] / np.maximum(totals[:, :1], 1), np.nan)
        for place, name in enumerate(answers):
            scores[name][key] = estimate(rates[:, place], "undefined: no such answer").model_dump()
    sizes = {f"answers_{key}": int(wanted.sum()) for key, wanted in parts.items()}
    return {"models": scores, **sizes, "notes_unseen": int(unseen.any(axis=1).sum())}
