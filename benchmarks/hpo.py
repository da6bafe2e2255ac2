"""The names of the Human Phenotype Ontology that ship: `python -m benchmarks.hpo hp.obo.gz -o TERMS.tsv`.

Reads a release of the ontology, leaves out what is no sign or symptom that a note would report (`hpo.toml`
has the rules), and writes the terms that `sympress.labels.lexicon_layers` lays over the clinical lexicon.
Names and synonyms are written as the ontology has them; the same release and rules give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sympress.errors import InputError
from sympress.files import write_text
from sympress.labels.lexicon_layers import COLUMNS, JOINT
from sympress.labels.matching import fold, words_of

RULES = Path(__file__).with_suffix(".toml")
#: The longest form that is kept; notes do not write longer ones.
MOST_WORDS = 8
_SYNONYM = re.compile(r'"((?:[^"\\]|\\.)*)" (EXACT|BROAD|NARROW|RELATED)(?: ([a-z_]+))? \[')
#: Kinds of synonyms that are no way to write the term in a note.
_NO_FORMS = frozenset({"abbreviation", "allelic_requirement", "obsolete_synonym"})
_HEAD = (
    "# Names and exact synonyms of the Human Phenotype Ontology (HPO), release {release}, https://hpo.jax.org.\n"
    "# Not altered; left out where they are no sign or symptom that a note would report. See NOTICE.txt.\n"
    "# Written by  python -m benchmarks.hpo ; do not edit.\n"
)


@dataclass
class Term:
    """A term of the ontology.

    Attributes:
        id: `HP:` and seven digits.
        name: as written.
        parents: ids of the terms that it is a kind of.
        synonyms: its exact synonyms, as written.
    """

    id: str
    name: str = ""
    parents: list[str] = field(default_factory=list)
    synonyms: list[str] = field(default_factory=list)
    obsolete: bool = False


@dataclass(frozen=True)
class Ontology:
    """The terms of a release that are not obsolete, by id, in the order of the file."""

    release: str
    terms: Mapping[str, Term]

    @cached_property
    def children(self) -> dict[str, list[str]]:
        """Ids of the terms directly below each."""
        found: dict[str, list[str]] = {}
        for term in self.terms.values():
            for parent in term.parents:
                found.setdefault(parent, []).append(term.id)
        return found

    def below(self, root: str) -> set[str]:
        """Ids of `root` and of all that is below it.

        Raises:
            InputError: the ontology has no such term.
        """
        if root not in self.terms:
            raise InputError(f"no term {root} in release {self.release}; change benchmarks/hpo.toml")
        found, open_ids = {root}, [root]
        while open_ids:
            new = [one for one in self.children.get(open_ids.pop(), ()) if one not in found]
            found.update(new)
            open_ids += new
        return found


def read_obo(path: Path) -> Ontology:
    """Read an OBO file, gzipped or not.

    Raises:
        InputError: it cannot be read, or names no release of HPO.
    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read ({type(error).__name__}); give hp.obo or hp.obo.gz"
        ) from error
    head, *stanzas = text.split("\n\n")
    release = re.search(r"^data-version: hp/releases/(\S+)$", head, re.MULTILINE)
    if release is None:
        raise InputError(f"{path}: no data-version of HPO; give hp.obo or hp.obo.gz of a release")
    terms = map(_term, (one for one in stanzas if one.startswith("[Term]")))
    return Ontology(release[1], {term.id: term for term in terms if not term.obsolete})


def _term(stanza: str) -> Term:
    term = Term("")
    for line in stanza.splitlines()[1:]:
        key, _, value = line.partition(": ")
        if key == "id":
            term.id = value
        elif key == "name":
            term.name = value
        elif key == "is_a":
            term.parents.append(value.split(" ", 1)[0])
        elif key == "is_obsolete":
            term.obsolete = value == "true"
        elif key == "synonym":
            found = _SYNONYM.match(value)
            if found is not None and found[2] == "EXACT" and found[3] not in _NO_FORMS:
                term.synonyms.append(re.sub(r"\\(.)", r"\1", found[1]))
    return term


class Filter:
    """Says why a form is no sign or symptom that a note would report."""

    def __init__(self, rules: Mapping[str, Any]) -> None:
        self._words: dict[str, re.Pattern[str]] = {
            why: re.compile(rf"\b(?:{'|'.join(patterns)})\b") for why, patterns in rules["words"].items()
        }
        self._not_tumours = _whole(rules["not_tumours"]["words"])
        results = rules["results"]
        self._first, self._tests = _whole(results["first"]), _whole(results["tests"])
        self._ordinary = frozenset(rules["ordinary"]["words"])
        self._phrases = _whole(rules["ordinary"]["patterns"])

    def reason(self, form: str, *, measured: bool) -> str | None:
        """Why `form` is left out; None where it is kept.

        Args:
            form: as the ontology writes it.
            measured: its term is one of what laboratories measure.
        """
        words = words_of(form)
        if not words or len(words) > MOST_WORDS or JOINT in form:
            return "no form of a note"
        if len(words) == 1 and (len(words[0]) < 4 or (form.isupper() and len(form) < 7)):
            return "abbreviation"
        return self._reason_of_words(words, measured)

    def _reason_of_words(self, words: list[str], measured: bool) -> str | None:
        phrase = " ".join(words)
        numbers = {phrase, f"{phrase}s", phrase.removesuffix("s")}  # either is matched in a note
        if not self._ordinary.isdisjoint(numbers) or self._phrases.fullmatch(phrase):
            return "ordinary"
        for why, pattern in self._words.items():
            if pattern.search(phrase):
                return why
        if any(_TUMOUR.fullmatch(one) and not self._not_tumours.fullmatch(one) for one in words):
            return "diagnosis"
        if len(words) > 1 and self._first.fullmatch(words[0]):
            return "result" if measured or any(map(self._tests.fullmatch, words[1:])) else None
        return None


_TUMOUR = re.compile(r"\w+oma(?:s|ta)?")


def _whole(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{one})" for one in patterns))


def kept_terms(
    ontology: Ontology, rules: Mapping[str, Any]
) -> tuple[list[tuple[Term, list[str]]], Counter[str]]:
    """Return the terms below the root, the forms of each that are kept, and how many are left out and why.

    A term of a branch that is left out stands there without forms, for what is below it in another branch. A
    form of several terms belongs to the one that it is the name of, else to the first.
    """
    out = set[str]().union(*(ontology.below(one) for one in rules["left_out"]))
    measured = set[str]().union(*(ontology.below(one) for one in rules["results"]["branches"]))
    inside, keep = ontology.below(rules["root"]), Filter(rules)
    terms = [term for term in ontology.terms.values() if term.id in inside]
    owners = {fold(term.name): term.id for term in terms}
    left: Counter[str] = Counter()
    found = []
    for term in terms:
        forms: list[str] = []
        for form in dict.fromkeys((term.name, *term.synonyms)):
            if owners.setdefault(fold(form), term.id) != term.id or fold(form) in map(fold, forms):
                continue
            why = "branch" if term.id in out else keep.reason(form, measured=term.id in measured)
            if why is None:
                forms.append(form)
            else:
                left[why] += 1
        found.append((term, forms))
    return found, left


def as_tsv(release: str, terms: Sequence[tuple[Term, list[str]]]) -> str:
    """The file that ships; see `sympress.labels.lexicon_layers`."""
    return _HEAD.format(release=release) + "".join(_lines(terms))


def _lines(terms: Sequence[tuple[Term, list[str]]]) -> Iterator[str]:
    yield "\t".join(COLUMNS) + "\n"
    for term, forms in terms:
        parents = JOINT.join(one.removeprefix("HP:") for one in term.parents)
        yield "\t".join((term.id.removeprefix("HP:"), parents, term.name, JOINT.join(forms))) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file; 2 for a mistake in the call or the ontology, which is said in one line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hpo", description=__doc__)
    parser.add_argument("ontology", type=Path, help="hp.obo or hp.obo.gz")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--rules", type=Path, default=RULES)
    given = parser.parse_args(arguments)
    try:
        ontology = read_obo(given.ontology)
        terms, left = kept_terms(ontology, tomllib.loads(given.rules.read_text(encoding="utf-8")))
        write_text(given.output, as_tsv(ontology.release, terms))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    kept = sum(len(forms) for _, forms in terms)
    sys.stdout.write(
        f"release {ontology.release}: {kept:,} forms of {sum(bool(forms) for _, forms in terms):,} terms -> "
        f"{given.output}\nleft out: {', '.join(f'{count:,} {why}' for why, count in left.most_common())}\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
