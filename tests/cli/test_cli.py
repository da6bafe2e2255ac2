"""The command line: what it says of wrong calls and wrong inputs, each in one line with exit code 2."""

from __future__ import annotations

import errno
import gzip
from pathlib import Path

import pytest

from sympress.cli.main import run
from sympress.notes.synthesize import synthesize

HEADER = "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,DESCRIPTION,CGID,ISERROR,TEXT\n"


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must end with exit code 2 and one line on standard error; returns the line."""
    with pytest.raises(SystemExit) as done:
        run(list(arguments))
    last = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sympress:")]
    assert done.value.code == 2, last
    assert len(last) == 1
    return last[0]


def study(*arguments: str) -> tuple[str, ...]:
    return ("study", "--encoder", "bundled", "--dry-run", "-o", "unused", *arguments)


def test_a_missing_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = refusal(capsys, *study("--notes", str(tmp_path / "none.csv")))
    assert "none.csv" in line


def test_a_csv_without_text_column_names_the_columns_it_has(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "notes.csv").write_text("id,when,who\n1,2,3\n")
    line = refusal(capsys, *study("--notes", str(tmp_path / "notes.csv")))
    assert all(part in line for part in ("id", "when", "who", "--text-column"))


def test_a_truncated_gzip(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = "".join(f"{i},{i},,2150-01-01,,,Nursing,Report,,,cough {i * 7919} noted\n" for i in range(3000))
    whole = gzip.compress((HEADER + rows).encode())
    (tmp_path / "NOTEEVENTS.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert "truncated" in refusal(capsys, *study("--notes", str(tmp_path / "NOTEEVENTS.csv.gz")))


def test_a_binary_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_bytes(bytes(range(256)) * 40)
    assert "notes.csv" in refusal(capsys, *study("--notes", str(tmp_path / "notes.csv")))


def test_an_empty_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_bytes(b"")
    assert "empty" in refusal(capsys, *study("--notes", str(tmp_path / "notes.csv")))


def test_fewer_symptoms_than_k(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    body = "".join(f"{i},{i},,2150-01-01,,,Nursing,Report,,,pt with fever and cough\n" for i in range(200))
    (tmp_path / "NOTEEVENTS.csv").write_text(HEADER + body)
    line = refusal(capsys, *study("--notes", str(tmp_path / "NOTEEVENTS.csv"), "--top-k", "5"))
    assert "--top-k" in line


def test_a_class_with_too_few_notes(capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, *study("--synthetic-notes", "120"))
    assert any(word in line for word in ("notes", "--top-k"))


def test_an_unknown_strategy_names_the_nearest(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = refusal(
        capsys, "study", "--strategies", "distilation", "--encoder", "bundled", "-o", str(tmp_path / "run")
    )
    assert "unknown strategy 'distilation' (did you mean 'distillation'?)" in line
    assert not (tmp_path / "run").exists()


def test_an_encoder_folder_with_a_missing_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, encoder_folder: Path
) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "config.json").write_bytes((encoder_folder / "config.json").read_bytes())
    line = refusal(capsys, "study", "--encoder", str(folder), "-o", str(tmp_path / "run"))
    assert "model.safetensors" in line


def test_a_folder_of_another_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    line = refusal(capsys, "study", "--encoder", "bundled", "-o", str(tmp_path))
    assert "not empty and not a sympress run" in line


def test_a_value_out_of_range_names_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--fraction 1.5" in refusal(capsys, *study("--fraction", "1.5"))
    assert "--protocol 'papper'" in refusal(capsys, *study("--protocol", "papper"))


def test_an_unknown_key_in_a_config_file_names_the_nearest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text("epoch = 3\n")
    line = refusal(capsys, *study("--config", str(tmp_path / "study.toml")))
    assert "unknown setting 'epoch' (did you mean 'epochs'?)" in line


def test_an_unknown_flag_and_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--epoch" in refusal(capsys, *study("--epoch", "3"))
    assert "studdy" in refusal(capsys, "studdy")


def test_coded_labels_need_codes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = synthesize(80, seed=0).frame.drop("codes")
    made.write_parquet(tmp_path / "notes.parquet")
    asked = study("--notes", str(tmp_path / "notes.parquet"), "--task", "present", "--labels", "coded")
    assert refusal(capsys, *asked).endswith(
        "these notes carry no human-coded symptoms: use --labels lexicon or silver"
    )


def test_a_full_disk_leaves_nothing_under_the_final_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sympress.files.os.fsync", full)
    with pytest.raises(SystemExit) as done:
        run(["synth", "-n", "60", "-o", str(tmp_path / "notes.csv")])
    assert done.value.code == 2
    assert "No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_help_and_version_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["study", "--help"], ["demo", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as done:
            run(arguments)
        assert done.value.code == 0
    assert "sympress" in capsys.readouterr().out


def test_a_dry_run_says_the_counts_and_trains_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run_folder = tmp_path / "run"
    with pytest.raises(SystemExit) as done:
        run(["study", "--synthetic-notes", "700", "--dry-run", "-o", str(run_folder)])
    assert done.value.code in (0, None)
    assert "split by random" in capsys.readouterr().out
    assert not run_folder.exists()
