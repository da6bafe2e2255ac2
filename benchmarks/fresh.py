"""A finished study judged on reports that chose and judged nothing before: `python -m benchmarks.fresh RUN`.

The test reports of 2005 have judged many recipes. A share of patients (`--used`) is the same wherever it is
drawn, so the reports of all others are fresh. Every row of the run is scored on them from what the run
stores, at the thresholds that it chose on the reports of 2004; nothing is trained. Beside the rows' latency
stands that of `micro`, in the same run on the same reports: its shape on the bundled encoder, since weights
do not change how long it takes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.shape import SYMPTOMS, press_shape
from sympress.compression.quantize.kernels import quantize_onnx
from sympress.compression.recipe.language import Recipe, read_recipe
from sympress.compression.vocab import Vocab
from sympress.compression.vocab.trim import choose_pieces, count_pieces, trim_vocabulary_
from sympress.errors import InputError
from sympress.evaluation.cost import ROUNDS, pick_timed, time_in_turn
from sympress.evaluation.significance import (
    estimate,
    group_index,
    macro_f1,
    micro_f1,
    outcome_counts,
    resample_weights,
)
from sympress.files import write_json
from sympress.labels.task import task_of
from sympress.models.encoder import load_encoder
from sympress.models.model import build_model
from sympress.notes.intake import keep_patient
from sympress.provenance import environment
from sympress.results import Results, load_results
from sympress.runtime.artifact import Extractor, write_checksums
from sympress.runtime.session import Runtime
from sympress.studies.press import write_model
from sympress.studies.results import PREDICTIONS, KeptPredictions, read_predictions, reread
from sympress.studies.rows import LOADERS
from sympress.studies.task import NoteTestSet
from sympress.training.data import default_stride

RESAMPLES = 1000
#: A symptom of fewer reports says little of a macro-F1, and weighs in it like any other.
FREQUENT = 10
MICRO = "micro"
#: Word pieces that `micro` reads at once, as in docs/results/recipes.md.
MICRO_TOKENS = 128

Floats = NDArray[np.float64]


def judge_fresh(run: Path, used: float) -> dict[str, Any]:
    """Micro- and macro-F1 of every row of `run` on its fresh test notes, over all seeds, with intervals.

    Args:
        run: folder of a study of the task `present` whose notes are patients of their own, as in VAERS.
        used: share of patients whose notes judged before.

    Raises:
        InputError: the run is of another task, or has no fresh note.
    """
    results = load_results(run)
    if not task_of(results.task).has_thresholds:
        raise InputError(f"{run}: a study of the task {results.task}; give one of the task present")
    kept = read_predictions(run / PREDICTIONS, results.task)
    rows = np.flatnonzero([not keep_patient(one, used) for one in kept.test.note_ids])
    if not len(rows):
        raise InputError(f"--used {used:g}: no test note is fresh")
    index = group_index(None, len(rows))
    weights = np.concatenate([one.astype(np.float64) for one in resample_weights(index, 0, RESAMPLES)])
    reports = kept.test.truth[rows].astype(bool).sum(axis=0)
    frequent = reports >= FREQUENT
    found = {}
    for name in dict.fromkeys(row.name for row in results.strategies):
        found[name] = _score(results, kept, name, rows, weights, frequent=frequent)
    return {
        "notes": len(rows),
        "symptoms": int((reports > 0).sum()),
        "frequent": {"reports": FREQUENT, "symptoms": int(frequent.sum())},
        "rows": found,
    }


def _score(
    results: Results,
    kept: KeptPredictions,
    name: str,
    rows: NDArray[np.int64],
    weights: Floats,
    *,
    frequent: NDArray[np.bool_],
) -> dict[str, Any]:
    """One row of the table: the mean over seeds, with the interval that notes give it, and each seed's.

    The macro-F1 is told of every symptom that a report has, and of the `frequent` ones.
    """
    own = [row for row in results.strategies if row.name == name]
    each: dict[str, list[Floats]] = {"micro_f1": [], "macro_f1": [], "macro_f1_frequent": []}
    for row in own:
        probabilities, cuts = cast("NoteTestSet", kept.test).scored(kept, name, row.seed)
        answered = task_of(results.task).affirmed(probabilities[rows], cuts)
        totals = weights @ outcome_counts(answered, kept.test.truth[rows].astype(bool))
        each["micro_f1"].append(micro_f1(totals))
        each["macro_f1"].append(macro_f1(totals))
        each["macro_f1_frequent"].append(macro_f1(totals[..., np.tile(frequent, 3)]))
    return {
        "recipe": own[0].recipe,
        "size_bytes": own[0].cost.size_bytes,
        "seeds": len(own),
        **{key: estimate(np.mean(values, axis=0)).model_dump() for key, values in each.items()},
        **{f"{key}_of_seeds": [float(one[0]) for one in values] for key, values in each.items()},
    }


def time_beside_micro(run: Path, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Median milliseconds of each row of `run` and of `micro`, in turn on the same notes, and the ratio.

    Whole notes are read: `micro` window by window of 128 word pieces, as its artifact would.
    """
    study = reread(run)
    texts = study.data.texts_of(study.data.split.test)
    timed = pick_timed(texts)
    with tempfile.TemporaryDirectory() as folder:
        runtime = Runtime.load(micro_artifact(Path(folder) / MICRO, texts[:2000]))
        models = {MICRO: _answer(runtime.predict, timed)}
        for name in names:
            place = study.run.artifact(name, 0)
            if name in LOADERS:
                models[name] = _answer(LOADERS[name](place).predict_proba, timed)
            else:
                models[name] = _answer(Runtime.load(place).predict, timed)
        timings = time_in_turn(models, len(timed), reference=MICRO, rounds=ROUNDS)
    return {
        name: {"latency_ms_p50": one.latency_ms_p50, "times_micro": one.ratio}
        for name, one in timings.items()
    }


def _answer(predict: Callable[[Sequence[str]], object], texts: Sequence[str]) -> Callable[[int], object]:
    return lambda index: predict([texts[index]])


def micro_artifact(folder: Path, texts: Sequence[str]) -> Path:
    """An artifact of the shape that `micro` gives the bundled encoder; its weights mean nothing."""
    encoder, recipe = load_encoder("bundled"), read_recipe(MICRO)
    model = build_model(encoder.model, SYMPTOMS, "maximum", 0)
    vocab = next(step for step in recipe.steps if isinstance(step, Vocab))
    kept = choose_pieces(encoder.tokenizer, count_pieces(encoder.tokenizer, texts), vocab.keep)
    tokenizer = trim_vocabulary_(model, encoder.tokenizer, kept.ids)
    pressed = press_shape(model, Recipe(tuple(step for step in recipe.steps if step is not vocab)))
    settings = Extractor(
        task="present",
        symptoms=[f"symptom {number}" for number in range(SYMPTOMS)],
        max_tokens=MICRO_TOKENS,
        windows="all",
        stride=default_stride(MICRO_TOKENS),
        pad_id=int(tokenizer.pad_token_id or 0),
    )
    write_model(pressed, tokenizer, settings, [np.array(tokenizer("fever")["input_ids"])], folder)
    whole = folder / "whole.onnx"
    (folder / "model.onnx").rename(whole)
    quantize_onnx(whole, folder / "model.onnx", reduce_range=True)
    whole.unlink()
    write_checksums(folder)
    return folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Score, time and write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fresh", description=__doc__)
    parser.add_argument("run", type=Path, help="folder that `sympress study -o` wrote")
    parser.add_argument("--used", type=float, default=0.4, help="share of patients that judged before")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    found = judge_fresh(given.run, given.used)
    times = time_beside_micro(given.run, list(found["rows"]))
    found["rows"] = {name: {**row, **times[name]} for name, row in found["rows"].items()}
    found["micro"] = times[MICRO]
    write_json(given.output, {"format": 1, "used": given.used, **found, "environment": environment()})


if __name__ == "__main__":
    main()
