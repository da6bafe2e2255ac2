"""Train a model with transformers' Trainer: resumable, reproducible, scored after every epoch."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from transformers import PrinterCallback, Trainer, TrainingArguments

from sympress.errors import SympressError
from sympress.models.model import SymptomModel
from sympress.training.data import (
    WINDOWS_AT_ONCE,
    Collate,
    LengthGroupedSampler,
    NoteDataset,
    note_logits,
    notes_in,
    split_batch,
)
from sympress.training.epochs import (
    EpochLog,
    Progress,
    Scorer,
    TrainSettings,
    Watcher,
    average_weights,
    default_device,
    has_bf16,
    newest_checkpoint,
    read_log,
)
from sympress.training.losses import Objective

_LOG = logging.getLogger("sympress")
#: (model in training, batch on its device) -> scalar loss; for what needs more than the logits.
BatchLoss = Callable[[SymptomModel, dict[str, Tensor]], Tensor]


def train(
    model: SymptomModel,
    training: NoteDataset,
    validation: NoteDataset,
    settings: TrainSettings,
    folder: Path,
    *,
    pad_id: int,
    score: Scorer,
    batch_loss: BatchLoss,
    after_step: Callable[[], None] | None = None,
    progress: Progress | None = None,
    device: torch.device | None = None,
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
        batch_loss: what to minimise, from model and batch; see `from_logits`.
        after_step: called after each optimizer step, e.g. to put masks back on.
        progress: called after each step.
        device: where to train; `default_device()` if None.

    Raises:
        SympressError: the loss became infinite or not a number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = read_log(folder)
    watcher = Watcher(
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
        args=training_arguments(settings, folder, len(training), device or default_device()),
        train_dataset=training,
        data_collator=Collate(pad_id),
        callbacks=[watcher],
        batch_loss=batch_loss,
        sampler=LengthGroupedSampler(training, settings.batch_size, settings.seed),
        settings=settings,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=newest_checkpoint(folder))
    trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)  # else it stays in half precision
    for left in ("forward", "_is_accelerate_prepared"):  # with these a second training of the model would
        vars(model).pop(left, None)  # not be set up for mixed precision
    if settings.select == "average":
        model.load_state_dict(average_weights(sorted(folder.glob("epoch-*.safetensors"))))
    if settings.select == "best" and (folder / "best.safetensors").is_file():
        model.load_state_dict(load_file(folder / "best.safetensors"))
    model.eval()
    return log


def training_arguments(
    settings: TrainSettings, folder: Path, notes: int, device: torch.device
) -> TrainingArguments:
    """What transformers' Trainer is told; a step takes `batch_size` notes, however many GPUs there are."""
    cuda, bf16 = device.type == "cuda", has_bf16(device)
    steps = math.ceil(notes / settings.batch_size)
    arguments = TrainingArguments(
        output_dir=str(folder),
        use_cpu=device.type == "cpu",
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        lr_scheduler_type=settings.schedule,
        warmup_steps=round(settings.warmup_share * steps * settings.epochs),
        max_grad_norm=settings.clip_norm,
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
    if arguments.n_gpu > 1:  # Trainer would put `batch_size` notes on each of them at every step
        _LOG.warning("%d GPUs are visible and one is used; CUDA_VISIBLE_DEVICES says which", arguments.n_gpu)
        arguments._n_gpu = 1
    return arguments


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
        self._share = 1.0  # of the batch, in the part of it that is run

    def _get_train_sampler(self, train_dataset: Dataset[Any] | None = None) -> Sampler[int]:
        return self._sampler

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Gradients of one batch, in parts where its notes have more windows than are run at once.

        A part counts as the share of the notes it holds: the sum is the gradient of the mean over the batch.
        """
        most = max(WINDOWS_AT_ONCE, self._settings.batch_size)
        parts, notes = split_batch(inputs, most), notes_in(inputs)
        losses = []
        for part in parts:
            self._share = notes_in(part) / notes
            losses.append(super().training_step(model, part, num_items_in_batch))
        return torch.stack(losses).sum()

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
        loss = loss * self._share
        return (loss, {}) if return_outputs else loss

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = torch.optim.AdamW(
                parameter_groups(self._trained, self._settings), lr=self._settings.learning_rate, fused=True
            )
        return self.optimizer


def from_logits(objective: Objective) -> BatchLoss:
    """The loss of a batch that depends on the logits alone."""

    def loss(model: SymptomModel, batch: dict[str, Tensor]) -> Tensor:
        logits = note_logits(model, batch).float()
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
            fresh = name.startswith(("head.", "projections.", "kinds."))
            groups.setdefault((fresh, parameter.ndim >= 2), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": settings.learning_rate * (settings.head_rate_ratio if head else 1.0),
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (head, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


# How much of its activations a model drops while it trains.


@contextmanager
def dropping(model: nn.Module, share: float | None) -> Iterator[None]:
    """Within it `model` drops `share` of its activations wherever it drops any; as before if None.

    Afterwards everything is as it was.
    """
    places = [] if share is None else list(_places(model))
    before = [getattr(module, name) for module, name in places]
    try:
        for module, name in places:
            setattr(module, name, share)
        yield
    finally:
        for (module, name), own in zip(places, before, strict=True):
            setattr(module, name, own)


def _places(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            yield module, "p"
        elif isinstance(getattr(module, "attention_dropout", None), float):  # ModernBERT drops by hand
            yield module, "attention_dropout"
