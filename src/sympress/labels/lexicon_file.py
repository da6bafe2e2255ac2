"""One lexicon file, TSV or TOML, as rows: what it says about each symptom, and where it says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from sympress.errors import InputError, nearest
from sympress.labels.lexicon_forms import Words, check_pattern, expand_all, expand_forms, expand_noted
from sympress.labels.matching import fold
from sympress.labels.mistakes import Mistakes
from sympress.labels.toml_file import lists_of, located, parse_table, texts_of

Case = Literal["any", "upper", "plural"]

_HEADERS = (["symptom", "form"], ["symptom", "form", "codes"])
_SYMPTOM_KEYS = ("name", "id", "codes", "forms")
_MORE_KEYS = ("patterns", "sites", "ambiguous", "misspelled", "denials", "add_forms", "remove_forms")
_ENTRY_KEYS = (*_SYMPTOM_KEYS, *_MORE_KEYS)
_CONDITIONS = ("not_before", "not_after", "only_before", "only_after")
_AMBIGUOUS_KEYS = ("form", "case", *_CONDITIONS, "also")
_LIST_KEYS = ("remove", "ignored", "denials", "denial_patterns")
_TABLE_KEYS = ("words", "patterns", "combined")
_FILE_KEYS = ("extends", "ontologies", "symptom", *_LIST_KEYS, *_TABLE_KEYS)


@dataclass(frozen=True)
class AmbiguousForm:
    """A form that may mean something else, and what must hold for it to count.

    Attributes:
        form: the form, lower-cased.
        case: `upper`: it counts only where the note writes it in capitals; `any`: however it is written.
        not_before: words and phrases, lower-cased; directly followed by one of them it does not count.
        not_after: the same; directly preceded by one of them it does not count.
        only_before: it counts only where one of them follows directly; empty for anywhere.
        only_after: it counts only where one of them stands directly before it; empty for anywhere.
        also: what else it may mean, for people to read.
    """

    form: str
    case: Case = "any"
    not_before: tuple[str, ...] = ()
    not_after: tuple[str, ...] = ()
    also: str = ""
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """What a file says about a symptom, and the place to name when it is wrong; forms are as written.

    `denials` are forms that say the symptom is absent (`afebrile`); of `misspelled` words, slips of the pen
    are forms, too.
    """

    symptom: str
    forms: tuple[str, ...]
    where: str
    id: str | None = None
    codes: tuple[str, ...] = ()
    ambiguous: tuple[AmbiguousForm, ...] = ()
    edits: bool = False
    remove_forms: tuple[str, ...] = ()
    denials: tuple[str, ...] = ()
    misspelled: tuple[str, ...] = ()


@dataclass(frozen=True)
class LexiconFile:
    """A TOML lexicon as parsed, its tables of the right kind but not yet expanded."""

    source: str
    extends: str | None
    remove: tuple[str, ...]
    ontologies: Mapping[str, str]
    words: Words
    patterns: Words
    combined: Words
    ignored: tuple[str, ...]
    denials: tuple[str, ...] = ()
    denial_patterns: tuple[str, ...] = ()
    entries: list[tuple[str, Any]] = field(default_factory=list)


def tsv_rows(text: str, source: str) -> list[Row]:
    """Return the rows of a TSV lexicon; `source` is what messages call the file.

    Raises:
        InputError: a bad header, or rows with more columns than it has, all of them named.
    """
    lines = [
        (number, [cell.strip() for cell in line.split("\t")])
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not lines:
        return []
    number, header = lines[0]
    if header not in _HEADERS:
        raise InputError(
            f"{source}, line {number}: bad header; write symptom<TAB>form or symptom<TAB>form<TAB>codes"
        )
    rows, mistakes = [], Mistakes()
    for number, cells in lines[1:]:
        where = f"{source}, line {number}"
        if len(cells) > len(header):
            mistakes.add(
                f"{where}: {len(cells)} columns, the header has {len(header)}; remove the extra tabs"
            )
            continue
        symptom, form, codes = (*cells, "", "")[:3]
        found = tuple(code.strip() for code in codes.split(";") if code.strip())
        rows.append(Row(symptom, (form,), where, codes=found))
    mistakes.raise_any()
    return rows


def parse_toml(text: str, source: str, mistakes: Mistakes) -> LexiconFile:
    """Return what a TOML lexicon holds, without what is wrong with it, which is noted in `mistakes`.

    Args:
        text: of the file.
        source: what messages call it.
        mistakes: takes unknown keys and tables of the wrong kind.

    Raises:
        InputError: not TOML.
    """
    parsed = parse_table(text, source)
    for key in parsed:
        if key not in _FILE_KEYS:
            mistakes.add(
                f"{source}: unknown key {key!r}{nearest(key, _FILE_KEYS)}; entries are [[symptom]] tables"
            )
    extends = parsed.get("extends")
    if not isinstance(extends, str | None):
        mistakes.add(f'{source}: extends must be one name or path in quotes, e.g. extends = "clinical"')
        extends = None
    ontologies = parsed.get("ontologies", {})
    if not isinstance(ontologies, dict) or not all(isinstance(value, str) for value in ontologies.values()):
        mistakes.add(f'{source}: [ontologies] gives versions in quotes, e.g. HP = "2026-02-16"')
        ontologies = {}
    texts: dict[str, Any] = dict.fromkeys(_LIST_KEYS, ())
    for key in texts:
        with mistakes.noted():
            texts[key] = texts_of(parsed, key, source)
    for pattern in texts["denial_patterns"]:
        if "{form}" not in pattern:
            mistakes.add(
                f"{source}: the denial pattern {pattern!r} has no {{form}}; add it, or move it to denials"
            )
    texts["denial_patterns"] = tuple(one for one in texts["denial_patterns"] if "{form}" in one)
    tables: dict[str, Any] = {key: {} for key in _TABLE_KEYS}
    for key in tables:
        with mistakes.noted():
            tables[key] = lists_of(parsed, key, source)
    entries: list[tuple[str, Any]] = []
    with mistakes.noted():
        entries = located(text, "symptom", parsed.get("symptom", []), source)
    return LexiconFile(source, extends, ontologies=ontologies, entries=entries, **texts, **tables)


def toml_row(entry: Any, where: str, words: Words, patterns: Words, mistakes: Mistakes) -> Row | None:
    """Return one `[[symptom]]` table as a row, its forms and patterns expanded; None if it names no symptom.

    What is wrong with it is noted and left out, so that the rest is still compared with other entries.

    Args:
        entry: the table as parsed.
        where: what messages call its place.
        words: the lists of `[words]`, expanded.
        patterns: the groups of `[patterns]`, by name.
        mistakes: takes an unknown key, a value of the wrong kind, or a template that cannot be expanded.

    Raises:
        InputError: the templates stand for more forms than fit.
    """
    if not isinstance(entry, dict):
        mistakes.add(f"{where}: not a table; an entry is a [[symptom]] table with name and forms")
        return None
    before = len(mistakes)

    def expanded(key: str) -> tuple[str, ...]:
        listed: tuple[str, ...] = ()
        with mistakes.noted():
            listed = texts_of(entry, key, where)
        return expand_noted(listed, words, where, mistakes)

    for key in entry:
        if key not in _ENTRY_KEYS:
            mistakes.add(
                f"{where}: unknown key {key!r}{nearest(key, _ENTRY_KEYS)}; use {', '.join(_SYMPTOM_KEYS)}"
            )
    name, identifier = entry.get("name", ""), entry.get("id")
    if not isinstance(name, str) or not isinstance(identifier, str | None):
        mistakes.add(f"{where}: name and id must be text in quotes")
        return None
    edits = "add_forms" in entry or "remove_forms" in entry
    if edits and "forms" in entry:
        mistakes.add(f"{where}: forms replaces, add_forms and remove_forms edit; write one of the two")
    if edits and identifier is None:
        mistakes.add(f"{where}: add_forms and remove_forms need the id of the symptom that they edit")
        return None
    forms = expanded("add_forms" if edits else "forms")
    ambiguous: tuple[AmbiguousForm, ...] = ()
    codes: tuple[str, ...] = ()
    with mistakes.noted():
        forms = (*forms, *_site_forms(entry, where, words, patterns))
    with mistakes.noted():
        ambiguous = _ambiguous(entry, where, words)
    with mistakes.noted():
        codes = texts_of(entry, "codes", where)
    misspelled, denials = expanded("misspelled"), expanded("denials")
    gone = tuple(map(fold, expanded("remove_forms")))
    if not (forms or ambiguous or edits) and len(mistakes) == before:
        forms = ("",)
    return Row(name.strip(), forms, where, identifier, codes, ambiguous, edits, gone, denials, misspelled)


def _site_forms(entry: dict[str, Any], where: str, words: Words, patterns: Words) -> tuple[str, ...]:
    """Return the forms of an entry's patterns at its sites."""
    sites = expand_all(texts_of(entry, "sites", where), words, where)
    templates: list[str] = []
    for pattern in texts_of(entry, "patterns", where):
        if not pattern.startswith("@"):
            check_pattern(pattern, where)
            templates.append(pattern)
        elif pattern[1:] in patterns:
            templates.extend(patterns[pattern[1:]])
        else:
            raise InputError(
                f"{where}: no patterns {pattern!r}{nearest(pattern[1:], patterns)}; "
                "define them under [patterns]"
            )
    if bool(sites) != bool(templates):
        missing = "patterns" if sites else "sites"
        raise InputError(f"{where}: sites and patterns go together; add {missing}")
    return expand_all(tuple(templates), {**words, "site": sites}, where)


def _ambiguous(entry: dict[str, Any], where: str, words: Words) -> tuple[AmbiguousForm, ...]:
    tables = entry.get("ambiguous", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f'{where}: ambiguous must be a list of tables, e.g. ambiguous = [{{ form = "CP" }}]')
    found = []
    for table in tables:
        for key in table:
            if key not in _AMBIGUOUS_KEYS:
                raise InputError(
                    f"{where}: unknown key {key!r} of an ambiguous form{nearest(key, _AMBIGUOUS_KEYS)}; "
                    f"use {', '.join(_AMBIGUOUS_KEYS)}"
                )
        form, case, also = table.get("form", ""), table.get("case", "any"), table.get("also", "")
        if not isinstance(form, str) or not isinstance(also, str):
            raise InputError(f"{where}: form and also of an ambiguous form must be text in quotes")
        if case not in get_args(Case):
            raise InputError(
                f"{where}: case {case!r} of {form!r} is unknown; use {' or '.join(get_args(Case))}"
            )
        conditions = {
            key: tuple(map(fold, expand_all(texts_of(table, key, where), words, where)))
            for key in _CONDITIONS
        }
        found += [
            AmbiguousForm(fold(one), case, also=also, **conditions)
            for one in expand_forms(form.strip(), words, where)
        ]
    return tuple(found)
