"""The user's own words: a lexicon, cues and sections in place of ours, read from files before work begins."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from sympress.errors import InputError, nearest
from sympress.labels.annotate import Annotator
from sympress.labels.assertion.cues import CUE_TABLES, Cue, CueBook, load_cues, read_cue
from sympress.labels.lexicon import Lexicon, forms_by_symptom, load_lexicon
from sympress.labels.lexicon_file import (
    MOST_FORMS_TOGETHER,
    Words,
    check_total,
    count_forms,
    expand_all,
    expand_forms,
)
from sympress.labels.matching import fold, words_of
from sympress.labels.sections import SectionBook, lay_sections
from sympress.labels.user_files import (
    Mistakes,
    check_keys,
    extends_ours,
    lists_of,
    located,
    parse_table,
    read_text,
    texts_of,
)

# Cues of the user, laid over ours or in their place: a phrase of ours that the file lists does only what the
# file says; words of `[words]` are added to our list of that name; phrases under `remove` are cues no more.


_CUE_FILE_KEYS = ("extends", "remove", "words", *CUE_TABLES)

#: What a table must have beside its phrases, with an example.
_NEEDED = {"cue": {"assertion": '"absent"'}, "stop": {"ends": '["absent"]'}}

#: Keys without which nobody knows what a table's phrases do.
_DECISIVE = frozenset({"assertion", "ends", "direction"})

#: Answers to whether it is there: a phrase can't give two of them in one direction. The past and the family
#: say something else, and may stand beside each: `no history of` is absent and historical.
_EXCLUSIVE = frozenset({"absent", "possible", "hypothetical"})


@dataclass(frozen=True)
class CueLayer:
    """A cue file, laid over.

    Attributes:
        book: the cues that hold.
        counts: how many phrases the file adds, changes and removes.
    """

    book: CueBook
    counts: Mapping[str, int]


@dataclass(frozen=True)
class _Rule:
    """A template of the file: what it does, the phrases it stands for, and its place.

    `whole` is whether all keys of its table are right, or those that are not were left out.
    """

    template: str
    cue: Cue
    phrases: tuple[str, ...]
    where: str
    whole: bool


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
    check_keys(parsed, _CUE_FILE_KEYS, source, mistakes)
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
    growth = _growth(base, words)
    if growth > MOST_FORMS_TOGETHER:
        mistakes.add(
            f"{source}, [words]: they add {growth:,} phrases to ours, more than {MOST_FORMS_TOGETHER:,}; "
            "list fewer"
        )
    ours = replace(base, words=words, base=len(base.rules))
    with mistakes.noted():
        _check_removed(ours, removed, source)
    mistakes.raise_any()
    own = tuple((rule.template, rule.cue, rule.where) for rule in rules)
    book = replace(ours, rules=(*base.rules, *own), removed=listed | removed)
    changed = _phrases_among(ours, listed)
    counts = {
        "phrases added": len(listed - changed),
        "phrases added by words of lists": growth,
        "phrases of ours changed": len(changed),
        "phrases of ours removed": len(removed - listed),
    }
    return CueLayer(book, counts)


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
            before = len(mistakes)
            cue, templates = _read_table(role, table, where, mistakes)
            whole = len(mistakes) == before
            for template in templates:
                phrases: tuple[str, ...] = ()
                with mistakes.noted():
                    phrases = _expanded(template, words, where)
                total += len(phrases)
                check_total(total, where)
                if cue is not None:
                    rules.append(_Rule(template, cue, phrases, where, whole))
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
    """Return what a table says, but for wrong keys, which are noted, and its templates.

    None for what it says where a key is wrong that decides what the phrases do.
    """
    keys = CUE_TABLES[role]
    if not isinstance(table, dict):
        mistakes.add(f"{where}: not a table; write [[{role}]] and its keys below it")
        return None, ()
    templates: tuple[str, ...] = ()
    with mistakes.noted():
        templates = texts_of(table, "phrases", where)
        if not templates:
            mistakes.add(f'{where}: no phrases; list them, e.g. phrases = ["..."]')
    wrong: set[str] = set()
    for key, value in table.items():
        problem = _problem(role, key, value, where, keys)
        if problem is not None:
            mistakes.add(problem)
            wrong.add(key)
    for needed, example in _NEEDED.get(role, {}).items():
        if not table.get(needed):
            mistakes.add(f"{where}: no {needed}; write what its phrases do, e.g. {needed} = {example}")
            wrong.add(needed)
    if wrong & _DECISIVE:
        return None, templates
    right = {key: value for key, value in table.items() if key not in wrong}
    cue: Cue | None = None
    with mistakes.noted():
        cue = read_cue(role, {**right, "phrases": list(templates)}, where)
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
        return f"{where}: {key} has a value of the wrong kind; see docs/how-to/add-a-symptom.md"
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
                alike = (other.cue.role, other.cue.assertion) == (rule.cue.role, rule.cue.assertion)
                if said is not None and (not alike or (other.whole and rule.whole)):
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


def _phrases_among(book: CueBook, phrases: frozenset[str]) -> frozenset[str]:
    """Return those of `phrases`, which are lower-cased, that `book` has."""
    words = frozenset(word for phrase in phrases for word in words_of(phrase))
    return phrases & frozenset(book.within(words).phrases) if phrases else phrases


def _growth(base: CueBook, words: Words) -> int:
    """Return how many phrases more our templates stand for with `words`."""
    if words == base.words:
        return 0
    return sum(
        count_forms(template, words, where) - count_forms(template, base.words, where)
        for template, _, where in base.rules
    )


def _check_removed(book: CueBook, removed: frozenset[str], source: str) -> None:
    """Refuse to remove what is no phrase of `book`.

    Raises:
        InputError: it names every such phrase.
    """
    mistakes = Mistakes()
    plain = [template for template, _, _ in book.rules if "{" not in template]
    for phrase in sorted(removed - _phrases_among(book, removed)):
        mistakes.add(f"{source}: remove names {phrase!r}, which is no phrase of ours{nearest(phrase, plain)}")
    mistakes.raise_any()


@dataclass(frozen=True)
class OwnWords:
    """What a user brings; None is ours. Nothing is read from disk any more, so it goes to any process.

    Attributes:
        lexicon: names the symptoms.
        cues: decide what a note asserts of a mention.
        sections: tell which headings stand where.
        texts: of the files of `cues` and `sections`, as they were written, by those names.
    """

    lexicon: Lexicon | None = None
    cues: CueBook | None = None
    sections: SectionBook | None = None
    texts: Mapping[str, str] = field(default_factory=dict, hash=False)

    def named(self) -> list[str]:
        """Which of `lexicon`, `cues` and `sections` there are."""
        given = {"lexicon": self.lexicon, "cues": self.cues, "sections": self.sections}
        return [name for name, one in given.items() if one is not None]

    def over(self, base: OwnWords) -> OwnWords:
        """Return these, and those of `base` where there are none."""
        return OwnWords(
            self.lexicon or base.lexicon,
            self.cues or base.cues,
            self.sections or base.sections,
            {**base.texts, **self.texts},
        )

    def annotator(self, default: str | Lexicon, *, at_once: bool = True) -> Annotator:
        """Return what finds mentions by these words; `default` is the lexicon where there is none."""
        lexicon = self.lexicon or (load_lexicon(default) if isinstance(default, str) else default)
        return Annotator(lexicon, self.cues, self.sections, at_once=at_once)

    def digest(self) -> str:
        """Return 64 hexadecimal digits that differ where anything in the words does."""
        parts = [repr(self.lexicon), *(f"{name}\n{text}" for name, text in sorted(self.texts.items()))]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


#: No words of a user's: everything is ours.
OURS = OwnWords()


def read_own_words(
    lexicon: str | Path | None = None, cues: str | Path | None = None, sections: str | Path | None = None
) -> OwnWords:
    """Read a user's files; None for each that is not given.

    Args:
        lexicon: the name of a built-in lexicon, or a .tsv or .toml file.
        cues: a .toml file, see `lay_cues`.
        sections: a .toml file, see `lay_sections`.

    Raises:
        InputError: a file cannot be read or has mistakes; the message names all of all files.
    """
    mistakes = Mistakes()
    words, texts = OwnWords(), {}
    if lexicon is not None:
        with mistakes.noted():
            words = OwnWords(load_lexicon(lexicon))
    for name, path in (("cues", cues), ("sections", sections)):
        if path is not None:
            with mistakes.noted():
                texts[name] = read_text(Path(path), f"file of {name}")
                words = words_of_text(name, texts[name], str(path)).over(words)
    mistakes.raise_any(by_line=False)
    return words


def words_of_text(name: str, text: str, source: str) -> OwnWords:
    """Return the words of one text; `name` is `cues` or `sections`, `source` what messages call it.

    Raises:
        InputError: as `lay_cues` and `lay_sections`.
    """
    if name == "cues":
        return OwnWords(cues=lay_cues(text, source).book, texts={name: text})
    if name == "sections":
        return OwnWords(sections=lay_sections(text, source).book, texts={name: text})
    raise InputError(f"{source}: neither cues nor sections; see docs/how-to/add-a-symptom.md")


def kind_of(path: Path) -> Literal["lexicon", "cues", "sections"]:
    """Return what a file holds by its tables; a lexicon where they do not tell.

    Raises:
        InputError: the file cannot be read, or is no TOML.
    """
    if path.suffix.lower() != ".toml" or not path.is_file():
        return "lexicon"
    tables = parse_table(read_text(path, "lexicon"), str(path)).keys()
    if "symptom" in tables:
        return "lexicon"
    return "cues" if tables & CUE_TABLES.keys() else "sections" if "section" in tables else "lexicon"


def compare_lexicons(base: Lexicon, made: Lexicon) -> dict[str, int]:
    """Return how many symptoms and forms `made` has that `base` has not, and the other way round."""
    before, after = (
        {name: set(forms) for name, forms in forms_by_symptom(one).items()} for one in (base, made)
    )
    return {
        "symptoms added": len(after.keys() - before.keys()),
        "symptoms removed": len(before.keys() - after.keys()),
        "forms added": sum(len(own - before.get(name, set())) for name, own in after.items()),
        "forms removed": sum(len(own - after.get(name, set())) for name, own in before.items()),
    }
