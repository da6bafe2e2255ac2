"""What chooses an epoch: the ranking where thresholds come later, F1 where the likeliest is the answer."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from sympress.studies.judge import epoch_score, epoch_score_name

SYMPTOMS = ("fever", "cough", "pain")
RANDOM = np.random.default_rng(0)
TARGETS = (RANDOM.random((200, 3)) < 0.3).astype(np.uint8)
LOGITS = (np.where(TARGETS, 1.0, -1.0) + RANDOM.normal(0, 1.5, TARGETS.shape)).astype(np.float32)


def test_present_is_judged_by_its_ranking_alone():
    score, quality = epoch_score("present", LOGITS, TARGETS, SYMPTOMS)
    assert score == pytest.approx(average_precision_score(TARGETS, LOGITS, average="macro"))
    shy, shy_quality = epoch_score("present", LOGITS - 4, TARGETS, SYMPTOMS)
    assert shy == pytest.approx(score), "the same ranking"
    assert (shy_quality.f1.value or 0) < (quality.f1.value or 0) / 2, "whose F1 at 0.5 is far lower"
    assert epoch_score_name("present") == "average precision"


def test_a_topic_is_judged_by_the_f1_of_its_answers():
    topics = np.eye(3, dtype=np.uint8)[LOGITS.argmax(axis=1) * (np.arange(200) % 4 > 0)]
    score, _ = epoch_score("topic", LOGITS, topics, SYMPTOMS)
    expected = f1_score(topics.argmax(axis=1), LOGITS.argmax(axis=1), average="macro")
    assert score == pytest.approx(expected)
    assert epoch_score_name("topic") == "F1"


def test_without_a_positive_note_nothing_is_to_be_told():
    assert epoch_score("present", LOGITS, np.zeros_like(TARGETS), SYMPTOMS)[0] == 0
