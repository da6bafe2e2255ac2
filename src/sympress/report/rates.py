"""Markdown of what was measured of deployed artifacts: start, rates, memory, load.

Each function takes the JSON of a file under `results/` and returns lines, as those of `report.measured` do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sympress.report.formats import NOT_APPLICABLE, format_number
from sympress.report.markdown import table_head, table_row
from sympress.report.tables import escape_markdown

Measured = Mapping[str, Any]


def first_line(measured: Measured) -> list[str]:
    """What `deploy.extract.bench --phase first` wrote: from the start of the command to its first result."""
    first = measured["first"]
    return [
        f"Artifact `{measured['model']}`, on {escape_markdown(str(measured['environment']['processor']))}: "
        f"{first['first_result_ms_median']} ms from the start of the command to the first result (median of "
        f"{first['times']}, at most {first['first_result_ms_most']}), {first['whole_command_ms_median']} ms "
        "for the whole command."
    ]


def throughput_table(measured: Measured) -> list[str]:
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


def serve_table(measured: Measured) -> list[str]:
    """What `deploy.serve.bench` wrote: what the clients saw in each part of the load."""
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


def extract_table(measured: Measured) -> list[str]:
    """What `deploy.extract.bench` wrote: start, memory and rate, and a job that was killed."""
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


def capacity_table(measured: Measured) -> list[str]:
    """What `deploy.extract.rates` wrote: rates of each artifact, and what the two corpora take at them."""
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
