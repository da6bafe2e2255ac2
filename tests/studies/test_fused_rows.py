"""A study whose rows weigh model and rules together, and whose students an ensemble teaches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.document_tables import fresh_table
from benchmarks.fresh import judge_fresh
from sympress.compression.recipe.language import parse_recipe
from sympress.config import make_config
from sympress.errors import InputError
from sympress.evaluation.cost import peak_memory_bytes
from sympress.labels.task import task_of
from sympress.models.ensemble import Ensemble
from sympress.notes.intake import keep_patient
from sympress.results import Results
from sympress.runtime.artifact import read_extractor
from sympress.runtime.extractor import Extractor
from sympress.runtime.session import Runtime
from sympress.studies.results import check_results, read_predictions
from sympress.studies.run import run_study

SYMPTOMS = ("fever", "cough", "rash")
STACK = "quantize(int8) > fuse"
TAUGHT = "distill(student=conv, width=8, channels=16, epochs=1, batch=32, teacher=ensemble) > fuse"


def _note(number: int) -> tuple[str, list[str]]:
    """A note of fillers in which a symptom is affirmed, denied or left out, and its codes."""
    random = np.random.default_rng(number)
    told = random.integers(0, 3, len(SYMPTOMS))
    said = {1: "Patient has {}.", 2: "Denies {}."}
    parts = [said[how].format(name) for name, how in zip(SYMPTOMS, told, strict=True) if how]
    fillers = " ".join(f"w{word}" for word in random.integers(0, 900, 14))
    return " ".join([fillers, *parts]), [name for name, how in zip(SYMPTOMS, told, strict=True) if how == 1]


#: One row of each kind of model: memory takes a process to measure.
MEASURED = ("stack", "rule", "tfidf", "ensemble")


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path
) -> Iterator[tuple[Path, Results]]:
    folder = tmp_path_factory.mktemp("fused")

    def measured(model: Path, texts: Sequence[str]) -> int:
        return peak_memory_bytes(model, texts) if model.name.partition("-seed")[0] in MEASURED else 1

    with (folder / "notes.jsonl").open("w", encoding="utf-8") as stream:
        for number in range(300):
            text, codes = _note(number)
            year = 2003 + (number % 5 > 2) + (number % 5 > 3)
            stream.write(
                json.dumps({"note_id": str(number), "time": f"{year}-03-01", "text": text, "codes": codes})
                + "\n"
            )
    config = make_config(
        {
            "notes": folder / "notes.jsonl",
            "protocol": "clinical",
            "task": "present",
            "labels": "coded",
            "split": "time",
            "symptoms": SYMPTOMS,
            "encoder": str(encoder_folder),
            "strategies": ("baseline",),
            "recipes": (f"stack = {STACK}", f"taught = {TAUGHT}"),
            "baseline_longer": False,
            "epochs": 1,
            "max_tokens": 48,
            "resamples": 50,
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sympress.studies.costs.peak_memory_bytes", measured)
        yield folder / "run", run_study(config, folder / "run")


def test_the_ensemble_is_a_rival_in_the_table_and_beats_a_network_that_learnt_nothing(
    finished: tuple[Path, Results],
) -> None:
    _, results = finished
    f1 = {(row.name, row.seed): row.quality.micro_f1.value for row in results.strategies}
    assert [row.name for row in results.strategies] == [
        "baseline",
        "stack",
        "taught",
        "rule",
        "rule-assertion",
        "tfidf",
        "ensemble",
    ]
    assert f1["stack", 0] > f1["baseline", 0] + 0.05
    assert f1["ensemble", 0] > f1["baseline", 0] + 0.05
    recorded = {row.name: row.recipe for row in results.strategies}
    assert recorded["stack"] == STACK
    assert str(parse_recipe(TAUGHT)) == recorded["taught"]
    memory = {row.name: row.cost.peak_rss_bytes or 0 for row in results.strategies}
    assert sorted(MEASURED) == sorted(name for name, size in memory.items() if 20e6 < size < 4e9)
    assert {size for name, size in memory.items() if name not in MEASURED} == {1}


def test_every_figure_follows_from_the_predictions(finished: tuple[Path, Results]) -> None:
    run, results = finished
    checked = check_results(results, read_predictions(run / "predictions.npz", "present"))
    assert checked.differing == ()


def test_the_artifact_answers_what_the_study_scored(finished: tuple[Path, Results]) -> None:
    run, _ = finished
    folder = run / "artifacts" / "stack-seed0"
    fusion = read_extractor(folder).fusion
    assert fusion is not None
    assert fusion.mentions == [["fever"], ["cough"], ["rash"]]
    assert all(present > denied for present, denied in zip(fusion.present, fusion.denied, strict=True))
    notes = [_note(number)[0] for number in range(4, 300, 5)]
    stored = np.load(run / "predictions" / "stack-seed0.npz")["test"]
    calibration = read_extractor(folder).calibration
    assert calibration is not None
    expected = calibration.apply(task_of("present").logits(stored))
    assert Runtime.load(folder).predict(notes) == pytest.approx(expected, abs=1e-6)
    extractor = Extractor.load(folder)
    for text, row in list(zip(notes, expected, strict=True))[:5]:
        found = {one.symptom: one.probability for one in extractor(text).symptoms}
        for name, probability in found.items():
            assert probability == pytest.approx(row[SYMPTOMS.index(name)], abs=1e-6)


def test_the_stored_ensemble_answers_what_its_row_holds(finished: tuple[Path, Results]) -> None:
    run, _ = finished
    ensemble = Ensemble.load(run / "artifacts" / "ensemble-seed0")
    stored = np.load(run / "predictions" / "ensemble-seed0.npz")["test"]
    notes = [_note(number)[0] for number in range(4, 300, 5)]
    assert ensemble.predict_proba(notes) == pytest.approx(stored, abs=1e-5)
    assert ensemble.networks == ("baseline-seed0",)
    assert ensemble.size_bytes > (run / "artifacts" / "baseline-seed0" / "model.onnx").stat().st_size


def test_fresh_notes_are_those_of_patients_who_judged_nothing(finished: tuple[Path, Results]) -> None:
    run, _ = finished
    found = judge_fresh(run, 0.5)
    kept = read_predictions(run / "predictions.npz", "present")
    fresh = np.array([not keep_patient(one, 0.5) for one in kept.test.note_ids])
    assert found["notes"] == fresh.sum() < len(fresh)
    probabilities, cuts = kept.test.scored(kept, "stack", 0)  # type: ignore[attr-defined]
    answered, truth = probabilities[fresh] >= cuts, kept.test.truth[fresh].astype(bool)
    micro = 2 * (answered & truth).sum() / (answered.sum() + truth.sum())
    assert found["rows"]["stack"]["micro_f1"]["value"] == pytest.approx(micro)
    assert found["rows"]["stack"]["micro_f1_of_seeds"] == [pytest.approx(micro)]
    timed = {"latency_ms_p50": 0.5, "times_micro": 0.6}
    rows = {name: row | timed for name, row in found["rows"].items()}
    lines = fresh_table({**found, "rows": rows, "micro": {"latency_ms_p50": 0.83}})
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:9]] == list(rows)
    assert found["symptoms"] == 3
    assert found["frequent"] == {"reports": 10, "symptoms": 2}
    assert lines[0].endswith(" | macro-F1 | macro-F1, frequent |")
    assert "`micro` takes 0.83 ms for the same reports, read whole; frequent: the 2 symptoms" in lines[-1]
    of_two = [one["macro_f1_frequent"]["value"] for one in found["rows"].values()]
    assert of_two != [one["macro_f1"]["value"] for one in found["rows"].values()]
    with pytest.raises(InputError, match="no test note is fresh"):
        judge_fresh(run, 1.0)


def test_a_recipe_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match="fuse must be the last step"):
        parse_recipe("fuse > quantize(int8)")
    with pytest.raises(InputError, match="give teacher=ensemble in every distill of the recipe"):
        parse_recipe("distill(layers=2, teacher=ensemble) > distill(layers=1)")
    assert str(parse_recipe("quantize > fuse")) == "quantize(int8) > fuse"
