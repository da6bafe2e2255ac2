"""Bad input: each mistake is one line that names the file and, where there is one, the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sympress.errors import InputError
from sympress.labels.gold import read_gold
from sympress.labels.gold.documents import GoldDocument, GoldSpan, read_jsonl, write_jsonl
from sympress.labels.gold.standoff import read_brat
from sympress.labels.gold.tables import read_conll, read_negex, read_pubtator

HEADER = (
    "line number\tCondition\tsentence\tnegation_status (negated, affirmed, possible)\t"
    "temporality (historical, recent, hypothetical)\texperiencer (patient, other)\n"
)


def message(read, path: Path, content: str | bytes, **options: object) -> str:
    """What `read` says of a file with `content`, without the folder."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        read(path, **options)
    return str(caught.value).replace(f"{path.parent}/", "")


WRONG_TEXT = "the .txt is not the one that was annotated, or the offsets are wrong"
BRAT = [
    ("T1\tS 3 8\tfeber\n", f"n.ann, line 1: the text at 3 8 is not the reference text of T1; {WRONG_TEXT}"),
    (
        "T1\tS 0 2\tNo\nT2\tS 3 99\tfever\n",
        "n.ann, line 2: offsets 3 99 lie outside the text, which has 9 characters",
    ),
    ("T1\tS -3 2\tx\n", "n.ann, line 1: offsets -3 2 lie outside the text, which has 9 characters"),
    ("T1\tS 3 3\t\n", "n.ann, line 1: offsets 3 3 mark nothing; the end must lie behind the start"),
    (
        "T1\tS 3 8;0 2\tfever No\n",
        "n.ann, line 1: the fragment 0 2 overlaps the one before it or precedes it",
    ),
    (
        "T1 S 3 8 fever\n",
        "n.ann, line 1: malformed; a brat line is  ID<TAB>…, for example  T1<TAB>Type 0 5<TAB>text",
    ),
    (
        "T1\tS 3 8\tfever\n\nT1\tS 0 2\tNo\n",
        "n.ann, line 3: the id T1 already stands in line 1; renumber one",
    ),
    (
        "T1\tS 3 8\tfever\nA1\tPOLARITY E7 NEG\n",
        "n.ann, line 2: an attribute POLARITY of E7, which is not there",
    ),
    ("E1\tS:T4\n", "n.ann, line 1: E1 is triggered by T4, which is not there"),
    (b"\xef\xbb\xbfT1\tS 3 8\tfever\n", "n.ann: begins with a byte order mark; save it as UTF-8 without one"),
    (
        b"T1\tS 3 8\tfever\n#1\tNote T1\tna\xefve\n",
        "n.ann, line 2: not UTF-8; convert the file, for example  iconv -f WINDOWS-1252 -t UTF-8",
    ),
    (b"\x1f\x8b\x08", "n.ann: compressed; unpack it first, for example  gunzip n.ann"),
]


@pytest.mark.parametrize(("content", "expected"), BRAT)
def test_brat(content: str | bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("No fever.")
    assert message(read_brat, tmp_path / "n.ann", content) == expected


def test_brat_says_that_windows_line_ends_count_twice(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_bytes(b"No\r\nfever.")
    assert message(read_brat, tmp_path / "n.ann", "T1\tS 3 8\tfever\n") == (
        "n.ann, line 1: the text at 3 8 is not the reference text of T1 (its lines end in CR LF, which "
        f"counts as two characters); {WRONG_TEXT}"
    )


def test_brat_without_the_text_or_without_annotations(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.ann file in this folder; give the folder with the \.txt and"):
        read_brat(tmp_path)
    assert message(read_brat, tmp_path / "n.ann", "") == (
        "n.ann: n.txt is missing beside it; put the annotated text there"
    )


JSONL = [
    ("[1]", "x.jsonl, line 1: not a JSON object; write one note a line"),
    ('\n{"note_id": ', "x.jsonl, line 2: not a JSON object; write one note a line"),
    (
        '{"note_id": "\\ud800", "text": "", "spans": []}',
        "x.jsonl, line 1: not a JSON object; write one note a line",
    ),
    ('{"noteid": "1"}', "x.jsonl, line 1: 'note_id' is missing or no text (did you mean 'noteid'?)"),
    ('{"note_id": 1}', "x.jsonl, line 1: 'note_id' is missing or no text"),
    ('{"note_id": "1", "text": ""}', "x.jsonl, line 1: 'spans' is missing or no list"),
]
SPANS = [
    ("3", "not a JSON object with start, end and label"),
    (
        '{"start": 0, "end": 2, "label": "S", "negated": true}',
        "unknown key 'negated'; a span has start, end, fragments, label, attributes, id: "
        "put what else is known of it under 'attributes'",
    ),
    ('{"start": 0, "end": 2}', "'label' is missing or no text"),
    ('{"start": 0, "end": 2, "label": "S", "id": 3}', "'id' is no text"),
    ('{"label": "S"}', "give either start and end, or fragments"),
    ('{"start": 0, "end": 2, "fragments": [], "label": "S"}', "give either start and end, or fragments"),
    ('{"start": 0, "label": "S"}', 'offsets are whole numbers, as in  "start": 3, "end": 8'),
    ('{"start": false, "end": 2, "label": "S"}', 'offsets are whole numbers, as in  "start": 3, "end": 8'),
    (
        '{"start": 0, "end": 9, "label": "S"}',
        "offsets 0 9 lie outside the text, which has 2 characters",
    ),
    (
        '{"start": 0, "end": 2, "label": "S", "attributes": {"n": 1}}',
        'attributes are texts, as in  {"POLARITY": "NEG"}',
    ),
]


@pytest.mark.parametrize(("content", "expected"), JSONL)
def test_jsonl(content: str, expected: str, tmp_path: Path) -> None:
    assert message(read_jsonl, tmp_path / "x.jsonl", content) == expected


@pytest.mark.parametrize(("span", "expected"), SPANS)
def test_spans_of_jsonl(span: str, expected: str, tmp_path: Path) -> None:
    good = '{"note_id": "1", "text": "ab", "spans": [{"start": 0, "end": 1, "label": "S"}]}\n'
    row = f'{{"note_id": "2", "text": "ab", "spans": [{span}]}}'
    said = message(read_jsonl, tmp_path / "x.jsonl", good + row)
    assert said == f"x.jsonl, line 2, span 1: {expected}"


def test_jsonl_ids_used_twice(tmp_path: Path) -> None:
    row = '{"note_id": "1", "text": "ab", "spans": []}\n'
    assert message(read_jsonl, tmp_path / "x.jsonl", row + row) == (
        "x.jsonl, line 2: note '1' already stands in line 1; keep one"
    )
    span = '{"start": 0, "end": 1, "label": "S", "id": "T1"}'
    row = f'{{"note_id": "1", "text": "ab", "spans": [{span}, {span}]}}'
    assert message(read_jsonl, tmp_path / "x.jsonl", row) == (
        "x.jsonl, line 1: the id 'T1' is used by 2 spans; give each its own"
    )


CONLL = [
    ("fever\n", "x.conll, line 1: 1 column; CoNLL has a token and its tag in each line"),
    (
        "no\tO\nfever\tB\n",
        "x.conll, line 2: the last column is no tag; use O, B-LABEL, I-LABEL (and E-LABEL, S-LABEL)",
    ),
    (
        "# newdoc id = a\nno O\n# newdoc id = a\n",
        "x.conll, line 3: the document 'a' is there twice; give each its own id",
    ),
    ("\n", "x.conll: an empty file; CoNLL has a token and its tag in each line"),
]


@pytest.mark.parametrize(("content", "expected"), CONLL)
def test_conll(content: str, expected: str, tmp_path: Path) -> None:
    assert message(read_conll, tmp_path / "x.conll", content) == expected


def test_conll_with_another_text(tmp_path: Path) -> None:
    path, content = tmp_path / "x.conll", "# newdoc id = a1\nno\tO\nfever\tB-S\n"
    assert message(read_conll, path, content, texts={"a1": "no chills"}) == (
        "x.conll, line 3: this token does not stand at character 2 of the text of note 'a1'; "
        "give the text that was tokenized"
    )
    assert message(read_conll, path, content, texts={"a1": "no fever, chills"}) == (
        "x.conll: the tokens of note 'a1' end at character 8 of 16; give the text that was tokenized"
    )
    assert message(read_conll, path, content, texts={"a2": "no fever"}) == (
        "x.conll: the text of note 'a1' was not given (did you mean 'a2'?); "
        "check the ids, or leave `texts` out"
    )


PUBTATOR = [
    ("1\t0\t2\tNo\tS\n", "x.txt, line 1: stands before any title; a note begins with  ID|t|TITLE"),
    ("1|t|No\n1|t|No\n", "x.txt, line 2: note '1' is there twice; keep one"),
    ("1|t|No\n2|a|No\n", "x.txt, line 2: an abstract of '2' out of place; write it below its title"),
    (
        "1|t|No\n1|a|fever\n2\t3\t8\tfever\tS\n",
        "x.txt, line 3: belongs to note '2', but stands below '1'; end a note with a blank line",
    ),
    (
        "1|t|No\n1\t0\t2\n",
        "x.txt, line 2: 3 columns; an annotation has 5 to 7: ID, start, end, text, type, identifier, parts",
    ),
    ("1|t|No\n1\t0\tx\tNo\tS\n", "x.txt, line 2: start and end are not whole numbers"),
    ("1|t|No\n1\t0\t2\tNo\t\n", "x.txt, line 2: the type is empty"),
    (
        "1|t|No\n1|a|fever\n1\t4\t9\tfever\tS\n",
        "x.txt, line 3: offsets 4 9 lie outside the text, which has 8 characters",
    ),
    (
        "1|t|No\n1|a|fever\n1\t2\t7\tfever\tS\n",
        "x.txt, line 3: the text at 2 7 is not the one of this line; "
        "offsets count title, one space and abstract",
    ),
    ("", "x.txt: an empty file; a PubTator note begins with  ID|t|TITLE"),
]


@pytest.mark.parametrize(("content", "expected"), PUBTATOR)
def test_pubtator(content: str, expected: str, tmp_path: Path) -> None:
    assert message(read_pubtator, tmp_path / "x.txt", content) == expected


NEGEX = [
    (
        "1\tfever\tNo fever.\tNegated\tRecent\n",
        "x.tsv, line 2: 5 columns, the header has 6; separate by tabs",
    ),
    (
        "1\tfever\tNo fever.\tNegatd\tRecent\tPatient\n",
        "x.tsv, line 2: unknown negation_status 'Negatd' (did you mean 'negated'?); "
        "use negated, affirmed, possible",
    ),
    (
        "1\tfever\tNo fever.\tNegated\tRecent\tPatient\n" * 2,
        "x.tsv, line 3: the line number '1' already stands in line 2",
    ),
]


@pytest.mark.parametrize(("rows", "expected"), NEGEX)
def test_negex(rows: str, expected: str, tmp_path: Path) -> None:
    assert message(read_negex, tmp_path / "x.tsv", HEADER + rows) == expected


def test_negex_with_another_header(tmp_path: Path) -> None:
    said = message(read_negex, tmp_path / "x.tsv", "a\tb\n")
    assert said.startswith("x.tsv, line 1: not the header of NegEx; the columns are line number, Condition,")


def test_a_path_that_holds_no_annotations(tmp_path: Path) -> None:
    formats = (
        "brat (a folder of .txt and .ann), i2b2 2010 (a folder of .txt, .con and .ast), VAERS, "
        "Label Studio (.json), doccano (.jsonl), JSON lines, NegEx (.tsv), PubTator or CoNLL"
    )
    with pytest.raises(InputError) as caught:
        read_gold(tmp_path / "gone")
    assert str(caught.value) == f"{tmp_path}/gone: no such file or folder; give {formats}"
    with pytest.raises(InputError) as caught:
        read_gold(tmp_path)
    assert str(caught.value) == f"{tmp_path}: no annotations in this folder; give {formats}"
    assert message(read_gold, tmp_path / "n.csv", "a,b\n1,2\n") == (
        f"n.csv: none of the formats that hold annotations; give {formats}"
    )
    with pytest.raises(InputError) as caught:
        read_gold(tmp_path, "bart")
    assert str(caught.value) == (
        "unknown format 'bart' (did you mean 'brat'?): use auto, brat, i2b2, vaers, label-studio, doccano, "
        "jsonl, negex, pubtator, conll"
    )


def doc(*spans: GoldSpan) -> GoldDocument:
    return GoldDocument("n1", "No fever.", spans)


FEVER = GoldSpan(((3, 8),), "Sign", (), "T1")
UNWRITABLE = [
    ([doc(), doc()], "note 'n1' is there twice; give each note its own id"),
    (
        [doc(FEVER, FEVER)],
        "note 'n1', span 2: the id 'T1' is used twice; give each span its own",
    ),
    (
        [doc(GoldSpan(((3, 10),), "S"))],
        "note 'n1', span 1: offsets 3 10 lie outside the text, which has 9 characters",
    ),
    (
        [doc(GoldSpan(((3, 8),), ""))],
        "note 'n1', span 1: has no label; name what it marks",
    ),
]


@pytest.mark.parametrize(("documents", "expected"), UNWRITABLE)
def test_what_no_format_can_hold_is_refused(documents, expected, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write_jsonl(tmp_path / "out", documents)
    assert str(caught.value) == expected
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_a_note_never_enters_a_message(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("Secret words.")
    assert "ecret" not in message(read_brat, tmp_path / "n.ann", "T1\tS 0 6\tSecreT\n")
    assert "ecret" not in message(read_pubtator, tmp_path / "x", "1|t|Secret\n1\t0\t6\tSecreT\tS\n")
    assert "ecret" not in message(read_jsonl, tmp_path / "y", '{"note_id": "1", "text": "Secret')
