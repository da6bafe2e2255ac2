"""Reference models that look words up: the lexicon's, those that people's codes add, and with assertion."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from sympress.labels.annotate import Annotator
from sympress.labels.lexicon import Lexicon, Symptom, vaers_to_clinical
from sympress.labels.matching import FormMatcher, fold
from sympress.labels.mentions import Mention
from sympress.labels.note_labels import Rule, coded_lexicon, rule_symptom
from sympress.labels.task import task_of
from sympress.models.tfidf import DAMAGE, StoredModel, damaged, to_json

# A lexicon that takes the words of symptoms that people coded and none of its entries names.


_NO_WORD = re.compile(r"[\W_]+")


class GrowingLexicon:
    """A lexicon that takes further entries; unlike in a file, forms may then be shared."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._base = lexicon
        self._entries = list(lexicon.symptoms)
        self._combined = dict(lexicon.combined)
        self._place_of = {form: at for at, entry in enumerate(self._entries) for form in entry.forms}
        self._ignored = dict.fromkeys(lexicon.ignored)
        self._moved: set[str] = set()

    def add(self, entry: Symptom, known: Collection[str]) -> tuple[str, ...]:
        """Add the forms of `entry` that none of the entries `known` has; return the new id, if any."""
        has = {
            form
            for one in self._entries
            if entry_id(one) in known
            for form in (*one.forms, *(ambiguous.form for ambiguous in one.ambiguous))
        }
        forms = [form for form in entry.forms if form not in has and form_words(form)]
        if not forms:
            return ()
        place, own = len(self._entries), []
        for form in forms:
            self._ignored.pop(form, None)
            if form in self._combined:
                self._combined[form] = (*self._combined[form], place)
            elif form in self._place_of:
                self._combined[form] = (self._place_of[form], place)
                self._moved.add(form)
            else:
                self._place_of[form] = place
                own.append(form)
        name = f"coded: {entry.name}"
        self._entries.append(Symptom(name, tuple(own), name))
        return (name,)

    def lexicon(self) -> Lexicon:
        """The lexicon as it is now."""
        entries = tuple(
            replace(entry, forms=tuple(form for form in entry.forms if form not in self._moved))
            for entry in self._entries
        )
        return replace(
            self._base, symptoms=entries, combined=dict(self._combined), ignored=tuple(self._ignored)
        )


def entry_id(entry: Symptom) -> str:
    """The id by which the annotator calls an entry."""
    return entry.id or entry.name


def entries_for(symptoms: Sequence[str], lexicon: Lexicon) -> list[tuple[str, ...]]:
    """The ids of the entries of `lexicon` that stand for each symptom, an id or a coded term; it may be none.

    A coded term stands for the entry of its name, and for the one that the map of coded terms gives it.
    """
    ids = {entry_id(entry) for entry in lexicon.symptoms}
    by_name = {fold(entry.name): entry_id(entry) for entry in lexicon.symptoms}
    found = []
    for name in symptoms:
        asked = (name,) if name in ids else (by_name.get(fold(name)), vaers_to_clinical(name))
        found.append(tuple(dict.fromkeys(one for one in asked if one is not None and one in ids)))
    return found


def form_words(form: str) -> str:
    """The words of a form, however it is spaced, hyphenated or written with apostrophes."""
    return _NO_WORD.sub(" ", fold(form).replace("\u2019", "'")).strip()


# The reference model that trains nothing: looking up the symptom's own words.
#
# It shows what the labels' words give away. It predicts without scikit-learn or PyTorch.


@dataclass(frozen=True)
class RuleClassifier(StoredModel):
    """The rule that looks up surface forms; it knows no negation and learns nothing.

    For `topic` the symptom that the labelling rule gives the note has probability 1; where it gives none,
    or one that is not among the K, all have 1/K. For `present` every symptom with a form in the note has
    probability 1, the others 0.

    `rule` and `text_window` belong to `topic`; for `present` the whole note is looked at.
    """

    task: str
    symptoms: tuple[str, ...]
    lexicon: Lexicon
    rule: Rule = "first"
    text_window: int | None = 1000

    @classmethod
    def of(
        cls,
        task: str,
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
        whole = task_of(task).labels == "one" and all(fold(name) in entries for name in symptoms)
        used = lexicon if whole else coded_lexicon(symptoms, lexicon)
        return cls(task, tuple(symptoms), used, rule, text_window)

    # Nothing is trained and nothing multiplied.
    parameters = 0
    nonzero_parameters = 0
    macs_per_note = 0

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return `(notes, K)`: 0 and 1, and 1/K in the rows of a topic that the rule does not know."""
        if task_of(self.task).exclusive:
            return self._topic(texts)
        by_name = {fold(symptom.name): place for place, symptom in enumerate(self.lexicon.symptoms)}
        places = [by_name[fold(name)] for name in self.symptoms]
        scores = np.zeros((len(texts), len(places)))
        for row, text in enumerate(texts):
            found = self._matcher.symptoms(fold(text))
            scores[row] = [place in found for place in places]
        return scores

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
            found = rule_symptom(text, self._matcher, rule=self.rule, text_window=self.text_window)
            column = columns.get(fold(self.lexicon.symptoms[found].name)) if found >= 0 else None
            if column is not None:
                scores[row] = np.arange(len(columns)) == column
        return scores

    @cached_property
    def _matcher(self) -> FormMatcher:
        return FormMatcher(self.lexicon)

    def _files(self) -> dict[str, bytes]:
        return {"rule.json": to_json(asdict(self))}


# The reference model that also reads what is said of a symptom: the rule system that users get.


class FoundForm(NamedTuple):
    """A form of the K symptoms in a note, and whether the note affirms it; offsets of the original text."""

    start: int
    end: int
    form: str
    affirmed: bool


@dataclass(frozen=True)
class AssertedRule(StoredModel):
    """The `Annotator` as a model: it looks up surface forms and reads their assertion; it learns nothing.

    Of the task `present` a symptom with a form that the note asserts of the patient now has probability 1,
    the others 0. Forms of other symptoms take part: of forms that overlap the longest counts.

    Attributes:
        symptoms: the K names.
        lexicon: what the annotator knows; entries beyond those of a user's lexicon hold the words of symptoms
            that people coded and no entry names.
        named: of each symptom, the ids of the entries that stand for it; two symptoms may share one.
    """

    symptoms: tuple[str, ...]
    lexicon: Lexicon
    named: tuple[tuple[str, ...], ...]

    # Nothing is trained and nothing multiplied.
    parameters = 0
    nonzero_parameters = 0
    macs_per_note = 0

    @classmethod
    def of(cls, symptoms: Sequence[str], lexicon: Lexicon) -> Self:
        """Return the rule for K symptoms, whether they are named as in `lexicon` or coded by people.

        A coded term stands for the entry of its name, for the one that the map of coded terms
        (`labels.vaers_map`) gives it, and for its own forms, see `labels.coded.coded_lexicon`.
        """
        grown = GrowingLexicon(lexicon)
        ids = {entry_id(entry) for entry in lexicon.symptoms}
        coded = coded_lexicon(symptoms, lexicon).symptoms
        known = entries_for([entry.name for entry in coded], lexicon)
        named = [
            own if entry.name in ids else (*own, *grown.add(entry, own))
            for entry, own in zip(coded, known, strict=True)
        ]
        return cls(tuple(symptoms), grown.lexicon(), tuple(named))

    def without(self, forms: Collection[str]) -> Self:
        """Return the rule that does not know `forms`, however they are spaced or hyphenated."""
        gone = {form_words(form) for form in forms}
        entries = tuple(
            replace(
                entry,
                forms=tuple(form for form in entry.forms if form_words(form) not in gone),
                denials=tuple(form for form in entry.denials if form_words(form) not in gone),
                misspellings=tuple(form for form in entry.misspellings if form not in gone),
                ambiguous=tuple(one for one in entry.ambiguous if form_words(one.form) not in gone),
            )
            for entry in self.lexicon.symptoms
        )
        combined = {
            form: held for form, held in self.lexicon.combined.items() if form_words(form) not in gone
        }
        return replace(self, lexicon=replace(self.lexicon, symptoms=entries, combined=combined))

    @cached_property
    def forms(self) -> tuple[tuple[str, ...], ...]:
        """The forms of each of the K symptoms."""
        owners = self._owners
        return tuple(
            tuple(form for form, held in owners.items() if not held.isdisjoint(ids)) for ids in self.named
        )

    def mentions(self, text: str) -> tuple[Mention, ...]:
        """Return the mentions of all symptoms of the lexicon in `text`, by start."""
        return self._annotator.mentions(text)

    def find(self, text: str) -> list[FoundForm]:
        """Return the forms of the K symptoms in `text`, by start."""
        spans: dict[tuple[int, int], list[Mention]] = {}
        for mention in self.mentions(text):
            spans.setdefault((mention.start, mention.end), []).append(mention)
        return [
            FoundForm(start, end, form, told[0].assertion == "present")
            for (start, end), told in spans.items()
            if any(one.symptom in self._columns for one in told)
            if (form := self._form_at(text[start:end], told)) is not None
        ]

    def columns(self, form: str) -> tuple[int, ...]:
        """The symptoms that `form` names, by their number."""
        held = self._owners[form]
        return tuple(column for column, ids in enumerate(self.named) if not held.isdisjoint(ids))

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return `(notes, K)`, 0 and 1."""
        scores = np.zeros((len(texts), len(self.symptoms)))
        for row, text in enumerate(texts):
            for mention in self.mentions(text):
                if mention.assertion == "present":
                    scores[row, self._columns.get(mention.symptom or "", [])] = 1
        return scores

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing or damaged.
        """
        try:
            stored = json.loads((folder / "asserted.json").read_text(encoding="utf-8"))
            return TypeAdapter(cls).validate_python(stored)
        except DAMAGE as error:
            raise damaged(folder, error) from error

    @cached_property
    def _annotator(self) -> Annotator:
        return Annotator(self.lexicon)

    @cached_property
    def _columns(self) -> dict[str, list[int]]:
        """The symptoms, by number, that each entry stands for."""
        columns: dict[str, list[int]] = {}
        for column, ids in enumerate(self.named):
            for one in ids:
                columns.setdefault(one, []).append(column)
        return columns

    @cached_property
    def _owners(self) -> dict[str, frozenset[str]]:
        """The entries that each form names."""
        owners: dict[str, frozenset[str]] = {}
        for entry in self.lexicon.symptoms:
            for form in (*entry.forms, *(one.form for one in entry.ambiguous), *entry.misspellings):
                owners[form] = owners.get(form, frozenset()) | {entry_id(entry)}
        ids = [entry_id(entry) for entry in self.lexicon.symptoms]
        for form, places in self.lexicon.combined.items():
            owners[form] = frozenset(ids[place] for place in places)
        return owners

    @cached_property
    def _written(self) -> dict[tuple[str, frozenset[str]], str]:
        """A form by its words and its entries, the first of several."""
        written: dict[tuple[str, frozenset[str]], str] = {}
        for form, held in self._owners.items():
            written.setdefault((form_words(form), held), form)
            for one in held:
                written.setdefault((form_words(form), frozenset((one,))), form)
        return written

    def _form_at(self, surface: str, told: Sequence[Mention]) -> str | None:
        """The form at a mention; None for a denial or a temperature."""
        return self._written.get((form_words(surface), frozenset(one.symptom or "" for one in told)))

    def _files(self) -> dict[str, bytes]:
        return {"asserted.json": to_json(asdict(self))}
