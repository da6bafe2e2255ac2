"""A lexicon that takes the words of symptoms that people coded and none of its entries names."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from sympress.labels.lexicon import Lexicon, Symptom
from sympress.labels.matching import fold

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


def form_words(form: str) -> str:
    """The words of a form, however it is spaced, hyphenated or written with apostrophes."""
    return _NO_WORD.sub(" ", fold(form).replace("\u2019", "'")).strip()
