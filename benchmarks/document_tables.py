"""Markdown of the measurements in `results/`, for the documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sympress.report.columns import NOT_APPLICABLE, format_number, signed
from sympress.report.verdict import escape_markdown

# Lines of Markdown tables for single measurements.


def table_head(columns: list[str]) -> list[str]:
    """The first two lines of a table: the first column is aligned left, numbers right."""
    return [f"| {' | '.join(columns)} |", f"| {' | '.join([':--', *['--:'] * (len(columns) - 1)])} |"]


def table_row(*cells: str) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def interval(estimate: Mapping[str, Any], *, digits: int = 3, signed: bool = False) -> str:
    """`0.716 [0.713, 0.721]`, escaped for Markdown."""

    def written(value: float) -> str:
        shown = format_number(abs(value), digits)
        return f"{'−' if value < 0 else '+' if signed else ''}{shown}"

    if estimate["value"] is None:
        return NOT_APPLICABLE
    text = written(estimate["value"])
    if estimate["low"] is None or estimate["high"] is None:
        return text
    return f"{text} \\[{written(estimate['low'])}, {written(estimate['high'])}\\]"


# Markdown of what was measured of deployed artifacts: start, rates, memory, load.
#
# Each function takes the JSON of a file under `results/` and returns lines, as those of `report.measured`
# do.


MeasuredRates = Mapping[str, Any]


def first_line(measured: MeasuredRates) -> list[str]:
    """What `benchmarks.extraction --phase first` wrote: from the start of the command to its first result."""
    first = measured["first"]
    return [
        f"Artifact `{measured['model']}`, on {escape_markdown(str(measured['environment']['processor']))}: "
        f"{first['first_result_ms_median']} ms from the start of the command to the first result (median of "
        f"{first['times']}, at most {first['first_result_ms_most']}), {first['whole_command_ms_median']} ms "
        "for the whole command."
    ]


def throughput_table(measured: MeasuredRates) -> list[str]:
    """What `study.throughput` wrote: windows a second of each contender, in turn."""
    lines = table_head(["contender", "windows/s", "× the pipeline"])
    for name, row in measured["rows"].items():
        lines.append(
            table_row(
                name,
                format_number(row["windows_per_second"], 1),
                f"{format_number(row['times_as_fast'], 1)}×",
            )
        )
    cores, windows = measured["cores"], format_number(measured["windows"], 0)
    processor = escape_markdown(str(measured["environment"]["processor"]))
    return [
        *lines,
        "",
        f"{windows} windows of at most 256 word pieces, {cores} cores of {processor}, all in turn.",
    ]


def peers_table(measured: MeasuredRates) -> list[str]:
    """What `benchmarks.peers` wrote: notes a second and core of the bundled artifact and of its peers."""
    lines = table_head(["what answers", "notes a second and core", "the box is … as fast"])
    for name, row in measured["rows"].items():
        faster = "–" if name == "box" else f"{format_number(row['times_slower'], 1)}×"
        lines.append(table_row(name, format_number(row["notes_per_cpu_second"], 1), faster))
    given = measured["notes"]
    return [
        *lines,
        "",
        f"{given['notes']} whole notes of {given['characters'] / given['notes']:,.0f} characters on average, "
        f"medians of {measured['rounds']} rounds in turn, on "
        f"{escape_markdown(str(measured['environment']['processor']))}.",
    ]


def classifiers_table(measured: MeasuredRates) -> list[str]:
    """What `benchmarks.peer_classifiers` wrote: our classifiers and those of other libraries in one run."""
    columns = ["classifier", "reports learned", "micro-F1", "Δ micro-F1 to `small`", "macro-F1", "MB"]
    lines = table_head([*columns, "notes a second and core", "`small` is … as fast"])
    for name, row in measured["rows"].items():
        if "missing" in row:
            lines.append(table_row(name, f"not compared: {escape_markdown(row['missing'])}", *[""] * 6))
            continue
        other = bool(row["minus_reference"])
        lines.append(
            table_row(
                name,
                format_number(row["trained_on"], 0),
                interval(row["micro_f1"]),
                interval(row["minus_reference"]["micro_f1"], signed=True) if other else NOT_APPLICABLE,
                interval(row["macro_f1"]),
                format_number(row["size_bytes"] / 1e6, 1),
                format_number(row["notes_per_cpu_second"], 1),
                f"{format_number(row['times_slower'], 1)}×" if other else NOT_APPLICABLE,
            )
        )
    timed = measured["timed"]
    return [
        *lines,
        "",
        f"{format_number(measured['test'], 0)} reports of 2005 that chose nothing, thresholds by one "
        f"rule on the same {format_number(measured['validation'], 0)} reports of 2004; \\[ \\] 95 % interval "
        f"over reports. Speed on {timed['notes']} of them, {timed['characters'] / timed['notes']:,.0f} "
        f"characters on average: medians of {measured['rounds']} rounds in turn, one core of "
        f"{escape_markdown(str(measured['environment']['processor']))}; each is given all notes at once, in "
        "batches of its own. MB of the weights. Rows of transformers and Optimum have the weights of "
        f"`minilm-int8` before its rounding, and cut notes at {measured['longest']} word pieces as it does. "
        f"SetFit learns from {measured['shots']} reports per symptom, in at most {measured['setfit_steps']} "
        "steps.",
    ]


def serve_table(measured: MeasuredRates) -> list[str]:
    """What `benchmarks.serve_load` wrote: what the clients saw in each part of the load."""
    lines = table_head(
        ["load", "offered a second", "answered a second", "429", "5xx", "p50 ms", "p99 ms", "memory MB"]
    )
    parts = {
        "64 clients that never pause": measured["closed_loop"],
        "the stated rate, 64 clients": measured["stated"],
        "three times the rate": measured["three_times"],
        "the stated rate again": measured["recovered"],
        f"{measured['slow_connections']['connections']} slow connections beside it": measured[
            "slow_connections"
        ]["clients"],
    }
    for name, seen in parts.items():
        offered = seen["offered_per_second"]
        lines.append(
            table_row(
                name,
                NOT_APPLICABLE if offered is None else format_number(offered, 1),
                format_number(seen["answered_per_second"], 1),
                format_number(seen["statuses"].get("429", 0), 0),
                format_number(seen["server_errors"], 0),
                format_number(seen["p50_ms"], 0),
                format_number(seen["p99_ms"], 0),
                format_number(seen["rss_mb"]["last"], 0),
            )
        )
    huge, stop = measured["huge_bodies"], measured["stop"]
    where = measured["environment"]
    return [
        *lines,
        "",
        f"Notes {measured['notes']}; {where['cores']} cores of {escape_markdown(str(where['processor']))}, "
        f"which the clients share. Bodies of {format_number(huge['bytes'] / 1e9, 0)} GB: "
        f"{', '.join(str(status) for status in huge['statuses'])}, memory grew by "
        f"{format_number(huge['rss_grew_mb'], 0)} MB. SIGTERM under load: {stop['accepted_but_unanswered']} "
        f"accepted requests unanswered, exit code {stop['exit_code']}.",
    ]


def extract_table(measured: MeasuredRates) -> list[str]:
    """What `benchmarks.extraction` wrote: start, memory and rate, and a job that was killed."""
    first, kill = measured["first"], measured["kill"]
    lines = table_head(["job", "workers", "seconds", "notes/s", "peak memory MB"])
    for row in measured["memory"]:
        lines.append(
            table_row(
                f"{format_number(row['notes'], 0)} notes",
                str(row["workers"]),
                format_number(row["seconds"], 0),
                format_number(row["notes_per_second"], 0),
                format_number(row["peak_rss_bytes"] / 1e6, 0),
            )
        )
    same = "the same bytes" if kill["same_bytes"] else "other bytes"
    where = measured["environment"]
    return [
        *lines,
        "",
        f"Artifact `{measured['model']}`, {where['notes']} notes, "
        f"{escape_markdown(str(where['processor']))}. From the start of the command to the first result: "
        f"{first['first_result_ms_median']} ms (median of {first['times']}, at most "
        f"{first['first_result_ms_most']}). A job of {format_number(kill['notes'], 0)} notes that SIGKILL "
        f"ended {kill['kills']} times at random left {same} as an undisturbed one.",
    ]


def capacity_table(measured: MeasuredRates) -> list[str]:
    """What `benchmarks.rates` wrote: rates of each artifact, and what the two corpora take at them."""
    cores, notes = measured["cores"], measured["notes"]
    corpora = list(next(iter(measured["rows"].values()))["core_hours"])
    wanted = [f"core-hours for {format_number(int(corpus), 0)}" for corpus in corpora]
    lines = table_head(["artifact", "model MB", "notes/s, 1 core", f"notes/s, {cores} cores", *wanted])
    for name, row in measured["rows"].items():
        lines.append(
            table_row(
                name,
                format_number(row["size_bytes"] / 1e6, 1),
                format_number(row["notes_per_second"], 0),
                format_number(row["notes_per_second_all_cores"], 0),
                *(format_number(row["core_hours"][corpus], 1) for corpus in corpora),
            )
        )
    return [
        *lines,
        "",
        f"{format_number(notes['count'], 0)} notes of {escape_markdown(notes['name'])}, "
        f"{format_number(notes['characters_mean'], 0)} characters on average; whole commands, the median of "
        f"{measured['times']}, all in turn, on {cores} cores of "
        f"{escape_markdown(str(measured['environment']['processor']))}. Core-hours at the rate of all cores.",
    ]


# Markdown of what searches found: recipes for a budget, settings of a strategy.
#
# Each function takes the JSON of a file under `results/` and returns lines, as those of `report.measured`
# do.


MeasuredSearches = Mapping[str, Any]


def search_table(measured: MeasuredSearches) -> list[str]:
    """The Pareto set of `sympress compress --budget`, smallest file first, and how the trials ended."""
    lines = table_head(["recipe", "MB", "× PyTorch", "× int8", "F1 drop", "F1"])
    front = sorted(
        (measured["tried"][number] for number in measured["front"]),
        key=lambda one: one["measured"]["size_mb"],
    )
    for one in front:
        found, chosen = one["measured"], one["number"] == measured["chosen"]
        lines.append(
            table_row(
                f"`{one['recipe']}`{' **chosen**' if chosen else ''}",
                format_number(found["size_mb"], 1),
                format_number(1 / found["latency_ratio"], 1),
                format_number(1 / found["int8_latency_ratio"], 1),
                signed(found["f1_drop"]),
                format_number(found["f1"], 3),
            )
        )
    ended = Counter(one["verdict"] for one in measured["tried"])
    counts = ", ".join(f"{count} {verdict}" for verdict, count in ended.items())
    met = "met" if measured["meets"] else "not met; the chosen recipe comes nearest"
    return [*lines, "", f"Budget `{measured['budget']}`: {met}. Trials: {counts}. Validation notes alone."]


def tuned_table(measured: MeasuredSearches) -> list[str]:
    """Every trial of `sympress tune`, in its order: settings, how it ended, its score."""
    names = list(measured["best"]["settings"])
    score = str(measured["score"]).replace("_", " ")
    lines = table_head(["trial", *(f"`{name}`" for name in names), "ended", f"validation {score}"])
    for trial in measured["trials"]:
        best = trial["number"] == measured["best"]["number"]
        value = format_number(trial["value"], 3)
        settings = [f"{trial['settings'][name]:.3g}" for name in names]
        lines.append(
            table_row(str(trial["number"]), *settings, trial["state"], f"**{value}**" if best else value)
        )
    data = measured["data"]
    return [
        *lines,
        "",
        f"Strategy `{measured['strategy']}`, {data['train']:,} training and {data['validation']:,} "
        f"validation notes, seed {measured['seed']}; the first trial has the settings as they are.",
    ]


# Markdown of what the single measurements of quality found: spans, generalization, assertion.
#
# Each function takes the JSON of a file under `results/` and returns lines, which `benchmarks.documents` puts
# into the documents.


Measured = Mapping[str, Any]
#: How a model is called in a table.
_NAMES = {
    "baseline": "MiniLM, fine-tuned",
    "tfidf": "TF-IDF with logistic regression",
    "rule": "the rule, without the held-out forms",
    "rule-assertion": "lexicon with assertion",
    "baseline-taught": "MiniLM, taught every form",
    "tfidf-taught": "TF-IDF, taught every form",
}


def spans_table(measured: Measured) -> list[str]:
    """What `study.maccrobat` wrote: a line a row, F1 with intervals over documents."""
    lines = table_head(
        ["row", "MB", "exact F1", "overlapping F1", "negated F1, span given", "Δ exact F1 to the tagger"]
    )
    for name, row in measured["rows"].items():
        spans = row["spans"]
        negated = next((one for one in spans["assertions"] if one["assertion"] == "absent"), None)
        size = row["size_bytes"]
        lines.append(
            table_row(
                name,
                NOT_APPLICABLE if size is None else format_number(size / 1e6, 1),
                interval(spans["exact"]["f1"]),
                interval(spans["overlapping"]["f1"]),
                NOT_APPLICABLE if negated is None else interval(negated["given_span"]["f1"]),
                NOT_APPLICABLE if row["minus_tagger"] is None else interval(row["minus_tagger"], signed=True),
            )
        )
    whole_row = next(iter(measured["rows"].values()))
    whole = whole_row["spans"]
    recipes = "; ".join(f"{name}: `{row['recipe']}`" for name, row in measured["rows"].items())
    folds, run = measured["folds"], measured["folds_run"]
    seed = measured["tagger"]["seed"]
    how = f"{folds} folds by document" if run == folds else f"{run} of {folds} folds by document"
    return [
        *lines,
        "",
        f"{whole['notes']} documents, {whole['gold']} gold spans, {how}, seed {seed}, "
        "each document answered once by a model that never saw it; \\[ \\] 95 % interval over documents. "
        f"{recipes}.{_folds(whole_row)}",
    ]


def _folds(row: Measured) -> str:
    """The F1 of each fold of a row, where there are several."""
    folds = row.get("by_fold", [])
    if len(folds) < 2:
        return ""
    both = "; ".join(
        ", ".join(format_number(fold[name], 3) for fold in folds) for name in ("exact_f1", "overlapping_f1")
    )
    return f" F1 of the tagger by fold, exact and then overlapping: {both}."


def years_table(measured: Measured) -> list[str]:
    """What `study.generalize` found in later years: micro-F1 of each model, year by year."""
    by_year = measured["years"]["by_year"]
    models = list(next(iter(by_year.values()))["models"])
    lines = table_head(["test year", "reports", *(_NAMES.get(name, name) for name in models)])
    for year, found in by_year.items():
        scores = [interval(found["models"][name]["micro_f1"]) for name in models]
        lines.append(table_row(year, format_number(found["notes"], 0), *scores))
    trained = format_number(measured["years"]["train"], 0)
    return [
        *lines,
        "",
        f"Micro-F1, {trained} training reports from before; \\[ \\] 95 % interval over patients.",
    ]


def source_table(measured: Measured) -> list[str]:
    """What `study.generalize` found in another source: micro- and macro-F1 there and at home."""
    source = measured["source"]
    lines = table_head(["model", "same source, micro-F1", "elsewhere, micro-F1", "elsewhere, macro-F1"])
    for name in source["same_source"]["models"]:
        here, there = (source[place]["models"][name] for place in ("same_source", "elsewhere"))
        lines.append(
            table_row(
                _NAMES.get(name, name),
                interval(here["micro_f1"]),
                interval(there["micro_f1"]),
                interval(there["macro_f1"]),
            )
        )
    there = source["elsewhere"]
    return [
        *lines,
        "",
        f"Trained on {format_number(source['train'], 0)} notes of the first source; "
        f"{format_number(there['notes'], 0)} notes elsewhere; {there['symptoms']} symptoms that at least 10 "
        "have. The labels are the rules' own on both sides: this says how a model carries over what it was "
        "taught, not how right it is.",
    ]


def forms_table(measured: Measured) -> list[str]:
    """What `study.generalize` found for surface forms that were held out of training."""
    forms = measured["forms"]
    keys = ("recall_unseen", "recall_seen", "false_alarms")
    lines = table_head(["model", "recall by held-out forms alone", "recall by others", "false alarms"])
    for name, row in forms["models"].items():
        lines.append(table_row(_NAMES.get(name, name), *(interval(row[key], digits=3) for key in keys)))
    return [
        *lines,
        "",
        f"{forms['forms_held_out']} forms held out by hash, {format_number(forms['removed'], 0)} training "
        f"notes with them removed, {format_number(forms['train'], 0)} left; {forms['answers_recall_unseen']} "
        "answers hang on held-out forms alone. Labels are the rules', with all forms.",
    ]


def negex_table(measured: Measured) -> list[str]:
    """What `measure.negex` wrote: F1 by rules alone, the condition given, beside the peer."""
    rows = [("sympress", measured["sympress"])]
    if isinstance(measured.get("medspacy"), dict):
        rows.append(("medspaCy, default pipeline", measured["medspacy"]))
    lines = table_head(["system", "negated F1", "historical F1"])
    for name, found in rows:
        lines.append(table_row(name, *(_halves(found.get(kind)) for kind in ("negated", "historical"))))
    count = measured["data"]["sentences"]
    return [
        *lines,
        "",
        f"`{measured['command']}`; {format_number(count, 0)} sentences; in brackets halves A and B.",
    ]


def _halves(found: Measured | None) -> str:
    if found is None:
        return NOT_APPLICABLE
    values = [format_number(found[part]["f1"], 3) for part in ("all", "A", "B") if part in found]
    return values[0] + (f" ({', '.join(values[1:])})" if values[1:] else "")


def cuts_table(measured: Measured) -> list[str]:
    """What `study.cuts` wrote: F1 by each way to choose thresholds, and the gain of the second."""
    ways = ("labels alone", "labels and what the model expects")
    lines = table_head(
        ["model", *(f"{kind}-F1, {way}" for kind in ("micro", "macro") for way in ways), "gain"]
    )
    for name, found in measured["rows"].items():
        scores = [format_number(found[way][kind], 3) for kind in ("micro", "macro") for way in ways]
        gains = (f"{found['gain'][k]:+.4f} ± {found['gain_deviation'][k]:.4f}" for k in ("micro", "macro"))
        lines.append(table_row(name, *scores, ", ".join(gains).replace("-", "−")))
    return [
        *lines,
        "",
        f"{format_number(measured['notes'], 0)} validation notes in {measured['parts']} parts, each judged "
        f"by what the others chose, {measured['repeats']} times; the gain of micro- and macro-F1 with its "
        "standard deviation over the repeats.",
    ]


def pair_table(measured: Measured) -> list[str]:
    """What `sympress compare A B -o` wrote of two artifacts: B minus A on the same notes."""
    lines = table_head(["A → B", "notes", "micro-F1 A", "micro-F1 B", "Δ micro-F1", "Δ macro-F1"])
    for row in measured["rows"]:
        lines.append(
            table_row(
                escape_markdown(row["name"]),
                format_number(row["notes"], 0),
                format_number(row["micro_f1_a"], 3),
                format_number(row["micro_f1_b"], 3),
                interval(row["micro_difference"], signed=True),
                interval(row["macro_difference"], signed=True),
            )
        )
    return [*lines, "", "\\[ \\] 95 % bootstrap interval of the difference, by patient."]


def within_table(measured: Measured) -> list[str]:
    """What `sympress compare RUN --test-fraction F -o` wrote: each recipe against its baseline, by seed."""
    found: dict[str, list[Measured]] = {}
    for row in measured["rows"]:
        found.setdefault(row["name"], []).append(row)
    lines = table_head(
        [
            "strategy",
            "kept",
            "micro-F1, baseline",
            "micro-F1",
            "Δ micro-F1 of each seed",
            "Δ macro-F1 of each seed",
        ]
    )
    for name, rows in found.items():
        pairs = [(row["micro_f1_a"], row["micro_f1_b"]) for row in rows]
        kept = [b / a for a, b in pairs]
        lines.append(
            table_row(
                escape_markdown(name),
                f"{_mean(kept):.1%} ({min(kept):.1%} to {max(kept):.1%})",
                format_number(_mean([a for a, _ in pairs]), 3),
                format_number(_mean([b for _, b in pairs]), 3),
                *(
                    "; ".join(interval(row[kind], signed=True) for row in rows)
                    for kind in ("micro_difference", "macro_difference")
                ),
            )
        )
    notes = " or ".join(sorted({format_number(row["notes"], 0) for row in measured["rows"]}))
    return [
        *lines,
        "",
        f"{notes} test notes; mean (range) over seeds; \\[ \\] 95 % bootstrap interval of the difference, by "
        "patient.",
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def packed_table(measured: Measured) -> list[str]:
    """What `study.packed` wrote: an artifact with rules beside its model, and each of the two alone."""
    lines = table_head(["what answers", "micro-F1", "macro-F1"])
    for name, found in measured["models"].items():
        lines.append(table_row(name, interval(found["micro_f1"]), interval(found["macro_f1"])))
    return [
        *lines,
        "",
        f"{format_number(measured['size_bytes'] / 1e6, 1)} MB with card and provenance; "
        f"{format_number(measured['notes'], 0)} test notes, the {measured['symptoms']} of "
        f"{measured['symptoms'] + measured['symptoms_left_out']} symptoms that one of them has; \\[ \\] 95 % "
        "interval over patients. Trained once; `make model` trains and measures it.",
    ]


def fresh_table(measured: Measured) -> list[str]:
    """What `benchmarks/fresh.py` wrote: every row of a study on reports that judged nothing before."""
    # Of no use where every symptom is frequent; results from before it was told don't have it.
    frequent = measured.get("frequent", {"symptoms": measured["symptoms"]})
    told_apart = frequent["symptoms"] != measured["symptoms"]
    columns = ["row", "MB", "p50 ms", "× `micro`", "micro-F1", "micro-F1 of seeds", "macro-F1"]
    lines = table_head([*columns, *(["macro-F1, frequent"] if told_apart else [])])
    for name, row in measured["rows"].items():
        seeds = row["micro_f1_of_seeds"]
        lines.append(
            table_row(
                escape_markdown(name),
                format_number(row["size_bytes"] / 1e6, 1),
                format_number(row["latency_ms_p50"], 2),
                f"{format_number(row['times_micro'], 2)}×",
                interval(row["micro_f1"]),
                f"{format_number(min(seeds), 3)} to {format_number(max(seeds), 3)}",
                interval(row["macro_f1"]),
                *([interval(row["macro_f1_frequent"])] if told_apart else []),
            )
        )
    rare = (
        f"; frequent: the {frequent['symptoms']} symptoms of at least {frequent['reports']} reports"
        if told_apart
        else ""
    )
    most = max(row["seeds"] for row in measured["rows"].values())
    trained = "one seed" if most == 1 else f"mean over {most} seeds"
    return [
        *lines,
        "",
        f"{format_number(measured['notes'], 0)} reports, the {measured['symptoms']} symptoms that one of "
        f"them has; {trained}; \\[ \\] 95 % interval over reports; `micro` takes "
        f"{format_number(measured['micro']['latency_ms_p50'], 2)} ms for the same "
        f"reports, read whole{rare}.",
    ]


def deep_table(measured: Measured) -> list[str]:
    """What `benchmarks.deep_compression` wrote: each recipe, and what coding its file gives."""
    columns = ["recipe", "micro-F1", "macro-F1", "AP", "answers changed", "p50 ms"]
    lines = table_head([*columns, "MB", "coded", "load ms", "coded"])
    for name, row in measured["rows"].items():
        plain, coded = row["plain"], row["coded"]
        lines.append(
            table_row(
                name if name == "as it is" else f"`{name}`",
                interval(row["micro_f1"]),
                interval(row["macro_f1"]),
                format_number(row["average_precision"], 3),
                f"{format_number(100 * row['changed_answers'], 2)} %",
                format_number(row["latency_ms_p50"], 2),
                *(format_number(one["size_bytes"] / 1e6, 3) for one in (plain, coded)),
                *(format_number(one["load_ms"], 0) for one in (plain, coded)),
            )
        )
    processor = escape_markdown(str(measured["environment"]["processor"]))
    return [
        *lines,
        "",
        f"`{measured['artifact']}`, {measured['symptoms']} symptoms, {format_number(measured['reports'], 0)} "
        "test reports, thresholds of the artifact; \\[ \\] 95 % interval over reports. A coded file decodes "
        "to the other one, bit for bit. A row with `aware=true` learned once from "
        f"{format_number(measured['training_notes'], 0)} reports. One core of {processor}, all in turn; "
        "`make bench-deep-compression` measures it.",
    ]


def evidence_table(measured: Measured) -> list[str]:
    """What `benchmarks/evidence.py` wrote: a line for each rule of the default answer, and the two alone."""
    year = measured["year"]
    lines = table_head(
        [
            "what a note affirms",
            f"VAERS {year}",
            "synthetic notes",
            "denied by every mention, MTSamples",
        ]
    )
    samples = measured["contradictions"].get("MTSamples", {})
    for name, coded in measured["coded"].items():
        found = samples.get(name)
        counts = [] if found is None else [found["denied_by_every_mention"], found["affirmed"]]
        denied = " of ".join(format_number(count, 0) for count in counts) or NOT_APPLICABLE
        lines.append(
            table_row(
                name,
                interval(coded["micro_f1"]),
                interval(measured["synthetic"][name]["micro_f1"]),
                denied,
            )
        )
    missing = sum(one["without_a_present_mention"] for one in measured["default"].values())
    notes = sum(one["notes"] for one in measured["default"].values())
    return [
        *lines,
        "",
        f"Micro-F1 over the {len(measured['symptoms'])} symptoms of the model on all "
        f"{format_number(measured['reports'], 0)} reports of {year}, and over the "
        f"{measured['synthetic_symptoms']} symptoms that synthetic notes are written about on "
        f"{format_number(measured['synthetic_notes'], 0)} of them; \\[ \\] 95 % interval over notes. "
        f"As the program answers, {format_number(missing, 0)} symptoms without a present mention in "
        f"{format_number(notes, 0)} notes of all sets. `make bench-evidence` measures it.",
    ]


def growth_table(measured: Measured) -> list[str]:
    """What `benchmarks/growth.py` wrote: a line for each reader."""
    lines = table_head(["reader", "steepest exponent", "of", "slowest, s/MB", "of", "`no fever `, s/MB"])
    for reader, found in measured["summary"].items():
        lines.append(
            table_row(
                {"rules": "rules", "model": f"rules and models of `{measured['artifact']}`"}[reader],
                format_number(found["steepest"]["exponent"], 2),
                f"`{_one_line(found['steepest']['shape'])}`",
                format_number(found["slowest"]["seconds_a_megabyte"], 1),
                f"`{_one_line(found['slowest']['shape'])}`",
                format_number(found["denied"]["seconds_a_megabyte"], 1),
            )
        )
    short, long = measured["lengths"]
    processor = escape_markdown(str(measured["environment"]["processor"]))
    return [
        *lines,
        "",
        f"{len(measured['rows'])} shapes of text, {measured['made']} of them random, repeated to "
        f"{format_number(short / 1000, 0)} kB and to {format_number(long / 1e6, 1)} MB; 1 is a time that "
        f"grows as the length does, 2 one that grows with its square. One core of {processor}, without a "
        "limit on mentions; `make bench-growth` measures it.",
    ]


def _one_line(shape: str) -> str:
    return shape.replace("\n", "⏎").replace("\t", "⇥").replace("|", "\\|")


#: The table of each kind of block.
MEASURED_TABLES: dict[str, Callable[[Measured], list[str]]] = {
    "spans": spans_table,
    "years": years_table,
    "source": source_table,
    "forms": forms_table,
    "negex": negex_table,
    "cuts": cuts_table,
    "packed": packed_table,
    "deep": deep_table,
    "evidence": evidence_table,
    "fresh": fresh_table,
    "pair": pair_table,
    "within": within_table,
    "search": search_table,
    "tuned": tuned_table,
    "first": first_line,
    "throughput": throughput_table,
    "peers": peers_table,
    "classifiers": classifiers_table,
    "capacity": capacity_table,
    "serve": serve_table,
    "extract": extract_table,
    "growth": growth_table,
}
