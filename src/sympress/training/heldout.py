"""Notes held out from masked-language training: which they are, and what they say of the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sympress.errors import InputError
from sympress.training.data import Collate, NoteDataset
from sympress.training.masked import MaskedLanguageModel, Masking
from sympress.training.precision import mixed_precision

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
            loss = functional.cross_entropy(logits.float(), truth, reduction="none").double().cpu()
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
