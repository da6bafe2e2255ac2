"""Tables and figures in documents, regenerated from the result files of the repository.

A document holds blocks that this module fills:

    <!-- sympress:table results/mtsamples.json -->
    (the table and the line below it: never edited by hand)
    <!-- /sympress:table -->

`results/mtsamples.json full` gives the table with every column, `short` one of six.
`<!-- sympress:curves results/strategies.json docs/results/strategies.svg -->` draws the results into the
second file and shows it; `<!-- sympress:figure results/vaers-present.json docs/results/pareto.svg -->` does
so with the figure of the report;
`<!-- sympress:shape results/shape-pocket.json -->` is the table of what `benchmarks.shape` measured, and
`spans`, `years`, `source`, `forms`, `negex`, `cuts`, `packed`, `deep`, `evidence`, `fresh`, `growth`,
`pair`, `within`, `first`, `throughput`, `peers`, `classifiers`, `capacity`, `serve`, `extract`, `search` and
`tuned` are tables of `benchmarks.document_tables`.
`<!-- sympress:commands -->` and the other kinds of `benchmarks.reference` name no file: they are made from
the code. Each is closed by its own kind. `make docs` runs this module.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.document_curves import curves_svg
from benchmarks.document_tables import MEASURED_TABLES
from benchmarks.reference import REFERENCE
from sympress.errors import InputError
from sympress.files import write_text
from sympress.report.columns import NOT_APPLICABLE, format_number, seeds_of
from sympress.report.figures import pareto_figure, svg_of
from sympress.report.sections import command_of
from sympress.report.verdict import escape_markdown, explanation, markdown_table
from sympress.results import Results, load_results

OPENING = re.compile(r"<!-- sympress:(?P<kind>\S+)(?: (?P<path>\S+)(?: (?P<option>\S+))?)? -->")
FENCE = re.compile(r"\s*(```|~~~)")
#: What stands over what is folded below a table.
MEASURED = "How it was measured"
#: The columns of a short table.
SHORT = ("strategy", "F1 micro", "kept", "size MB (×)", "× PyTorch", "verdict")
#: What may follow the results file of a block, and how the block is written.
OPTIONS = {
    "table": (r"(full|short)?", "<!-- sympress:table RESULTS [full|short] -->"),
    "curves": (r".+\.svg", "<!-- sympress:curves RESULTS FIGURE.svg -->"),
    "figure": (r".+\.svg", "<!-- sympress:figure RESULTS FIGURE.svg -->"),
    "shape": ("", "<!-- sympress:shape RESULTS -->"),
    **{kind: ("", f"<!-- sympress:{kind} RESULTS -->") for kind in MEASURED_TABLES},
    **{kind: ("", f"<!-- sympress:{kind} -->") for kind in REFERENCE},
}


@dataclass(frozen=True)
class Block:
    """What stands between the lines `opened` and `closed` of a document, counted from 0.

    Attributes:
        opened: the line with the opening comment.
        closed: the line with the closing one.
        kind: one of `KINDS`.
        source: the results file, which need not exist; of a reference the root.
        option: `full` of a table, the figure of curves below the root, else empty.
    """

    opened: int
    closed: int
    kind: str
    source: Path
    option: str


def render_document(text: str, root: Path, folder: Path | None = None) -> str:
    """Return `text` with every block filled from its file below `root`; the rest is untouched.

    A block whose file does not exist is left empty. Blocks shown inside a fenced code block are text.

    Args:
        text: the document.
        root: where the paths in the blocks start.
        folder: where the document lies, for its links to figures; `root` by default.

    Raises:
        InputError: a block is not closed or not known, its file lies outside `root`, or is damaged.
    """
    lines = text.split("\n")
    rendered: list[str] = []
    done = 0
    for block in _blocks(lines, root):
        rendered += lines[done : block.opened + 1]
        if block.source.exists():
            rendered += ["", *KINDS[block.kind](block, root, folder or root), ""]
        done = block.closed
    return "\n".join(rendered + lines[done:])


def figures(text: str, root: Path) -> dict[Path, str]:
    """Return the SVG that each figure of `text` must hold, by its file; none where the results are missing.

    Raises:
        InputError: as `render_document`.
    """
    return {
        _below(root, block.option): DRAWN[block.kind](load_results(block.source))
        for block in _blocks(text.split("\n"), root)
        if block.kind in DRAWN and block.source.exists()
    }


def render_files(root: Path) -> list[Path]:
    """Rewrite the documents below `root`, and their figures, that have drifted; return those that changed.

    Raises:
        InputError: as `render_document`, naming the document.
    """
    changed = []
    for path in documents(root):
        before = path.read_text(encoding="utf-8")
        try:
            wanted = figures(before, root) | {path: render_document(before, root, path.parent)}
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        for file, content in wanted.items():
            if not file.exists() or file.read_text(encoding="utf-8") != content:
                write_text(file, content)
                changed.append(file)
    return changed


def documents(root: Path) -> list[Path]:
    """Return the documents of the repository: those at its root, under `docs` and beside the code."""
    return sorted({*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("src/**/*.md")})


# Blocks --------------------------------------------------------------------------------------------


def _blocks(lines: list[str], root: Path) -> Iterator[Block]:
    """Yield the blocks outside fences, from top to bottom."""
    fenced, number = False, 0
    while number < len(lines):
        fenced ^= FENCE.match(lines[number]) is not None
        opening = None if fenced else OPENING.fullmatch(lines[number].strip())
        if opening is not None:
            kind, option = opening["kind"], opening["option"] or ""
            _check(kind, opening["path"], option, number)
            closed = _closing(lines, number, kind)
            yield Block(number, closed, kind, _below(root, opening["path"] or "."), option)
            number = closed
        number += 1


def _check(kind: str, path: str | None, option: str, number: int) -> None:
    if kind not in KINDS:
        raise InputError(f"line {number + 1}: unknown block {kind!r}; there are {', '.join(KINDS)}")
    allowed, written = OPTIONS[kind]
    if not re.fullmatch(allowed, option):
        raise InputError(f"line {number + 1}: {kind} block with {option!r}; write  {written}")
    if (path is None) != (kind in REFERENCE):
        raise InputError(f"line {number + 1}: {kind} block with {path or 'no file'}; write  {written}")


def _closing(lines: list[str], opened: int, kind: str) -> int:
    """Return the number of the line that closes the block opened at line `opened`."""
    closing = f"<!-- /sympress:{kind} -->"
    for number in range(opened + 1, len(lines)):
        if lines[number].strip() == closing:
            return number
        if OPENING.fullmatch(lines[number].strip()):
            break
    raise InputError(f"line {opened + 1}: {kind} block is not closed; add  {closing}")


def _below(root: Path, name: str) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise InputError(f"{name}: lies outside {root.name}; name a file of the repository")
    return path


def _table(block: Block, _root: Path, _folder: Path) -> list[str]:
    results = load_results(block.source)
    seeds = seeds_of(results)
    spread = f"mean (range) over {len(seeds)} seeds" if len(seeds) > 1 else "with 95 % intervals in brackets"
    caption = f"{results.data.test:,} test notes, {spread}."
    if block.option == "short":
        return [markdown_table(results, only=SHORT), "", caption]
    reading = escape_markdown(explanation(results))
    table = markdown_table(results, full=block.option == "full")
    return [table, "", caption, "", *collapsed("How to read and remake this table", reading, *_made(results))]


def collapsed(title: str, *lines: str) -> list[str]:
    """Lines that a reader unfolds by a click on `title`, on the site as in the repository."""
    return ['<details markdown="1">', f"<summary>{title}</summary>", "", *lines, "", "</details>"]


def _figure(block: Block, root: Path, folder: Path) -> list[str]:
    shown = "F1 of every row against its bytes and against its latency; the numbers are in the table"
    return [f"![{shown}]({_link(block, root, folder)})"]


def _link(block: Block, root: Path, folder: Path) -> str:
    return Path(os.path.relpath(_below(root, block.option), folder.resolve())).as_posix()


def _curves(block: Block, root: Path, folder: Path) -> list[str]:
    link = _link(block, root, folder)
    shown = "F1 of every strategy against its bytes and against its latency; the numbers are in the table"
    made = _made(load_results(block.source))[1:]
    return [f"![{shown}]({link})", *(["", *collapsed("How to remake this figure", *made)] if made else [])]


def _made(results: Results) -> list[str]:
    """The command that made the results, in a block of its own; nothing where it is not known."""
    command = command_of(results)
    return ["", "```console", command, "```"] if command and "`" not in command else []


def _shape(block: Block, _root: Path, _folder: Path) -> list[str]:
    try:
        return shape_table(json.loads(block.source.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{block.source}: damaged ({type(error).__name__}); run `make bench-shape` again"
        ) from error


def shape_table(measured: dict[str, Any]) -> list[str]:
    """Markdown of what `study.shape.measure_shape` returns: a line a row, then how it was measured."""
    lines = [
        "| row | MB | p50 ms | pressed is smaller by | pressed is faster by |",
        "| :-- | --: | --: | --: | --: |",
    ]
    for name, row in measured["rows"].items():
        ratios = [f"{format_number(row[key], 1)}×" for key in ("times_smaller", "times_slower")]
        cells = [escape_markdown(name), format_number(row["size_bytes"] / 1e6, 1)]
        cells += [format_number(row["latency_ms_p50"], 2)]
        cells += [NOT_APPLICABLE] * 2 if name == "pressed" else ratios
        lines.append(f"| {' | '.join(cells)} |")
    lengths = ", ".join(str(int(length)) for length in measured["word_pieces_a_note"])
    threads = f"{int(measured['threads'])} thread{'s' * (measured['threads'] > 1)}"
    processor = measured["environment"]["processor"]
    pooling = measured.get("pooling", "maximum")
    caption = (
        f"Encoder: {measured['encoder']}, pooling {pooling}; no weights are trained, so nothing is said of "
        f"quality. Notes of {lengths} word pieces at batch 1, {int(measured['rounds'])} rounds, {threads} of "
        f"{processor}, all rows timed in turn; ratios are medians over notes and rounds; MB = 10⁶ bytes."
    )
    return [
        *lines,
        "",
        f"Pressed by `{measured['recipe']}`.",
        "",
        *collapsed(MEASURED, escape_markdown(caption)),
    ]


def _measured(block: Block, _root: Path, _folder: Path) -> list[str]:
    try:
        lines = MEASURED_TABLES[block.kind](json.loads(block.source.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise InputError(f"{block.source}: damaged ({type(error).__name__}); measure it again") from error
    *table, caption = lines
    first, _, further = caption.partition(". ")
    if not further:
        return lines
    return [*table, f"{first}.", "", *collapsed(MEASURED, further)]


def _reference(block: Block, _root: Path, _folder: Path) -> list[str]:
    return REFERENCE[block.kind]()


def pareto_svg(results: Results) -> str:
    """Return `pareto_figure` as SVG.

    Raises:
        InputError: fewer than two strategies have an F1, a size and a latency.
    """
    figure = pareto_figure(results)
    if figure is None:
        raise InputError("no two rows have an F1, a size and a latency: there is nothing to draw")
    return svg_of(figure)


#: What fills a block, by its kind.
KINDS: dict[str, Callable[[Block, Path, Path], list[str]]] = {
    "table": _table,
    "curves": _curves,
    "figure": _figure,
    "shape": _shape,
    **dict.fromkeys(MEASURED_TABLES, _measured),
    **dict.fromkeys(REFERENCE, _reference),
}

#: What draws the figure of a block.
DRAWN: dict[str, Callable[[Results], str]] = {"curves": curves_svg, "figure": pareto_svg}


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
