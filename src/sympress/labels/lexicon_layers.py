"""Lexicon files laid over one another: a file that extends another adds, overrides, edits and removes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources

from sympress.errors import InputError, nearest
from sympress.labels.lexicon_file import (
    LexiconFile,
    Row,
    Words,
    check_pattern,
    check_total,
    expand_all,
    expand_forms,
    toml_row,
)
from sympress.labels.matching import fold, last_word, words_of
from sympress.labels.user_files import Mistakes


@dataclass(frozen=True)
class Draft:
    """What the files so far say, before forms are compared across symptoms.

    Attributes:
        rows: symptoms in order; a TSV file may have several rows a symptom.
        words: lists for templates, by name, expanded.
        patterns: groups of patterns, by name.
        combined: form to the ids it names together.
        ignored: forms that name no symptom.
        denials: forms that deny symptoms in general (`asymptomatic`).
        denial_patterns: with each one-word form in place of `{form}`, what denies it (`{form} free`).
        ontologies: version of each ontology that codes come from, by prefix.
    """

    rows: tuple[Row, ...] = ()
    words: Words = field(default_factory=dict)
    patterns: Words = field(default_factory=dict)
    combined: Words = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    ontologies: Mapping[str, str] = field(default_factory=dict)
    denials: tuple[str, ...] = ()
    denial_patterns: tuple[str, ...] = ()


def lay_over(base: Draft, file: LexiconFile, mistakes: Mistakes) -> Draft:
    """Return `base` with what `file` adds, overrides, edits and removes; what is wrong with it is left out.

    Args:
        base: the lexicon that the file extends.
        file: as parsed.
        mistakes: takes an id twice in the file, an id that is not there to remove, edit or combine, a form to
            remove that is not there, and an entry that is malformed, each with the file and place.

    Raises:
        InputError: the templates stand for more forms than fit.
    """
    words: dict[str, tuple[str, ...]] = dict(base.words)
    listed_so_far = 0
    for name, listed in file.words.items():
        words[name] = ()
        with mistakes.noted():
            words[name] = expand_all(listed, words, f"{file.source}, [words] {name}")
        listed_so_far += len(words[name])
        check_total(listed_so_far, f"{file.source}, [words] {name}")
    for name, group in file.patterns.items():
        for pattern in group:
            with mistakes.noted():
                check_pattern(pattern, f"{file.source}, [patterns] {name}")
    patterns = {**base.patterns, **file.patterns}
    rows, total = [], 0
    for where, entry in file.entries:
        with mistakes.noted():
            row = toml_row(entry, where, words, patterns, mistakes)
            if row is not None:
                rows.append(row)
                total += len(row.forms) + len(row.denials) + len(row.misspelled)
        check_total(total, where)
    laid = _override(_kept(base.rows, file, mistakes), rows, mistakes)
    known = {row.id for row in laid if row.id} | {
        str(entry.get("id")) for _, entry in file.entries if isinstance(entry, dict)
    }
    kept = {
        form: tuple(each for each in ids if each in known)
        for form, ids in {**base.combined, **_combined(file, words, known, mistakes)}.items()
    }
    return Draft(
        tuple(laid),
        words,
        patterns,
        {form: ids for form, ids in kept.items() if ids},
        (*base.ignored, *_listed(file.ignored, "ignored", file, words, mistakes)),
        {**base.ontologies, **file.ontologies},
        (*base.denials, *_listed(file.denials, "denials", file, words, mistakes)),
        (*base.denial_patterns, *file.denial_patterns),
    )


def _kept(rows: tuple[Row, ...], file: LexiconFile, mistakes: Mistakes) -> list[Row]:
    """Return the rows that the file does not remove."""
    known = {row.id for row in rows if row.id}
    for identifier in file.remove:
        if identifier not in known:
            mistakes.add(
                f"{file.source}: remove names {identifier!r}, which is no id of the extended lexicon"
                f"{nearest(identifier, known)}; see  sympress lexicon list"
            )
    return [row for row in rows if row.id not in file.remove]


def _override(rows: list[Row], changes: list[Row], mistakes: Mistakes) -> list[Row]:
    """Return `rows` with each change in the place of the row of its id, or at the end."""
    places = {row.id: place for place, row in enumerate(rows) if row.id}
    seen: dict[str, str] = {}
    for change in changes:
        if change.id is not None and change.id in seen:
            mistakes.add(
                f"{change.where}: the id {change.id!r} stands twice ({seen[change.id]}); keep one entry"
            )
            continue
        if change.id is not None:
            seen[change.id] = change.where
        if change.id in places:
            place = places[change.id]
            rows[place] = _edited(rows[place], change, mistakes) if change.edits else change
        elif change.edits:
            known = [row.id for row in rows if row.id]
            mistakes.add(
                f"{change.where}: no symptom {change.id!r} to edit{nearest(change.id or '', known)}; "
                "see  sympress lexicon list"
            )
        else:
            rows.append(change)
    return rows


def _edited(row: Row, change: Row, mistakes: Mistakes) -> Row:
    """Return `row` with the forms of `change` added and those it names removed."""
    have = {fold(form) for form in (*row.forms, *row.denials)} | {entry.form for entry in row.ambiguous}
    for form in change.remove_forms:
        if form not in have:
            mistakes.add(
                f"{change.where}: remove_forms names {form!r}, which is no form of {row.id!r}"
                f"{nearest(form, have)}; see  sympress lexicon show {row.id}"
            )
    gone = set(change.remove_forms)
    return replace(
        row,
        symptom=change.symptom or row.symptom,
        forms=(*(form for form in row.forms if fold(form) not in gone), *change.forms),
        codes=(*row.codes, *change.codes),
        ambiguous=(*(entry for entry in row.ambiguous if entry.form not in gone), *change.ambiguous),
        where=change.where,
        denials=(*(form for form in row.denials if fold(form) not in gone), *change.denials),
        misspelled=(*row.misspelled, *change.misspelled),
    )


def _combined(
    file: LexiconFile, words: Words, known: set[str], mistakes: Mistakes
) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    total = 0
    for template, ids in file.combined.items():
        where = f"{file.source}, [combined] {template[:60]!r}"
        if not ids:
            mistakes.add(f"{where}: no symptoms; list the ids that the form names together")
        for identifier in ids:
            if identifier not in known:
                mistakes.add(
                    f"{where}: no symptom {identifier!r}{nearest(identifier, known)}; use ids of the lexicon"
                )
        forms: list[str] = []
        with mistakes.noted():
            forms = expand_forms(template, words, where)
        total += len(forms)
        check_total(total, where)
        with mistakes.noted():
            for form in map(fold, forms):
                check_form(form, where)
                if found.setdefault(form, ids) != ids:
                    mistakes.add(f"{where}: the form {form!r} stands twice under [combined]; keep one")
    return found


def _listed(
    templates: tuple[str, ...], key: str, file: LexiconFile, words: Words, mistakes: Mistakes
) -> list[str]:
    """Return the forms of a list of the file that belongs to no symptom."""
    where = f"{file.source}, {key}"
    forms: list[str] = []
    with mistakes.noted():
        forms = [fold(form) for form in expand_all(templates, words, where)]
        if "" in forms:
            raise InputError(f"{file.source}: empty form under {key}; write one or remove it")
        for form in forms:
            check_form(form, where)
    return forms


def check_form(form: str, where: str) -> None:
    """Refuse a form that nothing in a note can be.

    Raises:
        InputError: it is empty, or has no letter and no digit.
    """
    if not form:
        raise InputError(f"{where}: empty form; write one or remove it")
    if not last_word(form):
        raise InputError(f"{where}: the form {form!r} has no letter and no digit; write one that has")


# `data/hpo/terms.tsv` holds, for each term below "Phenotypic abnormality", its id and the ids of its parents
# without `HP:`, its name, and those of its name and exact synonyms that are forms of a sign or symptom,
# between bars. It is written by `python -m benchmarks.hpo`.


COLUMNS = ("id", "parents", "name", "forms")
#: Between several values of one column.
JOINT = "|"
_RELEASE = re.compile(r"release (\d{4}-\d{2}-\d{2})")
_NO_ID = re.compile(r"[^a-z0-9]+")
_WHERE = "hpo/terms.tsv"


@dataclass(frozen=True, slots=True)
class Term:
    """A term of the ontology; `forms` are as written, and none where it is no sign or symptom."""

    code: str
    parents: tuple[str, ...]
    name: str
    forms: tuple[str, ...]


def read_terms() -> tuple[str, list[Term]]:
    """Return the release of the ontology and its terms, in its order."""
    text = (resources.files("sympress.labels") / "data" / "hpo" / "terms.tsv").read_text("utf-8")
    found = _RELEASE.search(text, 0, text.index("\n"))
    lines = (line.split("\t") for line in text.splitlines() if not line.startswith("#"))
    next(lines)
    terms = [
        Term(
            f"HP:{code}",
            tuple(f"HP:{one}" for one in parents.split(JOINT) if one),
            name,
            tuple(forms.split(JOINT)) if forms else (),
        )
        for code, parents, name, forms in lines
    ]
    return "" if found is None else found[1], terms


def lay_hpo(base: Draft) -> Draft:
    """Return `base` with the names of the ontology.

    A term is the symptom of `base` that has its code, or its name among its forms, and gives that symptom its
    own forms. Any other term with forms is a symptom of its own, with its code. Forms that `base` has already
    stay what they are there; a synonym says less than a name: `sunken eyes`, a form of dehydration, is one of
    enophthalmos too. Of a longer form in which `base` finds a symptom, see `_Inside`.
    """
    release, terms = read_terms()
    known, numbers = _Known(base), _Numbers(terms)
    symptoms = {term.code: known.symptom_of(term) for term in terms}
    inside = _Inside(base, terms, symptoms)
    added: dict[str, list[str]] = {}
    rows: list[Row] = []
    combined: dict[str, tuple[str, ...]] = {}
    for term in terms:
        free = [form for form in numbers.both(term.forms) if known.is_free(form)]
        if not free:
            continue
        same = symptoms[term.code]
        identifier = same or known.new_id(term)
        own: list[str] = []
        for form in free:
            named = inside.names(form, term.code, identifier)
            if named == (identifier,):
                own.append(form)
            elif named:
                combined[form] = named
        if same is not None:
            added.setdefault(same, []).extend(own)
        else:
            rows.append(Row(term.name, tuple(own), f"{_WHERE}, {term.code}", identifier, (term.code,)))
    edited = [
        replace(row, forms=(*row.forms, *added.pop(row.id))) if row.id in added else row for row in base.rows
    ]
    return replace(
        base,
        rows=(*edited, *rows),
        combined={**base.combined, **combined},
        ontologies={**base.ontologies, "HP": release},
    )


class _Numbers:
    """Adds to forms the singular or plural of their last word, where the ontology itself writes both."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self._forms = {fold(form) for term in terms for form in term.forms}
        last = {form.rpartition(" ")[2] for form in self._forms}
        self._plural = {word for word in last if f"{word}s" in last}

    def both(self, forms: Sequence[str]) -> list[str]:
        """`forms`, lower-cased, and those in the other number that no term has."""
        own = list(map(fold, forms))
        other = (self._other(form) for form in own)
        return list(dict.fromkeys((*own, *(form for form in other if form and form not in self._forms))))

    def _other(self, form: str) -> str | None:
        word = form.rpartition(" ")[2]
        if word in self._plural:
            return f"{form}s"
        return form[:-1] if word.endswith("s") and word[:-1] in self._plural else None


class _Known:
    """What a lexicon has already: ids, codes and forms."""

    def __init__(self, base: Draft) -> None:
        self._codes = {code: row.id for row in base.rows for code in row.codes}
        self._owners = {fold(form): row.id for row in base.rows for form in row.forms}
        self._taken = {*self._owners, *base.combined, *base.ignored, *base.denials}
        for row in base.rows:
            self._taken.update(map(fold, row.denials))
            self._taken.update(one.form for one in row.ambiguous)
        self._ids = {row.id for row in base.rows}
        self._new: set[str] = set()

    def is_free(self, form: str) -> bool:
        """Whether no form of the lexicon is written so."""
        return form not in self._taken

    def symptom_of(self, term: Term) -> str | None:
        """Id of the symptom that `term` is; None where it is another."""
        if term.code in self._codes:
            return self._codes[term.code]
        if (named := _as_id(term.name)) in self._ids:
            return named
        return self._owners.get(fold(term.name))

    def new_id(self, term: Term) -> str:
        """An id for a symptom of its own, made of the term's name."""
        made = _as_id(term.name)
        if made in self._new or made in self._ids:
            made = f"{made}-{term.code.lower().replace(':', '-')}"
        self._new.add(made)
        return made


def _as_id(name: str) -> str:
    plain = unicodedata.normalize("NFKD", fold(name)).encode("ascii", "ignore").decode("ascii")
    return _NO_ID.sub("-", plain).strip("-")


class _Inside:
    """Says what a longer form names in which the lexicon finds symptoms by itself.

    `chronic diarrhea` is a kind of diarrhea, in the ontology as well: the form names both, so that no answer
    of the lexicon is lost. `paralytic ileus` is no kind of paralysis: it names itself. `nausea and vomiting`
    is what the lexicon finds in it, two symptoms, and no third.
    """

    def __init__(self, base: Draft, terms: Sequence[Term], symptoms: Mapping[str, str | None]) -> None:
        self._parents = {term.code: term.parents for term in terms}
        self._above: dict[str, frozenset[str]] = {}
        own = {row.id: {one for one in row.codes if one in self._parents} for row in base.rows}
        above = {each: frozenset[str]().union(*map(self._ancestors, codes)) for each, codes in own.items()}
        self._codes = own  # of the terms that each symptom is, but for those that are wider than its codes
        for code, symptom in symptoms.items():
            if symptom is not None and code not in above[symptom]:
                own[symptom].add(code)
        self._forms: dict[str, str] = {}
        for row in base.rows:
            if row.id is not None:
                plain = [one.form for one in row.ambiguous if one.case == "any"]
                for form in (*row.forms, *plain):
                    self._forms.setdefault(fold(form).replace("-", " "), row.id)
        self._longest: dict[str, int] = {}  # words of the longest form that begins with each word
        for form in self._forms:
            first, length = form.partition(" ")[0], form.count(" ") + 1
            self._longest[first] = max(length, self._longest.get(first, 0))

    def names(self, form: str, code: str, identifier: str) -> tuple[str, ...]:
        """Ids of what `form` names: of the term with `code`, whose symptom is `identifier`, and of others."""
        found = self._found(words_of(form)) if " " in form or "-" in form else set()
        if len(found) > 1:
            return ()
        others = [one for one in found if one != identifier and self._is_kind_of(code, one)]
        return (*others, identifier)

    def _found(self, words: list[str]) -> set[str]:
        """The symptoms that the lexicon finds in words, leftmost and longest first."""
        found: set[str] = set()
        reached = 0
        for start, word in enumerate(words):
            longest = self._longest.get(word, 0)
            if not longest or start < reached:
                continue
            for end in range(min(len(words), start + longest), start, -1):
                symptom = self._forms.get(" ".join(words[start:end]))
                if symptom is not None:
                    found.add(symptom)
                    reached = end
                    break
        return found

    def _is_kind_of(self, code: str, symptom: str) -> bool:
        """Whether a term is below a symptom's; of one without a term any that has its words is."""
        codes = self._codes[symptom]
        return not codes or not self._ancestors(code).isdisjoint(codes)

    def _ancestors(self, code: str) -> frozenset[str]:
        if code not in self._above:
            up = self._parents.get(code, ())
            self._above[code] = frozenset({code}).union(*map(self._ancestors, up))
        return self._above[code]
