"""Section files that a user wrote, laid over our headings or in their place (`docs/own-words.md`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sympress.errors import InputError, nearest
from sympress.labels.automaton import words_of
from sympress.labels.lexicon_forms import expand_all
from sympress.labels.matching import fold
from sympress.labels.mentions import ASSERTIONS
from sympress.labels.mistakes import Mistakes
from sympress.labels.sections import SectionBook, load_sections
from sympress.labels.toml_file import extends_ours, located, parse_table, texts_of

_FILE_KEYS = ("extends", "remove", "section")
_KEYS = ("kind", "assertion", "headings")

#: An assertion that a section may have; `present` takes ours away.
_PRESENT = ASSERTIONS[0]


@dataclass(frozen=True)
class SectionLayer:
    """A section file, laid over `base`, which is ours or nothing."""

    book: SectionBook
    base: SectionBook

    def counts(self) -> dict[str, int]:
        """How many headings the file adds, moves to another kind and removes, and kinds it changes."""
        before = dict(zip(self.base.headings, self.base.kinds, strict=True))
        after = dict(zip(self.book.headings, self.book.kinds, strict=True))
        said, says = self.base.assertions, self.book.assertions
        return {
            "headings added": len(after.keys() - before.keys()),
            "headings of ours moved": sum(before[one] != after[one] for one in before.keys() & after.keys()),
            "headings of ours removed": len(before.keys() - after.keys()),
            "kinds with another assertion": sum(said.get(k) != says.get(k) for k in {*before.values()}),
        }


def lay_sections(text: str, source: str) -> SectionLayer:
    """Return the headings of a TOML text laid over ours, or in their place with `extends = "none"`.

    A heading of ours that the text lists moves to the kind it lists it under; an `assertion` holds for all
    headings of its kind, and `present` for one whose mentions are asserted by their sentences alone.

    Args:
        text: tables `[[section]]` with `kind`, `assertion` and `headings`; `remove` and `extends`.
        source: what messages call the file.

    Raises:
        InputError: not TOML, or any mistake; the message names all of them with their places.
    """
    parsed = parse_table(text, source)
    mistakes = Mistakes()
    for key in parsed:
        if key not in _FILE_KEYS:
            mistakes.add(
                f"{source}: unknown key {key!r}{nearest(key, _FILE_KEYS)}; use {', '.join(_FILE_KEYS)}"
            )
    base = load_sections()
    with mistakes.noted():
        if not extends_ours(parsed, source):
            base = replace(base, headings=(), kinds=(), assertions={})
    pairs = dict(zip(base.headings, base.kinds, strict=True))
    known = set(pairs)
    own: dict[str, tuple[str, str]] = {}
    asserted: dict[str, tuple[str, str]] = {}
    tables: list[tuple[str, Any]] = []
    with mistakes.noted():
        tables = located(text, "section", parsed.get("section", []), source, "section")
    kinds = {*base.kinds, *(table["kind"] for _, table in tables if _brings_a_kind(table))}
    for where, table in tables:
        with mistakes.noted():
            _add(table, where, kinds, own, asserted)
    for heading in _removed(parsed, source, mistakes):
        if heading not in known:
            mistakes.add(
                f"{source}: remove names {heading!r}, which is no heading of ours{nearest(heading, known)}"
            )
        pairs.pop(heading, None)
    mistakes.raise_any()
    pairs |= {heading: kind for heading, (kind, _) in own.items()}
    says = {**base.assertions, **{kind: said for kind, (said, _) in asserted.items()}}
    says = {kind: said for kind, said in says.items() if said != _PRESENT}
    return SectionLayer(
        replace(base, headings=tuple(pairs), kinds=tuple(pairs.values()), assertions=says), base
    )


def _brings_a_kind(table: Any) -> bool:
    """Whether a table may give a kind of its own: one that says what it asserts."""
    return isinstance(table, dict) and isinstance(table.get("kind"), str) and "assertion" in table


def _add(
    table: Any,
    where: str,
    kinds: set[str],
    own: dict[str, tuple[str, str]],
    asserted: dict[str, tuple[str, str]],
) -> None:
    """Add one table to the headings and assertions so far, each with its place.

    Raises:
        InputError: it names every mistake of the table.
    """
    if not isinstance(table, dict):
        raise InputError(f"{where}: not a table; write [[section]] and its keys below it")
    mistakes = Mistakes()
    for key in table:
        if key not in _KEYS:
            mistakes.add(f"{where}: unknown key {key!r}{nearest(key, _KEYS)}; use {', '.join(_KEYS)}")
    kind = _kind_of(table, where, kinds, mistakes)
    said = table.get("assertion")
    if said is not None and said not in ASSERTIONS:
        close = nearest(said, ASSERTIONS) if isinstance(said, str) else ""
        mistakes.add(f"{where}: unknown assertion {said!r}{close}; use {', '.join(ASSERTIONS)}")
    elif said is not None:
        before, place = asserted.setdefault(kind, (said, where))
        if before != said:
            mistakes.add(f"{where}: the kind {kind!r} is both {said!r} and {before!r} ({place}); keep one")
    for heading in _headings_of(table, where, mistakes):
        other, place = own.setdefault(heading, (kind, where))
        if not words_of(heading):
            what = f"the heading {heading!r} has no letter and no digit" if heading else "empty heading"
            mistakes.add(f"{where}: {what}; write one or remove it")
        elif other != kind:
            mistakes.add(f"{where}: {heading!r} is both {kind!r} and {other!r} ({place}); keep one")
    mistakes.raise_any()


def _headings_of(table: Mapping[str, Any], where: str, mistakes: Mistakes) -> list[str]:
    headings: tuple[str, ...] = ()
    with mistakes.noted():
        headings = expand_all(texts_of(table, "headings", where), {}, where)
        if not headings and "assertion" not in table:
            mistakes.add(f'{where}: no headings; list them, e.g. headings = ["..."]')
    return list(map(fold, headings))


def _kind_of(table: Mapping[str, Any], where: str, kinds: set[str], mistakes: Mistakes) -> str:
    kind = table.get("kind")
    if not isinstance(kind, str) or not kind.strip():
        mistakes.add(f'{where}: no kind; name one in quotes, e.g. kind = "family"')
        return ""
    if kind not in kinds:
        mistakes.add(
            f"{where}: unknown kind {kind!r}{nearest(kind, kinds)}; use {', '.join(sorted(kinds))}, "
            "or give a kind of your own its assertion"
        )
    return kind


def _removed(parsed: Mapping[str, Any], source: str, mistakes: Mistakes) -> list[str]:
    with mistakes.noted():
        return [fold(heading) for heading in expand_all(texts_of(parsed, "remove", source), {}, source)]
    return []
