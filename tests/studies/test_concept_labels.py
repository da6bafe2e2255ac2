"""A study of symptoms that several codes name, of later training notes, with the drift of each over time."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sympress.cli.main import run
from sympress.config import make_config
from sympress.errors import InputError
from sympress.labels.lexicon import load_lexicon
from sympress.models.rules import AssertedRule, RuleClassifier
from sympress.progress import Reporter
from sympress.studies import labelled
from sympress.studies.data import StudyData, prepare, read_further_notes

#: Codes of the reports of each year, in turn: fever and swelling by two names each, one of no symptom.
CODES = {
    2001: ("Pyrexia", "Drug ineffective", "Agitation", "Infection"),
    2002: ("Pyrexia", "Injection site oedema", "Rash", "Infection"),
    2003: ("Hyperpyrexia", "Injection site swelling", "Rash", "Infection"),
    2004: ("Pyrexia", "Injection site swelling", "Rash", "Infection"),
    2005: ("Hyperpyrexia", "Injection site oedema", "Rash", "Infection"),
}
REPORTS = 40


@pytest.fixture(scope="module")
def vaers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vaers")
    for year, codes in CODES.items():
        with (folder / f"{year}VAERSDATA.csv").open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["VAERS_ID", "RECVDATE", "AGE_YRS", "SEX", "SYMPTOM_TEXT"])
            for k in range(REPORTS):
                rows.writerow([f"{year}{k:03}", f"03/01/{year}", 30, "F", f"{_words(k, year)} told"])
        with (folder / f"{year}VAERSSYMPTOMS.csv").open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["VAERS_ID", *(f"SYMPTOM{n}" for n in range(1, 6))])
            for k in range(REPORTS):
                rows.writerow([f"{year}{k:03}", codes[k % 4], codes[3], "", "", ""])
    return folder


def _words(k: int, year: int) -> str:
    return " ".join(f"w{(k * 7 + year * 13 + at * at) % 997}" for at in range(12))


CONFIG = {"protocol": "clinical", "task": "present", "split": "time", "top_k": 4, "encoder": "bundled"}


def study(vaers: Path, **settings: object) -> StudyData:
    config = make_config({**CONFIG, "notes": vaers, "labels": "concepts", **settings}).resolved()
    return prepare(config, Reporter(quiet=True))


def test_labels_are_symptoms_of_the_lexicon_chosen_on_training_notes(vaers: Path) -> None:
    data = study(vaers)
    assert data.labels.symptoms == ("fever", "injection-site-swelling", "rash", "agitation")
    assert data.labels.targets.sum(axis=0).tolist() == [50, 40, 40, 10]
    assert data.labels.provenance == "coded"
    counts = data.description.labelling
    assert counts["left out: Infection"] == 200
    assert counts["left out: Drug ineffective"] == 10
    assert counts["codes that name no symptom, left out"] == 210
    assert "merged into symptoms of the lexicon" in data.description.labels


def test_codes_as_they_are_stay_the_default(vaers: Path) -> None:
    assert study(vaers, labels="auto").labels.symptoms[0] == "Infection"
    assert study(vaers, labels="coded").labels.symptoms[0] == "Infection"


def test_older_training_notes_are_left_out_said_and_counted(vaers: Path) -> None:
    whole, later = study(vaers), study(vaers, train_from="2002", top_k=3)
    assert (whole.description.train, later.description.train) == (120, 80)
    assert later.description.split.left_out == 40
    assert later.labels.symptoms == ("fever", "injection-site-swelling", "rash")
    assert (later.description.validation, later.description.test) == (40, 40)
    assert later.frame["time"].gather(later.split.train).dt.year().min() == 2002
    assert later.inputs["split"] != whole.inputs["split"]


def test_drift_stands_in_the_description_and_a_vanished_class_is_a_warning(vaers: Path) -> None:
    data = study(vaers)
    drift = data.description.drift
    assert drift is not None
    assert [(one.side, one.year) for one in drift.periods][-2:] == [("validation", 2004), ("test", 2005)]
    rates = {one.symptom: one.rates for one in drift.symptoms}
    assert rates["agitation"] == [0.25, 0, 0, 0, 0]
    assert any(line.startswith("no test note has agitation (8.33%") for line in data.warnings)
    assert study(vaers, split="patient", train_from=None).description.drift is None


def test_the_topic_is_one_of_the_merged_symptoms(vaers: Path) -> None:
    data = study(vaers, task="topic", split="patient", top_k=3)
    assert data.labels.symptoms == ("fever", "injection-site-swelling", "rash")
    assert data.description.labelling["left out: Infection"] == 200


def test_the_rules_answer_by_the_ids_of_symptoms() -> None:
    symptoms, texts = ("joint-pain", "fever"), ["Arthralgia, no fever.", "Febrile."]
    lexicon = load_lexicon("clinical")
    looked_up = RuleClassifier.of("present", symptoms, lexicon).predict_proba(texts)
    assert looked_up.tolist() == [[1, 1], [0, 1]]
    asserted = AssertedRule.of(symptoms, lexicon)
    assert asserted.named == (("joint-pain",), ("fever",))
    assert asserted.predict_proba(texts).tolist() == [[1, 0], [0, 1]]


def test_a_dry_run_says_left_out_notes_rates_and_warnings(
    vaers: Path, capsys: pytest.CaptureFixture[str], encoder_folder: Path
) -> None:
    arguments = [
        "study",
        "--notes",
        str(vaers),
        "--protocol",
        "clinical",
        "--task",
        "present",
        "--top-k",
        "4",
    ]
    arguments += ["--split", "time", "--labels", "concepts", "--dry-run", "-o", "unused", "--encoder"]
    with pytest.raises(SystemExit) as done:
        run([*arguments, str(encoder_folder), "--train-from", "2001"])
    out = capsys.readouterr().out
    assert done.value.code == 0
    assert "labelled: left out: Infection: 200" in out
    assert (
        "rate of agitation: training 8.33%, last year of training 0.00%, validation 0.00%, test 0.00%" in out
    )
    assert "note: no test note has agitation" in out
    assert "of all word pieces are never seen" in out


def test_what_labels_rest_on_is_looked_up_in_notes_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config({"protocol": "clinical", "synthetic_notes": 400, "top_k": 3}).resolved()
    whole = prepare(config, Reporter(quiet=True)).description.labelling
    monkeypatch.setattr(labelled, "LOOKED_UP", 60)
    drawn = prepare(config, Reporter(quiet=True)).description.labelling
    assert labelled.DRAWN not in whole
    assert drawn[labelled.DRAWN] == 60
    assert 0 < drawn[labelled.NEGATED] < min(60, whole[labelled.NEGATED])


def test_symptoms_that_were_named_are_labelled_whatever_their_frequency(vaers: Path) -> None:
    named = ("Rash", "Injection site oedema")
    data = study(vaers, labels="coded", symptoms=named, train_from="2002")
    assert data.labels.symptoms == named
    assert data.labels.targets.sum(axis=0).tolist() == [40, 20]
    concepts = study(vaers, symptoms=("rash", "fever"))
    assert concepts.labels.targets.sum(axis=0).tolist() == [40, 50]


def test_a_symptom_that_no_training_note_is_coded_is_refused(vaers: Path) -> None:
    with pytest.raises(InputError, match=r"--symptoms: no training note is coded 'Rahs'.*'?Rash"):
        study(vaers, labels="coded", symptoms=("Rahs",))
    with pytest.raises(InputError, match="no training note is coded 'Agitation'"):
        study(vaers, labels="coded", symptoms=("Agitation",), train_from="2002")
    with pytest.raises(InputError, match="--symptoms names what people coded; the labels are silver"):
        study(vaers, labels="silver", symptoms=("fever",))
    with pytest.raises(InputError, match="--symptoms is for --task present; the task is topic"):
        study(vaers, labels="coded", symptoms=("Rash",), task="topic")


def test_notes_too_old_to_train_on_may_teach_unlabelled(vaers: Path) -> None:
    settings = {"labels": "coded", "top_k": 2, "train_from": "2003", "transfer_fraction": 1.0}

    def years(**more: object) -> list[int]:
        config = make_config({**CONFIG, "notes": vaers, **settings, **more}).resolved()
        further = read_further_notes(config, study(vaers, **settings), Reporter(quiet=True))
        return sorted(set(further["time"].dt.year().to_list()))

    assert years() == []
    assert years(transfer_from="2002") == [2002]
    assert years(transfer_from="2001") == [2001, 2002]
