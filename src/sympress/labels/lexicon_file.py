"""One lexicon file, TSV or TOML, with its templates for surface forms."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal, get_args

from sympress.errors import InputError, nearest
from sympress.labels.matching import fold
from sympress.labels.user_files import Mistakes, lists_of, located, parse_table, texts_of

# Short templates for surface forms: `vomit{,s,ed,ing}`, `pain in {the} {site}`.
#
# `{a,b,c}` stands for one of the alternatives between the commas, an empty one for nothing; `{name}` for
# one of the words of a list that the lexicon's file names. Braces do not nest.


#: The placeholder of a pattern: one of the symptom's own `sites`.
SITE = "{site}"

#: The most forms that one template may stand for; our largest stands for 14,706.
MOST_FORMS = 100_000

#: The most forms of the templates of one entry together, and of the entries of a file.
MOST_FORMS_TOGETHER = 500_000

#: Letters of the longest word whose misspellings are looked for; there are a few for each.
LONGEST_MISSPELLED = 60

_BRACES = re.compile(r"\{([^{}]*)\}")

_VOWELS = "aeiouy"

Words = Mapping[str, tuple[str, ...]]


def expand_forms(template: str, words: Words, where: str, *, most: int | None = MOST_FORMS) -> list[str]:
    """Return every form that `template` stands for, in order, with single spaces.

    Args:
        template: text with `{a,b}` alternatives and `{name}` lists.
        words: the lists by name.
        where: what an error names.
        most: the most forms; None for as many as there are.

    Raises:
        InputError: a list that is not there, a brace without its other half, or more than `most`.
    """
    if "{" not in template and "}" not in template:
        return [" ".join(template.split())]
    choices = _choices(split_template(template, words, where), words)
    count = math.prod(map(len, choices))
    if most is not None and count > most:
        raise InputError(
            f"{where}: {_shown(template)} stands for {_amount(count)} forms, more than {most:,}; "
            "name fewer alternatives"
        )
    return _joined(choices)


def count_forms(template: str, words: Words, where: str) -> int:
    """Return how many forms `template` stands for, repeated ones included, without writing them out.

    Raises:
        InputError: a list that is not there, or a brace without its other half.
    """
    return math.prod(map(len, _choices(split_template(template, words, where), words)))


def _amount(count: int) -> str:
    return f"{count:,}" if count < 10**12 else f"some 10^{round(math.log10(count))}"


def _shown(template: str) -> str:
    return repr(template if len(template) <= 60 else f"{template[:57]}…")


def expand_within(template: str, words: Words, where: str, can_stand: Callable[[str], bool]) -> list[str]:
    """Return those of `expand_forms` of which every alternative between spaces can stand, and perhaps others.

    Args:
        template: text with `{a,b}` alternatives and `{name}` lists.
        words: the lists by name.
        where: what an error names.
        can_stand: told one alternative.

    Raises:
        InputError: as `expand_forms`.
    """
    pieces = split_template(template, words, where)
    choices = _choices(pieces, words)
    for k in range(1, len(pieces), 2):
        before, behind = pieces[k - 1], pieces[k + 1]
        starts = before[-1:].isspace() or (k == 1 and not before)
        if starts and (behind[:1].isspace() or (k == len(pieces) - 2 and not behind)):
            choices[k] = tuple(filter(can_stand, choices[k]))
    return _joined(choices)


def _choices(pieces: Sequence[str], words: Words) -> list[tuple[str, ...]]:
    return [
        (piece,) if k % 2 == 0 else tuple(piece.split(",")) if "," in piece else words[piece]
        for k, piece in enumerate(pieces)
    ]


def _joined(choices: Sequence[Sequence[str]]) -> list[str]:
    found = map("".join, product(*choices))
    # Most forms have single spaces already, and a lexicon has tens of thousands.
    return list(dict.fromkeys(" ".join(form.split()) if "  " in form else form.strip() for form in found))


def split_template(template: str, words: Words, where: str) -> list[str]:
    """Return the text between braces (0, 2, …) and what stands in them (1, 3, …).

    Raises:
        InputError: as `expand_forms`.
    """
    pieces = _BRACES.split(template)
    if any("{" in piece or "}" in piece for piece in pieces[::2]):
        raise InputError(
            f"{where}: {_shown(template)} has a brace without its other half; write {{a,b}} or {{name}}"
        )
    pieces[1::2] = [_checked(piece, template, words, where) for piece in pieces[1::2]]
    return pieces


def misspellings(word: str) -> list[str]:
    """Return `word` with one slip of the pen, its first letter kept.

    One letter is missing or doubled, two neighbours are swapped, or a vowel stands for another one.
    """
    made: dict[str, None] = {}
    for k in range(1, len(word)):
        head, letter, tail = word[:k], word[k], word[k + 1 :]
        slips = [tail, letter + letter + tail]
        if tail:
            slips.append(tail[0] + letter + tail[1:])
        if letter in _VOWELS:
            slips += [vowel + tail for vowel in _VOWELS]
        made.update(dict.fromkeys(head + slip for slip in slips))
    made.pop(word, None)
    return list(made)


def fixed_text(template: str) -> str:
    """Return what of `template` stands in every form: words that touch no brace, between single spaces."""
    return " ".join(token for token in _BRACES.sub("{", template).split() if "{" not in token)


def expand_all(templates: tuple[str, ...], words: Words, where: str) -> tuple[str, ...]:
    """Return the forms of several templates in order, each once.

    Raises:
        InputError: as `expand_forms`, for every template that is wrong, or more than `MOST_FORMS_TOGETHER`.
    """
    mistakes = Mistakes()
    found = expand_noted(templates, words, where, mistakes)
    mistakes.raise_any()
    return found


def expand_noted(templates: tuple[str, ...], words: Words, where: str, mistakes: Mistakes) -> tuple[str, ...]:
    """Return the forms of the templates that are right, each once; what is wrong with others is noted.

    Raises:
        InputError: more than `MOST_FORMS_TOGETHER`.
    """
    found: dict[str, None] = {}
    for template in templates:
        with mistakes.noted():
            found.update(dict.fromkeys(expand_forms(template, words, where)))
        check_total(len(found), where)
    return tuple(found)


def check_total(count: int, where: str) -> None:
    """Refuse more forms than fit.

    Raises:
        InputError: more than `MOST_FORMS_TOGETHER`.
    """
    if count > MOST_FORMS_TOGETHER:
        raise InputError(
            f"{where}: the templates stand for more than {MOST_FORMS_TOGETHER:,} forms together; "
            "name fewer alternatives"
        )


def check_pattern(pattern: str, where: str) -> None:
    """Refuse a pattern that names no site.

    Raises:
        InputError: `{site}` is not in it.
    """
    if SITE not in pattern:
        raise InputError(f"{where}: the pattern {pattern!r} has no {SITE}; add it, or move it to forms")


def _checked(piece: str, template: str, words: Words, where: str) -> str:
    if "," in piece or piece in words:
        return piece
    hint = "give the entry sites and use patterns" if piece == "site" else "define it under [words]"
    raise InputError(
        f"{where}: no list {piece!r} for {_shown(template)}{nearest(piece, words)}; {hint}, or write {{a,b}}"
    )


# One lexicon file, TSV or TOML, as rows: what it says about each symptom, and where it says it.


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
