"""Masked-language-model training of an encoder on the user's own notes, before it learns the task."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import DataCollatorForLanguageModeling, PreTrainedModel, PreTrainedTokenizerBase

from sympress.config import check_seed
from sympress.errors import InputError, bundled_encoder_folder, nearest
from sympress.files import check_claim, full_disk_explained, read_object, write_json
from sympress.models.encoder import (
    BUNDLED,
    Encoder,
    MaskedLanguageModel,
    check_has_head,
    fingerprint_encoder,
    load_encoder,
    masked_language_model,
    save_encoder,
    token_limit,
)
from sympress.models.families import check_kept, keep_layers_, layers_of, spread_layers
from sympress.notes.intake import mask_placeholders
from sympress.notes.split import assign_part, group_notes, groups_of, patient_keys, split_notes
from sympress.progress import Reporter
from sympress.provenance import fingerprint_frame, fingerprint_texts
from sympress.training import train
from sympress.training.data import Collate, EncodedNotes, NoteDataset, encode_texts
from sympress.training.epochs import EpochLog, Progress, TrainSettings, default_device, mixed_precision
from sympress.training.losses import IGNORED

# The masks that an encoder learns from.


class Masking:
    """Which word pieces are chosen and what they become, drawn by transformers' collator.

    15 % are chosen, of which 80 % become the mask token and 10 % a random piece (Devlin et al. 2019); special
    tokens (padding, separators, unknown) never are. Without a seed the draws come from PyTorch's own random
    state, which the trainer's checkpoints hold.

    Raises:
        InputError: the tokenizer has no mask token.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, encoder: PreTrainedModel, seed: int | None = None
    ) -> None:
        if tokenizer.mask_token_id is None:
            raise InputError("this tokenizer has no mask token, so its encoder cannot be adapted")
        self._special = sorted(int(special) for special in tokenizer.all_special_ids)
        self._last = int(encoder.config.vocab_size) - 1  # a tokenizer may know more pieces than the encoder
        self._collator = DataCollatorForLanguageModeling(tokenizer, seed=seed)
        if seed is not None:
            self._collator.create_rng()

    def has_words(self, ids: NDArray[np.int64]) -> bool:
        """True if a note has a word piece that may be chosen."""
        return bool((~np.isin(ids, self._special)).any())

    def apply(self, ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mask `ids` `(batch, tokens)`, at least one of a batch that has words.

        Returns:
            The masked ids, and which were chosen, both `(batch, tokens)`.
        """
        barred = torch.isin(ids, torch.tensor(self._special, device=ids.device)) | (attention_mask == 0)
        while True:
            masked, labels = self._collator.torch_mask_tokens(
                ids.cpu().clone(), special_tokens_mask=barred.cpu()
            )
            chosen = labels != IGNORED
            if chosen.any() or barred.all():
                return masked.clamp(max=self._last).to(ids.device), chosen.to(ids.device)


# Notes held out from masked-language training: which they are, and what they say of the model.


#: With fewer notes neither training nor the held-out loss says anything.
MINIMUM_NOTES = 20
#: What `Judge.describe` says.
DESCRIPTION = ("loss", "fall", "standard_error")
_SCORING_BATCH = 32


def hold_out(groups: NDArray[np.int64], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Rows to learn from and rows that judge; the groups that judge are drawn by `seed`."""
    names, sizes = np.unique(groups, return_counts=True)
    if len(names) < MINIMUM_NOTES:
        raise InputError(
            f"adapting needs at least {MINIMUM_NOTES} different notes or patients; these are {len(names)}"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    enough = int(np.searchsorted(np.cumsum(sizes[order]), share * len(groups))) + 1
    chosen = names[order[: min(max(enough, 2), len(names) - 1)]]
    held_out = np.isin(groups, chosen)
    return np.flatnonzero(~held_out).tolist(), np.flatnonzero(held_out).tolist()


@dataclass(frozen=True)
class Judge:
    """Held-out notes in batches under masks that never change."""

    batches: tuple[dict[str, Tensor], ...]
    counts: NDArray[np.int64]  # masked word pieces a note

    @classmethod
    def of(cls, masking: Masking, notes: NoteDataset, pad_id: int) -> Judge:
        """Draw the masks of `notes`, by the seed of `masking` alone."""
        collate, batches = Collate(pad_id), []
        order = np.argsort(notes.notes.lengths, kind="stable")
        for start in range(0, len(order), _SCORING_BATCH):
            batch = collate([notes[int(row)] for row in order[start : start + _SCORING_BATCH]])
            masked, chosen = masking.apply(batch["input_ids"], batch["attention_mask"])
            batches.append(batch | {"masked": masked, "chosen": chosen})
        counts = torch.cat([batch["chosen"].sum(1) for batch in batches])
        return cls(tuple(batches), counts.numpy())

    @property
    def masked(self) -> int:
        """Masked word pieces in all."""
        return int(self.counts.sum())

    @torch.no_grad()
    def losses(self, model: MaskedLanguageModel) -> NDArray[np.float64]:
        """Summed cross-entropy of each note's masked word pieces, `(notes,)`, without dropout."""
        was_training = model.training
        model.eval()
        device = next(model.parameters()).device
        sums = []
        for batch in self.batches:
            masked, mask, chosen = (batch[key].to(device) for key in ("masked", "attention_mask", "chosen"))
            with mixed_precision(device):
                logits = model(masked, mask, chosen)
            truth = batch["input_ids"][batch["chosen"]].to(device)
            loss = functional.cross_entropy(logits.float(), truth, reduction="none").cpu().double()
            note = batch["chosen"].nonzero()[:, 0]  # (masked,) row of each loss
            sums.append(torch.zeros(len(masked), dtype=torch.float64).index_add_(0, note, loss))
        model.train(was_training)
        result: NDArray[np.float64] = torch.cat(sums).numpy()
        return result

    def describe(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> dict[str, float]:
        """Loss, its fall and the fall's standard error (ratio estimator over notes; Cochran 1977, 2.45)."""
        notes = len(self.counts)
        fall = (before - after).sum() / self.masked
        spread = (before - after) - fall * self.counts
        error = np.sqrt(notes / (notes - 1) * (spread**2).sum()) / self.masked
        values = (after.sum() / self.masked, fall, error)
        return dict(zip(DESCRIPTION, (float(value) for value in values), strict=True))


# Masked-language-model training of an encoder on the user's own notes, before it learns the task.
#
# Task-adaptive pretraining of Gururangan et al. 2020 ("Don't Stop Pretraining", section 4) with the masking
# of Devlin et al. 2019 (section 3.1, task 1), drawn anew each time a note is seen (Liu et al. 2019).
# An encoder that loses layers meanwhile learns what the whole one says of hidden words as well (Sanh et al.
# 2019, DistilBERT; on clinical notes Rohanian et al. 2023, "Lightweight transformers for clinical NLP").
# Whether it helped is judged on notes held out from it, under masks that never change.


#: Which notes may be left out: those that a study with this split would judge.
SPLITS = ("patient", "time", "none")
#: Learning rate of a fresh head while the encoder stands still.
HEAD_RATE = 1e-3
#: Of the loss of an encoder that loses layers: the share, and the temperature, of the whole one's answers.
TEACHER_SHARE = 0.5
TEACHER_TEMPERATURE = 2.0
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
        max_tokens: longest input in word pieces, or what the encoder takes; what comes after is not seen.
        held_out_share: share of the notes that only judge, above 0 and below 1.
        layers: how many layers stay, evenly spread; what they predict is taught by the whole encoder, too.
            None for all.
    """

    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 5e-5
    seed: int = 0
    max_tokens: int = 256
    held_out_share: float = 0.05
    layers: int | None = None

    def as_stored(self) -> dict[str, Any]:
        """The settings for `adapt.json`; `layers` only where some go."""
        return {name: value for name, value in asdict(self).items() if value is not None}


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
    output: Path,
    *,
    encoder: Encoder,
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
        encoder: of `open_adaptable`.
        split: `patient`, `time` or `none`; notes that a study with this split would judge are left out.
        validation_from: first time that is left out, of split `time`.
        settings: how to learn.
        reporter: where progress goes; None for nowhere.

    Raises:
        InputError: `output` was begun with other notes, settings or encoder, or there are too few notes.
    """
    settings, reporter = settings or AdaptSettings(), reporter or Reporter(quiet=True)
    kept, groups = training_side(notes, split, validation_from)
    left_out = notes.height - kept.height
    reporter.say(
        f"read {notes.height:,} notes"
        + (f"; {left_out:,} that a study would judge are left out (split {split})" if left_out else "")
    )
    about = {
        "encoder": Path(encoder.name).name if Path(encoder.name).is_absolute() else encoder.name,
        "split": split,
        "validation_from": None if validation_from is None else validation_from.isoformat(),
    }
    with full_disk_explained(output):
        return _adapt_folder(encoder, kept, groups, settings, about=about, output=output, reporter=reporter)


def open_adaptable(
    name: str, output: Path, settings: AdaptSettings, split: str, validation_from: datetime | None
) -> Encoder:
    """Load the encoder `name` (`bundled`, a folder, or a Hugging Face id), and check all that needs no note.

    Raises:
        InputError: a setting cannot be, `output` holds something else, or the encoder cannot be loaded or has
            no mask token, no masked-language head or fewer layers than are to stay.
    """
    _check(settings)
    if split not in SPLITS:
        raise InputError(f"--split {split!r} is not one of {', '.join(SPLITS)}{nearest(split, SPLITS)}")
    if validation_from is not None and split != "time":
        raise InputError(f"--validation-from belongs to --split time, the split is {split!r}")
    _check_free(output)
    encoder = load_encoder(name)
    Masking(encoder.tokenizer, encoder.model)
    check_has_head(encoder.model)
    if settings.layers is not None:
        check_kept(len(layers_of(encoder.model)), settings.layers)
    return encoder


def _adapt_folder(
    loaded: Encoder,
    notes: pl.DataFrame,
    groups: NDArray[np.int64],
    settings: AdaptSettings,
    *,
    about: dict[str, Any],
    output: Path,
    reporter: Reporter,
) -> AdaptLog:
    claim = {
        "settings": settings.as_stored(),
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
        head_from=str(bundled_encoder_folder()) if loaded.name == BUNDLED else loaded.name,
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

    With `layers` of the settings it loses the others first, and learns from the whole one's answers, too.

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
    most = token_limit(Encoder("the encoder", encoder, tokenizer), settings.max_tokens)
    settings = replace(settings, max_tokens=most)
    masking, pad_id = Masking(tokenizer, encoder), int(tokenizer.pad_token_id or 0)
    training, held_out, counts = _two_sides(masking, texts, tokenizer, settings, groups)
    model, fresh = masked_language_model(encoder, head_from, settings.seed)
    judge = Judge.of(Masking(tokenizer, encoder, settings.seed), held_out, pad_id)
    model.to(default_device())
    teach = partial(_train, training=training, masking=masking, pad_id=pad_id, progress=progress)
    head_seconds = 0.0
    if fresh:
        model.let_learn_(encoder=False)
        fast = replace(settings, epochs=1, learning_rate=HEAD_RATE)
        head_seconds = teach(model, settings=fast, folder=folder / "head").seconds
    teacher = None
    if settings.layers is not None:
        model, teacher = _lose_layers_(model, settings.layers)
    whole = copy.deepcopy(encoder.state_dict())
    before = judge.losses(model)
    model.let_learn_(encoder=True)
    log = teach(
        model, settings=settings, folder=folder / "encoder", judge=judge, before=before, teacher=teacher
    )
    epochs = tuple({key: float(epoch[key]) for key in DESCRIPTION} for epoch in log.epochs)
    best = min(epochs, key=lambda epoch: epoch["loss"])
    helped = best["fall"] > CERTAIN_ERRORS * best["standard_error"]
    encoder.cpu().eval()
    if not helped:
        encoder.load_state_dict(whole)
    return AdaptLog(
        **counts,
        fresh_head=fresh,
        before=float(before.sum() / judge.masked),
        epochs=epochs,
        best_epoch=log.best_epoch if helped else 0,
        seconds=log.seconds + head_seconds,
    )


def _check(settings: AdaptSettings) -> None:
    check_seed(settings.seed)
    if not 0 < settings.learning_rate < math.inf:
        raise InputError(f"--learning-rate {settings.learning_rate:g}: give one above 0")
    if not 0 < settings.held_out_share < 1:
        raise InputError(f"held-out share {settings.held_out_share:g}: give one above 0 and below 1")


def _two_sides(
    masking: Masking,
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    settings: AdaptSettings,
    groups: NDArray[np.int64] | None,
) -> tuple[NoteDataset, NoteDataset, dict[str, int]]:
    """Notes to learn from, notes held out, and how many there are, as `AdaptLog` has them."""
    notes = encode_texts(tokenizer, texts, settings.max_tokens)
    usable = [row for row, ids in enumerate(notes.ids) if masking.has_words(ids)]
    if len(usable) < MINIMUM_NOTES:
        raise InputError(f"adapting needs at least {MINIMUM_NOTES} notes with words; these are {len(usable)}")
    if groups is None:
        number: dict[str, int] = {}
        groups = np.array([number.setdefault(text, len(number)) for text in texts], dtype=np.int64)
    sides = hold_out(groups[usable], settings.held_out_share, settings.seed)
    learnt, judged = (_dataset(notes, [usable[row] for row in side]) for side in sides)
    counts = {
        "notes": len(learnt),
        "held_out": len(judged),
        "empty": len(texts) - len(usable),
        "truncated": notes.truncated,
    }
    return learnt, judged, counts


def _lose_layers_(model: MaskedLanguageModel, layers: int) -> tuple[MaskedLanguageModel, MaskedLanguageModel]:
    """Remove all but `layers` of the encoder; the model that is left, and the whole one, which teaches it."""
    teacher = copy.deepcopy(model).eval().requires_grad_(requires_grad=False)
    encoder = model.encoder
    keep_layers_(encoder, spread_layers(len(layers_of(encoder)), layers))
    return MaskedLanguageModel(encoder, model.head), teacher  # a new one: it knows the weights that are left


def imitation_loss(answers: Tensor, wanted: Tensor) -> Tensor:
    """T² KL(softmax(wanted / T) ‖ softmax(answers / T)), averaged over rows `(chosen, vocabulary)` of logits.

    Hinton et al. 2015, section 2, with T = `TEACHER_TEMPERATURE`.
    """
    own, theirs = (torch.log_softmax(logits / TEACHER_TEMPERATURE, -1) for logits in (answers, wanted))
    divergence = functional.kl_div(own, theirs, log_target=True, reduction="batchmean")
    return TEACHER_TEMPERATURE**2 * divergence


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
    teacher: MaskedLanguageModel | None = None,
) -> EpochLog:
    """Train with the studies' trainer; masks come from the random state that its checkpoints hold."""

    def loss(trained: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        ids, mask = batch["input_ids"], batch["attention_mask"]
        masked, chosen = masking.apply(ids, mask)
        answers = trained(masked, mask, chosen).float()
        missed = functional.cross_entropy(answers, ids[chosen])
        if teacher is None:
            return missed
        with torch.no_grad():
            wanted = teacher(masked, mask, chosen).float()
        return (1 - TEACHER_SHARE) * missed + TEACHER_SHARE * imitation_loss(answers, wanted)

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
