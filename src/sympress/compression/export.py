"""A trained model as an ONNX file: exported, cleaned up, and compared with PyTorch."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import pickle
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
import onnx_ir
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from torch import Tensor, nn
from transformers import PreTrainedConfig

from sympress.compression.quantize.aware import constant, looks_up
from sympress.compression.quantize.kernels import write_bare
from sympress.errors import SympressError
from sympress.models.families import FAMILIES, position_table
from sympress.models.model import SymptomModel
from sympress.runtime.session import open_session

# Where a head reads the first token alone, the last layer computes that token alone.
#
# A layer's feed-forward half and the queries of its attention work token by token: what no one reads need
# not be computed. Keys and values of all tokens stay. Of a model of one layer that is most of the
# arithmetic.


#: Sizes of each dimension: a number, a name, or None where it is not known.
Shape = tuple[int | str | None, ...]
#: The axis along which each input is read at its first place alone, None for one that is read whole.
Asked = Sequence[int | None]


def keep_first_token_(model: ModelProto, shapes: Mapping[str, Shape]) -> None:
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
        after, rule = shapes.get(node.output[0]), _RULES.get(node.op_type)
        asked: Asked | None = None  # read whole: places are mixed, or nothing is known
        if axis is not None and after is not None and rule is not None:
            asked = rule(node, axis, after, [shapes.get(name) for name in node.input])
        elif axis is None and _reads_first(model, node, shapes):
            asked = [1, None]
        if asked is not None:
            narrowed[node.output[0]] = (axis, asked)
        for place, name in enumerate(node.input):
            wanted.setdefault(name, set()).add(None if asked is None else asked[place])
    return narrowed


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


# Fewer operators in an exported graph, same numbers: shapes as constants, a narrow mask, one token type.
#
# A model of one layer spends an eighth of its time on operators that move no more than a few numbers.


_MASK = "attention_mask"
#: What the exporter writes a mask with that is the same for every query; windows and order need others.
_SHAPE_OPERATORS = {"Concat", "Expand", "Range", "Shape", "Squeeze", "Unsqueeze"}
_MASK_OPERATORS = _SHAPE_OPERATORS | {"And", "Cast", "GatherND", "GreaterOrEqual", "Max"}
#: Operators whose result holds nothing but values of their first input.
_MOVES = {"Expand", "Gather", "GatherElements", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"}
#: Notes and tokens of the masks on which a narrow mask is compared with the one it replaces.
_TRIED = ((1, 2), (2, 7), (3, 19))


def clean_graph_(model: ModelProto) -> None:
    """Take out of `model`, a file of `export_onnx`, what the exporter computes anew in every call.

    - A `Reshape` takes constants, 0 for a dimension that stays, instead of sizes put together at run time.
    - A mask `(batch, 1, tokens, tokens)` whose rows are all the attention mask becomes `(batch, 1, 1,
      tokens)`; products of scores broadcast it. Local attention is left as it is.
    - Token types that are always 0 become one row of their table, added to every token.
    - Where the head reads the first token alone, so does the last layer: `keep_first_token_`.

    But for the last of these every number of the graph stays the same to the last bit. What is not recognised
    is left alone.
    """
    shapes = _shapes(model)
    for node in model.graph.node:
        if node.op_type == "Reshape":
            _fix_shape_(model, node, shapes)
    _narrow_masks_(model, shapes)
    _fix_token_types_(model, shapes)
    keep_first_token_(model, shapes)
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
    session = open_session(part.SerializeToString(), threads=1)
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


# Export a trained model to ONNX and check that the file computes what PyTorch computes.


#: Largest difference of a logit between PyTorch and the fp32 ONNX file that is accepted.
PARITY_TOLERANCE = 1e-3


class _Exported(nn.Module):
    """The model as a graph of (input_ids, attention_mask), with attention written out."""

    def __init__(self, model: SymptomModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids, attention_mask)
        return logits


#: What a configuration says that no graph depends on; weights have their own type and sizes.
_NOT_STRUCTURE = {
    "_name_or_path",
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "problem_type",
    "sympress",
    "transformers_version",
    "vocab_size",
}


#: What `from_pretrained` leaves in a model, and no graph depends on, where it holds nothing.
_LEFT_BY_LOADING = ("_use_kernels", "_weight_conversions")
#: What no graph depends on: who made a weight, and where decoders keep what they have read.
_NO_PART = {"_is_hf_initialized", "layer_idx"}


def _position_table(model: SymptomModel) -> nn.Embedding | None:
    return position_table(model.encoder) if model.encoder.config.model_type in FAMILIES else None


def _growing(model: SymptomModel) -> list[nn.Module]:
    """Tables of words and positions, and the head's last layers: no operator depends on their rows."""
    tables = [model.encoder.get_input_embeddings(), _position_table(model)]
    plain = [table for table in tables if type(table) is nn.Embedding]
    return plain + [layer for layer in (model.head.output, model.head.query) if type(layer) is nn.Linear]


class _Structure(pickle.Pickler):
    """Writes what the graph of a model depends on: all but the numbers of its weights, and some sizes."""

    def __init__(self, file: IO[bytes], model: SymptomModel) -> None:
        super().__init__(file)
        self.fast = True  # equal parts are written alike, whether or not they are one object
        weights = [*model.parameters(), *model.buffers()]
        self._weights = {id(tensor): place for place, tensor in enumerate(weights)}
        self._source = model.encoder.name_or_path
        self._growing = _growing(model)
        self._rows = {id(weight) for module in self._growing for weight in module.parameters()}
        positions = _position_table(model)
        self._positions = 0 if positions is None else positions.num_embeddings

    def reducer_override(self, value: object) -> Any:
        """A module without what no graph depends on: rows, dropout, and whether it was loaded."""
        if not isinstance(value, nn.Module):
            return NotImplemented
        reduced: Any = value.__reduce_ex__(pickle.DEFAULT_PROTOCOL)
        make, arguments, state, *_ = reduced
        left = {"num_embeddings", "out_features"} if any(value is one for one in self._growing) else set()
        left |= _NO_PART | ({"p"} if isinstance(value, nn.Dropout) else set())
        left |= {name for name in _LEFT_BY_LOADING if not state.get(name)}
        left |= {name for name, one in state.items() if "dropout" in name and isinstance(one, float)}
        return make, arguments, {name: one for name, one in state.items() if name not in left}

    def persistent_id(self, value: object) -> object:
        """What is written for a path, set, configuration or tensor; None for what is pickled as usual."""
        if isinstance(value, str) and value == self._source:
            return "source"
        if isinstance(value, set | frozenset) and all(isinstance(one, str) for one in value):
            return "set", sorted(value)  # its own order depends on how it was filled
        if isinstance(value, PreTrainedConfig):
            left = _NOT_STRUCTURE | ({"max_position_embeddings"} if self._positions else set())
            settings = {
                name: one
                for name, one in value.to_dict().items()
                if name not in left and "dropout" not in name
            }
            return json.dumps(settings, sort_keys=True, default=repr)
        if not isinstance(value, Tensor):
            return None
        place = self._weights.get(id(value))
        numbers = value.detach().cpu().numpy().tobytes() if place is None else place
        shape: tuple[int, ...] = tuple(value.shape)
        if id(value) in self._rows:
            shape = (min(2, shape[0]), *shape[1:])  # a size of 1 is broadcast
        elif place is not None and self._positions and shape == (1, self._positions):
            shape = ()  # ids of positions and of token types
        return shape, repr(value.dtype), numbers


def structure_of(model: SymptomModel) -> str | None:
    """A digest that two models share where one graph serves both.

    They may differ in the numbers of their weights, in how many words, positions and answers they have, and
    in dropout. None where a part of the model cannot be written: a hook, or a class made at run time.
    """
    written = io.BytesIO()
    try:
        _Structure(written, model).dump(model)
    except (AttributeError, RecursionError, TypeError, ValueError, pickle.PicklingError):
        return None
    return hashlib.sha256(written.getbuffer()).hexdigest()


#: Traced graphs without weights, by `structure_of`: tracing takes seconds, and the models of a study or a
#: search often share a structure.
_GRAPHS: dict[str, onnx_ir.Model] = {}
_MOST_GRAPHS = 32


def _program(model: SymptomModel) -> torch.onnx.ONNXProgram:
    """The optimized graph of `model`, traced only where none of its structure has been."""
    wrapped, structure = _Exported(model), structure_of(model)
    weights: dict[str, Tensor] = dict(wrapped.named_parameters(remove_duplicate=False))
    weights |= dict(wrapped.named_buffers(remove_duplicate=False))
    graph = _GRAPHS.get(structure or "")
    if graph is None:
        graph = _trace(wrapped)
        graph.graph.metadata_props.pop("pkg.torch.export.ExportedProgram.range_constraints", None)
        for name in weights.keys() & graph.graph.initializers:
            graph.graph.initializers[name].const_value = None
        if structure is not None:
            if len(_GRAPHS) == _MOST_GRAPHS:
                del _GRAPHS[next(iter(_GRAPHS))]
            _GRAPHS[structure] = graph
    program = torch.onnx.ONNXProgram(graph.clone(), None)
    held = {name: weights[name] for name in weights.keys() & program.model.graph.initializers}
    _resize_(program.model.graph, held, model.symptoms)
    program.apply_weights(held)
    program.optimize()
    return program


def _resize_(graph: onnx_ir.Graph, weights: Mapping[str, Tensor], answers: int) -> None:
    """State the shapes of `weights`; those that follow from the head's last layers are inferred anew."""
    for name, weight in weights.items():
        graph.initializers[name].shape = onnx_ir.Shape(weight.shape)
    heads = ("model.head.output.", "model.head.query.")
    reached = [graph.initializers[name] for name in weights if name.startswith(heads)]
    logits = graph.outputs[0]
    known = logits.shape
    for value in reached:
        for made in (made for node, _ in value.uses() for made in node.outputs if made not in reached):
            made.shape = None
            reached.append(made)
    logits.shape = None if known is None else onnx_ir.Shape([*known[:-1], answers])


def _trace(wrapped: _Exported) -> onnx_ir.Model:
    ids = torch.ones((2, 8), dtype=torch.int64)
    longest = min(8192, int(getattr(wrapped.model.encoder.config, "max_position_embeddings", 8192)))
    dimensions = {
        0: torch.export.Dim("batch", min=1, max=65536),
        1: torch.export.Dim("tokens", min=2, max=longest),
    }
    program = torch.onnx.export(
        wrapped,
        (ids, torch.ones_like(ids)),
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes=dict.fromkeys(("input_ids", "attention_mask"), dimensions),
        dynamo=True,
        verbose=False,
        optimize=False,
    )
    if program is None:  # only the exporter that is no longer used returns nothing
        raise TypeError("torch.onnx.export returned no program")
    return program.model


def export_onnx(model: SymptomModel, path: Path) -> None:
    """Write `model` as fp32 ONNX with inputs `input_ids`, `attention_mask` and output `logits`.

    Both inputs are int64 `(batch, tokens)` with free batch and length; logits are `(batch, K)`, of a tagger
    `(batch, tokens, tags)`. What no output needs, or never changes, is not computed
    (`clean_graph_`).
    """
    model = model.eval().cpu()
    attention = model.encoder.config._attn_implementation
    model.encoder.set_attn_implementation("eager")
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    try:
        quiet.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns of its own internals
            _program(model).save(path, external_data=False)
        exported = onnx.load(path)
        clean_graph_(exported)
        write_bare(exported, path)
    finally:
        quiet.setLevel(level)
        model.encoder.set_attn_implementation(attention)


@torch.inference_mode()
def parity(model: SymptomModel, file: Path | bytes, notes: list[NDArray[np.int64]]) -> float:
    """Largest absolute difference of a logit over `notes` between `model` and an ONNX file, or its bytes."""
    session = open_session(file, threads=torch.get_num_threads())
    model = model.eval().cpu()
    differences = [0.0]
    for note in notes:
        ids = note[None]
        mask = np.ones_like(ids)
        ours = model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        theirs = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        differences.append(float(np.abs(ours - theirs).max()))
    return float(np.max(differences))  # NaN if any is: max() would lose it


def export_checked(model: SymptomModel, path: Path, notes: list[NDArray[np.int64]]) -> float:
    """Export and compare over `notes`; returns the largest difference.

    Raises:
        SympressError: the file disagrees with PyTorch by more than `PARITY_TOLERANCE`, or by 8 steps where
            logits are rounded.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / "model.onnx"
        export_onnx(model, draft)
        worst = parity(model, draft, notes)
        rounding = getattr(model.head.output, "rounding", None)  # a last bit may decide whole steps
        tolerance = PARITY_TOLERANCE if rounding is None else max(PARITY_TOLERANCE, 8 * float(rounding.scale))
        if not worst <= tolerance:
            raise SympressError(
                f"{path.name}: the ONNX file differs from PyTorch by {worst:.2e} in a logit, more than "
                f"{tolerance:g}; please report the encoder's architecture"
            )
        draft.replace(path)
    return worst
