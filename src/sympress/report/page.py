"""One self-contained HTML page a run, and what a search for a budget leaves."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from sympress.compression.search import FINISHED, SearchResult, Tried, parse_budget
from sympress.errors import InputError, of_extra
from sympress.files import write_json, write_text
from sympress.report.advice import Advice, advise
from sympress.report.columns import (
    UNDEFINED,
    Group,
    format_difference,
    format_estimate,
    format_number,
    format_ratio,
    groups,
    looks,
    seeds_of,
)
from sympress.report.figures import INK, drawing, log_axis, name_marks, panels, score_axis, svg_of
from sympress.report.interactive import (
    Drawing,
    bokeh_script,
    calibration_drawings,
    cost_ends,
    curve_drawings,
    epoch_drawings,
    pareto_drawings,
    score_ends,
    with_epochs,
)
from sympress.report.paper import epochs_beside, points_of, published_beside
from sympress.report.sections import (
    CLAIM_HEADERS,
    SPAN_HEADERS,
    PrecisionRecall,
    block_of,
    calibration_of,
    changes_of,
    claims_table,
    command_of,
    config_text,
    data_facts,
    drift_table,
    flatten,
    groups_of,
    leak_sentence,
    parts_of,
    spans_of,
    symptom_matrix,
    table_of,
    tests_of,
    thresholds_of,
)
from sympress.report.verdict import (
    caption,
    explanation,
    headline_f1,
    headline_name,
    latency_ms,
    printable,
    scored_part,
    size_mb,
    verdict,
)
from sympress.results import Results

if TYPE_CHECKING:
    from jinja2 import Environment

# One self-contained HTML page a run, or of several runs: no network, every word of the data escaped.


#: Characters of a page's own layout, which `printable` would replace.
_LAYOUT = "\n\t"
_UNIT = re.compile(r"(\d) (MB|ms)\b")


@dataclass(frozen=True)
class Example:
    """A test note whose answer is wrong, or was changed by compression; shown only when asked.

    Attributes:
        note_id: of the note.
        row: the strategy that answers differently from the baseline.
        text: the beginning of the note.
        truth: its symptoms.
        baseline: what the baseline finds.
        found: what the strategy finds.
    """

    note_id: str
    row: str
    text: str
    truth: tuple[str, ...]
    baseline: tuple[str, ...]
    found: tuple[str, ...]

    @property
    def missed(self) -> tuple[str, ...]:
        """Symptoms of the note that the strategy does not find."""
        return tuple(name for name in self.truth if name not in self.found)

    @property
    def spurious(self) -> tuple[str, ...]:
        """Symptoms that the strategy finds and the note does not have."""
        return tuple(name for name in self.found if name not in self.truth)


def write_report(
    results: Results, run: Path, examples: Sequence[Example] = (), curves: Sequence[PrecisionRecall] = ()
) -> Path:
    """Write `RUN/report.html`, all of it or none, and return its path.

    Raises:
        MissingExtraError: jinja2 or bokeh is not installed.
        SympressError: the file could not be written.
    """
    path = run / "report.html"
    write_text(path, render_report(results, examples, curves))
    return path


def render_report(
    results: Results, examples: Sequence[Example] = (), curves: Sequence[PrecisionRecall] = ()
) -> str:
    """Return the page of one run as text; the same results give the same page.

    Args:
        results: of the run.
        examples: notes to show, with their text.
        curves: precision against recall, where the run keeps its predictions.

    Raises:
        MissingExtraError: jinja2 or bokeh is not installed.
    """
    return render_page([(results.data.name, results)], examples, curves)


def render_page(
    runs: Sequence[tuple[str, Results]],
    examples: Sequence[Example] = (),
    curves: Sequence[PrecisionRecall] = (),
) -> str:
    """Return the page of several runs: one table and one pair of figures, then each run by itself.

    Args:
        runs: a name for each run, and its results; at least one.
        examples: notes to show, with their text.
        curves: precision against recall of the first run.

    Raises:
        InputError: the runs are of different tasks.
        MissingExtraError: jinja2 or bokeh is not installed.
    """
    environment = renderer()
    tasks = sorted({results.task for _, results in runs})
    if len(tasks) > 1:
        raise InputError(f"runs of the tasks {' and '.join(tasks)}: give runs of one task")
    environment.filters["tied"] = _tied
    environment.filters["parts"] = parts_of
    return environment.from_string(template("report.html.j2")).render(_page(runs, examples, curves))


def renderer() -> Environment:
    """Return what renders pages: every word of the data escaped, no name unknown.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    with of_extra("report", "jinja2"):
        from jinja2 import Environment, StrictUndefined
    return Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=visible
    )


def template(name: str, package: str = "sympress.report") -> str:
    """Return a template, a style sheet or a script of the package."""
    return resources.files(package).joinpath("templates", name).read_text(encoding="utf-8")


def visible(value: Any) -> Any:
    """Text of the data without characters that turn its direction or hide; what is markup stays."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return "".join(one if one in _LAYOUT else printable(one) for one in value) if value else value


def _tied(text: str) -> Any:
    """Text that no line break parts from its unit, escaped."""
    from markupsafe import Markup, escape

    return Markup(_UNIT.sub("\\1\u00a0\\2", str(escape(visible(text)))))  # noqa: S704


def _page(
    runs: Sequence[tuple[str, Results]], examples: Sequence[Example], curves: Sequence[PrecisionRecall]
) -> dict[str, Any]:
    from markupsafe import Markup

    first = runs[0][1]
    bodies = [
        _run(name, results, f"run{number}", () if number else curves)
        for number, (name, results) in enumerate(runs)
    ]
    paretos = pareto_drawings(runs)
    drawings: list[Drawing] = [*paretos, *(one for body in bodies for one in body["drawings"])]
    return {
        "several": len(runs) > 1,
        "several_seeds": lambda results: len(seeds_of(results)) > 1,
        "first": first,
        "runs": bodies,
        "table": table_of(runs),
        "same_notes": _same_notes(runs),
        "caption": caption(first),
        "explanation": explanation(first),
        "paretos": paretos,
        "pareto_legend": list(looks(group.name for _, one in runs for group in groups(one)).items()),
        "examples": examples,
        "span_headers": SPAN_HEADERS,
        "style": Markup(template("report.css")),  # noqa: S704
        "script": Markup(template("report.js")),  # noqa: S704
        # Bokeh's own code and its JSON, in which nothing can end the element (see `interactive`).
        "scripts": [Markup(drawing.item) for drawing in drawings],  # noqa: S704
        "bokeh": Markup(bokeh_script()) if drawings else "",  # noqa: S704
    }


def _same_notes(runs: Sequence[tuple[str, Results]]) -> str:
    """Say whether the quality of the runs may be compared."""
    known = {(results.data.fingerprint, results.data.test, results.data.split.rule) for _, results in runs}
    if len(known) == 1:
        return "The runs read the same notes and split them alike: their rows may be compared."
    return "The runs were not scored on the same notes: compare quality only within one of them."


def _run(name: str, results: Results, prefix: str, curves: Sequence[PrecisionRecall]) -> dict[str, Any]:
    found = groups(results)
    advice = advise(results)
    styles = looks(group.name for group in found)
    calibration = calibration_of(results)
    epochs = epoch_drawings(results, prefix)
    reliability = calibration_drawings(calibration, styles, prefix)
    precision_recall = curve_drawings(curves, styles, prefix)
    is_paper = results.protocol == "paper"
    return {
        "id": prefix,
        "name": name,
        "results": results,
        "advice": advice,
        "figures": _figures(advice, headline_name(results)),
        "verdict": verdict(results),
        "drawings": [*epochs, *precision_recall, *reliability],
        "thresholds": thresholds_of(advice.shown),
        "precision_recall": precision_recall,
        "curve_legend": [(one.name, styles[one.name]) for one in curves if precision_recall],
        "epochs": epochs,
        "reliability": reliability,
        "calibration": calibration,
        "epoch_legend": [(group.name, styles[group.name]) for group in with_epochs(results)],
        "calibration_legend": [(one.name, styles[one.name]) for one in calibration if one.predicted],
        "symptoms": symptom_matrix(found),
        "changes": changes_of(results),
        "tests": tests_of(results),
        "claims": claims_table(results),
        "claim_headers": CLAIM_HEADERS,
        "margin": next((group.claim.pooled.margin for group in found if group.claim is not None), None),
        "groups": groups_of(results),
        "spans": spans_of(results),
        "blocks": [(group.name, [block_of(results, row) for row in group.seeds]) for group in found],
        "published": published_beside(results) if is_paper else [],
        "published_epochs": epochs_beside(results) if is_paper else [],
        "points": points_of(results) if is_paper else [],
        "part": scored_part(results),
        "facts": data_facts(results),
        "leaks": leak_sentence(results),
        "drift": drift_table(results),
        "command": command_of(results),
        "environment": list(flatten(results.environment)),
        "config": config_text(results),
    }


def _figures(advice: Advice, kind: str) -> list[tuple[str, str, str]]:
    """Three figures of the row that the headline is about: what, how much, and beside what."""
    shown, base = advice.shown, advice.baseline
    if shown is None or base is None:
        return []
    sizes, times = (
        [f"{format_number(cost(group), digits)} {unit}" for group in (shown, base)]
        for cost, digits, unit in ((size_mb, 1, "MB"), (latency_ms, 2, "ms"))
    )
    if shown.name == base.name:
        value, _, interval = format_estimate(headline_f1(shown.seeds[0])).partition(" ")
        beside = f"95 % interval {interval}" if interval else "on the test notes"
        return [
            (f"size of {shown.name}", sizes[0], "the deployed file"),
            ("time per note", times[0], "median, one note at a time"),
            (kind, value, beside),
        ]
    size_beside, time_beside = (
        f"{format_ratio(ratio)} the baseline’s {own[1]}"
        for ratio, own in ((shown.size_ratio, sizes), (shown.latency_ratio, times))
    )
    return [
        (f"size of {shown.name}", sizes[0], size_beside),
        ("time per note", times[0], time_beside),
        (f"change of {kind}", *_change_figure(shown)),
    ]


def _change_figure(shown: Group) -> tuple[str, str]:
    """The difference to the baseline, and its interval."""
    if shown.claim is None:
        return UNDEFINED, "to the baseline"
    change, _, interval = format_difference(shown.claim.pooled.difference).partition(" ")
    several = " over seeds and notes" if len(shown.seeds) > 1 else ""
    return change, f"95 % interval {interval}{several}" if interval else "to the baseline"


# What a search for a budget leaves: the Pareto set as a console table, as CSV, JSON and a figure.


_KEYS = ("size_mb", "latency_ratio", "int8_latency_ratio", "macs_ratio", "f1_drop", "f1")
_BLUE, _RED = "#1f6fb2", "#c0392b"


def front_table(result: SearchResult) -> Table:
    """The Pareto set, smallest file first; a star marks the chosen recipe."""
    table = Table(box=box.SIMPLE_HEAD, title="Pareto set (validation notes)", title_justify="left")
    for number, name in enumerate(("", "MB", "latency", "F1 drop", "F1", "recipe")):
        table.add_column(name, justify="left" if number in (0, 5) else "right", overflow="fold")
    front = sorted((result.tried[number] for number in result.front), key=lambda one: one.measured["size_mb"])
    for one in front:
        found = one.measured
        table.add_row(
            "*" if one.number == result.chosen else "",
            f"{found['size_mb']:.2f}",
            f"{found['latency_ratio']:.3f}×",
            f"{found['f1_drop']:.4f}",
            f"{found['f1']:.4f}",
            Text(one.recipe),
        )
    return table


def write_front(result: SearchResult, folder: Path) -> None:
    """Write `search.json`, `search.csv` (every trial) and `search.svg` to `folder`."""
    write_json(folder / "search.json", result.to_dict())
    write_text(folder / "search.csv", _csv(result))
    write_text(folder / "search.svg", front_figure(result))


def read_front(folder: Path) -> SearchResult:
    """The search whose `search.json` is in `folder`."""
    stored = json.loads((folder / "search.json").read_text(encoding="utf-8"))
    tried = tuple(Tried(**one) for one in stored["tried"])
    return SearchResult(parse_budget(stored["budget"]), tried, tuple(stored["front"]), stored["chosen"])


def _csv(result: SearchResult) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", "recipe", "verdict", "pareto", "chosen", *_KEYS])
    for one in result.tried:
        values = [f"{one.measured[key]:.6g}" if key in one.measured else "" for key in _KEYS]
        marks = [int(one.number in result.front), int(one.number == result.chosen)]
        writer.writerow([one.number, one.recipe, one.verdict, *marks, *values])
    return stream.getvalue()


def front_figure(result: SearchResult) -> str:
    """An SVG of validation F1 against megabytes (log): finished trials, the Pareto set, the chosen one."""
    shown = [one for one in result.tried if one.verdict == FINISHED]
    sizes = [one.measured["size_mb"] for one in shown]
    scores = [one.measured["f1"] for one in shown]
    with drawing():
        figure, (axis,) = panels(1, (6.4, 3.6))
        log_axis(axis, cost_ends(sizes), "MB")
        score_axis(axis, score_ends(scores, scores))
        for one, size, score in zip(shown, sizes, scores, strict=True):
            fill = _BLUE if one.number in result.front else "white"
            axis.plot([size], [score], "o", color=_BLUE, mfc=fill, gid=f"trial-{one.number}", clip_on=False)
            if one.number == result.chosen:
                axis.plot([size], [score], "o", ms=13, color=_RED, mfc="none", gid="chosen", clip_on=False)
        names = [str(one.number) for one in shown]
        name_marks(axis, list(zip(names, sizes, scores, [INK] * len(shown), strict=True)))
        axis.set_ylabel("validation F1")
        axis.set_title(str(result.budget), loc="left", fontsize=9)
        figure.supxlabel("filled: Pareto set; ring: chosen; numbers: trials of search.csv", fontsize=8)
    return svg_of(figure)
