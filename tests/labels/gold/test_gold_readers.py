"""Small hand-made files of each format, and what is read from them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from sympress.errors import InputError
from sympress.labels.gold import coded_documents, read_gold, read_vaers
from sympress.labels.gold.documents import GoldDocument, GoldSpan, write_jsonl
from sympress.labels.gold.mentions import to_annotated
from sympress.labels.gold.standoff import read_brat
from sympress.labels.gold.tables import LONE_INSIDE, read_conll
from sympress.notes.read import read_notes

NOTE = "No fever.\nPain in arms and legs.\n"
ANNOTATIONS = """\
T1\tSign_symptom 3 8\tfever
E1\tSign_symptom:T1\x20
A1\tPOLARITY E1 NEG
T2\tSign_symptom 10 17;27 31\tPain in legs
*\tOVERLAP T1 T2
"""
NEGEX = """\
line number\tCondition\tsentence\tnegation_status (negated, affirmed, possible)\t\
temporality (historical, recent, hypothetical)\texperiencer (patient, other)
7\tankle swelling\tAnkle swelling before, no ANKLE  SWELLING now.\tNegated\tRecent\tPatient
9\tfever\tNo chills.\tNegated\tHistorical\tOther
"""


def brat_folder(root: Path) -> Path:
    (root / "ward").mkdir(parents=True)
    (root / "ward" / "n1.txt").write_text(NOTE)
    (root / "ward" / "n1.ann").write_text(ANNOTATIONS)
    (root / "n2.txt").write_text("Never annotated.")
    (root / ".hidden.ann").write_text("not ours")
    return root


def test_brat_follows_an_attribute_through_its_event(tmp_path: Path) -> None:
    held = read_gold(brat_folder(tmp_path / "b"))
    assert held.format == "brat"
    assert held.counts == {
        "notes": 1, "spans": 2, "discontinuous spans": 1, "texts without .ann, not read": 1
    }  # fmt: skip
    (document,) = held.documents
    assert document.note_id == "ward/n1"
    assert document.note_id in read_notes(tmp_path / "b").frame["note_id"], "ids join with those of notes"
    assert document.text == NOTE
    assert document.spans == (
        GoldSpan(((3, 8),), "Sign_symptom", (("POLARITY", "NEG"),), "T1"),
        GoldSpan(((10, 17), (27, 31)), "Sign_symptom", (), "T2"),
    )
    assert document.spans[1].surface(NOTE) == "Pain in legs"
    assert read_brat(tmp_path / "b" / "ward" / "n1.ann").documents[0].spans == document.spans


def test_windows_line_ends_of_an_ann_file_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("No fever.")
    (tmp_path / "n.ann").write_bytes(b"T1\tS 3 8\tfever\r\n")
    assert read_brat(tmp_path).documents == (
        GoldDocument("n", "No fever.", (GoldSpan(((3, 8),), "S", (), "T1"),)),
    )


def test_conll_reads_bio_bioes_and_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "dev.conll"
    path.write_text(
        "-DOCSTART- -X- O\n\n"
        "No DT O\nfever NN B-S\n, , O\nchest NN B-S\npain NN I-S\nrash NN B-S\n\n\n"
        "-DOCSTART- -X- O\n\n"
        "cough NN I-S\nand CC O\nsore JJ B-S\nthroat NN E-S\nitch NN S-S\nlegs NN I-S\n"
    )
    held = read_gold(path)
    assert held.format == "conll"
    assert held.counts == {"notes": 2, "spans": 7, LONE_INSIDE: 2}
    first, second = held.documents
    assert (first.note_id, first.text) == ("dev-1", "No fever , chest pain rash")
    assert [span.surface(first.text) for span in first.spans] == ["fever", "chest pain", "rash"]
    assert second.text == "cough and sore throat itch legs"
    assert [span.surface(second.text) for span in second.spans] == ["cough", "sore throat", "itch", "legs"]


def test_conll_offsets_are_those_of_the_given_text(tmp_path: Path) -> None:
    path = tmp_path / "x.conll"
    path.write_text("No\tO\nfever\tB-S\n,\tO\nchills\tB-S\n")
    (document,) = read_conll(path, texts={"x": "No  fever,chills\n"}).documents
    assert [span.fragments for span in document.spans] == [((4, 9),), ((10, 16),)]


def test_pubtator_counts_title_one_space_and_abstract(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    source = (
        "12|t|Fever again\n12|a|No chills.\n12\t0\t5\tFever\tSymptom\tHP:0001945\n"
        "12\t15\t21\tchills\tSymptom\n12\tCID\tD1\tD2\n\n"
        "13|t|Cough\n13|a|\n13\t0\t5\tCough\tSymptom\t-\tx\n\n"
    )
    path.write_text(source)
    held = read_gold(path)
    assert (held.format, held.counts) == ("pubtator", {"notes": 2, "spans": 3})
    first, second = held.documents
    assert first == GoldDocument(
        "12",
        "Fever again No chills.",
        (
            GoldSpan(((0, 5),), "Symptom", (("identifier", "HP:0001945"),)),
            GoldSpan(((15, 21),), "Symptom"),
        ),
    )
    assert second.spans[0].attributes == (("identifier", "-"), ("parts", "x"))


def test_negex_prefers_the_condition_in_capitals(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text(NEGEX)
    held = read_gold(path)
    assert held.format == "negex"
    assert held.counts == {"notes": 2, "spans": 2, "conditions that do not stand in their sentence": 1}
    first, second = held.documents
    assert first.spans[0].surface(first.text) == "ANKLE  SWELLING"
    assert dict(first.spans[0].attributes)["condition"] == "ankle swelling"
    assert second.spans[0].fragments == ()
    notes, counts = to_annotated(held.documents, labels={"Condition"})
    assert [[m.assertion for m in note.mentions] for note in notes] == [["absent"], []]
    assert counts["without a place in the text: dropped"] == 1


@pytest.fixture
def vaers_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "vaers"
    folder.mkdir()
    (folder / "2005VAERSDATA.csv").write_text(
        "VAERS_ID,RECVDATE,SEX,AGE_YRS,SYMPTOM_TEXT\n1,01/02/2005,F,30,Fever and rash\n2,01/02/2005,M,,\n"
    )
    (folder / "2005VAERSSYMPTOMS.csv").write_text(
        "VAERS_ID,SYMPTOM1,SYMPTOM2,SYMPTOM3,SYMPTOM4,SYMPTOM5\n1,Pyrexia,Rash,,,\n2,Pain,,,,\n"
    )
    return folder


def test_vaers_codes_are_labels_of_the_whole_note(vaers_folder: Path, tmp_path: Path) -> None:
    held = read_gold(vaers_folder)
    assert held.format == "vaers"
    assert held.documents == (
        GoldDocument("1", "Fever and rash", (GoldSpan((), "Pyrexia"), GoldSpan((), "Rash"))),
    )
    assert held.counts == {"notes": 1, "spans": 2, "rows left out: without text": 1}
    write_jsonl(tmp_path / "x.jsonl", held.documents)
    assert read_gold(tmp_path / "x.jsonl").documents == held.documents


def test_notes_that_nobody_coded_are_left_out_and_counted(vaers_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "n.jsonl").write_text('{"note_id": "1", "text": "No codes."}\n')
    with pytest.raises(InputError, match=r"n\.jsonl: these notes carry no coded symptoms; give VAERS with"):
        read_vaers(tmp_path / "n.jsonl")
    notes = read_notes(vaers_folder)
    uncoded = notes.frame.with_columns(note_id=pl.lit("9"), codes=pl.lit(None, pl.List(pl.String)))
    mixed = type(notes)(notes.name, pl.concat([notes.frame, uncoded]), notes.counts, notes.fingerprint)
    assert coded_documents(mixed).counts == Counter(
        {"notes": 1, "spans": 2, "rows left out: without text": 1, "notes that nobody coded: left out": 1}
    )


def test_the_examples_of_the_page_are_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "gold-formats.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:text|json)\n(.*?)```", page, re.DOTALL)
    (tmp_path / "n1.txt").write_text("No fever. Pain in arms or legs.")
    (tmp_path / "n7.txt").write_text("No fever .")
    read = []
    for number, block in enumerate(blocks):
        path = tmp_path / {0: "n1.ann", 7: "n7.ast"}.get(number, f"example{number}")
        path.write_text(block)
        held = read_gold(path)
        read.append((held.format, [span.surface(d.text) for d in held.documents for span in d.spans]))
    assert read == [
        ("brat", ["fever", "Pain in legs"]),
        ("jsonl", ["fever"]),
        ("conll", ["fever"]),
        ("pubtator", ["chills"]),
        ("negex", ["FEVER"]),
        ("doccano", ["fever"]),
        ("label-studio", ["fever"]),
        ("i2b2", ["fever"]),
    ]
