"""The ensemble of a study: weighed from what its rows answered, and asked what students are to imitate."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sympress.compression.distill.teachers import PART_NOTES
from sympress.compression.recipe.language import BASELINE
from sympress.evaluation.cost import count_weights
from sympress.evaluation.probabilities import fit_fusion
from sympress.files import atomic_path
from sympress.labels.task import task_of
from sympress.models.ensemble import FILE, Ensemble, signs_of
from sympress.provenance import fingerprint_texts
from sympress.studies.folder import RunFolder

#: The row of the baselines of every seed, TF-IDF and the rules, weighed on validation notes.
ENSEMBLE = "ensemble"
#: The rows that are members beside the baselines; of the first seed.
_OTHERS = ("tfidf", "rule-assertion")

Probabilities = dict[str, NDArray[np.float64]]


def weigh_members(
    run: RunFolder, targets: NDArray[np.uint8], *, networks: int, seed: int
) -> tuple[Ensemble, Probabilities]:
    """Fit the ensemble on the members' answers to validation notes and write it; its answers by part.

    Args:
        run: with the rows of the members.
        targets: `(notes, K)` of the validation notes.
        networks: how many seeds' baselines are members.
        seed: of the row that is made; the ensemble is the same for every seed.
    """
    logits, signs = {}, {}
    for part in ("validation", "test"):
        own = [run.predictions(BASELINE, one, part) for one in range(networks)]
        logits[part] = np.mean([task_of("present").logits(one) for one in own], axis=0)
        signs[part] = signs_of(*(run.predictions(one, 0, part) for one in _OTHERS))
    slope, bias, weights = fit_fusion(logits["validation"], signs["validation"], targets)
    folders = [run.artifact(BASELINE, one) for one in range(networks)]
    counts = [count_weights(folder / "model.onnx") for folder in folders]
    ensemble = Ensemble(
        run.artifact(ENSEMBLE, seed),
        tuple(folder.name for folder in folders),
        run.artifact("tfidf", 0).name,
        run.artifact("rule-assertion", 0).name,
        slope,
        bias,
        weights,
        macs_per_note=int(total_of(run, networks, "macs_per_note")),
        network_weights=(
            sum(one.parameters for one in counts),
            sum(one.nonzero_parameters for one in counts),
        ),
    )
    shutil.rmtree(ensemble.folder, ignore_errors=True)
    ensemble.save(ensemble.folder)
    answers = {
        part: task_of("present").probabilities(ensemble.combine(logits[part], signs[part])) for part in logits
    }
    return ensemble, answers


def total_of(run: RunFolder, networks: int, key: str) -> float:
    """The sum of what the rows of all members have under `key`."""
    rows = [run.read_row(BASELINE, one) or {} for one in range(networks)]
    rows += [run.read_row(one, 0) or {} for one in _OTHERS]
    return sum(float(row[key]) for row in rows)


def ensemble_logits(
    run: RunFolder, texts: Sequence[str], step: Callable[[str, int, int], None]
) -> NDArray[np.float32]:
    """What the ensemble says of `texts`, `(notes, K)`, computed once.

    Args:
        run: with the row of the ensemble.
        texts: as the models see them.
        step: told of progress.
    """
    ensemble = Ensemble.load(run.artifact(ENSEMBLE, 0))
    mark = hashlib.sha256((ensemble.folder / FILE).read_bytes()).hexdigest()[:16]
    kept = run.work(ENSEMBLE, 0) / f"{mark}-{fingerprint_texts(texts)[:16]}.npy"
    if kept.is_file():
        stored: NDArray[np.float32] = np.load(kept, allow_pickle=False)
        return stored
    parts = []
    for start in range(0, len(texts), PART_NOTES):
        parts.append(ensemble.logits(texts[start : start + PART_NOTES]))
        step("the ensemble's answers", min(start + PART_NOTES, len(texts)), len(texts))
    logits = np.concatenate(parts).astype(np.float32)
    with atomic_path(kept) as draft, draft.open("wb") as stream:
        np.save(stream, logits, allow_pickle=False)
    return logits
