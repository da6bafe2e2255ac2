"""The symptoms of a lexicon by the words, codes and coded terms that name them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from importlib import resources

from sympress.labels.lexicon import Lexicon
from sympress.labels.linking import SpanLinker
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
    return SpanLinker.of(lexicon)
