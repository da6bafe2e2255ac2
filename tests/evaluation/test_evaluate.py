"""Figures of an artifact on gold in memory, by hand where a hand can count them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path

import pytest

from sympress.errors import InputError, SympressError
from sympress.evaluation.errors_page import errors_of
from sympress.evaluation.evaluate import Evaluation, evaluate
from sympress.evaluation.gold import Gold, Vocabulary, gold_of_spans, gold_of_symptoms
from sympress.evaluation.records import lines_of
from sympress.labels.mentions import AnnotatedNote, Assertion, Mention
from sympress.runtime.artifact import RULES_FOLDER
from sympress.runtime.artifact import Extractor as Settings
from sympress.runtime.extractor import Extractor
from sympress.runtime.note_result import FoundMention, FoundSymptom, NoteResult

#: Five words of seven characters with a space between: word i begins at 8 i.
TEXT = "aaaaaaa bbbbbbb ccccccc ddddddd eeeeeee"


@pytest.fixture(scope="module")
def rules() -> Extractor:
    return Extractor.load(RULES_FOLDER)


def span(word: int, symptom: str | None, assertion: Assertion = "present", longer: int = 0) -> Mention:
    return Mention(8 * word, 8 * word + 7 + longer, symptom, assertion)


def note(note_id: str, *mentions: Mention) -> AnnotatedNote:
    return AnnotatedNote(note_id, TEXT, mentions)


class Scripted:
    """The rules with answers that a test writes; `None` is a failure."""

    def __init__(
        self,
        rules: Extractor,
        answers: list[tuple[Mention, ...] | None],
        settings: Settings | None = None,
    ) -> None:
        self._rules, self._answers = rules, cycle(answers)  # a second time for the clock
        self.settings = settings or rules.settings
        self.task = self.settings.task

    def __getattr__(self, name: str) -> object:
        return getattr(self._rules, name)

    def answers(self, texts: Iterable[str]) -> Iterator[NoteResult]:
        return map(self.answer, texts)

    def answer(self, _text: str) -> NoteResult:
        mentions = next(self._answers)
        if mentions is None:
            return NoteResult((), failure="not enough memory for this note")
        named = dict.fromkeys(one.symptom for one in mentions if one.symptom and one.assertion == "present")
        return NoteResult(
            tuple(FoundSymptom(name, None, None) for name in named),
            tuple(
                FoundMention(one.start, one.end, one.symptom, None, one.assertion, None) for one in mentions
            ),
        )


def scored(rules: Extractor, gold: Gold, *answers: tuple[Mention, ...] | None, **more: int) -> Evaluation:
    return evaluate(Scripted(rules, list(answers)), gold, **{"resamples": 0, **more})  # type: ignore[arg-type]


def test_spans_are_scored_exactly_by_overlap_by_symptom_and_by_assertion(rules: Extractor):
    gold = gold_of_spans(
        [
            note("1", span(0, "fever"), span(1, "cough", "absent"), span(2, "nausea")),
            note("2", span(0, "fever")),
        ]
    )
    found = [
        (span(0, "fever"), span(1, "cough", longer=-2), span(3, "rash")),  # one right, one half, one made up
        (span(0, "fever"),),
    ]
    results = scored(rules, gold, *found).results
    spans = results.spans
    assert spans is not None
    assert (spans.gold, spans.predicted) == (4, 4)
    assert spans.exact.f1.value == pytest.approx(2 / 4)
    assert spans.overlapping.precision.value == pytest.approx(3 / 4)
    assert spans.overlapping.recall.value == pytest.approx(3 / 4)
    assert spans.overlapping_assertion.recall.value == pytest.approx(2 / 4)
    assert {row.symptom: row.overlapping_f1.value for row in spans.per_symptom} == {
        "fever": 1.0,
        "cough": 1.0,
        "nausea": 0.0,
        "rash": None,
    }
    pairs = [(one.gold, one.found, one.spans) for one in results.assertions]
    assert pairs == [("present", "present", 2), ("absent", "present", 1)]


def test_notes_are_scored_by_the_symptoms_that_they_affirm(rules: Extractor):
    gold = gold_of_spans(
        [note("1", span(0, "fever"), span(1, "cough", "absent")), note("2", span(0, "nausea"))]
    )
    notes = scored(rules, gold, (span(0, "fever"), span(1, "cough")), ()).results.notes
    assert (notes.gold, notes.predicted) == (2, 2)  # fever and nausea; fever and cough
    assert notes.micro.f1.value == pytest.approx(1 / 2)
    assert notes.macro_f1.value == pytest.approx((1 + 0) / 2)
    assert [(one.symptom, one.gold, one.predicted) for one in notes.per_symptom] == [
        ("fever", 1, 1),
        ("nausea", 1, 0),
        ("cough", 0, 1),
    ]


def test_what_the_artifact_does_not_know_is_counted_as_missed_and_said(rules: Extractor):
    gold = gold_of_spans(
        [note("1", span(0, "fever"), span(1, "brain-zaps"), span(2, "brain-zaps"), span(3, None))]
    )
    evaluation = scored(rules, gold, (span(0, "fever"), span(3, "rash")))
    results = evaluation.results
    assert [(one.symptom, one.mentions, one.notes) for one in results.unknown] == [("brain-zaps", 2, 1)]
    assert results.unnamed == 1
    assert results.spans is not None
    assert results.spans.exact.recall.value == pytest.approx(2 / 4)
    assert results.known_exact is not None
    assert results.known_exact.f1.value == 1.0  # rash stands where it can't be judged
    assert results.notes.micro.recall.value == pytest.approx(1 / 2)
    assert results.notes.known.recall.value == 1.0
    said = "\n".join(lines_of(results))
    assert "outside its vocabulary: 1 symptoms, 2 spans, counted as missed: brain-zaps (2)" in said
    assert "1 gold spans whose words name no symptom" in said


@pytest.mark.parametrize("name", ["fever", "Fever", "FEVER", "pyrexia", "Pyrexia"])
def test_a_symptom_has_the_names_that_people_give_it(rules: Extractor, name: str):
    gold = gold_of_symptoms(["Fever since Monday."], [[name]])
    results = evaluate(rules, gold, resamples=0).results
    assert results.unknown == []
    assert results.notes.micro.f1.value == 1.0


def test_gold_of_whole_notes_scores_only_the_symptoms_that_it_names(rules: Extractor):
    gold = gold_of_symptoms([TEXT, TEXT], [["fever"], []])
    results = scored(rules, gold, (span(0, "fever"), span(1, "cough")), (span(0, "fever"),)).results
    assert results.spans is None
    assert "whole notes" in (results.spans_missing or "")
    assert results.notes.micro.precision.value == pytest.approx(1 / 2)
    assert results.never_asked == 1


def test_intervals_resample_patients_where_they_are_known(rules: Extractor):
    notes = [note(str(number), span(0, "fever")) for number in range(12)]
    answers = [(span(0, "fever"),) if number % 2 else () for number in range(12)]
    alone = scored(rules, gold_of_spans(notes), *answers, resamples=200).results
    # One patient has all that was missed: six patients with two notes each are right or wrong together.
    patients = [f"p{number % 2}" for number in range(12)]
    joined = scored(rules, gold_of_spans(notes, patients=patients), *answers, resamples=200).results
    assert (alone.resampled_by, joined.resampled_by) == ("notes", "patients")
    assert joined.gold.patients == 2
    assert alone.spans is not None
    assert joined.spans is not None
    narrow, wide = alone.spans.exact.recall, joined.spans.exact.recall
    assert narrow.value == wide.value == 0.5
    assert (wide.low, wide.high) == (0.0, 1.0)
    assert narrow.low is not None
    assert narrow.high is not None
    assert 0.0 < narrow.low < 0.5 < narrow.high < 1.0


def test_groups_have_their_own_figures_and_small_ones_have_none(rules: Extractor):
    notes = [note(str(number), span(0, "fever")) for number in range(45)]
    groups = ["A"] * 20 + ["B"] * 20 + ["C"] * 4 + [None]
    answers = [(span(0, "fever"),)] * 20 + [()] * 20 + [(span(0, "fever"),)] * 5
    results = scored(rules, gold_of_spans(notes, groups=groups), *answers).results
    rows = {one.group: (one.notes, one.note_f1.value) for one in results.groups}
    assert rows == {"A": (20, 1.0), "B": (20, 0.0), "C": (4, None), "not given": (1, None)}
    assert results.groups[0].overlapping_f1 is not None
    assert results.groups[0].overlapping_f1.value == 1.0


def test_a_note_without_an_answer_counts_as_one_in_which_nothing_was_found(rules: Extractor):
    gold = gold_of_spans([note("1", span(0, "fever")), note("2", span(0, "fever"))])
    results = scored(rules, gold, (span(0, "fever"),), None).results
    assert results.failed == 1
    assert results.spans is not None
    assert results.spans.exact.recall.value == 0.5
    assert any("1 notes have no answer" in line for line in lines_of(results))
    with pytest.raises(SympressError, match=r"not one note of 2 was answered: not enough memory"):
        scored(rules, gold, None, None)


def test_assertion_is_not_judged_where_nobody_said_it(rules: Extractor):
    gold = gold_of_spans([note("1", span(0, "fever"))], asserted=False)
    results = scored(rules, gold, (span(0, "fever", "absent"),)).results
    assert results.assertions == []
    assert not any("Assertion" in line for line in lines_of(results))


def test_a_model_of_whole_notes_is_scored_by_note_under_its_own_names(rules: Extractor):
    settings = rules.settings.model_copy(
        update={"task": "present", "rules": False, "symptoms": ["Pyrexia", "Cough"]}
    )
    gold = gold_of_spans([note("1", span(0, "fever"), span(1, "nausea"))])
    model = Scripted(rules, [(span(0, "Pyrexia"),)], settings)
    done = evaluate(model, gold, resamples=0)  # type: ignore[arg-type]
    assert done.results.spans is None
    assert done.results.spans_missing == "the artifact answers for whole notes and points at no words"
    assert (done.results.notes.micro.recall.value, done.results.notes.known.recall.value) == (0.5, 1.0)
    assert [one.symptom for one in done.results.unknown] == ["nausea"]
    (missed,) = errors_of(done)
    assert (missed.symptom, missed.pieces[1]) == ("nausea", ("bbbbbbb", "gold"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: gold_of_spans([]), "no annotated note"),
        (lambda: gold_of_spans([note("1"), note("1")]), "note '1' is there twice"),
        (lambda: gold_of_spans([note("1", Mention(30, 99, "fever"))]), "offsets 30 99 mark nothing"),
        (lambda: gold_of_spans([note("1")], patients=["a", "b"]), "2 patients, 1 notes"),
        (lambda: gold_of_symptoms(["a"], []), "1 texts, 0 lists of symptoms"),
    ],
)
def test_gold_in_memory_that_does_not_fit_is_refused(make, said: str):
    with pytest.raises(InputError, match=said):
        make()


def test_the_figures_hold_no_word_of_a_note(rules: Extractor):
    gold = gold_of_spans([AnnotatedNote("1", "Smith has fever.", (Mention(10, 15, "fever"),))])
    done = evaluate(rules, gold, resamples=10)
    assert done.to_dict()["format"] == 1
    assert "Smith" not in str(done.to_dict()) + "\n".join(lines_of(done.results))


def test_a_symptom_that_a_model_writes_with_white_space_is_found_by_its_name(tiny_artifact: Path):
    extractor = Extractor.load(tiny_artifact)
    extractor.settings = extractor.settings.model_copy(update={"symptoms": [" Zorblax", "cough"]})
    assert Vocabulary.of(extractor).symptom("zorblax") == " Zorblax"
