"""What `sympress extract` takes: `python -m benchmarks.extraction --model DIR -o FILE.json`.

On synthetic notes, every job a process of its own, in turn: time from the start of the command to the first
result; peak memory for few and for many notes; the rate with one worker and with all; and whether a job that
SIGKILL ends ten times at random moments leaves the same bytes as one that nobody disturbs. Lines are compared
sorted, and as they are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sympress.errors import SympressError
from sympress.extract.checkpoint import failures_path, partial_folder
from sympress.extract.workers import usable_cores
from sympress.files import write_json
from sympress.notes.synthesize.writer import write_notes
from sympress.provenance import environment

LINE = "c/o fever and chills, denies cough\n"
_COMMAND = (sys.executable, "-m", "sympress", "extract")
#: The same command; at its end it prints the most memory that it held.
_TELLING_ITS_PEAK = """
import atexit, sys
from sympress.cli.main import run
from sympress.evaluation.cost import own_peak_bytes
atexit.register(lambda: print(own_peak_bytes()))
run(sys.argv[1:])
"""


def first_result(model: Path, times: int) -> dict[str, Any]:
    """Milliseconds from the start of `echo NOTE | sympress extract -` to its first byte, and to its end."""
    first, whole = [], []
    for _ in range(times):
        began = time.perf_counter()
        with subprocess.Popen(  # noqa: S603  our own command
            [*_COMMAND, "-", "--model", str(model), "-q"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            if process.stdin is None or process.stdout is None:
                raise SympressError("a pipe was not opened")
            process.stdin.write(LINE)
            process.stdin.close()
            if not process.stdout.readline():
                raise SympressError(f"{model}: no answer; run  sympress extract -  to see why")
            first.append((time.perf_counter() - began) * 1000)
        whole.append((time.perf_counter() - began) * 1000)
    return {
        "times": times,
        "first_result_ms_median": round(statistics.median(first)),
        "first_result_ms_most": round(max(first)),
        "whole_command_ms_median": round(statistics.median(whole)),
    }


def one_job(notes: Path, model: Path, output: Path, workers: int) -> dict[str, Any]:
    """Seconds and peak resident memory of one job in a process of its own (up to 4 workers are threads)."""
    began = time.perf_counter()
    command = [sys.executable, "-c", _TELLING_ITS_PEAK, "extract", *_asked(notes, model, output, workers)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)  # noqa: S603  ours
    if done.returncode != 0:
        raise SympressError(f"{notes}: the job failed ({done.returncode}); run it by hand to see why")
    seconds = round(time.perf_counter() - began, 2)
    return {"workers": workers, "seconds": seconds, "peak_rss_bytes": int(done.stdout)}


def _asked(notes: Path, model: Path, output: Path, workers: int) -> list[str]:
    return [str(notes), "--model", str(model), "-o", str(output), "-j", str(workers), "-q"]


def discard(output: Path) -> None:
    """Remove the output of a job with its failures, so that another job can have the name."""
    output.unlink()
    failures_path(output).unlink(missing_ok=True)


def memory_and_rate(work: Path, model: Path, sizes: Sequence[int], cores: int) -> list[dict[str, Any]]:
    """A job for each number of notes on one worker, and the smallest on every core."""
    rows = []
    for notes, workers in [*((size, 1) for size in sizes), (min(sizes), cores)]:
        source, output = made_notes(work, notes), work / "measured.parquet"
        row = one_job(source, model, output, workers)
        discard(output)
        rate = round(notes / row["seconds"], 1)
        rows.append({"notes": notes, "source_bytes": source.stat().st_size, **row, "notes_per_second": rate})
    return rows


def killed_job(work: Path, model: Path, notes: int, *, kills: int, workers: int, seed: int) -> dict[str, Any]:
    """Whether a job that is killed `kills` times leaves what an undisturbed one leaves.

    The moments are drawn uniformly from the time that the undisturbed job took.
    """
    source = made_notes(work, notes)
    undisturbed, output = work / "undisturbed.jsonl", work / "killed.jsonl"
    seconds = float(one_job(source, model, undisturbed, workers)["seconds"])
    chance = random.Random(seed)  # noqa: S311  no secret
    done: list[int] = []
    while len(done) < kills:
        asked = _asked(source, model, output, workers)
        process = subprocess.Popen([*_COMMAND, *asked], stdin=subprocess.DEVNULL)  # noqa: S603  our own command
        time.sleep(chance.uniform(0.2, 1.0) * max(1.0, seconds / kills))
        process.kill()
        process.wait()
        if output.exists():  # it was faster, be it by the last moment of its life: once more from the start
            discard(output)
            done.clear()
            continue
        done.append(items_of(output))
    one_job(source, model, output, workers)
    return {
        "notes": notes,
        "kills": kills,
        "notes_safe_at_each_kill": done,
        "undisturbed_seconds": seconds,
        "same_bytes_sorted": digest_of(output, ordered=True) == digest_of(undisturbed, ordered=True),
        "same_bytes": digest_of(output) == digest_of(undisturbed),
        "rows": output.read_bytes().count(b"\n"),
    }


def items_of(output: Path) -> int:
    """How many notes of an unfinished job are safe on disk."""
    try:
        state = json.loads((partial_folder(output) / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0
    return int(state["items"])


def digest_of(path: Path, *, ordered: bool = False) -> str:
    """SHA-256 of a file, of its sorted lines if `ordered`."""
    lines = path.read_bytes().splitlines(keepends=True)
    return hashlib.sha256(b"".join(sorted(lines) if ordered else lines)).hexdigest()


def made_notes(work: Path, count: int) -> Path:
    """Synthetic notes as JSON lines; every hundredth line is broken, so that failures are compared too."""
    path = work / f"notes-{count}.jsonl"
    if not path.exists():
        whole = work / f"whole-{count}.jsonl"
        write_notes(whole, count, seed=0, note_format="jsonl")
        with whole.open("rb") as made, path.open("wb") as kept:
            kept.writelines(
                line if at % 100 else line[: len(line) // 2] + b"\n" for at, line in enumerate(made)
            )
        discard(whole)
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument(
        "--phase", action="append", choices=["first", "memory", "kill"], help="all by default"
    )
    parser.add_argument("--times", type=int, default=10, help="starts to measure")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2_000, 200_000], help="notes a job has")
    parser.add_argument("--kill-notes", type=int, default=50_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--cores", type=int, default=usable_cores())
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        phases: dict[str, Callable[[], Any]] = {
            "first": lambda: first_result(given.model, given.times),
            "memory": lambda: memory_and_rate(work, given.model, given.sizes, given.cores),
            "kill": lambda: killed_job(
                work, given.model, given.kill_notes, kills=given.kills, workers=given.cores, seed=given.seed
            ),
        }
        measured = {name: phases[name]() for name in given.phase or phases}
    where = environment() | {"cores_used": given.cores, "notes": "synthetic"}
    write_json(given.output, {"format": 1, "model": given.model.name, **measured, "environment": where})


if __name__ == "__main__":
    main()
