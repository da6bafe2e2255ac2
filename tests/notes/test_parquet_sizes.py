"""The sizes that a Parquet file declares are checked before memory is taken for them."""

from __future__ import annotations

import os
import random
from pathlib import Path

import polars as pl
import pytest

from sympress.errors import InputError, is_panic
from sympress.notes.formats import parquet as parquet_sizes
from sympress.notes.formats.parquet import _damage_told, check_sizes
from sympress.notes.read import read_notes

FRAME = pl.DataFrame(
    {
        "note_id": [str(at) for at in range(3_000)],
        "text": [None, "fever", "cough"] * 1_000,
        "age": [1.5] * 3_000,
    }
)
COLUMNS = ("note_id", "text", "age")


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "uncompressed"])
@pytest.mark.parametrize("rows_a_group", [100, 3_000])
@pytest.mark.parametrize("page", [200, None])
def test_a_file_that_polars_wrote_passes(
    tmp_path: Path, compression: str, rows_a_group: int, page: int | None
):
    path = tmp_path / "a.parquet"
    FRAME.write_parquet(path, compression=compression, row_group_size=rows_a_group, data_page_size=page)
    check_sizes(path, COLUMNS)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_a_file_that_arrow_wrote_passes(tmp_path: Path, version: str, dictionary: bool):
    parquet = pytest.importorskip("pyarrow.parquet")
    frame = FRAME.with_columns(codes=pl.concat_list("text"), part=pl.struct("age"))
    path = tmp_path / "a.parquet"
    parquet.write_table(frame.to_arrow(), path, data_page_version=version, use_dictionary=dictionary)
    check_sizes(path, [*COLUMNS, "codes", "part"])


def test_an_empty_table_passes(tmp_path: Path):
    FRAME.head(0).write_parquet(tmp_path / "a.parquet")
    check_sizes(tmp_path / "a.parquet", COLUMNS)


def test_a_page_that_unpacks_to_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"text": [f"{at}" + "a" * 1_000 for at in range(1_000)]}).write_parquet(
        path, row_group_size=1_000
    )
    monkeypatch.setattr(parquet_sizes, "PAGE_BYTES", 10_000)
    with pytest.raises(InputError, match="a page unpacks to"):
        check_sizes(path, ["text"])
    check_sizes(path)
    monkeypatch.setattr(parquet_sizes, "FOOTER_BYTES", 10)
    with pytest.raises(InputError, match="a footer of more than"):
        check_sizes(path)


def test_any_damage_is_an_input_error_or_goes_unseen(tmp_path: Path):
    path, chance = tmp_path / "a.parquet", random.Random(0)
    FRAME.head(50).write_parquet(path)
    raw = path.read_bytes()
    refused = 0
    for _ in range(400):
        made = bytearray(raw)
        for _ in range(chance.choice((1, 3))):
            made[chance.randrange(len(raw))] = chance.choice((0, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        path.write_bytes(made[: chance.choice((len(raw), len(raw), chance.randrange(len(raw))))])
        try:
            check_sizes(path, COLUMNS)
        except InputError:
            refused += 1
    assert refused > 200


def test_what_polars_says_of_a_damaged_file_does_not_reach_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "n.parquet"
    frame = pl.DataFrame({"note_id": [f"n{k}" for k in range(50)], "text": [f"fever {k}" for k in range(50)]})
    frame.write_parquet(path, compression="uncompressed")
    raw = path.read_bytes()
    start = raw.index(b"fever 49") + len("fever 49")
    places = [at for at in range(start, start + 60) if raw[at] in range(1, 33)]
    panics = 0
    for at in places:  # one of them is the width of the indices, for which 154 bits are too many
        path.write_bytes(raw[:at] + bytes([154]) + raw[at + 1 :])
        try:
            read_notes(path)
        except InputError as error:
            panics += is_panic(error.__cause__ or error)
    assert panics
    assert capfd.readouterr().err == ""


def test_other_things_said_while_a_file_is_read_are_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with _damage_told("damaged"):
        os.write(2, b"progress")
    assert capfd.readouterr().err == "progress"
