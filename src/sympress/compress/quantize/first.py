"""Where a head reads the first token alone, the last layer computes that token alone.

A layer's feed-forward half and the queries of its attention work token by token: what no one reads need not
be computed. Keys and values of all tokens stay. Of a model of one layer that is most of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from sympress.compress.quantize.embeddings import constant

#: Sizes of each dimension: a number, a name, or None where it is not known.
Shape = tuple[int | str | None, ...]
#: The axis along which each input is read at its first place alone, None for one that is read whole.
Asked = Sequence[int | None]


def keep_first_(model: ModelProto, shapes: Mapping[str, Shape]) -> None:
    """Narrow every tensor of which only the first token is read to that token.

    The same sums, though a kernel for one row may round their last bit in another way than one for many; and
    the 8-bit range of an activation becomes that of the first token. Where a head pools over tokens nothing
    changes.

    Args:
        model: a file of `export_onnx`, changed in place.
        shapes: of its tensors by name, of stored ones too.
    """
    narrowed = _narrowed(model, shapes)
    if not any(node.op_type == "MatMul" and node.output[0] in narrowed for node in model.graph.node):
        return
    axes: dict[str, int] = {}
    sliced: dict[tuple[str, int], str] = {}
    made: list[NodeProto] = []
    for node in model.graph.node:
        axis, asked = narrowed.get(node.output[0], (None, ()))
        for place, along in enumerate(asked):
            name = node.input[place]
            if along is None or name in axes:
                continue  # read whole, or made with its first token alone by now
            if (name, along) not in sliced:
                sliced[name, along] = f"{name}_first_{along}"
                made.append(_slice(model, name, sliced[name, along], along))
            node.input[place] = sliced[name, along]
        if axis is not None:
            axes |= dict.fromkeys(node.output, axis)
            if node.op_type == "Reshape":
                _reshape_to_one_(model, node, axis, shapes)
        made.append(node)
    for value in model.graph.value_info:
        if value.name in axes:
            value.type.tensor_type.shape.dim[axes[value.name]].dim_value = 1
    ordered = [NodeProto.FromString(node.SerializeToString()) for node in made]
    del model.graph.node[:]
    model.graph.node.extend(ordered)


def _reads_first(model: ModelProto, node: NodeProto, shapes: Mapping[str, Shape]) -> bool:
    """True for the look-up of the first token of `(batch, tokens, width)`."""
    if node.op_type != "Gather" or _attribute(node, "axis", 0) != 1:
        return False
    stored = next((tensor for tensor in model.graph.initializer if tensor.name == node.input[1]), None)
    states = shapes.get(node.input[0], ())
    return (
        stored is not None
        and not stored.dims
        and int(numpy_helper.to_array(stored)) == 0
        and len(states) == 3
        and isinstance(states[1], str)
    )


def _narrowed(model: ModelProto, shapes: Mapping[str, Shape]) -> dict[str, tuple[int | None, Asked]]:
    """By its first output each node of whose results only the first along an axis is read.

    With that axis (None for the look-up of the first token itself, whose result stays as it is) and how the
    node reads its inputs. Going backwards, each tensor collects how its readers want it.
    """
    wanted: dict[str, set[int | None]] = {value.name: {None} for value in model.graph.output}
    narrowed: dict[str, tuple[int | None, Asked]] = {}
    for node in reversed(model.graph.node):
        wishes = set().union(*(wanted.get(name, set()) for name in node.output))
        axis = next(iter(wishes)) if len(wishes) == 1 else None
        asked = None if axis is None else _asks(node, axis, shapes)
        if axis is None and _reads_first(model, node, shapes):
            asked = [1, None]
        if asked is not None:
            narrowed[node.output[0]] = (axis, asked)
        for place, name in enumerate(node.input):
            wanted.setdefault(name, set()).add(None if asked is None else asked[place])
    return narrowed


def _asks(node: NodeProto, axis: int, shapes: Mapping[str, Shape]) -> Asked | None:
    """How `node` reads its inputs if no more than the first place along `axis` of its output is read.

    An axis an input, None for one that is read whole; None in all where places are mixed or nothing is known.
    """
    after, known = shapes.get(node.output[0]), [shapes.get(name) for name in node.input]
    rule = _RULES.get(node.op_type)
    return None if after is None or rule is None else rule(node, axis, after, known)


def _elementwise(_node: NodeProto, axis: int, after: Shape, known: Sequence[Shape | None]) -> Asked | None:
    asked: list[int | None] = []
    for own in known:
        if own is None:
            return None
        place = axis - len(after) + len(own)
        asked.append(None if place < 0 or own[place] == 1 else place)
    return asked


def _along_another(node: NodeProto, axis: int, after: Shape, _known: Sequence[Shape | None]) -> Asked | None:
    """Softmax and Split work along one axis, and a LayerNormalization along all from one on."""
    along = _attribute(node, "axis", 0 if node.op_type == "Split" else -1) % len(after)
    apart = axis < along if node.op_type == "LayerNormalization" else axis != along
    return [axis, *[None] * (len(node.input) - 1)] if apart else None


def _rows(_node: NodeProto, axis: int, after: Shape, known: Sequence[Shape | None]) -> Asked | None:
    """A row of a product takes one row of the first factor, and all of the second."""
    rank = len(known[0] or ())
    return [axis, None] if rank == len(after) and axis == rank - 2 else None


def _moved(node: NodeProto, axis: int, _after: Shape, _known: Sequence[Shape | None]) -> Asked | None:
    order = next(attribute.ints for attribute in node.attribute if attribute.name == "perm")
    return [int(order[axis])]


def _reshaped(_node: NodeProto, axis: int, after: Shape, known: Sequence[Shape | None]) -> Asked | None:
    """What stands up to the axis stays, and what comes after it has known sizes."""
    same = None not in after and (known[0] or ())[: axis + 1] == after[: axis + 1]
    return [axis, None] if same and all(isinstance(size, int) for size in after[axis + 1 :]) else None


_RULES: dict[str, Callable[[NodeProto, int, Shape, Sequence[Shape | None]], Asked | None]] = {
    **dict.fromkeys(
        ("Add", "Div", "Erf", "Gelu", "Mul", "Neg", "Relu", "Sub", "Tanh", "Where"), _elementwise
    ),
    **dict.fromkeys(("LayerNormalization", "Softmax", "Split"), _along_another),
    "MatMul": _rows,
    "Transpose": _moved,
    "Reshape": _reshaped,
}


def _reshape_to_one_(model: ModelProto, node: NodeProto, axis: int, shapes: Mapping[str, Shape]) -> None:
    after = shapes[node.output[0]]
    sizes = [*after[:axis], 1, *after[axis + 1 :]]
    target = [size if isinstance(size, int) else 0 for size in sizes]
    name = "shape_" + "_".join(str(size) for size in target)
    node.input[1] = constant(model, name, np.array(target, dtype=np.int64))
    del node.attribute[:]  # allowzero would read a 0 as none at all


def _slice(model: ModelProto, name: str, first: str, axis: int) -> NodeProto:
    ends = [constant(model, f"first_{end}", np.array([end], dtype=np.int64)) for end in (0, 1)]
    along = constant(model, f"first_axis_{axis}", np.array([axis], dtype=np.int64))
    return helper.make_node("Slice", [name, *ends, along], [first], name=first)


def _attribute(node: NodeProto, name: str, default: int) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), default)
