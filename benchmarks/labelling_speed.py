"""`python -m benchmarks.labelling_speed`: notes a second through match, sections and assertion.

Times the labeller on one thread over all notes, and medSpaCy's default pipeline with target rules for the
same forms on some of them, in turn. Seconds of the clock and of the processor are both written: on a machine
that is shared, only the latter say what the work costs.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peer_medspacy import SPEED_SCRIPT, ask_peer
from sympress.evaluation.cost import own_peak_bytes
from sympress.files import write_json
from sympress.labels.annotate import Annotator
from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.notes.read import read_notes
from sympress.provenance import environment


def time_labelling(texts: Sequence[str], annotator: Annotator) -> dict[str, Any]:
    """Return how long all texts take, one after the other, and by how much memory grew meanwhile."""
    before = own_peak_bytes()
    started, used, mentions = time.perf_counter(), time.process_time(), 0
    for text in texts:
        mentions += len(annotator.mentions(text))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - used
    grown = own_peak_bytes() - before
    return _speeds(len(texts), seconds, cpu_seconds, mentions) | {"peak_memory_growth_kb": grown // 1024}


def time_peer(texts: Sequence[str], lexicon: Lexicon, python: Path) -> dict[str, Any]:
    """Return the same of medSpaCy's default pipeline with a target rule for every form.

    Raises:
        InputError: that environment cannot run it.
    """
    forms = [form for symptom in lexicon.symptoms for form in symptom.forms]
    told = ask_peer(python, SPEED_SCRIPT, {"forms": forms, "texts": list(texts)})
    return {"version": told["version"], "forms": len(forms)} | _speeds(
        len(texts), told["seconds"], told["cpu_seconds"], told["mentions"]
    )


def _speeds(notes: int, seconds: float, cpu_seconds: float, mentions: int) -> dict[str, Any]:
    return {
        "notes": notes,
        "mentions": mentions,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "notes_per_second": notes / seconds,
        "notes_per_cpu_second": notes / cpu_seconds,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Time both and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.labelling_speed", description=__doc__)
    parser.add_argument("notes", type=Path)
    parser.add_argument("--lexicon", default="clinical")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/labelling-speed.json"))
    parser.add_argument("--peer-python", type=Path, help="Python of an environment with medspacy")
    parser.add_argument("--peer-notes", type=int, default=50, help="how many notes, evenly spread")
    chosen = parser.parse_args(arguments)
    texts = read_notes(chosen.notes).frame["text"].to_list()
    lexicon = load_lexicon(chosen.lexicon)
    annotator = Annotator(lexicon)
    time_labelling(texts[:100], annotator)  # warm the caches, as for the peer
    result: dict[str, Any] = {
        "format": 1,
        "command": "python -m benchmarks.labelling_speed NOTES --peer-python PEER/bin/python",
        "load_average_1_min": os.getloadavg()[0],
        "data": {"name": chosen.notes.name, "notes": len(texts), "characters": sum(map(len, texts))},
        "lexicon": {"name": lexicon.name, "symptoms": len(lexicon.symptoms)},
        "sympress": time_labelling(texts, annotator),
        "medspacy": "not compared: give --peer-python",
        "environment": environment(),
    }
    if chosen.peer_python is not None:
        some = texts[:: max(1, len(texts) // chosen.peer_notes)][: chosen.peer_notes]
        result["medspacy"] = peer = time_peer(some, lexicon, chosen.peer_python)
        same = time_labelling(some, annotator)
        result["same notes"] = same
        result["times_as_fast"] = same["notes_per_cpu_second"] / peer["notes_per_cpu_second"]
    write_json(chosen.output, result)
    print(json.dumps(result, indent=1))  # noqa: T201
    print(chosen.output)  # noqa: T201


if __name__ == "__main__":
    main()
