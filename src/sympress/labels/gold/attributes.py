"""What attributes and labels of other tools' schemes assert: the table `labels/data/gold_attributes.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from sympress.errors import InputError
from sympress.labels.mentions import ASSERTIONS, Assertion

_TABLE = "gold_attributes.toml"
#: What separates the parts of a name: anything but letters, digits and signs, between letters and digits.
_BETWEEN = re.compile(r"(?<=[^\W_])[\W_]+(?=[^\W_])")
_AROUND = " \t\r\n_\"'`()[]{}.,:;|/#*"
_PART = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SIGN = re.compile(r"(?<=\w)[\s_|:/]*[(\[]?([+−-])[)\]]?\s*$")
_SIGNS: Mapping[str, Assertion] = {"+": "present", "-": "absent", "−": "absent"}
_LONGEST_WORD = 5
_LINKS = ("by", "of", "to")
#: Groups whose names are too general for a relation or a role.
_WIDE_GROUPS = ("question", "course")


@dataclass(frozen=True)
class AttributeGroup:
    """Attributes that say the same thing.

    Attributes:
        name: of the group in the table, e.g. `negation`.
        flag: what such an attribute asserts when it has no value; None where it needs one.
        values: what each value asserts, by its folded word.
    """

    name: str
    flag: Assertion | None
    values: Mapping[str, Assertion]


class LabelParts(NamedTuple):
    """A label taken apart: `kind` is what it marks, as written, empty where it only asserts something."""

    kind: str
    assertions: tuple[Assertion, ...]


@dataclass(frozen=True)
class AttributeTable:
    """The names and words of `gold_attributes.toml`, all folded.

    Attributes:
        groups: by the name of an attribute.
        words: what a word asserts wherever an assertion is named.
        other: names of attributes that assert nothing.
        concepts: labels that look like an assertion and mark concepts of their own.
        unclear: parts of a label that leave it open.
        prefixes: parts that a name may have in front.
        suffixes: parts that a name may have behind.
    """

    groups: Mapping[str, AttributeGroup]
    words: Mapping[str, Assertion]
    other: frozenset[str]
    concepts: frozenset[str]
    unclear: frozenset[str]
    prefixes: tuple[str, ...]
    suffixes: tuple[str, ...]

    def group_of(self, name: str) -> AttributeGroup | None:
        """Return the group of the attribute `name`; None for one that is not in the table."""
        return next((self.groups[each] for each in self._spellings(name) if each in self.groups), None)

    def says_something_else(self, name: str) -> bool:
        """Say whether the attribute `name` is known and leaves the assertion as it is."""
        return any(each in self.other for each in self._spellings(name))

    def names_assertion(self, name: str) -> bool:
        """Say whether a relation, a role or a question called `name` asserts something: `negated_by`."""
        plain = "".join(word for part in _parts(name) if (word := fold(part.text)) not in _LINKS)
        group = self.group_of(plain)
        return plain in self.words or (group is not None and group.name not in _WIDE_GROUPS)

    def _spellings(self, name: str) -> Iterator[str]:
        """Yield the folded name, then what is left of it without the parts in front and behind."""
        folded = fold(name)
        yield folded
        for prefix in ("", *self.prefixes):
            for suffix in ("", *self.suffixes):
                if folded.startswith(prefix) and folded.endswith(suffix) and (prefix or suffix):
                    yield folded[len(prefix) : len(folded) - len(suffix)]

    def label_parts(self, label: str) -> LabelParts:
        """Return what `label` marks and what it asserts: `SYMPTOM_ABSENT` marks `SYMPTOM`, and denies it.

        A label with an unclear part is returned whole, as are those of `concepts`.
        """
        if fold(label) in self.concepts:
            return LabelParts(label, ())
        signed = _SIGN.search(label)
        found: list[Assertion] = [_SIGNS[signed.group(1)]] if signed else []
        parts = _parts(label[: signed.start()] if signed else label)
        kept: list[str] = []
        at = 0
        while at < len(parts):
            for length in range(min(_LONGEST_WORD, len(parts) - at), 0, -1):
                word = "".join(fold(part.text) for part in parts[at : at + length])
                if word in self.words:
                    found.append(self.words[word])
                    at += length
                    break
            else:
                if fold(parts[at].text) in self.unclear:
                    return LabelParts(label, ())
                joined = kept and at and parts[at].start == parts[at - 1].end
                kept.append(parts[at].text if joined or not kept else parts[at].before + parts[at].text)
                at += 1
        return LabelParts("".join(kept), tuple(found)) if found else LabelParts(label, ())

    def is_unclear(self, label: str) -> bool:
        """Say whether a part of `label` leaves open whether it denies what it marks."""
        return not self.label_parts(label).assertions and any(
            fold(part.text) in self.unclear for part in _parts(label)
        )


class _Part(NamedTuple):
    """A part of a label, what separates it from the one before, and where it stands."""

    text: str
    before: str
    start: int
    end: int


def _parts(label: str) -> list[_Part]:
    """Return the words of a label, also those that only a capital letter separates."""
    found: list[_Part] = []
    end = 0
    for match in _PART.finditer(label):
        start = match.start()
        for text in _HUMP.split(match.group()):
            found.append(_Part(text, label[end:start], start, start + len(text)))
            start = end = start + len(text)
    return found


def words_of_label(label: str) -> list[str]:
    """Return the words of a label in lower case, also those that only a capital letter separates."""
    return [part.text.casefold() for part in _parts(label)]


def fold(name: str) -> str:
    """Return `name` in lower case without what separates its parts; signs at its ends stay."""
    return _BETWEEN.sub("", name.strip(_AROUND).casefold())


@cache
def load_attributes() -> AttributeTable:
    """Return the table that comes with sympress."""
    text = (resources.files("sympress.labels") / "data" / _TABLE).read_text("utf-8")
    return parse_attributes(text, _TABLE)


def parse_attributes(text: str, source: str) -> AttributeTable:
    """Return the table of a TOML text.

    Raises:
        InputError: not TOML, a word or a name that is there twice, an unknown assertion.
    """
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source}: not valid TOML: {error}; correct that line") from error
    words = _values(parsed["words"], f"{source}, words")
    groups: dict[str, AttributeGroup] = {}
    for name, table in parsed["groups"].items():
        group = _group(name, table, words, parsed["flag"], source)
        for each in table["names"]:
            if each in groups:
                raise InputError(f"{source}: the name {each!r} stands in two groups; keep one")
            groups[each] = group
    return AttributeTable(
        groups,
        words,
        frozenset(parsed["other"]["names"]),
        frozenset(parsed["labels"]["concepts"]),
        frozenset(parsed["labels"]["unclear"]),
        tuple(parsed["affixes"]["prefixes"]),
        tuple(parsed["affixes"]["suffixes"]),
    )


def _group(
    name: str, table: dict[str, Any], words: Mapping[str, Assertion], flag: dict[str, list[str]], source: str
) -> AttributeGroup:
    """Return a group; its own words go before the common ones, and those before the values of a flag."""
    where = f"{source}, group {name}"
    values: dict[str, Assertion] = {}
    asserted: Assertion | None = None
    if "set" in table:
        asserted = _assertion(table["set"], where)
        values |= dict.fromkeys(flag["set"], asserted)
        values |= dict.fromkeys(flag["unset"], _assertion(table["unset"], where))
    if table.get("words"):
        values |= {word: value for word, value in words.items() if word not in values}
    own = {key: table[key] for key in table if key not in ("names", "set", "unset", "words")}
    return AttributeGroup(name, asserted, values | _values(own, where))


def _values(lists: Mapping[str, Iterable[str]], where: str) -> dict[str, Assertion]:
    found: dict[str, Assertion] = {}
    for key, words in lists.items():
        assertion = _assertion(key, where)
        for word in words:
            if word in found:
                raise InputError(f"{where}: {word!r} is there twice; keep one")
            found[word] = assertion
    return found


def _assertion(name: str, where: str) -> Assertion:
    for assertion in ASSERTIONS:
        if name == assertion:
            return assertion
    raise InputError(f"{where}: unknown assertion {name!r}; use {', '.join(ASSERTIONS)}")
