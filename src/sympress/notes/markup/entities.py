"""Character references of HTML and XML (`&nbsp;`, `&#39;`, `&#x27;`), as browsers read them."""

from __future__ import annotations

import html
import re
from functools import lru_cache
from html.entities import html5

#: What may be a reference. The longest name has 31 letters.
REFERENCE = re.compile(r"&(?:#[0-9]{1,7};?|#[xX][0-9a-fA-F]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};?)")
# Without tags around it only this much is proof of a reference: `R&D;` is none.
_PROOF = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|lt|gt|[A-Za-z][A-Za-z0-9]{2,31});")


@lru_cache(maxsize=4096)
def decode_reference(reference: str) -> tuple[str, int]:
    """Return what a match of `REFERENCE` stands for and how many characters of it do so.

    As in a browser, a known name counts without its semicolon and where letters follow (`&nbspfever`);
    of what is no reference none does: `("", 0)`.
    """
    name = reference[1:]
    if name.startswith("#"):
        return html.unescape(reference), len(reference)
    for length in range(len(name), 1, -1):
        if (value := html5.get(name[:length])) is not None:
            return value, length + 1
    return "", 0


def has_reference(text: str) -> bool:
    """Whether a text without tags has a reference that is written in full."""
    return "&" in text and any(found[0][1] == "#" or found[0][1:] in html5 for found in _PROOF.finditer(text))
