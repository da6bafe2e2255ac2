"""Fewer operators in an exported graph, same numbers: shapes as constants, a narrow mask, one token type.

A model of one layer spends an eighth of its time on operators that move no more than a few numbers.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from sympress.compress.quantize.embeddings import constant, looks_up
from sympress.compress.quantize.first import Shape, keep_first_
from sympress.deploy.kernels import open_session

_MASK = "attention_mask"
#: What the exporter writes a mask with that is the same for every query; windows and order need others.
_SHAPE_OPERATORS = {"Concat", "Expand", "Range", "Shape", "Squeeze", "Unsqueeze"}
_MASK_OPERATORS = _SHAPE_OPERATORS | {"And", "Cast", "GatherND", "GreaterOrEqual", "Max"}
#: Operators whose result holds nothing but values of their first input.
_MOVES = {"Expand", "Gather", "GatherElements", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"}
#: Notes and tokens of the masks on which a narrow mask is compared with the one it replaces.
_TRIED = ((1, 2), (2, 7), (3, 19))


def lean_(model: ModelProto) -> None:
    """Take out of `model`, a file of `export_onnx`, what the exporter computes anew in every call.

    - A `Reshape` takes constants, 0 for a dimension that stays, instead of sizes put together at run time.
    - A mask `(batch, 1, tokens, tokens)` whose rows are all the attention mask becomes `(batch, 1, 1,
      tokens)`; products of scores broadcast it. Local attention is left as it is.
    - Token types that are always 0 become one row of their table, added to every token.
    - Where the head reads the first token alone, so does the last layer: `keep_first_`.

    But for the last of these every number of the graph stays the same to the last bit. What is not recognised
    is left alone.
    """
    shapes = _shapes(model)
    for node in model.graph.node:
        if node.op_type == "Reshape":
            _fix_shape_(model, node, shapes)
    _narrow_masks_(model, shapes)
    _fix_token_types_(model, shapes)
    keep_first_(model, shapes)
    _drop_unused_(model)


def _shapes(model: ModelProto) -> dict[str, Shape]:
    values = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    stored: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return stored | {
        value.name: tuple(
            size.dim_param or (size.dim_value if size.HasField("dim_value") else None)
            for size in value.type.tensor_type.shape.dim
        )
        for value in values
        if value.type.tensor_type.HasField("shape")
    }


def _fix_shape_(model: ModelProto, node: NodeProto, shapes: dict[str, Shape]) -> None:
    before, after = shapes.get(node.input[0]), shapes.get(node.output[0])
    if before is None or after is None or 0 in after:
        return
    target = []
    for place, size in enumerate(after):
        stays = size is not None and size == (before[place] if place < len(before) else None)
        target.append(size if isinstance(size, int) else 0 if stays else -1)
    if target.count(-1) > 1:
        return
    name = "shape_" + "_".join(str(size) for size in target)
    node.input[1] = constant(model, name, np.array(target, dtype=np.int64))
    del node.attribute[:]  # allowzero would read a 0 as none at all


def _narrow_masks_(model: ModelProto, shapes: dict[str, Shape]) -> None:
    """Also in `shapes`."""
    for node in list(model.graph.node):
        if node.op_type != "Where" or len(shapes.get(node.output[0], ())) != 4:
            continue
        wide, before = node.input[0], _ancestors(model, node.input[0])
        known = {one.op_type for one in before} <= _MASK_OPERATORS
        if known and _broadcasts(model, node.output[0], shapes) and _is_the_mask(model, wide, before):
            _replace_mask_(model, node)
            batch, _, _, tokens = shapes[node.output[0]]
            shapes[node.output[0]] = (batch, 1, 1, tokens)


def _is_the_mask(model: ModelProto, wide: str, before: list[NodeProto]) -> bool:
    """Whether `wide`, which the nodes `before` compute, has the attention mask in every row: tried out."""
    used = {name for node in before for name in node.input}
    inputs = [value for value in model.graph.input if value.name in used]
    output = helper.make_tensor_value_info(wide, onnx.TensorProto.BOOL, None)
    constants = [tensor for tensor in model.graph.initializer if tensor.name in used]
    graph = helper.make_graph(before, "mask", inputs, [output], constants)
    part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = open_session(part.SerializeToString(), threads=0)
    rng = np.random.default_rng(0)
    for size in _TRIED:
        mask = rng.integers(0, 2, size=size).astype(np.int64)
        found = session.run(None, {value.name: mask for value in inputs})[0]
        expected = np.broadcast_to((mask != 0)[:, None, None], (size[0], 1, size[1], size[1]))
        if found.shape != expected.shape or not np.array_equal(found, expected):
            return False
    return True


def _replace_mask_(model: ModelProto, node: NodeProto) -> None:
    name = f"{node.output[0]}_mask"
    axes = constant(model, "mask_axes", np.array([1, 2], dtype=np.int64))
    place = next(i for i, other in enumerate(model.graph.node) if other.output[0] == node.output[0])
    nodes = [
        helper.make_node("Cast", [_MASK], [f"{name}_bool"], name=f"{name}_cast", to=onnx.TensorProto.BOOL),
        helper.make_node("Unsqueeze", [f"{name}_bool", axes], [name], name=f"{name}_rows"),
    ]
    for offset, made in enumerate(nodes):
        model.graph.node.insert(place + offset, made)
    model.graph.node[place + 2].input[0] = name
    for value in [value for value in model.graph.value_info if value.name == node.output[0]]:
        model.graph.value_info.remove(value)


def _fix_token_types_(model: ModelProto, shapes: dict[str, Shape]) -> None:
    tables = {tensor.name: tensor for tensor in model.graph.initializer if len(tensor.dims) == 2}
    for node in list(model.graph.node):
        table = tables.get(node.input[0]) if node.input else None
        if table is None or not looks_up(node, table.name) or not _all_zero(model, node.input[1]):
            continue
        if _broadcasts(model, node.output[0], shapes):
            rows = numpy_helper.to_array(table)
            row = constant(model, f"{node.output[0]}_row", rows[:1][None].copy())  # (1, 1, width)
            for other in model.graph.node:
                renamed = [row if name == node.output[0] else name for name in other.input]
                other.input[:] = renamed


def _all_zero(model: ModelProto, name: str) -> bool:
    """True if `name` holds zeros whatever the inputs are: a constant of zeros, moved about."""
    made = {output: node for node in model.graph.node for output in node.output}
    while name in made and made[name].op_type in _MOVES:
        name = made[name].input[0]
    stored = next((tensor for tensor in model.graph.initializer if tensor.name == name), None)
    return stored is not None and not numpy_helper.to_array(stored).any()


def _broadcasts(model: ModelProto, name: str, shapes: dict[str, Shape]) -> bool:
    """True if `name` is only ever added to what has the sum's shape already."""
    users = [node for node in model.graph.node if name in node.input]
    outputs = {value.name for value in model.graph.output}
    return name not in outputs and all(
        node.op_type == "Add"
        and any(
            shapes.get(other) is not None and shapes[other] == shapes.get(node.output[0])
            for other in node.input
            if other != name
        )
        for node in users
    )


def _ancestors(model: ModelProto, name: str) -> list[NodeProto]:
    """The nodes that `name` is computed by, in the order they run."""
    wanted, found = {name}, []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            found.append(node)
            wanted.update(node.input)
    return found[::-1]


def _drop_unused_(model: ModelProto) -> None:
    """Remove nodes, constants and shapes that no output needs."""
    graph, needed = model.graph, {value.name for value in model.graph.output}
    for node in reversed(list(graph.node)):
        if needed.intersection(node.output):
            needed.update(node.input)
        else:
            graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in needed]:
        graph.initializer.remove(tensor)
    for value in [value for value in graph.value_info if value.name not in needed]:
        graph.value_info.remove(value)
