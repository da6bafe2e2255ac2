"""`sympress report RUN`: make the report of a run, or of several, from the results files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sympress.errors import InputError, SympressError
from sympress.files import write_text
from sympress.report.card import write_cards
from sympress.report.csvs import write_csvs
from sympress.report.figures import write_figures
from sympress.report.html import Example, render_page, write_report
from sympress.report.latex import write_tables
from sympress.report.recommend import advise
from sympress.report.tables import console_table, verdict
from sympress.results import Results, load_results

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
        bool, typer.Option("--show-examples", help="Show notes whose answer flipped: puts TEXT OF NOTES in.")
    ] = False,
) -> None:
    """Rebuild report.html and the CSV files from results.json, and print the table."""
    loaded = [(run, load_results(run)) for run in runs]
    if len(loaded) > 1 and show_examples:
        raise InputError("--show-examples shows the notes of one run; give one run")
    console = Console()
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
            console.print(f"{name}: {advise(results).sentence}", markup=False, highlight=False)
    for run, results in loaded:
        written = write_figures(results, _folder(run) / "figures") if figures else []
        written += write_tables(results, _folder(run)) if tables else []
        written += write_cards(results, _folder(run), _read(evidence)) if evidence is not None else []
        if track is not None:
            console.print(f"tracked {len(_track(results, run, track))} MLflow runs", highlight=False)
        for path in written:
            console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"next: open {page}", markup=False, highlight=False, soft_wrap=True)


def _check(run: Path, results: Results, predictions: Path, console: Console) -> None:
    """Say whether the table follows from the predictions."""
    from sympress.study.predictions import check_results, read_predictions

    checked = check_results(results, read_predictions(predictions))
    for line in checked.differing:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if checked.differing:
        count = f"{len(checked.differing):,} of {checked.figures:,} figures"
        raise SympressError(f"{run}: {count} do not follow from {predictions}")
    console.print(
        f"{checked.figures:,} figures of {checked.rows} rows agree with {predictions}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _report_one(run: Path, results: Results, console: Console, *, show_examples: bool) -> Path:
    """Print the table and what it says; write the CSV files and the page."""
    console.print(console_table(results))
    advice = advise(results)
    for sentence in (advice.sentence, *advice.further, *verdict(results)):
        console.print(f"• {sentence}", markup=False, highlight=False)
    written = write_csvs(results, _folder(run))
    page = write_report(results, _folder(run), _examples(run) if show_examples else ())
    console.print(
        f"\nWrote {len(written)} CSV files and {page}", markup=False, highlight=False, soft_wrap=True
    )
    return page


def _track(results: Results, run: Path, uri: str) -> list[str]:
    from sympress.study.track import track_results

    return track_results(results, _folder(run), uri)


def _read(evidence: Path) -> str:
    try:
        return evidence.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{evidence}: cannot be read ({type(error).__name__}); give a UTF-8 text") from error


def _examples(run: Path) -> list[Example]:
    from sympress.extras import require_training

    require_training()
    from sympress.study.examples import flipped_examples

    return flipped_examples(run)


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
