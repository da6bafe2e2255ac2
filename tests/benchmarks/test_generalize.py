"""What generalizes: forms held out by hand, passages, years; and the whole command on a tiny encoder."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.generalize import Order, by_note, cut_passages, generalize, main
from benchmarks.trials import cap_rows, score_f1
from benchmarks.unseen_forms import Evidence, contains, hold_out, only_held_out, score_unseen
from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.labels.lexicon import Lexicon, Symptom
from sympress.models.rules import AssertedRule

LEXICON = Lexicon(
    "hand",
    (
        Symptom("fever", ("fever", "pyrexia", "febrile")),
        Symptom("cough", ("cough", "hacking")),
        Symptom("chest pain", ("chest pain",)),
        Symptom("pain", ("pain",)),
    ),
)
RULE = AssertedRule.of(("fever", "cough", "pain"), LEXICON)
TEXTS = [
    "patient reports fever and cough",
    "denies fever, reports cough",
    "patient febrile after dose",
    "fever; febrile at night",
    "chest pain after dose",
    "no rash",
]


def test_the_rule_reads_assertions_and_takes_the_longest_form() -> None:
    assert RULE.predict_proba(TEXTS).tolist() == [
        [1, 1, 0],
        [0, 1, 0],
        [1, 0, 0],
        [1, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
    ]
    assert RULE.without({"febrile"}).predict_proba(TEXTS)[2].tolist() == [0, 0, 0]


def test_the_rule_reloads(tmp_path: Path) -> None:
    RULE.save(tmp_path)
    assert AssertedRule.load(tmp_path) == RULE
    assert RULE.size_bytes == (tmp_path / "asserted.json").stat().st_size
    (tmp_path / "asserted.json").write_text("{}")
    with pytest.raises(InputError, match=r"no usable reference model here \(ValidationError\); fit it again"):
        AssertedRule.load(tmp_path)


def test_the_most_frequent_form_and_those_that_do_not_occur_stay() -> None:
    evidence = Evidence.of(RULE, TEXTS)
    assert hold_out(RULE, evidence, np.arange(6), share=1.0) == {"febrile"}
    assert hold_out(RULE, evidence, np.arange(6), share=0.0) == set()
    assert hold_out(RULE, evidence, np.array([0, 1]), share=1.0) == set()


def test_recall_on_held_out_forms_by_hand() -> None:
    evidence = Evidence.of(RULE, TEXTS)
    unseen = only_held_out(RULE, evidence, {"febrile"})
    assert np.argwhere(unseen).tolist() == [[2, 0]]  # note 3 has a kept form beside it
    assert contains(evidence, {"febrile"}).tolist() == [False, False, True, True, False, False]
    nothing = np.zeros((6, 3), dtype=bool)
    everything = ~nothing
    scores = score_unseen({"all": everything, "none": nothing}, evidence, unseen, np.arange(6), resamples=0)
    assert (scores["answers_recall_unseen"], scores["answers_recall_seen"]) == (1, 4)
    # fever stands in four notes, cough in two, and no note but the one with chest pain names a pain.
    assert scores["answers_false_alarms"] == 18 - 4 - 2
    assert [scores["models"]["all"][key]["value"] for key in ("recall_unseen", "false_alarms")] == [1, 1]
    assert [scores["models"]["none"][key]["value"] for key in ("recall_seen", "false_alarms")] == [0, 0]


def test_passages_hold_every_word_once_and_are_short() -> None:
    text = "FINDINGS:\nFever since Monday. No cough.\n\n" + "word " * 100
    passages = cut_passages(text, 60)
    assert max(map(len, passages)) <= 60
    assert "".join("".join(passages).split()) == "".join(text.split())
    assert passages[0] == "FINDINGS:\nFever since Monday.\nNo cough."
    assert cut_passages(" \n ") == []


def test_a_note_has_what_one_of_its_passages_has() -> None:
    answers = np.array([[True, False], [False, False], [False, True]])
    assert by_note(answers, np.array([0, 0, 4])).tolist() == [[True, False], [False, True]]


def test_f1_of_each_model_and_the_difference_to_the_first() -> None:
    truth = np.array([[1, 0], [1, 0], [0, 0], [1, 1]], dtype=bool)
    half = truth & np.array([[True], [False], [True], [True]])
    scores = score_f1({"model": truth, "tfidf": half}, truth, np.arange(4), least=2, resamples=50)
    assert (scores["symptoms"], scores["symptoms_left_out"]) == (1, 1)
    assert scores["models"]["tfidf"]["micro_f1"]["value"] == pytest.approx(0.8)
    assert scores["first_minus"]["tfidf"]["micro_f1"]["value"] == pytest.approx(0.2)


def test_notes_are_capped_the_same_way_each_time() -> None:
    rows = np.arange(100, 200)
    assert np.array_equal(cap_rows(rows, 10), cap_rows(rows, 10))
    assert len(cap_rows(rows, 10)) == 10
    assert cap_rows(rows, 500) is rows


FEVER = ("fever", "pyrexia")


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coded reports of six years in which a symptom has two names."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(420):
        has = random.random(2) < 0.5
        fever = f"reports {FEVER[random.integers(2)]}" if has[0] else "denies fever"
        cough = "and cough" if has[1] else "and rash"
        letters = " ".join(random.choice(list("abcdefghijklmnop"), 6))
        codes = [code for code, there in zip(("Pyrexia", "Cough"), has, strict=True) if there]
        rows.append(
            {
                "note_id": f"n{number}",
                "patient_id": f"p{number}",
                "time": datetime(2000 + number % 6, 5, 1),
                "text": f"patient {letters} {fever} {cough}",
                "codes": codes,
            }
        )
    folder = tmp_path_factory.mktemp("notes")
    pl.DataFrame(rows).write_parquet(folder / "coded.parquet")
    pl.DataFrame({"text": ["long note: with fever and cough. " * 30, "no cough"] * 12}).write_parquet(
        folder / "elsewhere.parquet"
    )
    lines = ["symptom\tform", "fever\tfever", "fever\tpyrexia", "cough\tcough", "rash\trash"]
    (folder / "hand.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_the_three_tables_and_going_on(notes: Path, encoder_folder: Path, tmp_path: Path) -> None:
    config = StudyConfig(
        notes=notes / "coded.parquet",
        protocol="clinical",
        task="present",
        encoder=str(encoder_folder),
        top_k=2,
        epochs=1,
        max_tokens=32,
        learning_rate=1e-3,
        resamples=50,
    )
    order = Order(
        notes / "elsewhere.parquet",
        str(notes / "hand.tsv"),
        held_out_share=1.0,
        training_notes=150,
        test_notes=100,
    )
    found = generalize(config, order, tmp_path / "run")
    assert list(found["years"]["by_year"]) == ["2004", "2005"]
    assert list(found["years"]["by_year"]["2004"]["models"]) == ["baseline", "tfidf", "rule-assertion"]
    assert found["years"]["by_year"]["2004"]["notes"] + found["years"]["by_year"]["2005"]["notes"] == 100
    assert found["source"]["elsewhere"]["notes"] == 24
    assert found["source"]["passages"] > 24
    forms = found["forms"]
    assert forms["forms_held_out"] == 1
    assert forms["train"] + forms["removed"] == 150
    assert forms["models"]["rule"]["recall_unseen"]["value"] == 0.0
    assert forms["models"]["rule"]["recall_seen"]["value"] == 1.0
    assert forms["models"]["tfidf-taught"]["recall_unseen"]["value"] > 0.9
    assert forms["answers_recall_unseen"] > 0
    stored = json.loads((tmp_path / "run" / "generalize.json").read_text(encoding="utf-8"))
    assert stored["years"] == json.loads(json.dumps(found["years"]))
    again = generalize(config, order, tmp_path / "run")
    assert again | {"seconds": 0} == found | {"seconds": 0}
    with pytest.raises(InputError, match="its training_notes is 150, not 40; choose another -o"):
        generalize(config, Order(order.elsewhere, order.lexicon, 1.0, 40, 100), tmp_path / "run")


def test_a_mistake_in_the_call_ends_with_code_2(
    tmp_path: Path, notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(SystemExit) as exit_info:
        main(["--notes", str(notes / "coded.parquet"), "-o", str(tmp_path)])
    assert exit_info.value.code == 2
    assert "not empty and not of benchmarks.generalize; choose another -o" in capsys.readouterr().err


def test_notes_are_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="generalize needs --notes with symptoms coded by people"):
        generalize(StudyConfig(protocol="clinical", task="present"), Order(), tmp_path)
