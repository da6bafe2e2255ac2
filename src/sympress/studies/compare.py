"""Two runs, or two artifacts, on the same test notes: what differs, and whether it may be chance."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sympress.config import StudyConfig, as_stored
from sympress.errors import InputError, LeakError
from sympress.evaluation.quality import f1_of
from sympress.evaluation.significance import mcnemar, paired_difference
from sympress.files import atomic_path
from sympress.labels.note_labels import label_coded_present, merge_codes
from sympress.labels.task import task_of
from sympress.progress import Reporter
from sympress.report.claims import holm
from sympress.results import Estimate, load_results
from sympress.runtime.artifact import needed_files, read_extractor, read_provenance
from sympress.runtime.session import Runtime
from sympress.studies.data import StudyData, prepare
from sympress.studies.results import Reread, reread

# Artifacts judged by more test notes than those of the sample that they were made from.


#: Notes that are answered before progress is told.
_PART = 256


def widen(config: StudyConfig, data: StudyData, fraction: float, reporter: Reporter) -> StudyData:
    """The same study with the test notes of a larger share of patients; nothing else of it is used.

    A test note of the smaller share is not among them if the larger one holds an earlier copy of it.

    Raises:
        InputError: the study is of another task, or `fraction` is no larger share than its own.
        LeakError: a note that was learnt from is among the further test notes.
    """
    if not task_of(config.task).has_thresholds or data.labels.provenance != "coded" or config.split != "time":
        raise InputError("--test-fraction is for artifacts of the task present, of coded notes split by time")
    if not config.fraction < fraction <= 1:
        raise InputError(
            f"--test-fraction {fraction:g}: give more than {config.fraction:g}, the share that the artifacts "
            "were made from, and at most 1"
        )
    reporter.say(f"reading the share {fraction:g} and looking for copies in it: minutes for 100,000 notes")
    wider = prepare(config.model_copy(update={"fraction": fraction}), reporter)
    learnt = data.frame["note_id"][np.concatenate([data.split.train, data.split.validation])]
    if wider.frame["note_id"][wider.split.test].is_in(learnt.implode()).any():
        raise LeakError("a note that the artifacts learnt from is among the further test notes")
    coded = merge_codes(wider.frame)[0] if config.labels == "concepts" else wider.frame
    labels = label_coded_present(coded, symptoms=data.labels.symptoms)
    return replace(wider, labels=labels)


def answers_of(
    task: str, artifact: Path, texts: list[str], reporter: Reporter, *, store: Path | None = None
) -> NDArray[np.bool_]:
    """What an artifact answers `(notes, K)` at its own thresholds.

    Args:
        task: whose answers.
        artifact: an artifact's folder.
        texts: the notes.
        reporter: told how far it is.
        store: a folder that keeps the answers by what decides them and by the notes, so that they are
            computed once; no text is in it.
    """
    kept = None if store is None else store / f"{_mark(artifact, texts)}.npy"
    if kept is not None and kept.is_file():
        stored: NDArray[np.bool_] = np.load(kept, allow_pickle=False)
        return stored
    runtime = Runtime.load(artifact)
    parts = []
    for start in range(0, len(texts), _PART):
        parts.append(runtime.predict(texts[start : start + _PART]))
        reporter.step(f"{artifact.name} answers", min(start + _PART, len(texts)), len(texts))
    cuts = runtime.extractor.thresholds
    found = task_of(task).affirmed(np.concatenate(parts), cuts)
    if kept is not None:
        with atomic_path(kept) as draft, draft.open("wb") as stream:
            np.save(stream, found, allow_pickle=False)
    return found


def _mark(artifact: Path, texts: list[str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(needed_files(artifact)):  # a new card changes no answer
        digest.update(hashlib.sha256((artifact / name).read_bytes()).digest())
    for text in texts:
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest()[:32]


# Two runs, or two artifacts, on the same test notes: what differs, and whether it may be chance.


@dataclass(frozen=True)
class Paired:
    """A and B on the same notes; a difference is B minus A, with its 95 % interval by patient.

    Attributes:
        name: the strategy, or both artifacts.
        seed: of the strategy; None for artifacts.
        notes: test notes.
        differing: notes with different answers.
        micro_f1_a: micro-F1 of A; `micro_f1_b` that of B.
        macro_difference: of macro-F1, and `p_macro`: by swapping the answers of whole patients.
        micro_difference: of micro-F1, and `p_micro`.
        p_mcnemar: exact McNemar test, of notes for `topic`, else of answers.
        p_holm: `p_macro` corrected for the number of pairs compared.
    """

    name: str
    seed: int | None
    notes: int
    differing: int
    micro_f1_a: float | None
    micro_f1_b: float | None
    macro_difference: Estimate
    p_macro: float | None
    micro_difference: Estimate
    p_micro: float | None
    p_mcnemar: float | None
    p_holm: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self) | {
            "macro_difference": self.macro_difference.model_dump(),
            "micro_difference": self.micro_difference.model_dump(),
        }


def compare_paths(
    first: Path,
    second: Path | None = None,
    *,
    notes: Path | None = None,
    test_fraction: float | None = None,
    reporter: Reporter | None = None,
) -> list[Paired]:
    """Compare two run folders row by row, or two artifacts, or what a run pressed with its own baselines.

    Args:
        first: A.
        second: B, of the same kind; None for a run by itself, judged by further notes.
        notes: for artifacts, the notes they were made from; by default where their provenance says.
        test_fraction: for artifacts or a run by itself, the share of patients whose test notes judge, where
            more are to judge than those of the sample that they were made from.
        reporter: where progress goes; a quiet one by default.

    Raises:
        InputError: they are of different kinds, or were not made from the same notes and labels.
    """
    if second is None:
        return _compare_within(first, test_fraction, notes, reporter or Reporter(quiet=True))
    kinds = [_kind(path) for path in (first, second)]
    if kinds[0] != kinds[1]:
        raise InputError(f"{first} is {kinds[0]} and {second} is {kinds[1]}: give two of a kind")
    if kinds[0] == "a run":
        if notes is not None or test_fraction is not None:
            raise InputError("--notes and --test-fraction are for two artifacts, or for one run by itself")
        return compare_runs(first, second)
    reporter = reporter or Reporter(quiet=True)
    with reporter:
        return [compare_artifacts(first, second, notes=notes, test_fraction=test_fraction, reporter=reporter)]


def _kind(path: Path) -> str:
    if (path / "study.json").is_file():
        return "a run"
    if (path / "extractor.json").is_file():
        return "an artifact"
    raise InputError(f"{path}: neither a run (study.json) nor an artifact (extractor.json)")


def compare_runs(first: Path, second: Path) -> list[Paired]:
    """Compare every strategy and seed that both runs have, from the predictions that they store.

    Raises:
        InputError: the test notes or their labels differ, or no strategy is in both.
    """
    results = [load_results(path) for path in (first, second)]
    task = _task(results[0].task)
    runs = [reread(path) for path in (first, second)]
    _check_same(first, second, runs)
    both = [{(row.name, row.seed): None for row in one.strategies} for one in results]
    shared = [key for key in both[0] if key in both[1]]
    if not shared:
        raise InputError(f"{first} and {second} have no strategy and seed in common")
    a, b = runs
    rows = [
        _pair(task, a.data, (a.answers(name, seed), b.answers(name, seed)), name, seed)
        for name, seed in shared
    ]
    adjusted = holm([row.p_macro for row in rows])
    return [replace(row, p_holm=p) for row, p in zip(rows, adjusted, strict=True)]


def _compare_within(
    folder: Path, test_fraction: float | None, notes: Path | None, reporter: Reporter
) -> list[Paired]:
    """Compare what a run pressed with the baseline of its seed, on further test notes."""
    if _kind(folder) != "a run" or test_fraction is None:
        raise InputError("give two runs or two artifacts, or one run with --test-fraction")
    rows = load_results(folder).strategies
    with reporter:
        study = reread(folder, notes=notes)
        task, data = _task(study.config.task), widen(study.config, study.data, test_fraction, reporter)
        texts = data.texts_of(data.split.test)

        def found(name: str, seed: int) -> NDArray[np.bool_]:
            artifact = study.run.artifact(name, seed)
            return answers_of(task, artifact, texts, reporter, store=folder / "work" / "answers")

        pairs = []
        for row in rows:
            pressed = (study.run.artifact(row.name, row.seed) / "extractor.json").is_file()
            if pressed and row.name != "baseline":
                both = found("baseline", row.seed), found(row.name, row.seed)
                pairs.append(_pair(task, data, both, row.name, row.seed))
    adjusted = holm([pair.p_macro for pair in pairs])
    return [replace(pair, p_holm=p) for pair, p in zip(pairs, adjusted, strict=True)]


def _check_same(first: Path, second: Path, runs: list[Reread]) -> None:
    a, b = runs
    ids = [one.data.frame["note_id"].to_numpy()[one.data.split.test].tolist() for one in runs]
    if a.config.task != b.config.task or a.data.labels.symptoms != b.data.labels.symptoms:
        raise InputError(f"{first} and {second} are not about the same task and symptoms")
    if ids[0] != ids[1] or not np.array_equal(a.truth, b.truth):
        raise InputError(f"{first} and {second} were not tested on the same notes and labels")


def compare_artifacts(
    first: Path,
    second: Path,
    *,
    notes: Path | None,
    test_fraction: float | None,
    reporter: Reporter,
) -> Paired:
    """Run both artifacts on the test notes of the study they were made in, and compare their answers.

    Args are those of `compare_paths`.

    Raises:
        InputError: they were not made from the same notes and split, so that one may have been trained on
            what the other is tested on; or `test_fraction` does not fit them.
        LeakError: a patient or a copy of a note is in training and among the further test notes.
    """
    described = [_provenance(path) for path in (first, second)]
    configs = [_config(path, one) for path, one in zip((first, second), described, strict=True)]
    extractors = [read_extractor(path) for path in (first, second)]
    keys = [config.data.model_dump(exclude={"notes"}) for config in configs]  # which may have moved
    same = described[0].get("data_fingerprint") == described[1].get("data_fingerprint")
    if not same or keys[0] != keys[1] or extractors[0].symptoms != extractors[1].symptoms:
        raise InputError(
            f"{first} and {second} were not made from the same notes, labels and split: "
            "one may have learnt what the other is tested on"
        )
    task = _task(configs[0].task)
    config = configs[0] if notes is None else configs[0].model_copy(update={"notes": str(notes)})
    data = prepare(config, reporter)
    if data.description.fingerprint != described[0].get("data_fingerprint"):
        raise InputError("these are not the notes that the artifacts were made from; give them with --notes")
    if test_fraction is not None:
        data = widen(config, data, test_fraction, reporter)
    texts = data.texts_of(data.split.test)
    found = [answers_of(task, path, texts, reporter) for path in (first, second)]
    reporter.say("computing intervals")
    return _pair(task, data, (found[0], found[1]), f"{first.name} → {second.name}", None)


def _task(task: str) -> str:
    if task_of(task).finds_spans:
        raise InputError(f"spans of the task {task} are not compared; `sympress report RUN1 RUN2` shows both")
    return task


def _provenance(path: Path) -> dict[str, Any]:
    stored = read_provenance(path, missing="no provenance.json; its notes are unknown")
    if not isinstance(stored, dict):
        raise InputError(f"{path / 'provenance.json'}: damaged; copy the artifact again")
    return stored


def _config(path: Path, stored: dict[str, Any]) -> StudyConfig:
    try:
        return StudyConfig.model_validate(as_stored(stored["config"]))
    except (KeyError, ValidationError) as error:
        raise InputError(f"{path}: its provenance keeps no configuration that this sympress reads") from error


def _pair(
    task: str,
    data: StudyData,
    found: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    name: str,
    seed: int | None,
) -> Paired:
    """The paired tests of the answers `(notes, K)` of A and B; patients are resampled."""
    a, b = found
    rows = data.split.test
    truth, patients = data.labels.targets[rows].astype(bool), data.patients[rows]
    macro, p_macro = paired_difference(b, a, truth, average="macro", groups=patients)
    micro, p_micro = paired_difference(b, a, truth, average="micro", groups=patients)
    right_a, right_b = a == truth, b == truth
    if task_of(task).exclusive:  # the K columns of a note are one answer
        right_a, right_b = right_a.all(axis=1), right_b.all(axis=1)
    return Paired(
        name=name,
        seed=seed,
        notes=len(truth),
        differing=int((a != b).any(axis=1).sum()),
        micro_f1_a=f1_of(a, truth),
        micro_f1_b=f1_of(b, truth),
        macro_difference=macro,
        p_macro=p_macro,
        micro_difference=micro,
        p_micro=p_micro,
        p_mcnemar=mcnemar(right_b, right_a),
    )
