"""Which layers int8 harms most, and which kernel is best on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from sympress.compression.quantize.kernels import (
    linear_nodes,
    quantize_calibrated,
    quantize_onnx,
    quantize_weights_only,
    share_weights_,
    weight_only_bits,
)
from sympress.compression.recipe import Exported
from sympress.errors import InputError, nearest
from sympress.runtime.session import open_session

# Which linear layers int8 harms most: each is quantized alone and the logits compared.


@dataclass(frozen=True)
class LayerError:
    """The mean absolute difference of a logit to the float file when only linear node `name` is int8."""

    name: str
    error: float


def layer_sensitivity(
    source: Path, notes: Sequence[NDArray[np.int64]], *, reduce_range: bool
) -> list[LayerError]:
    """The error of each linear node of the fp32 file `source`, largest first.

    Args:
        source: an fp32 file of `export_onnx`.
        notes: word-piece ids of validation notes, `(tokens,)` each; never of test notes.
        reduce_range: as for `quantize_onnx`.

    Raises:
        InputError: `notes` is empty.
    """
    model = onnx.load(source)
    reference = logits_of(source, notes)
    errors = []
    for name in linear_nodes(model):
        logits = logits_of(_with_one_rounded(model, name, 64 if reduce_range else 127), notes)
        errors.append(LayerError(name, float(np.abs(logits - reference).mean())))
    return sorted(errors, key=lambda layer: -layer.error)


def _with_one_rounded(model: ModelProto, name: str, top: int) -> bytes:
    """`model` with the operands of node `name` on the grids of `quantize_onnx`, multiplied in float.

    The numbers are those of the integer product; nothing is written to disk for it.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    place, node = next((i, node) for i, node in enumerate(copy.graph.node) if node.name == name)
    values, weight_name = node.input[:2]
    weight = next(tensor for tensor in copy.graph.initializer if tensor.name == weight_name)
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    matrix = numpy_helper.to_array(weight)
    scale = np.abs(matrix).max(axis=1 if transposed else 0, keepdims=True) / np.float32(top)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    rounded = numpy_helper.from_array(np.round(matrix / scale) * scale, "rounded_weight")
    copy.graph.initializer.append(rounded)
    node.input[0], node.input[1] = "rounded_values", "rounded_weight"
    if not any(weight_name in other.input for other in copy.graph.node):
        copy.graph.initializer.remove(weight)
    parts = ["levels", "step", "zero"]
    copy.graph.node.insert(place, helper.make_node("DynamicQuantizeLinear", [values], parts))
    copy.graph.node.insert(place + 1, helper.make_node("DequantizeLinear", parts, ["rounded_values"]))
    serialized: bytes = copy.SerializeToString()
    return serialized


def choose_float(
    sensitivity: Sequence[LayerError], *, count: int | None = None, share: float | None = None
) -> tuple[str, ...]:
    """Names of the `count` most sensitive nodes, or of as few as cause `share` of the summed error.

    Raises:
        InputError: not exactly one of `count` and `share` is given, or it is out of range.
    """
    worst = sorted(sensitivity, key=lambda layer: -layer.error)
    if (count is None) == (share is None):
        raise InputError("layers to keep in float: give either their count or their share of the error")
    if share is not None:
        if not 0 <= share <= 1:
            raise InputError(f"share {share:g} of the error: must be from 0 to 1")
        causes = np.cumsum([0.0, *(layer.error for layer in worst)])
        count = int(np.searchsorted(causes, share * causes[-1]))
    if count is None or not 0 <= count <= len(worst):
        raise InputError(f"{count} layers to keep in float: must be from 0 to {len(worst)}")
    return tuple(layer.name for layer in worst[:count])


def logits_of(model: Path | bytes, notes: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
    """Logits `(notes, K)` of an ONNX file or its content, one note at a time; `(tokens, tags)` of a tagger.

    Raises:
        InputError: `notes` is empty.
    """
    if len(notes) == 0:
        raise InputError("a validation set without notes: there is nothing to compare logits on")
    session = open_session(model, threads=torch.get_num_threads())
    answers = (
        session.run(None, {"input_ids": note[None], "attention_mask": np.ones_like(note[None])})[0]
        for note in notes
    )
    return np.concatenate([answer.reshape(-1, answer.shape[-1]) for answer in answers])


# Which int8 is best here: build the candidates, time them on this machine, compare their logits.


Notes = Sequence[NDArray[np.int64]]
REFERENCE = "fp32"
#: Kernels whose times differ by less than this are taken as equally fast; the more accurate one is chosen.
SAME_SPEED = 1.03


class Builder(Protocol):
    """Writes the fp32 file `source` to `target` in one kernel's format."""

    def __call__(
        self, source: Path, target: Path, notes: Notes, *, embedding_bits: int, keep_float: Sequence[str] = ()
    ) -> None:
        """`notes` are for kernels that calibrate, `keep_float` names linear nodes."""


def _dynamic(source: Path, target: Path, notes: Notes, **settings: Any) -> None:
    del notes  # ranges are measured at run time
    quantize_onnx(source, target, **settings)


def _weights(source: Path, target: Path, notes: Notes, **settings: Any) -> None:
    del notes
    quantize_weights_only(source, target, **settings)


KERNELS: dict[str, Builder] = {
    "dynamic-7bit": partial(_dynamic, reduce_range=True),
    "dynamic-8bit": partial(_dynamic, reduce_range=False),
    "dynamic-unsigned": partial(_dynamic, reduce_range=False, signed=False),
    "static-7bit": partial(quantize_calibrated, reduce_range=True),
    "static-8bit": partial(quantize_calibrated, reduce_range=False),
    "weights-8bit": partial(_weights, bits=8),
    "weights-4bit": partial(_weights, bits=4),
}


@dataclass(frozen=True)
class Candidate:
    """One kernel on this machine: bytes of its file, median milliseconds a note, differences of a logit."""

    name: str
    size_bytes: int
    latency_ms: float
    mean_error: float
    max_error: float


@dataclass(frozen=True)
class Choice:
    """The kernel that is used and all that were compared, fp32 first, for the artifact's provenance."""

    name: str
    automatic: bool
    candidates: tuple[Candidate, ...]


class Timed(Protocol):
    """What a timing tells of one model."""

    @property
    def latency_ms_p50(self) -> float:
        """Median milliseconds a note."""


class TimeInTurn(Protocol):
    """`sympress.evaluation.cost.time_in_turn`, handed in because measuring comes after compressing."""

    def __call__(
        self, models: Mapping[str, Callable[[int], object]], notes: int, *, reference: str
    ) -> Mapping[str, Timed]:
        """Run each model on each note's index, in turn."""


def available_kernels() -> tuple[str, ...]:
    """The names of `KERNELS` that this machine's runtime has."""
    missing = {f"weights-{bits}bit" for bits in (8, 4)} - {
        f"weights-{bits}bit" for bits in weight_only_bits()
    }
    return tuple(name for name in KERNELS if name not in missing)


def build_candidates(
    source: Path,
    folder: Path,
    notes: Notes,
    *,
    names: Sequence[str] = (),
    embedding_bits: int = 8,
    keep_float: Sequence[str] = (),
    clusters: int | None = None,
) -> dict[str, Path]:
    """Write `source` to `folder` once for each kernel in `names` (all available if empty); name -> file.

    Args:
        source: an fp32 file of `export_onnx`.
        folder: where to write `NAME.onnx`.
        notes: word-piece ids of calibration notes, for the static kernels.
        names: of `KERNELS`.
        embedding_bits: 8 or 4.
        keep_float: names of linear nodes to leave float; their number is part of the names that come back,
            as in `dynamic-7bit-2-float`.
        clusters: values of each matrix that its weights share, see `share_weights_`; None for all.

    Raises:
        InputError: a name is unknown, the runtime lacks its kernel, or `notes` is empty.
    """
    for name in names:
        if name not in KERNELS:
            raise InputError(
                f"unknown kernel {name!r}{nearest(name, KERNELS)}; known are {', '.join(KERNELS)}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    built = {}
    for kernel in names or available_kernels():
        name = f"{kernel}-{len(keep_float)}-float" if keep_float else kernel
        built[name] = folder / f"{name}.onnx"
        KERNELS[kernel](source, built[name], notes, embedding_bits=embedding_bits, keep_float=keep_float)
        if clusters is not None:
            model = onnx.load(built[name])
            share_weights_(model, clusters)
            onnx.save(model, built[name])
    return built


def quantize_file(
    exported: Exported,
    *,
    kernels: Sequence[str],
    embedding_bits: int = 8,
    float_layers: int = 0,
    clusters: int | None = None,
) -> Choice:
    """Replace the fp32 file `exported` by the quantized one, and say which kernel it has and why.

    Args:
        exported: the file, and the notes on which kernels and layers are judged.
        kernels: of `KERNELS`; of several, the clock chooses among those about as accurate as the best.
        embedding_bits: 8 or 4.
        float_layers: how many layers, those that int8 harms most, stay in float.
        clusters: values of each matrix that its weights share; None for all that there are.

    Raises:
        InputError: the runtime lacks the kernel, or there are fewer layers than are to stay in float.
    """
    worst: Sequence[str] = ()
    if float_layers:
        sensitivity = layer_sensitivity(exported.path, exported.notes, reduce_range=True)
        worst = choose_float(sensitivity, count=float_layers)
    built = build_candidates(
        exported.path,
        exported.folder / "kernels",
        exported.calibration,
        names=kernels,
        embedding_bits=embedding_bits,
        keep_float=worst,
        clusters=clusters,
    )
    choice = choose_kernel(
        built,
        exported.notes,
        reference=exported.path,
        time_in_turn=exported.time_in_turn,
        name=None if len(built) > 1 else next(iter(built)),
        threads=exported.threads,
    )
    built[choice.name].replace(exported.path)
    return choice


def choose_kernel(
    candidates: Mapping[str, Path],
    notes: Notes,
    *,
    reference: Path,
    time_in_turn: TimeInTurn,
    tolerance: float = 0.1,
    name: str | None = None,
    threads: int = 0,
) -> Choice:
    """The fastest candidate on this machine among those about as accurate as the best.

    About as accurate means: the mean difference of a logit to the fp32 file is larger than that of the
    most accurate candidate by no more than `tolerance` standard deviations of the fp32 logits. The
    reference is timed and listed, and never chosen: its file is four times the size. All run as they will
    where they are deployed (`open_session`), so that a kernel which this CPU is not made for is slow, not
    wrong.

    Args:
        candidates: kernel -> file, as from `build_candidates`.
        notes: word-piece ids of validation notes; never of test notes.
        reference: the fp32 file.
        time_in_turn: times functions of a note's index against each other.
        tolerance: as above; at least 0.
        name: use this candidate whatever the clock says; all are measured all the same.
        threads: of each session; 0 leaves it to the runtime.

    Raises:
        InputError: there is no candidate or no note, `name` is not among them, or `tolerance` is negative.
    """
    _check(candidates, name, tolerance)
    files = {REFERENCE: reference, **candidates}
    logits = {kernel: logits_of(path, notes) for kernel, path in files.items()}
    runs = {kernel: _runner(path, notes, threads) for kernel, path in files.items()}
    timings = time_in_turn(runs, len(notes), reference=REFERENCE)
    table = tuple(
        Candidate(
            name=kernel,
            size_bytes=path.stat().st_size,
            latency_ms=timings[kernel].latency_ms_p50,
            mean_error=float(np.abs(logits[kernel] - logits[REFERENCE]).mean()),
            max_error=float(np.abs(logits[kernel] - logits[REFERENCE]).max()),
        )
        for kernel, path in files.items()
    )
    if name is not None:
        return Choice(name, automatic=False, candidates=table)
    return Choice(fastest(table[1:], tolerance * float(logits[REFERENCE].std())), True, table)


def fastest(candidates: Sequence[Candidate], allowed: float) -> str:
    """Name of the fastest candidate whose mean error exceeds the least one by at most `allowed`.

    Of those within `SAME_SPEED` of the fastest, the most accurate is taken: the clock cannot tell them apart.
    """
    least = min(candidate.mean_error for candidate in candidates)
    accurate = [candidate for candidate in candidates if candidate.mean_error <= least + allowed]
    best_ms = min(candidate.latency_ms for candidate in accurate)
    as_fast = [candidate for candidate in accurate if candidate.latency_ms <= best_ms * SAME_SPEED]
    return min(as_fast, key=lambda candidate: candidate.mean_error).name


def _check(candidates: Mapping[str, Path], name: str | None, tolerance: float) -> None:
    if not candidates:
        raise InputError("no kernel to choose from: build at least one candidate")
    if name is not None and name not in candidates:
        raise InputError(
            f"kernel {name!r} is not among the candidates{nearest(name, candidates)}; "
            f"they are {', '.join(candidates)}"
        )
    if not tolerance >= 0:
        raise InputError(f"tolerance {tolerance:g}: must be 0 or more")


def _runner(path: Path, notes: Notes, threads: int) -> Callable[[int], object]:
    session = open_session(path, threads=threads)

    def run(index: int) -> object:
        ids = notes[index][None]
        return session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})

    return run
