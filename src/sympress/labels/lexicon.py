"""A lexicon: symptoms in order, each with the surface forms that name it in a note.

The order matters: the paper's rule labels a note with the first entry that occurs in it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from sympress.errors import InputError, nearest
from sympress.labels.matching import fold

#: Lexicons that come with sympress, by the name that `--lexicon` takes.
BUILT_IN = {"paper": "paper.tsv"}

_HEADERS = (["symptom", "form"], ["symptom", "form", "codes"])
_TOML_KEYS = ("name", "id", "codes", "forms")


@dataclass(frozen=True)
class Symptom:
    """One entry of a lexicon; `forms` are lower-cased, in the order they are tried."""

    name: str
    forms: tuple[str, ...]
    id: str | None = None
    codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lexicon:
    """Symptoms in lexicon order."""

    name: str
    symptoms: tuple[Symptom, ...]


@dataclass(frozen=True)
class _Row:
    """What a file says about a symptom, and the place to name when it is wrong."""

    symptom: str
    forms: tuple[str, ...]
    where: str
    id: str | None = None
    codes: tuple[str, ...] = ()


def load_lexicon(source: str | Path) -> Lexicon:
    """Return a built-in lexicon by name, or read one from a TSV or TOML file.

    A TSV file has the header `symptom<TAB>form` or `symptom<TAB>form<TAB>codes` (codes separated by
    `;`); a symptom may stand on several lines and takes the place of the first. A TOML file has one
    `[[symptom]]` table an entry with `name`, `forms` and optionally `id` and `codes`. Blank lines and
    lines that start with `#` are comments. Forms are lower-cased.

    Raises:
        InputError: no such lexicon or file, a file that cannot be read, a bad header, an empty form,
            a form under two symptoms, or no entry at all. The message names the file and the line.
    """
    if str(source) in BUILT_IN:
        data = resources.files("sympress.labels") / "data" / BUILT_IN[str(source)]
        return _build(str(source), _tsv_rows(data.read_text(encoding="utf-8"), str(source)), str(source))
    path = Path(source)
    readers = {".tsv": _tsv_rows, ".toml": _toml_rows}
    if not path.is_file():
        if path.suffix.lower() in readers:
            raise InputError(f"{path}: no such file; check the path of the lexicon")
        raise InputError(f"no lexicon {str(source)!r}{nearest(str(source), BUILT_IN)}; there is {_names()}")
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: a lexicon file ends in .tsv or .toml; rename or convert it")
    return _build(path.stem, reader(_decoded(path), str(path)), str(path))


def load_forms(file: str) -> dict[str, tuple[str, ...]]:
    """Return the forms of each symptom of a TSV file that comes with sympress; forms may be shared."""
    forms: dict[str, list[str]] = {}
    for row in _tsv_rows((resources.files("sympress.labels") / "data" / file).read_text("utf-8"), file):
        forms.setdefault(row.symptom, []).extend(row.forms)
    return {name: tuple(found) for name, found in forms.items()}


def _names() -> str:
    return " or ".join(repr(name) for name in BUILT_IN) + ", or the path of a .tsv or .toml file"


def _decoded(path: Path) -> str:
    try:
        raw = path.read_bytes()
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8; save the lexicon as UTF-8") from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check the file's permissions"
        ) from error


def _tsv_rows(text: str, source: str) -> list[_Row]:
    """Return the rows of a TSV lexicon; `source` is what messages call the file."""
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
    rows = []
    for number, cells in lines[1:]:
        where = f"{source}, line {number}"
        if len(cells) > len(header):
            raise InputError(
                f"{where}: {len(cells)} columns, the header has {len(header)}; remove the extra tabs"
            )
        symptom, form, codes = (*cells, "", "")[:3]
        found = tuple(code.strip() for code in codes.split(";") if code.strip())
        rows.append(_Row(symptom, (form,), where, codes=found))
    return rows


def _toml_rows(text: str, source: str) -> list[_Row]:
    """Return the rows of a TOML lexicon; `source` is what messages call the file."""
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The parser's own message ends in "(at line L, column C)".
        raise InputError(f"{source}: not valid TOML: {error}; correct that line") from error
    unknown = [key for key in parsed if key != "symptom"]
    if unknown:
        raise InputError(f"{source}: unknown key {unknown[0]!r}; entries are [[symptom]] tables")
    entries = parsed.get("symptom", [])
    if not isinstance(entries, list):
        raise InputError(f"{source}: [symptom] is one table; write [[symptom]] for each entry")
    # tomllib keeps no positions: the n-th [[symptom]] header of the file is the n-th entry.
    headers = [
        n for n, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*symptom\s*\]\]", line)
    ]
    located = len(headers) == len(entries)
    return [
        _toml_row(entry, f"{source}, line {headers[k]}" if located else f"{source}, entry {k + 1}")
        for k, entry in enumerate(entries)
    ]


def _toml_row(entry: Any, where: str) -> _Row:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: not a table; an entry is a [[symptom]] table with name and forms")
    for key in entry:
        if key not in _TOML_KEYS:
            raise InputError(
                f"{where}: unknown key {key!r}{nearest(key, _TOML_KEYS)}; use {', '.join(_TOML_KEYS)}"
            )
    name, identifier = entry.get("name", ""), entry.get("id")
    if not isinstance(name, str) or not isinstance(identifier, str | None):
        raise InputError(f"{where}: name and id must be text in quotes")
    forms, codes = entry.get("forms", []), entry.get("codes", [])
    for key, values in (("forms", forms), ("codes", codes)):
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise InputError(f'{where}: {key} must be a list of texts, e.g. {key} = ["..."]')
    return _Row(name.strip(), tuple(form.strip() for form in forms) or ("",), where, identifier, tuple(codes))


def _build(name: str, rows: Iterable[_Row], source: str) -> Lexicon:
    """Return the lexicon of `rows`, symptoms in the order in which they first stand."""
    forms: dict[str, list[str]] = {}
    ids: dict[str, str | None] = {}
    codes: dict[str, dict[str, None]] = {}
    owners: dict[str, tuple[str, str]] = {}
    for row in rows:
        if not row.symptom:
            raise InputError(f"{row.where}: empty symptom name; write one or remove the entry")
        ids.setdefault(row.symptom, row.id)
        codes.setdefault(row.symptom, {}).update(dict.fromkeys(row.codes))
        for form in map(fold, row.forms):
            if not form:
                raise InputError(
                    f"{row.where}: empty form for {row.symptom!r}; write one or remove the entry"
                )
            owner, place = owners.setdefault(form, (row.symptom, row.where))
            if owner != row.symptom:
                raise InputError(
                    f"{row.where}: the form {form!r} of {row.symptom!r} already belongs to {owner!r} "
                    f"({place}); keep it under one symptom"
                )
            if form not in (known := forms.setdefault(row.symptom, [])):
                known.append(form)
    if not forms:
        raise InputError(f"{source}: no entries; a lexicon needs at least one symptom with a form")
    return Lexicon(
        name, tuple(Symptom(key, tuple(value), ids[key], tuple(codes[key])) for key, value in forms.items())
    )
