"""The same by commands: train or import, compress, evaluate; each reads labelled notes from files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import sympress
from sympress.cli.main import run
from sympress.errors import InputError

Notes = Callable[[int, int], tuple[list[str], list[list[str]]]]


def code_of(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        run([str(one) for one in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def gold(tmp_path: Path, notes_of: Notes) -> Path:
    """Rows of labelled notes, two a patient, beside `validation.jsonl` and `others.jsonl`."""

    def write(name: str, count: int, seed: int, *, labelled: bool = True) -> Path:
        rows = []
        for at, (text, symptoms) in enumerate(zip(*notes_of(count, seed), strict=True)):
            row = {"note_id": f"{seed}-{at}", "patient_id": f"{seed}-{at // 2}", "text": text}
            rows.append(json.dumps(row | ({"symptoms": symptoms} if labelled else {})))
        (tmp_path / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
        return tmp_path / name

    write("validation.jsonl", 40, 12)
    write("others.jsonl", 40, 13, labelled=False)
    return write("gold.jsonl", 120, 11)


def test_train_compress_and_evaluate(
    gold: Path,
    tmp_path: Path,
    encoder_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    training = ("--encoder", encoder_folder, "--epochs", 2, "--learning-rate", 1e-3, "--max-tokens", 32)
    assert code_of("train", "--gold", gold, *training, "-o", "model") == 0
    assert "next: sympress compress model --recipe pocket" in capsys.readouterr().out
    made = sympress.load("model")
    assert (made.task, set(made.symptoms)) == ("present", {"fever", "cough", "rash"})
    assert made.provenance["notes"] == {"train": 96, "validation": 24}  # a fifth of the patients is held out
    assert made.settings.calibration is not None
    assert "Validation F1 (micro)" in Path("model/README.md").read_text(encoding="utf-8")
    assert not Path("model.work").exists()

    def copied(_model: object, path: Path, _notes: object) -> float:
        shutil.copyfile(made.folder / "model.onnx", path)
        return 0.0

    monkeypatch.setattr("sympress.studies.press.export_checked", copied)
    given = ("--gold", gold, "--validation", "validation.jsonl", "--notes", "others.jsonl")
    press = ("compress", "model", "--recipe", "quantize(int8)", *given, "-o", "small")
    assert code_of(*press, "--dry-run") == 0
    assert not Path("small").exists()
    assert code_of(*press) == 0
    small = sympress.load("small")
    assert small.provenance["notes"] == {"train": 120, "transfer": 40, "validation": 40, "test": 0}
    assert (
        code_of("evaluate", "small", "--gold", "validation.jsonl", "--against", "model", "-o", "all.json")
        == 0
    )
    said = capsys.readouterr().out
    assert "against model" in said
    figures = json.loads(Path("all.json").read_text(encoding="utf-8"))
    assert figures["cost"]["size_bytes"] == Path("small/model.onnx").stat().st_size
    assert figures["resampled_by"] == "patients"
    assert len(figures["against"]["differences"]) == 2
    assert code_of(*press) == 0  # done before


def test_import_takes_thresholds_from_validation_notes(
    classifier: Path, gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    validation = tmp_path / "validation.jsonl"
    assert code_of("import", classifier, "-o", tmp_path / "model", "--validation", validation) == 0
    assert "thresholds: chosen on 40 notes that were given, validation F1 " in capsys.readouterr().out
    made = sympress.load(tmp_path / "model")
    assert made.settings.calibration is not None
    assert len(made.settings.thresholds) == 3
    texts = [json.loads(line)["text"] for line in validation.read_text(encoding="utf-8").splitlines()]
    wanted = [json.loads(line)["symptoms"] for line in validation.read_text(encoding="utf-8").splitlines()]
    f1 = sympress.evaluate(made, texts, wanted, timed=False).results.notes.micro.f1.value
    assert made.provenance["thresholds"].endswith(f"validation F1 {f1:.4f}")


def test_a_checkpoint_is_tried_in_a_dry_run(
    classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert code_of("compress", classifier, "--no-training", "--dry-run", "-o", "small") == 0
    said = capsys.readouterr().out
    assert f"teacher: {classifier}, 0." in said
    assert "step 1: quantize(int8)" in said
    assert list(tmp_path.iterdir()) == []


def test_what_is_asked_for_is_a_recipe_or_a_budget(tmp_path: Path):
    from sympress.api import _recipe_or_budget

    (tmp_path / "own.toml").write_text('[[step]]\nname = "quantize"\n', encoding="utf-8")
    for recipe in (
        "quantize(int8)",
        tmp_path / "own.toml",
        sympress.Recipe.from_dict({"step": [{"name": "quantize"}]}),
    ):
        assert [str(one) if one is not None else None for one in _recipe_or_budget(recipe)] == [
            "quantize(int8)",
            None,
        ]
    recipe, budget = _recipe_or_budget("size_mb<=3, f1_drop<=0.01")
    assert recipe is None
    assert (budget.size_mb, budget.f1_drop) == (3, 0.01)


def test_notes_are_read_before_the_hub_is_asked(
    gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def asked(*_: object, **__: object) -> str:
        raise AssertionError("the Hub was asked")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", asked)
    hub = "my-org/symptom-bert"
    missing = ("--validation", "none.jsonl", "-o", "out")
    assert code_of("import", hub, *missing) == 2
    assert code_of("compress", hub, "--recipe", "pocket", "--gold", gold, *missing) == 2
    assert code_of("train", "--gold", "none.jsonl", "--encoder", hub, "-o", "out") == 2
    assert all("none.jsonl: no such file" in line for line in capsys.readouterr().err.splitlines())
    with pytest.raises(InputError, match="train: note 0 is int"):
        sympress.compress(hub, "pocket", train=([1], [[]]))


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        ([["fever"]] * 9, "topic", "its labels name 1 symptoms; there is nothing to tell apart"),
        ([["fever"], [], ["cough"]] * 3, "topic", "has 0 symptoms; a topic is one"),
        ([["fever"]] * 9, "mentions", r"no spans; give \(start, end, name\) a note"),
        ([["fever"]] * 3, "present", "3 notes and no validation notes; give 5 at least"),
    ],
)
def test_labels_that_do_not_fit_the_task_are_refused_before_an_encoder_is_asked_for(
    labels: list[list[str]], task: str, message: str
):
    with pytest.raises(InputError, match=message):
        sympress.train([f"note {at}" for at in range(len(labels))], labels, encoder="/no/such", task=task)


def test_spans_train_a_tagger(encoder_folder: Path):
    texts = ["fever and pain", "no dose", "after rash", "cough"] * 6
    spans = [[(0, 5, "fever")], [], [(6, 10, "rash")], [(0, 5, "cough")]] * 6
    made = sympress.train(texts, spans, encoder=encoder_folder, epochs=1, max_tokens=32)
    assert made.task == "mentions"
    assert made.settings.tags == ["O", "B-present", "I-present"]
    assert np.isfinite(made.provenance["validation_f1"])
    assert made("fever and pain").failure is None
