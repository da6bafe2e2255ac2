"""Files that a user wrote about symptoms, cues or sections, with all their mistakes in one message."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sympress.errors import InputError, MistakesError, nearest
from sympress.files import refuse_pipe

# All the mistakes of a file in one message: a reader notes each and goes on.


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


# Files that a user wrote about symptoms, cues or sections, read with limits; TOML with lines of tables.


#: The largest file that is read. Our own lexicon has less than half a megabyte.
LARGEST_BYTES = 8_000_000


def read_text(path: Path, what: str) -> str:
    """Return the text of a file that a user wrote.

    Args:
        path: of the file.
        what: what messages call it, such as `lexicon`.

    Raises:
        InputError: no such file, a pipe or a device, one that cannot be read, is larger than
            `LARGEST_BYTES`, or is not UTF-8.
    """
    refuse_pipe(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path of the {what}")
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check the file's permissions"
        ) from error
    if len(raw) > LARGEST_BYTES:
        raise InputError(
            f"{path}: more than {LARGEST_BYTES // 10**6} MB; a {what} is smaller, name another file"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: not UTF-8; save the {what} as UTF-8") from error


def parse_table(text: str, source: str) -> dict[str, Any]:
    """Return what a TOML text holds; `source` is what messages call the file.

    Raises:
        InputError: not TOML, or nested deeper than can be read.
    """
    try:
        return tomllib.loads(text)
    except ValueError as error:  # the parser's own ends in "(at line L, column C)"; a number may be too long
        raise InputError(f"{source}: not valid TOML: {error}; correct that line") from error
    except RecursionError as error:
        raise InputError(f"{source}: nested too deeply; lists here hold texts, not lists") from error


def check_keys(keys: Iterable[str], known: Sequence[str], where: str, mistakes: Mistakes) -> None:
    """Note each of `keys` that is none of `known`, the keys of a file or of one of its tables."""
    for key in keys:
        if key not in known:
            mistakes.add(f"{where}: unknown key {key!r}{nearest(key, known)}; use {', '.join(known)}")


#: What `extends` says of a file of cues or sections.
_EXTENDS = ("clinical", "none")


def extends_ours(parsed: Mapping[str, Any], source: str) -> bool:
    """Return whether a file of cues or sections adds to ours, as it does unless it says `none`.

    Raises:
        InputError: `extends` is something else.
    """
    extends = parsed.get("extends", "clinical")
    if extends not in _EXTENDS:
        raise InputError(
            f'{source}: extends is {extends!r}; write "clinical" to add to ours, "none" to replace them'
        )
    return bool(extends == "clinical")


def located(text: str, key: str, entries: Any, source: str, called: str = "entry") -> list[tuple[str, Any]]:
    """Return each entry of `[[key]]` with its place: tomllib keeps none, the n-th header is the n-th entry.

    Raises:
        InputError: `key` is no list of tables.
    """
    if not isinstance(entries, list):
        raise InputError(f"{source}: [{key}] is one table; write [[{key}]] for each entry")
    header = re.compile(rf"\s*\[\[\s*{re.escape(key)}\s*\]\]")
    headers = [number for number, line in enumerate(text.splitlines(), 1) if header.match(line)]
    by_line = len(headers) == len(entries)
    return [
        (f"{source}, line {headers[k]}" if by_line else f"{source}, {called} {k + 1}", entry)
        for k, entry in enumerate(entries)
    ]


def texts_of(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """Return the list of texts under `key`, stripped; an empty one where it is not there.

    Raises:
        InputError: it is something else.
    """
    values = table.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InputError(f'{where}: {key} must be a list of texts, e.g. {key} = ["..."]')
    return tuple(value.strip() for value in values)


def lists_of(parsed: Mapping[str, Any], key: str, source: str) -> dict[str, tuple[str, ...]]:
    """Return the lists of texts in the table `[key]`, by name.

    Raises:
        InputError: it is no table, or holds something else.
    """
    table = parsed.get(key, {})
    if not isinstance(table, dict):
        raise InputError(f"{source}: {key} must be a table of lists; write [{key}]")
    return {name: texts_of(table, name, f"{source}, [{key}]") for name in table}
