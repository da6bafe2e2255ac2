"""Which symptom of an artifact a name in the gold standard is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sympress.deploy.extractor import Extractor
from sympress.deploy.link import load_names
from sympress.labels.gold.symptoms import form_key, ids_by_form
from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.labels.matching import fold
from sympress.labels.surface import symptom_of_forms
from sympress.labels.vaers_map import vaers_to_clinical


@dataclass(frozen=True)
class Vocabulary:
    """What an artifact can answer, and the names that people may use for it.

    Attributes:
        known: every symptom that the artifact can answer with.
        lexicon: names the symptom of marked words; the artifact's, else the clinical one.
        by_name: symptom by its id, name, form or code, folded.
        link: the symptom of the lexicon that marked words name.
    """

    known: frozenset[str]
    lexicon: Lexicon
    by_name: Mapping[str, str]
    link: Callable[[str], str | None]

    @classmethod
    def of(cls, extractor: Extractor) -> Vocabulary:
        """Return the vocabulary of an artifact."""
        held = extractor.words.lexicon
        names = load_names(extractor.settings, held)
        lexicon = held or load_lexicon("clinical")
        found: dict[str, str] = {}
        for symptom in names:
            found.setdefault(fold(symptom), symptom)
        for symptom, name in names.items():
            found.setdefault(fold(name), symptom)
            found.setdefault(fold(vaers_to_clinical(symptom) or symptom), symptom)
        for symptom, codes in extractor.settings.codes.items():
            for code in codes if symptom in names else ():
                found.setdefault(fold(code), symptom)
        for form, symptom in ids_by_form(lexicon).items():
            if (one := found.get(fold(symptom))) is not None:
                found.setdefault(fold(form), one)
        return cls(frozenset(names), lexicon, found, symptom_of_forms(lexicon))

    @classmethod
    def of_lexicon(cls, lexicon: Lexicon) -> Vocabulary:
        """Return what names symptoms before there is an artifact: the lexicon those of marked words."""
        return cls(frozenset(), lexicon, {}, symptom_of_forms(lexicon))

    def symptom(self, name: str) -> str | None:
        """The artifact's symptom that people call `name`; None for one that it doesn't know."""
        if name in self.known:
            return name
        tried = (name, vaers_to_clinical(name) or "", form_key(name))
        return next((self.by_name[fold(one)] for one in tried if fold(one) in self.by_name), None)

    def symptom_of_words(self, words: str) -> str | None:
        """The symptom that marked words name by the lexicon: an id of the artifact's where it has it."""
        linked = self.link(words)
        return None if linked is None else self.symptom(linked) or linked
