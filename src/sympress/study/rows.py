"""One strategy, one seed: prepare, train, export, predict with the deployed file, store."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sympress.compress.distill.loss import distillation_objective
from sympress.compress.prune.masks import keep_masked
from sympress.compress.quantize.dynamic import quantize_onnx
from sympress.compress.quantize.simulate import settle_weights_
from sympress.compress.recipe.material import Material
from sympress.compress.recipe.parse import Recipe
from sympress.compress.strategies import STRATEGIES, Prepared, Strategy, recipe_of
from sympress.config import StudyConfig
from sympress.deploy.artifact import Extractor, write_extractor, write_provenance
from sympress.deploy.checksums import write_checksums
from sympress.deploy.export import export_checked, parity
from sympress.deploy.kernels import INT8_KERNEL
from sympress.deploy.runtime import Runtime, prepare_text
from sympress.labels.surface import codes_of
from sympress.measure.macs import count_macs
from sympress.provenance import provenance
from sympress.study.folder import RunFolder
from sympress.study.inputs import fingerprint_texts
from sympress.study.judge import epoch_score
from sympress.study.prepare import StudyData
from sympress.study.press import describe_choice, press, train_settings
from sympress.study.settle import KEPT, calibrates, settle, settle_pressed, write_settled
from sympress.training.data import Collate, EncodedNotes, NoteDataset, encode_texts
from sympress.training.encoder import Encoder, token_limit
from sympress.training.epochs import EpochLog, Scorer
from sympress.training.loss import LABEL_LOSSES, Objective
from sympress.training.model import SymptomModel, build_model, load_model, save_model
from sympress.training.precision import default_device
from sympress.training.predict import predict_logits
from sympress.training.train import train

#: Notes on which a head's or neuron's importance is measured, and on which ONNX is compared with PyTorch.
IMPORTANCE_NOTES = 256
PARITY_NOTES = 16

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


def run_strategy(bench: Bench, name: str, seed: int, step: Step) -> None:
    """Train, deploy and predict `name` with `seed`, unless the run folder has it already."""
    if bench.run.read_row(name, seed) is not None:
        return
    strategy = STRATEGIES[name]
    torch.manual_seed(seed)
    prepared = prepare_model(bench, strategy, seed)
    log = EpochLog()
    if strategy.trains:
        log = train_prepared(bench, strategy, prepared, name=name, seed=seed, step=step)
        settle_weights_(prepared.model)
    draft = _fresh_draft(bench, name, seed)
    trained_elsewhere = bench.run.artifact("baseline", seed) / "model.onnx" if not strategy.trains else None
    worst = _deploy(bench, strategy, prepared.model, draft, trained_elsewhere)
    row: dict[str, Any] = {
        "recipe": recipe_of(name, bench.config),
        "epochs": log.epochs,
        "train_seconds": log.seconds,
        "remarks": list(prepared.remarks),
        "parity_max_difference": worst,
        "macs_per_note": count_macs(prepared.model, bench.macs_tokens),
    }
    kernel = {"name": INT8_KERNEL} if strategy.int8 else None
    _finish(bench, name, seed, draft, row, kernel=kernel)


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
    made = made_by(recipe, bench.transfer)
    if bench.run.has_row(name, seed, made):
        return
    torch.manual_seed(seed)
    draft = _fresh_draft(bench, name, seed)
    data = bench.data
    texts = [prepare_text(text, bench.extractor) for text in data.texts]
    pressed = press(
        bench.run.artifact("baseline", seed),
        recipe,
        Material(
            task=bench.config.note_task,
            training=[texts[row] for row in data.split.train],
            targets=data.labels.targets[data.split.train],
            transfer=bench.transfer,
            validation=[texts[row] for row in data.split.validation],
            validation_targets=data.labels.targets[data.split.validation],
            max_tokens=bench.extractor.max_tokens,
            weights=data.training_weights,
        ),
        train_settings(bench.config, seed),
        bench.extractor,
        work=bench.run.work(name, seed),
        draft=draft,
        score=lambda logits: score_epoch(bench, logits),
        threads=bench.config.threads,
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
    if name == "baseline":
        settled = settle(task, answered, targets, calibrate=calibrate)
    else:
        teacher = bench.run.predictions("baseline", seed, "validation")
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


def prepare_model(bench: Bench, strategy: Strategy, seed: int) -> Prepared:
    """The model of `strategy` before it is trained, from the fine-tuned baseline or the encoder."""
    if strategy.start == "baseline":
        model = load_model(bench.run.artifact("baseline", seed))
    else:
        pooling = bench.config.pooling or "cls"
        model = build_model(bench.encoder.model, len(bench.extractor.symptoms), pooling, seed)
    rows = range(min(IMPORTANCE_NOTES, len(bench.training)))
    collate = Collate(bench.pad_id)
    batches = [
        collate([bench.training[row] for row in rows[start : start + 16]])
        for start in range(0, len(rows), 16)
    ]
    return strategy.prepare(model, bench.config, bench.config.note_task, batches)


def train_prepared(
    bench: Bench,
    strategy: Strategy,
    prepared: Prepared,
    *,
    name: str,
    seed: int,
    step: Step,
    score: Scorer | None = None,
) -> EpochLog:
    """Train what `prepare_model` made, in `bench.run.work(name, seed)`; `score` replaces `score_epoch`."""
    config = bench.config
    objective: Objective = LABEL_LOSSES[config.note_task]
    training = bench.training
    started = time.perf_counter()
    if strategy.teacher is not None:
        training = training.with_teacher(_teacher_logits(bench, strategy, seed))
        objective = distillation_objective(
            config.note_task, temperature=config.temperature, alpha=config.alpha
        )
    teacher_seconds = time.perf_counter() - started
    settings = train_settings(config, seed, strategy.rate)
    log = train(
        prepared.model,
        training,
        bench.validation,
        settings,
        bench.run.work(name, seed) / "checkpoints",
        pad_id=bench.pad_id,
        objective=objective,
        score=score or (lambda logits: score_epoch(bench, logits)),
        after_step=keep_masked(prepared.model, prepared.masks) if prepared.masks else None,
        progress=lambda done, total: step(name, done, total),
    )
    log.seconds += teacher_seconds
    return log


def _teacher_logits(bench: Bench, strategy: Strategy, seed: int) -> NDArray[np.float32]:
    """Logits of the fine-tuned baseline or, as published, of an encoder with an untrained head."""
    if strategy.teacher == "baseline":
        teacher: SymptomModel = load_model(bench.run.artifact("baseline", seed))
    else:
        symptoms = len(bench.extractor.symptoms)
        teacher = build_model(bench.encoder.model, symptoms, bench.config.pooling or "cls", seed + 1000)
    device = default_device()
    return predict_logits(teacher.to(device), bench.training, bench.pad_id, mixed=True)


def score_epoch(bench: Bench, logits: NDArray[np.float32]) -> tuple[float, dict[str, Any]]:
    """What chooses an epoch by validation logits (`epoch_score`), and all quality numbers."""
    targets = bench.validation.targets.numpy().astype(np.uint8)
    score, quality = epoch_score(bench.config.note_task, logits, targets, bench.extractor.symptoms)
    return score, {"quality": quality.model_dump(mode="json")}


def _deploy(
    bench: Bench, strategy: Strategy, model: SymptomModel, folder: Path, exported: Path | None
) -> float:
    """Write weights, tokenizer and ONNX file; returns the largest difference of a logit to PyTorch.

    `exported` is the ONNX file of the same weights where one exists already.
    """
    save_model(model, folder)
    bench.encoder.tokenizer.save_pretrained(folder)
    write_extractor(folder, bench.extractor)
    sample = list(bench.validation.notes.ids[:PARITY_NOTES])
    path = folder / "model.onnx"
    if exported is None:
        worst = export_checked(model, path, sample)
    else:
        shutil.copyfile(exported, path)
        worst = parity(model, path, sample)
    if strategy.int8:
        quantized = folder / "int8.onnx"
        quantize_onnx(path, quantized, reduce_range=True)
        quantized.replace(path)
        worst = parity(model, path, sample)
    return worst


def _predict(bench: Bench, folder: Path) -> dict[str, NDArray[np.float64]]:
    """Uncalibrated probabilities of the deployed file on validation and test notes, one note at a time."""
    runtime = Runtime.load(folder, threads=torch.get_num_threads())
    texts = bench.data.texts
    split = bench.data.split
    parts = {"validation": split.validation, "test": split.test}
    return {part: runtime.predict([texts[row] for row in rows]) for part, rows in parts.items()}
