"""Everything a student learns from at once: labels, soft targets, hidden states, relations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sympress.compress.arch import layers_of
from sympress.compress.distill.features import Features, forward_features
from sympress.compress.distill.loss import hidden_loss, soft_target_loss
from sympress.compress.distill.relations import relation_loss
from sympress.compress.distill.student import uniform_map
from sympress.compress.distill.teachers import Teacher
from sympress.errors import InputError
from sympress.labels.labelset import AnyTask
from sympress.training.loss import IGNORED, LABEL_LOSSES
from sympress.training.model import SymptomModel
from sympress.training.precision import mixed_precision


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

    def __init__(self, task: AnyTask, settings: DistillSettings, teachers: Sequence[Teacher] = ()) -> None:
        """Freeze `teachers` and put them in evaluation mode.

        Raises:
            InputError: hidden states or relations are wanted and the first teacher shows none.
        """
        self.task, self.settings, self.teachers = task, settings, tuple(teachers)
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

        `batch` holds `input_ids` and `attention_mask` `(batch, tokens)`, `labels` `(batch, K)` and, where
        there are some, `teacher_logits` `(batch, K)`, `labelled` `(batch,)` of 0 and 1 and `weights`
        `(batch,)` of the label loss. For `mentions` labels and logits are those of each token.

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
        logits = logits.float()
        wanted, shown = self._teach(batch)
        loss = settings.labels * self._label_loss(logits, batch)
        if wanted is not None:
            real = batch["labels"] != IGNORED if self.task == "mentions" else None
            soft = soft_target_loss(self.task, logits, wanted, settings.temperature, real)
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
        return LABEL_LOSSES[self.task](logits, targets, None, weights)

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
                answers.append(logits)
            if settings.soft > 0 and stored is None:
                for teacher in self.teachers[len(answers) :]:
                    _move_(teacher, ids.device)
                    answers.append(teacher(ids, mask))
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
