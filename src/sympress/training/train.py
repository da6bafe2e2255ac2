"""Fine-tune a model with transformers' Trainer: resumable, reproducible, scored after every epoch."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from sympress.errors import SympressError
from sympress.files import write_json
from sympress.training.data import Collate, LengthGroupedSampler, NoteDataset
from sympress.training.loss import Objective
from sympress.training.model import SymptomModel
from sympress.training.precision import has_bf16
from sympress.training.predict import predict_logits


@dataclass(frozen=True)
class TrainSettings:
    """How to train. Rates are AdamW's; the head learns `head_rate_ratio` times faster than the encoder.

    `select` keeps the `last` epoch, the `best` on validation notes, or the `average` of the weights after
    each epoch of the second half.
    """

    epochs: int = 5
    batch_size: int = 16
    learning_rate: float = 3e-5
    head_rate_ratio: float = 1.0
    weight_decay: float = 0.01
    schedule: Literal["cosine", "linear"] = "cosine"
    warmup_share: float = 0.0
    clip_norm: float = 1.0
    seed: int = 0
    select: Literal["last", "best", "average"] = "last"
    save_steps: int = 400


@dataclass
class EpochLog:
    """What is known after each epoch; written beside the checkpoints so that a resumed run has it all."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    best_score: float | None = None
    best_epoch: int = 0


#: Validation logits, as `predict_logits` gives them -> (score to select by, JSON that describes the epoch).
Scorer = Callable[[NDArray[np.float32]], tuple[float, dict[str, Any]]]
#: (model in training, batch on its device) -> scalar loss; for what needs more than the logits.
BatchLoss = Callable[[SymptomModel, dict[str, Tensor]], Tensor]
#: Called after each step with (steps done, steps in all).
Progress = Callable[[int, int], None]


def train(
    model: SymptomModel,
    training: NoteDataset,
    validation: NoteDataset,
    settings: TrainSettings,
    folder: Path,
    *,
    pad_id: int,
    score: Scorer,
    objective: Objective | None = None,
    batch_loss: BatchLoss | None = None,
    after_step: Callable[[], None] | None = None,
    progress: Progress | None = None,
) -> EpochLog:
    """Train `model` in place; afterwards it holds the weights that `settings.select` keeps.

    Checkpoints go to `folder`. When it holds some of a killed run with the same arguments, training
    goes on from the newest and ends with the same weights as a run that was never interrupted.

    Args:
        model: trained in place.
        training: notes to learn from.
        validation: notes scored after each epoch; never the test set.
        settings: rates, epochs, seed.
        folder: for checkpoints; removed by the caller once the result is stored elsewhere.
        pad_id: the tokenizer's padding id.
        score: judges validation logits.
        objective: what to minimise, from the logits; or
        batch_loss: what to minimise, from model and batch. Exactly one of the two is given.
        after_step: called after each optimizer step, e.g. to put masks back on.
        progress: called after each step.

    Raises:
        SympressError: the loss became infinite or not a number.
    """
    if (objective is None) == (batch_loss is None):
        raise ValueError("give objective or batch_loss, not both")
    folder.mkdir(parents=True, exist_ok=True)
    log = _read_log(folder)
    watcher = _Watcher(
        model=model,
        validation=validation,
        pad_id=pad_id,
        score=score,
        folder=folder,
        log=log,
        settings=settings,
        after_step=after_step,
        progress=progress,
    )
    trainer = _NoteTrainer(
        model=model,
        args=_arguments(settings, folder, len(training)),
        train_dataset=training,
        data_collator=Collate(pad_id),
        callbacks=[watcher],
        batch_loss=batch_loss or from_logits(objective),
        sampler=LengthGroupedSampler(training.notes.lengths, settings.batch_size, settings.seed),
        settings=settings,
    )
    for callback in [c for c in trainer.callback_handler.callbacks if c is not watcher]:
        if type(callback).__name__ in ("PrinterCallback", "ProgressCallback"):
            trainer.remove_callback(callback)
    trainer.train(resume_from_checkpoint=_newest_checkpoint(folder))
    trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # else it stays in half precision
    for left in ("forward", "_is_accelerate_prepared"):  # with these a second training of the model would
        vars(model).pop(left, None)  # not be set up for mixed precision
    if settings.select == "average":
        model.load_state_dict(_average(sorted(folder.glob("epoch-*.safetensors"))))
    if settings.select == "best" and (folder / "best.safetensors").is_file():
        model.load_state_dict(load_file(folder / "best.safetensors"))
    model.eval()
    return log


def _arguments(settings: TrainSettings, folder: Path, notes: int) -> TrainingArguments:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cuda, bf16 = device.type == "cuda", has_bf16(device)
    steps = math.ceil(notes / settings.batch_size)
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        lr_scheduler_type=settings.schedule,
        warmup_steps=round(settings.warmup_share * steps * settings.epochs),
        max_grad_norm=settings.clip_norm,
        use_cpu=bf16 and not cuda,
        bf16=bf16,
        fp16=cuda and not bf16,
        save_strategy="steps",
        save_steps=min(settings.save_steps, steps),
        save_total_limit=1,
        eval_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=settings.seed,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=cuda,
    )


class _NoteTrainer(Trainer):  # type: ignore[misc,unused-ignore]
    """Trainer with our objective, our order of notes and a faster head."""

    def __init__(
        self,
        *,
        batch_loss: BatchLoss,
        sampler: LengthGroupedSampler,
        settings: TrainSettings,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self._trained: nn.Module = arguments["model"]
        self._batch_loss, self._sampler, self._settings = batch_loss, sampler, settings

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int]:
        return self._sampler

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        loss = self._batch_loss(cast("SymptomModel", model), inputs)
        if not torch.isfinite(loss):
            raise SympressError("the training loss is no longer finite; lower --learning-rate")
        return (loss, {}) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(
                parameter_groups(self._trained, self._settings), lr=self._settings.learning_rate, fused=True
            )
        return self.optimizer


def from_logits(objective: Objective | None) -> BatchLoss:
    """The loss of a batch that depends on the logits alone."""
    if objective is None:
        raise ValueError("an objective is needed")

    def loss(model: SymptomModel, batch: dict[str, Tensor]) -> Tensor:
        logits = model(batch["input_ids"], batch["attention_mask"]).float()
        teacher = batch.get("teacher_logits")
        if "weights" in batch:
            return objective(logits, batch["labels"], teacher, batch["weights"])
        return objective(logits, batch["labels"], teacher)

    return loss


def parameter_groups(model: nn.Module, settings: TrainSettings) -> list[dict[str, Any]]:
    """AdamW groups: what is pretrained and what is fresh (the head), with weight decay and without.

    Biases and norms have none.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            fresh = name.startswith(("head.", "projections."))
            groups.setdefault((fresh, parameter.ndim >= 2), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": settings.learning_rate * (settings.head_rate_ratio if head else 1.0),
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (head, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


# The hooks have the names and arguments that transformers calls them with, used or not.
class _Watcher(TrainerCallback):
    """Scores each epoch, keeps the best weights, counts time, calls back after each step."""

    def __init__(
        self,
        *,
        model: SymptomModel,
        validation: NoteDataset,
        pad_id: int,
        score: Scorer,
        folder: Path,
        log: EpochLog,
        settings: TrainSettings,
        after_step: Callable[[], None] | None,
        progress: Progress | None,
    ) -> None:
        self.model, self.validation, self.pad_id, self.score = model, validation, pad_id, score
        self.folder, self.log, self.settings = folder, log, settings
        self.after_step, self.progress = after_step, progress
        self._clock = time.perf_counter()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._clock = time.perf_counter()
        steps = state.max_steps // self.settings.epochs
        if state.global_step > 0 and state.global_step % steps == 0:
            # the checkpoint that closes an epoch is written before that epoch is scored
            self.on_epoch_end(args, state, control)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.after_step is not None:
            self.after_step()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.progress is not None:
            self.progress(state.global_step, state.max_steps)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._write_log()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        epoch = round(state.epoch or 0)
        if any(done["epoch"] == epoch for done in self.log.epochs):
            return  # resumed from the checkpoint that closed this epoch
        score, description = self.score(predict_logits(self.model, self.validation, self.pad_id, mixed=True))
        self.log.epochs.append({"epoch": epoch, "score": score, **description})
        if self.log.best_score is None or score > self.log.best_score:
            self.log.best_score, self.log.best_epoch = score, epoch
            if self.settings.select == "best":
                self._save("best")
        if self.settings.select == "average" and 2 * epoch > self.settings.epochs:
            self._save(f"epoch-{epoch:04d}")
        self._write_log()

    def _save(self, name: str) -> None:
        state_dict = {key: value.contiguous() for key, value in self.model.state_dict().items()}
        save_file(state_dict, self.folder / f"{name}.safetensors")

    def _write_log(self) -> None:
        now = time.perf_counter()
        self.log.seconds += now - self._clock
        self._clock = now
        write_json(self.folder / "epochs.json", asdict(self.log))


def _average(files: list[Path]) -> dict[str, Tensor]:
    """The mean of the weights in `files`, name by name (Izmailov et al. 2018); integers are the last's."""
    mean = load_file(files[-1])
    floats = [name for name, value in mean.items() if value.is_floating_point()]
    total = {name: mean[name].double() for name in floats}
    for path in files[:-1]:
        state = load_file(path)
        for name in floats:
            total[name] += state[name]
    return mean | {name: (total[name] / len(files)).to(mean[name].dtype) for name in floats}


def _read_log(folder: Path) -> EpochLog:
    """The log up to the newest checkpoint; later epochs will be run, and scored, again."""
    try:
        log = EpochLog(**json.loads((folder / "epochs.json").read_text(encoding="utf-8")))
        checkpoint = _newest_checkpoint(folder)
        if checkpoint is None:
            return EpochLog()
        state = json.loads((Path(checkpoint) / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return EpochLog()
    log.epochs = [epoch for epoch in log.epochs if epoch["epoch"] <= float(state["epoch"]) + 1e-6]
    best = max(log.epochs, key=lambda epoch: float(epoch["score"]), default=None)
    log.best_score = None if best is None else float(best["score"])
    log.best_epoch = 0 if best is None else int(best["epoch"])
    return log


def _newest_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written whole; a half-written one is removed."""
    while (found := get_last_checkpoint(str(folder))) is not None:
        try:
            json.loads((Path(found) / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it is written last: the kill came before
            shutil.rmtree(found)
            continue
        return str(found)
    return None
