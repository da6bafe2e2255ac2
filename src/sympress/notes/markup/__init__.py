"""Read a note as it comes (HTML, CDA, RTF, HL7 v2, odd Unicode) as plain text with places in the original."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sympress.notes.markup.fields import CdaPage, Hl7Page, is_hl7
from sympress.notes.markup.html import CDA_NAMES, HtmlPage, Tags, has_reference, keeps_lines
from sympress.notes.markup.rendering import Markup, Places, Rendering, read_lookalikes
from sympress.notes.markup.rtf import BEGIN, RtfPage

#: Markup within markup is read this deep: HTML in RTF in a message of HL7.
LAYERS = 3

# Where these are, CDA's `list` and `text` are other things.
_HTML_ONLY = frozenset(("html", "body", "svg"))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class View:
    """The text of a note as its readers see it.

    Attributes:
        text: plain text; the original itself where nothing is to be read otherwise.
        markup: what the original is written in, None for plain text; of nested ones the outermost.
        denied: spans of `text` that the markup itself marks as negated, by start.
        starts: `(len(text),)` place in the original of every character; None where `text` is the original.
        ends: `(len(text),)` one past the last character of the original that it stands for.
    """

    text: str
    markup: Markup | None = None
    denied: tuple[tuple[int, int], ...] = ()
    starts: Places | None = None
    ends: Places | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where the characters `start` to `end` of `text` stand in the original."""
        if self.starts is None or self.ends is None:
            return start, end
        if start >= end:
            size = len(self.text)
            place = int(self.starts[start]) if start < size else int(self.ends[-1]) if size else 0
            return place, place
        return int(self.starts[start]), int(self.ends[end - 1])


def read_view(text: str) -> View:
    """Return a note as plain text: HTML, CDA, RTF and HL7 v2 read, look-alikes of Unicode replaced.

    Markup is read only where it is beyond doubt: known tags, character references written in full, the
    beginning of RTF, segments of HL7. `temp <38`, `<Redacted>` and `R&D` stay as they are. Markup that is
    malformed or cut is read as far as it goes. Time is linear in the length.
    """
    view = View(text)
    for layer in range(LAYERS):
        read = _read_markup(view.text, first=not layer)
        if read is None:
            break
        view = _behind(view, read[1], view.markup or read[0])
    plain = read_lookalikes(view.text)
    return view if plain is None else _behind(view, plain, view.markup)


def _read_markup(text: str, *, first: bool) -> tuple[Markup, Rendering] | None:
    """Return the outermost markup of a text, and the text without it; None if it has none."""
    if BEGIN in text and text.lstrip("\ufeff \t\r\n").startswith(BEGIN):
        return "rtf", _read_rtf(text)
    if is_hl7(text):
        message = Hl7Page(text)
        message.read()
        return "hl7", message
    if "<" in text or "&" in text:
        tags = Tags(text)
        if tags.sure or has_reference(text):
            names = tags.names & CDA_NAMES
            is_cda = bool(names) and not tags.names & _HTML_ONLY
            # Lines of a text that was markup before are those of its page.
            page = (CdaPage if is_cda else HtmlPage)(text, tags, keep_lines=not first or keeps_lines(tags))
            page.read()
            return "cda" if is_cda else "html", page
    if BEGIN in text:
        return "rtf", _read_rtf(text)
    return None


def _read_rtf(text: str) -> RtfPage:
    """Read RTF with the plain text before and behind it."""
    page = RtfPage(text)
    begin = text.index(BEGIN)
    page.say(0, begin)
    page.end_line()
    end = page.read(begin)
    page.end_line()
    page.say(end, len(text))
    return page


def _behind(view: View, rendering: Rendering, markup: Markup | None) -> View:
    """Return a rendering of a view's text as a view of the original."""
    text, starts, ends = rendering.finish()
    kept = (_within(span, starts, ends) for span in view.denied)
    denied = tuple(sorted({*(span for span in kept if span[0] < span[1]), *rendering.denied}))
    if view.starts is not None and view.ends is not None and len(text):
        size = len(view.starts)
        # A piece for which nothing stands begins and ends where the next character begins.
        originals = np.append(view.starts, view.ends[-1:] if size else [0])
        empty = ends <= starts
        ends = np.where(empty, originals[starts], view.ends[np.maximum(ends, 1) - 1])
        starts = originals[starts]
        ends = np.maximum(ends, starts)
    return View(text, markup, denied, starts, ends)


def _within(span: tuple[int, int], starts: Places, ends: Places) -> tuple[int, int]:
    """Return which characters stand for those of a span."""
    return int(np.searchsorted(ends, span[0], "right")), int(np.searchsorted(starts, span[1], "left"))
