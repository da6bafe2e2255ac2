"""How long and how dear a corpus is: `python -m benchmarks.capacity --rate NOTES_A_SECOND`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from sympress.errors import InputError

#: MIMIC-III's NOTEEVENTS, and a large hospital group's archive.
CORPORA = (2_000_000, 1_000_000_000)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a corpus takes.

    Attributes:
        notes: how many notes.
        cores: cores that work at the same time.
        core_hours: `notes / rate / 3600`.
        hours: `core_hours / cores / efficiency`.
        cost: `hours · cores · price`, in the price's currency; None without a price.
    """

    notes: int
    cores: int
    core_hours: float
    hours: float
    cost: float | None


def plan_corpus(
    notes: int, cores: int, rate: float, *, efficiency: float = 1.0, price: float | None = None
) -> Plan:
    """What `notes` take on `cores` cores.

    Args:
        notes: how many notes.
        cores: cores that work at the same time.
        rate: notes a second on one core, measured on notes of the same length.
        efficiency: speed of one core among `cores` over that of one alone, 0..1, measured.
        price: of one core for one hour, in any currency.

    Raises:
        InputError: a number is not positive, or the efficiency is above 1.
    """
    if min(notes, cores, rate, efficiency) <= 0 or efficiency > 1 or (price is not None and price < 0):
        raise InputError("notes, cores, rate and efficiency must be positive, and efficiency at most 1")
    core_hours = notes / rate / 3600
    hours = core_hours / cores / efficiency
    return Plan(notes, cores, core_hours, hours, None if price is None else hours * cores * price)


def plan_table(plans: Sequence[Plan]) -> str:
    """`plans` as a Markdown table."""
    lines = ["| notes | cores | core-hours | hours | cost |", "| --: | --: | --: | --: | --: |"]
    for plan in plans:
        cost = "–" if plan.cost is None else f"{plan.cost:,.2f}"
        lines.append(
            f"| {plan.notes:,} | {plan.cores:,} | {plan.core_hours:,.2f} | {plan.hours:,.2f} | {cost} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Print the table for both corpora on several numbers of cores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, required=True, help="notes a second on one core")
    parser.add_argument("--efficiency", type=float, default=1.0, help="of a core among many, 0..1")
    parser.add_argument("--price", type=float, help="of one core for one hour, in any currency")
    parser.add_argument("--cores", type=int, nargs="+", default=[2, 16, 64, 512])
    given = parser.parse_args(arguments)
    plans = [
        plan_corpus(notes, cores, given.rate, efficiency=given.efficiency, price=given.price)
        for notes in CORPORA
        for cores in given.cores
    ]
    sys.stdout.write(plan_table(plans) + "\n")


if __name__ == "__main__":
    main()
