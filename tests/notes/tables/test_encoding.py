"""Any encoding as UTF-8: a file is read one way, from its first byte to its last."""

import gzip
import io
from pathlib import Path

import pytest

from sympress.errors import InputError
from sympress.notes.layout import TableOptions
from sympress.notes.read import read_notes
from sympress.notes.streams import Utf8Stream, is_cp1252

WORDS = "“fièvre” – 39 °C, café au lait’s €"


def table(rows: int, text: str) -> str:
    return "note_id,text\n" + "".join(f"{at},fever\n" for at in range(rows)) + f'x,"{text}"\ny,"{text}"\n'


@pytest.mark.parametrize("rows", [0, 20_000])
@pytest.mark.parametrize("packed", [False, True])
def test_cp1252_is_recognised_and_said(tmp_path: Path, rows: int, packed: bool) -> None:
    raw = table(rows, WORDS).encode("cp1252")
    path = tmp_path / "n.csv"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    notes = read_notes(path)
    assert notes.frame.height == rows + 2
    assert set(notes.frame["text"].to_list()) - {"fever"} == {WORDS}
    assert notes.counts.remarks == [
        f"{path}: not UTF-8, so it is read as cp1252 (Western Windows); "
        "name any other encoding with --encoding"
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("rows", [0, 20_000])
def test_unicode_needs_no_word(tmp_path: Path, encoding: str, rows: int) -> None:
    path = tmp_path / "n.csv"
    path.write_bytes(table(rows, WORDS).encode(encoding))
    notes = read_notes(path)
    assert notes.frame["text"].to_list()[-1] == WORDS
    assert notes.counts.remarks == []


@pytest.mark.parametrize("encoding", ["cp1252", "mac-roman", "utf-16-le", "utf-16-be", "cp1250", "gb18030"])
def test_an_encoding_can_be_named(tmp_path: Path, encoding: str) -> None:
    text = "fièvre" if encoding == "cp1252" else "ä – ü"
    path = tmp_path / "n.csv"
    path.write_bytes(table(9, text).encode(encoding))
    notes = read_notes(path, table=TableOptions(encoding=encoding))
    assert notes.frame["text"].to_list()[-1] == text


@pytest.mark.parametrize("name", ["cp125", "base64", "utf-8-x", "nothing", "hex", "rot13", ""])
def test_a_name_that_is_no_encoding_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"^--encoding {name}: no text encoding"):
        TableOptions(encoding=name)


@pytest.mark.parametrize(
    ("raw", "judged"),
    [
        (b"caf\xe9", True),
        (b"\x93quoted\x94", True),
        ("café, naïve ".encode() + b"caf\xe9", False),
        (b"caf\x8e", True),
        (b"caf\x81 \xe9", False),  # no character of cp1252
        (b"\xe9" + bytes(range(8)) * 9, False),  # no text
    ],
)
def test_what_breaks_utf8_is_judged_by_the_whole(raw: bytes, judged: bool) -> None:
    assert is_cp1252(io.BytesIO(raw)) is judged


def test_a_character_across_two_reads_is_still_one() -> None:
    class Torn(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:  # a byte at a time
            return self.read(1)

    raw = "a é 💊".encode()
    stream = Utf8Stream(Torn(raw), None, guess=lambda _: pytest.fail("it is UTF-8"))
    assert io.BufferedReader(stream).read() == raw
    assert (
        io.BufferedReader(Utf8Stream(Torn("é💊".encode("utf-16-le")), "utf-16-le")).read() == "é💊".encode()
    )


def test_bytes_that_utf16_does_not_have_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_bytes(table(9, "x").encode("utf-16") + b"\x00\xdc\x41\x00" * 9)
    with pytest.raises(InputError, match="not utf-16 from about byte"):
        read_notes(path)


def test_a_folder_in_cp1252_is_read_and_said_once(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_bytes(WORDS.encode("cp1252"))
    notes = read_notes(tmp_path)
    assert notes.frame["text"].to_list() == [WORDS, WORDS]
    assert len(notes.counts.remarks) == 1
