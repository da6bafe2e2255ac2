"""What a recipe costs on an encoder of any size, without its weights: `python -m benchmarks.shape`.

An encoder of Bio_ClinicalBERT's shape is made at random, given the form that a recipe would leave it in,
and timed against itself in PyTorch and as ONNX Runtime's own int8. Nothing is trained: it says nothing of
quality.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import BertConfig, BertModel

from sympress.compression.distill import Distill
from sympress.compression.distill.student import narrow_student, student_of
from sympress.compression.export import export_onnx
from sympress.compression.quantize.kernels import quantize_onnx
from sympress.compression.recipe.language import Recipe, read_recipe
from sympress.compression.vocab import Vocab
from sympress.compression.vocab.trim import cut_positions_
from sympress.errors import InputError
from sympress.evaluation.cost import time_in_turn
from sympress.files import write_json
from sympress.models.families import family_of, head_width, layers_of
from sympress.models.model import POOLINGS, Pooling, SymptomModel, build_model, save_model
from sympress.provenance import environment
from sympress.runtime.session import SLOWER_FUSED, open_session
from sympress.studies.costs import quantize_plainly

#: Bio_ClinicalBERT's config.json, as far as it shapes the encoder.
CLINICAL_BERT: dict[str, Any] = {
    "vocab_size": 28996,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
SYMPTOMS = 20
#: Word pieces of the timed notes, from a terse report to the longest that is read; chosen, not sampled.
LENGTHS = (16, 24, 32, 40, 48, 56, 64, 80, 96, 128)


def press_shape(model: SymptomModel, recipe: Recipe) -> SymptomModel:
    """`model` in the sizes that `recipe` leaves it in; its weights mean nothing.

    Raises:
        InputError: a step other than `vocab`, `distill` and `quantize` is in the recipe.
    """
    for step in recipe.steps:
        if isinstance(step, Vocab):
            _shrink_vocabulary_(model, step)
        elif isinstance(step, Distill):
            model = _student(model, step)
        elif step.step != "quantize":
            raise InputError(f"{step.step}: only vocab, distill and quantize have a cost without weights")
    return model.eval()


def _student(model: SymptomModel, step: Distill) -> SymptomModel:
    layers = step.student_layers(len(layers_of(model.encoder)))
    if step.width is None:
        return student_of(model, layers, step.choose)
    config = model.encoder.config
    neurons = int(getattr(config, family_of(model.encoder).neurons_setting))
    return narrow_student(
        model,
        layers=layers,
        width=step.width,
        heads=step.heads or max(1, step.width // head_width(model.encoder)),
        ffn=step.ffn or round(neurons * step.width / int(config.hidden_size)),
        seed=0,
    )


def _shrink_vocabulary_(model: SymptomModel, step: Vocab) -> None:
    pieces = int(model.encoder.config.vocab_size)
    kept = round(step.keep * pieces) if isinstance(step.keep, float) else min(step.keep, pieces)
    table = model.encoder.get_input_embeddings()
    if not isinstance(table, nn.Embedding):
        raise InputError("the word embedding is no plain table")
    smaller = nn.Embedding.from_pretrained(table.weight.detach()[:kept].clone(), freeze=False)
    model.encoder.set_input_embeddings(smaller)
    model.encoder.config.vocab_size = kept
    if step.positions == "read":
        cut_positions_(model, LENGTHS[-1])


def measure_shape(
    recipe_name: str, *, pooling: Pooling = "maximum", rounds: int = 5, threads: int = 1
) -> dict[str, Any]:
    """Bytes and latency of the random encoder, uncompressed in two ways and pressed by `recipe_name`.

    With the pooling `cls`, Bio_ClinicalBERT's own, the last layer of what is pressed computes the first token
    alone (`keep_first_token_`). All three run every note in turn; ratios are medians over notes and rounds.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    recipe = read_recipe(recipe_name)
    teacher = build_model(BertModel(BertConfig(**CLINICAL_BERT)), SYMPTOMS, pooling, 0).eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(teacher, folder)
        export_onnx(teacher, folder / "teacher.onnx")
        quantize_plainly(folder / "teacher.onnx", folder / "int8.onnx")
        pressed = press_shape(teacher, recipe)
        pieces = int(pressed.encoder.config.vocab_size)
        export_onnx(pressed, folder / "pressed.onnx")
        quantize_onnx(folder / "pressed.onnx", folder / "small.onnx", reduce_range=True)
        rng = np.random.default_rng(0)
        notes = [rng.integers(0, pieces, size=(1, length)) for length in LENGTHS]
        runs = {
            "pytorch-fp32": _in_pytorch(build_again(folder), notes),
            "onnx-int8": _in_onnx(folder / "int8.onnx", notes, threads, []),
            "pressed": _in_onnx(folder / "small.onnx", notes, threads, SLOWER_FUSED),
        }
        timings = time_in_turn(runs, len(notes), reference="pressed", also=list(runs), rounds=rounds)
        sizes = {
            "pytorch-fp32": (folder / "model.safetensors").stat().st_size,
            "onnx-int8": (folder / "int8.onnx").stat().st_size,
            "pressed": (folder / "small.onnx").stat().st_size,
        }
    return {
        "encoder": "random, of Bio_ClinicalBERT's shape",
        "pooling": pooling,
        "recipe": str(recipe),
        "word_pieces_a_note": list(LENGTHS),
        "rounds": rounds,
        "threads": threads,
        "rows": {
            name: {
                "size_bytes": sizes[name],
                "latency_ms_p50": timings[name].latency_ms_p50,
                "times_smaller": sizes[name] / sizes["pressed"],
                "times_slower": timings[name].ratio,
            }
            for name in runs
        },
        "environment": environment(),
    }


def build_again(folder: Path) -> SymptomModel:
    """The teacher as it was saved, untouched by the recipe."""
    from sympress.models.model import load_model

    return load_model(folder)


def _in_pytorch(model: SymptomModel, notes: list[NDArray[np.int64]]) -> Callable[[int], object]:
    @torch.inference_mode()
    def run(index: int) -> object:
        ids = torch.from_numpy(notes[index])
        return model(ids, torch.ones_like(ids)).numpy()

    return run


def _in_onnx(
    path: Path, notes: list[NDArray[np.int64]], threads: int, disabled: Sequence[str]
) -> Callable[[int], object]:
    session = open_session(path, threads=threads, disabled=disabled)
    return lambda index: session.run(
        None, {"input_ids": notes[index], "attention_mask": np.ones_like(notes[index])}
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--recipe", default="pocket")
    parser.add_argument("--pooling", choices=POOLINGS, default="maximum")
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    write_json(asked.output, measure_shape(asked.recipe, pooling=asked.pooling))
