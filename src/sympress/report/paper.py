"""A run of the protocol `paper` beside the published numbers, and tables in the authors' and LaTeX's form."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from sympress.files import write_text
from sympress.report.columns import (
    BASELINE,
    Group,
    columns,
    defined,
    format_estimate,
    format_number,
    format_ratio,
    groups,
    seeds_of,
)
from sympress.report.sections import METRICS, metrics_of
from sympress.report.verdict import (
    caption,
    explanation,
    latency_ms,
    markdown_table,
    mean_f1,
    printable,
    scored_part,
    size_mb,
)
from sympress.results import Estimate, Results, StrategyResult

# A run of the protocol `paper` beside the published numbers, and what it shows of that procedure.


#: Keys of `data.labelling` under which a study counts the labels that a negated mention gave.
NEGATED = "labelled by a negated mention"
NOT_CURRENT = "labelled by a mention of family, history, possibility or hypothesis"
NOT_FOUND = "labelled where the annotator finds no mention"
#: Of a large study: how many labels were looked at, and the three counts are of these.
DRAWN = "labels drawn to look their mention up"


def published_beside(results: Results) -> list[dict[str, Any]]:
    """Return the paper's last-epoch table; each line with our rows of that strategy, first seed.

    `ours` holds the strategy as sympress does it and, where the run has it, its literal variant
    `<strategy>-published`, each as `(name, five numbers)`.
    """
    first = _first_seed(results)
    return [
        {
            "method": line["method"],
            "published": [line[name] for name in METRICS],
            "ours": [(name, metrics_of(first[name].quality)) for name in _variants(line["strategy"], first)],
        }
        for line in _read("published.csv")
    ]


def epochs_beside(results: Results) -> list[dict[str, Any]]:
    """Return the published numbers after each epoch, each with ours on validation notes, first seed."""
    first = _first_seed(results)
    lines = []
    for line in _read("published_epochs.csv"):
        ours = [
            (name, metrics_of(epoch.quality))
            for name in _variants(line["strategy"], first)
            for epoch in first[name].epochs
            if str(epoch.epoch) == line["epoch"]
        ]
        if ours:
            numbers = [line[name] for name in METRICS]
            lines.append(
                {"method": line["strategy"], "epoch": line["epoch"], "published": numbers, "ours": ours}
            )
    return lines


def points_of(results: Results) -> list[tuple[str, str]]:
    """Return what the published procedure does not show, each with what this run shows of it."""
    found = {group.name: group for group in groups(results)}
    return [(title, show(results, found)) for title, show in POINTS.items()]


def _first_seed(results: Results) -> dict[str, StrategyResult]:
    first: dict[str, StrategyResult] = {}
    for row in sorted(results.strategies, key=lambda row: row.seed):
        first.setdefault(row.name, row)
    return first


def _variants(strategy: str, first: dict[str, StrategyResult]) -> list[str]:
    return [name for name in (strategy, f"{strategy}-published") if name in first]


def _read(name: str) -> list[dict[str, str]]:
    path = resources.files("sympress.report").joinpath("data", name)
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


# The points ----------------------------------------------------------------------------------------

Found = dict[str, Group]


def _lookup(results: Results, found: Found) -> str:
    models = [group for group in found.values() if not group.is_reference]
    scores = defined(map(mean_f1, models))
    if "rule" not in found or not scores:
        return "This run has no row of the rule."
    rule = format_number(mean_f1(found["rule"]), 3)
    return (
        f"The rule scores F1 {rule}, the best trained model {max(scores):.3f}. Labels: {results.data.labels}."
    )


def _negation(results: Results, _found: Found) -> str:
    counts = results.data.labelling
    if NEGATED not in counts:
        return _BY_PEOPLE if _by_people(results) else "Not counted in this run."
    total = counts.get(DRAWN) or results.data.train + results.data.validation + results.data.test
    return (
        f"{counts[NEGATED]:,} of {total:,} labels{' drawn' * (DRAWN in counts)} come from a negated mention, "
        f"{counts.get(NOT_CURRENT, 0):,} from one of family, history, possibility or hypothesis."
    )


_BY_PEOPLE = "The labels of this run come from people, not from a rule."


def _by_people(results: Results) -> bool:
    return results.data.labels.startswith(("coded", "gold"))


def _order(results: Results, _found: Found) -> str:
    if _by_people(results):
        return f"{_BY_PEOPLE} Fingerprint of the data: {results.data.fingerprint}."
    return (
        "The order is that of the lexicon file, so the same notes always give the same labels. Fingerprint "
        f"of the data: {results.data.fingerprint}."
    )


def _leaks(results: Results, _found: Found) -> str:
    split = results.data.split
    return (
        f"Split {split.rule}: of {split.test:,} test notes {split.patients_on_both_sides:,} have a note of "
        f"the same patient and {split.duplicates_on_both_sides:,} a copy or near-copy in training."
    )


def _rank(_results: Results, found: Found) -> str:
    saved = ""
    if "lowrank-published" in found and BASELINE in found:
        ours, base = (_parameters(found[name]) for name in ("lowrank-published", BASELINE))
        if ours is not None and base is not None:
            saved = f"The model with the factorized classifier has {_more(ours - base)} the baseline. "
    return saved + _gains(found, "lowrank-published", "lowrank")


def _more(change: float) -> str:
    if not round(change):
        return "as many parameters as"
    return f"{abs(change):,.0f} {'fewer' if change < 0 else 'more'} parameters than"


def _parameters(group: Group) -> float | None:
    return group.mean(lambda row: row.cost.parameters)


def _zeros(_results: Results, found: Found) -> str:
    masked = next((found[name] for name in ("pruning-published", "pruning-masked") if name in found), None)
    shares = "" if masked is None else _zero_share(masked)
    return shares + _gains(found, "pruning-published", "pruning-masked", "pruning")


def _zero_share(group: Group) -> str:
    weights, nonzero = _parameters(group), group.mean(lambda row: row.cost.nonzero_parameters)
    if not weights or nonzero is None:
        return ""
    return f"{1 - nonzero / weights:.1%} of the weights of {group.name} are zeros. "


def _cost(_results: Results, found: Found) -> str:
    if BASELINE not in found:
        return "This run has no baseline."
    base = found[BASELINE]
    memory = base.mean(lambda row: row.cost.peak_rss_bytes)
    held = "" if memory is None else f", {format_number(memory / 1e6, 0)} MB of memory"
    speed = base.mean(lambda row: row.cost.notes_per_second)
    return (
        f"Every row has them. The baseline: {format_number(size_mb(base), 1)} MB, "
        f"{format_number(latency_ms(base), 2)} ms a note, {format_number(speed, 0)} notes a second{held}."
    )


def _seeds(results: Results, found: Found) -> str:
    compared = [
        group for group in found.values() if group.seeds[0].versus_baseline and not group.is_reference
    ]
    apart = sum(group.claim is not None and group.claim.differs for group in compared)
    interval = (
        format_estimate(found[BASELINE].seeds[0].quality.accuracy) if BASELINE in found else "undefined"
    )
    number = len(seeds_of(results))
    return (
        f"{number} seed{'s' * (number > 1)}, {results.data.test:,} test notes; accuracy of the baseline "
        f"{interval}. {apart} of {len(compared)} compressed rows differ from it significantly, "
        "corrected for their number."
    )


def _choice(results: Results, _found: Found) -> str:
    if not results.data.validation:
        return "So it is here, as asked for. The last epoch is kept, and nothing is chosen by the test notes."
    data, select = results.data, results.config.get("select")
    kept = {"last": "the last epoch is kept", "best": "the epoch best on validation is kept"}
    how = f"; {kept[select]}" if select in kept else ""
    return (
        f"{data.validation:,} validation notes score every epoch{how}; the {data.test:,} test notes do not."
    )


def _low_rank_row(_results: Results, _found: Found) -> str:
    return (
        "Its numbers are 0.9218 0.9262 0.9230 0.9240 0.9871. Epoch 5 of the CSV has "
        "0.9241 0.9269 0.9259 0.9258 0.9869: low rank is not as far behind pruning as the table says."
    )


def _observers(_results: Results, found: Found) -> str:
    told = (
        "The test notes change the ranges by which activations are rounded, so that scores depend on their "
        "order and number. Here the ranges stay as training left them."
    )
    row = "quantization-published"
    return f"{told} {_gains(found, row)}" if row in found else told


def _no_int8(_results: Results, found: Found) -> str:
    return (
        "PyTorch’s convert refuses eager QAT of a model with embeddings, so the model in the table never ran "
        f"in int8. Here the row quantization is an int8 file that runs. {_gains(found, 'quantization')}"
    )


def _training(results: Results, _found: Found) -> str:
    decay = results.config.get("weight_decay")
    shown = "" if decay is None else f" {decay:g}"
    return (
        "Here, also in the rows ending in -published, the norm of gradients is clipped at 1.0, and weight "
        f"decay{shown} leaves out biases and layer norms."
    )


def _gains(found: Found, *names: str) -> str:
    """Bytes, latency and F1 of each of the rows that the run has."""
    shown = [
        f"{name}: {format_ratio(group.size_ratio)} the bytes, "
        f"{format_ratio(group.latency_ratio)} the latency, F1 {format_number(mean_f1(group), 3)}"
        for name in names
        if (group := found.get(name)) is not None
    ]
    return "; ".join(shown) + "." if shown else f"This run has no row {' or '.join(names)}."


def _rows(*names: str) -> Callable[[Results, Found], str]:
    return lambda _results, found: _gains(found, *names)


#: What the published study does not show or gets wrong, and what fills each.
POINTS: dict[str, Callable[[Results, Found], str]] = {
    "The label is a keyword that stands in the note: a rule scores all of them.": _lookup,
    "“Denies fever” is labelled fever: no negation, family history or hypotheses.": _negation,
    "The order of the lexicon came from hashing, so labels changed from one process to the next.": _order,
    "Notes of one patient, and copies, fall on both sides of the split.": _leaks,
    "The teacher was never fine-tuned, and the student is as large as the teacher.": _rows(
        "distillation-published", "distillation"
    ),
    "The classifier’s rank is at most the number of classes: a factorization of rank 32 is exact.": _rank,
    "Masked weights stay in the file as zeros, and are multiplied.": _zeros,
    "The int8 model was never measured.": _rows("quantization-published", "quantization"),
    "Size, memory, latency and throughput are not reported.": _cost,
    "One seed and few test notes: the interval is wider than most gaps. No test of significance.": _seeds,
    "Every epoch is scored on the test set, so whatever was chosen was chosen there.": _choice,
    "The low-rank row of Table 1 is epoch 3 of the authors’ CSV, not epoch 5.": _low_rank_row,
    "The notebook’s quantization observers keep moving while it scores the test notes.": _observers,
    "The notebook’s int8 model cannot be made.": _no_int8,
    "The notebook does not clip gradients, and decays every parameter.": _training,
}


# The results table for a paper: LaTeX (booktabs) and Markdown files.


#: What stands for a character that LaTeX takes as its own, or that its default fonts lack.
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "−": r"$-$",
    "–": "--",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "†": r"\dag{}",
    "⁶": r"$^6$",
    "’": "'",
    "·": r"$\cdot$",
    **{one: f"\\{one}" for one in "&%$#_{}"},
}


def latex_table(results: Results) -> str:
    """Return the table with the console's columns as a LaTeX `table`; it needs the package booktabs.

    The caption is a sentence, what the marks mean is below the table, and the label is `tab:` with protocol,
    task and data in letters and digits.
    """
    chosen = [(column.header, column.narrow) for column in columns(results) if column.narrow is not None]
    lines = [
        (" & ".join(escape_latex(cell(group)) for _, cell in chosen), group) for group in groups(results)
    ]
    body = []
    for number, (line, group) in enumerate(lines):
        if group.is_reference and number and not lines[number - 1][1].is_reference:
            body.append(r"\midrule")
        body.append(rf"{line} \\")
    head = " & ".join(escape_latex(header) for header, _ in chosen)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(caption(results))}}}",
            rf"\label{{tab:{_label(results)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(chosen) - 1)}}}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\par\smallskip\footnotesize {escape_latex(explanation(results))}",
            r"\end{table}",
            "",
        ]
    )


def _label(results: Results) -> str:
    words = f"{results.protocol} {results.task} {results.data.name}".lower()
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")


def escape_latex(text: str) -> str:
    """Return `text` such that LaTeX sets it as it is."""
    return re.sub(r".", lambda one: _SPECIAL.get(one[0], one[0]), printable(text))


def write_tables(results: Results, folder: Path) -> list[Path]:
    """Write `table.tex` (the console's columns) and `table.md` (every column); return their paths.

    Raises:
        SympressError: a file could not be written.
    """
    contents = {"table.tex": latex_table(results), "table.md": markdown_table(results) + "\n"}
    for name, content in contents.items():
        write_text(folder / name, content)
    return [folder / name for name in contents]


# The two CSV files a strategy, in the form in which the paper's authors published theirs.


#: The authors' headers, of test notes after each epoch; ours of validation notes say so in one more column.
METRICS_HEADER = ("Epoch", "Accuracy", "Precision", "Recall", "F1", "AUROC")
PER_SYMPTOM_HEADER = ("Epoch", "Symptom", "Precision", "Recall", "F1", "AUROC")

#: A spreadsheet runs a cell that begins with one of these as a formula.
FORMULA_STARTS = ("=", "+", "-", "@")


def write_csvs(results: Results, run: Path) -> list[Path]:
    """Write `metrics_<strategy>.csv` and `per_symptom_<strategy>.csv` into `run`; return their paths.

    Without validation notes (`--no-validation-notes`) they are as the authors published theirs: the test
    notes after each epoch. Otherwise the rows are of validation notes, and a last column `Part` says so. A
    strategy without epochs (the lexicon rule) has no files. An undefined metric is an empty cell. The first
    seed has the plain name, every further one ends in `_seed<N>`.

    Raises:
        SympressError: a file could not be written.
    """
    first_seed = min(seeds_of(results), default=0)
    written = []
    for row in results.strategies:
        if not row.epochs:
            continue
        stem = file_stem(row.name) + ("" if row.seed == first_seed else f"_seed{row.seed}")
        part = scored_part(results) if results.data.validation else None
        texts = {"metrics": metrics_csv(row, part), "per_symptom": per_symptom_csv(row, part)}
        for prefix, text in texts.items():
            path = run / f"{prefix}_{stem}.csv"
            write_text(path, text)
            written.append(path)
    return written


def metrics_csv(row: StrategyResult, part: str | None = None) -> str:
    """Return one line an epoch: accuracy, macro precision, recall, F1 and AUROC, and the `part` if given."""
    lines = [
        [str(epoch.epoch), *(_cell(metric) for metric in (q.accuracy, q.precision, q.recall, q.f1, q.auroc))]
        for epoch in row.epochs
        for q in (epoch.quality,)
    ]
    return _csv(METRICS_HEADER, lines, part)


def per_symptom_csv(row: StrategyResult, part: str | None = None) -> str:
    """Return one line an epoch and symptom: precision, recall, F1 and AUROC, and the `part` if given."""
    lines = [
        [
            str(epoch.epoch),
            _text(s.symptom),
            *(_cell(metric) for metric in (s.precision, s.recall, s.f1, s.auroc)),
        ]
        for epoch in row.epochs
        for s in epoch.quality.per_symptom
    ]
    return _csv(PER_SYMPTOM_HEADER, lines, part)


def file_stem(name: str) -> str:
    """Return `name` as a part of a file name: other than letters, digits, dot, dash becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "strategy"


def _cell(estimate: Estimate) -> str:
    value = estimate.value
    return "" if value is None or not math.isfinite(value) else repr(value)


def _text(text: str) -> str:
    """Return `text` on one line, such that a spreadsheet shows it and never runs it."""
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA_STARTS) else shown


def _csv(header: tuple[str, ...], lines: list[list[str]], part: str | None) -> str:
    if part is not None:
        header, lines = (*header, "Part"), [[*line, part] for line in lines]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return buffer.getvalue()
