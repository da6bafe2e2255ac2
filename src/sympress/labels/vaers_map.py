"""The coded terms of VAERS (MedDRA preferred terms) in the ids of the clinical lexicon.

MedDRA's terms are licensed, and its subscribers may not pass them on. No file of ours holds them: a term is
known by its digest, so the words come from the user's own VAERS files.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from sympress.labels.matching import fold


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
