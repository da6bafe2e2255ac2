"""What shared weights and an entropy-coded file give: `python -m benchmarks.deep_compression`.

One artifact of coded reports, with its weights, is pressed by each recipe and answers the same reports of a
later year, by the thresholds of the artifact: F1, average precision, answers that change, bytes on disk, and
milliseconds, all files in turn. Whether a step pays is read from the rows with it and without.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from benchmarks.trials import score_f1
from sympress.compression.recipe.language import parse_recipe
from sympress.errors import InputError
from sympress.evaluation.cost import time_in_turn
from sympress.files import write_json
from sympress.labels.mentions import AnnotatedNote
from sympress.notes.read import read_notes
from sympress.provenance import environment
from sympress.runtime.artifact import (
    MODEL_FILE,
    encode_model,
    model_bytes,
    model_file,
    model_source,
    read_extractor,
)
from sympress.runtime.pack import LabelledNotes, coded_notes
from sympress.runtime.session import Runtime, open_session
from sympress.studies.judge import scorer_of
from sympress.studies.press import press
from sympress.studies.train import Labelled, make_material
from sympress.training.epochs import TrainSettings

ARTIFACT = "as it is"
REFERENCE = "quantize(int8)"
#: Without training, and Deep Compression's stages with it.
RECIPES = (
    REFERENCE,
    "quantize(int8, embeddings=4)",
    "quantize(int8, clusters=32)",
    "quantize(int8, clusters=16)",
    "quantize(int8, clusters=8)",
    "quantize(int8, clusters=4)",
    "quantize(int8, clusters=4, aware=true, epochs=1)",
    "mask(0.5) > quantize(int8, clusters=8, aware=true, epochs=1)",
)
SEED = 0
TIMED = 200
RESAMPLES = 500


def read_reports(paths: Sequence[Path], symptoms: Sequence[str], most: int) -> LabelledNotes:
    """`most` reports of `paths` with the symptoms that people coded, drawn by the seed."""
    frames = [read_notes(path).frame for path in paths]
    texts = [text for frame in frames for text in frame["text"].to_list()]
    codes = [list(own or ()) for frame in frames for own in frame["codes"].to_list()]
    rows = np.sort(np.random.default_rng(SEED).permutation(len(texts))[:most])
    return coded_notes([texts[row] for row in rows], [codes[row] for row in rows], symptoms)


def press_all(
    folder: Path, training: LabelledNotes, validation: LabelledNotes, work: Path
) -> dict[str, Path]:
    """The artifact in `folder` pressed by each recipe, below `work`."""
    settings = read_extractor(folder)
    material = make_material(settings, _labelled(training), _labelled(validation), max_windows=16)
    found: dict[str, Path] = {}
    for recipe in RECIPES:
        draft = work / f"{len(found):02}"
        torch.manual_seed(SEED)
        press(
            folder,
            parse_recipe(recipe),
            material,
            TrainSettings(epochs=1, batch_size=64, learning_rate=5e-4, seed=SEED),
            settings,
            work=work / f"work-{len(found):02}",
            draft=draft,
            score=scorer_of(material, settings.symptoms),
            logits=work / "logits",
        )
        found[recipe] = draft
    return found


def _labelled(notes: LabelledNotes) -> Labelled:
    annotated = [AnnotatedNote(str(row), text, ()) for row, text in enumerate(notes.texts)]
    return Labelled(annotated, notes.truth.astype(np.uint8))


def measure(folder: Path, found: Mapping[str, Path], test: LabelledNotes) -> dict[str, Any]:
    """F1 of the artifact and of what each recipe made of it, on the same reports, bytes and milliseconds.

    Raises:
        InputError: the artifact has no thresholds.
    """
    places = {ARTIFACT: folder} | dict(found)
    models = {name: Runtime.load(place) for name, place in places.items()}
    settings = models[ARTIFACT].extractor
    if settings.thresholds is None:
        raise InputError(f"{folder}: without thresholds; give an artifact of a study")
    logits = {name: one.predict_logits(test.texts) for name, one in models.items()}
    cuts = np.array(settings.thresholds)
    affirmed = {name: models[ARTIFACT].probabilities(own) >= cuts for name, own in logits.items()}
    scores = score_f1(affirmed, test.truth, np.arange(len(test.texts)), resamples=RESAMPLES)
    runs = {name: _answering(one, test.texts) for name, one in models.items()}
    timings = time_in_turn(runs, min(TIMED, len(test.texts)), reference=REFERENCE)
    return {
        "reports": len(test.texts),
        "symptoms": scores["symptoms"],
        "rows": {
            name: scores["models"][name]
            | {
                "average_precision": _average_precision(logits[name], test.truth),
                "changed_answers": float((affirmed[name] != affirmed[ARTIFACT]).mean()),
                "latency_ms_p50": timings[name].latency_ms_p50,
                "latency_ratio": timings[name].ratio,
                "plain": _stored(places[name]),
                "coded": _stored(coded_copy(places[name])),
            }
            for name in models
        },
    }


def coded_copy(folder: Path) -> Path:
    """A copy of the model in `folder` with its file coded as the step `store` does, in a temporary folder.

    Raises:
        ValueError: it decodes to another file.
    """
    copied = Path(tempfile.mkdtemp(prefix="sympress-"))
    content = model_bytes(folder)
    (copied / MODEL_FILE).write_bytes(content)
    encode_model(copied / MODEL_FILE)
    if model_bytes(copied) != content:
        raise ValueError(f"{folder}: the coded file holds another model")
    return copied


def _stored(folder: Path, times: int = 5) -> dict[str, float]:
    """Bytes of the model in `folder`, and median milliseconds until it can answer."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        open_session(model_source(folder), threads=1)
        taken.append(1_000 * (time.perf_counter() - began))
    return {"size_bytes": model_file(folder).stat().st_size, "load_ms": float(np.median(taken))}


def _answering(model: Runtime, texts: Sequence[str]) -> Callable[[int], object]:
    return lambda row: model.predict_logits([texts[row]])


def _average_precision(logits: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """The mean over the symptoms that a report has."""
    return float(average_precision_score(truth[:, truth.any(0)], logits[:, truth.any(0)], average="macro"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Press, measure and write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deep_compression", description=__doc__)
    parser.add_argument("artifact", type=Path, help="with its weights, of a study of coded reports")
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="reports to learn from")
    parser.add_argument("--validation", type=Path, required=True, help="reports that choose an epoch")
    parser.add_argument("--test", type=Path, required=True, help="reports that are scored")
    parser.add_argument("--training-notes", type=int, default=6_000)
    parser.add_argument("--test-notes", type=int, default=1_500)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    symptoms = read_extractor(given.artifact).symptoms
    training, validation, test = (
        read_reports(paths, symptoms, most)
        for paths, most in (
            (given.train, given.training_notes),
            ([given.validation], 500),
            ([given.test], given.test_notes),
        )
    )
    with tempfile.TemporaryDirectory(prefix="sympress-") as work:
        found = press_all(given.artifact, training, validation, Path(work))
        measured = measure(given.artifact, found, test)
    about = {"format": 1, "artifact": given.artifact.name, "training_notes": len(training.texts)}
    write_json(given.output, about | measured | {"environment": environment()})


if __name__ == "__main__":
    main()
