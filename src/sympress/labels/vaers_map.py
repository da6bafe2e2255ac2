"""The coded terms of VAERS (MedDRA preferred terms) in the ids of the clinical lexicon."""

from __future__ import annotations

from functools import cache
from importlib import resources

from sympress.labels.matching import fold


def vaers_to_clinical(term: str) -> str | None:
    """Return the id of the clinical lexicon's symptom that a coded term names; None where it names none.

    Case does not matter. Terms that are a disease, a test or a judgement are left out on purpose: the head
    of `data/vaers_to_clinical.tsv` lists the frequent ones.
    """
    return _terms().get(fold(term.strip()))


@cache
def _terms() -> dict[str, str]:
    text = (resources.files("sympress.labels") / "data" / "vaers_to_clinical.tsv").read_text("utf-8")
    lines = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return {fold(term): symptom for term, symptom in lines[1:]}
