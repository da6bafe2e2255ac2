"""Lexicon files laid over one another: a file that extends another adds, overrides, edits and removes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
from sympress.labels.matching import fold, last_word
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
