from pathlib import Path

import pytest

from sympress.errors import InputError
from sympress.labels.lexicon import load_lexicon

#: The row "lexicon" of the protocol.
PAPER = (
    "fever, cough, headache, nausea, vomiting, fatigue, chest pain, shortness of breath, abdominal pain, "
    "dizziness, diarrhea, constipation, joint pain, back pain, depression, anxiety, rash, itching, seizure, "
    "confusion, palpitations, insomnia, loss of appetite, urinary frequency, chills, syncope, sore throat, "
    "swelling, pain, malaise, cramps, numbness, tingling, blurry vision, weakness, edema, hallucinations, "
    "bleeding, difficulty breathing, burning"
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_paper_lexicon_has_its_40_forms_in_order() -> None:
    lexicon = load_lexicon("paper")
    assert [symptom.name for symptom in lexicon.symptoms] == PAPER.split(", ")
    assert [form for symptom in lexicon.symptoms for form in symptom.forms] == PAPER.split(", ")


def test_tsv_keeps_the_order_groups_forms_and_reads_codes(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.tsv",
        "# ours\nsymptom\tform\tcodes\nPain\tPain\tC1; C2\n\nFever\tfebrile\nPain\tache\tC3\nPain\tPAIN\n",
    )
    lexicon = load_lexicon(path)
    assert lexicon.name == "mine"
    assert [(s.name, s.forms, s.codes) for s in lexicon.symptoms] == [
        ("Pain", ("pain", "ache"), ("C1", "C2", "C3")),
        ("Fever", ("febrile",), ()),
    ]


def test_toml_reads_ids_codes_and_forms(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.toml",
        '[[symptom]]\nname = "Fever"\nid = "S1"\ncodes = ["R50"]\nforms = ["fever", "Febrile"]\n'
        '[[symptom]]\nname = "Cough"\nforms = ["cough"]\n',
    )
    fever, cough = load_lexicon(str(path)).symptoms
    assert (fever.id, fever.codes, fever.forms) == ("S1", ("R50",), ("fever", "febrile"))
    assert (cough.id, cough.codes) == (None, ())


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "symptom\tform\nFever\t \n",
         "line 2: empty form for 'Fever'; write one or remove the entry"),
        ("a.tsv", "symptom\tform\nFever\n", "line 2: empty form for 'Fever'; write one or remove the entry"),
        ("a.tsv", "symptom\tform\n\tfever\n", "line 2: empty symptom name; write one or remove the entry"),
        (
            "a.tsv",
            "symptom\tform\nA\tx\n\nB\tX\n",
            "line 4: the form 'x' of 'B' already belongs to 'A' ({path}, line 2); keep it under one symptom",
        ),
        ("a.tsv", "", ": no entries; a lexicon needs at least one symptom with a form"),
        ("a.tsv", "symptom\tform\n", ": no entries; a lexicon needs at least one symptom with a form"),
        (
            "a.tsv",
            "form\tsymptom\n",
            "line 1: bad header; write symptom<TAB>form or symptom<TAB>form<TAB>codes",
        ),
        (
            "a.tsv",
            "symptom\tform\nA\tx\ty\n",
            "line 2: 3 columns, the header has 2; remove the extra tabs",
        ),
        ("a.toml", "", ": no entries; a lexicon needs at least one symptom with a form"),
        (
            "a.toml",
            '[[symptom]]\nname = "A"\nforms = ["x"]\n\n[[symptom]]\nname = "B"\nforms = []\n',
            "line 5: empty form for 'B'; write one or remove the entry",
        ),
        (
            "a.toml",
            '[[symptom]]\nname = "A"\nform = ["x"]\n',
            "line 1: unknown key 'form' (did you mean 'forms'?); use name, id, codes, forms",
        ),
        ("a.toml", '[[symptom]]\nname = 3\n', "line 1: name and id must be text in quotes"),
        ("a.toml", '[[symptom]]\nname = "A"\nforms = "x"\n',
         'line 1: forms must be a list of texts, e.g. forms = ["..."]'),
        ("a.toml", 'symptoms = 1\n',
         ": unknown key 'symptoms' (did you mean 'symptom'?); entries are [[symptom]] tables"),
        ("a.toml", '[symptom]\nname = "A"\n', ": [symptom] is one table; write [[symptom]] for each entry"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path / name, text)
    separator = "" if message.startswith(":") else ", "
    with pytest.raises(InputError) as caught:
        load_lexicon(path)
    assert str(caught.value) == f"{path}{separator}{message}".replace("{path}", str(path))


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.toml: not valid TOML: .*line 2"):
        load_lexicon(write(tmp_path / "a.toml", '[[symptom]]\nname = "A\n'))


def test_an_undecodable_file_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes("symptom\tform\nA\tœdème\n".encode("latin-1", "replace") + b"B\t\xe9\n")
    with pytest.raises(InputError) as caught:
        load_lexicon(path)
    assert str(caught.value) == f"{path}, line 2: not UTF-8; save the lexicon as UTF-8"


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"\xef\xbb\xbfsymptom\tform\r\nA\tx\r\n")
    assert load_lexicon(path).symptoms[0].forms == ("x",)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("papper",
         "no lexicon 'papper' (did you mean 'paper'?); there is 'paper', 'clinical' or 'clinical+hpo', "
         "or the path of a .tsv or .toml file"),
        ("gone.tsv", "gone.tsv: no such file; check the path of the lexicon"),
    ],
)  # fmt: skip
def test_an_unknown_lexicon_names_the_nearest(source: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_lexicon(source)
    assert str(caught.value) == message


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "lexicon.xlsx", "")
    with pytest.raises(InputError, match=r"ends in \.tsv or \.toml"):
        load_lexicon(path)


def test_codes_of_two_symptoms_are_all_named_in_one_message(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "clinical"\n'
        '[[symptom]]\nid = "high-fever"\nname = "high fever"\nforms = ["hectic"]\ncodes = ["HP:0001945"]\n'
        '[[symptom]]\nid = "barking"\nname = "barking cough"\nforms = ["seal bark"]\ncodes = ["HP:0012735"]\n'
    )
    with pytest.raises(InputError) as caught:
        load_lexicon(path)
    assert str(caught.value) == (
        f"{path}: one code for different symptoms: HP:0001945 ('fever' and 'high fever'); "
        "HP:0012735 ('cough' and 'barking cough'); keep each under one of them"
    )
