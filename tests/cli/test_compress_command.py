"""`sympress compress`: what it prints, and what it says of wrong calls, each in one line with exit code 2."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import AlbertConfig, AlbertModel

from sympress.cli.main import run
from sympress.compression.distill.teachers import fingerprint_teacher
from sympress.compression.recipe.language import UNTRAINED, parse_recipe, read_recipe
from sympress.compression.vocab import Vocab
from sympress.config import StudyConfig
from sympress.models.families import FAMILIES
from sympress.models.model import SymptomModel, build_model, load_model, save_model
from sympress.notes.synthesize import synthesize
from sympress.runtime.artifact import write_checksums
from sympress.studies.run import run_study

NOTES = 300


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path, memory_unmeasured: None) -> Path:
    """A folder with `notes.parquet` and `run/`, a tiny study of the task `present` on them."""
    folder = tmp_path_factory.mktemp("command")
    synthesize(NOTES, seed=0).frame.write_parquet(folder / "notes.parquet")
    config = StudyConfig(
        notes=folder / "notes.parquet",
        encoder=str(encoder_folder),
        protocol="clinical",
        task="present",
        top_k=3,
        strategies=("baseline",),
        epochs=1,
        max_tokens=32,
        text_window=200,
        resamples=50,
        learning_rate=1e-3,
    )
    run_study(config, folder / "run")
    return folder


@pytest.fixture(autouse=True)
def nothing_left(place: Path) -> Iterator[None]:
    """Each test starts without the output of another."""
    yield
    for name in ("out", "out.work"):
        shutil.rmtree(place / name, ignore_errors=True)


@pytest.fixture
def exports_copied(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For recipes that leave the weights alone: the fp32 file is the teacher's, which saves the export."""
    teacher = place / "run" / "artifacts" / "baseline-seed0"
    weights = fingerprint_teacher(load_model(teacher))

    def copied(model: SymptomModel, path: Path, _notes: object) -> float:
        assert fingerprint_teacher(model) == weights
        shutil.copyfile(teacher / "model.onnx", path)
        return 0.0

    monkeypatch.setattr("sympress.studies.press.export_checked", copied)


def arguments(place: Path, *more: str) -> list[str]:
    model = place / "run" / "artifacts" / "baseline-seed0"
    return ["compress", str(model), "--notes", str(place / "notes.parquet"), "-o", str(place / "out"), *more]


def refusal(capsys: pytest.CaptureFixture[str], *parts: str) -> str:
    with pytest.raises(SystemExit) as done:
        run(list(parts))
    last = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sympress:")]
    assert done.value.code == 2, last
    assert len(last) == 1
    return last[0]


def test_a_recipe_ends_with_the_artifact(
    place: Path, capsys: pytest.CaptureFixture[str], exports_copied: None
) -> None:
    with pytest.raises(SystemExit) as done:
        run(arguments(place, "--recipe", "quantize(int8)"))
    said = capsys.readouterr().out
    assert done.value.code == 0
    assert all(name in said for name in ("teacher, PyTorch fp32", "teacher, ONNX int8", "pressed"))
    assert "the answer changed for" in said
    lines = said.splitlines()
    changes = json.loads((place / "out" / "provenance.json").read_text(encoding="utf-8"))["test"]["changes"]
    for one in changes["per_symptom"]:
        named = any(line.startswith(f"  {one['symptom']}: {one['flipped']} flipped, F1 ") for line in lines)
        assert named == (one["flipped"] > 0)
    assert lines[-2] == f"wrote {place / 'out'}"
    assert lines[-1].startswith("next: sympress compress ")
    stored = json.loads((place / "out" / "provenance.json").read_text(encoding="utf-8"))
    extractor = json.loads((place / "out" / "extractor.json").read_text(encoding="utf-8"))
    assert len(extractor["thresholds"]) == 3
    assert stored["config"]["notes"] == "notes.parquet"
    texts = synthesize(NOTES, seed=0).frame["text"].to_list()
    assert not any(text[:60] in json.dumps(stored) for text in texts)


def test_a_budget_ends_with_the_pareto_set(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    exports_copied: None,
) -> None:
    """Of a space with one recipe, that needs no training and cannot meet the budget."""
    monkeypatch.setattr(
        "sympress.compression.search.search.suggest", lambda _trial, _teacher: parse_recipe("quantize(int8)")
    )
    with pytest.raises(SystemExit) as done:
        run(arguments(place, "--budget", "size_mb<=0.001", "--trials", "1", "--no-test"))
    said = capsys.readouterr().out
    assert done.value.code == 3  # the budget is not met
    assert "Pareto set" in said
    assert "meets the budget; the nearest one that was trained has" in said
    assert (place / "out" / "search" / "search.svg").is_file()


def test_a_dry_run_trains_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        run(arguments(place, "--recipe", "pocket", "--dry-run"))
    assert done.value.code == 2  # `pocket` is wider than the tiny teacher
    assert "step 2 (distill)" in capsys.readouterr().err
    with pytest.raises(SystemExit) as done:
        run(arguments(place, "--recipe", "quantize(int8)", "--dry-run"))
    assert done.value.code == 0
    assert "estimated file" in capsys.readouterr().out
    assert not (place / "out").exists()
    assert not (place / "out.work").exists()


def test_without_training_and_without_a_recipe_there_is_one(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Vocab, "check_tokenizer", lambda *_: None)  # the tiny teacher has too few pieces
    with pytest.raises(SystemExit) as done:
        run(arguments(place, "--no-training", "--dry-run"))
    assert done.value.code == 0
    said = capsys.readouterr().out
    steps = read_recipe(UNTRAINED).steps
    assert all(f"step {number}: {step}\n" in said for number, step in enumerate(steps, 1))
    with pytest.raises(SystemExit):
        run(["compress", "--help"])
    told = "".join(line.strip("│ \n") + " " for line in capsys.readouterr().out.splitlines())
    assert f"without --recipe too, '{UNTRAINED}'." in " ".join(told.split())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "give either --recipe or --budget"),
        (("--recipe", "safe", "--budget", "size_mb<=6"), "give either --recipe or --budget"),
        (("--recipe", "distil(layers=1)"), "unknown step 'distil' (did you mean 'distill'?)"),
        (("--recipe", "pokcet"), "unknown recipe 'pokcet' (did you mean 'pocket'?)"),
        (
            ("--recipe", "prune(heads=0.25) > distill > prune(heads=0.5)"),
            "step 3 (prune): the model has one head a layer already; no head can be removed",
        ),
        (
            ("--recipe", "lowrank(rank=40)"),
            "step 1 (lowrank): rank 40 is outside 1..32; 32 is the full rank of the largest linear layer",
        ),
        (("--recipe", "distill(layers=9)"), "layers=9 is more than the 2 there are"),
        (("--budget", "size_mib<=6"), "budget: unknown key 'size_mib' (did you mean 'size_mb'?)"),
        (("--budget", "size_mb<=6", "--trials", "0"), "--trials 0 must be at least 1"),
        (("--budget", "size_mb<=6", "--no-training"), "--budget searches recipes that train"),
        (("--recipe", "distill(layers=1)", "--no-training"), "step 1 (distill) trains"),
        (("--recipe", "quantize(int8)", "--kernel", "dynamic"), "unknown kernel 'dynamic'"),
        (("--recipe", "prune(heads=0.5)", "--kernel", "dynamic-7bit"), "--kernel needs a recipe that ends"),
        (("--recipe", "quantize(int8)", "--epochs", "0"), "--epochs 0: "),
        (("--recipe", "quantize(int8)", "--teacher", "./none"), "no such teacher folder"),
    ],
)
def test_a_mistake_is_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], said: str
) -> None:
    assert said in refusal(capsys, *arguments(place, *more))
    assert not (place / "out").exists()
    assert not (place / "out.work").exists()


def test_a_teacher_with_different_labels(
    place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(place / "run" / "artifacts" / "baseline-seed0", other)
    extractor = json.loads((other / "extractor.json").read_text(encoding="utf-8"))
    extractor["symptoms"][0] = "gout"
    (other / "extractor.json").write_text(json.dumps(extractor))
    write_checksums(other)
    line = refusal(capsys, *arguments(place, "--recipe", "distill", "--teacher", str(other)))
    assert "a teacher and student with different labels" in line
    line = refusal(capsys, "compress", str(other), *arguments(place, "--recipe", "quantize(int8)")[2:])
    assert "their symptoms are not those of" in line
    assert "'gout' is missing" in line


def test_notes_without_a_note(place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    synthesize(60, seed=0).frame.head(0).write_parquet(tmp_path / "none.parquet")
    parts = arguments(place, "--recipe", "quantize(static)", "--notes", str(tmp_path / "none.parquet"))
    line = refusal(capsys, *parts)
    assert line.endswith("none.parquet: a header without rows; give a source with one row a note")


def test_the_notes_of_the_study_are_needed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(place / "run" / "artifacts" / "baseline-seed0")
    line = refusal(capsys, "compress", model, "--recipe", "safe", "-o", str(place / "out"))
    assert "its study read notes.parquet; give those notes with --notes" in line


def test_an_architecture_that_is_not_supported(
    place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = tmp_path / "albert"
    shutil.copytree(place / "run" / "artifacts" / "baseline-seed0", other)
    config = AlbertConfig(
        vocab_size=54,
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
    )
    save_model(build_model(AlbertModel(config), 3, "mean", seed=0), other)
    write_checksums(other)
    line = refusal(capsys, "compress", str(other), *arguments(place, "--recipe", "quantize(int8)")[2:])
    assert "architecture 'albert' cannot be compressed; supported are " in line
    assert all(name in line.partition("supported are ")[2] for name in FAMILIES)


def test_no_artifact_and_one_that_is_quantized(
    place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rest = arguments(place, "--recipe", "quantize(int8)")[2:]
    assert "no artifact here" in refusal(capsys, "compress", str(tmp_path), *rest)
    bare = tmp_path / "bare"
    shutil.copytree(place / "run" / "artifacts" / "baseline-seed0", bare)
    (bare / "provenance.json").unlink()
    assert "provenance.json is missing" in refusal(capsys, "compress", str(bare), *rest)


def test_an_output_that_is_anothers(place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    parts = arguments(place, "--recipe", "quantize(int8)", "-o", str(tmp_path))
    assert "holds another artifact or other files; choose another -o" in refusal(capsys, *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
