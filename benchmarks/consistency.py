"""How consistently people marked: `python -m benchmarks.consistency FILE --labels Sign_symptom`.

The words of a marked span occur elsewhere too, unmarked or marked as something else. Where that depends on
nothing that can be read, no reader can be right both times. Reported are the share of mentions whose words
are marked in another note as well, and the F1 of a reader who knows of every form how often it is marked,
decides by the form alone, and decides as well as can be.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sympress.errors import InputError
from sympress.files import write_json
from sympress.labels.gold import read_gold
from sympress.labels.gold.mentions import to_annotated
from sympress.labels.mentions import AnnotatedNote


@dataclass(frozen=True)
class Consistency:
    """What was counted.

    Attributes:
        notes: read.
        mentions: marked spans.
        forms: different ones, in lower case.
        also_elsewhere: share of the mentions whose form is marked in another note too.
        other_kind: further occurrences of these forms that touch a span of another kind.
        unmarked: further occurrences that touch no span.
        contested: share of the mentions whose form also occurs otherwise.
        form_alone_f1: largest F1 of deciding by the form alone, all occurrences known.
    """

    notes: int
    mentions: int
    forms: int
    also_elsewhere: float
    other_kind: int
    unmarked: int
    contested: float
    form_alone_f1: float


def count_consistency(notes: Sequence[AnnotatedNote]) -> Consistency:
    """Count how the forms of the mentions of `notes` are marked wherever they occur as whole words.

    Occurrences inside a longer mention are left out: they are neither right nor wrong.

    Raises:
        InputError: there is no mention.
    """
    marked: dict[str, list[int]] = defaultdict(list)
    for row, note in enumerate(notes):
        for one in note.mentions:
            marked[note.text[one.start : one.end].lower()].append(row)
    if not marked:
        raise InputError(f"no mention in {len(notes)} notes; give notes with marked spans")
    other = dict.fromkeys(marked, 0)
    unmarked = dict.fromkeys(marked, 0)
    for form in marked:
        pattern = re.compile(rf"(?<!\w){re.escape(form)}(?!\w)", re.IGNORECASE)
        for note in notes:
            for match in pattern.finditer(note.text):
                if _touches(match, [(one.start, one.end) for one in note.mentions]):
                    continue
                if _touches(match, [(one.start, one.end) for one in note.others]):
                    other[form] += 1
                else:
                    unmarked[form] += 1
    mentions = sum(map(len, marked.values()))
    elsewhere = sum(len(rows) for rows in marked.values() if len(set(rows)) > 1)
    contested = sum(len(rows) for form, rows in marked.items() if other[form] + unmarked[form])
    pairs = [(len(rows), other[form] + unmarked[form]) for form, rows in marked.items()]
    return Consistency(
        notes=len(notes),
        mentions=mentions,
        forms=len(marked),
        also_elsewhere=elsewhere / mentions,
        other_kind=sum(other.values()),
        unmarked=sum(unmarked.values()),
        contested=contested / mentions,
        form_alone_f1=best_f1(pairs),
    )


def best_f1(pairs: Sequence[tuple[int, int]]) -> float:
    """The largest F1 of finding whole groups or leaving them, from (right, wrong) findings of each group.

    The best choice takes the groups with the largest share of right findings, down to some share.
    """
    gold = sum(right for right, _ in pairs)
    best, taken, found = 0.0, 0, 0
    for right, wrong in sorted(pairs, key=lambda pair: pair[1] / (pair[0] + pair[1])):
        taken, found = taken + right, found + right + wrong
        best = max(best, 2 * taken / (found + gold))
    return best


def _touches(match: re.Match[str], spans: Sequence[tuple[int, int]]) -> bool:
    return any(start < match.end() and match.start() < end for start, end in spans)


def main(arguments: Sequence[str] | None = None) -> int:
    """Count it; 2 for a mistake in the call or the data, which is said in one line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.consistency", description=__doc__)
    parser.add_argument(
        "gold", type=Path, help="annotated notes, in any format of docs/reference/gold-formats.md"
    )
    parser.add_argument("--labels", required=True, help="labels that are symptoms, with commas")
    parser.add_argument("-o", "--output", type=Path, help="results file")
    given = parser.parse_args(arguments)
    try:
        notes, _ = to_annotated(read_gold(given.gold).documents, labels=given.labels.split(","))
        counted = asdict(count_consistency(notes))
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if given.output:
        write_json(given.output, counted)
    sys.stdout.write(json.dumps(counted, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
