"""Notes a second on your notes: `python -m benchmarks.rates NOTES --artifact NAME=DIR -o FILE`.

Every artifact answers the same notes on one core and on all, in turn, several times; each job is a process of
its own and its time that of the whole command. From the medians follows what a corpus of such notes takes
(`benchmarks.capacity`).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.capacity import CORPORA, plan_corpus
from benchmarks.extraction import discard, one_job
from sympress.errors import InputError
from sympress.extract.sources import ItemCounts, find_notes, stream_items
from sympress.extract.workers import usable_cores
from sympress.files import write_json
from sympress.notes.intake import Note
from sympress.provenance import environment
from sympress.runtime.artifact import artifact_folder


def measure_rates(notes: Path, artifacts: Mapping[str, Path], *, times: int, cores: int) -> dict[str, Any]:
    """Rates of `artifacts`, by name, on `notes`.

    Raises:
        InputError: `notes` hold no text, or an artifact is none.
    """
    items = stream_items(find_notes([str(notes)]), ItemCounts())
    lengths = [len(one.text) for one in items if isinstance(one, Note)]
    if not lengths:
        raise InputError(f"{notes}: no note with text; name notes as `sympress extract` reads them")
    seconds: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as work:
        for _ in range(times):
            for name, folder in artifacts.items():
                for workers in sorted({1, cores}):
                    output = Path(work) / "out.parquet"
                    done = one_job(notes, folder, output, workers)["seconds"]
                    seconds.setdefault((name, workers), []).append(float(done))
                    discard(output)
    measured = {
        name: _row(folder, len(lengths), seconds[name, 1], seconds[name, cores], cores)
        for name, folder in artifacts.items()
    }
    told = {"name": notes.name, "count": len(lengths), "characters_mean": round(statistics.mean(lengths))}
    return {"notes": told, "times": times, "cores": cores, "rows": measured}


def _row(
    folder: Path, notes: int, alone: Sequence[float], together: Sequence[float], cores: int
) -> dict[str, Any]:
    """Rates of one artifact's median job, and core-hours of the corpora at the rate of all cores."""
    rate, rate_of_all = (notes / statistics.median(one) for one in (alone, together))
    return {
        "size_bytes": bytes_of_models(folder),
        "notes_per_second": round(rate, 2),
        "notes_per_second_all_cores": round(rate_of_all, 2),
        "core_hours": {
            str(corpus): round(plan_corpus(corpus, cores, rate_of_all / cores).core_hours, 2)
            for corpus in CORPORA
        },
    }


def bytes_of_models(folder: Path) -> int:
    """Bytes of the models of an artifact: its own, as it is stored, and that of its tagger."""
    return sum(path.stat().st_size for path in folder.rglob("model.onnx*"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notes", type=Path)
    parser.add_argument("--artifact", action="append", required=True, metavar="NAME=DIR", help="repeatable")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--cores", type=int, default=usable_cores())
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    pairs = [one.partition("=") for one in given.artifact]
    artifacts = {name: artifact_folder(Path(place or name)) for name, _, place in pairs}
    found = measure_rates(given.notes, artifacts, times=given.times, cores=given.cores)
    write_json(given.output, {"format": 1, **found, "environment": environment()})


if __name__ == "__main__":
    main()
