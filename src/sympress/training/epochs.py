"""Settings of a training, and what happens between its steps: scoring, keeping, logging, resuming."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from sympress.errors import InputError, nearest
from sympress.files import atomic_path, write_json
from sympress.models.model import SymptomModel
from sympress.training.data import Collate, NoteDataset

# How a model is trained: the settings of one training.


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


# Which device is used, and half-precision arithmetic where it has instructions for it.


#: What may be asked for. `auto` is CUDA where there is one, else the CPU; MPS, Apple's, by name only.
DEVICES = ("auto", "cpu", "cuda", "mps")
_DEVICE: ContextVar[str] = ContextVar("device", default="auto")


def check_device(name: str) -> None:
    """See that a device can be used.

    Raises:
        InputError: there is none of that name, or PyTorch cannot use it here.
    """
    if name not in DEVICES:
        known = ", ".join(DEVICES)
        raise InputError(f"--device {name}: unknown{nearest(name, DEVICES)}; choose from {known}")
    missing = name == "cuda" and not torch.cuda.is_available()
    if missing or (name == "mps" and not torch.backends.mps.is_available()):
        message = "PyTorch cannot use one here; choose cpu, or install its build for it"
        raise InputError(f"--device {name}: {message}")


@contextmanager
def on_device(name: str) -> Iterator[None]:
    """Train on this device until the block ends.

    Raises:
        InputError: as `check_device`.
    """
    check_device(name)
    before = _DEVICE.set(name)
    try:
        yield
    finally:
        _DEVICE.reset(before)


def default_device() -> torch.device:
    """Where a model is trained: what `on_device` says, else on the GPU, if there is one."""
    name = _DEVICE.get()
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def visible_gpus() -> int:
    """How many GPUs this process sees; a training uses one of them (CUDA_VISIBLE_DEVICES says which)."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def has_bf16(device: torch.device) -> bool:
    """True if `device` multiplies bfloat16 in hardware: a recent GPU, or a CPU with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def mixed_precision(device: torch.device) -> torch.autocast:
    """A context in which matrix products run in bfloat16 on a device that has it, else as they are.

    Weights, sums and losses stay in 32 bits. On a CPU with AVX512-BF16, training is 2.5 times faster.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=has_bf16(device))


# Logits of many notes from a PyTorch model.


@torch.inference_mode()
def predict_logits(
    model: SymptomModel, notes: NoteDataset, pad_id: int, batch_size: int = 32, *, mixed: bool = False
) -> NDArray[np.float32]:
    """Logits `(notes, K)` in the order of `notes`, on the device the model is on, without dropout.

    Windows run `batch_size` at a time, whatever notes they belong to. Of a model that answers for each token:
    `(tokens, tags)`, of all notes one behind the other.

    `mixed` precision is several times faster where the device has it, and accurate to three digits.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    lengths = notes.notes.lengths
    per_token = notes.per_token
    rows_in_all = int(lengths.sum()) if per_token else len(lengths)
    result = np.zeros((rows_in_all, model.symptoms), dtype=np.float32)
    ends = np.cumsum(lengths)
    order = np.argsort(lengths, kind="stable")
    collate = Collate(pad_id)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = collate.pad([torch.from_numpy(notes.notes.ids[row]) for row in rows])
        with mixed_precision(device) if mixed else nullcontext():
            logits = model(batch["input_ids"].to(device), batch["attention_mask"].to(device))
        answers = logits.float().cpu().numpy()
        if not per_token:
            result[rows] = answers
            continue
        for row, answer in zip(rows, answers, strict=True):
            result[ends[row] - lengths[row] : ends[row]] = answer[: lengths[row]]
    model.train(was_training)
    return result if per_token else notes.notes.pool(result)


# Between the steps of a training: epochs are scored, kept and logged, and read again after a kill.


@dataclass
class EpochLog:
    """What is known after each epoch; written beside the checkpoints so that a resumed run has it all."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    best_score: float | None = None
    best_epoch: int = 0


#: Validation logits, as `predict_logits` gives them -> (score to select by, JSON that describes the epoch).
Scorer = Callable[[NDArray[np.float32]], tuple[float, dict[str, Any]]]
#: Called after each step with (steps done, steps in all).
Progress = Callable[[int, int], None]


# The hooks have the names and arguments that transformers calls them with, used or not.
@dataclass(eq=False, kw_only=True)
class Watcher(TrainerCallback):
    """Scores each epoch, keeps the best weights, counts time, calls back after each step."""

    model: SymptomModel
    validation: NoteDataset
    pad_id: int
    score: Scorer
    folder: Path
    log: EpochLog
    settings: TrainSettings
    after_step: Callable[[], None] | None
    progress: Progress | None
    _clock: float = field(default_factory=time.perf_counter)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock; score an epoch whose checkpoint was written before the kill."""
        self._clock = time.perf_counter()
        steps = state.max_steps // self.settings.epochs
        if state.global_step > 0 and state.global_step % steps == 0:
            # the checkpoint that closes an epoch is written before that epoch is scored
            self.on_epoch_end(args, state, control)

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Call `after_step`."""
        if self.after_step is not None:
            self.after_step()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Say how far it is."""
        if self.progress is not None:
            self.progress(state.global_step, state.max_steps)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the log beside the checkpoint."""
        self._write_log()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Score the epoch and keep its weights if `select` wants them."""
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
        with atomic_path(self.folder / f"{name}.safetensors") as draft:
            save_file(state_dict, draft)

    def _write_log(self) -> None:
        now = time.perf_counter()
        self.log.seconds += now - self._clock
        self._clock = now
        write_json(self.folder / "epochs.json", asdict(self.log))


def average_weights(files: list[Path]) -> dict[str, Tensor]:
    """The mean of the weights in `files`, name by name (Izmailov et al. 2018); integers are the last's."""
    mean = load_file(files[-1])
    floats = [name for name, value in mean.items() if value.is_floating_point()]
    total = {name: mean[name].double() for name in floats}
    for path in files[:-1]:
        state = load_file(path)
        for name in floats:
            total[name] += state[name]
    return mean | {name: (total[name] / len(files)).to(mean[name].dtype) for name in floats}


def read_log(folder: Path) -> EpochLog:
    """The log up to the newest checkpoint; later epochs will be run, and scored, again."""
    try:
        log = EpochLog(**json.loads((folder / "epochs.json").read_text(encoding="utf-8")))
        checkpoint = newest_checkpoint(folder)
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


def newest_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written whole; a half-written one is removed."""
    while (found := get_last_checkpoint(str(folder))) is not None:
        try:
            json.loads((Path(found) / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it is written last: the kill came before
            shutil.rmtree(found)
            continue
        return str(found)
    return None
