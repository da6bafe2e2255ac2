from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from sympress.errors import InputError
from sympress.labels.lexicon import load_lexicon
from sympress.models.rules import RuleClassifier
from sympress.models.tfidf import ReferenceModel, TfidfClassifier, fit_tfidf

PAPER = load_lexicon("paper")
NAMES = ("fever", "cough", "rash")
SENTENCE = "the patient has had some mild severe fever cough rash today since Friday, no other complaint"
_random = np.random.default_rng(0)
TEXTS = [" ".join(_random.choice(SENTENCE.split(), size=12)) for _ in range(120)]
PRESENT = np.array([[name in text.lower().split() for name in NAMES] for text in TEXTS]).astype(np.uint8)
TOPIC = np.eye(3, dtype=np.uint8)[
    [min((text.find(n) % 999, k) for k, n in enumerate(NAMES))[1] for text in TEXTS]
]
NEW = ["Fever and cough", "", "unknownword", "rash rash RASH, the patient has had rash"]


def sklearn_features() -> TfidfVectorizer:
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2).fit(TEXTS)


@pytest.mark.parametrize("kept", [3, 2])
def test_topic_equals_scikit_learn(kept: int) -> None:
    rows = np.flatnonzero(TOPIC[:, :kept].any(axis=1))
    texts = [TEXTS[i] for i in rows]
    classes = TOPIC[rows].argmax(axis=1)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    regression = LogisticRegression(max_iter=1000).fit(vectorizer.fit_transform(texts), classes)
    model = fit_tfidf(texts, TOPIC[rows][:, :kept], "topic", NAMES[:kept])
    expected = regression.predict_proba(vectorizer.transform(NEW + texts))
    assert np.abs(model.predict_proba(NEW + texts) - expected).max() < 1e-5


def test_present_equals_scikit_learn() -> None:
    vectorizer = sklearn_features()
    model = fit_tfidf(TEXTS, PRESENT, "present", NAMES)
    for k in range(3):
        regression = LogisticRegression(solver="liblinear", dual=True, max_iter=1000, random_state=0)
        regression.fit(vectorizer.transform(TEXTS), PRESENT[:, k])
        expected = regression.predict_proba(vectorizer.transform(NEW + TEXTS))[:, 1]
        assert np.abs(model.predict_proba(NEW + TEXTS)[:, k] - expected).max() < 1e-5


def test_validation_notes_choose_the_regularisation() -> None:
    weak, chosen = (
        fit_tfidf(TEXTS[:80], PRESENT[:80], "present", NAMES, validation=v)
        for v in (None, (TEXTS[80:], PRESENT[80:]))
    )
    # Here the words are the labels: less regularisation is better.
    assert (
        np.abs(chosen.predict_proba(TEXTS[80:]) - PRESENT[80:]).mean()
        < np.abs(weak.predict_proba(TEXTS[80:]) - PRESENT[80:]).mean()
    )
    shuffled = np.random.default_rng(0).permutation(PRESENT)
    noise = fit_tfidf(TEXTS[:80], shuffled[:80], "present", NAMES, validation=(TEXTS[80:], shuffled[80:]))
    default = fit_tfidf(TEXTS[:80], shuffled[:80], "present", NAMES)
    assert np.array_equal(noise.weights, default.weights), "where words say nothing, more of it is"


def test_costs_are_counted() -> None:
    vectorizer = sklearn_features()
    model = fit_tfidf(TEXTS, PRESENT, "present", NAMES)
    terms = len(vectorizer.vocabulary_)
    assert model.parameters == terms + 3 * terms + 3
    assert 0 < model.nonzero_parameters <= model.parameters
    median = np.median((vectorizer.transform(TEXTS).toarray() > 0).sum(axis=1))
    assert model.macs_per_note == int(median) * 3


def test_classes_that_training_never_saw() -> None:
    only_first = np.array([[1, 0, 0]] * 4)
    texts = ["fever today"] * 4
    assert fit_tfidf(texts, only_first, "topic", NAMES).predict_proba(["x"])[0] == pytest.approx([1, 0, 0])
    assert fit_tfidf(texts, only_first, "present", NAMES).predict_proba(["x"])[0] == pytest.approx([1, 0, 0])
    with pytest.raises(InputError, match=r"^no word occurs in 2 of 2 training notes: read more notes$"):
        fit_tfidf(["a b", "c"], np.eye(2), "topic", NAMES[:2])


@pytest.mark.parametrize("task", ["topic", "present"])
def test_both_load_back_equal_and_know_their_size(tmp_path: Path, task: str) -> None:
    targets = TOPIC if task == "topic" else PRESENT
    models: list[ReferenceModel] = [
        fit_tfidf(TEXTS, targets, task, NAMES),  # type: ignore[arg-type]
        RuleClassifier.of(task, NAMES, PAPER),  # type: ignore[arg-type]
    ]
    for model in models:
        folder = tmp_path / type(model).__name__
        model.save(folder)
        assert model.size_bytes == sum(path.stat().st_size for path in folder.iterdir())
        loaded = type(model).load(folder)  # type: ignore[attr-defined]
        assert np.array_equal(loaded.predict_proba(NEW), model.predict_proba(NEW))
        assert loaded.parameters == model.parameters
        assert loaded.macs_per_note == model.macs_per_note


@pytest.mark.parametrize("kind", [TfidfClassifier, RuleClassifier])
def test_damaged_files_are_refused(
    tmp_path: Path, kind: type[TfidfClassifier] | type[RuleClassifier]
) -> None:
    with pytest.raises(InputError, match="no usable reference model here"):
        kind.load(tmp_path)
    for name in ("tfidf.json", "rule.json"):
        (tmp_path / name).write_text('{"task": "topic"', encoding="utf-8")
    with pytest.raises(InputError, match="no usable reference model here"):
        kind.load(tmp_path)


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    fit_tfidf(TEXTS, PRESENT, "present", NAMES).save(tmp_path)
    np.savez(tmp_path / "tfidf.npz", idf=np.array([{}], dtype=object), weights=0, bias=0)
    with pytest.raises(InputError, match="ValueError"):
        TfidfClassifier.load(tmp_path)


def test_the_rule_answers_a_topic_as_it_was_labelled() -> None:
    rule = RuleClassifier.of("topic", ["pain", "cough"], PAPER)
    scores = rule.predict_proba(["cough, pain", "PAIN", "well", "chest pain", "x" * 1000 + " pain"])
    # chest pain stands before pain in the lexicon and is not among the two: no answer
    assert scores.tolist() == [[0, 1], [1, 0], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    assert (rule.parameters, rule.nonzero_parameters, rule.macs_per_note) == (0, 0, 0)


def test_the_rule_knows_the_words_of_coded_symptoms() -> None:
    names = ["Pyrexia", "Pruritus", "Odd thing"]
    texts = ["Fever and itching", "no complaints", "an odd thing; febrile", "x" * 2000 + " fever"]
    assert RuleClassifier.of("present", names, PAPER).predict_proba(texts).tolist() == [
        [1, 1, 0], [0, 0, 0], [1, 0, 1], [1, 0, 0],
    ]  # fmt: skip
    topic = RuleClassifier.of("topic", names, PAPER).predict_proba(texts[:2])
    assert topic[0].tolist() == [1, 0, 0]
    assert topic[1] == pytest.approx([1 / 3] * 3)
