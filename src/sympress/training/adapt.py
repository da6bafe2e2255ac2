"""Masked-language-model training of an encoder on the user's own notes, before it learns the task.

Task-adaptive pretraining of Gururangan et al. 2020 ("Don't Stop Pretraining", section 4) with the masking
of Devlin et al. 2019 (section 3.1, task 1), drawn anew each time a note is seen (Liu et al. 2019).
Whether it helped is judged on notes held out from it, under masks that never change.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sympress.claim import check_claim
from sympress.errors import InputError, nearest
from sympress.extras import bundled_encoder_folder
from sympress.files import full_disk_explained, read_object, write_json
from sympress.notes.duplicates import group_notes
from sympress.notes.placeholders import mask_placeholders
from sympress.notes.split import assign_part, groups_of, patient_keys, split_notes
from sympress.progress import Reporter
from sympress.study.inputs import fingerprint_frame, fingerprint_texts
from sympress.training.data import EncodedNotes, NoteDataset, encode_texts
from sympress.training.encoder import BUNDLED, load_encoder, save_encoder
from sympress.training.epochs import EpochLog, Progress
from sympress.training.fingerprint import fingerprint_encoder
from sympress.training.heldout import DESCRIPTION, MINIMUM_NOTES, Judge, hold_out
from sympress.training.masked import MaskedLanguageModel, Masking, masked_language_model
from sympress.training.precision import default_device
from sympress.training.settings import TrainSettings
from sympress.training.train import train

#: Which notes may be left out: those that a study with this split would judge.
SPLITS = ("patient", "time", "none")
#: Learning rate of a fresh head while the encoder stands still.
HEAD_RATE = 1e-3
#: A fall of the held-out loss counts from this many standard errors on.
CERTAIN_ERRORS = 2.0


@dataclass(frozen=True)
class AdaptSettings:
    """How to adapt: AdamW with a linear schedule and 6 % warm-up, as in Gururangan et al. 2020, table 13.

    Attributes:
        epochs: passes over the notes.
        batch_size: notes a step.
        learning_rate: the largest one.
        seed: of the masks, the order, the held-out notes and a fresh head.
        max_tokens: longest input in word pieces; what comes after is not seen.
        held_out_share: share of the notes that only judge, above 0 and below 1.
    """

    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 5e-5
    seed: int = 0
    max_tokens: int = 256
    held_out_share: float = 0.05


@dataclass(frozen=True)
class AdaptLog:
    """What came of it.

    Attributes:
        notes: learnt from.
        held_out: notes that judged.
        empty: notes left out because they have no word piece to mask.
        truncated: notes longer than the limit.
        fresh_head: True where the checkpoint had no masked-language head, so that one was trained first.
        before: held-out loss (nats a masked word piece) before the encoder changed.
        epochs: after each epoch `loss`, its `fall` from `before`, and the `standard_error` of the fall.
        best_epoch: the epoch that was kept; 0 if the encoder is as it was.
        seconds: of training.
    """

    notes: int
    held_out: int
    empty: int
    truncated: int
    fresh_head: bool
    before: float
    epochs: tuple[dict[str, float], ...]
    best_epoch: int
    seconds: float

    @property
    def helped(self) -> bool:
        """True if the held-out loss fell by more than chance explains."""
        return self.best_epoch > 0

    def verdict(self) -> str:
        """One sentence: how the held-out loss changed, and what became of the encoder."""
        best = min(self.epochs, key=lambda epoch: epoch["loss"])
        change = (
            f"loss on {self.held_out:,} held-out notes {self.before:.3f} before, {best['loss']:.3f} at best "
            f"(fall {best['fall']:.4f}, standard error {best['standard_error']:.4f})"
        )
        if not self.helped:
            return f"adapting did not help: {change}; the encoder is left as it was"
        return f"the encoder knows these notes better: {change}; epoch {self.best_epoch} is kept"


def training_side(
    frame: pl.DataFrame, split: str, validation_from: datetime | None = None
) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Notes that no study with this split judges, and the group (patients and copies) of each.

    A group goes as a whole if any of its notes would be judged: a study may see but a part of the group.

    Raises:
        InputError: the split is by time and a note has none.
    """
    copies = group_notes(frame)
    groups = groups_of(frame, copies)
    if split == "none":
        return frame, groups
    if split == "patient":
        judged = np.array([assign_part(patient) != "train" for patient in patient_keys(frame)])
    elif validation_from is not None:
        if frame["time"].null_count():
            raise InputError(f"split by time: {frame['time'].null_count()} notes have no time; use another")
        judged = (frame["time"] >= validation_from).to_numpy()
    else:
        sides = split_notes(frame, copies, rule="time")
        border = frame[np.concatenate([sides.validation, sides.test])]["time"].min()
        judged = (frame["time"] >= border).to_numpy()
    kept = ~np.isin(groups, groups[judged])
    return frame.filter(pl.Series(kept, dtype=pl.Boolean)), groups[kept]


def adapt(
    notes: pl.DataFrame,
    output: str | Path,
    *,
    encoder: str = BUNDLED,
    split: str = "patient",
    validation_from: datetime | None = None,
    settings: AdaptSettings | None = None,
    reporter: Reporter | None = None,
) -> AdaptLog:
    """Adapt `encoder` to `notes` and write it to `output` with `adapt.json`, or read what is finished there.

    A call that was interrupted goes on where it stopped if it is repeated.

    Args:
        notes: `NOTE_SCHEMA`, as `read_notes` gives them.
        output: folder of the adapted encoder.
        encoder: `bundled`, a folder, or a Hugging Face id.
        split: `patient`, `time` or `none`; notes that a study with this split would judge are left out.
        validation_from: first time that is left out, of split `time`.
        settings: how to learn.
        reporter: where progress goes; None for nowhere.

    Raises:
        InputError: a setting cannot be; `output` holds something else, or was begun with other notes,
            settings or encoder; or there are too few notes.
    """
    output, settings, reporter = Path(output), settings or AdaptSettings(), reporter or Reporter(quiet=True)
    check_choices(settings, split, validation_from)
    _check_free(output)
    kept, groups = training_side(notes, split, validation_from)
    left_out = notes.height - kept.height
    reporter.say(
        f"read {notes.height:,} notes"
        + (f"; {left_out:,} that a study would judge are left out (split {split})" if left_out else "")
    )
    about = {
        "encoder": Path(encoder).name if Path(encoder).is_absolute() else encoder,
        "split": split,
        "validation_from": None if validation_from is None else validation_from.isoformat(),
    }
    with full_disk_explained(output):
        return _adapt_folder(encoder, kept, groups, settings, about=about, output=output, reporter=reporter)


def check_choices(settings: AdaptSettings, split: str, validation_from: datetime | None) -> None:
    """Check what needs no note.

    Raises:
        InputError: a setting cannot be.
    """
    _check(settings)
    if split not in SPLITS:
        raise InputError(f"--split {split!r} is not one of {', '.join(SPLITS)}{nearest(split, SPLITS)}")
    if validation_from is not None and split != "time":
        raise InputError(f"--validation-from belongs to --split time, the split is {split!r}")


def _adapt_folder(
    encoder: str,
    notes: pl.DataFrame,
    groups: NDArray[np.int64],
    settings: AdaptSettings,
    *,
    about: dict[str, Any],
    output: Path,
    reporter: Reporter,
) -> AdaptLog:
    loaded = load_encoder(encoder)
    claim = {
        "settings": asdict(settings),
        "inputs": {
            "notes": fingerprint_texts([fingerprint_frame(notes), str(groups.tolist())]),
            "encoder": fingerprint_encoder(loaded),
        },
    }
    done = _finished(output, claim)
    if done is not None:
        reporter.say("done before")
        return AdaptLog(**(done | {"epochs": tuple(done["epochs"])}))
    for warning in loaded.warnings:
        reporter.say(f"note: {warning}")
    work = output / "work"
    write_json(work / "claim.json", claim)
    log = adapt_encoder_(
        loaded.model,
        loaded.tokenizer,
        [mask_placeholders(text) for text in notes["text"]],
        settings,
        work,
        groups=groups,
        head_from=str(bundled_encoder_folder()) if encoder == BUNDLED else encoder,
        progress=lambda steps, total: reporter.step("adapting", steps, total),
    )
    save_encoder(loaded, work / "encoder-folder")
    for file in sorted((work / "encoder-folder").iterdir()):
        file.replace(output / file.name)
    write_json(
        output / "adapt.json", {"format": 2, **about, **claim, "helped": log.helped, "log": asdict(log)}
    )
    shutil.rmtree(work)
    return log


def _check_free(output: Path) -> None:
    """Refuse what is no adaptation, before an encoder is loaded."""
    if output.exists() and not (output.is_dir() and not any(output.iterdir())) and _stored(output) is None:
        raise InputError(f"{output}: exists and is not an adapted encoder; choose another -o")


def _stored(output: Path) -> dict[str, Any] | None:
    """What a finished adaptation, or one that was cut off, says of itself."""
    finished = read_object(output / "adapt.json")
    return read_object(output / "work" / "claim.json") if finished is None else finished


def _finished(output: Path, claim: dict[str, Any]) -> dict[str, Any] | None:
    """The log of this very adaptation if it is finished; None if it is not begun or was cut off."""
    found = _stored(output)
    if found is None:
        return None
    check_claim(output, found, claim["settings"], claim["inputs"])
    log: dict[str, Any] | None = found.get("log")
    return log


def adapt_encoder_(
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    settings: AdaptSettings,
    folder: Path,
    *,
    groups: NDArray[np.int64] | None = None,
    head_from: str | None = None,
    progress: Progress | None = None,
) -> AdaptLog:
    """Train `encoder` in place as a masked language model; it ends as the best epoch, or as it was.

    The head stands still meanwhile, unlike in the paper, so that whatever the held-out loss falls by is the
    encoder's doing. A fresh head is trained beforehand, for one epoch in which the encoder stands still:
    `before` is the loss of a head that knows the encoder, and no noise of an untrained one reaches it.

    Args:
        encoder: whole, before any compression; on the CPU afterwards.
        tokenizer: the encoder's, with a mask token.
        texts: notes to learn from, none of which will be judged later.
        settings: rates, epochs, seed.
        folder: for checkpoints; a killed run with the same arguments goes on there and ends with the same
            weights. Removed by the caller.
        groups: `(texts,)`, equal for notes of one patient and for copies; whole groups are held out.
            None: equal texts are a group.
        head_from: folder or id of the checkpoint that may hold the masked-language head.
        progress: called after each step, of the head's own epoch too.

    Raises:
        InputError: too few notes, no mask token, or an architecture without a masked-language head.
        SympressError: the loss became infinite or not a number.
    """
    _check(settings)
    masking = Masking(tokenizer, encoder)
    notes = encode_texts(tokenizer, texts, settings.max_tokens)
    usable = [row for row, ids in enumerate(notes.ids) if masking.has_words(ids)]
    if len(usable) < MINIMUM_NOTES:
        raise InputError(f"adapting needs at least {MINIMUM_NOTES} notes with words; these are {len(usable)}")
    if groups is None:
        number: dict[str, int] = {}
        groups = np.array([number.setdefault(text, len(number)) for text in texts], dtype=np.int64)
    learnt, judged = hold_out(groups[usable], settings.held_out_share, settings.seed)
    model, fresh = masked_language_model(encoder, head_from, settings.seed)
    training = _dataset(notes, [usable[row] for row in learnt])
    pad_id = int(tokenizer.pad_token_id or 0)
    fixed = Masking(tokenizer, encoder, settings.seed)
    judge = Judge.of(fixed, _dataset(notes, [usable[row] for row in judged]), pad_id)
    whole = copy.deepcopy(encoder.state_dict())
    model.to(default_device())
    teach = partial(_train, model, training, masking, pad_id=pad_id, progress=progress)
    head_seconds = 0.0
    if fresh:
        model.let_learn_(encoder=False)
        head_seconds = teach(
            replace(settings, epochs=1, learning_rate=HEAD_RATE), folder=folder / "head"
        ).seconds
    before = judge.losses(model)
    model.let_learn_(encoder=True)
    log = teach(settings, folder=folder / "encoder", judge=judge, before=before)
    epochs = tuple({key: float(epoch[key]) for key in DESCRIPTION} for epoch in log.epochs)
    best = min(epochs, key=lambda epoch: epoch["loss"])
    helped = best["fall"] > CERTAIN_ERRORS * best["standard_error"]
    encoder.cpu().eval()
    if not helped:
        encoder.load_state_dict(whole)
    return AdaptLog(
        notes=len(learnt),
        held_out=len(judged),
        empty=len(texts) - len(usable),
        truncated=notes.truncated,
        fresh_head=fresh,
        before=float(before.sum() / judge.masked),
        epochs=epochs,
        best_epoch=log.best_epoch if helped else 0,
        seconds=log.seconds + head_seconds,
    )


def _check(settings: AdaptSettings) -> None:
    if settings.learning_rate <= 0:
        raise InputError(f"--learning-rate {settings.learning_rate:g}: give one above 0")
    if not 0 < settings.held_out_share < 1:
        raise InputError(f"held-out share {settings.held_out_share:g}: give one above 0 and below 1")


def _dataset(notes: EncodedNotes, rows: Sequence[int]) -> NoteDataset:
    ids = tuple(notes.ids[row] for row in rows)
    return NoteDataset(EncodedNotes(ids, 0), np.zeros((len(ids), 1), dtype=np.uint8))


def _train(
    model: MaskedLanguageModel,
    training: NoteDataset,
    masking: Masking,
    settings: AdaptSettings,
    *,
    folder: Path,
    pad_id: int,
    progress: Progress | None,
    judge: Judge | None = None,
    before: NDArray[np.float64] | None = None,
) -> EpochLog:
    """Train with the studies' trainer; masks come from the random state that its checkpoints hold."""

    def loss(trained: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        ids, mask = batch["input_ids"], batch["attention_mask"]
        masked, chosen = masking.apply(ids, mask)
        return functional.cross_entropy(trained(masked, mask, chosen).float(), ids[chosen])

    def score(_no_logits: NDArray[np.float32]) -> tuple[float, dict[str, Any]]:
        if judge is None or before is None:
            return 0.0, {}
        description = judge.describe(before, judge.losses(model))
        return -description["loss"], description

    return train(
        cast("Any", model),
        training,
        _dataset(training.notes, []),  # the judge has the held-out notes
        TrainSettings(
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            schedule="linear",
            warmup_share=0.06,
            seed=settings.seed,
            select="last" if judge is None else "best",
        ),
        folder,
        pad_id=pad_id,
        score=score,
        batch_loss=cast("Any", loss),
        progress=progress,
    )
