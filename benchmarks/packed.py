"""How good a packed artifact is with its rules: `python -m benchmarks.packed RUN ARTIFACT -o FILE.json`.

The artifact answers the test notes of the study that made it, as `sympress extract` would: all windows, and
only what words of the note name. Beside it stand its model without rules and the rules without a model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.trials import score_f1
from sympress.errors import InputError
from sympress.files import write_json
from sympress.provenance import environment
from sympress.runtime.extractor import Extractor
from sympress.studies.results import reread

AS_PACKED, MODEL, RULES = "as packed", "its model alone", "the rules alone"


def judge_packed(run: Path, folder: Path) -> dict[str, Any]:
    """F1 of the artifact in `folder` on the test notes of `run`, with 95 % intervals by patient.

    Raises:
        InputError: the run cannot be read again, or the artifact is of another task or other symptoms.
    """
    study = reread(run)
    extractor = Extractor.load(folder)
    data, rows = study.data, study.data.split.test
    if extractor.task != "present" or len(extractor.symptoms) != len(data.labels.symptoms):
        raise InputError(f"{folder}: not an artifact of the task present that {run} made")
    alone = extractor.settings.model_copy(update={"rules": False})
    model, rules = Extractor(alone, extractor.runtime, folder, threads=1), Extractor.load("rules")
    found = {name: np.zeros(study.truth.shape, dtype=bool) for name in (AS_PACKED, MODEL, RULES)}
    for at, text in enumerate(data.texts_of(rows)):
        both, by_model = (one.answer(text) for one in (extractor, model))
        affirmed: dict[str, set[str | None]] = {
            AS_PACKED: {one.symptom for one in both.symptoms},
            MODEL: {one.symptom for one in by_model.symptoms},
            RULES: {one.symptom for one in rules.answer(text).symptoms},
        }
        for name, symptoms in affirmed.items():
            found[name][at] = [symptom in symptoms for symptom in extractor.symptoms]
    return score_f1(found, study.truth, data.patients[rows])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.packed", description=__doc__)
    parser.add_argument(
        "run", type=Path, help="folder that `sympress study -o` wrote, with its notes in place"
    )
    parser.add_argument("artifact", type=Path, help="what `sympress pack --rules` made of one of its rows")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    found = judge_packed(given.run, given.artifact)
    size = sum(path.stat().st_size for path in given.artifact.rglob("*") if path.is_file())
    write_json(given.output, {"format": 1, "size_bytes": size, **found, "environment": environment()})


if __name__ == "__main__":
    main()
