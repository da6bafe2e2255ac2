"""Cue files that a user wrote, laid over our cues or in their place.

`docs/own-words.md` shows one. A phrase of ours that the file lists does only what the file says; words of
`[words]` are added to our list of that name; phrases under `remove` are no cues any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from sympress.errors import InputError, nearest
from sympress.labels.assertion.cues import CUE_TABLES, Cue, CueBook, load_cues, read_cue
from sympress.labels.automaton import words_of
from sympress.labels.lexicon_forms import (
    MOST_FORMS,
    MOST_FORMS_TOGETHER,
    Words,
    check_total,
    count_forms,
    expand_all,
    expand_forms,
    expand_within,
    fixed_text,
)
from sympress.labels.matching import fold
from sympress.labels.mistakes import Mistakes
from sympress.labels.toml_file import extends_ours, lists_of, located, parse_table, texts_of

_FILE_KEYS = ("extends", "remove", "words", *CUE_TABLES)

#: What a table must have beside its phrases, with an example.
_NEEDED = {"cue": {"assertion": '"absent"'}, "stop": {"ends": '["absent"]'}}

#: Answers to whether it is there: a phrase can't give two of them in one direction. The past and the family
#: say something else, and may stand beside each: `no history of` is absent and historical.
_EXCLUSIVE = frozenset({"absent", "possible", "hypothetical"})


@dataclass(frozen=True)
class CueLayer:
    """A cue file, laid over.

    Attributes:
        book: the cues that hold.
        listed: the phrases that the file lists, lower-cased.
        base: the cues before it: ours, or none.
    """

    book: CueBook
    listed: frozenset[str]
    base: CueBook

    def counts(self) -> dict[str, int]:
        """How many phrases the file adds, changes and removes; a fifth of a second."""
        before, after = set(self.base.every.phrases), set(self.book.every.phrases)
        return {
            "phrases added": len(after - before),
            "phrases of ours changed": len(self.listed & before),
            "phrases of ours removed": len(before - after),
        }


@dataclass(frozen=True)
class _Rule:
    """A template of the file: what it does, the phrases it stands for, and its place."""

    template: str
    cue: Cue
    phrases: tuple[str, ...]
    where: str


def lay_cues(text: str, source: str) -> CueLayer:
    """Return the cues of a TOML text laid over ours, or in their place with `extends = "none"`.

    Args:
        text: tables `[[cue]]`, `[[pseudo]]`, `[[stop]]`, lists under `[words]`, `remove` and `extends`.
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
    base = load_cues()
    with mistakes.noted():
        base = base if extends_ours(parsed, source) else replace(base, rules=(), words={})
    words = _words(parsed, base, source, mistakes)
    rules = _rules(text, parsed, words, source, mistakes)
    _find_contradictions(rules, mistakes)
    for name in words:
        if name not in base.words and f"{{{name}}}" not in text:
            near = nearest(name, base.words)
            mistakes.add(
                f"{source}, [words] {name}: no phrase names this list{near}; write {{{name}}} in one"
            )
    listed = frozenset(phrase for rule in rules for phrase in rule.phrases)
    removed = _removed(parsed, words, source, mistakes)
    with mistakes.noted():
        _check_size(base, words, source)
        _check_removed(base, words, removed, source)
    mistakes.raise_any()
    kept = without_phrases(base.rules, words, listed | removed)
    own = [(rule.template, rule.cue, rule.where) for rule in rules]
    return CueLayer(replace(base, rules=(*kept, *own), words=words), listed, base)


def without_phrases(
    rules: Iterable[tuple[str, Cue, str]], words: Words, gone: frozenset[str]
) -> list[tuple[str, Cue, str]]:
    """Return `rules` so that none stands for a phrase of `gone`, which are lower-cased.

    A template that stands for one is written out without it.
    """
    every = frozenset(word for phrase in gone for word in words_of(phrase))

    def can_stand(alternative: str) -> bool:
        return every.issuperset(words_of(alternative))

    kept: list[tuple[str, Cue, str]] = []
    for template, cue, where in rules:
        hit = False
        if gone and every.issuperset(words_of(fixed_text(template))):
            hit = any(fold(form) in gone for form in expand_within(template, words, where, can_stand))
        if hit:
            whole = expand_forms(template, words, where)
            kept += [(form, cue, where) for form in whole if fold(form) not in gone]
        else:
            kept.append((template, cue, where))
    return kept


def _words(parsed: Mapping[str, Any], base: CueBook, source: str, mistakes: Mistakes) -> Words:
    """Return the lists, those of the file added to ours."""
    words: dict[str, tuple[str, ...]] = dict(base.words)
    own: Words = {}
    with mistakes.noted():
        own = lists_of(parsed, "words", source)
    for name, listed in own.items():
        where = f"{source}, [words] {name}"
        added: tuple[str, ...] = ()
        with mistakes.noted():
            added = expand_all(listed, words, where)
        if "" in added and name in base.words:
            mistakes.add(f"{where}: an empty word; it would make our list optional, remove it")
        if not listed:
            mistakes.add(f"{where}: no words; list some or remove it")
        words[name] = tuple(dict.fromkeys((*words.get(name, ()), *added)))
    return words


def _rules(
    text: str, parsed: Mapping[str, Any], words: Words, source: str, mistakes: Mistakes
) -> list[_Rule]:
    """Return the templates of every table that can be read."""
    rules: list[_Rule] = []
    total = 0
    for role in CUE_TABLES:
        places: list[tuple[str, Any]] = []
        with mistakes.noted():
            places = located(text, role, parsed.get(role, []), source, role)
        for where, table in places:
            cue, templates = _read_table(role, table, where, mistakes)
            for template in templates:
                phrases: tuple[str, ...] = ()
                with mistakes.noted():
                    phrases = _expanded(template, words, where)
                total += len(phrases)
                check_total(total, where)
                if cue is not None:
                    rules.append(_Rule(template, cue, phrases, where))
    return rules


def _expanded(template: str, words: Words, where: str) -> tuple[str, ...]:
    phrases = tuple(map(fold, expand_forms(template, words, where)))
    for phrase in phrases:
        if not phrase:
            raise InputError(f"{where}: {template!r} stands for an empty phrase; write one or remove it")
        if not words_of(phrase):
            raise InputError(f"{where}: the phrase {phrase!r} has no letter and no digit; write one that has")
    return phrases


def _read_table(role: str, table: Any, where: str, mistakes: Mistakes) -> tuple[Cue | None, tuple[str, ...]]:
    """Return what a table says and its templates; None where a key is wrong, and each wrong key is noted."""
    keys = CUE_TABLES[role]
    if not isinstance(table, dict):
        mistakes.add(f"{where}: not a table; write [[{role}]] and its keys below it")
        return None, ()
    templates: tuple[str, ...] = ()
    with mistakes.noted():
        templates = texts_of(table, "phrases", where)
        if not templates:
            mistakes.add(f'{where}: no phrases; list them, e.g. phrases = ["..."]')
    wrong = False
    for key, value in table.items():
        problem = _problem(role, key, value, where, keys)
        if problem is not None:
            mistakes.add(problem)
            wrong = True
    for needed, example in _NEEDED.get(role, {}).items():
        if not table.get(needed):
            mistakes.add(f"{where}: no {needed}; write what its phrases do, e.g. {needed} = {example}")
            wrong = True
    if wrong:
        return None, templates
    cue: Cue | None = None
    with mistakes.noted():
        cue = read_cue(role, {**table, "phrases": list(templates)}, where)
    return cue, templates


def _problem(role: str, key: str, value: Any, where: str, keys: frozenset[str]) -> str | None:
    """Return what is wrong with one key of a table, by itself."""
    if key not in keys:
        return f"{where}: unknown key {key!r}{nearest(key, keys)}; the keys are {', '.join(sorted(keys))}"
    if key == "phrases":
        return None
    wanted = _KINDS.get(key)
    if wanted is not None and not wanted.fits(value):
        return f"{where}: {key} must be {wanted.said}"
    try:
        read_cue(role, {"phrases": ["x"], key: value}, where)
    except InputError as error:
        return str(error)
    except (TypeError, ValueError, AttributeError):
        return f"{where}: {key} has a value of the wrong kind; see docs/own-words.md"
    return None


@dataclass(frozen=True)
class _Kind:
    """What a value must be, by the default of the field of `Cue` that it fills."""

    default: object
    said: str

    def fits(self, value: Any) -> bool:
        if isinstance(self.default, bool):
            return isinstance(value, bool)
        if isinstance(self.default, int):
            return isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if isinstance(self.default, frozenset | tuple):
            return isinstance(value, list) and all(isinstance(one, str) for one in value)
        return isinstance(value, str)


def _kinds() -> dict[str, _Kind]:
    said = {bool: "true or false", int: "a whole number", str: "text in quotes"}
    defaults = {one.name: one.default for one in fields(Cue) if one.default is not MISSING}
    defaults["direction"] = "forward"
    return {
        name: _Kind(default, said.get(type(default), 'a list of texts, e.g. ["..."]'))
        for name, default in defaults.items()
    }


_KINDS = _kinds()


def _find_contradictions(rules: Iterable[_Rule], mistakes: Mistakes) -> None:
    """Note each phrase to which the file gives two roles that exclude each other."""
    seen: dict[str, list[_Rule]] = {}
    for rule in rules:
        for phrase in rule.phrases:
            others = seen.setdefault(phrase, [])
            for other in others:
                said = _contradiction(other.cue, rule.cue)
                if said is not None:
                    mistakes.add(f"{rule.where}: {phrase!r} is {said} ({other.where}); keep one")
                    break
            others.append(rule)


def _contradiction(first: Cue, second: Cue) -> str | None:
    if first == second:
        return None
    if "pseudo" in {first.role, second.role} and first.role != second.role:
        real = first.role if second.role == "pseudo" else second.role
        return f"both a {real} and a pseudo"
    if first.role != "cue" or second.role != "cue" or first.forward != second.forward:
        return None
    direction = "forward" if first.forward else "backward"
    if first.assertion == second.assertion:
        return f"{first.assertion!r} twice {direction}, with different settings"
    if {first.assertion, second.assertion} <= _EXCLUSIVE:
        return f"both {first.assertion!r} and {second.assertion!r} {direction}"
    return None


def _removed(parsed: Mapping[str, Any], words: Words, source: str, mistakes: Mistakes) -> frozenset[str]:
    where = f"{source}, remove"
    found: frozenset[str] = frozenset()
    with mistakes.noted():
        found = frozenset(map(fold, expand_all(texts_of(parsed, "remove", source), words, where)))
    return found - {""}


def _check_size(base: CueBook, words: Words, source: str) -> None:
    """Refuse lists that make our templates stand for more phrases than fit.

    Raises:
        InputError: they do.
    """
    total = 0
    for template, _, where in base.rules:
        count = count_forms(template, words, where)
        total += count
        if count > MOST_FORMS or total > MOST_FORMS_TOGETHER:
            raise InputError(
                f"{source}, [words]: with these words our phrases are more than {MOST_FORMS_TOGETHER:,}; "
                "list fewer"
            )


def _check_removed(base: CueBook, words: Words, removed: frozenset[str], source: str) -> None:
    """Refuse to remove what is no phrase of ours.

    Raises:
        InputError: it names every such phrase.
    """
    mistakes = Mistakes()
    known = frozenset(replace(base, words=words).every.phrases) if removed else frozenset()
    for phrase in sorted(removed - known):
        mistakes.add(
            f"{source}: remove names {phrase!r}, which is no phrase of ours{_nearest(phrase, known)}"
        )
    mistakes.raise_any()


def _nearest(phrase: str, known: Iterable[str]) -> str:
    first = phrase[:1]
    return nearest(phrase, [one for one in known if one[:1] == first and abs(len(one) - len(phrase)) < 4])
