"""The reference model that trains nothing: looking up the symptom's own words.

It shows what the labels' words give away. It predicts without scikit-learn or PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sympress.labels.coded import coded_lexicon
from sympress.labels.labelset import Task
from sympress.labels.lexicon import Lexicon, Symptom
from sympress.labels.matching import fold, occurs
from sympress.labels.topic import Rule, rule_symptom
from sympress.measure.reference import DAMAGE, damaged, to_json, write_files


@dataclass(frozen=True)
class RuleClassifier:
    """The rule that looks up surface forms; it knows no negation and learns nothing.

    For `topic` the symptom that the labelling rule gives the note has probability 1; where it gives none,
    or one that is not among the K, all have 1/K. For `present` every symptom with a form in the note has
    probability 1, the others 0.

    `rule` and `text_window` belong to `topic`; for `present` the whole note is looked at.
    """

    task: Task
    symptoms: tuple[str, ...]
    lexicon: Lexicon
    rule: Rule = "first"
    text_window: int | None = 1000

    @classmethod
    def of(
        cls,
        task: Task,
        symptoms: Sequence[str],
        lexicon: Lexicon,
        *,
        rule: Rule = "first",
        text_window: int | None = 1000,
    ) -> Self:
        """Return the rule for K symptoms, whether they are named as in `lexicon` or coded by people.

        A topic whose K symptoms are all entries of `lexicon` is looked up with the whole lexicon, as it was
        labelled. Otherwise each symptom gets the forms of `labels.coded.coded_lexicon`.
        """
        entries = {fold(symptom.name) for symptom in lexicon.symptoms}
        whole = task == "topic" and all(fold(name) in entries for name in symptoms)
        used = lexicon if whole else coded_lexicon(symptoms, lexicon)
        return cls(task, tuple(symptoms), used, rule, text_window)

    # Nothing is trained and nothing multiplied.
    parameters = 0
    nonzero_parameters = 0
    macs_per_note = 0

    @property
    def size_bytes(self) -> int:
        """Size of the file that `save` writes."""
        return len(self._file())

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return `(notes, K)`: 0 and 1, and 1/K in the rows of a topic that the rule does not know."""
        if self.task == "topic":
            return self._topic(texts)
        by_name = {fold(symptom.name): symptom.forms for symptom in self.lexicon.symptoms}
        forms = [by_name[fold(name)] for name in self.symptoms]
        scores = np.zeros((len(texts), len(forms)))
        for row, text in enumerate(texts):
            folded = fold(text)
            scores[row] = [any(occurs(form, folded) for form in known) for known in forms]
        return scores

    def save(self, folder: Path) -> None:
        """Write `rule.json`."""
        write_files(folder, {"rule.json": self._file()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing or damaged.
        """
        try:
            described = json.loads((folder / "rule.json").read_text(encoding="utf-8"))
            stored = described.pop("lexicon")
            entries = tuple(
                Symptom(entry["name"], tuple(entry["forms"]), entry["id"], tuple(entry["codes"]))
                for entry in stored["symptoms"]
            )
            lexicon = Lexicon(stored["name"], entries)
            return cls(symptoms=tuple(described.pop("symptoms")), lexicon=lexicon, **described)
        except DAMAGE as error:
            raise damaged(folder, error) from error

    def _topic(self, texts: Sequence[str]) -> NDArray[np.float64]:
        columns = {fold(name): column for column, name in enumerate(self.symptoms)}
        scores = np.full((len(texts), len(columns)), 1 / len(columns))
        for row, text in enumerate(texts):
            found = rule_symptom(text, self.lexicon, rule=self.rule, text_window=self.text_window)
            column = columns.get(fold(self.lexicon.symptoms[found].name)) if found >= 0 else None
            if column is not None:
                scores[row] = np.arange(len(columns)) == column
        return scores

    def _file(self) -> bytes:
        return to_json(asdict(self))
