"""`sympress report` and `sympress compare`: results as pages and tables, and two of them side by side."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sympress.cli.options import plain_console
from sympress.errors import InputError, SympressError
from sympress.files import write_json, write_text
from sympress.report.advice import advise
from sympress.report.card import write_cards
from sympress.report.columns import format_difference, format_number, format_p
from sympress.report.figures import write_figures
from sympress.report.page import Example, render_page, write_report
from sympress.report.paper import write_csvs, write_tables
from sympress.report.sections import PrecisionRecall
from sympress.report.verdict import console_table, printable, verdict
from sympress.results import Results, load_results

if TYPE_CHECKING:
    from sympress.studies.compare import Paired


#: The page of several runs, beside the first run's own.
COMPARED = "report-compared.html"


def report(  # noqa: PLR0917  one option a setting; typer passes them by name
    runs: Annotated[
        list[Path], typer.Argument(help="Folders that `sympress study -o` wrote.", show_default=False)
    ],
    figures: Annotated[
        bool, typer.Option("--figures", help="Also write RUN/figures/*.svg and *.png, for papers.")
    ] = False,
    tables: Annotated[bool, typer.Option("--tables", help="Also write RUN/table.tex and table.md.")] = False,
    evidence: Annotated[
        Path | None,
        typer.Option(help="Text file on a clinical validation, to be quoted in the artifacts' cards."),
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(
            metavar="URI", help="Also write to MLflow: `file` for RUN/mlruns, a folder, a database, a server."
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            help="RUN/predictions.npz: compute figures and intervals again from it, and only say whether "
            "they agree.",
            show_default=False,
        ),
    ] = None,
    show_examples: Annotated[
        bool,
        typer.Option(
            "--show-examples",
            help="List notes that were answered wrongly or changed: puts TEXT OF NOTES in.",
        ),
    ] = False,
) -> None:
    """Rebuild report.html and the CSV files from results.json, and print the table."""
    loaded = [(run, load_results(run)) for run in runs]
    if len(loaded) > 1 and show_examples:
        raise InputError("--show-examples shows the notes of one run; give one run")
    console = plain_console()
    if check is not None:
        if len(loaded) > 1:
            raise InputError("--check has the predictions of one run; give one run")
        _check(*loaded[0], check, console)
        return
    if len(loaded) == 1:
        page = _report_one(*loaded[0], console, show_examples=show_examples)
    else:
        page = _folder(runs[0]) / COMPARED
        write_text(page, render_page(_named(loaded)))
        for name, results in _named(loaded):
            console.print(f"{name}: {advise(results).headline}", soft_wrap=False)
    for run, results in loaded:
        written = write_figures(results, _folder(run) / "figures") if figures else []
        written += write_tables(results, _folder(run)) if tables else []
        written += write_cards(results, _folder(run), _read(evidence)) if evidence is not None else []
        if track is not None:
            from sympress.studies.run import track_results

            console.print(f"tracked {len(track_results(results, _folder(run), track))} MLflow runs")
        for path in written:
            console.print(f"wrote {path}")
    console.print(f"next: open {page}")


def _check(run: Path, results: Results, predictions: Path, console: Console) -> None:
    """Say whether the table follows from the predictions."""
    from sympress.studies.results import check_results, read_predictions

    checked = check_results(results, read_predictions(predictions, results.task))
    for line in checked.differing:
        console.print(line)
    if checked.differing:
        count = f"{len(checked.differing):,} of {checked.figures:,} figures"
        raise SympressError(f"{run}: {count} do not follow from {predictions}")
    console.print(f"{checked.figures:,} figures of {checked.rows} rows agree with {predictions}")


def _report_one(run: Path, results: Results, console: Console, *, show_examples: bool) -> Path:
    """Print the table and what it says; write the CSV files and the page."""
    console.print(console_table(results, console.width), soft_wrap=False)
    advice = advise(results)
    for sentence in (advice.headline, *advice.further, *verdict(results)):
        console.print(f"• {sentence}", soft_wrap=False)
    written = write_csvs(results, _folder(run))
    page = write_report(results, _folder(run), _examples(run) if show_examples else (), _curves(run, results))
    console.print(f"\nWrote {len(written)} CSV files and {page}")
    return page


def _read(evidence: Path) -> str:
    try:
        return evidence.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{evidence}: cannot be read ({type(error).__name__}); give a UTF-8 text") from error


def _examples(run: Path) -> list[Example]:
    from sympress.errors import require_training

    require_training()
    from sympress.studies.results import error_examples

    return error_examples(run)


def _curves(run: Path, results: Results) -> list[PrecisionRecall]:
    """Precision against recall from the run's predictions; none where it keeps none or PyTorch is missing."""
    predictions = _folder(run) / "predictions.npz"
    if not predictions.is_file() or find_spec("torch") is None:
        return []
    from sympress.studies.results import precision_recall, read_predictions

    return precision_recall(results, read_predictions(predictions, results.task))


def _folder(run: Path) -> Path:
    return run if run.is_dir() else run.parent


def _named(loaded: list[tuple[Path, Results]]) -> list[tuple[str, Results]]:
    """The runs with the names of their folders, or of their files; equal names get the folder above too."""
    names = [path.resolve().stem if path.is_file() else path.resolve().name for path, _ in loaded]
    if len(set(names)) < len(names):
        names = [
            f"{path.resolve().parent.name}/{name}" for name, (path, _) in zip(names, loaded, strict=True)
        ]
    return [(name, results) for name, (_, results) in zip(names, loaded, strict=True)]


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A run or an artifact.", show_default=False)],
    second: Annotated[
        Path | None,
        typer.Argument(
            metavar="B",
            help="Another of its kind; or nothing, for a run whose rows meet their own baseline.",
            show_default=False,
        ),
    ] = None,
    notes: Annotated[
        Path | None,
        typer.Option(help="The notes that they were made from, where they moved; not for two runs."),
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(
            help="Judge two artifacts, or what a run pressed, by the test notes of this share of patients, a "
            "larger one than theirs."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the numbers to this JSON file.")
    ] = None,
) -> None:
    """Compare two runs, or two artifacts, on the same notes: paired bootstrap by patient, McNemar, Holm.

    With --test-fraction, one run by itself: what it pressed, against the baseline of each seed.
    """
    from sympress.errors import require_training

    require_training()
    from sympress.progress import Reporter
    from sympress.studies.compare import compare_paths

    rows = compare_paths(first, second, notes=notes, test_fraction=test_fraction, reporter=Reporter())
    console = plain_console()
    table = comparison_table(rows, first, second, narrow=console.width < _WIDE)
    console.print(table, soft_wrap=False)
    if output is not None:
        told = [row.as_json() for row in rows]
        write_json(output, {"format": 1, "a": first.name, "b": second and second.name, "rows": told})
        console.print(f"wrote {output}")


#: Columns of a terminal that hold a line a pair; on fewer a pair takes a line a number.
_WIDE = 120
_HEADERS = (
    "row",
    "notes",
    "differ",
    "F1 A",
    "F1 B",
    "Δ macro F1",
    "p",
    "p Holm",
    "Δ micro F1",
    "p",
    "McNemar",
)


def comparison_table(rows: list[Paired], first: Path, second: Path | None, *, narrow: bool = False) -> Table:
    """Both micro-F1 of each pair, the differences (B minus A) and their p-values.

    Without `second` the rows of `first` meet its baselines; if `narrow`, each number has a line of its own.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        show_header=not narrow,
        title=Text(printable(f"A {first}   B {second}" if second else f"A baseline, B row, both of {first}")),
        caption=Text(
            "Δ is B minus A, with 95 % bootstrap interval by patient; p by swapping whole patients’ answers, "
            "Holm over the rows; McNemar takes answers as independent."
        ),
        title_justify="left",
        caption_justify="left",
    )
    if narrow:
        table.add_column()
        table.add_column(justify="right")
        for row in rows:
            pairs = list(zip(_HEADERS, _cells(row), strict=True))
            for number, (header, cell) in enumerate(pairs, start=1):
                table.add_row(header, Text(printable(cell)), end_section=number == len(pairs))
        return table
    for number, header in enumerate(_HEADERS):
        table.add_column(header, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in _cells(row)))
    return table


def _cells(row: Paired) -> tuple[str, ...]:
    """A pair's numbers in the order of `_HEADERS`."""
    return (
        row.name if row.seed is None else f"{row.name} · seed {row.seed}",
        format_number(row.notes, 0),
        format_number(row.differing, 0),
        format_number(row.micro_f1_a, 3),
        format_number(row.micro_f1_b, 3),
        format_difference(row.macro_difference),
        format_p(row.p_macro),
        format_p(row.p_holm),
        format_difference(row.micro_difference),
        format_p(row.p_micro),
        format_p(row.p_mcnemar),
    )
