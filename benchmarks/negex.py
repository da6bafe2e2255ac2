"""`python -m benchmarks.negex`: assertion with the condition given, on sentences marked by people.

Reads a tab-separated file of the NegEx corpus (line number, condition, sentence, negation, temporality,
experiencer), asks `context_of` for every condition, and writes precision, recall and F1 beside those of
medSpaCy's default pipeline where an environment that has it is given. Errors are listed by line number; no
sentence is written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peer_medspacy import SPANS_SCRIPT, ask_peer
from sympress.errors import InputError
from sympress.files import write_json
from sympress.labels.assertion import context_of


@dataclass(frozen=True)
class Marked:
    """A sentence with a condition, where it stands (None: nowhere), and what people said of it."""

    line: str
    sentence: str
    span: tuple[int, int] | None
    negated: bool
    historical: bool
    half: str


#: What is scored: the name of the class, how gold marks it, and what the rules call it.
CLASSES: dict[str, tuple[Callable[[Marked], bool], str]] = {
    "negated": (lambda row: row.negated, "absent"),
    "historical": (lambda row: row.historical, "historical"),
}


def read_marked(path: Path) -> list[Marked]:
    """Return the sentences of a NegEx file.

    Raises:
        InputError: a row without six columns; the message names the line.
    """
    rows = []
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines()[1:], start=2):
        cells = line.split("\t")
        if len(cells) != 6:
            raise InputError(f"{path}, line {number}: {len(cells)} columns, not 6; check the file")
        key, condition, sentence, negation, temporality, _ = cells
        half = "AB"[hashlib.blake2b(key.encode(), digest_size=4).digest()[0] & 1]
        rows.append(
            Marked(
                key,
                sentence,
                locate(condition, sentence),
                negation.strip() == "Negated",
                temporality.strip() == "Historical",
                half,
            )
        )
    return rows


def locate(condition: str, sentence: str) -> tuple[int, int] | None:
    """Return where a condition stands in its sentence: in capitals if it does, in any case otherwise."""
    words = [re.escape(word) for word in condition.split()]
    capitals = re.search(
        r"\s+".join(word.upper() for word in map(re.escape, condition.upper().split())), sentence
    )
    found = capitals or re.search(r"\s*".join(words), sentence, re.IGNORECASE)
    return found.span() if found and found.end() > found.start() else None


def score(predicted: Sequence[bool], gold: Sequence[bool]) -> dict[str, float | int]:
    """Return counts, precision, recall and F1 of one class; 0 where a ratio is not defined."""
    pairs = list(zip(predicted, gold, strict=True))
    hit = sum(p and g for p, g in pairs)
    false, missed = sum(p and not g for p, g in pairs), sum(g and not p for p, g in pairs)
    return {
        "true_positives": hit,
        "false_positives": false,
        "false_negatives": missed,
        "precision": hit / (hit + false) if hit + false else 0.0,
        "recall": hit / (hit + missed) if hit + missed else 0.0,
        "f1": 2 * hit / (2 * hit + false + missed) if hit + false + missed else 0.0,
    }


def judge(rows: Sequence[Marked], contexts: Sequence[frozenset[str]]) -> dict[str, Any]:
    """Return the scores of every class on all rows and on either half.

    The cues were written looking at the errors of half A only. Of half B no sentence was looked at, but its
    scores, counts of its errors by kind, and which cues decided them, were: both halves have been seen.
    """
    parts = {
        "all": range(len(rows)),
        **{half: [k for k in range(len(rows)) if rows[k].half == half] for half in "AB"},
    }
    return {
        name: {
            part: {"sentences": len(chosen)}
            | score([label in contexts[k] for k in chosen], [is_gold(rows[k]) for k in chosen])
            for part, chosen in parts.items()
        }
        for name, (is_gold, label) in CLASSES.items()
    }


def peer_contexts(rows: Sequence[Marked], python: Path) -> tuple[list[frozenset[str]], str]:
    """Return what medSpaCy's default pipeline says of every condition, and its version.

    Raises:
        InputError: that environment cannot run it.
    """
    answered = ask_peer(python, SPANS_SCRIPT, [[row.sentence, row.span] for row in rows])
    return [frozenset(context) for context in answered["contexts"]], answered["version"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Score a NegEx file and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.negex", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/negex.json"))
    parser.add_argument("--peer-python", type=Path, help="Python of an environment with medspacy")
    chosen = parser.parse_args(arguments)
    rows = read_marked(chosen.data)
    contexts = [frozenset(context_of(row.sentence, *row.span) if row.span else ()) for row in rows]
    result: dict[str, Any] = {
        "format": 1,
        "command": "python -m benchmarks.negex negex/dev.tsv --peer-python PEER/bin/python",
        "data": {"name": chosen.data.name, "sentences": len(rows)},
        "without a place": [row.line for row in rows if row.span is None],
        "sympress": judge(rows, contexts),
        "errors": {
            name: [row.line for row, c in zip(rows, contexts, strict=True) if (label in c) != is_gold(row)]
            for name, (is_gold, label) in CLASSES.items()
        },
    }
    if chosen.peer_python is None:
        result["medspacy"] = "not compared: give --peer-python"
    else:
        peer, version = peer_contexts(rows, chosen.peer_python)
        result["medspacy"] = {"version": version} | judge(rows, peer)
    write_json(chosen.output, result)
    print(json.dumps({key: result[key] for key in ("sympress", "medspacy")}, indent=1))  # noqa: T201
    print(chosen.output)  # noqa: T201


if __name__ == "__main__":
    main()
