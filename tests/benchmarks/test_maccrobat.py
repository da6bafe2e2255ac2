"""Folds by document: each answered once by a tagger that never saw it, stored and gone on with."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from benchmarks.folds import choose_bias, draw_transfer, make_folds
from benchmarks.maccrobat import counted, main, read_documents
from sympress.errors import InputError
from sympress.runtime.artifact import read_extractor
from sympress.runtime.extractor import Extractor

WORDS = ("fever", "cough", "pain", "rash", "chills", "nausea", "a", "b", "c", "d")


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """Ten case reports as MACCROBAT marks them: spans, events, a denied one, and spans of other kinds."""
    folder = tmp_path / "brat"
    folder.mkdir()
    for number in range(10):
        first, second = WORDS[number % 6], WORDS[(number + 1) % 6]
        text = f"patient reports {first} and denies {second} after the dose"
        at, then, drug = text.index(first), text.index(second, 20), text.index("dose")
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
        (folder / f"{number}.ann").write_text(
            f"T1\tSign_symptom {at} {at + len(first)}\t{first}\n"
            f"E1\tSign_symptom:T1 \n"
            f"T2\tSign_symptom {then} {then + len(second)}\t{second}\n"
            f"E2\tSign_symptom:T2 \n"
            f"A1\tPOLARITY E2 NEG\n"
            f"T3\tMedication {drug} {drug + 4}\tdose\n",
            encoding="utf-8",
        )
    return folder


def test_folds_cover_all_documents_once_and_keep_validation_apart():
    folds = make_folds(23, 5, seed=3)
    assert sorted(index for fold in folds for index in fold.test) == list(range(23))
    for fold in folds:
        assert sorted(fold.train + fold.validation + fold.test) == list(range(23))
        assert fold.validation
    assert make_folds(23, 5, seed=3) == folds != make_folds(23, 5, seed=4)
    with pytest.raises(InputError, match="1 folds of 23 documents"):
        make_folds(23, 1, seed=0)


def test_every_document_is_answered_once_and_a_second_call_goes_on(
    tmp_path: Path, encoder_folder: Path, documents: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    call = ["--data", str(documents), "-o", str(run), "--encoder", str(encoder_folder), "--folds", "2"]
    call += ["--epochs", "1", "--max-tokens", "24", "--recipe", "small = quantize(int8)"]
    assert main([*call, "--ship", str(tmp_path / "ship")]) == 0
    shipped = read_extractor(tmp_path / "ship" / "small")
    notes, _ = read_documents(documents)
    students = [run / f"fold-{fold}" / "artifact-small" for fold in (0, 1)]
    folds = make_folds(10, 2, seed=0)
    bias, f1 = choose_bias(students, folds, notes)
    assert shipped.span_bias == bias
    assert f1 >= min(choose_bias([one], [fold], notes)[1] for one, fold in zip(students, folds, strict=True))
    assert Extractor.load(tmp_path / "ship" / "small")("patient reports fever").failure is None
    results = json.loads((run / "maccrobat.json").read_text(encoding="utf-8"))
    assert list(results["rows"]) == [
        "tagger",
        "small",
        "tagger with rules",
        "small with rules",
        "rules",
    ]
    assert results["rows"]["small"]["recipe"] == "quantize(int8)"
    assert results["rows"]["small with rules"]["recipe"] == "quantize(int8)"
    assert results["rows"]["small with rules"]["size_bytes"] == results["rows"]["small"]["size_bytes"]
    assert all(row["spans"]["notes"] == 10 for row in results["rows"].values())
    assert results["rows"]["tagger"]["minus_tagger"] is None
    by_fold = results["rows"]["rules"]["by_fold"]
    assert [fold["fold"] for fold in by_fold] == [0, 1]
    assert all(0 < fold["exact_f1"] <= fold["overlapping_f1"] <= 1 for fold in by_fold)
    assert results["counts"]["mentions"] == 20
    assert results["counts"]["mentions absent"] == 10
    assert results["counts"]["spans of other labels"] == 10
    answered = [
        json.loads((run / f"fold-{fold}" / "predictions.json").read_text(encoding="utf-8")) for fold in (0, 1)
    ]
    assert sorted(note for one in answered for note in one["predictions"]) == [str(n) for n in range(10)]
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.parent != run}
    capsys.readouterr()
    assert main(call) == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.parent != run} == before
    assert "tagger: documents 10, gold spans 20" in capsys.readouterr().out
    assert main([*call, "--seed", "1"]) == 2
    assert "its seed is 0, not 1; choose another -o" in capsys.readouterr().err


def test_unlabelled_notes_are_drawn_from_each_source_and_no_text_twice(tmp_path: Path):
    for name, notes in (("a", ["x", "y", "y", "z"]), ("b", ["z", "w"])):
        rows = [json.dumps({"id": f"{name}{at}", "text": text}) for at, text in enumerate(notes)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    sources = [counted(f"{tmp_path}/a.jsonl=9"), counted(f"{tmp_path}/b.jsonl=2")]
    assert sorted(draw_transfer(sources)) == ["w", "x", "y", "z"]
    few = [(path, 1) for path, _ in sources]
    assert draw_transfer(few) == list(dict.fromkeys(draw_transfer(few[:1]) + draw_transfer(few[1:])))
    assert len(draw_transfer(few[:1])) == 1
    with pytest.raises(argparse.ArgumentTypeError, match="is not NOTES=COUNT"):
        counted("a.jsonl=many")
