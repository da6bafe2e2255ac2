"""What is read of a folder: one kind of notes, all of it, and nothing is left out in silence."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sympress.errors import InputError
from sympress.extract.sources import ItemCounts, find_notes, stream_items
from sympress.notes.read import read_notes

TABLE = "note_id,text\n{},fever\n"


def fill(folder: Path, **files: str) -> Path:
    """Write files whose names have `__` for `/` and `_` for a dot."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def read(*given: object) -> tuple[list[str], list[str]]:
    """The ids of what is read, and the remarks."""
    counts = ItemCounts()
    items = stream_items(find_notes([str(one) for one in given]), counts)
    return [item.note_id for item in items], counts.remarks


def refused(*given: object) -> str:
    with pytest.raises(InputError) as caught:
        find_notes([str(one) for one in given])
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_text_files_beside_a_table_are_refused_before_any_is_read(tmp_path: Path) -> None:
    fill(tmp_path, a_txt="fever", sub__b_txt="cough", notes_csv=TABLE)
    assert refused(tmp_path) == (
        f"{tmp_path}: a folder with text files (a.txt, sub/b.txt) and tables (notes.csv); "
        f"name those with the notes, for example  '{tmp_path}/**/*.txt'"
    )
    assert read(f"{tmp_path}/**/*.txt")[0] == ["a", "b"]


def test_a_table_in_a_folder_of_a_folder_beside_text_is_refused_too(tmp_path: Path) -> None:
    fill(tmp_path, a_txt="fever", sub__notes_jsonl="{}")
    assert "(a.txt) and tables (sub/notes.jsonl)" in refused(tmp_path)


def test_tables_in_folders_of_a_folder_are_read(tmp_path: Path) -> None:
    fill(tmp_path, a_csv=TABLE.format(1), sub__b_csv=TABLE.format(2))
    assert read(tmp_path) == (["1", "2"], [])


@pytest.mark.parametrize("others", [{"a_csv": TABLE}, {"a_txt": "fever"}])
@pytest.mark.parametrize("packed", ["c_csv_bz2", "sub__c_csv_xz", "c_txt_gz", "c_parquet_zip"])
def test_what_is_packed_in_another_way_is_refused(
    tmp_path: Path, packed: str, others: dict[str, str]
) -> None:
    name = packed.replace("__", "/").replace("_", ".")
    suffix = next(iter(others))[1:].replace("_", ".")
    assert refused(fill(tmp_path, **{packed: "?"}, **others)) == (
        f"{tmp_path}: files that are packed in a way that is not read ({name}); "
        f"unpack them, or name the others, for example  '{tmp_path}/*{suffix}'"
    )


def test_a_folder_of_packed_files_only_is_refused(tmp_path: Path) -> None:
    assert refused(fill(tmp_path, a_csv_bz2="?")).endswith("(a.csv.bz2); unpack them")


def test_what_is_no_note_is_counted_and_said(tmp_path: Path) -> None:
    fill(tmp_path, a_txt="fever", a_ann="T1", b_ann="T2", README_txt="x", SHA256SUMS_txt="x", LICENSE="x")
    fill(tmp_path, _hidden="x", _git__c_txt="x", out_csv_partial__c_csv="x", out_csv_errors_jsonl="x")
    (tmp_path / "linked").symlink_to(fill(tmp_path / "..." / "elsewhere", d_txt="pain"))
    (tmp_path / "loop").symlink_to(tmp_path)
    ids, remarks = read(tmp_path)
    assert ids == ["a"]
    assert remarks == [
        f"{tmp_path}: not read: linked folders (2), .ann (2), unfinished jobs (1), without a suffix (1), "
        "README.txt (1), …; name those that hold notes"
    ]
    assert read(tmp_path / "linked")[0] == ["d"]
    assert read_notes(tmp_path).counts.remarks == remarks


def test_a_licence_beside_a_table_of_a_known_data_set_does_not_stop_it(tmp_path: Path) -> None:
    fill(tmp_path, LICENSE_txt="x", README_md="x", SHA256SUMS_txt="x")
    (tmp_path / "NOTEEVENTS.csv").write_text("ROW_ID,TEXT\n7,fever\n")
    ids, remarks = read(tmp_path)
    assert ids == ["7"]
    assert remarks == [
        f"{tmp_path}: not read: LICENSE.txt (1), .md (1), SHA256SUMS.txt (1); name those that hold notes"
    ]


def test_a_name_of_parquet_is_no_pattern(tmp_path: Path) -> None:
    for name in ("n[1].parquet", "n1.parquet"):
        pl.DataFrame({"note_id": [name], "text": ["fever"]}).write_parquet(tmp_path / name)
    assert read(tmp_path / "n[1].parquet")[0] == ["n[1].parquet"]


# Ids that sympress makes: no two of a job are equal.


def test_text_files_that_differ_in_their_suffix_or_folder_have_ids_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.TXT").write_text("pain")
    fill(tmp_path, a_txt="fever", b_txt="cough", sub__b_txt="rash")
    assert read(tmp_path)[0] == ["a.TXT", "a.txt", "b", "sub/b"]
    assert read_notes(tmp_path).frame["note_id"].to_list() == ["a.TXT", "a.txt", "b", "sub/b"]


def test_text_files_of_several_folders_have_ids_of_their_own(tmp_path: Path) -> None:
    fill(tmp_path, x__j1__1_txt="fever", x__j2__1_txt="cough", x__j2__2_txt="rash", y__j2__1_txt="pain")
    folders = [tmp_path / "x" / "j1", tmp_path / "x" / "j2", tmp_path / "y" / "j2"]
    assert read(*folders[:2])[0] == ["j1/1", "j2/1", "2"]
    assert read(*folders)[0] == ["x/j1/1", "x/j2/1", "2", "y/j2/1"]
    assert read(f"{tmp_path}/x/*/*.txt")[0] == ["j1/1", "j2/1", "2"]


def test_a_longer_id_is_none_that_another_note_has(tmp_path: Path) -> None:
    (tmp_path / "a.TXT").write_text("pain")
    (tmp_path / "a.txt.txt").write_text("pain")
    names = read(fill(tmp_path, a_txt="fever"))[0]
    assert names == [f"{tmp_path.name}/a.TXT", f"{tmp_path.name}/a.txt", "a.txt"]


def test_rows_of_tables_of_one_name_have_ids_of_their_own(tmp_path: Path) -> None:
    table = "text\nfever\na,b\n"
    fill(tmp_path, jan__notes_csv=table, feb__notes_csv=table, mar_csv=table)
    ids = ["feb/notes.csv:1", "feb/notes.csv:2", "jan/notes.csv:1", "jan/notes.csv:2"]
    assert read(tmp_path)[0] == [*ids, "mar.csv:1", "mar.csv:2"]


def test_a_file_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, jan_csv=TABLE, texts__a_txt="fever")
    (tmp_path / "latest.csv").symlink_to(tmp_path / "jan.csv")
    jan = tmp_path / "jan.csv"
    assert refused(jan, jan) == f"{jan}: given twice; name it once"
    assert refused(jan, tmp_path / "latest.csv") == (
        f"{tmp_path / 'latest.csv'}: given twice (it is the same file as {jan}); name it once"
    )
    assert "given twice" in refused(tmp_path / "texts", f"{tmp_path}/texts/*")
    (tmp_path / "texts" / "b.txt").symlink_to(
        tmp_path / "texts" / "a.txt"
    )  # in one folder that is no mistake
    assert read(tmp_path / "texts", jan)[0] == ["a", "b", "{}"]
