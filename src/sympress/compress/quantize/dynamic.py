"""Int8 that runs as int8: weights and embeddings of an ONNX file, activations quantized as they come."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
from onnx import ModelProto
from onnxruntime.quantization import QuantType, quantize_dynamic

from sympress.compress.quantize.embeddings import quantize_embeddings_
from sympress.errors import InputError, nearest


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
    with quietly():
        quantize_dynamic(
            model,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            nodes_to_exclude=[name for node in left for name in (node, f"{node}_MatMul")],  # Gemm: renamed
        )
    write_bare(onnx.load(target), target)


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
def quietly() -> Iterator[None]:
    """Onnxruntime's quantizers without what they log and print, and the root logger left as it was."""
    root = logging.getLogger()
    disabled, level, handlers = root.manager.disable, root.level, list(root.handlers)
    logging.disable(logging.WARNING)  # it advises shape inference, which dynamic shapes do without
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers  # one of its modules configures the root logger when imported
