"""One strategy or reference, one seed: trained or pressed, deployed, answered, stored."""

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

from sympress.compression.export import export_checked
from sympress.compression.recipe.engine import run_recipe
from sympress.compression.recipe.language import BASELINE, STRATEGIES, Recipe, recipe_of
from sympress.compression.recipe.material import Context, Material
from sympress.config import StudyConfig
from sympress.evaluation.quality import point_quality
from sympress.labels.lexicon import load_lexicon
from sympress.labels.mentions import Task
from sympress.labels.surface import codes_of
from sympress.models.encoder import Encoder, token_limit
from sympress.models.families import family_of, removes_heads
from sympress.models.model import SymptomModel, build_model, count_macs, load_model, save_model
from sympress.models.rules import AssertedRule, RuleClassifier
from sympress.models.tfidf import ReferenceModel, TfidfClassifier, fit_tfidf
from sympress.provenance import provenance
from sympress.runtime.artifact import Extractor, write_checksums, write_extractor, write_provenance
from sympress.runtime.session import Runtime, prepare_text
from sympress.studies.data import StudyData
from sympress.studies.folder import RunFolder
from sympress.studies.judge import (
    KEPT,
    OperatingPoint,
    calibrates,
    choose_beside_teacher,
    choose_operating_point,
    epoch_score,
    write_operating_point,
)
from sympress.studies.press import PARITY_NOTES, describe_choice, press, train_settings
from sympress.training.data import LABEL_LOSSES, EncodedNotes, NoteDataset, encode_texts
from sympress.training.epochs import EpochLog, Scorer
from sympress.training.fingerprints import fingerprint_texts
from sympress.training.train import train

# The rows of a study: the fine-tuned baseline of a seed, and what recipes make of it, scored as deployed.


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
    context = Context(
        material=material_of(bench),
        settings=train_settings(bench.config, seed),
        score=score,
        folder=bench.run.work(work, seed),
        logits_folder=bench.run.work(work, seed).parent / "logits",
        progress=lambda done, total: step(work, done, total),
        pretrained=bench.encoder.model,
    )
    torch.manual_seed(seed)
    return run_recipe(
        strategy_recipe(bench, name), load_model(folder), bench.encoder.tokenizer, context
    ).epochs


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
    state = pressed.state
    row: dict[str, Any] = {
        **made,
        "epochs": state.epochs,
        "train_seconds": state.train_seconds,
        "remarks": state.remarks,
        "parity_max_difference": pressed.parity,
        "macs_per_note": count_macs(state.model, bench.macs_tokens),
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
        operating_point = choose_operating_point(task, answered, targets, calibrate=calibrate)
    else:
        teacher = bench.run.predictions(BASELINE, seed, "validation")
        operating_point = choose_beside_teacher(task, answered, targets, teacher, calibrate=calibrate)
    if operating_point.kept:
        row["remarks"] = [*row["remarks"], KEPT]
    row |= operating_point.as_json()
    write_operating_point(draft, operating_point)
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


# The two rows that a reader asks for: the lexicon rule itself, and TF-IDF with logistic regression.


#: The lexicon whose forms the row `rule-assertion` looks up.
ASSERTED_LEXICON = "clinical"
_RECIPES = {
    "rule": "lexicon rule",
    "rule-assertion": f"lexicon {ASSERTED_LEXICON!r} with assertion",
    "tfidf": "TF-IDF 1-2 grams > logistic regression",
}
LOADERS: dict[str, Callable[[Path], ReferenceModel]] = {
    "rule": RuleClassifier.load,
    "rule-assertion": AssertedRule.load,
    "tfidf": TfidfClassifier.load,
}


def references(task: Task) -> tuple[str, ...]:
    """The reference rows of a study; only `present` asks what a note affirms."""
    return ("rule", "rule-assertion", "tfidf") if task == "present" else ("rule", "tfidf")


def run_reference(bench: Bench, name: str, seed: int) -> ReferenceModel:
    """Build the reference model `name`, predict and store, unless the run folder has it already.

    It sees the same characters of each note as the models do.
    """
    data, config, run = bench.data, bench.config, bench.run
    folder = run.artifact(name, seed)
    if run.read_row(name, seed) is not None:
        return LOADERS[name](folder)
    texts = [prepare_text(text, bench.extractor) for text in data.texts]
    started = time.perf_counter()
    model = _build(data, config, name, seed, texts)
    seconds = time.perf_counter() - started if name == "tfidf" else 0.0
    shutil.rmtree(folder, ignore_errors=True)
    model.save(folder)
    predictions = {
        part: np.asarray(model.predict_proba([texts[row] for row in rows]), dtype=np.float64)
        for part, rows in (("validation", data.split.validation), ("test", data.split.test))
    }
    validation = data.labels.targets[data.split.validation]
    quality = point_quality(config.note_task, predictions["validation"], validation, data.labels.symptoms)
    row: dict[str, Any] = {
        "recipe": _RECIPES[name],
        "epochs": [{"epoch": 1, "quality": quality.model_dump(mode="json")}] if name == "tfidf" else [],
        "train_seconds": seconds,
        "remarks": [],
        "parity_max_difference": None,
        "macs_per_note": model.macs_per_note,
        **_settle(config, name, predictions["validation"], validation).as_json(),
    }
    run.write_row(name, seed, row, predictions)
    return model


def _build(
    data: StudyData, config: StudyConfig, name: str, seed: int, texts: Sequence[str]
) -> ReferenceModel:
    if name == "rule":
        return RuleClassifier.of(
            config.note_task,
            data.labels.symptoms,
            data.lexicon,
            rule=config.rule or "first",
            text_window=None,
        )
    if name == "rule-assertion":
        return AssertedRule.of(data.labels.symptoms, load_lexicon(ASSERTED_LEXICON))
    train, validation = data.split.train, data.split.validation
    return fit_tfidf(
        [texts[row] for row in train],
        data.labels.targets[train],
        config.note_task,
        data.labels.symptoms,
        seed=seed,
        validation=([texts[row] for row in validation], data.labels.targets[validation]),
    )


def _settle(
    config: StudyConfig, name: str, validation: NDArray[np.float64], targets: NDArray[np.uint8]
) -> OperatingPoint:
    """Thresholds and calibration of TF-IDF as of every model; rules answer 0 and 1, and stay as they are."""
    if name == "tfidf":
        return choose_operating_point(
            config.note_task, validation, targets, calibrate=calibrates(config.protocol)
        )
    return OperatingPoint(np.full(targets.shape[1], 0.5) if config.note_task == "present" else None, None)
