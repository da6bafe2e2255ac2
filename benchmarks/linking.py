"""How well spans are named whose form the lexicon lacks: `python -m benchmarks.linking`.

A tenth of the symptoms is left out altogether, and a fifth of the forms of the others, both by hash. The
linker, made of what is left, is asked for the forms that it does not know.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.labels.linking import SpanLinker

#: Shares that are hidden.
SYMPTOMS_LEFT_OUT, FORMS_HIDDEN = 0.1, 0.2


@dataclass(frozen=True)
class Hidden:
    """A lexicon of which a part is hidden.

    Attributes:
        kept: forms of each symptom that the linker knows.
        synonyms: hidden forms of these symptoms, with the symptom.
        left_out: forms of the other symptoms.
    """

    kept: dict[str, list[str]]
    synonyms: list[tuple[str, str]]
    left_out: list[str]


@dataclass(frozen=True)
class Figures:
    """How many of some spans got a name, and how many of the names are right; each 0..1."""

    named: float
    right: float


def hide(lexicon: Lexicon) -> Hidden:
    """Hide a part of `lexicon`, the same in every run."""
    kept: dict[str, list[str]] = {}
    synonyms, left_out = [], []
    for symptom, forms in _forms(lexicon).items():
        if _share("symptom", symptom) < SYMPTOMS_LEFT_OUT:
            left_out += forms
            continue
        kept[symptom] = [form for form in forms if _share("form", form) >= FORMS_HIDDEN]
        if kept[symptom]:
            synonyms += [(form, symptom) for form in forms if _share("form", form) < FORMS_HIDDEN]
    return Hidden(kept, synonyms, left_out)


def _forms(lexicon: Lexicon) -> dict[str, list[str]]:
    ids = [symptom.id or symptom.name for symptom in lexicon.symptoms]
    forms = {name: list(symptom.forms) for name, symptom in zip(ids, lexicon.symptoms, strict=True)}
    for form, places in lexicon.combined.items():
        forms[ids[places[0]]].append(form)
    return forms


def _share(kind: str, text: str) -> float:
    digest = hashlib.blake2b(f"{kind}\0{text}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32


def score(link: SpanLinker, asked: Sequence[tuple[str, str]]) -> Figures:
    """Figures of spans whose symptom is known; a name that is not this one is wrong."""
    answers = [(link(span), symptom) for span, symptom in asked]
    named = [given == symptom for given, symptom in answers if given is not None]
    return Figures(len(named) / len(asked), sum(named) / max(1, len(named)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures of the clinical lexicon's symptoms, of HPO's, and of those left out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.linking", description=__doc__)
    parser.add_argument("--spans", type=int, default=1500, help="of each kind, at most")
    most = parser.parse_args(arguments).spans
    hidden, link = _prepared()
    clinical = {symptom.id for symptom in load_lexicon("clinical").symptoms}
    kinds: Mapping[str, list[tuple[str, str]]] = {
        "forms hidden of the clinical lexicon": [one for one in hidden.synonyms if one[1] in clinical],
        "forms hidden of HPO": [one for one in hidden.synonyms if one[1] not in clinical],
        "forms of symptoms left out": [(form, "") for form in hidden.left_out],
    }
    chosen = random.Random(0)  # noqa: S311
    for kind, every in kinds.items():
        asked = chosen.sample(every, min(most, len(every)))
        started = time.process_time()
        figures = score(link, asked)
        micros = (time.process_time() - started) / len(asked) * 1e6
        right = "" if kind == "forms of symptoms left out" else f", {figures.right:.3f} of the names right"
        sys.stdout.write(f"{len(asked):,} {kind}: {figures.named:.3f} named{right}; {micros:.0f} µs a span\n")
    return 0


def _prepared() -> tuple[Hidden, SpanLinker]:
    hidden = hide(load_lexicon("clinical+hpo"))
    link = SpanLinker(hidden.kept)
    link("a span that makes the linker ready")
    return hidden, link


if __name__ == "__main__":
    raise SystemExit(main())
