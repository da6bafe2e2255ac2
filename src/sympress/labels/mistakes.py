"""All the mistakes of a file in one message: a reader notes each and goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sympress.errors import InputError, MistakesError

_LINE = re.compile(r", line (\d+)")


class Mistakes:
    """What is wrong with a file so far."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, mistake: str) -> None:
        """Note one; twice the same is one."""
        self._found[mistake] = None

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the mistake that ends the block, if one does."""
        try:
            yield
        except MistakesError as error:
            self._found.update(dict.fromkeys(error.mistakes))
        except InputError as error:
            self.add(str(error))

    def raise_any(self, *, by_line: bool = True) -> None:
        """Raise what was noted, by line unless the mistakes are those of several files.

        Raises:
            InputError: there is a mistake; the message is the mistake itself where it is the only one.
        """
        found = sorted(self._found, key=_line_of) if by_line else list(self._found)
        if len(found) == 1:
            raise InputError(found[0])
        if found:
            raise MistakesError(found)


def _line_of(mistake: str) -> int:
    line = _LINE.search(mistake)
    return int(line[1]) if line else 0
