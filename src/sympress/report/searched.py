"""Markdown of what searches found: recipes for a budget, settings of a strategy.

Each function takes the JSON of a file under `results/` and returns lines, as those of `report.measured` do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sympress.report.formats import format_number, signed
from sympress.report.markdown import table_head, table_row

Measured = Mapping[str, Any]


def search_table(measured: Measured) -> list[str]:
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


def tuned_table(measured: Measured) -> list[str]:
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
