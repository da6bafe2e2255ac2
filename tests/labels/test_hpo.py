"""The clinical lexicon with the names of the Human Phenotype Ontology."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest
from annotators import clinical

from sympress.labels import lexicon, lexicon_layers
from sympress.labels.annotate import Annotator
from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.labels.lexicon_layers import Term, read_terms
from sympress.labels.own_words import read_own_words
from sympress.runtime.extractor import Extractor
from sympress.runtime.pack import pack


@pytest.fixture(scope="module")
def wide() -> Lexicon:
    return load_lexicon("clinical+hpo")


@pytest.fixture(scope="module")
def annotators(wide: Lexicon) -> tuple[Annotator, Annotator]:
    return clinical(), Annotator(wide)


@pytest.fixture(scope="module")
def terms() -> dict[str, Term]:
    return {term.code: term for term in read_terms()[1]}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Labs show hypokalemia.", {("hypokalemia", "present")}),
        ("No pneumothorax, no atelectasis.", {("pneumothorax", "absent"), ("atelectasis", "absent")}),
        ("Papilledema on fundoscopy", {("papilledema", "present")}),
        ("PMH: scoliosis", {("scoliosis", "historical")}),
        ("decreased breath sounds at the left base", {("diminished-breath-sounds", "present")}),
        ("ECG: T-wave inversion", {("t-wave-inversion", "present")}),
        ("varicose veins of both legs", {("varicose-veins", "present")}),
        # A kind of a clinical symptom names both.
        ("chronic diarrhea", {("chronic-diarrhea", "present"), ("diarrhea", "present")}),
        ("denies resting tremor", {("resting-tremor", "absent"), ("tremor", "absent")}),
        ("a retroperitoneal mass", {("retroperitoneal-mass", "present"), ("mass", "present")}),
        # No kind of what its words say: it is itself alone.
        ("paralytic ileus", {("paralytic-ileus", "present")}),
        ("portal hypertension", {("portal-hypertension", "present")}),
        ("ST segment elevation", {("st-segment-elevation", "present")}),
        # One of the 278 by its code or its name.
        ("excessive sweating", {("sweating", "present")}),
        ("postural hypotension", {("hypotension", "present")}),
        ("fever and cough", {("fever", "present"), ("cough", "present")}),
        # Two symptoms, and no third.
        ("nausea and vomiting", {("nausea", "present"), ("vomiting", "present")}),
        # The ontology writes one number of a word, a note the other.
        ("bilateral renal cysts", {("renal-cyst", "present")}),
    ],
)
def test_a_note_is_read_by_the_wide_lexicon(
    annotators: tuple[Annotator, Annotator], text: str, found: set[tuple[str, str]]
) -> None:
    assert {(one.symptom, one.assertion) for one in annotators[1].mentions(text)} == found


@pytest.mark.parametrize(
    "text",
    [
        # Diagnoses, injuries, outcomes, results in words, allergies.
        "breast cancer", "lung tumor", "asthma", "type 2 diabetes mellitus", "rotator cuff tear",
        "femur fracture", "cardiac arrest", "elevated creatinine", "high cholesterol", "penicillin allergy",
        "mitral stenosis",
        "congestive heart failure", "endometriosis", "heart attack", "inguinal hernia", "schizophrenia",
        # Inheritance, onset, frequency, modifiers, past history.
        "autosomal dominant inheritance", "congenital onset", "very frequent", "bilateral", "severe",
        "chronic",
        "history of bone marrow transplantation", "preterm birth", "alcohol abuse",
        # Ordinary words and abbreviations.
        "fine needle aspiration was done while cutting and collecting", "the right small finger",
        "a mole on the note",
        "MI in 1999", "S3 nerve root", "an odd shock", "Alexia and Amelia were jumping",
        "abnormal liver enzymes",
        "the normal lumbar lordosis", "attention deficit disorder", "a Small Stature plate", "long leg cast",
    ],
)  # fmt: skip
def test_what_is_no_sign_or_symptom_is_not_found(annotators: tuple[Annotator, Annotator], text: str) -> None:
    assert not [one.symptom for one in annotators[1].mentions(text)]


NOTE = (
    "72 yo with SOB, chest pain radiating to the left arm and n/v x3 days, denies fever. Mother: migraine. "
    "Abdomen soft, nontender. Chronic low back pain. No edema; temp 38.6 C. Left hemiplegia after the event, "
    "progressive muscle weakness, easy bruising, cluster headache, generalized tonic-clonic seizures."
)


def test_every_symptom_of_the_clinical_answer_is_in_the_wide_one(
    annotators: tuple[Annotator, Annotator],
) -> None:
    narrow, wide = ({(one.symptom, one.assertion) for one in by.mentions(NOTE)} for by in annotators)
    assert narrow < wide


def test_the_clinical_symptoms_come_first_and_keep_ids_names_and_codes(wide: Lexicon) -> None:
    narrow = load_lexicon("clinical")
    for old, new in zip(narrow.symptoms, wide.symptoms, strict=False):
        assert (old.id, old.name, old.codes) == (new.id, new.name, new.codes)
        assert set(old.forms) <= set(new.forms)
    assert len(wide.symptoms) > 11_000


def test_a_symptom_of_its_own_has_the_code_and_the_name_of_its_term(
    wide: Lexicon, terms: dict[str, Term]
) -> None:
    own = wide.symptoms[len(load_lexicon("clinical").symptoms) :]
    assert all(terms[one.codes[0]].name == one.name and len(one.codes) == 1 for one in own)
    assert len({one.id for one in wide.symptoms}) == len(wide.symptoms)
    assert all(re.fullmatch(r"[a-z0-9-]+", one.id or "") for one in own)


def test_the_release_is_said_in_the_file_the_notice_and_the_lexicon(wide: Lexicon) -> None:
    release = read_terms()[0]
    notice = (resources.files("sympress.labels") / "data" / "hpo" / "NOTICE.txt").read_text("utf-8")
    assert f"release {release}" in notice
    assert wide.ontologies["HP"] == release


def test_who_does_not_ask_for_it_does_not_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> None:
        raise AssertionError

    lexicon._built_in_draft.cache_clear()
    lexicon._built_in.cache_clear()
    monkeypatch.setattr(lexicon_layers, "read_terms", read)
    assert load_lexicon("clinical").symptoms
    with pytest.raises(AssertionError):
        load_lexicon("clinical+hpo")


def test_a_file_of_ones_own_extends_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'extends = "clinical+hpo"\nremove = ["scoliosis"]\n[[symptom]]\nid = "hypokalemia"\n'
        'add_forms = ["K was very low"]\n',
        encoding="utf-8",
    )
    found = Annotator(load_lexicon(file)).mentions("scoliosis. K was very low.")
    assert [one.symptom for one in found] == ["hypokalemia"]


def test_an_artifact_answers_by_it_and_names_it_only(tmp_path: Path) -> None:
    folder = Path(str(resources.files("sympress.runtime") / "rules"))
    pack(folder, tmp_path / "packed", words=read_own_words("clinical+hpo"))
    assert not (tmp_path / "packed" / "lexicon.json").exists()
    extractor = Extractor.load(tmp_path / "packed")
    assert extractor.settings.lexicon == "clinical+hpo"
    found = extractor("Exam: papilledema, no fever")
    assert [(one.symptom, one.code, one.assertion) for one in found.mentions] == [
        ("papilledema", "HP:0001085", "present"),
        ("fever", "HP:0001945", "absent"),
    ]
    assert [one.symptom for one in found.symptoms] == ["papilledema"]


def test_it_stands_beside_the_model_in_the_box() -> None:
    found = Extractor.load(words=read_own_words("clinical+hpo"))("c/o cough, hyponatremia")
    assert {(one.symptom, one.code) for one in found.symptoms} == {
        ("cough", "HP:0012735"),
        ("hyponatremia", "HP:0002902"),
    }
