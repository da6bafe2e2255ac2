"""What the words of a mention say themselves: denials, temperatures, abbreviations, other meanings."""

from pathlib import Path

import pytest
from annotators import clinical

from sympress.labels.annotate import Annotator
from sympress.labels.lexicon import load_lexicon
from sympress.notes.markup import read_view


def told(text: str, annotator: Annotator | None = None) -> list[tuple[str, str | None, str]]:
    mentions = (annotator or clinical()).mentions(text)
    return [(text[one.start : one.end], one.symptom, one.assertion) for one in mentions]


@pytest.mark.parametrize(
    ("text", "words", "symptom"),
    [
        ("Afebrile overnight.", "Afebrile", "fever"),
        ("feverless", "feverless", "fever"),
        ("Non-tender abdomen", "Non-tender", "tenderness"),
        ("soft, NT/ND", "NT/ND", "tenderness"),
        ("nondistended", "nondistended", "abdominal-distension"),
        ("Sclerae anicteric", "anicteric", "jaundice"),
        ("Acyanotic", "Acyanotic", "cyanosis"),
        ("a painless lump", "painless", "pain"),
        ("nonpruritic", "nonpruritic", "itching"),
        ("He is pain-free", "pain-free", "pain"),
        ("seizure free for 2 years", "seizure free", "seizure"),
        ("Asymptomatic", "Asymptomatic", None),
        ("respirations unlabored", "unlabored", "dyspnea"),
        ("no masses, nontender", "nontender", "tenderness"),
    ],
)
def test_a_word_that_denies_its_symptom_is_absent(text: str, words: str, symptom: str | None) -> None:
    assert (words, symptom, "absent") in told(text)
    (reason,) = [one.reason for one in clinical().mentions(text) if text[one.start : one.end] == words]
    assert reason is not None
    assert (reason.kind, reason.words) == ("word", words.lower())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("not afebrile", [("afebrile", "fever", "present")]),
        ("no longer pain free", [("pain free", "pain", "present")]),
        ("He did not. Afebrile", [("Afebrile", "fever", "absent")]),
        ("not asymptomatic", []),
        (
            "Family History:\nafebrile seizures",
            [("afebrile", "fever", "family"), ("seizures", "seizure", "family")],
        ),
        ("nonbloody diarrhea", [("nonbloody", "bleeding", "absent"), ("diarrhea", "diarrhea", "present")]),
        ("nonproductive cough", [("nonproductive cough", "cough", "present")]),
    ],
)
def test_what_stands_around_a_denial_may_take_it_back(
    text: str, expected: list[tuple[str, str, str]]
) -> None:
    assert told(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Temp 103.1 in triage", "Temp 103.1"),
        ("fever to 102", "fever"),
        ("elevated temperature of 102", "elevated temperature"),
        ("febrile to 38.7", "febrile"),
        ("spiked to 102.3", "spiked to 102.3"),
        ("fever of 97", "fever"),
        ("a temp, chills", "temp"),
        ("temp elevated", "temp elevated"),
        ("low grade temp 99.5", "low grade temp"),
    ],
)
def test_a_fever_is_one_mention(text: str, words: str) -> None:
    assert [each for each in told(text) if each[1] == "fever"] == [(words, "fever", "present")]


@pytest.mark.parametrize(
    "text",
    [
        "Temp 98.6",
        "a temp of 98.6",
        "temp normal",
        "Temp WNL",
        "temps stable",
        "temp probe placed",
        "room temp saline",
        "Temp src: Oral",
        "Wt 70 kg Temp 36.8 HR 70",
        "VS: 98.2 120/70 88 18",
        "with temperature of 99.3 degrees F",
    ],
)
def test_a_normal_temperature_is_no_fever(text: str) -> None:
    assert told(text) == []


def test_a_measured_fever_names_its_value_as_the_reason() -> None:
    (mention,) = clinical().mentions("Temp 101.5 F")
    assert mention.reason is not None
    assert (mention.reason.kind, mention.reason.words) == ("value", "temp 101.5 f")


def test_a_temperature_is_nothing_where_the_lexicon_has_no_fever(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[[symptom]]\nid = "cough"\nname = "cough"\nforms = ["cough"]\n')
    assert told("Temp 103, cough", Annotator(load_lexicon(path))) == [("cough", "cough", "present")]


@pytest.mark.parametrize(
    "text",
    [
        "He has cerebral palsy (CP) and takes baclofen. CP clinic. CP stable.",
        "Hyaluronic acid (HA). HA was injected.",
        "CP angle blunting",
        "Serum HA titer 1:40",
        "ECG: ST elevation, ST depression",
        "sat SOB with feet down",
        "Encouraged to cough and deep breathe",
        "turn, cough and deep breathe",
        "cough syrup given",
        "Cold pack applied.",
        "Pain meds refilled; pain contract signed",
        "pain management clinic",
        "Anti-nausea medication; itch cream",
        "Weakness of the study was sample size.",
        "seizure precautions",
        "headache diary",
        "yellow fever vaccine",
        "Glasgow coma scale 15",
        "No appetite changes",
        "no sleep disorder clinic",
        "depressed skull fracture",
        "A depressed PTH level",
        "severe pulmonary hypertension",
        "portal hypertensive gastropathy",
        "Blood and sputum cultures were sent.",
        "The left anterior descending artery (LAD) was stented; LAD flow was good.",
        "The relaxant was withdrawn.",
        "Hemoglobin fell to 8.",
        "Vesicular breath sounds; seminal vesicles normal",
        "an ovarian cyst",
        "unresponsive to medical therapy",
        "macular edema",
        "cerebral edema and brain swelling",
        "Friedreich's ataxia",
        "array CGH was normal",
        "a red arrow",
    ],
)
def test_words_with_another_meaning_affirm_nothing(text: str) -> None:
    found = [each for each in told(text) if each[2] != "absent" and each[1] not in ("paralysis",)]
    assert found == []


def test_the_same_word_counts_where_it_is_the_symptom() -> None:
    assert told("takes cough syrup for cough") == [("cough", "cough", "present")]
    assert told("chest pain (CP), now CP again")[-1] == ("CP", "chest-pain", "present")
    assert told("URI sx, ST, cough")[1] == ("ST", "sore-throat", "present")
    assert told("brings up sputum, is withdrawn and unresponsive; fell at home") == [
        ("sputum", "productive-cough", "present"),
        ("withdrawn", "apathy", "present"),
        ("unresponsive", "decreased-consciousness", "present"),
        ("fell at home", "falls", "present"),
    ]
    assert told("edema, a cyst, red eyes, hypertension")[0] == ("edema", "edema", "present")
    assert [each[0] for each in told("edema, a cyst, hypertension")] == ["edema", "cyst", "hypertension"]


def test_a_denial_ends_where_its_clause_has_its_verb() -> None:
    assert told("No wheezes were heard at the bases and crackles were heard at the apices.") == [
        ("wheezes", "wheezing", "absent"),
        ("crackles", "crackles", "present"),
    ]


@pytest.mark.parametrize(
    ("text", "symptom"),
    [
        ("can't breathe", "dyspnea"),
        ("can’t keep anything down", "vomiting"),
        ("no appetite", "loss-of-appetite"),
        ("not eating", "loss-of-appetite"),
        ("no sleep", "insomnia"),
        ("no energy", "fatigue"),
        ("cannot swallow", "dysphagia"),
        ("no bowel movement", "constipation"),
        ("not urinating", "oliguria"),
        ("unable to void", "urinary-retention"),
        ("no voice", "hoarseness"),
        ("headche", "headache"),
        ("palpatations", "palpitations"),
        ("sincope", "syncope"),
        ("feeling hot and cold", "chills"),
        ("belly hurts", "abdominal-pain"),
        ("throat hurts", "sore-throat"),
        ("LE edema", "leg-swelling"),
        ("BRBPR", "rectal-bleeding"),
        ("dypsnoea", "dyspnea"),
        ("JVD", "jugular-venous-distension"),
    ],
)
def test_the_words_of_patients_and_of_hurried_notes_are_found(text: str, symptom: str) -> None:
    assert told(text) == [(text, symptom, "present")]


def test_mentions_of_some_symptoms_are_those_that_the_whole_reading_gives() -> None:
    text = "Denies fever, n/v or cough but reports rash. Asymptomatic since.\nHx of headache, rash now."
    view, every = read_view(text), clinical().mentions(text)
    for only in ({"rash"}, {"vomiting", "fever"}, {one.symptom for one in every if one.symptom}):
        found = clinical().mentions_of(view, only=only)
        assert list(found) == [one for one in every if one.symptom in only]
        assert found
    assert clinical().mentions_of(view, only=()) == ()
