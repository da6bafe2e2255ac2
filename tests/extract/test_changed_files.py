"""A file that is cut, grows or is replaced while it is read is never taken for a complete one."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from test_extract import ids, refused, run

from sympress.errors import InputError
from sympress.extract.sources import Failure, Item, ItemCounts, find_notes, stream_items
from sympress.notes.streams import Unchanged

ROWS = [{"note_id": str(at), "text": "fever " * 100} for at in range(2_000)]


def csv(folder: Path) -> Path:
    path = folder / "n.csv"
    path.write_text("note_id,text\n" + "".join(f"{row['note_id']},{row['text']}\n" for row in ROWS))
    return path


def jsonl(folder: Path) -> Path:
    path = folder / "n.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def packed(folder: Path) -> Path:
    path = folder / "n.csv.gz"
    path.write_bytes(gzip.compress(csv(folder).read_bytes() + os.urandom(300_000).hex().encode(), 1))
    return path


def columns(folder: Path) -> Path:
    path = folder / "n.parquet"
    pl.DataFrame(ROWS).write_parquet(path, row_group_size=100)
    return path


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def begin(path: Path) -> Iterator[Item]:
    items = stream_items(find_notes([str(path)]), ItemCounts())
    assert next(items).note_id == "0"
    return items


def changed(path: Path) -> str:
    return (
        f"{path}: changed while it was read, so notes may be missing or cut; "
        "repeat the command once nothing writes to it"
    )


@pytest.mark.parametrize("change", [cut, grow, replace])
@pytest.mark.parametrize("written", [csv, jsonl, packed, columns])
def test_a_file_that_changes_while_it_is_read_stops_the_job(
    tmp_path: Path, written: Callable[[Path], Path], change: Callable[[Path], None]
) -> None:
    path = written(tmp_path)
    items = begin(path)
    change(path)
    with pytest.raises(InputError) as caught:
        list(items)
    assert str(caught.value) == changed(path)


def test_a_file_that_is_removed_while_it_is_read_was_read_whole(tmp_path: Path) -> None:
    path = csv(tmp_path)
    items = begin(path)
    path.unlink()
    assert len(list(items)) == len(ROWS) - 1


def test_a_text_file_that_changes_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("fever")
    read = Path.read_bytes

    def read_slowly(path: Path) -> bytes:
        raw = read(path)
        if path.name == "a.txt":
            grow(path)
        return raw

    monkeypatch.setattr(Path, "read_bytes", read_slowly)
    items = list(stream_items(find_notes([str(tmp_path)]), ItemCounts()))
    assert items[0] == Failure("a", "changed while it was read")
    assert items[1].note_id == "b"


def test_a_job_goes_on_with_what_the_changed_file_holds_if_that_is_as_it_was_read(
    tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = csv(tmp_path), tmp_path / "out.jsonl"
    job = (source, "-m", tiny_artifact, "-o", output, "-q")
    with monkeypatch.context() as patched:
        patched.setattr(Unchanged, "holds", lambda _: False)
        assert refused(*job) == changed(source)
    assert not output.exists()
    whole = source.read_text()
    source.write_text(whole[:5_000])
    assert "the notes have changed since this job began" in refused(*job)
    source.write_text(whole)
    run(*job)
    assert ids(output.read_text()) == [row["note_id"] for row in ROWS]
