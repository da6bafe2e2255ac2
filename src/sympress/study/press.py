"""A row of the study that is a recipe: the fine-tuned baseline of its seed, pressed and deployed."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer

from sympress.compress.quantize.choose import (
    Choice,
    available_kernels,
    build_candidates,
    choose_kernel,
)
from sympress.compress.quantize.dynamic import quantize_onnx
from sympress.compress.quantize.sensitivity import choose_float, layer_sensitivity
from sympress.compress.quantize.static import quantize_calibrated
from sympress.compress.quantize.weightonly import quantize_weights_only
from sympress.compress.recipe.engine import run_recipe
from sympress.compress.recipe.material import FurtherTeacher, Material, Piece, Workshop, encode_notes
from sympress.compress.recipe.named import read_recipe
from sympress.compress.recipe.parse import Recipe
from sympress.compress.recipe.steps import Quantize, Step
from sympress.compress.strategies import STRATEGIES
from sympress.config import StudyConfig
from sympress.deploy.artifact import Extractor, write_extractor
from sympress.deploy.checksums import write_checksums
from sympress.deploy.export import export_checked, parity
from sympress.deploy.kernels import INT8_KERNEL
from sympress.errors import InputError
from sympress.measure.latency import time_in_turn
from sympress.study.yardsticks import INT8, PYTORCH
from sympress.training.epochs import Scorer
from sympress.training.model import load_model, save_model
from sympress.training.settings import TrainSettings

#: Notes on which ONNX is compared with PyTorch, and on which kernels and layers are judged.
PARITY_NOTES = 16
JUDGED_NOTES = 64
#: The kernel of each kind of quantization, whatever machine makes the file; see `deploy.kernels`.
_KERNEL_OF = {
    "int8": INT8_KERNEL,
    "static": "static-7bit",
    "weights8": "weights-8bit",
    "weights4": "weights-4bit",
    "int4": "weights-4bit",
}
#: Names of rows and timings that no recipe may have.
RESERVED = (*STRATEGIES, "rule", "rule-assertion", "tfidf", PYTORCH, INT8)
#: `NAME = recipe`; what stands before the first `=` is a name unless a bracket opens or a step ends in it.
_NAMED = re.compile(r"([^=(>]*)=(.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


#: What `auto` chooses from, of a kind that has several kernels.
_CHOICE_OF = {
    "int8": ("dynamic-7bit", "dynamic-8bit", "dynamic-unsigned"),
    "static": ("static-7bit", "static-8bit"),
}


@dataclass(frozen=True)
class Pressed:
    """A finished recipe: the piece, the kernel that was chosen, and the largest difference to PyTorch."""

    piece: Piece
    choice: Choice | None
    parity: float


def named(recipes: Sequence[str]) -> dict[str, Recipe]:
    """The recipes of a study by the name of their row: `pocket`, or `small = vocab(keep=0.2) > …`.

    Raises:
        InputError: a recipe has a mistake, or a name that is not one, is another row's or is given twice.
    """
    found: dict[str, Recipe] = {}
    for number, text in enumerate(recipes, 1):
        named_so = _NAMED.fullmatch(text)
        bare = text.strip()
        name, rest = (bare if _NAME.fullmatch(bare) else f"recipe-{number}"), bare
        if named_so is not None:
            name, rest = (part.strip() for part in named_so.groups())
        if not _NAME.fullmatch(name):
            raise InputError(f"a recipe called {name!r}: a name has letters, digits, '-' and '_' only")
        if name in RESERVED:
            raise InputError(f"a recipe called {name!r}: a row of every study has that name; choose another")
        if name in found:
            raise InputError(f"two recipes are called {name!r}; write NAME = before one of them")
        found[name] = read_recipe(rest)
    return found


def train_settings(config: StudyConfig, seed: int, rate: float = 1.0) -> TrainSettings:
    """How a study trains; `rate` scales the learning rate."""
    return TrainSettings(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=(config.learning_rate or 3e-5) * rate,
        head_rate_ratio=config.head_rate_ratio or 1.0,
        weight_decay=config.weight_decay,
        schedule=config.schedule or "cosine",
        warmup_share=config.warmup_share or 0.0,
        seed=seed,
        select=config.select or "last",
    )


def press(
    teacher_folder: Path,
    recipe: Recipe,
    material: Material,
    settings: TrainSettings,
    extractor: Extractor,
    *,
    work: Path,
    draft: Path,
    score: Scorer,
    trains: bool = True,
    teachers: Sequence[FurtherTeacher] = (),
    kernel: str | None = None,
    threads: int = 1,
    step: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> Pressed:
    """Run `recipe` on the model in `teacher_folder` and write what is deployed to `draft`.

    Args:
        teacher_folder: an artifact, with its tokenizer.
        recipe: what to do.
        material: notes, none of them a test note.
        settings: of every training that a step does not set itself.
        extractor: the teacher's; the pressed one has a padding id of its own, and nothing settled yet.
        work: for finished steps; `work.parent / "logits"` holds the teacher's answers, for all recipes.
        draft: folder to fill.
        score: judges validation logits after an epoch.
        trains: False forbids steps that train.
        teachers: more teachers; students imitate the average of all logits.
        kernel: of the int8 file where the recipe makes one, whatever kind it says.
        threads: cores of the runtime that is timed where the kernel is chosen by the clock.
        step: told of progress.
    """
    shop = Workshop(
        material=material,
        settings=settings,
        score=score,
        folder=work,
        logits_folder=work.parent / "logits",
        progress=lambda done, total: step("training", done, total),
        answering=lambda done, total: step("the teacher's answers", done, total),
        trains=trains,
        teachers=tuple(teachers),
    )
    tokenizer = AutoTokenizer.from_pretrained(teacher_folder, local_files_only=True)

    def announce(number: int, total: int, what: Step) -> None:
        step(what.step, number, total)

    piece = run_recipe(recipe, load_model(teacher_folder), tokenizer, shop, announce=announce)
    save_model(piece.model, draft)
    piece.tokenizer.save_pretrained(draft)
    unsettled = {"pad_id": piece.pad_id, "thresholds": None, "calibration": None}  # the teacher's do not fit
    write_extractor(draft, extractor.model_copy(update=unsettled))
    notes = list(encode_notes(piece.tokenizer, material.validation[:JUDGED_NOTES], material).ids)
    worst = export_checked(piece.model, draft / "model.onnx", notes[:PARITY_NOTES])
    choice = None
    if piece.quantize is not None:
        calibration = encode_notes(piece.tokenizer, material.training[:JUDGED_NOTES], material)
        choice = quantize_file(
            draft / "model.onnx",
            piece.quantize,
            list(calibration.ids),
            notes,
            kernel=kernel,
            work=work,
            threads=threads,
        )
        worst = parity(piece.model, draft / "model.onnx", notes[:PARITY_NOTES])
    write_checksums(draft)
    return Pressed(piece, choice, worst)


def quantize_file(
    path: Path,
    step: Quantize,
    calibration: list[NDArray[np.int64]],
    notes: list[NDArray[np.int64]],
    *,
    work: Path,
    threads: int,
    kernel: str | None = None,
) -> Choice:
    """Replace the fp32 file `path` by the quantized one, and say which kernel it has and why.

    A kernel that leaves layers in float is called `dynamic-7bit-2-float`.

    Args:
        path: an fp32 file of `export_onnx`.
        step: what is asked for.
        calibration: word-piece ids of training notes, for fixed ranges.
        notes: word-piece ids of validation notes, on which kernels and layers are judged.
        work: for the candidates, in `work / "kernels"`.
        threads: cores of the sessions that are timed.
        kernel: one of `KERNELS`, instead of what `step.kind` stands for; or `auto`: of the kernels of that
            kind, the one that the clock prefers on this machine among those about as accurate as the best.

    Raises:
        InputError: the runtime lacks the kernel, or there are fewer layers than are to stay in float.
    """
    names = _candidates(step, kernel)
    folder = work / "kernels"
    if step.float_layers:
        sensitivity = layer_sensitivity(path, notes, reduce_range=True)
        worst = choose_float(sensitivity, count=step.float_layers)
        folder.mkdir(parents=True, exist_ok=True)
        built = {}
        for base in names:
            name = f"{base}-{step.float_layers}-float"
            built[name] = folder / f"{name}.onnx"
            _quantize_but(worst, base, path, built[name], calibration=calibration, bits=step.embeddings)
    else:
        built = build_candidates(path, folder, calibration, names=names, embedding_bits=step.embeddings)
    choice = choose_kernel(
        built,
        notes,
        reference=path,
        time_in_turn=time_in_turn,
        name=None if len(built) > 1 else next(iter(built)),
        threads=threads,
    )
    built[choice.name].replace(path)
    return choice


def _candidates(step: Quantize, kernel: str | None) -> tuple[str, ...]:
    """The kernels to choose from; one where nothing is to be chosen."""
    if kernel is None and step.kind == "auto":
        return available_kernels()
    if kernel is None or kernel == "auto":
        if kernel == "auto" and step.kind in _CHOICE_OF and not step.aware:  # aware: trained for one kernel
            return _CHOICE_OF[step.kind]
        return available_kernels() if step.kind == "auto" else (_KERNEL_OF[step.kind],)
    return (kernel,)


def _quantize_but(
    keep_float: Sequence[str],
    kernel: str,
    source: Path,
    target: Path,
    *,
    calibration: list[NDArray[np.int64]],
    bits: int,
) -> None:
    """Write `source` to `target` as `kernel`, a name of `KERNELS`, does, but for the nodes `keep_float`."""
    kind, width = kernel.split("-")
    if kind == "weights":
        quantize_weights_only(source, target, bits=int(width[0]), keep_float=keep_float, embedding_bits=bits)
    elif kind == "static":
        quantize_calibrated(
            source,
            target,
            calibration,
            reduce_range=width == "7bit",
            keep_float=keep_float,
            embedding_bits=bits,
        )
    else:
        quantize_onnx(
            source,
            target,
            reduce_range=width == "7bit",
            signed=width != "unsigned",
            keep_float=keep_float,
            embedding_bits=bits,
        )


def describe_choice(choice: Choice | None) -> dict[str, Any] | None:
    """The choice of kernel as JSON for provenance."""
    return None if choice is None else asdict(choice)
