"""What else people marked, learnt by a second head beside the symptoms.

Corpora of spans mark more than symptoms: of MACCROBAT's 18,642 spans 16,141 name anatomy, tests, findings,
diseases or drugs. A head that names the kind of every span shares the encoder while it trains (Caruana
1997; Collobert & Weston 2008, section 5) and is taken away afterwards, so that it costs nothing when the
tagger is deployed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sympress.labels.mentions import AnnotatedNote
from sympress.training.loss import IGNORED, note_losses
from sympress.training.model import SymptomModel
from sympress.training.tagging import Windows, mark_pieces, spread_targets

#: A kind that training notes hold less often teaches nothing.
LEAST_SPANS = 20
#: What mentions are called among the kinds.
SYMPTOM = "symptom"


def kinds_of(notes: Sequence[AnnotatedNote]) -> tuple[str, ...]:
    """`SYMPTOM` and the kinds of other spans that `notes` hold often enough, sorted; () if there are none."""
    counts = Counter(other.kind for note in notes for other in note.others)
    often = sorted(kind for kind, count in counts.items() if count >= LEAST_SPANS)
    return (SYMPTOM, *often) if often else ()


def kind_targets(windows: Windows, notes: Sequence[AnnotatedNote], kinds: Sequence[str]) -> NDArray[np.int64]:
    """Targets `(tokens of all windows,)` as of `mark_pieces`, or `IGNORED` for special tokens.

    A note without other spans was not marked for them (silver labels, another corpus): all of it is ignored.
    """
    place = {kind: index for index, kind in enumerate(kinds)}
    wholes = []
    for text, pieces, note in zip(windows.texts, windows.pieces, notes, strict=True):
        if not note.others:
            wholes.append(np.full(len(pieces.ids), IGNORED, dtype=np.int64))
            continue
        spans = [(one.start, one.end, place[SYMPTOM]) for one in note.mentions]
        spans += [(one.start, one.end, place[one.kind]) for one in note.others if one.kind in place]
        wholes.append(mark_pieces(text, pieces, spans))
    return spread_targets(windows, wholes)


def attach_kinds_(model: SymptomModel, kinds: Sequence[str], seed: int) -> None:
    """Give `model` the second head, a function of `seed` alone, as its submodule `kinds`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(int(model.encoder.config.hidden_size), 1 + 2 * len(kinds))
        nn.init.normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
    model.kinds = head.to(next(model.parameters()).device)


def detach_kinds_(model: SymptomModel) -> None:
    """Take the second head away."""
    if "kinds" in model._modules:
        del model.kinds


@dataclass(frozen=True)
class KindsLoss:
    """The loss of the tags and `weight` times that of the kinds, both as `note_losses` gives them."""

    weight: float

    def __call__(self, model: SymptomModel, batch: dict[str, Tensor]) -> Tensor:
        """The mean over the windows of `batch`, each multiplied by its weight where there are some."""
        mask = batch["attention_mask"]
        states = model.encoder(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
        losses = note_losses("mentions", model.head(states, mask).float(), batch["labels"])
        named = cast("nn.Linear", model.kinds)(model.head.dropout(states)).float()
        losses = losses + self.weight * note_losses("mentions", named, batch["kinds"])
        return (losses * batch["weights"]).mean() if "weights" in batch else losses.mean()
