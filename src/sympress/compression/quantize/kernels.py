"""The int8 and int4 kernels, and weights shared by clusters: an fp32 ONNX file in, a smaller one out."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from sympress.compression.quantize import HALF_BYTE, SMALLEST_MATRIX, codebook, nearest_index
from sympress.compression.quantize.aware import constant, pack_nibbles, quantize_embeddings_, split_bytes
from sympress.errors import InputError, nearest
from sympress.runtime.session import open_session

# Int8 that runs as int8: weights and embeddings of an ONNX file, activations quantized as they come.


def quantize_onnx(
    source: Path,
    target: Path,
    *,
    reduce_range: bool,
    keep_float: Sequence[str] = (),
    embedding_bits: int = 8,
    signed: bool = True,
) -> None:
    """Write `source` with int8 weights to `target`.

    Linear layers get 8 bits with a scale an output channel (Jacob et al. 2018) and become MatMulInteger;
    embeddings are stored in integers with a scale a row. Products of two activations stay float.

    Args:
        source: an fp32 file of `export_onnx`.
        target: where to write.
        reduce_range: use 7 bits of a signed weight, so that x86 kernels without VNNI, which add pairs of
            products in 16 bits, do not saturate: 2 · 255 · 64 = 32,640 fits.
        keep_float: names of linear nodes to leave float, as `linear_nodes` gives them.
        embedding_bits: 8 or 4.
        signed: weights symmetric around zero; else unsigned with a zero point.

    Raises:
        InputError: a name in `keep_float` is no linear node, or `embedding_bits` is not 8 or 4.
    """
    model = onnx.load(source)
    nodes = quantizable_nodes(model, keep_float)
    quantize_embeddings_(model, embedding_bits)
    quantize_linears(model, target, nodes, reduce_range=reduce_range, signed=signed)


def quantize_linears(
    model: ModelProto, target: Path, nodes: Sequence[str], *, reduce_range: bool, signed: bool = True
) -> None:
    """Write `model` to `target` with the linear `nodes` in int8 and everything else as it is."""
    if not nodes:  # the quantizer reads an empty list as "all"
        write_bare(model, target)
        return
    left = set(linear_nodes(model)) - set(nodes)
    with quantizing():
        quantize_dynamic(
            model,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            nodes_to_exclude=[name for node in left for name in (node, f"{node}_MatMul")],  # Gemm: renamed
        )
    written = onnx.load(target)
    round_states_once_(written)
    write_bare(written, target)


def round_states_once_(model: ModelProto) -> int:
    """Round the states that a convolution lays side by side before it does so; returns how many it found.

    `Pad`, `Slice` and `Concat` then move bytes, and every state is rounded once instead of `kernel_size`
    times. Padding is the zero point, and a range always holds 0: where the kernel is odd, so that every state
    stands in what is laid side by side, the products are the same to the last bit.

    Args:
        model: a file of `quantize_dynamic`, changed in place.
    """
    made_by = {name: node for node in model.graph.node for name in node.output}
    first: dict[str, NodeProto] = {}  # what rounds, by the padding before which it stands from now on
    changed: set[str] = set()
    for rounding in (node for node in model.graph.node if node.op_type == "DynamicQuantizeLinear"):
        beside = made_by.get(rounding.input[0])
        parts = [made_by.get(name) for name in beside.input] if beside and beside.op_type == "Concat" else []
        cut = {part.input[0] for part in parts if part and part.op_type == "Slice"}
        pad = made_by.get(cut.pop()) if len(cut) == 1 else None
        if beside is None or pad is None or pad.op_type != "Pad" or len(pad.input) != 2:
            continue
        levels, _, zero_point = rounding.output
        changed |= {pad.output[0], *beside.input, beside.output[0]}
        rounding.input[0], pad.input[0] = pad.input[0], f"{levels}_states"
        rounding.output[0], beside.output[0] = f"{levels}_states", levels
        pad.input.append(zero_point)
        first[pad.output[0]] = rounding
    moved = [rounding.output[0] for rounding in first.values()]
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.output[0] in first:
            nodes.append(first[node.output[0]])
        if node.output[0] not in moved:
            nodes.append(node)
    shapes = [value for value in model.graph.value_info if value.name not in changed]
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    model.graph.value_info.extend(shapes)
    return len(first)


def write_bare(model: ModelProto, target: Path) -> None:
    """Write `model` without the exporter's notes, which say for every node what Python called it.

    They take 0.1 MB a layer, more than the int8 weights of a small one. The shapes of tensors stay: the
    runtime fuses residual sums with layer norms only where it knows them.
    """
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    made = {name for node in model.graph.node for name in node.output}
    shapes = [value for value in model.graph.value_info if value.name in made]
    for value in shapes:
        del value.metadata_props[:]
    del model.graph.value_info[:]
    model.graph.value_info.extend(shapes)
    onnx.save(model, target)


def linear_nodes(model: ModelProto) -> tuple[str, ...]:
    """Names of the nodes that multiply by a stored weight, in the order they run."""
    stored = {tensor.name for tensor in model.graph.initializer}
    return tuple(
        node.name
        for node in model.graph.node
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in stored
    )


def quantizable_nodes(model: ModelProto, keep_float: Sequence[str]) -> tuple[str, ...]:
    """The linear nodes of `model` without those in `keep_float`.

    Raises:
        InputError: a name in `keep_float` is no linear node.
    """
    names = linear_nodes(model)
    for name in keep_float:
        if name not in names:
            raise InputError(f"keep_float names {name!r}, which is no linear node{nearest(name, names)}")
    return tuple(name for name in names if name not in keep_float)


@contextlib.contextmanager
def quantizing() -> Iterator[None]:
    """Onnxruntime's quantizers without what they log and print, and the root logger left as it was.

    They are given a model in memory, never its path: beside that they would write.

    Raises:
        OSError: what they wrote to the temporary folder was cut short, which they notice only on reading it.
    """
    root = logging.getLogger()
    disabled, level, handlers = root.manager.disable, root.level, list(root.handlers)
    logging.disable(logging.WARNING)  # it advises shape inference, which dynamic shapes do without
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except DecodeError as error:
        reason = f"{os.strerror(errno.ENOSPC)}, or no larger file allowed, in {tempfile.gettempdir()}"
        raise OSError(errno.ENOSPC, reason) from error
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers  # one of its modules configures the root logger when imported


# Weights stored in 8 or 4 bits by blocks and multiplied with float activations.


WEIGHT_BITS = (8, 4)
#: Let the kernel round activations to 8 bits by blocks as well, which is faster than float products.
_ACCURACY_LEVEL = 4


def quantize_weights_only(
    source: Path,
    target: Path,
    *,
    bits: int = 8,
    block: int = 32,
    keep_float: Sequence[str] = (),
    embedding_bits: int = 8,
) -> None:
    """Write `source` to `target` with weights of `bits`, a scale for each `block` inputs of each output.

    A block's grid is symmetric and ends at its largest value (round to nearest). Where outliers ruin the
    rounding of activations, this keeps them; it saves bytes more than time. `Gemm` nodes (the head's) have
    no such kernel and stay float.

    Raises:
        InputError: the runtime has no kernel for `bits`, `block` is no power of two from 16, or
            `keep_float` or `embedding_bits` is unknown.
    """
    _check(bits, block)
    model = onnx.load(source)
    quantizable_nodes(model, keep_float)
    quantize_embeddings_(model, embedding_bits)
    with quantizing():
        from onnxruntime.quantization.matmul_nbits_quantizer import (
            DefaultWeightOnlyQuantConfig,
            MatMulNBitsQuantizer,
        )

        config = DefaultWeightOnlyQuantConfig(
            block_size=block, is_symmetric=True, accuracy_level=_ACCURACY_LEVEL, bits=bits
        )
        quantizer = MatMulNBitsQuantizer(model, algo_config=config, nodes_to_exclude=list(keep_float))
        quantizer.process()
    write_bare(quantizer.model.model, target)


def _check(bits: int, block: int) -> None:
    at_hand = weight_only_bits()
    if bits not in at_hand:
        names = " and ".join(str(known) for known in at_hand) or "no"
        raise InputError(
            f"weight-only {bits} bits: onnxruntime {onnxruntime.__version__} "
            f"has kernels for {names} bits here"
        )
    if block < 16 or block & (block - 1):
        raise InputError(f"weight-only block {block}: must be a power of two, at least 16")


@functools.cache
def weight_only_bits() -> tuple[int, ...]:
    """The widths of `WEIGHT_BITS` that this machine's runtime multiplies, found out by trying."""
    return tuple(bits for bits in WEIGHT_BITS if _runs(bits))


def _runs(bits: int) -> bool:
    """Whether a 16 × 16 product with weights of `bits` can be loaded and run."""
    weight = numpy_helper.from_array(np.zeros((16, 1, 2 * bits), dtype=np.uint8), "weight")
    scales = numpy_helper.from_array(np.ones(16, dtype=np.float32), "scales")
    node = helper.make_node(
        "MatMulNBits",
        ["x", "weight", "scales"],
        ["y"],
        domain="com.microsoft",
        K=16,
        N=16,
        bits=bits,
        block_size=16,
    )
    row = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 16]) for name in ("x", "y")]
    graph = helper.make_graph([node], "probe", row[:1], row[1:], [weight, scales])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    try:
        session = open_session(model.SerializeToString(), threads=1)
        session.run(None, {"x": np.zeros((1, 16), dtype=np.float32)})
    except Exception:  # the runtime's errors have no common base of their own
        return False
    return True


# Ranges of the linear layers' inputs, measured on a calibration set.


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
    return open_session(probe.SerializeToString(), threads=torch.get_num_threads(), disabled=())


def _observed(
    session: Any, tensors: Sequence[str], notes: Sequence[NDArray[np.int64]]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for note in notes:
        inputs = {"input_ids": note[None], "attention_mask": np.ones_like(note[None])}
        yield from zip(tensors, session.run(list(tensors), inputs), strict=True)


# Int8 with the range of every activation measured beforehand, on a calibration set.


class _OneNote(CalibrationDataReader):  # type: ignore[misc,unused-ignore]
    """What onnxruntime wants to see; the ranges that are used are ours."""

    def __init__(self, note: NDArray[np.int64]) -> None:
        self._left = [note[None]]

    def get_next(self) -> dict[str, NDArray[np.int64]] | None:
        if not self._left:
            return None
        ids = self._left.pop()
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def quantize_calibrated(
    source: Path,
    target: Path,
    notes: Sequence[NDArray[np.int64]],
    *,
    reduce_range: bool,
    calibration: Calibration = "minmax",
    keep_float: Sequence[str] = (),
    embedding_bits: int = 8,
) -> None:
    """Write `source` to `target` with int8 weights and fixed 8-bit ranges of the linear layers' inputs.

    Weights are signed with a scale an output channel, inputs unsigned with a scale a tensor from the
    calibration `notes` (the pair that x86 kernels multiply fastest); outputs stay float, so that each
    activation is rounded once. Nothing is measured at run time, which saves a pass over each activation;
    a note with larger activations than any of `notes` is clipped. (Onnxruntime's own histograms need
    notes of one length, so the ranges come from `input_ranges`.)

    Args:
        source: an fp32 file of `export_onnx`.
        target: where to write.
        notes: word-piece ids of each calibration note, `(tokens,)`.
        reduce_range: 7 bits a weight, as in `quantize_onnx`.
        calibration: how `input_ranges` chooses a range.
        keep_float: names of linear nodes to leave float.
        embedding_bits: 8 or 4.

    Raises:
        InputError: `notes` is empty, or `calibration`, `keep_float` or `embedding_bits` is unknown.
    """
    model = onnx.load(source)
    nodes = quantizable_nodes(model, keep_float)
    quantize_embeddings_(model, embedding_bits)
    ranges = input_ranges(model, nodes, notes, calibration)
    if not nodes:  # the quantizer reads an empty list as "all"
        write_bare(model, target)
        return
    with quantizing():
        quantize_static(
            model,
            target,
            _OneNote(notes[0]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_quantize=list(nodes),
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"],
                "DedicatedQDQPair": True,  # else residual sums would read rounded activations as well
                "TensorQuantOverrides": {
                    name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
                    for name, (low, high) in ranges.items()
                },
            },
        )
    write_bare(onnx.load(target), target)


# Weights shared by clusters: the file holds a codebook for each matrix, and an index for each weight.


#: Operators of linear layers that read unsigned weights.
_TAKES = ("MatMulInteger", "DequantizeLinear")


def share_weights_(model: ModelProto, clusters: int) -> list[str]:
    """Store every integer matrix of `model` as a codebook and indices; returns the matrices' names.

    The first nodes of the graph look the values up again. They depend on no input: the runtime computes them
    once, when it loads the file, and multiplies in int8 as before. Two indices share a byte where the
    codebook has 16 values at most and the matrix an even width.

    Args:
        model: a file of `quantize_onnx` or `quantize_calibrated`, changed in place.
        clusters: values of each codebook, 2 to 256.
    """
    multiplied = {name for node in model.graph.node if node.op_type in _TAKES for name in node.input}
    made: list[NodeProto] = []
    shared = []
    for tensor in list(model.graph.initializer):
        integers = tensor.data_type == TensorProto.INT8 or (
            tensor.data_type == TensorProto.UINT8 and tensor.name in multiplied
        )
        if not integers or len(tensor.dims) != 2 or np.prod(tensor.dims) < SMALLEST_MATRIX:
            continue
        made += _looked_up(model, tensor.name, numpy_helper.to_array(tensor), clusters)
        model.graph.initializer.remove(tensor)
        shared.append(tensor.name)
    nodes = [*made, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return shared


def _looked_up(model: ModelProto, name: str, levels: NDArray[np.integer], clusters: int) -> list[NodeProto]:
    """The nodes that make `name` from its codebook, which `model` holds from now on."""
    book = codebook(levels, clusters)
    indices = nearest_index(levels, book).astype(np.uint8)
    paired = len(book) <= HALF_BYTE and levels.shape[1] % 2 == 0
    stored = f"{name}_pairs" if paired else f"{name}_indices"
    values = pack_nibbles(indices.astype(np.int64) - 8) if paired else indices
    constant(model, stored, values)
    constant(model, f"{name}_codebook", book.astype(levels.dtype))
    nodes = split_bytes(model, stored, name, f"{name}_indices", axis=1) if paired else []
    nodes += [
        helper.make_node("Cast", [f"{name}_indices"], [f"{name}_places"], to=TensorProto.INT32),
        helper.make_node("Gather", [f"{name}_codebook", f"{name}_places"], [name]),
    ]
    for node in nodes:
        node.name = f"node_{node.output[0]}"
    return nodes
