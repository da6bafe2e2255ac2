"""Run a recipe step by step; every finished step is stored, so that a killed run goes on behind it."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sympress.compression.distill import Distill
from sympress.compression.distill.objective import Distillation, DistillSettings
from sympress.compression.distill.teachers import fingerprint_teacher
from sympress.compression.prune.masks import GradualMasks, keep_masked
from sympress.compression.recipe import Step
from sympress.compression.recipe.language import Recipe
from sympress.compression.recipe.material import (
    Context,
    State,
    fingerprint_material,
    teacher_notes,
    training_notes,
    validation_notes,
)
from sympress.compression.search.estimate import shape_of
from sympress.errors import InputError
from sympress.files import read_object, write_json
from sympress.models.encoder import fingerprint_weights
from sympress.models.families import family_of
from sympress.models.model import SymptomModel, load_model, save_model
from sympress.training import BatchLoss, dropping, from_logits, train
from sympress.training.data import NoteDataset
from sympress.training.epochs import TrainSettings, default_device
from sympress.training.losses import loss_of

# The trainings that steps ask for: from labels, from a teacher, with masks kept or weights rounded.


def learn_from_labels(state: State, context: Context, number: int, settings: TrainSettings) -> None:
    """Train on the labelled notes."""
    loss = from_logits(loss_of(context.material.task))
    notes = training_notes(state.tokenizer, state.reads(context.material))
    _learn(state, context, number, settings=settings, notes=notes, loss=loss)


def learn_from_teacher(
    state: State, context: Context, number: int, step: Distill, settings: TrainSettings
) -> int:
    """Train on the labelled and the unlabelled notes with the teacher's answers; return the passes over them.

    Logits are computed once a teacher and stored; they are averaged over all teachers. Hidden states and
    relations are those of the model that is pressed, which runs again where they are imitated.
    """
    notes = teacher_notes(state, context, step)
    settings = replace(settings, epochs=passes(settings, len(notes), step.updates or 0))
    inside = step.hidden > 0 or step.relations > 0
    loss = Distillation(
        context.material.task,
        DistillSettings(
            labels=1 - step.alpha,
            soft=step.alpha,
            hidden=step.hidden,
            relations=step.relations,
            temperature=step.T,
        ),
        [state.teacher] if inside else [],
    )
    loss.attach_(state.model, settings.seed)
    with dropping(state.model, step.dropout):
        _learn(state, context, number, settings=settings, notes=notes, loss=loss)
    loss.detach_(state.model)
    state.teacher.requires_grad_(requires_grad=True)
    return settings.epochs


def passes(settings: TrainSettings, notes: int, updates: int) -> int:
    """The epochs of `settings`, or as many more as `updates` steps over `notes` take."""
    return max(settings.epochs, math.ceil(updates / math.ceil(notes / settings.batch_size)))


def learn_with_masks(
    state: State, context: Context, number: int, *, share: float, settings: TrainSettings
) -> None:
    """Train on the labels while the weights that training moves towards zero are masked, more and more."""
    notes = training_notes(state.tokenizer, state.reads(context.material))
    steps = settings.epochs * math.ceil(len(notes) / settings.batch_size)
    masks = GradualMasks(state.model, share, steps, scores="movement")
    loss = from_logits(loss_of(context.material.task))
    _learn(state, context, number, settings=settings, notes=notes, loss=loss, after_step=masks)
    masks.finish_()


def settings_for(
    context: Context, *, epochs: int | None, rate: float | None, batch: int | None = None
) -> TrainSettings:
    """The run's settings with a step's own where it has some."""
    base = context.settings
    return replace(
        base,
        epochs=epochs or base.epochs,
        learning_rate=rate or base.learning_rate,
        batch_size=batch or base.batch_size,
    )


def _learn(
    state: State,
    context: Context,
    number: int,
    *,
    settings: TrainSettings,
    notes: NoteDataset,
    loss: BatchLoss,
    after_step: Callable[[], None] | None = None,
) -> None:
    device = default_device()
    if after_step is None and state.masked:
        after_step = keep_masked(state.model, zeros_of(state))
    validation, score = validation_notes(state.tokenizer, state.reads(context.material), context.score)
    log = train(
        state.model.to(device),
        notes,
        validation,
        settings,
        context.folder / f"checkpoints-{number}",
        pad_id=state.pad_id,
        score=score,
        batch_loss=loss,
        after_step=after_step,
        progress=context.progress,
    )
    state.model.cpu()
    before = len(state.epochs)
    state.epochs += [{**epoch, "epoch": before + index + 1} for index, epoch in enumerate(log.epochs)]
    state.train_seconds += log.seconds


def zeros_of(state: State) -> dict[str, torch.Tensor]:
    """The masks that the zeros of the linear layers show."""
    return {
        name: module.weight.data != 0
        for name, module in state.model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


# Run a recipe step by step; every finished step is stored, so that a killed run goes on behind it.


#: What `step.json` says of the state beside its models.
_RECORDED = ("masked", "remarks", "epochs", "train_seconds", "max_tokens")
#: Called before each step with its number, how many there are, and the step.
Announce = Callable[[int, int, Step], None]


def run_recipe(
    recipe: Recipe,
    teacher: SymptomModel,
    tokenizer: PreTrainedTokenizerBase,
    context: Context,
    *,
    announce: Announce | None = None,
) -> State:
    """Press a copy of `teacher` as `recipe` says.

    `context.folder` keeps each finished step: `01-vocab/` holds the model, the tokenizer, the teacher (whose
    vocabulary is trimmed along) and `step.json`. A recipe that begins with the same steps, on the same
    teacher and material with the same settings, goes on behind the last of them, and within a training
    from its newest checkpoint. The caller removes the folder once the artifact stands.

    Args:
        recipe: what to do, in order.
        teacher: the fine-tuned model; not changed.
        tokenizer: the teacher's.
        context: notes, settings, folders.
        announce: told of each step that starts.

    Raises:
        InputError: a step cannot be applied to the model as it is then, or trains where none may; the
            step is named.
    """
    steps = recipe.steps
    _check_steps(steps, teacher, tokenizer, context)
    claims = _claims(steps, teacher, context)
    state, done = _resume(recipe, claims, teacher, tokenizer, context.folder)
    for number in range(done + 1, len(steps) + 1):
        step = steps[number - 1]
        if announce is not None:
            announce(number, len(steps), step)
        checkpoints = context.folder / f"checkpoints-{number}"
        if read_object(checkpoints / "claim.json") != claims[number - 1]:  # they are another step's
            shutil.rmtree(checkpoints, ignore_errors=True)
            write_json(checkpoints / "claim.json", claims[number - 1])
        try:
            said = step.apply(state, context, number)
        except InputError as error:
            raise _in_step(number, step, error) from error
        state.model.eval()
        state.remarks.append(f"{step.step}: {said}")
        _store(state, recipe, number, claims[number - 1], context.folder)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return state


def _check_steps(
    steps: Sequence[Step], teacher: SymptomModel, tokenizer: PreTrainedTokenizerBase, context: Context
) -> None:
    """Refuse, before any has run, a step that trains where none may, lacks its encoder or does not fit."""
    shape = whole = shape_of(teacher, context.material.max_tokens)
    family = family_of(teacher.encoder)
    for number, step in enumerate(steps, 1):
        if step.trains and not context.trains:
            raise InputError(
                f"step {number}, {step.step}: it trains, which --no-training rules out; take it out of the "
                "recipe"
            )
        if step.needs_pretrained and context.pretrained is None:
            raise InputError(
                f"step {number}, {step.step}: it needs the encoder before fine-tuning, which sympress study "
                "has; take it out of the recipe"
            )
        if step.needs_ensemble and context.material.answers is None:
            raise InputError(
                f"step {number}, {step.step}: teacher=ensemble is that of sympress study; name the teachers "
                "with --teacher and leave it out"
            )
        try:
            step.check(shape, whole, family)
            step.check_task(context.material.task)
            step.check_tokenizer(tokenizer)
            shape = step.reshape(shape)
        except InputError as error:
            raise _in_step(number, step, error) from error


def _in_step(number: int, step: Step, error: InputError) -> InputError:
    """`error` with the number and the name of the step that it is about."""
    named = str(error).startswith(step.step)
    return InputError(f"step {number}, {'' if named else f'{step.step}: '}{error}")


def _claims(steps: Sequence[Step], teacher: SymptomModel, context: Context) -> list[dict[str, Any]]:
    """For each step, all that its result depends on: the steps up to it, teacher, material and settings."""
    models = [fingerprint_teacher(one) for one in (teacher, *(further.model for further in context.teachers))]
    if context.pretrained is not None and any(step.needs_pretrained for step in steps):
        encoder = context.pretrained
        models.append(fingerprint_weights(encoder.config.to_dict(), encoder.state_dict()))
    origin = json.dumps([models, fingerprint_material(context.material), asdict(context.settings)])
    digest = hashlib.sha256(origin.encode()).hexdigest()
    texts = [str(step) for step in steps]
    return [{"recipe": texts[:number], "origin": digest} for number in range(1, len(steps) + 1)]


def _step_folder(folder: Path, recipe: Recipe, number: int) -> Path:
    return folder / f"{number:02d}-{recipe.steps[number - 1].step}"


def _store(state: State, recipe: Recipe, number: int, claim: dict[str, Any], folder: Path) -> None:
    """Write a finished step beside its name first, and rename it: a half-written one does not count."""
    final = _step_folder(folder, recipe, number)
    draft = final.with_name(final.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    save_model(state.model, draft / "model")
    state.tokenizer.save_pretrained(draft / "model")
    save_model(state.teacher, draft / "teacher")
    write_json(draft / "step.json", {**claim, **{name: getattr(state, name) for name in _RECORDED}})
    shutil.rmtree(final, ignore_errors=True)
    draft.replace(final)
    if number > 1:  # only the newest is needed to go on; the others keep their record
        for part in ("model", "teacher"):
            shutil.rmtree(_step_folder(folder, recipe, number - 1) / part, ignore_errors=True)


def _resume(
    recipe: Recipe,
    claims: Sequence[dict[str, Any]],
    teacher: SymptomModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
) -> tuple[State, int]:
    """The piece behind the last finished step of this recipe, and that step's number (0 for none)."""
    for number in range(len(recipe.steps), 0, -1):
        stored = _step_folder(folder, recipe, number)
        recorded = read_object(stored / "step.json")
        if recorded is None or any(recorded.get(key) != value for key, value in claims[number - 1].items()):
            continue
        if not recorded.keys() >= set(_RECORDED) or not (stored / "model").is_dir():
            continue
        state = State(
            model=load_model(stored / "model"),
            tokenizer=AutoTokenizer.from_pretrained(stored / "model", local_files_only=True),
            teacher=load_model(stored / "teacher"),
            untouched=(teacher, tokenizer),
            **{name: recorded[name] for name in _RECORDED},
        )
        return state, number
    return State(copy.deepcopy(teacher), tokenizer, copy.deepcopy(teacher), (teacher, tokenizer)), 0
