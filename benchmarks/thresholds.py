"""What thresholds are worth on notes that did not choose them: `python -m benchmarks.cuts RUN -o FILE`.

The validation notes of a run are cut into parts, again and again; thresholds and calibration come from all
parts but one and are judged by that one. No test note is read.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sympress.errors import InputError
from sympress.evaluation.probabilities import TRUST, choose_thresholds
from sympress.evaluation.quality import score_quality
from sympress.files import write_json
from sympress.provenance import environment
from sympress.studies.judge import calibrated, fit_calibration
from sympress.studies.results import Reread, reread

ALONE, EXPECTED = "labels alone", "labels and what the model expects"
REPEATS, PARTS = 10, 5


def judge_cuts(study: Reread, rows: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Micro- and macro-F1 of each row's model by each way to choose thresholds, and the gain of the second.

    Args:
        study: a run of the task `present`.
        rows: names and seeds.

    Raises:
        InputError: the run is of another task, or has no such row.
    """
    if study.config.note_task != "present":
        raise InputError(f"{study.run.path}: only the task present has thresholds")
    targets = study.data.labels.targets[study.data.split.validation]
    judged = {}
    for name, seed in rows:
        if study.run.read_row(name, seed) is None:
            raise InputError(f"{study.run.path}: no row {name!r} with seed {seed}")
        probabilities = study.run.predictions(name, seed, "validation")
        judged[f"{name}-seed{seed}"] = _judge(probabilities, targets, study.data.labels.symptoms)
    return {"notes": len(targets), "repeats": REPEATS, "parts": PARTS, "trust": TRUST, "rows": judged}


def _judge(
    probabilities: NDArray[np.float64], targets: NDArray[np.uint8], symptoms: Sequence[str]
) -> dict[str, Any]:
    """Means over all parts of all repeats, and of the gain the standard deviation over repeats."""
    found: dict[str, list[list[tuple[float, float]]]] = {ALONE: [], EXPECTED: []}
    for repeat in range(REPEATS):
        order = np.random.default_rng(repeat).permutation(len(targets))
        for scores in found.values():
            scores.append([])
        for part in range(PARTS):
            judging = np.zeros(len(targets), dtype=bool)
            judging[order[part::PARTS]] = True
            for way, cuts in _cuts(probabilities[~judging], targets[~judging]).items():
                quality = score_quality(
                    "present",
                    probabilities[judging],
                    targets[judging],
                    symptoms,
                    thresholds=cuts,
                    resamples=0,
                )
                micro = quality.micro_f1.value if quality.micro_f1 else None
                found[way][-1].append((micro or 0.0, quality.f1.value or 0.0))
    means = {way: np.array(scores).mean(axis=1) for way, scores in found.items()}  # (repeats, 2)
    gain = means[EXPECTED] - means[ALONE]
    return {
        **{way: _both(scores.mean(axis=0)) for way, scores in means.items()},
        "gain": _both(gain.mean(axis=0)),
        "gain_deviation": _both(gain.std(axis=0, ddof=1)),
    }


def _both(values: NDArray[np.float64]) -> dict[str, float]:
    micro, macro = values.tolist()
    return {"micro": micro, "macro": macro}


def _cuts(probabilities: NDArray[np.float64], targets: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    """Thresholds of uncalibrated probabilities, each way."""
    expected = calibrated("present", probabilities, fit_calibration("present", probabilities, targets))
    return {
        ALONE: choose_thresholds(probabilities, targets),
        EXPECTED: choose_thresholds(probabilities, targets, expected),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge and write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cuts", description=__doc__)
    parser.add_argument("run", type=Path, help="folder that `sympress study -o` wrote, its notes in place")
    parser.add_argument("--row", action="append", metavar="NAME", help="default: baseline", default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    rows = [(name, given.seed) for name in given.row or ["baseline"]]
    found = judge_cuts(reread(given.run), rows)
    write_json(given.output, {"format": 1, **found, "environment": environment()})


if __name__ == "__main__":
    main()
