"""Tables in documents, regenerated from the result files of the repository.

A document holds blocks that this module fills:

    <!-- sympress:table results/demo.json -->
    (the table and the line below it: never edited by hand)
    <!-- /sympress:table -->

`results/demo.json full` gives the table with every column. `make docs` runs this module.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sympress.errors import InputError
from sympress.files import write_text
from sympress.report.html import command_of
from sympress.report.tables import escape_markdown, explanation, markdown_table
from sympress.results import load_results

OPENING = re.compile(r"<!-- sympress:table (?P<path>\S+)(?P<full> full)? -->")
CLOSING = "<!-- /sympress:table -->"
FENCE = re.compile(r"\s*(```|~~~)")


def render_document(text: str, root: Path) -> str:
    """Return `text` with every table block filled from its file below `root`; the rest is untouched.

    A block whose file does not exist is left empty. Blocks shown inside a fenced code block are text.

    Raises:
        InputError: a block is not closed, its file lies outside `root`, or the file is damaged.
    """
    lines = text.split("\n")
    rendered: list[str] = []
    fenced = False
    number = 0
    while number < len(lines):
        line = lines[number]
        fenced ^= FENCE.match(line) is not None
        rendered.append(line)
        opening = None if fenced else OPENING.fullmatch(line.strip())
        if opening is not None:
            number = _closing(lines, number)
            rendered += _block(opening, root)
            rendered.append(lines[number])
        number += 1
    return "\n".join(rendered)


def render_files(root: Path) -> list[Path]:
    """Rewrite the documents below `root` whose tables have drifted; return those that changed.

    Raises:
        InputError: as `render_document`, naming the document.
    """
    changed = []
    for path in documents(root):
        before = path.read_text(encoding="utf-8")
        try:
            after = render_document(before, root)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        if after != before:
            write_text(path, after)
            changed.append(path)
    return changed


def documents(root: Path) -> list[Path]:
    """Return the documents of the repository: those at its root, under `docs` and beside the code."""
    return sorted({*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("src/**/*.md")})


def _closing(lines: list[str], opened: int) -> int:
    """Return the number of the line that closes the block opened at line `opened`."""
    for number in range(opened + 1, len(lines)):
        if lines[number].strip() == CLOSING:
            return number
        if OPENING.fullmatch(lines[number].strip()):
            break
    raise InputError(f"line {opened + 1}: table block is not closed; add  {CLOSING}")


def _block(opening: re.Match[str], root: Path) -> list[str]:
    path = (root / opening["path"]).resolve()
    if not path.is_relative_to(root.resolve()):
        raise InputError(f"{opening['path']}: lies outside {root.name}; name a file of the repository")
    if not path.exists():
        return []
    results = load_results(path)
    command = command_of(results)
    made = f"`{command}`. " if command and "`" not in command else ""
    caption = escape_markdown(explanation(results))
    return ["", markdown_table(results, full=opening["full"] is not None), "", f"{made}{caption}", ""]


def main(root: Path) -> int:
    """Fill the documents below `root`, say which changed, and return the exit code."""
    try:
        changed = render_files(root)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.writelines(f"wrote {path}\n" for path in changed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path.cwd()))
