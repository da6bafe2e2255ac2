"""How time grows with a text's length, however it is written: `make bench-growth`.

Each shape is repeated to 200 kB and to 1.6 MB, and read by the rules alone and by rules and models of an
artifact, with no limit on mentions. Shapes are those that once took quadratic time, their kin, and random
strings of forms, cues, headings, marks and brackets without a line break. The exponent is the logarithm of
how many times as long the greater length takes, to base 8: 1 is linear, 2 quadratic. Times are those of the
processor, the least of some readings each; the garbage collector waits, as it does while `extract` reads.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sympress.files import write_json
from sympress.labels.annotate import Annotator
from sympress.labels.lexicon import load_lexicon
from sympress.provenance import environment
from sympress.runtime.extractor import Extractor

#: Characters of the two texts.
SHORT, LONG = 200_000, 1_600_000
#: How often each is read; the least time counts.
READINGS = {SHORT: 2, LONG: 1}
#: The shape whose speed is told by itself.
DENIED = "no fever "

WITHIN_A_LINE = [
    *(
        DENIED,
        "fever, ",
        "no fever, ",
        "fever; ",
        "; fever",
        "fever? ",
        "? fever ",
        "fever.",
        "...fever",
    ),
    *(" -fever", "- fever ", "fever- ", "+fever ", "• fever ", "|fever", "fever | no | ", "fever\tno\t"),
    *("[ ] fever ", "(-) fever ", "(-): fever; ", "Fever: No ", "fever: ", "fever no ", "fever,no,"),
    *("plan: ", "Ab: ", "denies: ", "PMH: fever ", "FEVER: ", ". AB CD: ", "Allergies: fever "),
    *("(fever (no) ", "no (fever ", "CP (x) ", "cerebral palsy (CP) ", "T 101 ", "38 C, 39 C, ", "120/70 "),
    *(
        "or fever, ",
        "no fever, cough for 3 days, ",
        "not fever, but cough ",
        "if fever ",
        "without a fever, a cough, ",
        "fever, cough and rash resolved, ",
        "no fever and the cough ",
        "mother has fever ",
    ),
]
LINES = [
    *("- fever\n", "  - fever\n", "denies:\n", "denies:\n- fever\n", "fever\n", "fever,\n", "fever and\n"),
    *("no fever\n", "fever, no\n", "fever\tno\n", "fever x\n", "Symptom | Yes | No\n", "fever | x |\n"),
    *("PMH: fever\n", "Allergies:\nPenicillin: hives\n", "-fever\n", "+fever\n-cough\n", "\n", "fever.\n"),
]
MARKUP = ["<p>fever</p>", "<td>fever</td>", "&nbsp;fever", "{\\rtf1 fever", "OBX|1|TX|a||fever\n"]

_PIECES = {
    "forms": ("fever", "cough", "shortness of breath", "CP", "n/v", "rash on the arm", "tired"),
    "cues": (
        "no ",
        "denies ",
        "if ",
        "h/o ",
        "mother has ",
        "possible ",
        "without ",
        "but ",
        "resolved ",
        "or ",
    ),
    "headings": ("PMH: ", "Plan: ", "FAMILY HISTORY: ", "Allergies: ", "ROS: ", "Ab: "),
    "marks": ("+", "-", "[x] ", "[ ] ", "(-) ", ": no ", ": ", "? ", "| ", "\t", "• ", "1. "),
    "brackets": ("(", ")", "[", "]", "[**", "**]", "{", "<", ">"),
    "joints": (", ", "; ", ". ", " ", "  ", " and ", "/", " for 3 days ", " 101 F ", "&amp;"),
}


class Growth(NamedTuple):
    """How a reader reads a shape.

    Attributes:
        seconds_a_megabyte: of the greater length.
        exponent: 1 where time is linear in the length.
    """

    seconds_a_megabyte: float
    exponent: float


def make_shapes(count: int, seed: int) -> list[str]:
    """Random strings of two to eight pieces without a line break, all distinct."""
    chosen, made = random.Random(seed), dict[str, None]()  # noqa: S311
    kinds = list(_PIECES.values())
    while len(made) < count:
        made["".join(chosen.choice(chosen.choice(kinds)) for _ in range(chosen.randint(2, 8)))] = None
    return list(made)


def measure(read: Callable[[str], object], shape: str) -> Growth:
    """Read both lengths of a shape."""
    seconds = {
        length: min(_seconds(read, repeat(shape, length)) for _ in range(READINGS[length]))
        for length in (SHORT, LONG)
    }
    return Growth(seconds[LONG] / LONG * 1e6, math.log(seconds[LONG] / seconds[SHORT], LONG / SHORT))


def repeat(shape: str, length: int) -> str:
    """`shape`, again and again, `length` characters long."""
    return (shape * (length // len(shape) + 1))[:length]


def _seconds(read: Callable[[str], object], text: str) -> float:
    with _collector_waits():
        started = time.process_time()
        read(text)
        return time.process_time() - started


@contextlib.contextmanager
def _collector_waits() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def readers(artifact: str) -> dict[str, Callable[[str], object]]:
    """What reads a text: the rules alone, and an artifact, both without a limit on mentions."""
    annotator, extractor = Annotator(load_lexicon("clinical")), Extractor.load(artifact, threads=1)
    extractor.complete()

    def answer(text: str) -> None:
        failure = extractor.answer(text, most_mentions=sys.maxsize).failure
        if failure is not None:
            raise RuntimeError(failure)

    return {"rules": annotator.mentions, "model": answer}


def summary(rows: dict[str, dict[str, Growth]]) -> dict[str, Any]:
    """The greatest exponent, the slowest shape, and the speed of `DENIED`, by reader."""
    found: dict[str, Any] = {}
    for reader in next(iter(rows.values())):
        steepest = max(rows, key=lambda shape: rows[shape][reader].exponent)
        slowest = max(rows, key=lambda shape: rows[shape][reader].seconds_a_megabyte)
        found[reader] = {
            "shapes": len(rows),
            "steepest": {"shape": steepest} | rows[steepest][reader]._asdict(),
            "slowest": {"shape": slowest} | rows[slowest][reader]._asdict(),
            "denied": {"shape": DENIED} | rows[DENIED][reader]._asdict(),
        }
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every shape and write the JSON file; what a stopped run has measured is kept beside it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--artifact", default="box", help="that reads beside the rules (default: box)")
    parser.add_argument("--made", type=int, default=40, help="random shapes (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="of the random shapes (default: 0)")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    shapes = [*WITHIN_A_LINE, *LINES, *MARKUP, *make_shapes(given.made, given.seed)]
    where = environment()
    same = {"artifact": given.artifact, "environment": where}
    kept = given.output.with_suffix(".partial.json")
    rows = _begun(kept, same)
    asked: dict[str, Callable[[str], object]] = {}
    for number, shape in enumerate(shapes, 1):
        if shape not in rows:
            asked = asked or readers(given.artifact)
            rows[shape] = {name: measure(read, shape) for name, read in asked.items()}
            write_json(kept, same | {"rows": _written(rows)})
        told = ", ".join(f"{name} {one.exponent:.2f}" for name, one in rows[shape].items())
        sys.stderr.write(f"{number} of {len(shapes)}: exponents {told}\n")
    rows = {shape: rows[shape] for shape in shapes}
    lengths = {"lengths": [SHORT, LONG], "made": given.made, "seed": given.seed}
    write_json(
        given.output, {"format": 1} | same | lengths | {"summary": summary(rows), "rows": _written(rows)}
    )
    kept.unlink()


def _written(rows: dict[str, dict[str, Growth]]) -> dict[str, Any]:
    return {shape: {name: one._asdict() for name, one in row.items()} for shape, row in rows.items()}


def _begun(kept: Path, same: dict[str, Any]) -> dict[str, dict[str, Growth]]:
    """What a stopped run of the same versions measured on this machine."""
    if not kept.is_file():
        return {}
    stored = json.loads(kept.read_text(encoding="utf-8"))
    if {name: stored[name] for name in same} != same:
        return {}
    return {
        shape: {name: Growth(**one) for name, one in row.items()} for shape, row in stored["rows"].items()
    }


if __name__ == "__main__":
    main()
