"""A teacher as an int8 file: where there is no GPU it answers faster than in PyTorch."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sympress.compress.quantize.dynamic import quantize_onnx
from sympress.deploy.export import export_onnx
from sympress.deploy.kernels import open_session
from sympress.training.data import EncodedNotes
from sympress.training.model import SymptomModel


class Int8Teacher:
    """`model` with 8-bit weights and activations, each note by itself: no answer depends on the others.

    Weights have 7 bits, as in every int8 file of sympress that nothing else is asked of. The file is made
    when the first note is answered, and is nowhere afterwards.
    """

    def __init__(self, model: SymptomModel) -> None:
        self.model = model

    @property
    def symptoms(self) -> int:
        """How many symptoms or tags the teacher tells apart."""
        return self.model.symptoms

    @property
    def per_token(self) -> bool:
        """Whether it answers for each token rather than for the note."""
        return self.model.per_token

    @cached_property
    def session(self) -> Any:
        """The file, loaded on as many cores as PyTorch has."""
        with tempfile.TemporaryDirectory() as folder:
            whole, pressed = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
            export_onnx(self.model, whole)
            quantize_onnx(whole, pressed, reduce_range=True)
            return open_session(pressed.read_bytes(), threads=torch.get_num_threads())

    def logits(self, notes: EncodedNotes) -> NDArray[np.float32]:
        """Logits `(notes, K)`, or `(tokens, tags)` of all notes one behind the other."""
        answers: list[NDArray[np.float32]] = []
        for note in notes.ids:
            inputs = {"input_ids": note[None], "attention_mask": np.ones_like(note[None])}
            (answer,) = self.session.run(None, inputs)
            answers.append(answer[0] if self.per_token else answer)
        if not answers:
            return np.zeros((0, self.symptoms), dtype=np.float32)
        return np.concatenate(answers)
