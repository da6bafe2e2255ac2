"""What a deployed model costs: latency, all in turn, and peak memory in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sympress.errors import SympressError, of_extra

if TYPE_CHECKING:
    from sympress.models.tfidf import ReferenceModel


# Time several models in one run, in turn, so that a change of the machine's speed hits them all.


#: Notes that are timed one by one, and rounds over them, whatever the task and the command.
TIMED_NOTES, ROUNDS = 60, 3


@dataclass(frozen=True)
class Timing:
    """Milliseconds a note, one at a time, and the ratio to the reference, note by note.

    `ratios` holds the same ratio to further references, by their names.
    """

    latency_ms_p50: float
    latency_ms_p95: float
    ratio: float
    ratios: dict[str, float] = field(default_factory=dict)


def time_in_turn(
    models: Mapping[str, Callable[[int], object]],
    notes: int,
    *,
    reference: str,
    also: Sequence[str] = (),
    warmup: int = 3,
    rounds: int = 1,
) -> dict[str, Timing]:
    """Run every model on note 0, then every model on note 1, and so on, `rounds` times over.

    Args:
        models: name -> function that runs one note by its index.
        notes: how many notes there are.
        reference: the name to compare with; `ratio` is the median over notes of this model's time
            divided by the reference's time on the same note in the same round.
        also: further names to compare with.
        warmup: untimed calls of each model first.
        rounds: how often the notes are gone through.
    """
    for run in models.values():
        for index in range(min(warmup, notes)):
            run(index)
    names = list(models)
    seconds = np.zeros((len(names), rounds * notes))
    for step in range(rounds * notes):
        shift = step % len(names)  # nobody is always first
        for position in range(len(names)):
            row = (position + shift) % len(names)
            start = time.perf_counter()
            models[names[row]](step % notes)
            seconds[row, step] = time.perf_counter() - start
    base = seconds[names.index(reference)]
    return {
        name: Timing(
            latency_ms_p50=float(np.percentile(seconds[row], 50) * 1e3),
            latency_ms_p95=float(np.percentile(seconds[row], 95) * 1e3),
            ratio=float(np.median(seconds[row] / base)),
            ratios={other: float(np.median(seconds[row] / seconds[names.index(other)])) for other in also},
        )
        for row, name in enumerate(names)
    }


def rates_in_turn(batches: Mapping[str, Callable[[], int]], *, rounds: int = 3) -> dict[str, float]:
    """Notes a second of each model over the same notes: the median of `rounds`, models in turn."""
    rates: dict[str, list[float]] = {name: [] for name in batches}
    for _ in range(rounds):
        for name, run in batches.items():
            start = time.perf_counter()
            notes = run()
            rates[name].append(notes / (time.perf_counter() - start))
    return {name: float(np.median(values)) for name, values in rates.items()}


class _Answering(Protocol):
    @property
    def answer(self) -> Callable[[str], object]: ...


def by_index(models: Mapping[str, _Answering], texts: Sequence[str]) -> dict[str, Callable[[int], object]]:
    """Each model as a function of a note's index, to be timed in turn with the others."""

    def timed(model: _Answering) -> Callable[[int], object]:
        return lambda index: model.answer(texts[index])

    return {name: timed(model) for name, model in models.items()}


def pick_timed(texts: Sequence[str]) -> list[str]:
    """The notes of `texts` that are timed."""
    return [texts[row] for row in np.random.default_rng(0).permutation(len(texts))[:TIMED_NOTES]]


# Peak memory of a deployed row, measured in a process of its own: `python -m sympress.evaluation.cost`.


def peak_memory_bytes(folder: Path, texts: Sequence[str]) -> int:
    """Peak resident memory of a fresh process that loads `folder` and answers `texts` one at a time.

    The texts travel through a pipe and are not written anywhere.

    Raises:
        SympressError: the process failed.
    """
    command = [sys.executable, "-m", "sympress.evaluation.cost", str(folder)]
    given = json.dumps(list(texts))
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)  # noqa: S603  our own module
    if done.returncode != 0:
        raise SympressError(f"{folder}: the process that measures its memory failed ({done.returncode})")
    return int(done.stdout)


def _main(folder: Path) -> int:
    texts = json.load(sys.stdin)
    answer = _load_answer(folder)
    for text in texts:
        answer(text)
    return own_peak_bytes()


def _load_answer(folder: Path) -> Callable[[str], object]:
    """What answers one text: the artifact as it is deployed, or the reference model in `folder`."""
    if (folder / "extractor.json").is_file():
        from sympress.runtime.extractor import Extractor

        return Extractor.load(folder).answer
    reference = _load_reference(folder)
    return lambda text: reference.predict_proba([text])


def own_peak_bytes() -> int:
    """Peak resident memory of this process since it began to run its program.

    On Linux `ru_maxrss` is no less than what the process that started this one held, so there it is read from
    `VmHWM`.

    Raises:
        MissingExtraError: on Windows, where psutil is not installed.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    if sys.platform == "win32":
        with of_extra("train", "psutil"):
            import psutil
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others KiB


def _load_reference(folder: Path) -> ReferenceModel:
    """The reference model whose file lies in `folder`."""
    if (folder / "asserted.json").is_file():
        from sympress.models.rules import AssertedRule

        return AssertedRule.load(folder)
    if (folder / "ensemble.json").is_file():
        from sympress.models.ensemble import Ensemble

        return Ensemble.load(folder)
    from sympress.models.rules import RuleClassifier
    from sympress.models.tfidf import TfidfClassifier

    return RuleClassifier.load(folder) if (folder / "rule.json").is_file() else TfidfClassifier.load(folder)


if __name__ == "__main__":
    sys.stdout.write(str(_main(Path(sys.argv[1]))))


# Weights of a deployed ONNX file.


@dataclass(frozen=True)
class WeightCounts:
    """Numbers stored in a model file, and how many of them are not zero."""

    parameters: int
    nonzero_parameters: int


def count_weights(source: Path | bytes) -> WeightCounts:
    """Count the weights of an ONNX file, or its bytes: floats, and int8 with scales and zero points aside.

    Scalars and shape constants (int64) are not weights. An int8 weight that was rounded to zero counts
    as zero. Weights that share the values of a codebook count one by one.
    """
    import onnx

    total = nonzero = 0
    model = onnx.load_model_from_string(source) if isinstance(source, bytes) else onnx.load(source)
    tensors = model.graph.initializer
    books = {
        tensor.name.removesuffix(_BOOK): onnx.numpy_helper.to_array(tensor)
        for tensor in tensors
        if tensor.name.endswith(_BOOK)
    }
    zeros = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in tensors if _is_scale(tensor.name)}
    for tensor in tensors:
        kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
        if tensor.data_type not in kinds or not tensor.dims or _is_scale(tensor.name):
            continue
        values = onnx.numpy_helper.to_array(tensor)
        name, _, stored = tensor.name.rpartition("_")
        if name in books:
            places = np.concatenate([values & 15, values >> 4]) if stored == "pairs" else values
            values = books[name][places]
        else:
            name = tensor.name
        total += values.size
        zero = zeros.get(name.removesuffix("_quantized") + "_zero_point", np.zeros(1))
        # an int8 tensor with one zero point stores it where the weight is zero; one a channel is always 0
        nonzero += int(np.count_nonzero(values != zero.item() if zero.size == 1 else values))
    return WeightCounts(total, nonzero)


#: How the name of a codebook ends; see `compression.quantize.kernels`.
_BOOK = "_codebook"


def _is_scale(name: str) -> bool:
    return name.endswith(("_scale", "_scales", "_zero_point", _BOOK))
