"""The tasks of whole notes, `topic` and `present`: rows trained or pressed, deployed, answered, stored."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sympress.compression.recipe.engine import run_recipe
from sympress.compression.recipe.language import BASELINE, LONGER, STRATEGIES, Recipe
from sympress.compression.recipe.material import (
    Context,
    Material,
    draw_further,
    encode_notes,
    training_notes,
)
from sympress.config import StudyConfig
from sympress.evaluation.quality import score_quality
from sympress.labels.lexicon import load_lexicon
from sympress.labels.task import task_of
from sympress.models.encoder import Encoder
from sympress.models.ensemble import Ensemble
from sympress.models.model import load_model
from sympress.models.rules import AssertedRule, RuleClassifier
from sympress.models.tfidf import ReferenceModel, TfidfClassifier, fit_tfidf, require_scikit_learn
from sympress.progress import Reporter
from sympress.provenance import fingerprint_texts, provenance
from sympress.runtime.artifact import Extractor, write_checksums, write_provenance
from sympress.runtime.session import Runtime, prepare_text
from sympress.studies.costs import Candidate, in_batches
from sympress.studies.data import StudyData, prepare, read_further_notes
from sympress.studies.folder import RunFolder
from sympress.studies.judge import (
    KEPT,
    OperatingPoint,
    calibrates,
    choose_operating_point,
    epoch_score,
    judge,
)
from sympress.studies.labelled import FurtherLabels, label_further
from sympress.studies.mentions import MentionsTask
from sympress.studies.press import (
    ENSEMBLE,
    ensemble_logits,
    move_artifact,
    named,
    press,
    total_of,
    train_settings,
    weigh_members,
    write_model,
)
from sympress.studies.task import NoteTestSet, Step, StudyTask
from sympress.studies.train import Trained, fine_tune, macs_per_note, make_extractor, stride_of
from sympress.training.data import EncodedNotes, NoteDataset
from sympress.training.epochs import Scorer

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
    ENSEMBLE: Ensemble.load,
}


@dataclass(frozen=True)
class NoteTask(StudyTask[StudyData]):
    """A study of whole notes: one label a note, or one a symptom.

    Attributes:
        extractor: of the baselines, before anything is settled.
        material: what recipes learn from, as the models see it.
        training: the training notes in the encoder's word pieces.
        validation: the validation notes.
        judged: the test notes in the encoder's word pieces.
        transfer_labels: what people coded of the transfer notes: of no use to a student, but TF-IDF reads
            them.
    """

    extractor: Extractor
    material: Material
    training: NoteDataset
    validation: NoteDataset
    judged: EncodedNotes
    transfer_labels: FurtherLabels | None = None
    prepare = staticmethod(prepare)
    tests = NoteTestSet

    @classmethod
    def set_up(cls, config: StudyConfig, encoder: Encoder, run: RunFolder, reporter: Reporter) -> NoteTask:
        """Prepare the notes, and tokenize them as the artifacts will."""
        require_scikit_learn()
        data = prepare(config, reporter)
        further = read_further_notes(config, data, reporter)
        made = make_bench(config, data, encoder, run, further["text"].to_list())
        return replace(made, transfer_labels=label_further(data.labels, further))

    @property
    def transfer(self) -> Sequence[str]:
        """Further notes, as the model sees them, which only teachers judge."""
        return self.material.transfer

    @property
    def warnings(self) -> list[str]:
        """Of the data, and of notes that are cut off."""
        parts = [self.training.notes, self.validation.notes, self.judged]
        truncated, most = sum(part.truncated for part in parts), self.extractor.max_tokens
        if not truncated:
            return list(self.data.warnings)
        if self.extractor.windows == "all":
            notes, windows = len(self.training), self.config.max_windows
            cut = f"{truncated:,} of {notes:,} training notes are longer than {windows} windows of {most}"
        else:
            cut = f"{truncated:,} of {self.data.frame.height:,} notes are longer than {most}"
        return [*self.data.warnings, f"{cut} word pieces; what comes after is not seen"]

    @property
    def learnt_from(self) -> tuple[int, int]:
        """The training notes and the transfer notes."""
        return len(self.data.split.train), len(self.transfer)

    @property
    def outputs(self) -> int:
        """A logit a symptom."""
        return len(self.extractor.symptoms)

    def labelled_for_tfidf(self) -> tuple[list[str], NDArray[np.uint8]]:
        """Every labelled note that a student of this study saw, as the models see it, and its targets.

        The training notes, and of the transfer notes that a recipe draws those that people coded.
        """
        data, rows = self.data, self.data.split.train
        texts = [prepare_text(text, self.extractor) for text in data.texts_of(rows)]
        targets = data.labels.targets[rows]
        if self.transfer_labels is None:
            return texts, targets
        available = len(self.transfer)
        drawn = [
            step.further_notes(available)
            for recipe in named(self.config.recipes).values()
            for step in recipe.steps
        ]
        seen = draw_further(available, max(drawn, default=0))
        seen = seen[self.transfer_labels.known[seen]]
        further = self.transfer_labels.targets[seen]
        return texts + [self.transfer[row] for row in seen], np.concatenate([targets, further])

    @property
    def references(self) -> tuple[str, ...]:
        """Only `present` asks what a note affirms."""
        if not task_of(self.config.note_task).has_thresholds:
            return ("rule", "tfidf")
        steps = [step for recipe in named(self.config.recipes).values() for step in recipe.steps]
        teaches = any(step.needs_ensemble for step in steps)
        return ("rule", "rule-assertion", "tfidf", *((ENSEMBLE,) if teaches else ()))

    @property
    def timed_texts(self) -> list[str]:
        """The test notes as the model sees them."""
        return [prepare_text(text, self.extractor) for text in self.data.texts_of(self.data.split.test)]

    def test_set(self) -> NoteTestSet:
        """Labels, patients and groups of the test notes."""
        return NoteTestSet.of(self.data)

    def train(self, seed: int, step: Step) -> None:
        """Fine-tune the encoder, deploy and predict, unless the run folder has it already."""
        if self.run.read_row(BASELINE, seed) is not None:
            return
        trained = train_baseline(self, seed, step)
        draft = self.run.work(BASELINE, seed) / "artifact"
        row: dict[str, Any] = {
            "recipe": STRATEGIES[BASELINE],
            "epochs": trained.log.epochs,
            "train_seconds": trained.log.seconds,
            "remarks": [],
            "parity_max_difference": write_model(
                trained.model, self.encoder.tokenizer, self.extractor, self.validation.notes.ids, draft
            ),
            "macs_per_note": macs_per_note(trained.model, self.judged, len(self.judged)),
        }
        _finish(self, BASELINE, seed, draft, row, kernel=None)

    def press(self, name: str, recipe: Recipe, seed: int, step: Step) -> None:
        """Press the baseline of `seed` as `recipe` says, deploy and predict, unless it was done before."""
        made = made_by(
            recipe, () if name in (*STRATEGIES, LONGER) else self.transfer
        )  # a strategy reads no others
        if any(one.needs_ensemble for one in recipe.steps):
            made["networks"] = self.config.seeds
        if self.run.has_row(name, seed, made):
            return
        torch.manual_seed(seed)
        draft = self.run.work(name, seed) / "artifact"
        material = self.material
        if any(one.needs_ensemble for one in recipe.steps):
            texts = [*material.training, *material.transfer]
            material = replace(material, answers=ensemble_logits(self.run, texts, step))
        pressed = press(
            self.run.artifact(BASELINE, seed),
            recipe,
            material,
            train_settings(self.config, seed),
            self.extractor,
            work=self.run.work(name, seed),
            draft=draft,
            score=lambda logits: score_epoch(self, logits),
            threads=self.config.threads,
            pretrained=self.encoder.model,
            step=lambda what, done, total: step(f"{name}: {what}", done, total),
        )
        state = pressed.state
        judged = self.judged
        if state.max_tokens is not None:
            judged = encode_notes(state.tokenizer, self.timed_texts, state.reads(self.material))
        row = made | pressed.as_json(macs_per_note(state.model, judged, len(judged)))
        _finish(self, name, seed, draft, row, kernel=row.pop("kernel"))

    def refer(self, name: str, seed: int) -> None:
        """Build the reference model `name`, predict and store, unless the run folder has it already.

        It sees the same characters of each note as the models do.
        """
        if name == ENSEMBLE:
            self._refer_to_ensemble(seed)
            return
        data, run = self.data, self.run
        learnt = self.labelled_for_tfidf() if name == "tfidf" else None
        done, own = run.read_row(name, seed), len(data.split.train)
        if done is not None and (learnt is None or done.get("training_notes", own) == len(learnt[0])):
            return
        texts = [prepare_text(text, self.extractor) for text in data.texts]
        started = time.perf_counter()
        model = _rule_model(data, self.config, name) if learnt is None else self._fit_tfidf(learnt, seed)
        seconds = time.perf_counter() - started if name == "tfidf" else 0.0
        folder = run.artifact(name, seed)
        shutil.rmtree(folder, ignore_errors=True)
        model.save(folder)
        predictions = {
            part: np.asarray(model.predict_proba([texts[row] for row in rows]), dtype=np.float64)
            for part, rows in (("validation", data.split.validation), ("test", data.split.test))
        }
        answered, validation = predictions["validation"], data.labels.targets[data.split.validation]
        quality = score_quality(
            self.config.note_task, answered, validation, data.labels.symptoms, resamples=0
        )
        row: dict[str, Any] = {
            "recipe": _RECIPES[name],
            "epochs": [{"epoch": 1, "quality": quality.model_dump(mode="json")}] if name == "tfidf" else [],
            "train_seconds": seconds,
            "remarks": [],
            "parity_max_difference": None,
            "macs_per_note": model.macs_per_note,
            **_settle(self.config, name, answered, validation).as_json(),
        }
        if learnt is not None:
            further = len(learnt[0]) - own
            row["training_notes"] = len(learnt[0])
            row["remarks"] = [f"learnt from {own:,} training notes and {further:,} labelled transfer notes"]
        run.write_row(name, seed, row, predictions)

    def _refer_to_ensemble(self, seed: int) -> None:
        """Weigh what the rows of the other models answered; the same for every seed."""
        run, networks = self.run, self.config.seeds
        if (run.read_row(ENSEMBLE, seed) or {}).get("networks") == networks:
            return
        targets = self.data.labels.targets[self.data.split.validation]
        ensemble, predictions = weigh_members(run, targets, networks=networks, seed=seed)
        row = {
            "recipe": f"ensemble of {networks} baselines, TF-IDF and rules, weighed on validation notes",
            "networks": networks,
            "epochs": [],
            "train_seconds": total_of(run, networks, "train_seconds"),
            "remarks": ["the same for every seed"],
            "parity_max_difference": None,
            "macs_per_note": ensemble.macs_per_note,
            **_settle(self.config, ENSEMBLE, predictions["validation"], targets).as_json(),
        }
        run.write_row(ENSEMBLE, seed, row, predictions)

    def _fit_tfidf(self, learnt: tuple[list[str], NDArray[np.uint8]], seed: int) -> TfidfClassifier:
        data, rows = self.data, self.data.split.validation
        judged = [prepare_text(text, self.extractor) for text in data.texts_of(rows)]
        chosen_by = (judged, data.labels.targets[rows])
        validation = None if self.config.validation_notes is False else chosen_by
        task, symptoms = self.config.note_task, data.labels.symptoms
        return fit_tfidf(*learnt, task, symptoms, seed=seed, validation=validation)

    def candidate(self, name: str, seed: int) -> Candidate:
        """From text to probabilities."""
        folder, row = self.run.artifact(name, seed), self.run.read_row(name, seed) or {}
        if name in LOADERS:
            model = LOADERS[name](folder)
            return Candidate(
                folder, row, lambda text: model.predict_proba([text]), model.predict_proba, model
            )
        runtime = Runtime.load(folder, threads=self.config.threads)
        return Candidate(folder, row, lambda text: runtime.predict([text]), in_batches(runtime))


def make_bench(
    config: StudyConfig, data: StudyData, encoder: Encoder, run: RunFolder, transfer: Sequence[str] = ()
) -> NoteTask:
    """Tokenize the training and validation notes once, as the artifact will tokenize them."""
    extractor = make_extractor(config, encoder, data.lexicon, data.labels.symptoms)
    seen = tuple(prepare_text(text, extractor) for text in transfer)
    material = material_of(data, extractor, seen, config.max_windows)
    tested = [prepare_text(text, extractor) for text in data.texts_of(data.split.test)]
    judged = encode_notes(encoder.tokenizer, material.validation, material)
    return NoteTask(
        config,
        data,
        encoder,
        run,
        extractor,
        material,
        training_notes(encoder.tokenizer, material),
        NoteDataset(judged, material.validation_targets),
        encode_notes(encoder.tokenizer, tested, material),
    )


def train_baseline(
    bench: NoteTask, seed: int, step: Step, *, score: Scorer | None = None, name: str = BASELINE
) -> Trained:
    """Fine-tune the encoder in `bench.run.work(name, seed)`; `score` replaces `score_epoch`."""
    return fine_tune(
        bench.encoder,
        len(bench.extractor.symptoms),
        (bench.training, bench.validation),
        bench.run.work(name, seed) / "checkpoints",
        config=bench.config,
        seed=seed,
        score=score or (lambda logits: score_epoch(bench, logits)),
        progress=lambda done, total: step(name, done, total),
    )


def train_strategy(
    bench: NoteTask, name: str, seed: int, step: Step, *, score: Scorer, work: str
) -> list[dict[str, Any]]:
    """Train as the strategy does, in `bench.run.work(work, seed)`, and deploy nothing; the epochs."""
    if name == BASELINE:
        return train_baseline(bench, seed, step, score=score, name=work).log.epochs
    folder = bench.run.artifact(BASELINE, seed)
    context = Context(
        material=bench.material,
        settings=train_settings(bench.config, seed),
        score=score,
        folder=bench.run.work(work, seed),
        logits_folder=bench.run.work(work, seed).parent / "logits",
        progress=lambda done, total: step(work, done, total),
        pretrained=bench.encoder.model,
    )
    torch.manual_seed(seed)
    return run_recipe(bench.recipe(name), load_model(folder), bench.encoder.tokenizer, context).epochs


def material_of(data: StudyData, extractor: Extractor, transfer: Sequence[str], max_windows: int) -> Material:
    """What recipes learn from, as the model sees it.

    Args:
        data: of the study.
        extractor: how the model reads notes.
        transfer: further notes, prepared already.
        max_windows: of a note that training reads.
    """
    texts = [prepare_text(text, extractor) for text in data.texts]
    targets, split = data.labels.targets, data.split
    return Material(
        task=data.labels.task,
        training=[texts[row] for row in split.train],
        targets=targets[split.train],
        transfer=transfer,
        validation=[texts[row] for row in split.validation],
        validation_targets=targets[split.validation],
        max_tokens=extractor.max_tokens,
        stride=stride_of(extractor),
        max_windows=max_windows,
        weights=data.training_weights,
    )


def made_by(recipe: Recipe, transfer: Sequence[str]) -> dict[str, Any]:
    """What a pressed row depends on beside the study's own settings and inputs, as the row keeps it."""
    return {
        "recipe": str(recipe),
        "transfer_notes": len(transfer),
        "transfer": fingerprint_texts(transfer),
    }


def _finish(
    bench: NoteTask, name: str, seed: int, draft: Path, row: dict[str, Any], *, kernel: dict[str, Any] | None
) -> None:
    """Predict with the artifact in `draft`, settle thresholds and calibration, store it and its row.

    Predictions are stored uncalibrated; the row and the artifact say how to calibrate them.
    """
    write_checksums(draft)
    predictions = _predict(bench, draft)
    targets = bench.validation.targets.numpy().astype(np.uint8)
    teacher = None if name == BASELINE else bench.run.predictions(BASELINE, seed, "validation")
    judged = judge(
        bench.config.note_task,
        predictions["validation"],
        targets,
        bench.extractor.symptoms,
        calibrate=calibrates(bench.config.protocol),
        teacher=teacher,
    )
    if judged.operating_point.kept:
        row["remarks"] = [*row["remarks"], KEPT]
    row |= judged.operating_point.as_json()
    judged.write(draft)
    made = provenance(bench.config, name, row["recipe"], seed, bench.data.description.fingerprint)
    if kernel is not None:
        made["kernel"], row["kernel"] = kernel, kernel["name"]
    write_provenance(draft, made)
    move_artifact(draft, bench.run.artifact(name, seed))
    bench.run.write_row(name, seed, row, predictions)
    shutil.rmtree(bench.run.work(name, seed), ignore_errors=True)


def score_epoch(bench: NoteTask, logits: NDArray[np.float32]) -> tuple[float, dict[str, Any]]:
    """What chooses an epoch by validation logits (`epoch_score`), and all quality numbers."""
    targets = bench.validation.targets.numpy().astype(np.uint8)
    score, quality = epoch_score(bench.config.note_task, logits, targets, bench.extractor.symptoms)
    return score, {"quality": quality.model_dump(mode="json")}


def _predict(bench: NoteTask, folder: Path) -> dict[str, NDArray[np.float64]]:
    """Uncalibrated probabilities of the deployed file on validation and test notes, one note at a time."""
    runtime = Runtime.load(folder, threads=torch.get_num_threads())
    texts = bench.data.texts
    split = bench.data.split
    parts = {"validation": split.validation, "test": split.test}
    return {part: runtime.predict([texts[row] for row in rows]) for part, rows in parts.items()}


def _rule_model(data: StudyData, config: StudyConfig, name: str) -> ReferenceModel:
    if name == "rule":
        return RuleClassifier.of(
            config.note_task,
            data.labels.symptoms,
            data.lexicon,
            rule=config.rule or "first",
            text_window=None,
        )
    return AssertedRule.of(data.labels.symptoms, load_lexicon(ASSERTED_LEXICON))


def _settle(
    config: StudyConfig, name: str, validation: NDArray[np.float64], targets: NDArray[np.uint8]
) -> OperatingPoint:
    """Thresholds and calibration as of every model; rules answer 0 and 1, and stay as they are."""
    if name in ("tfidf", ENSEMBLE):
        return choose_operating_point(
            config.note_task, validation, targets, calibrate=calibrates(config.protocol)
        )
    return OperatingPoint(
        np.full(targets.shape[1], 0.5) if task_of(config.note_task).has_thresholds else None, None
    )


def study_of(task: str) -> type[StudyTask[Any]]:
    """What studies the task called `task`.

    Raises:
        InputError: there is no such task.
    """
    return MentionsTask if task_of(task).finds_spans else NoteTask
