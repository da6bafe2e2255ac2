"""Least squares: the weights that stay make up for those that go, and in what order parts go, given that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sympress.compression.prune.structured import Costs, Kept, whole_linear
from sympress.errors import InputError
from sympress.models.families import Family, family_of, head_width, layers_of
from sympress.models.model import SymptomModel
from sympress.training.data import note_logits
from sympress.training.losses import Objective

K = TypeVar("K")
#: A token on which no answer depends still counts this much of the mean, for notes that are otherwise.
EVEN = 0.1


@dataclass(frozen=True)
class _Block:
    """One half of a layer, attention or feed-forward, on one batch; all `(batch, tokens, channels)`.

    Attributes:
        inputs: of its last linear layer, over the heads' channels or the neurons.
        residual: what is added to that linear's output.
        total: that sum.
    """

    inputs: Tensor
    residual: Tensor
    total: Tensor


@dataclass
class _Run:
    """A model on one batch, layer by layer: its present states and what each layer is called with."""

    states: Tensor
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]]
    real: Tensor


@torch.no_grad()
def reconstruct_(
    pruned: SymptomModel,
    original: SymptomModel,
    batches: Sequence[dict[str, Tensor]],
    *,
    dims: Sequence[int] | None = None,
    ridge: float = 1e-3,
    tokens: Sequence[Sequence[Tensor]] | None = None,
) -> None:
    """Solve anew the attention outputs and the second feed-forward matrices of `pruned`, layer by layer.

    After each the states shall be those of `original` (over `dims`, where hidden dimensions were removed):
    `min |X W^T + b + R - Y|^2 + ridge |W - W0|^2` over the real tokens of `batches`, with X the inputs in
    the pruned model so far, W0 its weight, R its residual states and Y the original's sum of output and
    residual. That is the mask tuning of Kwon et al. 2022 with whole weights for their masks. It never raises
    the squared error of a sum on `batches`, given what comes before it, and changes nothing where nothing
    was removed.

    Args:
        pruned: changed in place; on the same device as `original`.
        original: what `pruned` was made of, with as many layers.
        batches: a few hundred notes; no labels are needed.
        dims: the hidden dimensions of `original` that `pruned` kept; all without it.
        ridge: 0 or more, relative to the mean square of the inputs.
        tokens: of each such matrix and each of `batches`, what a token's squared error counts, `(batch,
            tokens)`, as in `Curvature.tokens`; to each is added `EVEN` of their mean. All alike without it.

    Raises:
        InputError: the models' layers or widths do not match, a layer is factorized already, or the encoder
            works on the states between its layers.
    """
    family, layers, wholes = family_of(pruned.encoder), layers_of(pruned.encoder), layers_of(original.encoder)
    hidden = int(original.encoder.config.hidden_size) if dims is None else len(dims)
    if len(layers) != len(wholes) or hidden != int(pruned.encoder.config.hidden_size):
        raise InputError("the pruned model does not have the layers and hidden dimensions of the original")
    stay = slice(None) if dims is None else list(dims)
    ours, theirs = _start(pruned, batches), _start(original, batches)
    for index, (layer, whole) in enumerate(zip(layers, wholes, strict=True)):
        targets = [_step(whole, family, run, index) for run in theirs]
        for part, name in enumerate((family.attention_output, family.neurons_out)):
            equations = _NormalEquations(whole_linear(layer, name))
            weights = _evened(
                [run.real for run in ours], None if tokens is None else tokens[2 * index + part]
            )
            for run, target, counts in zip(ours, targets, weights, strict=True):
                block = _pass(layer, family, run, index)[0][part]
                equations.add(block, target[part].total[..., stay], run.real, counts)
            equations.solve_(ridge)
        for run in ours:
            _step(layer, family, run, index)


def _evened(real: Sequence[Tensor], tokens: Sequence[Tensor] | None) -> list[Tensor]:
    """What the real tokens of each batch count, `(real tokens,)`, 1 in the mean."""
    if tokens is None:
        return [torch.ones(int(mask.sum()), dtype=torch.float64, device=mask.device) for mask in real]
    found = [own[mask].double() for own, mask in zip(tokens, real, strict=True)]
    mean = torch.cat(found).mean().clamp(min=torch.finfo(torch.float64).tiny)
    return [(own / mean + EVEN) / (1 + EVEN) for own in found]


class _NormalEquations:
    """Accumulates `X^T X` and `X^T (error)` of one linear layer in float64, and corrects its weight."""

    def __init__(self, linear: nn.Linear) -> None:
        self.linear = linear
        inputs, device = linear.in_features, linear.weight.device
        self.ones = linear.bias is not None
        self.gram = torch.zeros((inputs + self.ones,) * 2, dtype=torch.float64, device=device)
        self.cross = self.gram.new_zeros((inputs + self.ones, linear.out_features))

    def add(self, block: _Block, target: Tensor, real: Tensor, counts: Tensor) -> None:
        """Add the real tokens of one batch.

        Args:
            block: as it is.
            target: what its sum shall be, `(batch, tokens, hidden)`.
            real: `(batch, tokens)`.
            counts: what the squared error of each real token counts, `(real tokens,)`.
        """
        inputs = block.inputs[real].double()  # (real tokens, inputs)
        if self.ones:
            inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)
        weighted = (inputs * counts[:, None]).T
        self.gram += weighted @ inputs
        self.cross += weighted @ (target - block.total)[real].double()

    def solve_(self, ridge: float) -> None:
        """Correct weight and bias; the ridge holds on to the present weight, so none is worse than before."""
        inputs = self.linear.in_features
        scale = self.gram.diagonal()[:inputs].mean().clamp(min=1e-8)
        self.gram.diagonal()[:inputs].add_(max(ridge, 1e-9) * scale)  # never singular
        correction = torch.linalg.solve(self.gram, self.cross).to(self.linear.weight.dtype)
        self.linear.weight.add_(correction[:inputs].T)
        if self.ones:
            self.linear.bias.add_(correction[inputs])


def _start(model: SymptomModel, batches: Sequence[dict[str, Tensor]]) -> list[_Run]:
    """Run every batch once, keeping the first layer's states and the other arguments of each layer."""
    model.eval()
    device = next(model.parameters()).device
    runs = []
    for batch in batches:
        mask = batch["attention_mask"].to(device)
        states: list[Tensor] = []
        run = _Run(torch.empty(0), [], mask.bool())
        with ExitStack() as hooks:
            for layer in layers_of(model.encoder):
                record = _recorder(run, states)
                hooks.enter_context(layer.register_forward_pre_hook(record, with_kwargs=True))
                hooks.enter_context(layer.register_forward_hook(_follower(states)))
            model.encoder(input_ids=batch["input_ids"].to(device), attention_mask=mask)
        runs.append(run)
    return runs


def _recorder(run: _Run, states: list[Tensor]) -> Any:
    def record(_layer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if not run.calls:
            run.states = arguments[0]
        elif arguments[0] is not states[-1]:
            raise InputError("this encoder works on the states between its layers; leave out reconstruct")
        run.calls.append((arguments[1:], named))

    return record


def _follower(states: list[Tensor]) -> Any:
    def follow(_layer: nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
        states[:] = [_states_of(output)]

    return follow


def _states_of(output: Any) -> Tensor:
    states: Tensor = output[0] if isinstance(output, tuple) else output
    return states


def _step(layer: nn.Module, family: Family, run: _Run, index: int) -> tuple[_Block, _Block]:
    """Take `run` through layer `index`."""
    blocks, run.states = _pass(layer, family, run, index)
    return blocks


def _pass(layer: nn.Module, family: Family, run: _Run, index: int) -> tuple[tuple[_Block, _Block], Tensor]:
    """Attention and feed-forward half of `layer` on the states of `run`, and the states after it."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    names = (family.attention_output, family.neurons_in, family.neurons_out)
    with ExitStack() as hooks:
        for name in names:
            hooks.enter_context(
                layer.get_submodule(name).register_forward_hook(_keeper(seen, name, gradients=False))
            )
        arguments, named = run.calls[index]
        after = _states_of(layer(run.states, *arguments, **named))
    heads, attended = seen[family.attention_output]
    neurons, fed = seen[family.neurons_out]
    between = after - fed if family.pre_norm else seen[family.neurons_in][0]
    return (
        _Block(heads, run.states, run.states + attended),
        _Block(neurons, between, between + fed),
    ), after


# How the loss grows when the linear layer behind heads or neurons is changed: a Fisher matrix a layer.


#: (logits, targets) -> targets drawn from what the logits say; see `training.losses.TaskLoss.sample`.
Sampler = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Curvature:
    """Of one linear layer with weight `(outputs, inputs)`: how its changes add to the loss of all notes.

    Half of `tr(metric D gram D^T)` is what a change D of weight and bias, side by side, adds to second
    order. Tokens x with gradient g are taken as independent, and the direction of g as independent of x; its
    length is not: a token counts by the square of it.

    Attributes:
        gram: `(inputs + 1, inputs + 1)`, float64: sum over tokens of `|g|^2 x x^T`; x ends with a 1.
        metric: `(outputs, outputs)`, float64: sum of `g g^T` over sum of `|g|^2`; its trace is 1.
        tokens: `|g|^2` of each batch, `(batch, tokens)`, 0 for padding.
    """

    gram: Tensor
    metric: Tensor
    tokens: list[Tensor] = field(default_factory=list)


def curvatures(
    model: SymptomModel, batches: Sequence[dict[str, Tensor]], objective: Objective, sample: Sampler
) -> tuple[Curvature, ...]:
    """Of the attention output and the second feed-forward matrix of layer 0, of layer 1, ...

    The Fisher information is the model's own: gradients are to targets drawn from its answers, not to the
    labels, so that a note which the model has learned by heart counts as well (Kunstner et al. 2019). Keeps
    `(inputs + 1)^2` numbers of 8 bytes a matrix, 19 MB for 1,536 neurons.

    Args:
        model: left as it is, without gradients.
        batches: a few hundred notes; their labels only say which tokens have a target.
        objective: mean loss of a batch.
        sample: draws targets.

    Raises:
        InputError: a layer is factorized already.
    """
    family = family_of(model.encoder)
    names = (family.attention_output, family.neurons_out)
    linears = [whole_linear(layer, name) for layer in layers_of(model.encoder) for name in names]
    found = [_empty(linear) for linear in linears]
    seen: dict[int, tuple[Tensor, Tensor]] = {}
    model.eval()
    device = next(model.parameters()).device
    with ExitStack() as hooks:
        for place, linear in enumerate(linears):
            hooks.enter_context(linear.register_forward_hook(_keeper(seen, place, gradients=True)))
        hooks.callback(model.zero_grad, set_to_none=True)
        for batch in batches:
            moved = {name: value.to(device) for name, value in batch.items()}
            _backward(model, moved, objective, sample)
            for place, curvature in enumerate(found):
                _add_(curvature, *seen[place], moved["attention_mask"].bool())
    for curvature in found:
        curvature.metric /= curvature.metric.trace().clamp(min=torch.finfo(torch.float64).tiny)
    return tuple(found)


def _empty(linear: nn.Linear) -> Curvature:
    inputs, outputs = linear.in_features + 1, linear.out_features
    double = linear.weight.new_zeros(1, dtype=torch.float64)
    return Curvature(double.new_zeros(inputs, inputs), double.new_zeros(outputs, outputs))


def _keeper(seen: dict[K, tuple[Tensor, Tensor]], key: K, *, gradients: bool) -> Callable[..., None]:
    """Keeps what a linear layer takes and puts out, with the gradient of the latter where asked."""

    def keep(_module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        if gradients:
            output.retain_grad()
        seen[key] = (arguments[0].detach(), output)

    return keep


def _backward(model: SymptomModel, batch: dict[str, Tensor], objective: Objective, sample: Sampler) -> None:
    model.zero_grad(set_to_none=True)
    with torch.enable_grad():  # a caller may have switched gradients off
        logits = note_logits(model, batch)
        drawn = sample(logits.detach(), batch["labels"])
        (objective(logits, drawn) * len(logits)).backward()


def _add_(curvature: Curvature, inputs: Tensor, outputs: Tensor, real: Tensor) -> None:
    """Add one batch, `(batch, tokens, …)` each."""
    gradients = torch.zeros_like(outputs) if outputs.grad is None else outputs.grad
    lengths = gradients.square().sum(-1) * real
    curvature.tokens.append(lengths)
    states = torch.cat([inputs[real], inputs.new_ones(int(real.sum()), 1)], 1)
    weighted = states * lengths[real].sqrt()[:, None]
    curvature.gram += weighted.T @ weighted  # a batch in the model's precision, their sum in double
    slopes = gradients[real]
    curvature.metric += slopes.T @ slopes


# In what order heads and neurons go so that the loss grows least, once the others make up for them.
#
# The optimal brain surgeon (Hassibi and Stork 1993) for whole heads and neurons, as ZipLM (Kurtic et al.
# 2023) has it, with the outputs weighed by their gradients as in EigenDamage (Wang et al. 2019).


#: Added to the gram's diagonal, relative to its mean: inputs that follow from others are never certain.
RIDGE = 1e-3


@dataclass(frozen=True)
class Removals:
    """One matrix: its heads, or neurons, in the order in which they go, and what each adds to the loss.

    The one that goes last is not in it: no layer loses all of its heads, or all of its neurons.
    """

    order: tuple[int, ...]
    losses: tuple[float, ...]

    @property
    def units(self) -> int:
        """How many there are."""
        return len(self.order) + 1

    def kept(self, removed: int) -> tuple[int, ...]:
        """What stays when the first `removed` are gone, ascending."""
        gone = set(self.order[:removed])
        return tuple(unit for unit in range(self.units) if unit not in gone)


def removals_of(
    model: SymptomModel, found: Sequence[Curvature]
) -> tuple[tuple[Removals, ...], tuple[Removals, ...]]:
    """Of the heads of each layer, and of the neurons of each layer; `found` as `curvatures` gives it."""
    family, width = family_of(model.encoder), head_width(model.encoder)
    layers = layers_of(model.encoder)
    heads = tuple(
        order_heads(whole_linear(layer, family.attention_output), curvature, width)
        for layer, curvature in zip(layers, found[0::2], strict=True)
    )
    neurons = tuple(
        order_neurons(whole_linear(layer, family.neurons_out), curvature)
        for layer, curvature in zip(layers, found[1::2], strict=True)
    )
    return heads, neurons


@torch.no_grad()
def order_heads(linear: nn.Linear, curvature: Curvature, width: int) -> Removals:
    """The heads behind an attention output, `width` inputs each.

    To remove the inputs S costs `tr(metric W_S (H^-1)_SS^-1 W_S^T) / 2`, and the rest becomes
    `W - W_S (H^-1)_SS^-1 (H^-1)_S`: Kurtic et al. 2023, eq. 2 and 3, with the metric of the outputs.
    """
    inverse, weight = _inverse(curvature.gram), _with_bias(linear)
    alive, order, losses = list(range(linear.in_features // width)), [], []
    while len(alive) > 1:
        found = []
        for head in alive:
            part = slice(head * width, (head + 1) * width)
            own = torch.linalg.solve(inverse[part, part], weight[:, part].T)  # (width, outputs)
            found.append((float((curvature.metric * (weight[:, part] @ own)).sum()) / 2, head))
        loss, head = min(found)
        part = slice(head * width, (head + 1) * width)
        share = torch.linalg.solve(inverse[part, part], inverse[part])
        weight = weight - weight[:, part] @ share
        inverse = inverse - inverse[:, part] @ share
        alive.remove(head)
        order.append(head)
        losses.append(max(0.0, loss))
    return Removals(tuple(order), tuple(losses))


@torch.no_grad()
def order_neurons(linear: nn.Linear, curvature: Curvature) -> Removals:
    """The neurons behind a second feed-forward matrix: as `order_heads` with a width of one.

    Neither the inverse nor the weight is rewritten after each: both are what they were less products of
    thin matrices (`shares`, `taken`), which a step reads one column of.
    """
    inverse, weight, metric = _inverse(curvature.gram), _with_bias(linear), curvature.metric
    neurons = linear.in_features
    diagonal = inverse.diagonal().clone()
    costs = (weight * (metric @ weight)).sum(0)  # w^T metric w of each column
    gone = torch.zeros(neurons + 1, dtype=torch.bool, device=weight.device)
    gone[-1] = True  # the bias is not asked for
    shares, taken = inverse.new_empty(neurons, neurons + 1), inverse.new_empty(neurons, len(weight))
    order, losses = [], []
    for step in range(neurons - 1):
        ratio = (costs / diagonal).masked_fill(gone, torch.inf)
        neuron = int(ratio.argmin())
        order.append(neuron)
        losses.append(max(0.0, float(ratio[neuron]) / 2))
        before, parts = shares[:step], taken[:step]
        column = inverse[neuron] - before[:, neuron] @ before
        own = weight[:, neuron] - before[:, neuron] @ parts
        share = column / column[neuron].sqrt()
        slope = metric @ own
        products = slope @ weight - (parts @ slope) @ before  # own^T metric w of each column
        part = column / column[neuron]
        costs = (costs - 2 * part * products + part.square() * (own @ slope)).clamp(min=0)
        diagonal = (diagonal - share.square()).clamp(min=torch.finfo(diagonal.dtype).tiny)
        shares[step], taken[step] = share, own / column[neuron].sqrt()
        gone[neuron] = True
    return Removals(tuple(order), tuple(losses))


def _inverse(gram: Tensor) -> Tensor:
    inputs = len(gram) - 1
    ridge = RIDGE * gram.diagonal()[:inputs].mean().clamp(min=1e-12)
    inverse: Tensor = torch.linalg.inv(gram + torch.diag(ridge.expand(len(gram))))
    return inverse


def _with_bias(linear: nn.Linear) -> Tensor:
    bias = linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias
    return torch.cat([linear.weight, bias[:, None]], 1).double()


def keep_within(
    heads: Sequence[Removals], neurons: Sequence[Removals], costs: Costs, *, keep: float, all_heads: bool
) -> Kept:
    """Remove from any layer what adds the least loss for what it saves, until `keep` of the cost is left.

    Args:
        heads: of each layer.
        neurons: of each layer.
        costs: of a head and of a neuron, in any one unit.
        keep: share of the cost that stays, above 0 and at most 1.
        all_heads: remove neurons alone.

    Raises:
        InputError: `keep` is below what one head and one neuron a layer cost.
    """
    matrices = [(own, costs.head) for own in heads if not all_heads] + [
        (own, costs.neuron) for own in neurons
    ]
    whole = costs.total(sum(own.units for own in heads), sum(own.units for own in neurons))
    queue = sorted(
        (loss / unit, matrix, place)
        for matrix, (own, unit) in enumerate(matrices)
        for place, loss in enumerate(_rising(own.losses))
    )
    gone, left = [0] * len(matrices), whole
    budget = keep * whole * (1 + 1e-12)  # so that rounding does not refuse an exact fit
    for _, matrix, place in queue:
        if left <= budget:
            break
        gone[matrix] = place + 1
        left -= matrices[matrix][1]
    if left > budget:
        raise InputError(
            f"{keep:g} of the cost cannot be met: one head and one neuron a layer"
            f"{', all heads here,' if all_heads else ''} cost {left / whole:.4f}; ask for more"
        )
    stay = [own.kept(count) for (own, _), count in zip(matrices, gone, strict=True)]
    if all_heads:
        return Kept(tuple(own.kept(0) for own in heads), tuple(stay))
    return Kept(tuple(stay[: len(heads)]), tuple(stay[len(heads) :]))


def keep_shares(
    heads: Sequence[Removals], neurons: Sequence[Removals], *, share_heads: float, share_neurons: float
) -> Kept:
    """Keep the same share of heads and of neurons in every layer, at least one of each."""
    return Kept(
        tuple(own.kept(own.units - max(1, round(share_heads * own.units))) for own in heads),
        tuple(own.kept(own.units - max(1, round(share_neurons * own.units))) for own in neurons),
    )


def _rising(losses: Sequence[float]) -> list[float]:
    """Each no less than those before it: what is removed after another cannot go without it."""
    highest, rising = 0.0, []
    for loss in losses:
        highest = max(highest, loss)
        rising.append(highest)
    return rising
