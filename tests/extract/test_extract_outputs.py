"""The files of an extraction job: nothing is lost without a word, and nothing of others is overwritten."""

from __future__ import annotations

import json
import os
import resource
import shutil
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_extract import ids, refused, run

from sympress.cli.main import run as command
from sympress.errors import SympressError
from sympress.extract import checkpoint
from sympress.extract import checkpoint as finish
from sympress.extract.job import Pace
from sympress.extract.workers import cut_chunks

RULES = ("-m", "rules", "-j", "1", "-q")
NAMES = ["out.jsonl", "out.csv", "out.parquet"]
ROWS, CHUNK = 9, 3


def rows(patient: str = "p1", time: str = "2024-01-31", kind: str = "Nursing", stay: str = "e1") -> str:
    fields = {"patient_id": patient, "encounter_id": stay, "time": time, "category": kind}
    notes = [{"note_id": str(at), "text": f"fever {at}", **fields} for at in range(ROWS)]
    notes[7]["text"] = " "
    return "".join(json.dumps(note) + "\n" for note in notes)


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every job has three chunks, of few notes."""
    monkeypatch.setattr("sympress.extract.job.cut_chunks", partial(cut_chunks, notes=CHUNK))


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.jsonl"
    path.write_text(rows(), encoding="utf-8")
    return path


def failing(*arguments: object) -> str:
    """The one line of a failure of ours, which ends with exit code 1."""
    with pytest.raises(SympressError) as caught:
        run(*arguments)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    return str(caught.value)


def break_off(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """Begin a job and interrupt it after its first chunk."""
    with monkeypatch.context() as patched:

        def stop(self: Pace, notes: int) -> None:
            raise KeyboardInterrupt

        patched.setattr(Pace, "done", stop)
        with pytest.raises((KeyboardInterrupt, SystemExit, AssertionError)):
            run(*arguments)


def count(path: Path) -> int:
    if path.suffix == ".parquet":
        return pl.read_parquet(path).height
    if path.suffix == ".csv":
        return len({line.split(",")[0] for line in path.read_text().splitlines()[1:]})
    return len(ids(path.read_text()))


def the_data(folder: Path) -> None:
    (folder / "data").unlink()


def the_data_for_another(folder: Path) -> None:
    the_data(folder)
    (folder / "data").write_text("another")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("remove", [shutil.rmtree, the_data, the_data_for_another])
def test_data_that_is_removed_midway_is_a_failure_and_the_command_begins_anew(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, remove: Callable[[Path], None]
):
    output, partial, done = tmp_path / name, tmp_path / f"{name}.partial", []

    def once(self: Pace, reached: int) -> None:
        if not done and reached > CHUNK:
            done.append(remove(partial))

    monkeypatch.setattr(Pace, "done", once)
    said = failing(notes, *RULES, "-o", output)
    assert said == (
        f"{partial}: data was removed or replaced while the job ran, so there is no output; "
        "run the same command again"
    )
    assert not output.exists()
    run(notes, *RULES, "-o", output)
    assert count(output) == ROWS - 1


def by_name(folder: Path, notes: Path) -> tuple[str, Path]:
    return str(notes), notes


def by_link(folder: Path, notes: Path) -> tuple[str, Path]:
    (folder / "link.jsonl").symlink_to(notes)
    return str(notes), folder / "link.jsonl"


def by_hard_link(folder: Path, notes: Path) -> tuple[str, Path]:
    os.link(notes, folder / "hard.jsonl")
    return str(notes), folder / "hard.jsonl"


def in_a_folder(folder: Path, notes: Path) -> tuple[str, Path]:
    return str(folder), notes


def in_a_pattern(folder: Path, notes: Path) -> tuple[str, Path]:
    shutil.copy(notes, folder / "more.jsonl")
    return f"{folder}/*.jsonl", folder / "more.jsonl"


@pytest.mark.parametrize("place", [by_name, by_link, by_hard_link, in_a_folder, in_a_pattern])
def test_an_output_that_is_an_input_is_refused_with_force(
    notes: Path, tmp_path: Path, place: Callable[[Path, Path], tuple[str, Path]]
):
    source, output = place(tmp_path, notes)
    before = output.read_bytes()
    said = refused(source, *RULES, "-o", output, "--force")
    assert said == f"{output}: read by this very command; name another output"
    assert output.read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


def test_a_file_of_words_or_codes_is_not_overwritten(notes: Path, tmp_path: Path):
    own = tmp_path / "own.csv"
    own.write_text("symptom,system,code\nfever,ICD10CM,R50.9\n")
    asked = (notes, *RULES, "--format", "omop", "-o", own, "--force", "--concepts", own)
    assert refused(*asked) == f"{own}: read by this very command; name another output"
    assert own.read_text().startswith("symptom")


def test_label_does_not_overwrite_its_notes(notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "link.jsonl").symlink_to(notes)
    for output in (notes, tmp_path / "link.jsonl"):
        with pytest.raises(SystemExit) as done:
            command(["label", str(notes), "-o", str(output), "--force", "--task", "mentions"])
        assert done.value.code == 2
        assert "read by this very command" in capsys.readouterr().err
    assert notes.read_text() == rows()


def test_failures_that_are_an_input_are_not_overwritten(notes: Path, tmp_path: Path):
    source = tmp_path / "out.jsonl.errors.jsonl"
    notes.rename(source)
    assert "read by this very command" in refused(source, *RULES, "-o", tmp_path / "out.jsonl", "--force")
    assert source.read_text() == rows()


def test_earlier_failures_are_kept_without_force(notes: Path, tmp_path: Path):
    output, errors = tmp_path / "out.jsonl", tmp_path / "out.jsonl.errors.jsonl"
    errors.write_text("mine")
    assert refused(notes, *RULES, "-o", output) == (
        f"{errors}: exists already, with the failures of an earlier job; "
        "name another file, or add --force to overwrite it"
    )
    assert errors.read_text() == "mine"
    run(notes, *RULES, "-o", output, "--force")
    assert errors.read_text() == '{"note_id":"7","reason":"without text"}\n'
    notes.write_text(rows().replace('" "', '"rash"'))
    run(notes, *RULES, "-o", output, "--force")
    assert not errors.exists()


@pytest.mark.parametrize("name", ["lock", "data", "errors.jsonl", "state.json"])
@pytest.mark.parametrize("kind", ["link", "hard link", "file"])
@pytest.mark.parametrize("force", [True, False])
def test_nothing_of_others_in_the_unfinished_folder_is_written_to(
    notes: Path, tmp_path: Path, name: str, kind: str, force: bool
):
    output, partial, mine = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial", tmp_path / "mine"
    partial.mkdir()
    mine.write_text("mine")
    place = partial / name
    if kind == "link":
        place.symlink_to(mine)
    elif kind == "hard link":
        os.link(mine, place)
    else:
        place.write_text("mine")
    own = name == "lock" and kind == "file"
    asked = (notes, *RULES, "-o", output, *(["--force"] if force else []))
    if name == "lock" and kind != "link":
        run(*asked)  # only held, never written
    elif name == "state.json" and force:
        run(*asked)  # replaced, not written through
    else:
        assert str(partial) in refused(*asked)
        assert place.read_text() == "mine"
    assert mine.read_text() == "mine"
    assert own or not output.exists() or count(output) == ROWS - 1


def test_a_link_in_the_place_of_data_is_not_followed_when_a_job_goes_on(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output, mine = tmp_path / "out.jsonl", tmp_path / "mine"
    break_off(monkeypatch, notes, *RULES, "-o", output)
    mine.write_text("mine " * 10_000)
    (tmp_path / "out.jsonl.partial" / "data").unlink()
    (tmp_path / "out.jsonl.partial" / "data").symlink_to(mine)
    assert "a link, or no file" in refused(notes, *RULES, "-o", output)
    assert mine.read_text() == "mine " * 10_000


def test_a_folder_that_is_a_link_is_not_followed(notes: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out.jsonl.partial").symlink_to(tmp_path / "elsewhere")
    assert "a link, which is not followed" in refused(notes, *RULES, "-o", tmp_path / "out.jsonl")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_of_the_user_in_the_unfinished_folder_stays(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output, partial = tmp_path / "out.jsonl", tmp_path / "out.jsonl.partial"
    break_off(monkeypatch, notes, *RULES, "-o", output)
    (partial / "thesis.txt").write_text("mine")
    run(notes, *RULES, "-o", output)
    assert count(output) == ROWS - 1
    assert [(one.name, one.read_text()) for one in partial.iterdir()] == [("thesis.txt", "mine")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_job_that_is_killed_while_it_renames_finishes(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, renames: int
):
    """`renames` of its two files have their final names when it is killed."""
    output, errors = tmp_path / name, tmp_path / f"{name}.errors.jsonl"
    whole = tmp_path / f"whole{output.suffix}"
    run(notes, *RULES, "-o", whole)

    class KilledError(BaseException): ...

    done: list[object] = []
    place = finish._place

    def die() -> None:
        raise KilledError

    def placed(*arguments: object, force: bool) -> None:
        if len(done) == renames:
            die()
        done.append(place(*arguments, force=force))

    with monkeypatch.context() as patched:
        patched.setattr(finish, "_place", placed)
        patched.setattr(checkpoint, "clear", lambda _: die())
        with pytest.raises((KilledError, AssertionError, SystemExit)):
            run(notes, *RULES, "-o", output)
    assert (output.exists(), errors.exists()) == (renames > 0, renames > 1)
    run(notes, *RULES, "-o", output)
    assert count(output) == ROWS - 1
    assert output.suffix == ".parquet" or output.read_bytes() == whole.read_bytes()
    assert errors.read_text() == '{"note_id":"7","reason":"without text"}\n'
    assert not (tmp_path / f"{name}.partial").exists()
    assert "exists already" in refused(notes, *RULES, "-o", output)


def test_a_finished_output_that_was_taken_away_is_made_anew(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output = tmp_path / "out.jsonl"
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "clear", lambda _: None)  # as if it was killed before
        run(notes, *RULES, "-o", output)
    output.unlink()
    Path(f"{output}.errors.jsonl").unlink()
    run(notes, *RULES, "-o", output)
    assert count(output) == ROWS - 1


def test_an_output_that_appears_while_the_job_runs_is_not_overwritten(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output = tmp_path / "out.jsonl"
    with monkeypatch.context() as patched:
        patched.setattr(Pace, "done", lambda *_: output.write_text("mine"))
        assert "exists by now" in refused(notes, *RULES, "-o", output)
    assert output.read_text() == "mine"
    output.unlink()
    run(notes, *RULES, "-o", output)
    assert count(output) == ROWS - 1


@pytest.mark.parametrize(
    "changed", [{"patient": "p2"}, {"time": "2024-02-01"}, {"kind": "Radiology"}, {"stay": "e2"}]
)
def test_what_was_corrected_beside_the_text_is_noticed_when_a_job_goes_on(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
):
    output = tmp_path / "out.jsonl"
    break_off(monkeypatch, notes, *RULES, "-o", output)
    notes.write_text(rows(**changed), encoding="utf-8")
    assert refused(notes, *RULES, "-o", output).startswith("the notes have changed since this job began")


def test_a_disk_that_is_full_at_the_end_of_parquet_is_one_line_and_the_command_goes_on(
    notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    output = tmp_path / "out.parquet"
    written = finish.write_parquet

    def full(*arguments: Any) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            written(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    with monkeypatch.context() as patched:
        patched.setattr(finish, "write_parquet", full)
        said = refused(notes, *RULES, "-o", output)
    assert "cannot be written" in said
    assert "free space or choose another folder" in said
    assert not output.exists()
    assert f"going on after {ROWS} notes" in run(notes, "-m", "rules", "-j", "1", "-o", output)[1]
    assert count(output) == ROWS - 1


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o600), (0o027, 0o640), (0o022, 0o644)])
@pytest.mark.parametrize("name", NAMES)
def test_outputs_have_the_mode_that_umask_says(notes: Path, tmp_path: Path, name: str, mask: int, mode: int):
    before = os.umask(mask)
    try:
        run(notes, *RULES, "-o", tmp_path / name)
    finally:
        os.umask(before)
    for path in (tmp_path / name, tmp_path / f"{name}.errors.jsonl"):
        assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("name", NAMES)
def test_folders_that_an_output_lacks_are_made(notes: Path, tmp_path: Path, name: str):
    output = tmp_path / "new" / "er" / name
    run(notes, *RULES, "-o", output)
    assert count(output) == ROWS - 1
    with pytest.raises(SystemExit) as done:
        command(["label", str(notes), "--task", "mentions", "-o", str(tmp_path / "own" / "labels.jsonl")])
    assert done.value.code == 0
    assert (tmp_path / "own" / "labels.jsonl").is_file()
    (tmp_path / "file").touch()
    assert "file" in refused(notes, *RULES, "-o", tmp_path / "file" / name)
