"""A study that reads whole notes: one way to their logits in training, scoring and extraction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sympress.compression.recipe.language import parse_recipe
from sympress.config import StudyConfig, as_stored, make_config
from sympress.errors import InputError
from sympress.labels.lexicon import load_lexicon
from sympress.labels.task import task_of
from sympress.models.encoder import load_encoder
from sympress.models.model import count_macs, load_model
from sympress.notes.synthesize import synthesize
from sympress.pipeline.compress import compress, make_plan
from sympress.pipeline.order import Order
from sympress.progress import Reporter
from sympress.results import Results
from sympress.runtime.artifact import read_extractor
from sympress.runtime.extractor import Extractor
from sympress.runtime.session import Runtime
from sympress.studies.costs import teacher_yardsticks
from sympress.studies.data import prepare
from sympress.studies.folder import RunFolder
from sympress.studies.judge import answerer, predict_yardstick
from sympress.studies.run import run_study
from sympress.studies.train import make_extractor, stride_of

SETTINGS: dict[str, Any] = {
    "baseline_longer": False,
    "synthetic_notes": 120,
    "epochs": 1,
    "max_tokens": 24,
    "max_windows": 4,
    "text_window": 400,
    "resamples": 50,
    "learning_rate": 1e-3,
    "protocol": "clinical",
    "labels": "coded",
    "task": "present",
    "top_k": 3,  # as test_fused_rows.py, and its student: what is traced there is not traced here
    "split": "patient",
    "strategies": ("baseline",),
    "recipes": ("conv = distill(student=conv, width=8, channels=16, tokens=48, rate=0.01)",),
}


@pytest.fixture(scope="module")
def studied(
    tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path, memory_unmeasured: None
) -> tuple[Path, Results, StudyConfig]:
    run = tmp_path_factory.mktemp("whole") / "run"
    config = StudyConfig(encoder=str(encoder_folder), **SETTINGS)
    return run, run_study(config, run), config.resolved()


@pytest.mark.parametrize(("name", "size", "stride"), [("baseline", 24, 16), ("conv", 48, 44)])
def test_stored_logits_of_a_note_are_those_of_extraction(
    studied: tuple[Path, Results, StudyConfig], name: str, size: int, stride: int
) -> None:
    run, _, config = studied
    data = prepare(config, Reporter(quiet=True))
    artifact = RunFolder(run).artifact(name, 0)
    settings = read_extractor(artifact)
    assert (settings.windows, settings.max_tokens, settings.stride) == ("all", size, stride)
    extractor, task = Extractor.load(artifact), task_of("present")
    for part, rows in (("validation", data.split.validation), ("test", data.split.test)):
        stored = RunFolder(run).predictions(name, 0, part)
        found = [extractor.note_logits(text) for text in data.texts_of(rows)]
        assert max(windows for _, windows, _ in found) > (4 if size == 24 else 2)
        np.testing.assert_allclose(task.logits(stored), [logits for logits, _, _ in found], atol=1e-4)
    answer = answerer(Runtime.load(artifact))
    text = data.texts_of(data.split.test)[0]
    np.testing.assert_allclose(answer(text)[0], found[0][0], atol=1e-6)


def test_what_is_read_is_recorded(studied: tuple[Path, Results, StudyConfig]) -> None:
    run, results, _ = studied
    assert (results.config["windows"], results.config["max_windows"]) == ("all", 4)
    stored = json.loads((RunFolder(run).artifact("baseline", 0) / "extractor.json").read_text())
    assert stored["windows"] == "all"
    warning = next(line for line in results.warnings if "not seen" in line)
    assert "training notes are longer than 4 windows of 24 word pieces; what comes after" in warning


def test_costs_are_those_of_all_windows(studied: tuple[Path, Results, StudyConfig]) -> None:
    run, results, _ = studied
    baseline = next(row for row in results.strategies if row.name == "baseline")
    window = count_macs(load_model(RunFolder(run).artifact("baseline", 0)), 24)
    assert (baseline.cost.macs_per_note or 0) > 3 * window


def test_the_yardstick_reads_what_the_artifact_reads(
    studied: tuple[Path, Results, StudyConfig], tmp_path: Path
) -> None:
    run, _, config = studied
    artifact = RunFolder(run).artifact("baseline", 0)
    data = prepare(config, Reporter(quiet=True))
    texts = data.texts_of(data.split.test)[:5]
    pytorch = teacher_yardsticks(artifact, tmp_path, threads=1)["pytorch-fp32"]
    runtime = Runtime.load(artifact)
    wanted = task_of("present").probabilities(runtime.predict_logits(texts))
    np.testing.assert_allclose(predict_yardstick(pytorch, texts), wanted, atol=1e-4)


def test_an_artifact_that_reads_whole_notes_is_pressed_as_it_reads(
    studied: tuple[Path, Results, StudyConfig], tmp_path: Path
) -> None:
    run, _, _ = studied
    recipe = parse_recipe("fine-tune(epochs=1) > quantize(int8)")
    artifact = RunFolder(run).artifact("baseline", 0)
    order = Order(model=artifact, output=tmp_path / "small", recipe=recipe)
    record = compress(make_plan(order))
    settings = read_extractor(order.output)
    assert (settings.windows, settings.stride) == ("all", 16)
    assert record["macs_per_note"] > 3 * count_macs(load_model(artifact), 24)
    assert settings.thresholds is not None


def test_the_published_protocol_reads_the_first_window_and_clinical_all(encoder_folder: Path) -> None:
    lexicon, encoder = load_lexicon("paper"), load_encoder(str(encoder_folder))

    def read(**settings: Any) -> Any:
        config = make_config({"encoder": str(encoder_folder), "max_tokens": 24, **settings}).resolved()
        return make_extractor(config, encoder, lexicon, ["fever", "cough"])

    paper, clinical = read(protocol="paper"), read(protocol="clinical")
    assert (paper.windows, paper.stride, stride_of(paper)) == ("first", None, None)
    assert (clinical.windows, clinical.stride, stride_of(clinical)) == ("all", 16, 16)
    assert read(protocol="clinical", windows="first") == paper.model_copy(
        update={"lower": False, "text_window": None, "mask_placeholders": True}
    )
    assert (
        stride_of(paper.model_copy(update={"windows": "all"})) == 11
    )  # half a window, as the runtime has it


def test_a_run_from_before_windows_goes_on_with_the_first_one(tmp_path: Path, encoder_folder: Path) -> None:
    config = StudyConfig(encoder=str(encoder_folder), **SETTINGS).resolved()
    old = {key: value for key, value in config.model_dump(mode="json").items() if "windows" not in key}
    assert as_stored(old)["windows"] == "first"
    assert as_stored({**old, "task": "mentions"})["windows"] == "all"
    assert as_stored({**old, "windows": "all"})["windows"] == "all"
    claim = {"format": 2, "config": old, "inputs": {}}
    (tmp_path / "study.json").write_text(json.dumps(claim))
    with pytest.raises(InputError, match=r"its windows is 'first', not 'all'; choose another -o$"):
        RunFolder(tmp_path).check(config)
    again = config.model_copy(update={"windows": "first", "max_windows": 16})
    RunFolder(tmp_path).check(again)


def test_long_synthetic_notes_are_there() -> None:
    assert max(len(text) for text in synthesize(120, seed=0).frame["text"].to_list()) > 400
