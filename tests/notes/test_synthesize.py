"""Synthetic notes: exact offsets, no stray symptom, reserved forms held out, larger extends smaller."""

from __future__ import annotations

import gzip
import os
import re
import tomllib
from collections import Counter
from importlib.resources import files
from itertools import islice
from pathlib import Path

import polars as pl
import pytest

from sympress.errors import InputError
from sympress.notes.read import NOTE_SCHEMA
from sympress.notes.split import group_notes, reserved_part, split_notes
from sympress.notes.synthesize import MENTION_SCHEMA, SyntheticNotes, gather, iterate_notes, synthesize
from sympress.notes.synthesize.vocabulary import ASSERTIONS, load_vocabulary

PAPER = [
    "fever", "cough", "headache", "nausea", "vomiting", "fatigue", "chest pain", "shortness of breath",
    "abdominal pain", "dizziness", "diarrhea", "constipation", "joint pain", "back pain", "depression",
    "anxiety", "rash", "itching", "seizure", "confusion", "palpitations", "insomnia", "loss of appetite",
    "urinary frequency", "chills", "syncope", "sore throat", "swelling", "pain", "malaise", "cramps",
    "numbness", "tingling", "blurry vision", "weakness", "edema", "hallucinations", "bleeding",
    "difficulty breathing", "burning",
]  # fmt: skip


@pytest.fixture(scope="module")
def notes() -> SyntheticNotes:
    return synthesize(2000)


def spans(notes: SyntheticNotes) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for note_id, start, end in notes.mentions.select("note_id", "start", "end").iter_rows():
        found.setdefault(note_id, []).append((start, end))
    return found


def any_of(forms: list[str]) -> re.Pattern[str]:
    longest_first = sorted(forms, key=len, reverse=True)
    alternatives = "|".join(re.escape(form).replace(r"\ ", r"\s+") for form in longest_first)
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE)


def test_frames_have_their_schemas(notes: SyntheticNotes) -> None:
    assert dict(notes.frame.schema) == NOTE_SCHEMA
    assert dict(notes.mentions.schema) == MENTION_SCHEMA
    assert notes.frame["note_id"].is_unique().all()
    assert notes.frame["time"].null_count() == 0
    assert 0 < notes.frame["encounter_id"].null_count() < 600


def surface_forms() -> dict[str, tuple[str, ...]]:
    """Every surface form, reserved ones too, with the symptoms that it names."""
    units = load_vocabulary().units
    return {form: unit.symptoms for unit in units for form in (*unit.forms, *unit.reserved)}


def test_offsets_are_exact_and_name_the_symptom(notes: SyntheticNotes) -> None:
    text = dict(notes.frame.select("note_id", "text").iter_rows())
    forms = {form.lower(): symptoms for form, symptoms in surface_forms().items()}
    for note_id, start, end, surface, symptom, assertion, _ in notes.mentions.iter_rows():
        assert text[note_id][start:end] == surface
        assert symptom in forms[surface.replace("\n", " ").lower()]
        assert assertion in ASSERTIONS


def test_no_surface_form_stands_outside_a_mention(notes: SyntheticNotes) -> None:
    pattern, gold = any_of(list(surface_forms())), spans(notes)
    for note_id, text in notes.frame.select("note_id", "text").iter_rows():
        for match in pattern.finditer(text):
            assert any(a <= match.start() and match.end() <= b for a, b in gold.get(note_id, [])), match


def test_no_sentence_or_word_holds_a_surface_form() -> None:
    # The notes above meet only some of the sentences; here is each of them, with its slots emptied.
    pattern = any_of(list(surface_forms()))
    for name in ("filler", "templates", "words"):
        lists = tomllib.loads(
            (files("sympress.notes.synthesize") / "data" / f"{name}.toml").read_text("utf-8")
        )
        for texts in lists.values():
            for text in texts:
                assert not pattern.search(re.sub(r"\{\w+\}", "_", text)), text


def test_codes_are_the_distinct_affirmed_symptoms(notes: SyntheticNotes) -> None:
    affirmed: dict[str, set[str]] = {}
    for note_id, symptom in (
        notes.mentions.filter(pl.col("assertion") == "present").select("note_id", "symptom").iter_rows()
    ):
        affirmed.setdefault(note_id, set()).add(symptom)
    for note_id, codes in notes.frame.select("note_id", "codes").iter_rows():
        assert len(codes) == len(set(codes))
        assert set(codes) == affirmed.get(note_id, set())


def test_no_note_affirms_what_it_denies_or_leaves_open() -> None:
    # Many notes: the contradictions to fear are rare, between two paragraphs that were copied forward.
    of_note = (
        synthesize(8000, seed=9).mentions.group_by("note_id", "symptom").agg(pl.col("assertion").unique())
    )
    for said in of_note["assertion"].to_list():
        assert len({"present", "absent", "possible"} & set(said)) <= 1


def test_a_larger_number_extends_a_smaller_one() -> None:
    small, large = synthesize(37, seed=5), synthesize(200, seed=5)
    assert large.frame.head(37).equals(small.frame)
    assert large.mentions.head(small.mentions.height).equals(small.mentions)
    assert not synthesize(37, seed=6).frame["text"].equals(small.frame["text"])


def test_batches_hold_the_same_notes() -> None:
    whole = synthesize(103, seed=2)
    records = iterate_notes(103, seed=2)
    batches = [gather(islice(records, 25)) for _ in range(5)]
    assert [part.frame.height for part in batches] == [25, 25, 25, 25, 3]
    assert pl.concat([part.frame for part in batches]).equals(whole.frame)
    assert pl.concat([part.mentions for part in batches]).equals(whole.mentions)
    assert sum(part.copied_paragraphs for part in batches) == whole.copied_paragraphs


def test_reserved_forms_are_held_out(notes: SyntheticNotes) -> None:
    vocabulary = load_vocabulary()
    pattern = any_of([form for unit in vocabulary.units for form in unit.reserved])
    held_out = 0
    for patient, text in notes.frame.select("patient_id", "text").iter_rows():
        if reserved_part(patient) == "train":
            assert not pattern.search(text)
        else:
            held_out += bool(pattern.search(text))
    assert held_out > 50
    patient_of = dict(notes.frame.select("note_id", "patient_id").iter_rows())
    marked = notes.mentions.filter("reserved")["note_id"]
    assert {reserved_part(patient_of[note_id]) for note_id in marked} == {"validation", "test"}


def test_split_by_patient_keeps_reserved_forms_out_of_training(notes: SyntheticNotes) -> None:
    pytest.importorskip("rensa")
    split = split_notes(notes.frame, group_notes(notes.frame), rule="patient")
    for part in ("train", "validation", "test"):
        patients = notes.frame["patient_id"][getattr(split, part).tolist()].unique()
        assert {reserved_part(patient) for patient in patients} == {part}


def test_reserved_forms_hold_no_other_form() -> None:
    vocabulary = load_vocabulary()
    usual = any_of([form for unit in vocabulary.units for form in unit.forms])
    reserved = {form for unit in vocabulary.units for form in unit.reserved}
    assert all(unit.reserved for unit in vocabulary.units if len(unit.symptoms) == 1)
    assert not [form for form in reserved if usual.search(form)]
    pattern = any_of(list(reserved))
    assert not [form for unit in vocabulary.units for form in unit.forms if pattern.search(form)]


def test_a_surface_form_names_one_thing() -> None:
    vocabulary = load_vocabulary()
    forms = [form.lower() for unit in vocabulary.units for form in {*unit.forms, *unit.reserved}]
    # "N/V" and "n/v" are written for the same two symptoms.
    assert {form for form, count in Counter(forms).items() if count > 1} == {"n/v"}


def test_vocabulary_covers_the_paper_and_has_many_templates() -> None:
    vocabulary = load_vocabulary()
    names = [unit.symptoms[0] for unit in vocabulary.units if len(unit.symptoms) == 1]
    assert names[:40] == PAPER
    assert all(len(vocabulary.templates[assertion]) >= 25 for assertion in ASSERTIONS)
    assert {category.name for category in vocabulary.category_draws} == {
        "Discharge summary", "Nursing", "Nursing/other", "Physician ", "Radiology", "ECG", "General",
    }  # fmt: skip


def test_notes_are_varied_and_of_the_stated_length(notes: SyntheticNotes) -> None:
    lengths = notes.frame["text"].str.len_chars()
    assert lengths.min() >= 300
    assert lengths.max() <= 4000
    assert notes.frame["text"].n_unique() > 1980
    assert notes.copied_paragraphs > 50
    per_patient = notes.frame.group_by("patient_id").len()["len"]
    assert (per_patient.min(), per_patient.max()) == (1, 8)
    assert set(notes.mentions["assertion"].unique()) == set(ASSERTIONS)
    assert notes.frame["text"].str.contains(r"\[\*\*21\d\d-\d+-\d+\*\*\]").mean() > 0.3
    ordered = notes.frame.with_columns(before=pl.col("time").dt.date().shift(1).over("patient_id"))
    assert (ordered["time"].dt.date() >= ordered["before"]).all()


def test_the_most_frequent_symptoms_are_the_same_in_any_sample() -> None:
    leaders = []
    for seed in (0, 1):
        codes = Counter(code for codes in synthesize(2000, seed=seed).frame["codes"] for code in codes)
        leaders.append({code for code, _ in codes.most_common(5)})
    assert leaders == [{"pain", "fever", "cough", "edema", "bleeding"}] * 2


@pytest.mark.parametrize("n", [0, -3])
def test_nonsense_numbers_are_refused(n: int) -> None:
    with pytest.raises(InputError, match="at least 1"):
        iterate_notes(n)


def test_codes_of_the_ontologies_are_real() -> None:
    root = Path(os.environ.get("SYMPRESS_DATA", Path(__file__).parents[3] / "shared" / "data")) / "ontology"
    if not root.is_dir():
        pytest.skip(f"no ontologies at {root}: set SYMPRESS_DATA")
    tables = tomllib.loads((files("sympress.notes.synthesize") / "data" / "symptoms.toml").read_text("utf-8"))
    for key, name in (("symp", "symp.obo.gz"), ("hpo", "hp.obo.gz")):
        terms = {}
        ontology = gzip.decompress((root / name).read_bytes()).decode("utf-8")
        for block in ontology.split("\n[Term]\n")[1:]:
            code = re.search(r"^id: (\S+)", block, re.MULTILINE)
            if code and "is_obsolete: true" not in block:
                terms[code[1]] = block.lower()
        for symptom in tables["symptom"]:
            if key in symptom:
                known = [symptom["name"], *symptom["forms"], *symptom["reserved"]]
                words = re.findall(r'^(?:name: |synonym: ")([^"\n]+)', terms[symptom[key]], re.MULTILINE)
                # Ours are plural where a clinician writes them so: "palpitations" for the term "palpitation".
                assert {word.rstrip("s") for word in words} & {word.rstrip("s") for word in known}, symptom
