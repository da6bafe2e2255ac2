"""Short templates for surface forms: `vomit{,s,ed,ing}`, `pain in {the} {site}`.

`{a,b,c}` stands for one of the alternatives between the commas, an empty one for nothing; `{name}` for one
of the words of a list that the lexicon's file names. Braces do not nest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product

from sympress.errors import InputError, nearest
from sympress.labels.mistakes import Mistakes

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
