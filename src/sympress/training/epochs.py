"""Between the steps of a training: epochs are scored, kept and logged, and read again after a kill."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from sympress.files import atomic_path, write_json
from sympress.training.data import NoteDataset
from sympress.training.model import SymptomModel
from sympress.training.predict import predict_logits
from sympress.training.settings import TrainSettings


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
class Watcher(TrainerCallback):
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
