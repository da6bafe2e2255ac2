"""A study of mentions on a tiny encoder: taggers, a recipe, the rules, one results file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sympress.api import compress
from sympress.config import StudyConfig, make_config
from sympress.errors import InputError
from sympress.labels.lexicon import load_lexicon
from sympress.notes.synthesize import synthesize
from sympress.report.verdict import console_table, verdict
from sympress.results import Results, StrategyResult, load_results
from sympress.runtime.artifact import check_files
from sympress.runtime.extractor import Extractor
from sympress.studies.results import check_results, read_predictions
from sympress.studies.run import run_study

SMALL = {
    "task": "mentions",
    "protocol": "clinical",
    "labels": "gold",
    "synthetic_notes": 120,
    "epochs": 2,
    "max_tokens": 48,
    "learning_rate": 2e-3,
    "resamples": 50,
    "strategies": ("baseline", "pruning"),
    "baseline_longer": False,
    "recipes": ("tiny = distill(layers=1, epochs=1) > quantize(int8)",),
}


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path, in_32_bits: None
) -> tuple[Path, Results]:
    run = tmp_path_factory.mktemp("mentions") / "run"
    return run, run_study(make_config({**SMALL, "encoder": str(encoder_folder)}), run)


def row(results: Results, name: str) -> StrategyResult:
    return next(found for found in results.strategies if found.name == name)


def test_every_row_finds_what_it_found(
    finished: tuple[Path, Results], check_golden: Callable[..., None], in_short: Callable[..., dict]
) -> None:
    check_golden("mentions", in_short(*finished), 0.02)


def test_every_row_is_judged_by_spans(finished: tuple[Path, Results]) -> None:
    run, results = finished
    assert [found.name for found in results.strategies] == ["baseline", "pruning", "tiny", "rule-assertion"]
    assert load_results(run) == results
    assert results.data.labels.startswith("gold")
    for found in results.strategies:
        spans = found.quality.spans
        assert spans is not None
        assert spans.notes == results.data.test
        assert spans.gold == row(results, "rule-assertion").quality.spans.gold  # type: ignore[union-attr]
        assert found.quality.f1 == spans.exact.f1
    rules = row(results, "rule-assertion").quality.spans
    assert rules is not None
    assert (rules.overlapping.f1.value or 0) > 0.5  # synthetic notes are made of lexicon-like forms
    ids = {symptom.id for symptom in load_lexicon("clinical").symptoms}
    assert {*results.data.symptoms, *(one.symptom for one in rules.per_symptom)} <= ids
    assert (rules.overlapping_symptom.f1.value or 0) > 0.5


def test_every_figure_follows_from_the_predictions_beside_the_results(
    finished: tuple[Path, Results],
) -> None:
    run, results = finished
    kept = read_predictions(run / "predictions.npz", "mentions")
    checked = check_results(load_results(run), kept)
    assert checked.differing == ()
    assert checked.rows == len(results.strategies)
    assert checked.figures > 500
    none_found = {note_id: [] for note_id in kept.test.note_ids}
    emptied = replace(kept, answers=kept.answers | {("rule-assertion", 0): none_found})
    differing = check_results(load_results(run), emptied).differing
    assert differing
    assert all(line.startswith("rule-assertion (seed 0): ") for line in differing)


def test_predictions_of_spans_hold_no_text(finished: tuple[Path, Results]) -> None:
    run, _ = finished
    texts = synthesize(120, seed=0).frame["text"].to_list()
    with np.load(run / "predictions.npz", allow_pickle=False) as arrays:
        kept = " ".join(str(arrays[name]) for name in ("truth", "rows", "row-0", "row-3"))
    assert not any(text[:40] in kept for text in texts)
    with pytest.raises(InputError, match=r"no predictions.npz of a study of topic"):
        read_predictions(run / "predictions.npz", "topic")


def test_pressed_taggers_are_smaller_and_say_so(finished: tuple[Path, Results]) -> None:
    _, results = finished
    base = row(results, "baseline").cost
    for name in ("pruning", "tiny"):
        found = row(results, name)
        assert found.cost.size_bytes < base.size_bytes
        assert found.versus_baseline is not None
        assert found.versus_baseline.smaller
    assert set(results.yardsticks) == {"pytorch-fp32", "onnx-int8"}


def test_the_memory_of_every_row_is_that_of_a_process_that_answers(finished: tuple[Path, Results]) -> None:
    _, results = finished
    assert all(20e6 < (found.cost.peak_rss_bytes or 0) < 4e9 for found in results.strategies)


def test_the_artifact_names_symptoms_and_codes(finished: tuple[Path, Results]) -> None:
    run, _ = finished
    extractor = Extractor.load(run / "artifacts" / "baseline-seed0")
    settings = extractor.runtime.extractor
    assert settings.lexicon == "clinical"
    assert any(code.startswith("HP:") for code in settings.codes["fever"])
    assert (run / "artifacts" / "baseline-seed0" / "checksums.json").is_file()


def test_the_same_call_again_trains_nothing(
    finished: tuple[Path, Results], encoder_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, results = finished
    monkeypatch.setattr("sympress.studies.mentions.train_artifact", None)
    monkeypatch.setattr("sympress.studies.mentions.press_artifact", None)
    monkeypatch.setattr("sympress.studies.costs.peak_memory_bytes", lambda _folder, _texts: 1)
    again = run_study(make_config({**SMALL, "encoder": str(encoder_folder)}), run)
    assert [found.quality for found in again.strategies] == [found.quality for found in results.strategies]


def test_a_run_that_keeps_no_weights_is_judged_again_but_gets_no_row(
    finished: tuple[Path, Results], encoder_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(finished[0], tmp_path / "run")
    asked = {**SMALL, "encoder": str(encoder_folder), "keep_weights": False}
    first = run_study(make_config(asked), run)
    assert not [*run.rglob("*.safetensors"), *run.glob("yardsticks")]
    artifact = run / "artifacts" / "tiny-seed0"
    check_files(artifact)
    assert Extractor.load(artifact).answer("fever and no cough") == Extractor.load(
        finished[0] / "artifacts" / "tiny-seed0"
    ).answer("fever and no cough")
    with pytest.raises(InputError, match="what is deployed alone cannot be pressed"):
        compress(artifact, "quantize(int8)", training=False, output=tmp_path / "smaller")

    monkeypatch.setattr("sympress.studies.run.measure_costs", None)  # nothing is timed anew
    again = run_study(make_config({**asked, "resamples": 60}), run)
    assert again.yardsticks == first.yardsticks
    assert [one.cost for one in again.strategies] == [one.cost for one in first.strategies]
    assert [one.quality.f1.value for one in again.strategies] == [
        one.quality.f1.value for one in finished[1].strategies
    ]
    more = (*SMALL["recipes"], "new = quantize(int8)")  # type: ignore[misc]
    with pytest.raises(InputError, match=r"no row 'new', and none can be added: the run kept no weights"):
        run_study(make_config({**asked, "recipes": more}), run)


def test_the_report_has_its_table(finished: tuple[Path, Results]) -> None:
    run, results = finished
    assert console_table(results).row_count == 4
    assert verdict(results)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "mentions" in page


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": "coded"}, "task 'mentions' has no labels from 'coded': use --labels silver or gold"),
        ({"strategies": ("lowrank-published",)}, "strategy 'lowrank-published': not for mentions"),
        ({"recipes": ("tiny = distil(layers=1)",)}, "unknown step 'distil'"),
    ],
)
def test_what_does_not_fit_is_refused(
    changes: dict[str, object], message: str, tmp_path: Path, encoder_folder: Path
) -> None:
    config = make_config({**SMALL, "encoder": str(encoder_folder), **changes})
    with pytest.raises(InputError) as caught:
        run_study(config, tmp_path / "run")
    assert str(caught.value).startswith(message)


def test_a_task_of_notes_has_no_spans() -> None:
    with pytest.raises(InputError, match="the task mentions finds spans"):
        _ = StudyConfig(task="mentions").note_task
