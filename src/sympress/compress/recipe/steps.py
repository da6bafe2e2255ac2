"""The table of steps: the one place that names them all."""

from __future__ import annotations

from sympress.compress.distill.step import Distill
from sympress.compress.lowrank.step import LowRank
from sympress.compress.prune.mask_step import Mask
from sympress.compress.prune.step import Prune
from sympress.compress.quantize.step import Quantize
from sympress.compress.recipe.adapt import Adapt
from sympress.compress.recipe.fine_tune import FineTune
from sympress.compress.recipe.pretrained import Pretrained
from sympress.compress.recipe.step import Step
from sympress.compress.vocab.step import Vocab

__all__ = [
    "STEPS",
    "Adapt",
    "Distill",
    "FineTune",
    "LowRank",
    "Mask",
    "Pretrained",
    "Prune",
    "Quantize",
    "Step",
    "Vocab",
]

#: Every step by the word that recipes use for it, in the order in which a search asks for them.
STEPS: dict[str, type[Step]] = {
    "adapt": Adapt,
    "pretrained": Pretrained,
    "vocab": Vocab,
    "distill": Distill,
    "fine-tune": FineTune,
    "lowrank": LowRank,
    "prune": Prune,
    "mask": Mask,
    "quantize": Quantize,
}
