"""The ten lines of the README on a checkpoint of the Trainer: load, compress, evaluate, save, load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import sympress

SMALL = "vocab(keep=0.9) > distill(layers=1, epochs=12, rate=0.003) > quantize(int8)"
Notes = Callable[[int, int], tuple[list[str], list[list[str]]]]


def test_the_ten_lines(
    classifier: Path, notes_of: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    texts, labels = notes_of(200, 1)
    more, their_labels = notes_of(60, 2)
    others, _ = notes_of(100, 3)
    test, test_labels = notes_of(60, 4)
    patients = [f"p{row // 2}" for row in range(len(test))]

    model = sympress.load(classifier)
    small = sympress.compress(
        model, SMALL, train=(texts, labels), validation=(more, their_labels), unlabelled=others
    )
    scored = sympress.evaluate(small, test, test_labels, against=model, groups=patients)
    small.save("pocket/")
    found = sympress.load("pocket/")("c/o fever and cough").to_frame()

    assert model.symptoms == small.symptoms == ["fever", "cough", "rash"]
    results = scored.results
    assert results.resampled_by == "patients"
    assert results.gold.patients == 30
    assert results.notes.micro.f1.value > 0.8
    assert results.notes.micro.f1.low < results.notes.micro.f1.value
    assert results.cost.size_bytes < results.against.cost.size_bytes / 2
    assert [one.figure for one in results.against.differences] == ["notes micro", "notes macro"]
    micro = results.against.differences[0]
    assert micro.f1 == results.notes.micro.f1.value
    assert micro.difference.value == pytest.approx(micro.f1 - micro.against_f1)
    assert micro.difference.low <= micro.difference.value <= micro.difference.high
    assert 0 < micro.p_value <= 1
    said = str(scored)
    assert "against symptom-bert" in said
    assert "Difference of F1" in said
    assert set(found["symptom"]) == {"fever", "cough"}
    assert small.provenance["notes"] == {"train": 200, "transfer": 100, "validation": 60, "test": 0}
    assert small.provenance["data"]["labels"] == "given: by people"
    assert (tmp_path / "pocket" / "README.md").is_file()
