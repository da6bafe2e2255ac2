"""`sympress adapt` and `sympress tune` as typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from sympress.cli.main import run
from sympress.models.encoder import load_encoder
from sympress.notes.read import NOTE_SCHEMA
from sympress.notes.split import assign_part
from sympress.training.adapt import training_side

WORDS = ["fever", "cough", "pain", "nausea", "chills", "patient", "denies", "after", "dose", "arm", "rash"]


def command(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as done:
        run([str(argument) for argument in arguments])
    return int(done.value.code or 0)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 notes of 100 patients as JSON lines."""
    rng = np.random.default_rng(0)
    rows = [
        {"note_id": f"n{row}", "patient_id": f"p{row // 2}", "text": " ".join(rng.choice(WORDS, 12))}
        for row in range(200)
    ]
    path = tmp_path_factory.mktemp("notes") / "notes.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def frame(*notes: tuple[str, str, int]) -> pl.DataFrame:
    """Notes of (patient, text, year)."""
    rows = [
        {"note_id": str(row), "patient_id": patient, "time": datetime(year, 5, 1), "text": text}
        for row, (patient, text, year) in enumerate(notes)
    ]
    return pl.DataFrame(rows, schema=NOTE_SCHEMA)


def test_adapt_writes_an_encoder_that_loads(
    notes: Path, encoder_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "adapted"
    call = ("adapt", "--notes", notes, "--encoder", encoder_folder, "--max-tokens", "16", "-o", out)
    call = (*call, "--learning-rate", "1e-3", "--batch-size", "16", "--epochs", "2")
    assert command(*call) == 0
    said = capsys.readouterr().out
    assert "held-out loss before: " in said
    assert "held-out loss after epoch 2: " in said
    assert "next: sympress study --notes" in said
    record = json.loads((out / "adapt.json").read_text())
    assert record["split"] == "patient"
    assert record["log"]["notes"] + record["log"]["held_out"] < 200
    assert not any(word in (out / "adapt.json").read_text() for word in ("cough", "nausea"))
    assert load_encoder(str(out)).model.config.model_type == "bert"
    assert not (out / "work").exists()
    assert command(*call) == 0  # done before
    assert capsys.readouterr().out == said
    assert command(*call, "--seed", "1") == 2
    assert "its seed is 0, not 1; choose another -o" in capsys.readouterr().err
    moved, other = tmp_path / "moved.jsonl", tmp_path / "other" / "notes.jsonl"
    moved.write_bytes(notes.read_bytes())
    assert command(*call, "--notes", moved) == 0
    capsys.readouterr()
    other.parent.mkdir()
    other.write_text("\n".join(notes.read_text().splitlines()[::-1]))
    assert command(*call, "--notes", other) == 2
    assert f"{out}: the notes, or their order, changed since it was begun; undo" in capsys.readouterr().err
    encoder = load_encoder(str(encoder_folder))
    encoder.model.embeddings.word_embeddings.weight.data += 1
    encoder.model.save_pretrained(tmp_path / "encoder")
    encoder.tokenizer.save_pretrained(tmp_path / "encoder")
    assert command(*call, "--encoder", tmp_path / "encoder") == 2
    assert f"{out}: the encoder changed since it was begun; undo that, or choose" in capsys.readouterr().err


def test_an_encoder_that_cannot_be_adapted_is_refused_before_a_note_is_read(
    make_encoder: Callable[..., PreTrainedModel],
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_encoder("sympress-conv").save_pretrained(tmp_path / "encoder")
    tokenizer.save_pretrained(tmp_path / "encoder")
    monkeypatch.setattr("sympress.cli.study.read_notes", lambda *_, **__: pytest.fail("notes were read"))
    assert (
        command("adapt", "--notes", "n.csv", "--encoder", tmp_path / "encoder", "-o", tmp_path / "out") == 2
    )
    assert capsys.readouterr().err == (
        "sympress: architecture 'sympress-conv' has no masked-language head in transformers, so it cannot be "
        "adapted; train it as it is, or adapt another encoder\n"
    )


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--split", "times"), "--split 'times' is not one of patient, time, none (did you mean 'time'?)"),
        (("--validation-from", "2020-01-01"), "--validation-from belongs to --split time"),
        (("--learning-rate", "0"), "--learning-rate 0: give one above 0"),
        (("--learning-rate", "nan"), "--learning-rate nan: give one above 0"),
        (("--learning-rate", "inf"), "--learning-rate inf: give one above 0"),
        (("--seed", "-1"), "--seed -1: give a whole number from 0 to 4294967295"),
        (("--split", "time"), "notes have no time"),
        (("--layers", "7"), "a student of 7 layers cannot be taken from a teacher of 6"),
    ],
)
def test_adapt_refuses(
    notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], line: str
) -> None:
    assert command("adapt", "--notes", notes, "-o", tmp_path / "out", *options) == 2
    assert line in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thing").write_text("")
    assert command("adapt", "--notes", notes, "-o", tmp_path / "full") == 2
    assert "exists and is not an adapted encoder" in capsys.readouterr().err


def test_no_note_of_a_group_that_a_study_would_judge_is_learnt_from() -> None:
    train, held = (
        next(f"p{n}" for n in range(100) if (assign_part(f"p{n}") == "train") is wanted)
        for wanted in (True, False)
    )
    copied = "one long note that was copied from patient to patient word by word"
    notes = frame((train, "a", 2001), (held, "b", 2001), (held, copied, 2001), (train, copied, 2001))
    assert training_side(notes, "patient")[0].height == 0
    kept, groups = training_side(notes[:3], "patient")
    assert kept["note_id"].to_list() == ["0"]
    everything, groups = training_side(notes, "none")
    assert everything.height == 4
    assert len(set(groups)) == 1


def test_no_note_from_the_first_validation_day_on_is_learnt_from() -> None:
    early = (("a", "x", 2001), ("b", "y", 2002), ("c", "w", 2003))
    notes = frame(*early, ("a", "z", 2004), ("d", "v", 2004), ("e", "u", 2005))
    assert training_side(notes, "time")[0]["note_id"].to_list() == ["1", "2"]
    assert training_side(notes, "time", datetime(2003, 1, 1))[0]["note_id"].to_list() == ["1"]


def test_tune_prints_its_table_and_the_next_command(
    encoder_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "study.toml"
    settings.write_text("synthetic_notes = 600\nmax_tokens = 24\ntext_window = 200\n")
    call = ("tune", "--config", settings, "--encoder", encoder_folder, "--epochs", "1", "--trials", "2")
    assert command(*call, "--search", "learning-rate", "-o", tmp_path / "run") == 0
    said = capsys.readouterr().out
    assert "validation F1" in said
    assert "2 trials, 0 of them ended early; the settings as they were score" in said
    best = tmp_path / "run" / "baseline" / "best.toml"
    assert f"next: sympress study --config {best} -o RUN" in said
    assert command("study", "--config", best, "--dry-run", "-o", tmp_path / "study") == 0
    assert command(*call, "--strategy", "nothing", "-o", tmp_path / "run") == 2
