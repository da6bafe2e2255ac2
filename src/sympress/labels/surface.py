"""The symptom that a found span names, also where its words stand in no lexicon."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from sympress.labels.lexicon import Lexicon
from sympress.labels.matching import fold

# The coded terms of VAERS (MedDRA preferred terms) in the ids of the clinical lexicon.
#
# MedDRA's terms are licensed, and its subscribers may not pass them on. No file of ours holds them: a term
# is known by its digest, so the words come from the user's own VAERS files.


def vaers_to_clinical(term: str) -> str | None:
    """Return the id of the clinical lexicon's symptom that a coded term names; None where it names none.

    Case does not matter. Terms that are a disease, a test or a judgement are left out on purpose.
    """
    return _terms().get(term_key(term))


def term_key(term: str) -> str:
    """What the files of `data` call a coded term: 16 hexadecimal digits of the SHA-256 of its lower case."""
    return hashlib.sha256(fold(term.strip()).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@cache
def _terms() -> dict[str, str]:
    text = (resources.files("sympress.labels") / "data" / "vaers_to_clinical.tsv").read_text("utf-8")
    lines = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return {row[0]: row[1] for row in lines[1:]}


# The symptom that a found span names, also where its words stand in no lexicon.
#
# In this order: the words of the span are a form; its letters are so like those of a form that it is
# another way to put it, an inflection or a misspelling ("abdomnal pain"); a run of its words is a form, the
# longest of them ("fever of unknown origin"). Likeness is the cosine of trigram counts, weighted by how
# rare a trigram is (Salton & Buckley 1988; trigrams as in Cavnar & Trenkle 1994).


#: From this cosine on two spellings are one: of a fifth of the clinical lexicon's forms, hidden by hash, 95 %
#: are then named, 97 % of those rightly (`tests/labels/test_surface.py` holds it to that).
ALIKE = 0.7
_NO_WORD = re.compile(r"[\W_]+")
_REMEMBERED = 10_000


class SurfaceLinker:
    """Names the symptom of a surface form; to be used as `runtime.tokens.Link`."""

    def __init__(self, forms: Mapping[str, Iterable[str]], *, alike: float = ALIKE) -> None:
        """Prepare the forms of each symptom.

        Args:
            forms: by symptom id; of symptoms that share a form the first has it.
            alike: cosine from which on two spellings are one; above 1 for never.
        """
        self._alike = alike
        self._owners: dict[str, str] = {}
        for symptom, own in forms.items():
            for form in own:
                self._owners.setdefault(_words(form), symptom)
        self._owners.pop("", None)
        self._longest = max((key.count(" ") + 1 for key in self._owners), default=0)
        self._spellings: _Spellings | None = None
        self._known: dict[str, str | None] = {}

    def __call__(self, surface: str) -> str | None:
        """The id of the symptom that `surface` names, or None."""
        words = _words(surface)
        if not words or not self._owners:
            return None
        known = self._known
        if words in known:
            return known[words]
        found = self._owners.get(words) or self._like(words) or self._inside(words)
        if len(known) >= _REMEMBERED:  # replaced, never cleared: another thread may be reading it
            self._known = known = {}
        known[words] = found
        return found

    def _like(self, words: str) -> str | None:
        if self._alike > 1:
            return None
        if self._spellings is None:  # most spans are a form: what likeness needs is built when one is not
            self._spellings = _Spellings.of(list(self._owners))
        cosine, form = self._spellings.nearest(words)
        return self._owners[form] if cosine >= self._alike else None

    def _inside(self, words: str) -> str | None:
        """The symptom of the longest run of words that is a form, of equals the last."""
        parts = words.split(" ")
        for length in range(min(self._longest, len(parts) - 1), 0, -1):
            for start in range(len(parts) - length, -1, -1):
                found = self._owners.get(" ".join(parts[start : start + length]))
                if found is not None:
                    return found
        return None


@dataclass(frozen=True)
class _Spellings:
    """Forms by their trigrams.

    Attributes:
        forms: the forms.
        postings: of each trigram the forms that hold it, by number, and its weight in them.
        lengths: `(forms,)` of their vectors.
        rarity: weight of each trigram.
    """

    forms: list[str]
    postings: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]
    lengths: NDArray[np.float64]
    rarity: dict[str, float]

    @classmethod
    def of(cls, forms: list[str]) -> _Spellings:
        counted = [_trigrams(form) for form in forms]
        holders = Counter(gram for grams in counted for gram in grams)
        rarity = {gram: math.log1p(len(forms) / count) for gram, count in holders.items()}
        places: dict[str, list[int]] = {gram: [] for gram in holders}
        weights: dict[str, list[float]] = {gram: [] for gram in holders}
        squares = np.zeros(len(forms))
        for place, grams in enumerate(counted):
            for gram, count in grams.items():
                weight = count * rarity[gram]
                squares[place] += weight * weight
                places[gram].append(place)
                weights[gram].append(weight)
        postings = {
            gram: (np.array(places[gram], dtype=np.int64), np.array(weights[gram])) for gram in holders
        }
        return cls(forms, postings, np.sqrt(squares), rarity)

    def nearest(self, words: str) -> tuple[float, str]:
        """The greatest cosine, and its form; of equals the first; an unknown trigram is rare."""
        products = np.zeros(len(self.forms))
        unknown, square = math.log1p(len(self.forms)), 0.0
        for gram, count in _trigrams(words).items():
            weight = count * self.rarity.get(gram, unknown)
            square += weight * weight
            if gram in self.postings:
                places, weights = self.postings[gram]
                products[places] += weight * weights
        cosines = products / (self.lengths * math.sqrt(square))
        best = int(cosines.argmax())
        return float(cosines[best]), self.forms[best]


def forms_by_symptom(lexicon: Lexicon) -> dict[str, tuple[str, ...]]:
    """Every form of each symptom of `lexicon`, by id, ambiguous ones included."""
    return {
        symptom.id or symptom.name: (*symptom.forms, *(one.form for one in symptom.ambiguous))
        for symptom in lexicon.symptoms
    }


def codes_by_symptom(lexicon: Lexicon) -> dict[str, list[str]]:
    """The codes of each symptom of `lexicon` that has some, by id."""
    return {symptom.id or symptom.name: list(symptom.codes) for symptom in lexicon.symptoms if symptom.codes}


def codes_of(names: Iterable[str], lexicon: Lexicon) -> dict[str, list[str]]:
    """The codes of symptoms, by their names; an id, a name or a term of VAERS names one."""
    by_id = codes_by_symptom(lexicon)
    ids = {fold(symptom.name): symptom.id or symptom.name for symptom in lexicon.symptoms}
    found = {}
    for name in names:
        known = (
            by_id.get(name) or by_id.get(ids.get(fold(name), "")) or by_id.get(vaers_to_clinical(name) or "")
        )
        if known:
            found[name] = known
    return found


def symptom_of_forms(lexicon: Lexicon) -> Callable[[str], str | None]:
    """What names the symptom of a marked span by the forms of `lexicon`."""
    return SurfaceLinker(forms_by_symptom(lexicon))


def _words(form: str) -> str:
    return _NO_WORD.sub(" ", fold(form).replace("\u2019", "'")).strip()


def _trigrams(words: str) -> Counter[str]:
    padded = f" {words} "
    return Counter(padded[at : at + 3] for at in range(len(padded) - 2))
