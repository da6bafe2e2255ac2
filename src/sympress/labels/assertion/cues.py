"""The cues of assertion, read from data."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache, cached_property
from importlib import resources
from typing import Any, Literal, NamedTuple

from sympress.errors import InputError
from sympress.labels.lexicon_file import (
    Words,
    expand_all,
    expand_forms,
    expand_within,
    fixed_text,
    split_template,
)
from sympress.labels.matching import PhraseIndex, fold, words_of
from sympress.labels.mentions import ASSERTIONS

Role = Literal["cue", "pseudo", "stop", "statement"]

#: A cue without `max_words` reaches to the end of its sentence.
SENTENCE = 1_000


@dataclass(frozen=True)
class Cue:
    """What a phrase does.

    Attributes:
        role: `cue` says something of mentions, `pseudo` hides a cue inside it, `stop` ends scopes,
            `statement` makes the item of a list in which it stands a statement of its own.
        assertion: what a cue says; empty for the other roles.
        forward: whether a cue reaches the mentions behind it, else those before it.
        max_words: how many words may stand between a cue and a mention.
        across_commas: whether a backward cue reaches over a comma.
        clause_start: a cue counts only where a clause begins: `Neg fever`, not `COVID neg, fever`.
        between: a cue counts only between two things: `PNA vs CHF`, not `VS 98.2`.
        within_item: a forward cue reaches neither over a comma nor over `with`: `s/p fall with pain`.
        directly_behind: characters one of which must stand before a cue: `Migraine: mother`.
        not_before_number: a cue does not count before a point and a number: `No. 3`.
        unless_behind: words of which none may stand before a cue in its clause: `took 500 mg for fever`.
        before_colon: a cue counts only before a colon, where no mention stands before it: `Now gone:`.
        before_aside: a cue counts only before a verb, also behind brackets or a clause: `Aunt (56) has …`.
        spoken: of a cue, that its denial is said by someone; of a statement, that it counts only against such
            a denial: `denied surgery, nausea was noted later`, not `no edema, cyanosis was noted`.
        near_mention: a cue counts only where a mention follows within so many words: `Report fever …`.
        ends: the assertions whose scopes a stop ends.
        after_comma: a stop counts only directly behind a comma.
        leaves_section: a stop also ends what the section asserts.
        behind_mention: a stop counts only where a mention stands between the cue and it.
        before_mention: a stop counts only where none does.
        unless_or: a stop does not count where `or` joins the next mention.
        describes: a statement that counts within brackets only where it is all that they hold.
        recent: a statement also ends what `history of` says of the mention before it.
        second_item: a statement counts only in the item behind the first comma, where no other follows.
        excepts: a statement only keeps a denial from the mention directly before it.
    """

    role: Role
    assertion: str = ""
    forward: bool = True
    max_words: int = SENTENCE
    across_commas: bool = False
    clause_start: bool = False
    between: bool = False
    within_item: bool = False
    not_before_number: bool = False
    directly_behind: str = ""
    unless_behind: frozenset[str] = frozenset()
    near_mention: int | None = None
    before_colon: bool = False
    before_aside: bool = False
    spoken: bool = False
    ends: frozenset[str] = frozenset()
    after_comma: bool = False
    leaves_section: bool = False
    behind_mention: bool = False
    before_mention: bool = False
    unless_or: bool = False
    recent: bool = False
    second_item: bool = False
    excepts: bool = False
    describes: bool = False

    @cached_property
    def unconditional(self) -> bool:
        """Whether its phrase is a cue wherever it stands."""
        beside = self.before_colon or self.before_aside or self.describes or self.near_mention is not None
        conditions = (self.clause_start, self.between, self.not_before_number, self.directly_behind, beside)
        return not any(conditions) and not self.unless_behind


def _is_forward(cue: Cue) -> bool:
    # Backward first: `chills absent` is read before `absent …`.
    return cue.forward


class PhraseCues:
    """Everything that one phrase does, backward cues first, and what is asked of it for each mention.

    Attributes:
        cues: what it does.
        only_stops: whether it hides no cue of another phrase: it only ends scopes.
        only_statements: whether it hides nothing: it only makes its item a statement of its own.
        affirms: whether it says something and denies nothing.
        leads: whether it says something of a list behind it.
        says: whether it says something of mentions.
        unconditional: whether all of it counts wherever the phrase stands.
    """

    __slots__ = ("affirms", "cues", "leads", "only_statements", "only_stops", "says", "unconditional")

    def __init__(self, cues: tuple[Cue, ...]) -> None:
        """Read the cues of a phrase, in any order."""
        self.cues = tuple(sorted(cues, key=_is_forward)) if len(cues) > 1 else cues
        self.only_statements = all(cue.role == "statement" for cue in cues)
        self.only_stops = all(cue.role in ("stop", "statement") for cue in cues)
        self.affirms = all(cue.role == "cue" and cue.assertion != "absent" for cue in cues)
        self.leads = any(cue.role == "cue" and cue.forward and not cue.within_item for cue in cues)
        self.says = any(cue.role == "cue" for cue in cues)
        self.unconditional = all(cue.unconditional for cue in cues)


class Placed(NamedTuple):
    """A cue where it stands."""

    start: int
    end: int
    cue: Cue


@dataclass(frozen=True)
class CuePhrases:
    """Phrases, each once, and everything they do: `cues[k]` belongs to `phrases[k]`."""

    phrases: tuple[str, ...]
    cues: tuple[PhraseCues, ...]


class CueIndex(NamedTuple):
    """Phrases that can be found, without their text, a third of the memory; `cues[k]`: what number k does."""

    phrases: PhraseIndex
    cues: tuple[PhraseCues, ...]


@dataclass(frozen=True)
class CueBook:
    """The cues as they are written: templates, which stand for a hundred times as many phrases.

    Attributes:
        rules: what the phrases of a template do: template, cue, and where it is written for an error.
        words: the lists that templates name.
        removed: phrases, lower-cased, that the first `base` rules do not stand for: a user's file takes
            them away, or says anew what they do.
        base: how many rules come first that are not the user's.
    """

    rules: tuple[tuple[str, Cue, str], ...]
    words: Words
    removed: frozenset[str] = frozenset()
    base: int = 0

    def every(self) -> CuePhrases:
        """All phrases; a fifth of a second."""
        return _collect(
            (cue, self._kept(place, expand_forms(template, self.words, where, most=None)))
            for place, (template, cue, where) in enumerate(self.rules)
        )

    @cached_property
    def index(self) -> CueIndex:
        """The index of all phrases, one for all who read by these cues; half a second."""
        every = self.every()
        return CueIndex(PhraseIndex({"cue": every.phrases}), every.cues)

    def __getstate__(self) -> dict[str, Any]:
        """What is written goes to another process; what was built of it stays."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def within(self, words: frozenset[str]) -> CuePhrases:
        """Those that can stand in a text of these words, and a few more; some milliseconds."""

        def can_stand(alternative: str) -> bool:
            return _word_set(alternative) <= words

        return _collect(
            (cue, self._kept(place, expand_within(template, self.words, where, can_stand)))
            for place, ((template, cue, where), fixed) in enumerate(
                zip(self.rules, self._fixed_words, strict=True)
            )
            if fixed <= words
        )

    def _kept(self, place: int, phrases: list[str]) -> list[str]:
        if place >= self.base or not self.removed:
            return phrases
        return [phrase for phrase in phrases if fold(phrase) not in self.removed]

    @cached_property
    def _fixed_words(self) -> tuple[frozenset[str], ...]:
        return tuple(_word_set(fixed_text(template)) for template, _, _ in self.rules)


@cache
def load_cues() -> CueBook:
    """Return the cues that come with sympress."""
    text = (resources.files("sympress.labels") / "data" / "cues.toml").read_text("utf-8")
    return parse_cues(text, "cues.toml")


def parse_cues(text: str, source: str) -> CueBook:
    """Return the cues of a TOML text: tables `[[cue]]`, `[[pseudo]]`, `[[stop]]` and lists under `[words]`.

    Raises:
        InputError: not TOML, an unknown table, key or assertion, or a direction that is none.
    """
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source}: not valid TOML: {error}; correct that line") from error
    words: dict[str, tuple[str, ...]] = {}
    for name, values in parsed.pop("words", {}).items():
        words[name] = expand_all(tuple(values), words, f"{source}, [words] {name}")
    rules: list[tuple[str, Cue, str]] = []
    for role, tables in parsed.items():
        reader = _READERS.get(role)
        if reader is None:
            raise InputError(f"{source}: unknown table {role!r}; use {', '.join(_READERS)} or words")
        for number, table in enumerate(tables, start=1):
            where = f"{source}, {role} {number}"
            cue = _read(reader, table, where)
            for template in table["phrases"]:
                split_template(template, words, where)
                rules += [(written, cue, where) for written in _spellings(template)]
    return CueBook(tuple(rules), words)


def _spellings(template: str) -> tuple[str, ...]:
    """A template, and as it is written in a hurry: `doesnt have`."""
    return (template, template.replace("n't", "nt")) if "n't" in template else (template,)


@cache
def _word_set(text: str) -> frozenset[str]:
    return frozenset(words_of(text))


def _collect(expanded: Iterable[tuple[Cue, list[str]]]) -> CuePhrases:
    found: dict[str, tuple[Cue, ...]] = {}
    several: dict[tuple[int, ...], tuple[Cue, ...]] = {}  # what phrases do is kept once, not for each of them
    for cue, phrases in expanded:
        alone = (cue,)
        for phrase in phrases:
            folded = fold(phrase)
            known = found.setdefault(folded, alone)
            if known[-1] is not cue:  # two templates of one table may stand for it
                both = (*known, cue)
                found[folded] = several.setdefault(tuple(map(id, both)), both)
    distinct = {id(cues): cues for cues in found.values()}
    read = {key: PhraseCues(cues) for key, cues in distinct.items()}
    return CuePhrases(tuple(found), tuple(read[id(cues)] for cues in found.values()))


def _read(reader: _Reader, table: Mapping[str, Any], where: str) -> Cue:
    unknown = sorted(set(table) - reader.keys)
    if unknown or "phrases" not in table:
        raise InputError(
            f"{where}: {f'unknown key {unknown[0]!r}' if unknown else 'no phrases'}; "
            f"the keys are {', '.join(sorted(reader.keys))}"
        )
    named = [table["assertion"]] if "assertion" in table else table.get("ends", [])
    wrong = [name for name in named if name not in ASSERTIONS[1:]]
    if wrong:
        raise InputError(f"{where}: unknown assertion {wrong[0]!r}; use {', '.join(ASSERTIONS[1:])}")
    if table.get("direction", "forward") not in ("forward", "backward"):
        raise InputError(f"{where}: direction is {table['direction']!r}; use forward or backward")
    return Cue(
        role=reader.role,
        assertion=table.get("assertion", ""),
        forward=table.get("direction", "forward") == "forward",
        max_words=table.get("max_words", SENTENCE),
        across_commas=table.get("across_commas", False),
        clause_start=table.get("clause_start", False),
        between=table.get("between", False),
        within_item=table.get("within_item", False),
        not_before_number=table.get("not_before_number", False),
        directly_behind=table.get("directly_behind", ""),
        unless_behind=frozenset(table.get("unless_behind", ())),
        near_mention=table.get("near_mention"),
        before_colon=table.get("before_colon", False),
        before_aside=table.get("before_aside", False),
        spoken=table.get("spoken", False),
        ends=frozenset(table.get("ends", ())),
        after_comma=table.get("after_comma", False),
        leaves_section=table.get("leaves_section", False),
        behind_mention=table.get("behind_mention", False),
        before_mention=table.get("before_mention", False),
        unless_or=table.get("unless_or", False),
        recent=table.get("recent", False),
        second_item=table.get("second_item", False),
        excepts=table.get("excepts", False),
        describes=table.get("describes", False),
    )


@dataclass(frozen=True)
class _Reader:
    role: Role
    keys: frozenset[str]


_READERS: dict[str, _Reader] = {
    "cue": _Reader(
        "cue",
        frozenset(
            {
                "phrases",
                "assertion",
                "direction",
                "max_words",
                "across_commas",
                "clause_start",
                "between",
                "within_item",
                "not_before_number",
                "directly_behind",
                "unless_behind",
                "near_mention",
                "before_colon",
                "before_aside",
                "spoken",
            }
        ),
    ),
    "pseudo": _Reader("pseudo", frozenset({"phrases"})),
    "stop": _Reader(
        "stop",
        frozenset(
            {
                "phrases",
                "ends",
                "after_comma",
                "leaves_section",
                "behind_mention",
                "before_mention",
                "unless_or",
            }
        ),
    ),
    "statement": _Reader(
        "statement", frozenset({"phrases", "recent", "second_item", "excepts", "describes", "spoken"})
    ),
}

#: The tables of a cue file, each with the keys that it may have.
CUE_TABLES: Mapping[str, frozenset[str]] = {role: reader.keys for role, reader in _READERS.items()}


def read_cue(role: str, table: Mapping[str, Any], where: str) -> Cue:
    """Return what the phrases of one table do; `role` is one of `CUE_TABLES`.

    Raises:
        InputError: an unknown key, assertion or direction, or no phrases.
    """
    return _read(_READERS[role], table, where)
