"""Press a tagger by a recipe: the same steps as for notes, on windows of annotated notes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sympress.compress.recipe.material import FurtherTeacher, Material, Tagging, encode_notes
from sympress.compress.recipe.parse import Recipe
from sympress.deploy.artifact import Extractor, read_extractor, write_provenance
from sympress.deploy.checksums import write_checksums
from sympress.deploy.link import write_lexicon
from sympress.deploy.runtime import prepare_text
from sympress.errors import InputError
from sympress.labels.lexicon import Lexicon
from sympress.labels.mentions import AnnotatedNote
from sympress.measure.macs import count_macs
from sympress.provenance import environment
from sympress.study.inputs import fingerprint_annotated
from sympress.study.press import Pressed, describe_choice, press
from sympress.study.tagger import TaggerSettings, settle_bias
from sympress.training.tagging import default_stride


def tagger_material(
    extractor: Extractor,
    notes: Sequence[AnnotatedNote],
    validation: Sequence[AnnotatedNote],
    *,
    transfer: Sequence[str] = (),
    weights: NDArray[np.float32] | None = None,
) -> Material:
    """What a recipe learns from, as the tagger reads it.

    Args:
        extractor: the tagger's.
        notes: labelled notes.
        validation: notes that choose an epoch; none of them is a test note.
        transfer: further notes, which only the teacher judges.
        weights: `(notes,)`, what each note's label loss is multiplied by.

    Raises:
        InputError: the artifact is no tagger.
    """
    if extractor.tags is None:
        raise InputError(
            f"its task is {extractor.task!r}, which finds no spans; give an artifact of mentions"
        )
    tagging = Tagging(
        tags=tuple(extractor.tags),
        stride=extractor.stride or default_stride(extractor.max_tokens),
        training=[note.mentions for note in notes],
        validation=[note.mentions for note in validation],
    )
    return Material(
        task="mentions",
        training=[prepare_text(note.text, extractor) for note in notes],
        targets=np.zeros((len(notes), 0), dtype=np.uint8),
        transfer=[prepare_text(text, extractor) for text in transfer],
        validation=[prepare_text(note.text, extractor) for note in validation],
        validation_targets=np.zeros((len(validation), 0), dtype=np.uint8),
        max_tokens=extractor.max_tokens,
        tagging=tagging,
        weights=weights,
    )


def press_tagger(  # noqa: PLR0917  what a tagger needs, in the order of `train_tagger`
    artifact: Path,
    recipe: Recipe,
    notes: Sequence[AnnotatedNote],
    validation: Sequence[AnnotatedNote],
    settings: TaggerSettings,
    folder: Path,
    *,
    transfer: Sequence[str] = (),
    weights: NDArray[np.float32] | None = None,
    teachers: Sequence[FurtherTeacher] = (),
    kernel: str | None = None,
    lexicon: Lexicon | None = None,
    trains: bool = True,
    threads: int = 1,
    step: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> Path:
    """Press the tagger `artifact` by `recipe` and write the smaller artifact to `folder`; returns `folder`.

    Args are those of `study.press.press`; `settings` say how its trainings go, and `weights` are of `notes`.
    A killed call goes on behind its last finished step; a finished one returns at once.

    Raises:
        InputError: the artifact is no tagger, or a step cannot be applied.
    """
    if (folder / "extractor.json").is_file():
        return folder
    extractor = read_extractor(artifact)
    material = tagger_material(extractor, notes, validation, transfer=transfer, weights=weights)
    work = folder.with_name(folder.name + ".work")
    draft = work / "artifact"
    shutil.rmtree(draft, ignore_errors=True)
    torch.manual_seed(settings.seed)
    pressed = press(
        artifact,
        recipe,
        material,
        settings.training(),
        extractor,
        work=work / "steps",
        draft=draft,
        score=_no_score,
        trains=trains,
        teachers=teachers,
        kernel=kernel,
        threads=threads,
        step=step,
    )
    if lexicon is not None:
        write_lexicon(draft, extractor, lexicon)
    learnt = {
        "recipe": str(recipe),
        "seed": settings.seed,
        "tagger": asdict(settings),
        "data_fingerprint": fingerprint_annotated([*notes, *validation]),
        "transfer_notes": len(transfer),
        "validation_strict_f1": settle_bias(draft, validation),
    }
    write_provenance(draft, learnt | _described(pressed, material))
    write_checksums(draft)
    shutil.rmtree(folder, ignore_errors=True)
    draft.replace(folder)
    shutil.rmtree(work)
    return folder


def _described(pressed: Pressed, material: Material) -> dict[str, Any]:
    """What the provenance says of how a tagger was pressed, and of what it costs."""
    piece = pressed.piece
    judged = encode_notes(piece.tokenizer, material.validation, material)
    windows, tokens = len(judged.ids), int(np.median(judged.lengths))
    return {
        "format": 1,
        "strategy": "recipe",
        "epochs": piece.epochs,
        "remarks": piece.remarks,
        "train_seconds": piece.train_seconds,
        "kernel": describe_choice(pressed.choice),
        "parity_max_difference": pressed.parity,
        "macs_per_note": count_macs(piece.model, tokens) * windows // len(material.validation),
        "environment": environment(),
    }


def _no_score(_logits: NDArray[np.float32]) -> tuple[float, dict[str, Any]]:
    """Never asked: of `mentions` the spans are judged."""
    raise ValueError("a tagger is judged by its spans")
