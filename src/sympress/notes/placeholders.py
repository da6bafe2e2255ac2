"""Blanking what de-identification left in MIMIC notes, without moving a single offset."""

from __future__ import annotations

import re

#: Longest inside of a placeholder. Real ones stay below 60 characters; the limit keeps a stray "[**"
#: from reaching far into a note, and bounds how deep placeholders can nest.
MAX_INSIDE = 300

# The inside may span a newline, but never holds another opening or closing mark.
_PLACEHOLDER = re.compile(rf"\[\*\*(?:(?!\[\*\*|\*\*\])[\s\S]){{0,{MAX_INSIDE}}}\*\*\]")
_VISIBLE = re.compile(r"\S")


_YEAR = re.compile(r"\[\*\*\d{4}\*\*\]")


def read_years(text: str, year: str) -> str:
    """Return `text`, exactly as long, with every year that is a placeholder, `[**2131**]`, written as `year`.

    Shifted years tell no date, but where one is written a time that has gone by is meant.

    Args:
        text: of a note.
        year: at most ten characters.
    """
    return _YEAR.sub(f"{year:^10}", text) if "[**" in text else text


def mask_placeholders(text: str) -> str:
    """Return `text`, exactly as long, with every placeholder `[**…**]` turned into white space.

    The rule: a placeholder starts with ``[**``, ends at the next ``**]``, and has at most `MAX_INSIDE`
    characters in between, newlines included: ``[**2151-7-16**]``, ``[**Hospital 18**]``,
    ``[**First Name8 (NamePattern2) **]``. Each visible character of it becomes one space; its own white
    space (newlines above all) stays. One that stands inside another is masked with it. An opening mark
    without its closing mark is left as it is.

    Why white space: an offset found in the masked text is an offset of the original text; no word of a
    lexicon can match inside ("[**Known lastname Payne**]", "[**Hospital Burn Unit**]"); tokenizers make
    no token (WordPiece) or the fewest (byte-level BPE) of it; and kept newlines leave lines, hence
    section headings, where they were. A dummy word such as "NAME" would fit none of these. What
    remains visible is a gap: a rule that skips any run of white space sees the words on both sides of a
    placeholder as neighbours, as in "chest [**12-3**] pain".

    Masking what is already masked changes nothing.
    """
    if "[**" not in text:
        return text
    masked = _PLACEHOLDER.sub(_blank, text)
    # Blanking an inner placeholder can complete an outer one. MAX_INSIDE bounds the number of turns:
    # each level of nesting takes six characters of it.
    while masked != text:
        text, masked = masked, _PLACEHOLDER.sub(_blank, masked)
    return masked


def _blank(placeholder: re.Match[str]) -> str:
    return _VISIBLE.sub(" ", placeholder.group())
