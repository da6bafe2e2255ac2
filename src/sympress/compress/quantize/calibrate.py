"""Ranges of the linear layers' inputs, measured on a calibration set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from sympress.deploy.kernels import open_session
from sympress.errors import InputError, nearest

Calibration = Literal["minmax", "percentile", "error"]
CALIBRATIONS: tuple[Calibration, ...] = get_args(Calibration)
#: `percentile` leaves out this share of the values, half at each end.
LEFT_OUT = 1e-5
_BINS = 2048
_SHRINKS = np.linspace(1.0, 0.3, 71)

Range = tuple[float, float]


def input_ranges(
    model: ModelProto, nodes: Sequence[str], notes: Sequence[NDArray[np.int64]], calibration: Calibration
) -> dict[str, Range]:
    """Tensor name -> the (low, high) to quantize to 8 bits, for what the linear `nodes` multiply.

    Zero always lies inside. Notes run one at a time, as they are served, so that no padding enters; the
    histograms are gathered note by note, so that no more than one note's activations are held.

    Args:
        model: the file whose activations are to be quantized.
        nodes: names of linear nodes.
        notes: word-piece ids of each calibration note, `(tokens,)`.
        calibration: `minmax` takes the smallest and largest value, `percentile` all but `LEFT_OUT` of the
            values, `error` the range with the least squared error (the clipping trade of Banner et al.
            2019, searched on the histogram instead of solved for an assumed distribution).

    Raises:
        InputError: `notes` is empty, or `calibration` is unknown.
    """
    if len(notes) == 0:
        raise InputError(
            "a calibration set without notes: static int8 needs at least one to measure ranges on"
        )
    if calibration not in CALIBRATIONS:
        raise InputError(
            f"calibration {calibration!r} is not one of {', '.join(CALIBRATIONS)}"
            f"{nearest(calibration, CALIBRATIONS)}"
        )
    tensors = sorted({node.input[0] for node in model.graph.node if node.name in nodes})
    session = _observing(model, tensors)
    ranges = dict.fromkeys(tensors, (0.0, 0.0))
    for name, values in _observed(session, tensors, notes):
        low, high = ranges[name]
        ranges[name] = (min(low, float(values.min())), max(high, float(values.max())))
    if calibration == "minmax":
        return ranges
    counts = {name: np.zeros(_BINS) for name in tensors}
    for name, values in _observed(session, tensors, notes):
        counts[name] += np.histogram(values, _BINS, range=ranges[name])[0]
    clip = percentile_range if calibration == "percentile" else least_error_range
    return {name: clip(counts[name], ranges[name]) for name in tensors}


def percentile_range(counts: NDArray[np.float64], whole: Range) -> Range:
    """The part of `whole` that all but `LEFT_OUT` of the values of a histogram lie in, and zero."""
    edges = np.linspace(*whole, len(counts) + 1)
    cumulative = np.cumsum(counts) / counts.sum()
    first = int(np.searchsorted(cumulative, LEFT_OUT / 2, side="right"))
    last = int(np.searchsorted(cumulative, 1 - LEFT_OUT / 2))
    return min(0.0, float(edges[first])), max(0.0, float(edges[last + 1]))


def least_error_range(counts: NDArray[np.float64], whole: Range) -> Range:
    """`whole`, shrunk at both ends by the factor that makes the squared error of 8 bits least."""
    edges = np.linspace(*whole, len(counts) + 1)
    values = (edges[1:] + edges[:-1]) / 2
    errors = []
    for shrink in _SHRINKS:
        low, high = whole[0] * shrink, whole[1] * shrink
        step = (high - low) / 255 or 1.0
        # inside: a rounding error of step² / 12 on average; outside: the distance to the end
        outside = values - values.clip(low, high)
        errors.append(float((counts * np.where(outside == 0, step**2 / 12, outside**2)).sum()))
    shrink = float(_SHRINKS[int(np.argmin(errors))])
    return whole[0] * shrink, whole[1] * shrink


def _observing(model: ModelProto, tensors: Sequence[str]) -> Any:
    """A session of `model` that puts out `tensors` as well."""
    probe = ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors
    )
    return open_session(probe.SerializeToString(), threads=0, disabled=())


def _observed(
    session: Any, tensors: Sequence[str], notes: Sequence[NDArray[np.int64]]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for note in notes:
        inputs = {"input_ids": note[None], "attention_mask": np.ones_like(note[None])}
        yield from zip(tensors, session.run(list(tensors), inputs), strict=True)
