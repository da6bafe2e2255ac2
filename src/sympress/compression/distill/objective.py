"""Everything a student learns from at once: labels, soft targets, hidden states, relations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sympress.compression.distill.student import uniform_map
from sympress.compression.distill.teachers import Teacher
from sympress.errors import InputError
from sympress.models.families import family_of, layers_of
from sympress.models.model import SymptomModel
from sympress.training.data import note_logits, pool_windows
from sympress.training.epochs import mixed_precision
from sympress.training.losses import loss_of

# Look on while a model works: hidden states of every layer, queries, keys and values of one.


@dataclass(frozen=True)
class Features:
    """What was seen in one forward pass.

    Attributes:
        states: `(batch, tokens, width)` each: the embeddings, then what every layer puts out; the last is
            what the head reads (after ModernBERT's last norm). Empty where not asked for.
        relations: queries, keys and values of one layer, `(batch, tokens, channels)` each, before any
            rotary position. Empty where not asked for.
    """

    states: tuple[Tensor, ...] = ()
    relations: tuple[Tensor, ...] = ()


def forward_features(
    model: SymptomModel,
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    states: bool,
    relations_layer: int | None = None,
) -> tuple[Tensor, Features]:
    """Logits `(batch, K)` and the features asked for, from one forward pass; no hook stays behind.

    Args:
        model: any state; layers may be factorized or have heads and neurons removed.
        input_ids: `(batch, tokens)`.
        attention_mask: `(batch, tokens)`.
        states: whether hidden states are wanted.
        relations_layer: the layer whose queries, keys and values are wanted; -1 is the last.

    Raises:
        InputError: there is no such layer, or it has no attention left.
    """
    seen: dict[str, Tensor] = {}
    count = len(layers_of(model.encoder))
    with ExitStack() as hooks:
        if states:
            _watch_states_(model, seen, hooks)
        if relations_layer is not None:
            _watch_relations_(model, relations_layer, seen, hooks)
        logits: Tensor = model(input_ids, attention_mask)
    outputs = [value for name, value in seen.items() if name.startswith("relation")]
    if len(outputs) == 1:  # ModernBERT makes queries, keys and values with one matrix, side by side
        outputs = list(outputs[0].chunk(3, dim=-1))
    return logits, Features(
        tuple(seen[f"state {index}"] for index in range(count + 1)) if states else (), tuple(outputs)
    )


def _watch_states_(model: SymptomModel, seen: dict[str, Tensor], hooks: ExitStack) -> None:
    layers = layers_of(model.encoder)

    def enter(_layer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen["state 0"] = arguments[0] if arguments else named["hidden_states"]

    def leave(index: int) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _arguments: Any, output: Any) -> None:
            # a layer may put out a tuple; the encoder's own result counts as the last layer's
            seen[f"state {index}"] = output if isinstance(output, Tensor) else output[0]

        return hook

    hooks.enter_context(layers[0].register_forward_pre_hook(enter, with_kwargs=True))
    for index, module in enumerate([*list(layers)[:-1], model.encoder], start=1):
        hooks.enter_context(module.register_forward_hook(leave(index)))


def _watch_relations_(model: SymptomModel, index: int, seen: dict[str, Tensor], hooks: ExitStack) -> None:
    layers = layers_of(model.encoder)
    if not -len(layers) <= index < len(layers):
        raise InputError(f"relations of layer {index}: the model has layers 0 to {len(layers) - 1}, or -1")

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _module, _arguments, output: seen.__setitem__(f"relation {name}", output)

    for name in family_of(model.encoder).relation_inputs:
        try:
            linear = layers[index].get_submodule(name)
        except AttributeError as error:
            raise InputError(
                f"layer {index} has no attention left to take relations from; choose another layer"
            ) from error
        hooks.enter_context(linear.register_forward_hook(keep(name)))


# Relations between tokens, which have one shape at any width (Wang et al. 2021, MiniLMv2).


def relation_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], attention_mask: Tensor, heads: int
) -> Tensor:
    """KL(teacher ‖ student) of the relations among queries, among keys and among values, added up.

    Equations 5 to 8 of Wang et al. 2021 with all weights 1; the mean is over every real token of the batch
    rather than note by note. 0 when student equals teacher.

    Args:
        student: queries, keys, values, each `(batch, tokens, channels)`, all heads side by side.
        teacher: the same of the teacher, at any number of channels.
        attention_mask: `(batch, tokens)`, 0 for padding, which has no influence.
        heads: relation heads wanted; fewer are used where the channels do not divide (`common_heads`).

    Raises:
        InputError: as `common_heads`.
    """
    real = attention_mask.bool()
    total = torch.zeros((), device=attention_mask.device)
    for ours, theirs in zip(student, teacher, strict=True):
        used = common_heads(heads, ours.shape[-1], theirs.shape[-1])
        divergence = functional.kl_div(
            relations(ours, real, used), relations(theirs, real, used), reduction="none", log_target=True
        ).sum(-1)  # (batch, heads, tokens)
        total = total + divergence.transpose(1, 2)[real].mean()
    return total


def relations(vectors: Tensor, real: Tensor, heads: int) -> Tensor:
    """Log-softmax over the real tokens of A Aᵀ / √d a relation head, `(batch, heads, tokens, tokens)`.

    `vectors` `(batch, tokens, heads x d)` are split anew into `heads` relation heads; `real` `(batch,
    tokens)` is False for padding, whose columns have probability 0 and whose rows mean nothing.
    """
    split = vectors.float().unflatten(-1, (heads, -1)).transpose(1, 2)  # (batch, heads, tokens, d)
    scores = split @ split.transpose(-1, -2) / math.sqrt(split.shape[-1])
    log_shares: Tensor = scores.float().masked_fill(~real[:, None, None, :], -1e4).log_softmax(-1)
    return log_shares


def common_heads(wanted: int, *channels: int) -> int:
    """The largest number of relation heads up to `wanted` that divides each of `channels`.

    Raises:
        InputError: `wanted` is below 1, or above 1 while only 1 would do.
    """
    if wanted < 1:
        raise InputError(f"relation heads must be 1 or more, not {wanted}")
    divisor = math.gcd(*channels)
    used = max(heads for heads in range(1, wanted + 1) if divisor % heads == 0)
    if used == 1 < wanted:
        raise InputError(
            f"no 2 to {wanted} relation heads divide the attention channels "
            f"{' and '.join(map(str, channels))}; use relation_heads=1 or another width"
        )
    return used


# What a student imitates of its teacher beside the probabilities (`TaskLoss.soft_targets`): its states.


def hidden_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], attention_mask: Tensor, *, normalised: bool = False
) -> Tensor:
    """How far a student's states are from its teacher's over real tokens; 0 when they are equal.

    The mean squared difference (Jiao et al. 2020, TinyBERT, eq. 8) or, `normalised`, the squared distance
    of the states scaled to length 1, within 0..4 (Sun et al. 2019, PKD, eq. 7; they take the first token
    only, we take every one). Both papers add up the layers; we average, so that a weight means the same
    at any depth.

    Args:
        student: one `(batch, tokens, width)` a layer, already projected to the teacher's width.
        teacher: the states to reach, in the same order and of the same shapes.
        attention_mask: `(batch, tokens)`, 0 for padding, which has no influence.
        normalised: compare directions alone.
    """
    real = attention_mask.bool()
    gaps = [
        _states_gap(ours[real].float(), theirs[real].float(), normalised=normalised)
        for ours, theirs in zip(student, teacher, strict=True)
    ]
    return torch.stack(gaps).mean()


def _states_gap(student: Tensor, teacher: Tensor, *, normalised: bool) -> Tensor:
    if normalised:
        difference = functional.normalize(student, dim=-1) - functional.normalize(teacher, dim=-1)
        return difference.square().sum(-1).mean()
    return functional.mse_loss(student, teacher)


# Everything a student learns from at once: labels, soft targets, hidden states, relations.


@dataclass(frozen=True)
class DistillSettings:
    """Weights of the four losses and what they need.

    Attributes:
        labels: weight of the labels (1 - alpha in the published study), 0 or more.
        soft: weight of the soft targets (alpha), 0 or more.
        hidden: weight of the hidden states, 0 or more.
        relations: weight of the relations of queries, keys and values, 0 or more.
        temperature: of the soft targets, above 0.
        normalised: hidden states are compared by direction alone (PKD) rather than by value (TinyBERT).
        embeddings: the states that enter the first layer are imitated too.
        layer_map: for each student layer the teacher layer (from 0) whose states it imitates; evenly
            spaced, last to last, if None.
        relation_heads: heads into which queries, keys and values are split anew, 1 or more.
        relation_layer: the teacher's layer whose relations the student's last layer imitates; -1 the last.
    """

    labels: float = 0.5
    soft: float = 0.5
    hidden: float = 0.0
    relations: float = 0.0
    temperature: float = 4.0
    normalised: bool = False
    embeddings: bool = True
    layer_map: tuple[int, ...] | None = None
    relation_heads: int = 12
    relation_layer: int = -1

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in ("labels", "soft", "hidden", "relations")}
        for name, weight in weights.items():
            if not 0 <= weight < math.inf:
                raise InputError(f"the weight of {name} must be 0 or more, not {weight}")
        if not any(weights.values()):
            raise InputError("all weights of distillation are 0; give labels, soft, hidden or relations one")
        if not 0 < self.temperature < math.inf:
            raise InputError(f"temperature {self.temperature} must be > 0")
        if self.relation_heads < 1:
            raise InputError(f"relation heads must be 1 or more, not {self.relation_heads}")


class Distillation:
    """The loss of a batch, to be given to training as `batch_loss`; it holds the frozen teachers.

    The logits of all teachers are averaged; states and relations are the first one's. Where a batch brings
    `teacher_logits` no teacher runs for the soft targets. Notes with `labelled` 0 take no part in the
    label loss, but in every other.
    """

    def __init__(self, task: str, settings: DistillSettings, teachers: Sequence[Teacher] = ()) -> None:
        """Freeze `teachers` and put them in evaluation mode.

        Raises:
            InputError: hidden states or relations are wanted and the first teacher shows none.
        """
        self.loss, self.settings, self.teachers = loss_of(task), settings, tuple(teachers)
        self._inside: SymptomModel | None = None  # the teacher whose states and relations are shown
        if settings.hidden > 0 or settings.relations > 0:
            if not (teachers and isinstance(teachers[0], SymptomModel)):
                raise InputError(
                    "hidden states and relations need a teacher that sympress trained, given first; "
                    "logits alone can come from any"
                )
            self._inside = teachers[0]
        for teacher in self.teachers:
            teacher.eval().requires_grad_(False)

    def attach_(self, student: SymptomModel, seed: int = 0) -> None:
        """Check that `student` can learn from the teachers and give it the projections it needs.

        They are a submodule `projections` of the student, so that they are trained and checkpointed with
        it: one matrix for the embeddings and one that all layers share (Jiao et al. 2020, eq. 8 and 9),
        orthogonal at first, a function of `seed` alone. There are none where the widths agree.

        Raises:
            InputError: a teacher has other symptoms or another vocabulary, or the layer map does not fit.
        """
        for teacher in self.teachers:
            _check_alike(student, teacher)
        if self.settings.hidden == 0 or self._inside is None:
            return
        depths = (len(layers_of(model.encoder)) for model in (student, self._inside))
        choose_map(self.settings.layer_map, *depths)
        ours, theirs = _width(student), _width(self._inside)
        if ours == theirs:
            return
        names = ("embeddings", "layers") if self.settings.embeddings else ("layers",)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            linears = {name: nn.Linear(ours, theirs, bias=False) for name in names}
            for linear in linears.values():
                nn.init.orthogonal_(linear.weight)
        student.projections = nn.ModuleDict(linears).to(next(student.parameters()).device)

    def detach_(self, student: SymptomModel) -> None:
        """Take the projections away: `student` is as if it had learnt from labels alone."""
        if "projections" in student._modules:
            del student.projections

    def __call__(self, student: SymptomModel, batch: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the losses of `batch`, a scalar.

        `batch` holds `input_ids` and `attention_mask` `(windows, tokens)`, `labels` `(notes, K)` and, where
        there are some, `owners` `(windows,)`, `teacher_logits` `(notes, K)`, `labelled` `(notes,)` of 0 and 1
        and `weights` `(notes,)` of the label loss. States and relations are those of windows. Where the task
        finds spans, labels and logits are those of each token.

        Raises:
            InputError: soft targets are wanted, the batch brings no logits and there is no teacher.
        """
        settings, mask = self.settings, batch["attention_mask"]
        logits, seen = forward_features(
            student,
            batch["input_ids"],
            mask,
            states=settings.hidden > 0,
            relations_layer=-1 if settings.relations > 0 else None,
        )
        logits = pool_windows(logits.float(), batch)
        wanted, shown = self._teach(batch)
        loss = settings.labels * self._label_loss(logits, batch)
        if wanted is not None:
            soft = self.loss.soft_targets(logits, wanted, settings.temperature, batch["labels"])
            loss = loss + settings.soft * soft
        if settings.hidden > 0:
            loss = loss + settings.hidden * self._hidden_loss(student, seen, shown, mask)
        if settings.relations > 0:
            heads = settings.relation_heads
            loss = loss + settings.relations * relation_loss(seen.relations, shown.relations, mask, heads)
        return loss

    def _label_loss(self, logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """The mean over the labelled notes; 0 where a batch has none."""
        targets, weights = batch["labels"], batch.get("weights")
        if "labelled" in batch:
            labelled = batch["labelled"].bool()
            logits, targets = logits[labelled], targets[labelled]
            weights = None if weights is None else weights[labelled]
        if len(logits) == 0:
            return logits.sum()
        return self.loss(logits, targets, None, weights)

    def _hidden_loss(self, student: SymptomModel, seen: Features, shown: Features, mask: Tensor) -> Tensor:
        layers = choose_map(self.settings.layer_map, len(seen.states) - 1, len(shown.states) - 1)
        pairs = [("layers", ours + 1, theirs + 1) for ours, theirs in enumerate(layers)]
        if self.settings.embeddings:
            pairs.insert(0, ("embeddings", 0, 0))
        projected = [_project(student, name, seen.states[ours]) for name, ours, _ in pairs]
        reached = [shown.states[theirs] for _, _, theirs in pairs]
        return hidden_loss(projected, reached, mask, normalised=self.settings.normalised)

    @torch.no_grad()
    def _teach(self, batch: dict[str, Tensor]) -> tuple[Tensor | None, Features]:
        """Averaged logits `(batch, K)` where soft targets have a weight, and the first teacher's features."""
        settings, ids, mask = self.settings, batch["input_ids"], batch["attention_mask"]
        stored = batch.get("teacher_logits")
        shown, answers = Features(), []
        with mixed_precision(ids.device):
            if self._inside is not None:
                _move_(self._inside, ids.device)
                logits, shown = forward_features(
                    self._inside,
                    ids,
                    mask,
                    states=settings.hidden > 0,
                    relations_layer=settings.relation_layer if settings.relations > 0 else None,
                )
                answers.append(pool_windows(logits, batch))
            if settings.soft > 0 and stored is None:
                for teacher in self.teachers[len(answers) :]:
                    _move_(teacher, ids.device)
                    answers.append(note_logits(teacher, batch))
        if settings.soft == 0:
            return None, shown
        if stored is not None:
            return stored, shown
        if not answers:
            raise InputError("soft targets need a teacher, or the teacher's logits beside each note")
        return torch.stack([answer.float() for answer in answers]).mean(0), shown


def choose_map(wanted: Sequence[int] | None, student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    """`wanted` if it fits, or the uniform map if it is None.

    Raises:
        InputError: `wanted` does not name one of the teacher's layers for each of the student's.
    """
    if wanted is None:
        return uniform_map(student_layers, teacher_layers)
    if len(wanted) != student_layers or not all(0 <= layer < teacher_layers for layer in wanted):
        raise InputError(
            f"layer map {list(wanted)} must name a layer of the teacher, 0..{teacher_layers - 1}, for "
            f"each of the student's {student_layers}"
        )
    return tuple(wanted)


def _check_alike(student: SymptomModel, teacher: Teacher) -> None:
    if teacher.symptoms != student.symptoms:
        raise InputError(
            f"a teacher and student with different labels: the teacher has {teacher.symptoms} symptoms, the "
            f"student {student.symptoms}"
        )
    config = teacher.encoder.config if isinstance(teacher, SymptomModel) else teacher.model.config
    theirs, ours = config.vocab_size, student.encoder.config.vocab_size
    if theirs != ours:
        raise InputError(
            f"the teacher has {theirs} word pieces, the student {ours}: trim the teacher's vocabulary alike, "
            "or distill from stored logits"
        )


def _width(model: SymptomModel) -> int:
    """Channels of the states that the head reads, which every layer puts out."""
    return model.head.output.in_features


def _move_(teacher: Teacher, device: torch.device) -> None:
    if next(teacher.parameters()).device != device:
        teacher.to(device)


def _project(student: SymptomModel, name: str, states: Tensor) -> Tensor:
    """The student's states at the teacher's width."""
    projections = student._modules.get("projections")
    if projections is None:
        return states
    projected: Tensor = projections.get_submodule(name)(states)
    return projected
