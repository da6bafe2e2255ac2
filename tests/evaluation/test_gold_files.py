"""Gold from files: every format, what our own commands write, and what doesn't fit its notes."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from sympress.cli.main import run
from sympress.errors import InputError
from sympress.evaluation.gold import Gold, Vocabulary
from sympress.evaluation.gold_files import GoldOptions, read_for
from sympress.evaluation.quality import age_band
from sympress.runtime.artifact import RULES_FOLDER
from sympress.runtime.extractor import Extractor

TEXTS = {"1": "Fever and chills. No cough.", "2": "Denies headache. Nausea."}
MENTIONS = {
    "1": [(0, 5, "fever", "present"), (10, 16, "chills", "present"), (21, 26, "cough", "absent")],
    "2": [(7, 15, "headache", "absent"), (17, 23, "nausea", "present")],
}
AFFIRMED = {"1": {"fever", "chills"}, "2": {"nausea"}}


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.of(Extractor.load(RULES_FOLDER))


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.csv"
    rows = [("1", "p", "A", 1.0), ("2", "q", "B", 70.0)]
    pl.DataFrame(
        {
            "note_id": [row[0] for row in rows],
            "patient_id": [row[1] for row in rows],
            "ward": [row[2] for row in rows],
            "age": [row[3] for row in rows],
            "text": [TEXTS[row[0]] for row in rows],
        }
    ).write_csv(path)
    return path


def called(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        run([str(one) for one in arguments])
    assert ended.value.code == 0


def told(gold: Gold) -> dict[str, list[tuple[int, int, str | None, str]]]:
    return {
        note.note_id: [(one.start, one.end, one.symptom, one.assertion) for one in note.mentions]
        for note in gold.notes
    }


def lines(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def jsonl(path: Path, label: str | None = None, **more: object) -> Path:
    rows = [
        {
            "note_id": note_id,
            "text": TEXTS[note_id],
            "spans": [
                {"start": start, "end": end, "label": label or symptom, "attributes": {"assertion": said}}
                for start, end, symptom, said in found
            ],
            **more,
        }
        for note_id, found in MENTIONS.items()
    ]
    return lines(path, *rows)


@pytest.mark.parametrize("label", ["Sign_symptom", None])
def test_marked_spans_are_named_by_their_label_or_their_words(
    tmp_path: Path, vocabulary: Vocabulary, label: str | None
):
    gold = read_for(jsonl(tmp_path / "gold.jsonl", label), vocabulary)
    assert told(gold) == MENTIONS
    assert (gold.spans, gold.asserted, gold.patients) == (True, True, None)
    assert {note.note_id: note.affirmed for note in gold.notes} == AFFIRMED


def test_brat_is_read(tmp_path: Path, vocabulary: Vocabulary):
    (tmp_path / "1.txt").write_text(TEXTS["1"])
    (tmp_path / "1.ann").write_text("T1\tSymptom 0 5\tFever\nT2\tSymptom 21 26\tcough\nA1\tNegation T2\n")
    gold = read_for(tmp_path, vocabulary)
    assert told(gold) == {"1": [(0, 5, "fever", "present"), (21, 26, "cough", "absent")]}
    assert gold.form == "brat"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("label", "--task", "mentions", "--labels", "silver", "--lexicon", "clinical"), "gold.jsonl"),
        (("extract", "-q", "--model", "rules"), "gold.jsonl"),
        (("extract", "-q", "--model", "rules"), "gold.parquet"),
        (("extract", "-q", "--model", "rules"), "gold.csv"),
        (("extract", "-q", "--model", "rules", "--format", "omop"), "gold.csv"),
        (("extract", "-q", "--model", "rules", "--format", "omop"), "gold.jsonl"),
    ],
)
def test_what_our_commands_write_is_read_beside_the_notes(
    tmp_path: Path, notes: Path, vocabulary: Vocabulary, command: tuple[str, ...], name: str
):
    called(command[0], notes, "-o", tmp_path / name, *command[1:])
    gold = read_for(tmp_path / name, vocabulary, GoldOptions(notes))
    assert told(gold) == MENTIONS
    assert {note.note_id: note.affirmed for note in gold.notes} == AFFIRMED
    assert gold.patients == ["p", "q"]


def test_what_synth_writes_is_read_and_has_the_patients_of_its_notes(tmp_path: Path, vocabulary: Vocabulary):
    called("synth", "-n", 20, "-o", tmp_path / "made.csv")
    gold = read_for(tmp_path / "made.gold.jsonl", vocabulary, GoldOptions(tmp_path / "made.csv"))
    assert len(gold.notes) == 20
    assert gold.patients is not None
    assert {one.symptom in vocabulary.known for note in gold.notes for one in note.mentions} == {True}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_symptoms_of_whole_notes_are_read(tmp_path: Path, notes: Path, vocabulary: Vocabulary, suffix: str):
    path = tmp_path / f"labels.{suffix}"
    options = ("--task", "present", "--labels", "silver", "--lexicon", "clinical", "--top-k", 3)
    called("label", notes, "-o", path, *options)
    gold = read_for(path, vocabulary, GoldOptions(notes))
    assert not gold.spans
    assert {note.note_id: note.affirmed for note in gold.notes} == AFFIRMED


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_symptoms_may_stand_beside_the_text_of_their_notes(
    tmp_path: Path, vocabulary: Vocabulary, suffix: str
):
    path = tmp_path / f"gold.{suffix}"
    rows = [
        {"note_id": note_id, "patient_id": "p", "text": text, "symptoms": ";".join(sorted(AFFIRMED[note_id]))}
        for note_id, text in TEXTS.items()
    ]
    if suffix == "csv":
        pl.DataFrame(rows).write_csv(path)
    else:
        lines(path, *(row | {"symptoms": sorted(AFFIRMED[str(row["note_id"])])} for row in rows))
    gold = read_for(path, vocabulary)
    assert {note.note_id: note.affirmed for note in gold.notes} == AFFIRMED
    assert gold.patients == ["p", "p"]


def test_another_tools_note_nlp_is_read_by_its_words_and_flags(
    tmp_path: Path, notes: Path, vocabulary: Vocabulary
):
    path = tmp_path / "note_nlp.csv"
    path.write_text(
        "note_nlp_id,note_id,offset,lexical_variant,term_exists,term_temporal,term_modifiers\n"
        "1,1,0,Fever,Y,Present,\n2,1,21,cough,N,,\n3,1,10,chills,Y,Past,\n"
    )
    gold = read_for(path, vocabulary, GoldOptions(notes))
    assert told(gold) == {
        "1": [(0, 5, "fever", "present"), (10, 16, "chills", "historical"), (21, 26, "cough", "absent")],
        "2": [],
    }
    assert gold.remarks == ("1 notes have no row of NOTE_NLP and count as notes without a symptom",)


def test_labels_that_name_no_symptom_we_know_are_said_or_kept(tmp_path: Path, vocabulary: Vocabulary):
    spans = [{"start": 0, "end": 5, "label": "fever"}, {"start": 6, "end": 16, "label": "brain-zaps"}]
    path = lines(tmp_path / "g.jsonl", {"note_id": "1", "text": "Fever brain zaps", "spans": spans})
    gold = read_for(path, vocabulary)
    assert told(gold) == {"1": [(0, 5, "fever", "present")]}
    assert any("brain-zaps 1" in line and "--gold-labels" in line for line in gold.remarks)
    assert not gold.asserted
    listed = read_for(path, vocabulary, GoldOptions(labels=("fever", "brain-zaps")))
    assert told(listed)["1"][1] == (6, 16, "brain-zaps", "present")


@pytest.mark.parametrize(
    ("by", "groups"), [("ward", ["A", "B"]), ("age", ["under 2", "65 and over"]), ("patient_id", ["p", "q"])]
)
def test_groups_are_columns_of_the_notes(
    tmp_path: Path, notes: Path, vocabulary: Vocabulary, by: str, groups: list[str]
):
    gold = read_for(jsonl(tmp_path / "g.jsonl"), vocabulary, GoldOptions(notes, by))
    assert [note.group for note in gold.notes] == groups


def test_groups_and_patients_may_stand_in_the_gold_itself(tmp_path: Path, vocabulary: Vocabulary):
    path = jsonl(tmp_path / "g.jsonl", ward="A", patient_id=7)
    gold = read_for(path, vocabulary, GoldOptions(group_by="ward"))
    assert [(note.group, note.patient_id) for note in gold.notes] == [("A", "7"), ("A", "7")]
    with pytest.raises(InputError, match=r"--group-by wart: no annotated note has it \(did you mean 'ward'"):
        read_for(path, vocabulary, GoldOptions(group_by="wart"))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("x" * 101, "no word of at most 100 characters"),
        ("\x1b[31mred", "that can be printed"),
        ("a\u202eb", "that can be printed"),
        ({"chills": 1}, "no number and no word"),
        (["A"], "no number and no word"),
    ],
)
def test_what_would_spoil_a_table_of_groups_is_no_group(
    tmp_path: Path, vocabulary: Vocabulary, value: object, said: str
):
    path = jsonl(tmp_path / "g.jsonl", ward=value)
    with pytest.raises(InputError, match=said) as refused:
        read_for(path, vocabulary, GoldOptions(group_by="ward"))
    assert "chills" not in str(refused.value)


@pytest.mark.parametrize("age", [-5, 1e30, float("nan"), True])
def test_what_is_no_age_is_no_band_of_ages(tmp_path: Path, vocabulary: Vocabulary, age: object):
    span = {"start": 0, "end": 5, "label": "Symptom"}
    rows = [
        {"note_id": str(at), "text": "fever", "spans": [span], "age": one} for at, one in ((1, 40), (2, age))
    ]
    gold = read_for(lines(tmp_path / "g.jsonl", *rows), vocabulary, GoldOptions(group_by="age"))
    assert gold.notes[0].group == age_band(40.0)
    assert gold.notes[1].group == ("True" if age is True else None)


def test_a_column_of_as_many_values_as_notes_is_no_column_of_groups(tmp_path: Path, vocabulary: Vocabulary):
    rows = (
        {"note_id": str(at), "text": "fever", "symptoms": ["fever"], "ward": str(at)} for at in range(101)
    )
    path = lines(tmp_path / "g.jsonl", *rows)
    with pytest.raises(InputError, match="101 different values in 101 notes, more than 100 groups"):
        read_for(path, vocabulary, GoldOptions(path, group_by="ward"))


MENTION = {"start": 0, "end": 5, "symptom": "fever", "assertion": "present"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"note_id": "9", "mentions": []}, "note '9' is not in "),
        ({"note_id": "1", "mentions": [MENTION | {"end": 500}]}, "offsets 0 500 lie outside the note"),
        ({"note_id": "1", "mentions": [MENTION | {"start": 9}]}, "offsets 9 5 lie outside the note"),
        ({"note_id": "1", "mentions": [MENTION | {"start": "x"}]}, "start is no whole number"),
        ({"note_id": "1", "mentions": [MENTION | {"assertion": "presnt"}]}, "did you mean 'present'"),
        ({"note_id": "1", "mentions": ["fever"]}, "no mention; write start, end"),
        ({"note_id": "1", "mentions": "fever"}, "'mentions' is no list"),
        ({"note_id": None, "mentions": []}, "'note_id' is missing"),
        ({"note_id": "1", "symptoms": [["chills"]]}, "'symptoms' is no list of names"),
        ({"note_id": "1", "symptoms": [{"symptom": 5}]}, "'symptoms' is no list of names"),
        ({"note_id": "1", "offset": "6", "lexical_variant": "Fever"}, "is not its lexical_variant"),
        (
            {"note_id": "1", "text": "Fever!", "spans": [{"start": 0, "end": 5, "label": "Symptom"}]},
            "its text is not that of",
        ),
        (
            {"note_id": "1", "text": TEXTS["1"], "spans": [{"start": 0, "end": 99, "label": "Symptom"}]},
            "offsets 0 99 lie outside the text",
        ),
    ],
)
def test_gold_that_does_not_fit_its_notes_is_one_line_without_their_text(
    tmp_path: Path, notes: Path, vocabulary: Vocabulary, row: dict[str, object], said: str
):
    path = lines(tmp_path / "gold.jsonl", row)
    with pytest.raises(InputError) as refused:
        read_for(path, vocabulary, GoldOptions(notes))
    message = str(refused.value)
    assert said in message
    assert "\n" not in message
    assert "chills" not in message


@pytest.mark.parametrize(
    ("row", "why"),
    [({"text": None}, "without text"), ({"text": 5}, "malformed row"), ({"text": "\n"}, "without text")],
)
def test_a_row_whose_note_cannot_be_used_is_told_with_the_reason(
    tmp_path: Path, vocabulary: Vocabulary, row: dict[str, object], why: str
):
    good = {"note_id": "1", "text": "fever", "symptoms": ["fever"]}
    path = lines(tmp_path / "gold.jsonl", good, good | {"note_id": "2"} | row)
    with pytest.raises(InputError) as refused:
        read_for(path, vocabulary)
    assert str(refused.value) == (f"{path}, line 2: note '2' cannot be used ({why}); mend or remove its row")


def test_gold_that_marks_one_condition_a_note_says_so(tmp_path: Path, vocabulary: Vocabulary):
    path = tmp_path / "negex.tsv"
    header = (
        "line number\tCondition\tsentence\tnegation_status (negated, affirmed, possible)\t"
        "temporality (historical, recent, hypothetical)\texperiencer (patient, other)\n"
    )
    path.write_text(header + "7\tfever\tThere was no FEVER.\tNegated\tRecent\tPatient\n")
    gold = read_for(path, vocabulary)
    assert told(gold) == {"7": [(13, 18, "fever", "absent")]}
    assert any("only the recall says something" in line for line in gold.remarks)


def test_rows_without_text_ask_for_the_notes(tmp_path: Path, vocabulary: Vocabulary):
    path = lines(tmp_path / "gold.jsonl", {"note_id": "1", "mentions": []})
    with pytest.raises(InputError, match=r"rows without the text of their notes; give .* --notes"):
        read_for(path, vocabulary)
