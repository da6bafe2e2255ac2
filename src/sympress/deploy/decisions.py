"""Who decides where model and rules disagree, and which words are evidence: chosen on validation notes.

Each symptom is chosen by itself. A choice other than the default must gain on both halves of the validation
notes, so that it is no accident of them. On general notes of known truth it must add no error and lose no
symptom, so that an artifact made from one kind of note can serve others.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sympress.deploy.affirm import EvidenceReader
from sympress.deploy.artifact import Evidence
from sympress.deploy.extractor import Extractor
from sympress.errors import InputError
from sympress.labels.vaers_map import vaers_to_clinical

#: What a symptom's F1 must gain on each half of the validation notes for a choice that is not the default.
LEAST_GAIN = 0.005
#: A model may refuse a symptom's mentions only where this many general notes affirm it.
LEAST_GENERAL = 20
_DECIMALS = 4
Truth = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelledNotes:
    """Notes and which of an artifact's symptoms each affirms, `(notes, K)`."""

    texts: Sequence[str]
    truth: Truth


@dataclass(frozen=True)
class Signs:
    """What rules and model say of each symptom of each note, each `(notes, K)`.

    Attributes:
        present: a mention of it is present.
        named: it is mentioned, whatever is said of it.
        affirms: the model's probability reaches the threshold.
        supported: the model affirms it, no mention names it, and other words stand for it.
    """

    present: Truth
    named: Truth
    affirms: Truth
    supported: Truth

    def answers(self, decides: Sequence[str], evidence: Iterable[str], symptoms: Sequence[str]) -> Truth:
        """What the artifact affirms, with `decides` for each symptom and evidence for some."""
        by_model = np.array([one == "model" for one in decides], dtype=bool)
        taken = np.array([one in set(evidence) for one in symptoms], dtype=bool)
        answered: Truth = (self.present & (self.affirms | ~by_model)) | (self.supported & taken)
        return answered


@dataclass(frozen=True)
class Choice:
    """What was chosen, and on which figures.

    Attributes:
        decides: `rules` or `model`, for each symptom of the model that the rules can find.
        evidence: for the symptoms that gain by it.
        figures: what `provenance.json` holds of it.
    """

    decides: dict[str, str]
    evidence: dict[str, Evidence]
    figures: dict[str, Any]


def candidates() -> dict[str, Evidence]:
    """Every evidence of `labels/data/evidence.toml`, by the symptom it is for."""
    text = (resources.files("sympress.labels") / "data" / "evidence.toml").read_text("utf-8")
    return {
        symptom: Evidence(mentions=mentions, words=group["words"])
        for group in tomllib.loads(text).values()
        for symptom, mentions in group["mentions"].items()
    }


def coded_notes(
    texts: Sequence[str], codes: Sequence[Sequence[str]], symptoms: Sequence[str]
) -> LabelledNotes:
    """Notes with the symptoms that people coded, under its own name or one that the lexicon's map knows."""
    truth = np.zeros((len(texts), len(symptoms)), dtype=bool)
    place = {name: at for at, name in enumerate(symptoms)}
    for row, coded in zip(truth, codes, strict=True):
        for code in coded:
            for name in (code, vaers_to_clinical(code)):
                if name in place:
                    row[place[name]] = True
    return LabelledNotes(texts, truth)


def read_signs(extractor: Extractor, texts: Sequence[str], evidence: Mapping[str, Evidence]) -> Signs:
    """What the rules and the model of `extractor`, of the task `present`, say of `texts`."""
    place = {name: at for at, name in enumerate(extractor.symptoms)}
    shape = (len(texts), len(place))
    signs = Signs(*(np.zeros(shape, dtype=bool) for _ in range(4)))
    reader = EvidenceReader(evidence)
    for row, text in enumerate(texts):
        beliefs = extractor.beliefs(extractor.note_logits(text)[0])
        mentions = extractor.rule_mentions(text)
        signs.affirms[row] = [belief.affirms for belief in beliefs.values()]
        for one in mentions:
            if (at := place.get(one.symptom or "")) is not None:
                signs.named[row, at] = True
                signs.present[row, at] |= one.assertion == "present"
        for found in reader.read(text, mentions, beliefs):
            signs.supported[row, place[found.mention.symptom or ""]] = True
    return signs


def choose(extractor: Extractor, validation: LabelledNotes, general: LabelledNotes) -> Choice:
    """Choose for each symptom who decides on a present mention, and whether evidence may stand for it.

    Args:
        extractor: of the task `present`, with rules; what it has chosen so far does not matter.
        validation: notes of the kind that the model was trained on, but not those.
        general: other notes, of known truth.

    Raises:
        InputError: the artifact is of another task or without rules.
    """
    if extractor.task != "present" or not extractor.settings.rules:
        raise InputError(
            f"{extractor.folder}: only a model of the task present with rules has a choice to make"
        )
    table = {name: one for name, one in candidates().items() if name in extractor.symptoms}
    told, others = (read_signs(extractor, notes.texts, table) for notes in (validation, general))
    decides: dict[str, str] = {}
    evidence: dict[str, Evidence] = {}
    figures: dict[str, Any] = {}
    for at, symptom in enumerate(extractor.symptoms):
        here = _Side(told, validation.truth[:, at], at)
        elsewhere = _Side(others, general.truth[:, at], at)
        figures[symptom] = {}
        if told.named[:, at].any() or others.named[:, at].any():
            gains, figures[symptom]["decides"] = _compare(here, elsewhere, "model", least=LEAST_GENERAL)
            decides[symptom] = "model" if gains else "rules"
        if symptom in table:
            gains, figures[symptom]["evidence"] = _compare(here, elsewhere, "evidence")
            if gains:
                evidence[symptom] = table[symptom]
    notes_read = {"validation_notes": len(validation.texts), "general_notes": len(general.texts)}
    return Choice(decides, evidence, {**notes_read, "least_gain": LEAST_GAIN, "symptoms": figures})


@dataclass(frozen=True)
class _Side:
    """One symptom on one set of notes."""

    signs: Signs
    truth: Truth
    at: int

    def answer(self, way: str) -> Truth:
        present, at = self.signs.present[:, self.at], self.at
        if way == "model":
            return present & self.signs.affirms[:, at]
        return present | self.signs.supported[:, at] if way == "evidence" else present

    def f1(self, way: str, rows: slice = slice(None)) -> float:
        found, truth = self.answer(way)[rows], self.truth[rows]
        total = int(found.sum()) + int(truth.sum())
        return 2 * int((found & truth).sum()) / total if total else 0.0

    def errors(self, way: str) -> int:
        return int((self.answer(way) != self.truth).sum())

    def hits(self, way: str) -> int:
        return int((self.answer(way) & self.truth).sum())


def _compare(here: _Side, elsewhere: _Side, way: str, *, least: int = 0) -> tuple[bool, dict[str, Any]]:
    """Whether `way` gains over the rules, and the figures that say so.

    Args:
        here: the validation notes.
        elsewhere: the general ones, at least `least` of which must affirm the symptom.
        way: `model` or `evidence`.
        least: see `elsewhere`.
    """
    halves = [slice(half, None, 2) for half in (0, 1)]
    gain = min(here.f1(way, rows) - here.f1("rules", rows) for rows in halves)
    ways = ("rules", way)
    errors = {one: elsewhere.errors(one) for one in ways}
    hits = {one: elsewhere.hits(one) for one in ways}
    harmless = errors[way] <= errors["rules"] and hits[way] >= hits["rules"]
    taken = gain >= LEAST_GAIN and harmless and int(elsewhere.truth.sum()) >= least
    return taken, {
        "chosen": way if taken else "rules",
        "f1": {one: round(here.f1(one), _DECIMALS) for one in ways},
        "smaller_gain_of_two_halves": round(gain, _DECIMALS),
        "errors_on_general_notes": errors,
        "right_on_general_notes": hits,
    }
