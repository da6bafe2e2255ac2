"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from sympress.errors import InputError, SympressError
from sympress.files import (
    alone,
    atomic_folder,
    atomic_path,
    folder_to_write,
    full_disk_explained,
    is_bare,
    refuse_pipe,
    write_json,
    write_text,
)


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_appears_whole_readable_and_alone(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "out.json"
    write_json(path, {"ü": [1, 2.5, None]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"ü": [1, 2.5, None]}
    assert "ü" in path.read_text(encoding="utf-8")
    assert list(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_temporary_file_lies_beside_and_has_the_same_ending(tmp_path: Path):
    with atomic_path(tmp_path / "notes.parquet") as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".parquet")
        assert not (tmp_path / "notes.parquet").exists()


@pytest.mark.parametrize("before", [None, "old"])
def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path, before: str | None):
    path = tmp_path / "out.txt"
    if before is not None:
        path.write_text(before, encoding="utf-8")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise ValueError("in the block")

    with pytest.raises(ValueError, match="in the block"):
        fail()
    assert [file.name for file in tmp_path.iterdir()] == ([] if before is None else ["out.txt"])
    assert before is None or path.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("place", ["write", "fsync", "replace", "open"])
@pytest.mark.parametrize("before", [None, "old"])
def test_a_full_disk_is_one_line_and_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, before: str | None
):
    path = tmp_path / "out.txt"
    if before is not None:
        path.write_text(before, encoding="utf-8")
    target = {
        "write": (Path, "write_text"),
        "fsync": (os, "fsync"),
        "replace": (Path, "replace"),
        "open": (os, "open"),
    }[place]
    with monkeypatch.context() as patch:
        patch.setattr(*target, full)
        with pytest.raises(InputError) as caught:
            write_text(path, "new")
    assert str(caught.value) == (
        f"{path}: cannot be written (No space left on device); free space or choose another folder, "
        "then run the same command again"
    )
    assert caught.value.exit_code == 2
    assert [file.name for file in tmp_path.iterdir()] == ([] if before is None else ["out.txt"])
    assert before is None or path.read_text(encoding="utf-8") == before


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        write_text(tmp_path / "file" / "out.txt", "new")
    assert "cannot be written" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nan_is_refused_and_nothing_is_written(tmp_path: Path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "out.json", {"f1": float("nan")})
    assert list(tmp_path.iterdir()) == []


def told(folder: Path, error: Exception) -> str:
    """What a user reads when a library raises `error` in the block."""
    with pytest.raises(InputError) as caught, full_disk_explained(folder):
        raise error
    assert caught.value.__cause__ is error
    return str(caught.value)


def chained(cause: Exception) -> RuntimeError:
    error = RuntimeError("unexpected pos 64 vs 0")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), errno.ENOSPC),
        (RuntimeError("Error while serializing: No space left on device (os error 28)"), errno.ENOSPC),
        (RuntimeError("Error while serializing: I/O error: File too large (os error 27)"), errno.EFBIG),
        (chained(OSError(errno.EDQUOT, "Disk quota exceeded")), errno.EDQUOT),
    ],
)
def test_a_library_that_meets_a_full_disk_is_one_line(tmp_path: Path, error: Exception, number: int):
    assert told(tmp_path, error) == (
        f"{tmp_path}: cannot be written ({os.strerror(number)}); free space or choose another folder, "
        "then run the same command again"
    )


def test_the_reason_of_a_library_in_rust_is_told(tmp_path: Path):
    with pytest.raises(InputError) as caught, atomic_path(tmp_path / "out.csv"):
        raise OSError("File too large (os error 27)")  # as Polars has it: no number, no strerror
    assert f"cannot be written ({os.strerror(27)});" in str(caught.value)


def test_a_library_that_does_not_say_why_is_asked_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        assert "No space left on device" in told(tmp_path / "not" / "there", RuntimeError("unexpected pos"))
    error = RuntimeError("unexpected pos")
    with pytest.raises(RuntimeError, match="unexpected pos"), full_disk_explained(tmp_path):
        raise error  # there is room: something else is wrong, and is not hidden


def test_a_library_that_does_not_say_why_is_asked_of_the_limit_of_file_size(tmp_path: Path):
    resource = pytest.importorskip("resource", reason="no such limits on Windows")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "optimizer.pt").write_bytes(bytes(1000))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        said = told(tmp_path, RuntimeError("unexpected pos"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "File too large" in said


def test_an_error_of_ours_is_not_explained_again(tmp_path: Path):
    with pytest.raises(SympressError, match="No space left for a class"), full_disk_explained(tmp_path):
        raise SympressError("No space left for a class")


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path):
    pytest.importorskip("fcntl", reason="no such locks on Windows")
    refused = pytest.raises(InputError, match=r"^out: another process is writing it; wait for it to end$")
    with alone(tmp_path, Path("out")), refused, alone(tmp_path, Path("out")):
        pytest.fail("two hold the lock")
    with alone(tmp_path, Path("out")):
        pass  # let go of, it can be held again


def test_a_lock_that_was_left_is_nothing_in_the_way(tmp_path: Path):
    folder = tmp_path / "new"
    assert is_bare(folder)
    with alone(folder, folder):
        assert is_bare(folder)
    write_json(folder / "study.json", {})
    assert not is_bare(folder)
    assert not is_bare(folder / "study.json")
    (folder / "nowhere").symlink_to(folder / "missing")
    assert not is_bare(folder / "nowhere")


@pytest.mark.skipif(not Path("/proc/kmsg").exists(), reason="a file of Linux")
def test_a_file_that_waits_for_the_kernel_is_refused(tmp_path: Path):
    (tmp_path / "gold.jsonl").symlink_to("/proc/kmsg")
    with pytest.raises(InputError, match=r"gold\.jsonl: no file but a pipe or a device"):
        refuse_pipe(tmp_path / "gold.jsonl")
    (tmp_path / "empty").touch()
    refuse_pipe(tmp_path / "empty")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (".", r"\.: the current folder, which cannot be replaced; choose another -o"),
        ("", r"\.?: the current folder"),
        ("..", r"\.\.: the current folder"),
        ("file/x/y", r"file: a file, not a folder; choose another -o"),
        ("circle/x", r"circle/x: no folder can be there|circle: a file, not a folder"),
        ("~nobody-of-this-name/x", r"~nobody-of-this-name/x: no folder can be there; choose another -o"),
    ],
)
def test_a_place_where_no_folder_can_be_is_refused(
    asked: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("file").write_text("x")
    Path("circle").symlink_to("circle")
    with pytest.raises(InputError, match=said):
        folder_to_write(asked)


def write_half(folder: Path) -> None:
    with atomic_folder(folder) as draft:
        draft.mkdir()
        raise ValueError("half")


def test_a_folder_is_whole_or_as_it_was(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    asked = folder_to_write(tmp_path / "link")
    assert asked == tmp_path / "real"
    with pytest.raises(ValueError, match="half"):
        write_half(asked)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]
    assert not list(asked.iterdir())
    with atomic_folder(asked) as draft:
        draft.mkdir()
        (draft / "a").write_text("x")
    assert (tmp_path / "link" / "a").read_text() == "x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux")
def test_a_folder_of_the_kernel_is_not_called_full():
    said = r"/proc/x: cannot be written \(No such file or directory\)"
    with pytest.raises(InputError, match=said), atomic_folder(Path("/proc/x")) as draft:
        draft.mkdir(parents=True)
