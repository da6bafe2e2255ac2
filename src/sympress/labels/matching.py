r"""Finding many surface forms at once (Aho-Corasick), with word boundaries as Python's `\\b` has them."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import ahocorasick_rs
import numpy as np
from numpy.typing import NDArray

from sympress.errors import InputError
from sympress.notes.intake import mask_placeholders, read_years

if TYPE_CHECKING:
    from sympress.labels.lexicon import Lexicon


# Finding surface forms in a note, with word boundaries exactly as Python's `\bform\b`.
#
# All occurrences are found, also overlapping ones: one alternation of all forms would not find `pain` inside
# `chest pain`, and the paper's rule does.


@dataclass(frozen=True, slots=True)
class FormMatch:
    """A form found in a text; `start` and `end` count characters of the original text.

    `symptom` is the position of its symptom in the lexicon.
    """

    start: int
    end: int
    symptom: int
    form: str


def fold(text: str) -> str:
    """Return `text` in lower case, with as many characters as before.

    `str.lower` makes two characters of `İ` (U+0130), the only one of Unicode that grows, and would
    shift every offset behind it: it becomes a plain `i` here.
    """
    return text.replace("\u0130", "i").lower()


class FormMatcher:
    """Finds the forms of a lexicon in one pass over a text, however many there are.

    Attributes:
        lexicon: whose forms they are.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        """Build the automaton, 50 ms for 40,000 forms; it cannot be pickled."""
        self.lexicon = lexicon
        owners: dict[str, tuple[int, ...]] = {}
        for position, symptom in enumerate(lexicon.symptoms):
            for form in symptom.forms:
                owners[form] = (*owners.get(form, ()), position)
        self._forms = tuple(owners)
        self._owners = tuple(owners.values())
        self._automaton = ahocorasick_rs.AhoCorasick(
            self._forms,
            matchkind=ahocorasick_rs.MatchKind.Standard,
            store_patterns=False,
            implementation=ahocorasick_rs.Implementation.ContiguousNFA,
        )

    def first(self, folded: str) -> int | None:
        """Return the position of the first symptom, in lexicon order, that occurs in a folded text."""
        return min(self.symptoms(folded), default=None)

    def symptoms(self, folded: str) -> set[int]:
        """Return the positions of the symptoms that occur in a folded text."""
        return {position for number, _, _ in self._whole(folded) for position in self._owners[number]}

    def forms(self, folded: str) -> list[FormMatch]:
        """Return every occurrence of every form, also those inside or across another one.

        Ordered by start, then the longest first, then lexicon order.
        """
        matches = [
            FormMatch(start, end, position, self._forms[number])
            for number, start, end in self._whole(folded)
            for position in self._owners[number]
        ]
        return sorted(matches, key=lambda match: (match.start, -match.end, match.symptom))

    def mentions(self, folded: str) -> list[FormMatch]:
        """Return the occurrences that do not overlap: leftmost first, of those the longest.

        `chest pain` is one mention of chest pain here, and none of pain.
        """
        mentions: list[FormMatch] = []
        for match in self.forms(folded):
            if not mentions or match.start >= mentions[-1].end:
                mentions.append(match)
        return mentions

    def _whole(self, folded: str) -> Iterator[tuple[int, int, int]]:
        """Yield number, start and end where the pattern of a form matches, as `re.finditer` would."""
        reached: dict[int, int] = {}  # a form does not overlap itself
        for number, start, end in self._found(folded):
            if start < reached.get(number, 0):
                continue
            if _is_boundary(folded, start) and _is_boundary(folded, end):
                reached[number] = end
                yield number, start, end

    def _found(self, folded: str) -> list[tuple[int, int, int]]:
        """Every occurrence of every form, by end, within words too."""
        try:
            return self._automaton.find_matches_as_indexes(folded, overlapping=True)
        except UnicodeEncodeError:  # half a surrogate pair is no letter: another such takes its place
            return self._automaton.find_matches_as_indexes(_HALF_PAIR.sub("\ufffd", folded), overlapping=True)


_HALF_PAIR = re.compile("[\ud800-\udfff]")


def _is_boundary(text: str, position: int) -> bool:
    r"""Whether `\b` matches at `position`: one side is a word character, the other is not."""
    before = position > 0 and _is_word(text[position - 1])
    return before != (position < len(text) and _is_word(text[position]))


def _is_word(character: str) -> bool:
    r"""Whether `\w` matches: the definition of Python's `re` for text."""
    return character == "_" or character.isalnum()


# Finding many phrases at once (Aho–Corasick), with boundaries that survive clinical punctuation.
#
# A text is reduced to its words: whatever is neither letter nor digit becomes a space, runs of spaces
# become one, and every remaining character remembers its place in the original text. Phrases are looked for
# with the space on either side, so that only whole words match and `N/V/D`, `c/o:HA` and `+fever` need no
# rule of their own. Between the words of a phrase the text is then held against what the phrase has there:
# white space in a phrase stands for white space, at most one line break, or a hyphen; any other character
# of the phrase (`n/v`) must be in the text.


#: A phrase found: first character, one past the last, and its number within its group.
Found = tuple[int, int, int]

#: What the year of a de-identified note is read as: one of those that cues of the past name.
_YEAR_GONE_BY = "1999"
_SPACE = 32
_TABLE_SIZE = 0x10000
_JOINT = re.compile(r"[\W_]+")
# White space with at most one line break, or a hyphen that may end a line.
_GAP = re.compile(r"[^\S\r\n]*+(?:\r?\n[^\S\r\n]*+)?|[-\u2010\u2011](?:\r?\n[^\S\r\n]*+)?")
_BLANK = re.compile(r"\s+")
_PUNCTUATION = "-+()/:.,;=?!#'\" "


@dataclass(frozen=True, slots=True)
class Reduced:
    """A text and its words.

    Attributes:
        text: the original.
        folded: the original in lower case, as many characters; a year that is a placeholder is 1999.
        masked: `text` with other de-identification placeholders blanked, as many characters.
        words: the words of the folded, masked text between single spaces, one space at either end.
        positions: `(len(words),)` place in `text` of every character of `words`.
    """

    text: str
    folded: str
    masked: str
    words: str
    positions: NDArray[np.int64]


def reduce_text(text: str) -> Reduced:
    """Return `text` with its words; nothing inside a placeholder `[**…**]` is a word."""
    dated = read_years(text, _YEAR_GONE_BY)
    masked = mask_placeholders(dated)
    folded = fold(dated)
    source = folded if masked is dated else fold(masked)
    codes = _word_codes(f" {source} ")
    space = codes == _SPACE
    kept = np.ones(len(codes), dtype=bool)
    kept[1:] = ~(space[1:] & space[:-1])
    words = codes[kept].tobytes().decode("ascii" if codes.itemsize == 1 else "utf-32-le")
    if len(words) == 1:
        words = "  "  # a text without words: nothing is found in it
    return Reduced(text, folded, masked, words, np.flatnonzero(kept) - 1)


#: Searches before an index that need not be built at once is built after all.
FIRST_SEARCHES = 16


#: More groups than any index has.
_MOST_GROUPS = 64


class _Owner(NamedTuple):
    """A phrase with the words of a pattern: how it is written, None for just so, its group and its number."""

    written: str | None
    group: int
    number: int


def _packed(owner: _Owner | list[_Owner]) -> int:
    """A phrase that is written as its words as one number; -1 for any other, and for several."""
    if isinstance(owner, list) or owner.written is not None:
        return -1
    return owner.number * _MOST_GROUPS + owner.group


class PhraseIndex:
    """Groups of phrases that are found in one pass over a text."""

    def __init__(self, groups: Mapping[str, Sequence[str]], *, at_once: bool = True) -> None:
        """Take the phrases of each group; a phrase without a letter or digit is refused.

        Args:
            groups: phrases of each group.
            at_once: build the automaton of all of them now, half a second for 90,000. Otherwise the first
                searches, which a single line is about, build that of the few phrases they need.
        """
        self._group_count = len(groups)
        phrases = [
            (phrase, group, number)
            for group, named in enumerate(groups.values())
            for number, phrase in enumerate(named)
        ]
        last_words = [last_word(phrase) for phrase, _, _ in phrases]
        if "" in last_words:
            phrase, _, _ = phrases[last_words.index("")]
            raise ValueError(f"{phrase!r}: a phrase needs a letter or a digit")
        self.last_words = frozenset(last_words)
        self._searches = 0
        self._held = phrases, last_words
        self._whole: _Automaton | None = None
        if at_once:
            self._build_whole()

    def find(
        self, reduced: Reduced, first: int = 0, last: int | None = None, *, most: int | None = None
    ) -> list[list[Found]]:
        """Return every occurrence of every phrase, also overlapping ones: one list a group, by end.

        Args:
            reduced: the text.
            first: nothing before this place of the text is looked at.
            last: nor anything from this place on; None for its end.
            most: how many may be found.

        Raises:
            InputError: there are more than `most`.
        """
        found: list[list[Found]] = [[] for _ in range(self._group_count)]
        place, folded = reduced.positions.item, reduced.folded
        words, skipped = reduced.words, 0
        if last is not None:
            skipped, finish = _word_bounds(reduced, first, last)
            words = words[skipped:finish]
        automaton = self._whole or self._build(words)
        matches = automaton.matches(words)
        if most is not None and len(matches) > most:
            raise InputError(f"more than {most:,} forms and headings")
        for which, before, behind in matches:
            start, end = place(skipped + before + 1), place(skipped + behind - 2) + 1
            for spelling, group, number in automaton.owners(which):
                written = words[before + 1 : behind - 1] if spelling is None else spelling
                as_is = len(written) == end - start and folded.startswith(written, start)
                if as_is or written.isalnum() or _is_written(written, folded, start, end):
                    found[group].append((start, end, number))
        return found

    def complete(self) -> None:
        """Build the automaton of all phrases now."""
        self._build_whole()

    def _build(self, words: str) -> _Automaton:
        """The automaton of all phrases, or for the first searches that of those whose last word is there."""
        self._searches += 1
        phrases, last_words = self._held  # whole, as they go only once the other is there: threads search too
        if self._whole is not None or self._searches > FIRST_SEARCHES:
            return self._build_whole()
        there = frozenset(words.split())
        pairs = zip(phrases, last_words, strict=True)
        return _Automaton([phrase for phrase, last in pairs if last in there])

    def _build_whole(self) -> _Automaton:
        """The automaton of all phrases, which need not be remembered any longer."""
        phrases, _ = self._held
        if self._whole is None:
            self._whole = _Automaton(phrases)
            self._held = [], []
        return self._whole


class _Automaton:
    """Aho–Corasick over the words of phrases.

    Of nearly every pattern one phrase has these words and no others. It is remembered by its number alone, a
    fifth of the memory.
    """

    def __init__(self, phrases: Sequence[tuple[str, int, int]]) -> None:
        owners: dict[str, _Owner | list[_Owner]] = {}
        for phrase, group, number in phrases:
            written = _plain(fold(phrase))
            plain = written.replace(" ", "").isalnum() and "  " not in written
            words = written.strip() if plain else _JOINT.sub(" ", written).strip()
            # Neither does the text of a phrase have to be remembered that is its words.
            one = _Owner(None if words == written else written, group, number)
            known = owners.setdefault(f" {words} ", one)
            if known is not one:
                owners[f" {words} "] = [*(known if isinstance(known, list) else [known]), one]
        self._alone = array("q", (_packed(one) for one in owners.values()))
        self._others = {
            which: one if isinstance(one, list) else [one]
            for which, one in enumerate(owners.values())
            if self._alone[which] < 0
        }
        self._patterns = ahocorasick_rs.AhoCorasick(
            list(owners),
            matchkind=ahocorasick_rs.MatchKind.Standard,
            store_patterns=False,
            # A third of a full table's size: it stays in the processor's cache, and that is what counts here.
            implementation=ahocorasick_rs.Implementation.ContiguousNFA,
        )

    def owners(self, which: int) -> Sequence[_Owner]:
        """The phrases that have the words of a pattern."""
        packed = self._alone[which]
        if packed < 0:
            return self._others[which]
        return (_Owner(None, packed % _MOST_GROUPS, packed // _MOST_GROUPS),)

    def matches(self, words: str) -> list[tuple[int, int, int]]:
        """Number, start and end of every occurrence in `words`, also overlapping ones, by end."""
        return self._patterns.find_matches_as_indexes(words, overlapping=True)


def last_word(text: str) -> str:
    """The last word of `text`, folded; empty where it has none."""
    last = text.rpartition(" ")[2]
    if last.isascii() and last.isalnum():
        return last.lower()
    words = words_of(text)
    return words[-1] if words else ""


def words_of(text: str) -> list[str]:
    """The words of `text`, folded, as they are looked for in notes."""
    return _JOINT.sub(" ", fold(text)).split()


def _word_bounds(reduced: Reduced, first: int, last: int) -> tuple[int, int]:
    """Return where, in `words`, the whole words between two places of the text begin and end, with spaces."""
    start, end = reduced.positions.searchsorted((first, last)).tolist()
    # A word that is cut by either border is left out.
    return max(0, reduced.words.find(" ", max(0, start - 1))), reduced.words.rfind(" ", 0, end + 1) + 1


def keep_longest(found: list[Found]) -> list[Found]:
    """Return what does not overlap, by start: leftmost first, of those the longest, of those the first."""
    kept: list[Found] = []
    reached = 0
    for match in sorted(found, key=_leftmost_longest):
        if match[0] >= reached:
            kept.append(match)
            reached = match[1]
    return kept


def _leftmost_longest(match: Found) -> tuple[int, int, int]:
    return match[0], -match[1], match[2]


def _is_written(written: str, folded: str, start: int, end: int) -> bool:
    """Whether the text has a phrase's own punctuation around and between its words, white space aside."""
    if not written[0].isalnum():
        lead = len(written) - len(written.lstrip("-+(/"))
        if folded[max(0, start - lead) : start] != written[:lead]:
            return False
        written = written[lead:]
    if not written[-1].isalnum():
        words = written.rstrip(_PUNCTUATION)
        if not folded.startswith(written[len(words) :], end):
            return False
        written = words
    joints, wanted = _JOINT.findall(folded[start:end]), _JOINT.findall(written)
    return len(joints) == len(wanted) and all(map(_joint_agrees, wanted, joints))


def _joint_agrees(wanted: str, joint: str) -> bool:
    if wanted.strip(" -"):
        return _BLANK.sub("", _plain(joint)) == _BLANK.sub("", wanted)
    return _GAP.fullmatch(joint) is not None


def _plain(text: str) -> str:
    """Straighten apostrophes."""
    return text.replace("\u2019", "'").replace("`", "'").replace("\u00b4", "'")


def _word_codes(text: str) -> NDArray[np.uint8] | NDArray[np.uint32]:
    """Return the code point of every character that is part of a word, a space for every other one."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii").translate(_ASCII_WORDS), dtype=np.uint8)
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    words: NDArray[np.uint32] = _word_table()[np.minimum(points, _TABLE_SIZE - 1)]
    return words


_ASCII_WORDS = bytes(point if chr(point).isalnum() and point < 128 else _SPACE for point in range(256))


@cache
def _word_table() -> NDArray[np.uint32]:
    """Return for each code point itself if it is a letter or digit, else a space.

    The last entry, no character at all, stands for the planes behind the first: emoji and mathematical
    letters, none of which is part of a word here.
    """
    points = [point if chr(point).isalnum() else _SPACE for point in range(_TABLE_SIZE)]
    return np.array(points, dtype=np.uint32)
