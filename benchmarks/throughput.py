"""Notes a second against a Hugging Face pipeline, in turn: `python -m benchmarks.throughput`.

Every contender reads the same windows, cut once from all notes so that none is longer than `max_tokens`
word pieces of the fp32 artifact. They run slice by slice, one after the other, so that a change of the
machine's speed hits them all. Reading files and writing results is part of `sympress extract` as of none
other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from sympress.errors import bundled_encoder_folder
from sympress.extract.shapes import COLUMNS, Header
from sympress.extract.workers import CHUNK_NOTES, Order, cut_chunks, open_workers, usable_cores
from sympress.files import write_json
from sympress.notes.intake import Note
from sympress.notes.read import read_notes
from sympress.provenance import environment
from sympress.runtime.extractor import Extractor
from sympress.runtime.tokens import window_spans

PIPELINE = "pipeline-pytorch-fp32"
#: Windows that a contender answers before it is the next one's turn: eight chunks of a job.
_SLICE = 8 * CHUNK_NOTES


def cut_windows(texts: Sequence[str], artifact: Path) -> list[str]:
    """Cut `texts` into windows that the artifact reads whole, without overlap."""
    runtime = Extractor.load(artifact).model
    windows = []
    for text in texts:
        pieces = runtime.pieces(text, offsets=True)
        for first, last in window_spans(len(pieces.ids), runtime.room, runtime.room):
            if last > first:
                windows.append(text[pieces.starts[first] : pieces.ends[last - 1]])
    return windows


def measure_throughput(
    notes: Path, artifacts: Mapping[str, Path], *, encoder: str, cores: int, most: int | None = None
) -> dict[str, Any]:
    """Windows a second of each artifact and of a pipeline over `encoder`, and how many times as fast it is.

    Args:
        notes: any source that `read_notes` reads.
        artifacts: by name; the first, with the encoder's own fp32 weights, cuts the windows.
        encoder: folder that `transformers.pipeline` loads.
        cores: for every contender.
        most: use only so many windows.
    """
    torch.set_num_threads(cores)
    windows = cut_windows(read_notes(notes).frame["text"].to_list(), next(iter(artifacts.values())))[:most]
    with ExitStack() as stack:
        contenders = {PIPELINE: _pipeline(encoder)}
        for name, folder in artifacts.items():
            order = Order("notes", csv=False, header=Header(COLUMNS, name, ""))
            answer = stack.enter_context(open_workers(folder, order, cores))
            contenders[name] = _extraction(answer)
        seconds = _in_turn(contenders, windows)
    return {
        "windows": len(windows),
        "cores": cores,
        "rows": {
            name: {
                "seconds": taken,
                "windows_per_second": len(windows) / taken,
                "times_as_fast": seconds[PIPELINE] / taken,
            }
            for name, taken in seconds.items()
        },
        "environment": environment(),
    }


def _in_turn(contenders: Mapping[str, Callable[[list[str]], None]], windows: list[str]) -> dict[str, float]:
    seconds = dict.fromkeys(contenders, 0.0)
    names = list(contenders)
    for run in contenders.values():
        run(windows[:8])
    for number, start in enumerate(range(0, len(windows), _SLICE)):
        for at in range(len(names)):
            name = names[(at + number) % len(names)]  # nobody is always first
            began = time.perf_counter()
            contenders[name](windows[start : start + _SLICE])
            seconds[name] += time.perf_counter() - began
    return seconds


def _pipeline(encoder: str) -> Callable[[list[str]], None]:
    """What a user writes: transformers' own pipeline in batches of 8."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    classify = pipeline(
        "text-classification",
        model=AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=20),
        tokenizer=AutoTokenizer.from_pretrained(encoder),
        device="cpu",
        top_k=None,
        function_to_apply="sigmoid",
    )

    def run(texts: list[str]) -> None:
        classify(texts, batch_size=8, truncation=True, max_length=256)

    return run


def _extraction(answer: Any) -> Callable[[list[str]], None]:
    def run(texts: list[str]) -> None:
        notes = [
            Note(str(at), None, None, None, None, None, None, text, None) for at, text in enumerate(texts)
        ]
        for _ in answer(cut_chunks(iter(notes))):
            pass

    return run


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--notes", type=Path, required=True)
    parser.add_argument("--encoder", required=True, help="of the pipeline: `bundled`, or a folder")
    parser.add_argument("--artifact", action="append", required=True, metavar="NAME=DIR", help="fp32 first")
    parser.add_argument("--cores", type=int, default=usable_cores())
    parser.add_argument("--most", type=int, help="use only so many windows")
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args(arguments)
    named = dict(pair.split("=", 1) for pair in asked.artifact)
    write_json(
        asked.output,
        measure_throughput(
            asked.notes,
            {name: Path(folder) for name, folder in named.items()},
            encoder=str(bundled_encoder_folder()) if asked.encoder == "bundled" else asked.encoder,
            cores=asked.cores,
            most=asked.most,
        ),
    )


if __name__ == "__main__":
    main()
