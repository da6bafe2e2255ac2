"""A lexicon: symptoms in order, each with the surface forms that name it in a note."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

from sympress.errors import InputError, nearest
from sympress.files import refuse_pipe
from sympress.labels.lexicon_file import (
    LONGEST_MISSPELLED,
    AmbiguousForm,
    Row,
    check_total,
    misspellings,
    parse_toml,
    tsv_rows,
)
from sympress.labels.lexicon_layers import Draft, lay_hpo, lay_over
from sympress.labels.matching import Reduced, fold
from sympress.labels.user_files import Mistakes, parse_table, read_text

# A lexicon: symptoms in order, each with the surface forms that name it in a note.
#
# The order matters: the paper's rule labels a note with the first entry that occurs in it.
# `docs/reference/lexicons.md` describes the files.


_CLINICAL = (
    "clinical.toml",
    "clinical_pain.toml",
    "clinical_chest.toml",
    "clinical_abdomen.toml",
    "clinical_nerves.toml",
    "clinical_skin.toml",
    "clinical_shared.toml",
)
#: Lexicons that come with sympress, by the name that `--lexicon` takes; each file is laid over those before.
BUILT_IN = {
    "paper": ("paper.tsv",),
    "clinical": _CLINICAL,
    "clinical+hpo": _CLINICAL,  # with the names of the Human Phenotype Ontology, see `lay_hpo`
}

#: What `extends` says of a file that takes the place of ours instead of adding to it.
NOTHING = "none"

_CODE = re.compile(r"(?!(?:SYMP|HP):)[A-Za-z0-9][A-Za-z0-9.:_-]*|(?:SYMP|HP):\d{7}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Symptom:
    """One entry of a lexicon; `forms` are lower-cased, in the order they are tried.

    `ambiguous` holds further forms, which count only where their conditions hold; `denials` those that say
    that the symptom is absent (`afebrile`), `misspellings` slips of words that are often misspelled. None of
    them is in `forms`.
    """

    name: str
    forms: tuple[str, ...]
    id: str | None = None
    codes: tuple[str, ...] = ()
    ambiguous: tuple[AmbiguousForm, ...] = ()
    denials: tuple[str, ...] = ()
    misspellings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lexicon:
    """Symptoms in lexicon order.

    Attributes:
        name: of the built-in lexicon or of the file, without its ending.
        symptoms: the entries; no form belongs to two of them.
        combined: forms that name several symptoms at once (`n/v`), lower-cased, to their positions in
            `symptoms`; none of them is a form of a symptom.
        ignored: forms, lower-cased, that look like a symptom and are none (`hay fever`, `pain clinic`): a
            matcher that takes the longest form finds them, and nothing in them.
        ontologies: version of each ontology that the codes come from, by prefix (`HP`).
        denials: forms, lower-cased, that deny symptoms in general and name none (`asymptomatic`).
    """

    name: str
    symptoms: tuple[Symptom, ...]
    combined: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    ignored: tuple[str, ...] = ()
    ontologies: Mapping[str, str] = field(default_factory=dict, hash=False)
    denials: tuple[str, ...] = ()


def load_lexicon(source: str | Path) -> Lexicon:
    """Return a built-in lexicon by name, or read one from a TSV or TOML file.

    A TSV file has the header `symptom<TAB>form` or `symptom<TAB>form<TAB>codes` (codes separated by
    `;`); a symptom may stand on several lines and takes the place of the first. A TOML file has one
    `[[symptom]]` table an entry with `name`, `forms` and optionally `id`, `codes`, `patterns` at `sites`
    and `ambiguous` forms, and may extend another lexicon. Blank lines and lines that start with `#` are
    comments. Forms are lower-cased. A built-in lexicon is read once a process.

    Raises:
        InputError: no such lexicon or file, a file that cannot be read, a bad header, an empty form,
            a form or a code under two symptoms, a file that extends itself, or no entry at all. The message
            names every mistake of a file with its line.
    """
    if str(source) in BUILT_IN:
        return _built_in(str(source))
    mistakes = Mistakes()
    draft = Draft()
    with mistakes.noted():
        draft = _read_draft(source, (), mistakes)
    lexicon = _build(Path(source).stem, draft, str(Path(source)), mistakes)
    mistakes.raise_any()
    return lexicon


def extended_by(source: str | Path) -> str | Path | None:
    """Return what a lexicon file says it extends, ready for `load_lexicon`.

    None where it says `none`, and for a built-in lexicon or a TSV file, which extend nothing; an empty text
    where a TOML file says nothing.

    Raises:
        InputError: the file cannot be read or is no TOML.
    """
    path = Path(source)
    if str(source) in BUILT_IN or path.suffix.lower() != ".toml":
        return None
    extends = parse_table(read_text(path, "lexicon"), str(path)).get("extends", "")
    if not isinstance(extends, str) or extends == NOTHING:
        return None
    return extends if extends in {*BUILT_IN, ""} else path.parent / extends


def load_forms(file: str) -> dict[str, tuple[str, ...]]:
    """Return the forms of each symptom of a TSV file that comes with sympress; forms may be shared."""
    forms: dict[str, list[str]] = {}
    for row in tsv_rows((resources.files("sympress.labels") / "data" / file).read_text("utf-8"), file):
        forms.setdefault(row.symptom, []).extend(row.forms)
    return {name: tuple(found) for name, found in forms.items()}


@cache
def _built_in(name: str) -> Lexicon:
    mistakes = Mistakes()
    lexicon = _build(name, _built_in_draft(name), name, mistakes)
    mistakes.raise_any()
    return lexicon


@cache
def _built_in_draft(name: str) -> Draft:
    if name == "clinical+hpo":
        return lay_hpo(_built_in_draft("clinical"))
    draft, mistakes = Draft(), Mistakes()
    for file in BUILT_IN[name]:
        text = (resources.files("sympress.labels") / "data" / file).read_text("utf-8")
        if file.endswith(".tsv"):
            draft = Draft((*draft.rows, *tsv_rows(text, name)))
        else:
            draft = lay_over(draft, parse_toml(text, file, mistakes), mistakes)
    mistakes.raise_any()
    return draft


def _read_draft(source: str | Path, chain: tuple[Path, ...], mistakes: Mistakes) -> Draft:
    """Return the draft of a lexicon; `chain` holds the files that extend it, the outermost first."""
    if chain and str(source) == NOTHING:
        return Draft()
    if str(source) in BUILT_IN:
        return _built_in_draft(str(source))
    path = Path(source)
    suffix = path.suffix.lower()
    refuse_pipe(path)
    if not path.is_file():
        if suffix in (".tsv", ".toml"):
            named = f" (extended by {chain[-1]})" if chain else ""
            raise InputError(f"{path}: no such file{named}; check the path of the lexicon")
        named = f"{chain[-1]}: extends " if chain else ""
        raise InputError(
            f"{named}no lexicon {str(source)!r}{nearest(str(source), BUILT_IN)}; there is {_names()}"
        )
    if path.resolve() in [file.resolve() for file in chain]:
        circle = " -> ".join(str(file) for file in (*chain, path))
        raise InputError(f"{chain[-1]}: extends in a circle ({circle}); remove one extends")
    if suffix not in (".tsv", ".toml"):
        raise InputError(f"{path}: a lexicon file ends in .tsv or .toml; rename or convert it")
    text = read_text(path, "lexicon")
    if suffix == ".tsv":
        return Draft(tuple(tsv_rows(text, str(path))))
    file = parse_toml(text, str(path), mistakes)
    if file.extends is None:
        return lay_over(Draft(), file, mistakes)
    base = file.extends if file.extends in {*BUILT_IN, NOTHING} else path.parent / file.extends
    return lay_over(_read_draft(base, (*chain, path), mistakes), file, mistakes)


def _names() -> str:
    *others, last = map(repr, BUILT_IN)
    return f"{', '.join(others)} or {last}, or the path of a .tsv or .toml file"


def _build(name: str, draft: Draft, source: str, mistakes: Mistakes) -> Lexicon:
    """Return the lexicon of a draft, symptoms in the order in which they first stand."""
    forms: dict[str, dict[str, None]] = {}
    heads: dict[str, Row] = {}
    codes: dict[str, dict[str, None]] = {}
    ambiguous: dict[str, list[AmbiguousForm]] = {}
    owners: dict[str, tuple[str, str]] = {}
    for row in draft.rows:
        _check_head(row, heads.setdefault(row.symptom, row), mistakes)
        codes.setdefault(row.symptom, {}).update(dict.fromkeys(row.codes))
        known = forms.setdefault(row.symptom, {})
        for form in map(fold, row.forms):
            _claim(form, row, owners, mistakes)
            known[form] = None
        for entry in row.ambiguous:
            _claim(entry.form, row, owners, mistakes)
            if entry.form in known or entry in ambiguous.get(row.symptom, ()):
                mistakes.add(f"{row.where}: {entry.form!r} is a form already; keep it under one of the two")
            ambiguous.setdefault(row.symptom, []).append(entry)
    if not forms:
        mistakes.raise_any()
        raise InputError(f"{source}: no entries; a lexicon needs at least one symptom with a form")
    _claim_denials(draft, forms, owners, mistakes)
    for form in (*draft.combined, *draft.ignored, *draft.denials):
        if form in owners:
            owner, place = owners[form]
            mistakes.add(f"{source}: {form!r} is a form of {owner!r} ({place}); remove it there or here")
    if shared := _shared_codes(codes, source):
        mistakes.add(shared)
    taken = {*owners, *draft.combined, *draft.ignored, *draft.denials}
    denials, slips = _denials(draft, forms, taken), _misspellings(draft, forms, taken)
    symptoms = tuple(
        Symptom(
            key,
            tuple(value),
            heads[key].id,
            tuple(codes[key]),
            tuple(ambiguous.get(key, ())),
            denials[key],
            slips[key],
        )
        for key, value in forms.items()
    )
    places = {symptom.id: place for place, symptom in enumerate(symptoms)}
    combined = {
        form: tuple(places[each] for each in ids if each in places) for form, ids in draft.combined.items()
    }
    ignored, general = tuple(dict.fromkeys(draft.ignored)), tuple(dict.fromkeys(draft.denials))
    return Lexicon(name, symptoms, combined, ignored, dict(draft.ontologies), general)


def _claim_denials(
    draft: Draft,
    forms: Mapping[str, Mapping[str, None]],
    owners: dict[str, tuple[str, str]],
    mistakes: Mistakes,
) -> None:
    """Note that the denials of each row belong to its symptom."""
    for row in draft.rows:
        for form in map(fold, row.denials):
            _claim(form, row, owners, mistakes)
            if form in forms[row.symptom]:
                mistakes.add(f"{row.where}: {form!r} is a form already; keep it under one of the two")


def _denials(
    draft: Draft, forms: Mapping[str, Mapping[str, None]], taken: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Return the denials of each symptom: its own, and those that the patterns make of its one-word forms."""
    found: dict[str, dict[str, None]] = {key: {} for key in forms}
    for row in draft.rows:
        found[row.symptom].update(dict.fromkeys(map(fold, row.denials)))
    words = sum(form.isalpha() for own in forms.values() for form in own)
    check_total(words * len(draft.denial_patterns), "denial_patterns")
    for pattern in draft.denial_patterns:
        before, behind = fold(pattern).split("{form}", 1)
        for key, own in forms.items():
            made = (f"{before}{form}{behind}" for form in own if form.isalpha())
            found[key].update(dict.fromkeys(one for one in made if one not in taken))
    return {key: tuple(own) for key, own in found.items()}


def _misspellings(draft: Draft, forms: Collection[str], taken: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the slips of each symptom's words that are often misspelled, where they are no other form."""
    found: dict[str, list[str]] = {key: [] for key in forms}
    known = set(taken)
    for row in draft.rows:
        for word in map(fold, row.misspelled):
            if len(word) > LONGEST_MISSPELLED:
                raise InputError(
                    f"{row.where}: a misspelled word of more than {LONGEST_MISSPELLED} letters; leave it out"
                )
            check_total(len(known) - len(taken), f"{row.where}, misspelled")
            made = [one for one in misspellings(word) if one not in known]
            found[row.symptom] += made
            known.update(made)
    return {key: tuple(own) for key, own in found.items()}


def _check_head(row: Row, first: Row, mistakes: Mistakes) -> None:
    """Note a row without a name, with an id or a code that is none, or with the name of another id."""
    if not row.symptom:
        mistakes.add(f"{row.where}: empty symptom name; write one or remove the entry")
    if row.id is not None and not _ID.fullmatch(row.id):
        mistakes.add(f"{row.where}: bad id {row.id!r}; use letters, digits, '-', '_' and '.'")
    if row.id != first.id:
        mistakes.add(
            f"{row.where}: the name {row.symptom!r} already belongs to {first.id!r} ({first.where}); "
            "give the entry a name of its own"
        )
    for code in row.codes:
        if not _CODE.fullmatch(code):
            mistakes.add(f"{row.where}: bad code {code!r}; write it like HP:0001945, without spaces")


def _shared_codes(codes: dict[str, dict[str, None]], source: str) -> str | None:
    """Say which codes two symptoms have: who reads a code alone must know which of them was found."""
    owners: dict[str, list[str]] = {}
    for symptom, own in codes.items():
        for code in own:
            owners.setdefault(code, []).append(symptom)
    shared = [
        f"{code} ({' and '.join(map(repr, names))})" for code, names in owners.items() if len(names) > 1
    ]
    if not shared:
        return None
    return f"{source}: one code for different symptoms: {'; '.join(shared)}; keep each under one of them"


def _claim(form: str, row: Row, owners: dict[str, tuple[str, str]], mistakes: Mistakes) -> None:
    """Note that `form` belongs to the symptom of `row`."""
    if not form:
        mistakes.add(f"{row.where}: empty form for {row.symptom!r}; write one or remove the entry")
    elif not any(map(str.isalnum, form)):
        mistakes.add(f"{row.where}: the form {form!r} has no letter and no digit; write one that has")
    owner, place = owners.setdefault(form, (row.symptom, row.where))
    if owner != row.symptom and form:
        mistakes.add(
            f"{row.where}: the form {form!r} of {row.symptom!r} already belongs to {owner!r} "
            f"({place}); keep it under one symptom"
        )


# The forms of a lexicon by number, and what must stand beside those that may mean something else.


#: So many characters to either side of a form are read.
_BESIDE = 60
_NO_WORD = re.compile(r"[\W_]+")
#: Directly before a denial these take it back.
_UNDOES = (
    *("not", "no longer", "never", "isn t", "wasn t", "aren t", "hasn t been", "not been", "never been"),
    *("not yet", "not completely", "not entirely", "not fully"),
)


@dataclass(frozen=True)
class Forms:
    """The forms of a lexicon by number.

    Attributes:
        written: each form.
        named: the symptoms that it names, or denies, by place; none for an ignored one.
        conditions: of those that may mean something else.
        denials: those that say that what they name is absent.
        unnamed: denials of symptoms in general.
    """

    written: list[str]
    named: list[tuple[int, ...]]
    conditions: Mapping[int, AmbiguousForm]
    denials: frozenset[int]
    unnamed: frozenset[int]


def read_forms(lexicon: Lexicon) -> Forms:
    """Return the forms of `lexicon` by number, those of the first symptom first."""
    written: list[str] = []
    named: list[tuple[int, ...]] = []
    conditions: dict[int, AmbiguousForm] = {}
    denials: set[int] = set()
    for place, symptom in enumerate(lexicon.symptoms):
        for ambiguous in symptom.ambiguous:
            conditions[len(written)] = ambiguous
            written.append(ambiguous.form)
            named.append((place,))
        plain = (*symptom.forms, *symptom.misspellings)
        written += plain
        named += [(place,)] * len(plain)
        denials.update(range(len(written), len(written) + len(symptom.denials)))
        written += symptom.denials
        named += [(place,)] * len(symptom.denials)
    written += (*lexicon.combined, *lexicon.ignored)
    named += (*lexicon.combined.values(), *[()] * len(lexicon.ignored))
    unnamed = range(len(written), len(written) + len(lexicon.denials))
    written += lexicon.denials
    named += [()] * len(lexicon.denials)
    return Forms(written, named, conditions, frozenset((*denials, *unnamed)), frozenset(unnamed))


def holds(condition: AmbiguousForm, reduced: Reduced, start: int, end: int) -> bool:
    """Whether an ambiguous form means its symptom, by how it is written and what is beside it."""
    surface = reduced.text[start:end]
    if condition.case == "upper" and not surface.isupper():
        return False
    if condition.case == "plural" and not (surface[:-1].isupper() and surface.endswith("s")):
        return False
    before = reduced.folded[max(0, start - _BESIDE) : start]
    behind = reduced.folded[end : end + _BESIDE]
    unfit = _stands(condition.not_after, before, True) or _stands(condition.not_before, behind, False)
    return not (
        unfit
        or (condition.only_before and not _stands(condition.only_before, behind, False))
        or (condition.only_after and not _stands(condition.only_after, before, True))
    )


def _stands(phrases: tuple[str, ...], beside: str, before: bool) -> bool:
    """Whether one of `phrases` stands directly before, or behind, a form; `beside` is the text there."""
    if not phrases:
        return False
    words = _NO_WORD.sub(" ", beside).strip()
    if before:
        return f" {words}".endswith(_padded(phrases, " ", ""))
    return f"{words} ".startswith(_padded(phrases, "", " "))


def is_undone(reduced: Reduced, start: int) -> bool:
    """Whether a denial that begins at `start` is taken back: `not afebrile`."""
    before = reduced.folded[max(0, start - _BESIDE) : start].rstrip()
    return before[-1:].isalpha() and _stands(_UNDOES, before, True)


@cache
def _padded(phrases: tuple[str, ...], before: str, behind: str) -> tuple[str, ...]:
    return tuple(f"{before}{phrase}{behind}" for phrase in phrases)


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
