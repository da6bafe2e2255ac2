"""A format of notes is one file and one line: studies and extraction both read it, and count alike."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sympress.errors import InputError
from sympress.extract.sources import Failure, ItemCounts, find_notes, stream_items
from sympress.notes import read as sources
from sympress.notes.formats import Found, Source
from sympress.notes.intake import MALFORMED, NOT_UTF8, Intake, Note
from sympress.notes.layout import TableOptions
from sympress.notes.read import read_notes

# The file of a format: a record is `id|text`, and records end with %%.


def recognise(found: Found) -> Source | None:
    if found.suffix != ".rec":
        return None
    return found.source("records", partial(record_notes, found.path))


def record_notes(path: Path, options: TableOptions, intake: Intake) -> Iterator[Note | None]:
    for record in path.read_bytes().split(b"%%")[:-1]:
        intake.row()
        note_id, bar, raw = record.strip().partition(b"|")
        try:
            text = raw.decode(options.encoding or "utf-8")
        except UnicodeDecodeError:
            text = None
        if not bar:
            intake.counts.drop(MALFORMED)
            yield None
        elif text is None:
            intake.refuse(NOT_UTF8, note_id.decode(), f"{path}: row {intake.counts.rows} is not UTF-8")
            yield None
        else:
            name = note_id.decode()
            fit = intake.admits(name, None, text, path)
            yield Note(name, None, None, None, None, None, None, text, None) if fit else None


@pytest.fixture(autouse=True)
def _records_are_a_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FILES", [recognise, *sources.FILES])


def extracted(path: Path) -> tuple[list[Note | Failure], ItemCounts]:
    counts = ItemCounts()
    return list(stream_items(find_notes([str(path)]), counts)), counts


def test_a_format_of_one_file_is_read_by_studies_and_extraction(tmp_path: Path) -> None:
    path = tmp_path / "ward.rec"
    path.write_bytes(b"a|fever%%no bar%%b|no cough%%c| %%")
    notes = read_notes(path)
    assert notes.name == "ward.rec"
    assert notes.frame.select("note_id", "text").rows() == [("a", "fever"), ("b", "no cough")]
    assert notes.counts.rows == notes.counts.kept + sum(notes.counts.dropped.values()) == 4
    items, counts = extracted(path)
    assert [(item.note_id, getattr(item, "text", None)) for item in items] == [
        ("a", "fever"),
        ("row-2", None),
        ("b", "no cough"),
        ("c", None),
    ]
    assert (counts.rows, counts.kept, counts.dropped) == (4, 2, notes.counts.dropped)


def test_a_damaged_row_stops_a_study_and_fails_alone_in_extraction(tmp_path: Path) -> None:
    path = tmp_path / "ward.rec"
    path.write_bytes(b"a|fever%%b|caf\xe9%%c|cough%%")
    with pytest.raises(InputError, match=r"ward\.rec: row 2 is not UTF-8"):
        read_notes(path)
    items, _ = extracted(path)
    assert items[1] == Failure("b", NOT_UTF8)
    assert [item.note_id for item in items] == ["a", "b", "c"]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_failures_of_several_files_are_named_after_file_and_row(tmp_path: Path, suffix: str) -> None:
    content = {"csv": "text\nfever\na,b\n", "jsonl": '{"text": "fever"}\n[]\n'}[suffix]
    for name in ("one", "two"):
        (tmp_path / f"{name}.{suffix}").write_text(content)
    items = stream_items(find_notes([str(tmp_path / f"*.{suffix}")]), ItemCounts())
    names = [f"{name}.{suffix}:{row}" for name in ("one", "two") for row in (1, 2)]
    assert [item.note_id for item in items] == names
