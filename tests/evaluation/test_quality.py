import numpy as np
import pytest
from sklearn import metrics

from sympress.errors import SympressError
from sympress.evaluation.quality import score_quality
from sympress.results import Estimate, Quality

NAMES = [f"s{k}" for k in range(5)]
NO_NOTES = Estimate(value=None, note="undefined: no notes")
NO_NOTE = Estimate(value=None, note="undefined: no note of this class")


def topic_data(notes: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    classes = random.integers(5, size=notes)
    logits = random.normal(size=(notes, 5)) + 1.5 * np.eye(5)[classes]
    scores = np.exp(logits)
    return np.round(scores / scores.sum(axis=1, keepdims=True), 2), classes  # rounded: there are ties


def present_data(notes: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    targets = random.random((notes, 5)) < np.array([0.5, 0.3, 0.2, 0.1, 0.05])
    return np.round(np.clip(0.4 * targets + 0.6 * random.random((notes, 5)), 0, 1), 2), targets


def score_topic(scores: np.ndarray, classes: np.ndarray, names: list[str], **how: object) -> Quality:
    truth = np.asarray(classes).reshape(-1, 1) == np.arange(len(names))
    return score_quality("topic", scores, truth, names, **how)


def score_present(
    scores: np.ndarray, targets: np.ndarray, cuts: object, names: list[str], **how: object
) -> Quality:
    return score_quality("present", scores, targets, names, thresholds=cuts, **how)


def test_topic_equals_scikit_learn() -> None:
    scores, classes = topic_data()
    quality = score_topic(scores, classes, NAMES, resamples=0)
    predicted = scores.argmax(axis=1)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(classes, predicted)
    assert quality.accuracy.value == pytest.approx(metrics.accuracy_score(classes, predicted))
    assert quality.f1.value == pytest.approx(metrics.f1_score(classes, predicted, average="macro"))
    assert quality.precision.value == pytest.approx(precision.mean())
    assert quality.recall.value == pytest.approx(recall.mean())
    aucs = [metrics.roc_auc_score(classes == k, scores[:, k]) for k in range(5)]
    assert quality.auroc.value == pytest.approx(np.mean(aucs))
    for k, row in enumerate(quality.per_symptom):
        assert (row.symptom, row.support, row.threshold) == (NAMES[k], support[k], None)
        values = (row.precision.value, row.recall.value, row.f1.value, row.auroc.value)
        assert values == pytest.approx((precision[k], recall[k], f1[k], aucs[k]))
    assert (quality.micro_f1, quality.average_precision) == (None, None)


def test_present_equals_scikit_learn() -> None:
    scores, targets = present_data()
    cuts = np.array([0.5, 0.4, 0.45, 0.6, 0.99])
    quality = score_present(scores, targets, cuts, NAMES, resamples=0)
    predicted = scores >= cuts
    expected = {
        "accuracy": metrics.accuracy_score(targets, predicted),
        "precision": metrics.precision_score(targets, predicted, average="macro", zero_division=0),
        "recall": metrics.recall_score(targets, predicted, average="macro"),
        "f1": metrics.f1_score(targets, predicted, average="macro"),
        "micro_f1": metrics.f1_score(targets, predicted, average="micro"),
        "auroc": metrics.roc_auc_score(targets, scores, average="macro"),
        "average_precision": metrics.average_precision_score(targets, scores, average="macro"),
    }
    assert {name: getattr(quality, name).value for name in expected} == pytest.approx(expected)
    assert [row.threshold for row in quality.per_symptom] == cuts.tolist()


def test_present_by_hand() -> None:
    # symptom a: TP 1, FP 1, FN 1; symptom b: nothing predicted, two notes have it
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.3], [0.1, 0.4]])
    targets = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])
    quality = score_present(scores, targets, [0.5, 0.5], ["a", "b"], resamples=0)
    a, b = quality.per_symptom
    assert (a.precision.value, a.recall.value, a.f1.value) == (0.5, 0.5, 0.5)
    assert (b.precision.value, b.recall.value, b.f1.value) == (0, 0, 0)
    assert (a.auroc.value, b.auroc.value) == (0.75, 0.75)
    assert quality.accuracy.value == 0.25
    assert quality.micro_f1 is not None
    assert quality.micro_f1.value == pytest.approx(1 / 3)  # 2 * 1 / (2 predicted + 4 true)
    assert quality.average_precision is not None
    assert quality.average_precision.value == pytest.approx(((1 + 2 / 3) / 2 + (1 + 2 / 3) / 2) / 2)


def brute_interval(
    scores: np.ndarray, targets: np.ndarray, groups: np.ndarray, resamples: int
) -> dict[str, list[float]]:
    """Draw patients as `resample_weights` does, then write the notes out and let scikit-learn score them."""
    members = {g: np.flatnonzero(groups == g) for g in dict.fromkeys(groups.tolist())}
    names = list(members)
    drawn = np.random.default_rng(3).integers(len(names), size=(resamples, len(names)))
    samples: dict[str, list[float]] = {"f1": [], "auroc": [], "average_precision": [], "accuracy": []}
    for row in drawn:
        notes = np.concatenate([members[names[g]] for g in row])
        truth, score = targets[notes], scores[notes]
        samples["f1"].append(metrics.f1_score(truth, score >= 0.5, average="macro"))
        samples["accuracy"].append(metrics.accuracy_score(truth, score >= 0.5))
        samples["auroc"].append(metrics.roc_auc_score(truth, score, average="macro"))
        samples["average_precision"].append(metrics.average_precision_score(truth, score, average="macro"))
    return {name: np.percentile(values, [2.5, 97.5]).tolist() for name, values in samples.items()}


def test_intervals_equal_resampled_notes_scored_by_scikit_learn() -> None:
    scores, targets = present_data(150)
    groups = np.random.default_rng(1).integers(60, size=150).astype(str)
    quality = score_present(scores, targets, np.full(5, 0.5), NAMES, groups=groups, seed=3, resamples=25)
    for name, (low, high) in brute_interval(scores, targets, groups, 25).items():
        estimate = getattr(quality, name)
        assert (estimate.low, estimate.high) == pytest.approx((low, high)), name


def test_an_interval_depends_on_the_seed_holds_the_value_and_widens_with_groups() -> None:
    scores, classes = topic_data(1000)
    alone = score_topic(scores, classes, NAMES, seed=1)
    assert alone == score_topic(scores, classes, NAMES, seed=1)
    assert alone != score_topic(scores, classes, NAMES, seed=2)
    spread = alone.accuracy
    assert spread.low is not None
    assert spread.high is not None
    assert spread.low < (spread.value or 0) < spread.high
    # A share p of n notes has the standard error sqrt(p(1-p)/n).
    assert spread.high - spread.low == pytest.approx(
        3.92 * np.sqrt(spread.value * (1 - spread.value) / 1000), rel=0.1
    )
    # Ten identical copies of each patient's note are no more evidence than one.
    copied = score_topic(
        np.repeat(scores, 10, axis=0),
        np.repeat(classes, 10),
        NAMES,
        groups=np.repeat(np.arange(1000), 10),
        seed=1,
    )
    assert (copied.accuracy.low, copied.accuracy.high) == pytest.approx((spread.low, spread.high))
    assert (copied.auroc.low, copied.auroc.high) == pytest.approx((alone.auroc.low, alone.auroc.high))


def test_a_class_without_a_note_is_undefined_and_left_out_of_the_average() -> None:
    scores, classes = topic_data()
    classes = np.where(classes == 4, 0, classes)
    quality = score_topic(scores, classes, NAMES, resamples=50)
    absent = quality.per_symptom[4]
    assert (absent.precision, absent.recall, absent.f1, absent.auroc) == (NO_NOTE,) * 4
    assert quality.f1.note == "over 4 of 5 symptoms: undefined for 1"
    assert quality.f1.value == pytest.approx(np.mean([row.f1.value for row in quality.per_symptom[:4]]))
    assert quality.f1.low is not None


def test_one_class_only() -> None:
    quality = score_topic(np.tile([0.9, 0.1], (6, 1)), np.zeros(6), ["a", "b"], resamples=50)
    assert quality.accuracy == Estimate(value=1, low=1, high=1)
    assert quality.f1 == Estimate(value=1, low=1, high=1, note="over 1 of 2 symptoms: undefined for 1")
    assert quality.auroc == Estimate(
        value=None, note="undefined: no symptom that some notes have and others have not"
    )
    assert quality.per_symptom[0].auroc == Estimate(value=None, note="undefined: every note is of this class")


def test_no_symptom_in_any_note() -> None:
    quality = score_present(np.zeros((4, 2)), np.zeros((4, 2)), [0.5, 0.5], ["a", "b"], resamples=20)
    assert quality.accuracy.value == 1
    nothing = Estimate(value=None, note="undefined: no note of any symptom")
    assert (quality.f1, quality.micro_f1) == (nothing, nothing)
    assert [row.f1 for row in quality.per_symptom] == [NO_NOTE, NO_NOTE]


@pytest.mark.parametrize("task", ["topic", "present"])
def test_no_notes_at_all(task: str) -> None:
    empty = np.zeros((0, 2))
    if task == "topic":
        quality = score_topic(empty, np.zeros(0), ["a", "b"])
    else:
        quality = score_present(empty, empty, [0.5, 0.5], ["a", "b"])
        assert (quality.micro_f1, quality.average_precision) == (NO_NOTES, NO_NOTES)
    assert (quality.accuracy, quality.precision, quality.recall, quality.f1, quality.auroc) == (NO_NOTES,) * 5
    assert [row.support for row in quality.per_symptom] == [0, 0]
    assert Quality.model_validate_json(quality.model_dump_json()) == quality


def test_groups_may_be_missing_for_some_notes() -> None:
    scores, classes = topic_data(30)
    named = np.array([None] * 30, dtype=object)
    assert score_topic(scores, classes, NAMES, groups=named) == score_topic(scores, classes, NAMES)


def test_one_patient_has_a_value_without_an_interval() -> None:
    scores, classes = topic_data(30)
    accuracy = score_topic(scores, classes, NAMES, groups=["p"] * 30).accuracy
    assert accuracy.value is not None
    assert (accuracy.low, accuracy.high) == (None, None)


def test_bad_probabilities_are_refused() -> None:
    with pytest.raises(
        SympressError, match=r"^1 notes got a probability that is no number: the model diverged"
    ):
        score_topic(np.array([[np.nan, 1.0], [0.5, 0.5]]), [0, 1], ["a", "b"])
    with pytest.raises(ValueError, match=r"probabilities are \(3, 2\), labels are \(2, 2\)"):
        score_topic(np.ones((3, 2)), [0, 1], ["a", "b"])
