"""Masked-language-model training of an encoder on the user's own notes, before it learns the task.

Task-adaptive pretraining of Gururangan et al. 2020 ("Don't Stop Pretraining", section 4) with the masking
of Devlin et al. 2019 (section 3.1, task 1), drawn anew each time a note is seen (Liu et al. 2019).
Whether it helped is judged on notes held out from it, under masks that never change.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sympress.errors import InputError
from sympress.training.data import EncodedNotes, NoteDataset, encode_texts
from sympress.training.epochs import EpochLog, Progress
from sympress.training.heldout import DESCRIPTION, MINIMUM_NOTES, Judge, hold_out
from sympress.training.masked import MaskedLanguageModel, Masking, masked_language_model
from sympress.training.settings import TrainSettings
from sympress.training.train import train

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
    masking = Masking.of(tokenizer, encoder)
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
    judge = Judge.of(masking, _dataset(notes, [usable[row] for row in judged]), pad_id, settings.seed)
    whole = copy.deepcopy(encoder.state_dict())
    model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
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
