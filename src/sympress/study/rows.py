"""The rows of a study: the fine-tuned baseline of a seed, and what recipes make of it, scored as deployed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sympress.compress.arch import family_of, removes_heads
from sympress.compress.recipe.engine import run_recipe
from sympress.compress.recipe.material import Material, Workshop
from sympress.compress.recipe.parse import Recipe
from sympress.compress.strategies import BASELINE, STRATEGIES, recipe_of
from sympress.config import StudyConfig
from sympress.deploy.artifact import Extractor, write_extractor, write_provenance
from sympress.deploy.checksums import write_checksums
from sympress.deploy.export import export_checked
from sympress.deploy.runtime import Runtime, prepare_text
from sympress.labels.surface import codes_of
from sympress.measure.macs import count_macs
from sympress.provenance import provenance
from sympress.study.folder import RunFolder
from sympress.study.inputs import fingerprint_texts
from sympress.study.judge import epoch_score
from sympress.study.prepare import StudyData
from sympress.study.press import PARITY_NOTES, describe_choice, press, train_settings
from sympress.study.settle import KEPT, calibrates, settle, settle_pressed, write_settled
from sympress.training.data import EncodedNotes, NoteDataset, encode_texts
from sympress.training.encoder import Encoder, token_limit
from sympress.training.epochs import EpochLog, Scorer
from sympress.training.loss import LABEL_LOSSES
from sympress.training.model import SymptomModel, build_model, load_model, save_model
from sympress.training.train import train

Step = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Bench:
    """What every strategy of a study shares."""

    config: StudyConfig
    data: StudyData
    encoder: Encoder
    extractor: Extractor
    training: NoteDataset
    validation: NoteDataset
    macs_tokens: int
    run: RunFolder
    truncated: int
    transfer: tuple[str, ...] = ()

    @property
    def pad_id(self) -> int:
        """The tokenizer's padding id."""
        return self.extractor.pad_id


def make_bench(
    config: StudyConfig, data: StudyData, encoder: Encoder, run: RunFolder, transfer: Sequence[str] = ()
) -> Bench:
    """Tokenize the training and validation notes once, as the artifact will tokenize them."""
    extractor = Extractor(
        task=config.note_task,
        symptoms=list(data.labels.symptoms),
        codes=codes_of(data.labels.symptoms, data.lexicon),
        max_tokens=token_limit(encoder, config.max_tokens or 256),
        text_window=config.text_window or None,
        lower=bool(config.lower),
        mask_placeholders=bool(config.mask_placeholders),
        pad_id=int(encoder.tokenizer.pad_token_id or 0),
    )
    texts = [prepare_text(text, extractor) for text in data.texts]

    def encode(rows: NDArray[np.int64]) -> EncodedNotes:
        return encode_texts(encoder.tokenizer, [texts[row] for row in rows], extractor.max_tokens)

    parts = {part: encode(getattr(data.split, part)) for part in ("train", "validation", "test")}
    targets = data.labels.targets
    return Bench(
        config,
        data,
        encoder,
        extractor,
        NoteDataset(parts["train"], targets[data.split.train], weights=data.training_weights),
        NoteDataset(parts["validation"], targets[data.split.validation]),
        macs_tokens=int(np.median(parts["test"].lengths)),
        run=run,
        truncated=sum(part.truncated for part in parts.values()),
        transfer=tuple(prepare_text(text, extractor) for text in transfer),
    )


def run_baseline(bench: Bench, seed: int, step: Step) -> None:
    """Fine-tune the encoder, deploy and predict, unless the run folder has it already."""
    if bench.run.read_row(BASELINE, seed) is not None:
        return
    torch.manual_seed(seed)
    model, log = train_baseline(bench, seed, step)
    draft = _fresh_draft(bench, BASELINE, seed)
    save_model(model, draft)
    bench.encoder.tokenizer.save_pretrained(draft)
    write_extractor(draft, bench.extractor)
    row: dict[str, Any] = {
        "recipe": STRATEGIES[BASELINE],
        "epochs": log.epochs,
        "train_seconds": log.seconds,
        "remarks": [],
        "parity_max_difference": export_checked(
            model, draft / "model.onnx", list(bench.validation.notes.ids[:PARITY_NOTES])
        ),
        "macs_per_note": count_macs(model, bench.macs_tokens),
    }
    _finish(bench, BASELINE, seed, draft, row, kernel=None)


def train_baseline(
    bench: Bench, seed: int, step: Step, *, score: Scorer | None = None, name: str = BASELINE
) -> tuple[SymptomModel, EpochLog]:
    """Fine-tune the encoder in `bench.run.work(name, seed)`; `score` replaces `score_epoch`."""
    config = bench.config
    model = build_model(bench.encoder.model, len(bench.extractor.symptoms), config.pooling or "cls", seed)
    log = train(
        model,
        bench.training,
        bench.validation,
        train_settings(config, seed),
        bench.run.work(name, seed) / "checkpoints",
        pad_id=bench.pad_id,
        objective=LABEL_LOSSES[config.note_task],
        score=score or (lambda logits: score_epoch(bench, logits)),
        progress=lambda done, total: step(name, done, total),
    )
    return model, log


def strategy_recipe(bench: Bench, name: str) -> Recipe:
    """The recipe of the strategy `name` on the encoder of the study."""
    return recipe_of(name, bench.config, removes_heads=removes_heads(family_of(bench.encoder.model)))


def train_strategy(
    bench: Bench, name: str, seed: int, step: Step, *, score: Scorer, work: str
) -> list[dict[str, Any]]:
    """Train as the strategy does, in `bench.run.work(work, seed)`, and deploy nothing; the epochs."""
    if name == BASELINE:
        return train_baseline(bench, seed, step, score=score, name=work)[1].epochs
    folder = bench.run.artifact(BASELINE, seed)
    shop = Workshop(
        material=material_of(bench),
        settings=train_settings(bench.config, seed),
        score=score,
        folder=bench.run.work(work, seed),
        logits_folder=bench.run.work(work, seed).parent / "logits",
        progress=lambda done, total: step(work, done, total),
        pretrained=bench.encoder.model,
    )
    torch.manual_seed(seed)
    return run_recipe(strategy_recipe(bench, name), load_model(folder), bench.encoder.tokenizer, shop).epochs


def material_of(bench: Bench) -> Material:
    """What recipes learn from, as the model sees it."""
    data = bench.data
    texts = [prepare_text(text, bench.extractor) for text in data.texts]
    return Material(
        task=bench.config.note_task,
        training=[texts[row] for row in data.split.train],
        targets=data.labels.targets[data.split.train],
        transfer=bench.transfer,
        validation=[texts[row] for row in data.split.validation],
        validation_targets=data.labels.targets[data.split.validation],
        max_tokens=bench.extractor.max_tokens,
        weights=data.training_weights,
    )


def made_by(recipe: Recipe, transfer: Sequence[str]) -> dict[str, Any]:
    """What a pressed row depends on beside the study's own settings and inputs, as the row keeps it."""
    return {
        "recipe": str(recipe),
        "transfer_notes": len(transfer),
        "transfer": fingerprint_texts(transfer),
    }


def run_pressed(bench: Bench, name: str, recipe: Recipe, seed: int, step: Step) -> None:
    """Press the baseline of `seed` as `recipe` says, deploy and predict, unless it was done before.

    Raises:
        InputError: the row was made by another recipe, or with other transfer notes.
    """
    made = made_by(recipe, () if name in STRATEGIES else bench.transfer)  # a strategy reads no further notes
    if bench.run.has_row(name, seed, made):
        return
    torch.manual_seed(seed)
    draft = _fresh_draft(bench, name, seed)
    pressed = press(
        bench.run.artifact(BASELINE, seed),
        recipe,
        material_of(bench),
        train_settings(bench.config, seed),
        bench.extractor,
        work=bench.run.work(name, seed),
        draft=draft,
        score=lambda logits: score_epoch(bench, logits),
        threads=bench.config.threads,
        pretrained=bench.encoder.model,
        step=lambda what, done, total: step(f"{name}: {what}", done, total),
    )
    piece = pressed.piece
    row: dict[str, Any] = {
        **made,
        "epochs": piece.epochs,
        "train_seconds": piece.train_seconds,
        "remarks": piece.remarks,
        "parity_max_difference": pressed.parity,
        "macs_per_note": count_macs(piece.model, bench.macs_tokens),
    }
    _finish(bench, name, seed, draft, row, kernel=describe_choice(pressed.choice))


def _fresh_draft(bench: Bench, name: str, seed: int) -> Path:
    draft = bench.run.work(name, seed) / "artifact"
    shutil.rmtree(draft, ignore_errors=True)
    return draft


def _finish(
    bench: Bench, name: str, seed: int, draft: Path, row: dict[str, Any], *, kernel: dict[str, Any] | None
) -> None:
    """Predict with the artifact in `draft`, settle thresholds and calibration, store it and its row.

    Predictions are stored uncalibrated; the row and the artifact say how to calibrate them.
    """
    write_checksums(draft)
    predictions = _predict(bench, draft)
    targets = bench.validation.targets.numpy().astype(np.uint8)
    calibrate = calibrates(bench.config.protocol)
    task, answered = bench.config.note_task, predictions["validation"]
    if name == BASELINE:
        settled = settle(task, answered, targets, calibrate=calibrate)
    else:
        teacher = bench.run.predictions(BASELINE, seed, "validation")
        settled = settle_pressed(task, answered, targets, teacher, calibrate=calibrate)
    if settled.kept:
        row["remarks"] = [*row["remarks"], KEPT]
    row |= settled.as_json()
    write_settled(draft, settled)
    made = provenance(bench.config, name, row["recipe"], seed, bench.data.description.fingerprint)
    if kernel is not None:
        made["kernel"], row["kernel"] = kernel, kernel["name"]
    write_provenance(draft, made)
    write_checksums(draft)
    final = bench.run.artifact(name, seed)
    shutil.rmtree(final, ignore_errors=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    draft.replace(final)
    bench.run.write_row(name, seed, row, predictions)
    shutil.rmtree(bench.run.work(name, seed), ignore_errors=True)


def score_epoch(bench: Bench, logits: NDArray[np.float32]) -> tuple[float, dict[str, Any]]:
    """What chooses an epoch by validation logits (`epoch_score`), and all quality numbers."""
    targets = bench.validation.targets.numpy().astype(np.uint8)
    score, quality = epoch_score(bench.config.note_task, logits, targets, bench.extractor.symptoms)
    return score, {"quality": quality.model_dump(mode="json")}


def _predict(bench: Bench, folder: Path) -> dict[str, NDArray[np.float64]]:
    """Uncalibrated probabilities of the deployed file on validation and test notes, one note at a time."""
    runtime = Runtime.load(folder, threads=torch.get_num_threads())
    texts = bench.data.texts
    split = bench.data.split
    parts = {"validation": split.validation, "test": split.test}
    return {part: runtime.predict([texts[row] for row in rows]) for part, rows in parts.items()}
