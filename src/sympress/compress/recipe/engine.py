"""Run a recipe step by step; every finished step is stored, so that a killed run goes on behind it."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sympress.compress.distill.teachers import fingerprint_teacher
from sympress.compress.recipe.material import Piece, Workshop, fingerprint_material
from sympress.compress.recipe.parse import Recipe
from sympress.compress.recipe.step import Step
from sympress.errors import InputError
from sympress.files import read_object, write_json
from sympress.training.fingerprint import fingerprint_weights
from sympress.training.model import SymptomModel, load_model, save_model

#: Called before each step with its number, how many there are, and the step.
Announce = Callable[[int, int, Step], None]


def run_recipe(
    recipe: Recipe,
    teacher: SymptomModel,
    tokenizer: PreTrainedTokenizerBase,
    shop: Workshop,
    *,
    announce: Announce | None = None,
) -> Piece:
    """Press a copy of `teacher` as `recipe` says.

    `shop.folder` keeps each finished step: `01-vocab/` holds the model, the tokenizer, the teacher (whose
    vocabulary is trimmed along) and `step.json`. A recipe that begins with the same steps, on the same
    teacher and material with the same settings, goes on behind the last of them, and within a training
    from its newest checkpoint. The caller removes the folder once the artifact stands.

    Args:
        recipe: what to do, in order.
        teacher: the fine-tuned model; not changed.
        tokenizer: the teacher's.
        shop: notes, settings, folders.
        announce: told of each step that starts.

    Raises:
        InputError: a step cannot be applied to the model as it is then, or trains where none may; the
            step is named.
    """
    steps = recipe.steps
    _check_steps(steps, shop)
    claims = _claims(steps, teacher, shop)
    piece, done = _resume(recipe, claims, teacher, tokenizer, shop.folder)
    for number in range(done + 1, len(steps) + 1):
        step = steps[number - 1]
        if announce is not None:
            announce(number, len(steps), step)
        checkpoints = shop.folder / f"checkpoints-{number}"
        _claim_checkpoints(checkpoints, claims[number - 1])
        try:
            said = step.apply(piece, shop, number)
        except InputError as error:
            named = str(error).startswith(step.step)
            raise InputError(f"step {number}, {'' if named else f'{step.step}: '}{error}") from error
        piece.model.eval()
        piece.remarks.append(f"{step.step}: {said}")
        _store(piece, recipe, number, claims[number - 1], shop.folder)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return piece


def _check_steps(steps: Sequence[Step], shop: Workshop) -> None:
    """Refuse a step that trains where none may, or lacks its encoder, before any other has run."""
    for number, step in enumerate(steps, 1):
        if step.trains and not shop.trains:
            raise InputError(
                f"step {number}, {step.step}: it trains, which --no-training rules out; take it out of the "
                "recipe"
            )
        if step.needs_pretrained and shop.pretrained is None:
            raise InputError(
                f"step {number}, {step.step}: it needs the encoder before fine-tuning, which sympress study "
                "has; take it out of the recipe"
            )


def _claims(steps: Sequence[Step], teacher: SymptomModel, shop: Workshop) -> list[dict[str, Any]]:
    """For each step, all that its result depends on: the steps up to it, teacher, material and settings."""
    models = [fingerprint_teacher(one) for one in (teacher, *(further.model for further in shop.teachers))]
    if shop.pretrained is not None and any(step.needs_pretrained for step in steps):
        encoder = shop.pretrained
        models.append(fingerprint_weights(encoder.config.to_dict(), encoder.state_dict()))
    origin = json.dumps([models, fingerprint_material(shop.material), asdict(shop.settings)])
    digest = hashlib.sha256(origin.encode()).hexdigest()
    texts = [str(step) for step in steps]
    return [{"recipe": texts[:number], "origin": digest} for number in range(1, len(steps) + 1)]


def _claim_checkpoints(folder: Path, claim: dict[str, Any]) -> None:
    """Make `folder` one for checkpoints of this very step; those of another are removed."""
    if read_object(folder / "claim.json") != claim:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(folder / "claim.json", claim)


def _step_folder(folder: Path, recipe: Recipe, number: int) -> Path:
    return folder / f"{number:02d}-{recipe.steps[number - 1].step}"


def _store(piece: Piece, recipe: Recipe, number: int, claim: dict[str, Any], folder: Path) -> None:
    """Write a finished step beside its name first, and rename it: a half-written one does not count."""
    final = _step_folder(folder, recipe, number)
    draft = final.with_name(final.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    save_model(piece.model, draft / "model")
    piece.tokenizer.save_pretrained(draft / "model")
    save_model(piece.teacher, draft / "teacher")
    state: dict[str, Any] = {
        **claim,
        "masked": piece.masked,
        "remarks": piece.remarks,
        "epochs": piece.epochs,
        "train_seconds": piece.train_seconds,
    }
    write_json(draft / "step.json", state)
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
) -> tuple[Piece, int]:
    """The piece behind the last finished step of this recipe, and that step's number (0 for none)."""
    for number in range(len(recipe.steps), 0, -1):
        stored = _step_folder(folder, recipe, number)
        state = read_object(stored / "step.json")
        if state is None or any(state.get(key) != value for key, value in claims[number - 1].items()):
            continue
        if not (stored / "model").is_dir():
            continue
        model = load_model(stored / "model")
        return (
            Piece(
                model=model,
                tokenizer=AutoTokenizer.from_pretrained(stored / "model", local_files_only=True),
                teacher=load_model(stored / "teacher"),
                untouched=(teacher, tokenizer),
                masked=state["masked"],
                remarks=state["remarks"],
                epochs=state["epochs"],
                train_seconds=state["train_seconds"],
            ),
            number,
        )
    return Piece(copy.deepcopy(teacher), tokenizer, copy.deepcopy(teacher), (teacher, tokenizer)), 0
