"""Maps from symptoms to a user's codes: what is read, and how everything wrong is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_extract import refused

from sympress.errors import InputError
from sympress.extract.concepts import Coding, ConceptMap, read_concepts
from sympress.runtime.artifact import BOX_FOLDER, RULES_FOLDER
from sympress.runtime.extractor import Extractor

SNOMED = "http://snomed.info/sct"


@pytest.fixture(scope="module")
def rules() -> Extractor:
    return Extractor.load(RULES_FOLDER)


def read(folder: Path, text: str | bytes, extractor: Extractor) -> ConceptMap:
    path = folder / "map.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_concepts(path, extractor)


def test_symptoms_are_named_by_id_or_code_and_may_have_several_codes(tmp_path: Path, rules: Extractor):
    found = read(
        tmp_path,
        "symptom,system,code,display,concept_id,source_concept_id,remark\n"
        "fever,SNOMED,386661006,Fever,437663,45,ours\n"
        "fever,UMLS,C0015967,,,,\n"
        "\n"
        "HP:0012735,http://hl7.org/fhir/sid/icd-10-cm,R05.9,,,,\n"
        "warmth,urn:oid:1.2.3,W1,,,,\n",
        rules,
    )
    assert found.codings == {
        "fever": (
            Coding(SNOMED, "386661006", "Fever"),
            Coding("http://www.nlm.nih.gov/research/umls", "C0015967"),
        ),
        "cough": (Coding("http://hl7.org/fhir/sid/icd-10-cm", "R05.9"),),
        "warmth": (Coding("urn:oid:1.2.3", "W1"),),
    }
    assert (found.concept_ids, found.source_concept_ids) == ({"fever": 437663}, {"fever": 45})


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffSymptom;Vocabulary;Code\r\nfever;SNOMED CT;386661006\r\n",
        "source_code\tvocabulary_id\tconcept_code\nSYMP:0000613\tSNOMEDCT_US\t386661006\n",
        "code,system,symptom\n386661006,http://snomed.info/sct,fever",
    ],
)
def test_the_usual_ways_to_write_a_table_say_the_same(tmp_path: Path, rules: Extractor, text: str):
    assert read(tmp_path, text, rules) == ConceptMap({"fever": (Coding(SNOMED, "386661006"),)})


def test_a_map_of_concept_ids_alone_is_enough(tmp_path: Path, rules: Extractor):
    found = read(tmp_path, "source_code,target_concept_id\nHP:0001945,437663\n", rules)
    assert found == ConceptMap({}, {"fever": 437663})


def test_the_model_in_the_box_takes_codes_for_what_its_rules_find_too(tmp_path: Path):
    box = Extractor.load(BOX_FOLDER)
    found = read(tmp_path, "symptom,concept_id\nwarmth,1\ninjection-site-reaction,2\ncough,3\n", box)
    assert found.concept_ids == {"warmth": 1, "injection-site-reaction": 2, "cough": 3}


def test_everything_wrong_is_one_message(tmp_path: Path, rules: Extractor):
    text = (
        "symptom,system,code,concept_id\n"
        "fevr,SNOMED,386661006,\n"
        "fever,SNOMED,386661006,437663\n"
        "fever,SNOMED CT,386661006,9\n"
        "cough,SNOMED,386661006,\n"
        "rash,SNOWMED,1234567,\n"
        "rash,SNOMED,rash,\n"
        "rash,,1234567,\n"
        "rash,SNOMED,,\n"
        "rash,,,\n"
        ",SNOMED,1234567,\n"
        "rash,,,2147483648\n"
    )
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, rules)
    assert str(caught.value) == (
        f"{tmp_path / 'map.csv'}: line 2: no symptom 'fevr' (did you mean 'fever'?); "
        "line 4: 386661006 is given to 'fever' in line 3 already; "
        "line 4: 'fever' has concept_id 437663 in line 3 already; "
        "line 5: 386661006 belongs to 'fever' (line 3), not also to 'cough'; "
        "line 6: unknown system 'SNOWMED' (did you mean 'SNOMED'?), give its URI; "
        "line 7: 'rash' is no code of SNOMED; "
        "line 8: a code without a system; "
        "line 9: a system without a code; "
        "line 10: neither a code nor a concept_id for 'rash'; "
        "line 11: no symptom; "
        "line 12: concept_id '2147483648' is no number from 0 to 2147483647"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column symptom and none system and none code among none; "),
        ("symptom,code\nfever,1\n", "no column system among symptom, code; "),
        ("symptom,system,concept_id\nfever,SNOMED,1\n", "no column code among symptom, system, concept_id; "),
        ("name,system,code\nfever,SNOMED,1\n", "no column symptom among name, system, code; "),
        ("symptom,concept_id\n", "no rows; a map needs at least one symptom"),
        (b"symptom,concept_id\nfi\xe8vre,1\n", "not UTF-8; save the map as UTF-8"),
        (
            'symptom,concept_id\n"fever,1\n',
            "not a table (unexpected end of data); save the map as CSV or TSV",
        ),
    ],
)
def test_a_file_that_is_no_map_is_one_line(tmp_path: Path, rules: Extractor, text: str | bytes, message: str):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, rules)
    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'map.csv'}: {message}")
    assert "\n" not in said


def test_a_bad_map_stops_a_job_before_it_begins(tmp_path: Path):
    notes, concepts = tmp_path / "in.jsonl", tmp_path / "map.csv"
    notes.write_text('{"note_id": "1", "text": "fever"}\n')
    concepts.write_text("symptom,concept_id\nfeverr,1\n")
    call = (notes, "-m", "rules", "--format", "omop", "-o", tmp_path / "out.csv", "--concepts")
    assert refused(*call, concepts) == f"{concepts}: line 2: no symptom 'feverr' (did you mean 'fever'?)"
    assert "no-map.csv: cannot be read (No such file or directory)" in refused(*call, tmp_path / "no-map.csv")
    assert sorted(tmp_path.iterdir()) == [notes, concepts]
    assert refused(notes, "-m", "rules", "-o", tmp_path / "out.csv", "--concepts", concepts) == (
        "--concepts goes with --format omop or fhir; other rows hold the lexicon's code only"
    )


def test_another_map_is_another_job():
    maps = [
        ConceptMap({"fever": (Coding(SNOMED, "386661006"),)}),
        ConceptMap({"fever": (Coding(SNOMED, "386661006", "Fever"),)}),
        ConceptMap({}, {"fever": 1}),
        ConceptMap({}, {}, {"fever": 1}),
        ConceptMap(),
    ]
    assert len({one.digest() for one in maps}) == len(maps)
    assert ConceptMap().digest() == ""
