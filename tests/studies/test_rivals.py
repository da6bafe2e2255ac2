"""The rivals that every table has: what they learn from, how long they train, how they are timed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from sympress.compression.recipe.language import parse_recipe, read_recipe, recipe_of, train_longer
from sympress.compression.recipe.material import draw_further
from sympress.config import StudyConfig
from sympress.labels.mentions import LabelSet
from sympress.runtime.artifact import Extractor
from sympress.runtime.session import SLOWER_FUSED
from sympress.studies import costs
from sympress.studies.labelled import FurtherLabels, label_further
from sympress.studies.rows import NoteTask
from sympress.training.epochs import TrainSettings

SETTINGS = TrainSettings(epochs=2, batch_size=16)


@pytest.mark.parametrize(
    ("recipes", "longer"),
    [
        # 1,000 notes in batches of 16 are 63 steps a pass; the baseline makes two passes.
        (["vocab(keep=0.4) > quantize(int8)"], None),
        (["distill(layers=1, further=0)"], "fine-tune(epochs=2)"),
        (["distill(layers=1, epochs=1, batch=32, further=0)"], "fine-tune(epochs=1)"),
        (["distill(updates=500, further=0)"], "fine-tune(epochs=8)"),
        (["distill(epochs=1)"], "fine-tune(epochs=4)"),  # 3,000 further notes: 250 steps
        (["mask(0.3, score=movement) > fine-tune(epochs=3)", "distill(further=0)"], "fine-tune(epochs=5)"),
        (["quantize(int8, aware=true, epochs=1)"], "fine-tune(epochs=4)"),
        (["pretrained > fine-tune"], None),  # it begins anew: no more steps than the baseline
        (["pretrained > fine-tune(epochs=3)"], "fine-tune(epochs=1)"),
    ],
)
def test_the_baseline_trains_on_for_as_many_steps_as_the_longest_recipe(recipes, longer):
    found = train_longer([parse_recipe(text) for text in recipes], 1000, 3000, SETTINGS)
    assert (None if found is None else str(found)) == longer


def test_strategies_that_distil_train_twice_as_long_as_the_baseline():
    config = StudyConfig(encoder="bundled").resolved()
    for name, epochs in (("distillation", 2), ("lowrank", 2), ("pruning", 2), ("quantization", None)):
        found = train_longer([recipe_of(name, config)], 1000, 0, SETTINGS)
        assert (None if found is None else str(found)) == (epochs and f"fine-tune(epochs={epochs})"), name


def test_a_recipe_of_updates_counts_the_passes_that_it_really_makes():
    # pocket: 1,000 + 3,000 notes in batches of 32 are 125 steps; 6,000 updates are 48 passes.
    found = train_longer([read_recipe("pocket")], 1000, 3000, SETTINGS)
    assert str(found) == f"fine-tune(epochs={-(-6000 // 63)})"


def test_the_int8_yardstick_runs_in_a_session_like_our_own(monkeypatch, tmp_path: Path):
    opened: list[Any] = []
    monkeypatch.setattr(costs, "open_session", lambda path, **flags: opened.append((path, flags)))
    runtime = SimpleNamespace(extractor=SimpleNamespace(task="present"))
    monkeypatch.setattr(costs, "Runtime", SimpleNamespace(load=lambda *_, **__: runtime))
    (tmp_path / "int8.onnx").write_bytes(b"12345")
    assert costs._int8(tmp_path, tmp_path / "int8.onnx", threads=3).size_bytes == 5
    assert opened == [(tmp_path / "int8.onnx", {"threads": 3})]
    assert SLOWER_FUSED  # which `open_session` leaves out by itself


CODED = LabelSet("present", ("Pyrexia", "Chills"), ("1",), np.zeros((1, 2), np.uint8), "coded", "by people")


def test_transfer_notes_are_labelled_where_people_coded_them():
    notes = pl.DataFrame({"note_id": ["a", "b", "c"], "codes": [["Chills"], None, ["Rash", "Pyrexia"]]})
    found = label_further(CODED, notes)
    assert found.known.tolist() == [True, False, True]
    assert found.targets.tolist() == [[0, 1], [0, 0], [1, 0]]


def test_labels_by_rules_say_nothing_of_transfer_notes():
    silver = LabelSet("present", CODED.symptoms, ("1",), CODED.targets, "silver", "rules")
    assert label_further(silver, pl.DataFrame({"codes": [["Chills"]]})) is None


def tfidf_notes(recipes: tuple[str, ...]) -> tuple[list[str], list[list[int]]]:
    """What TF-IDF learns from in a study with one training note and four transfer notes, one not coded."""
    further = FurtherLabels(np.array([True, True, False, True]), np.array([[1], [0], [0], [1]], np.uint8))
    data = SimpleNamespace(
        split=SimpleNamespace(train=np.array([0])),
        labels=SimpleNamespace(targets=np.array([[1]], np.uint8)),
        texts_of=lambda rows: ["own"],
    )
    task = SimpleNamespace(
        data=data,
        extractor=Extractor(task="present", symptoms=["fever"], max_tokens=32, pad_id=0),
        transfer=("t0", "t1", "t2", "t3"),
        transfer_labels=further,
        config=SimpleNamespace(recipes=recipes),
    )
    texts, targets = NoteTask.labelled_for_tfidf(task)  # type: ignore[arg-type]
    return texts, targets.tolist()


def test_tfidf_learns_from_every_labelled_note_that_a_student_saw():
    assert tfidf_notes(()) == (["own"], [[1]])
    assert tfidf_notes(("vocab(keep=0.4) > quantize(int8)",)) == (["own"], [[1]])
    texts, targets = tfidf_notes(("distill(layers=1)",))
    assert sorted(zip(texts, targets, strict=True)) == [("own", [1]), ("t0", [1]), ("t1", [0]), ("t3", [1])]
    drawn = [f"t{row}" for row in draw_further(4, 2) if row != 2]
    assert tfidf_notes(("distill(layers=1, further=2)",))[0] == ["own", *drawn]
