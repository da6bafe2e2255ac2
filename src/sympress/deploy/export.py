"""Export a trained model to ONNX and check that the file computes what PyTorch computes."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sympress.compress.quantize.dynamic import write_bare
from sympress.compress.quantize.lean import lean_
from sympress.deploy.kernels import open_session
from sympress.errors import SympressError
from sympress.training.model import SymptomModel

#: Largest difference of a logit between PyTorch and the fp32 ONNX file that is accepted.
PARITY_TOLERANCE = 1e-3


class _Exported(nn.Module):
    """The model as a graph of (input_ids, attention_mask), with attention written out."""

    def __init__(self, model: SymptomModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids, attention_mask)
        return logits


def export_onnx(model: SymptomModel, path: Path) -> None:
    """Write `model` as fp32 ONNX with inputs `input_ids`, `attention_mask` and output `logits`.

    Both inputs are int64 `(batch, tokens)` with free batch and length; logits are `(batch, K)`, of a tagger
    `(batch, tokens, tags)`. What no output needs, or never changes, is not computed
    (`lean_`).
    """
    model = model.eval().cpu()
    attention = model.encoder.config._attn_implementation
    model.encoder.set_attn_implementation("eager")
    ids = torch.ones((2, 8), dtype=torch.int64)
    batch, tokens = torch.export.Dim("batch", min=1, max=65536), torch.export.Dim("tokens", min=2, max=8192)
    limit = int(getattr(model.encoder.config, "max_position_embeddings", 8192))
    if limit < 8192:
        tokens = torch.export.Dim("tokens", min=2, max=limit)
    shapes = {name: {0: batch, 1: tokens} for name in ("input_ids", "attention_mask")}
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    try:
        quiet.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter warns of its own internals
            torch.onnx.export(
                _Exported(model),
                (ids, torch.ones_like(ids)),
                path,
                input_names=["input_ids", "attention_mask"],
                output_names=["logits"],
                dynamic_shapes=shapes,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        exported = onnx.load(path)
        lean_(exported)
        write_bare(exported, path)
    finally:
        quiet.setLevel(level)
        model.encoder.set_attn_implementation(attention)


@torch.inference_mode()
def parity(model: SymptomModel, path: Path, notes: list[NDArray[np.int64]]) -> float:
    """Largest absolute difference of a logit between `model` and the ONNX file over `notes`."""
    session = open_session(path, threads=0)
    model = model.eval().cpu()
    differences = [0.0]
    for note in notes:
        ids = note[None]
        mask = np.ones_like(ids)
        ours = model(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        theirs = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        differences.append(float(np.abs(ours - theirs).max()))
    return float(np.max(differences))  # NaN if any is: max() would lose it


def export_checked(model: SymptomModel, path: Path, notes: list[NDArray[np.int64]]) -> float:
    """Export and compare over `notes`; returns the largest difference.

    Raises:
        SympressError: the file disagrees with PyTorch by more than `PARITY_TOLERANCE`.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder) / "model.onnx"
        export_onnx(model, draft)
        worst = parity(model, draft, notes)
        if not worst <= PARITY_TOLERANCE:
            raise SympressError(
                f"{path.name}: the ONNX file differs from PyTorch by {worst:.2e} in a logit, more than "
                f"{PARITY_TOLERANCE:g}; please report the encoder's architecture"
            )
        draft.replace(path)
    return worst
