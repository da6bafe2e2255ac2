from dataclasses import replace

import numpy as np
import pytest

from sympress.errors import InputError
from sympress.labels.mentions import LabelSet, Provenance
from sympress.labels.silver import mix_labels


def labels(provenance: Provenance, ids: str, rows: list[list[int]], symptoms: str = "AB") -> LabelSet:
    return LabelSet(
        "present", tuple(symptoms), tuple(ids), np.array(rows, dtype=np.uint8), provenance, f"r-{provenance}"
    )


SILVER = labels("silver", "abc", [[1, 0], [1, 0], [1, 0]])
CODED = labels("coded", "bcd", [[1, 1], [1, 1], [1, 1]])
GOLD = labels("gold", "c", [[1, 0]], symptoms="BA")


def test_the_most_trusted_labels_of_a_note_win_with_their_weight() -> None:
    mixed = mix_labels([(SILVER, 0.25), (CODED, 1), (GOLD, 2.0)])
    assert mixed.labels.note_ids == tuple("abdc")
    assert mixed.labels.targets.tolist() == [[1, 0], [1, 1], [1, 1], [0, 1]], "gold's columns were B, A"
    assert mixed.weights.tolist() == [0.25, 1.0, 1.0, 2.0]
    assert mixed.weights.dtype == np.float32
    assert mixed.provenances == ("silver", "coded", "coded", "gold")
    assert (mixed.labels.symptoms, mixed.labels.provenance) == (("A", "B"), "silver")
    assert mixed.labels.rule == "0.25 × silver (r-silver) + 1 × coded (r-coded) + 2 × gold (r-gold)"
    assert mixed.labels.counts == {
        "notes": 4, "labels silver": 1, "labels coded": 2, "labels gold": 1,
        "coded labels replaced by gold": 1, "silver labels replaced by coded": 1,
        "silver labels replaced by gold": 1,
    }  # fmt: skip


def test_the_order_of_the_sets_decides_only_between_equals() -> None:
    other = labels("silver", "ab", [[0, 1], [0, 1]])
    assert mix_labels([(SILVER, 1), (other, 2)]).weights.tolist() == [1.0, 1.0, 1.0]
    first = mix_labels([(other, 2), (SILVER, 1)])
    assert (first.labels.note_ids, first.weights.tolist()) == (tuple("abc"), [2.0, 2.0, 1.0])
    assert first.labels.counts["silver labels replaced by silver"] == 2
    trusted = mix_labels([(CODED, 3), (labels("silver", "d", [[0, 0]]), 1)])
    assert (trusted.labels.provenance, trusted.labels.rule) == ("coded", "3 × coded (r-coded)")


TOPIC = replace(SILVER, task="topic")
MISTAKES = [
    ([], "no labels to mix: give at least one set"),
    ([(SILVER, 1), (CODED, 0.0)], "label set 2: the weight is 0; give a number above 0"),
    ([(SILVER, float("nan"))], "label set 1: the weight is nan; give a number above 0"),
    (
        [(SILVER, 1), (TOPIC, 1)],
        "label set 2 is of task 'topic', the first of 'present': mix one task only",
    ),
    (
        [(SILVER, 1), (labels("gold", "a", [[1, 0]], "AC"), 1)],
        "label set 2 and the first have different symptoms (B, C): label both with the same `symptoms`",
    ),
    (
        [(labels("silver", "aab", [[0, 0]] * 3), 1)],
        "label set 1: note 'a' stands there 2 times; keep one",
    ),
]


@pytest.mark.parametrize(("mixture", "expected"), MISTAKES)
def test_sets_that_do_not_mix(mixture, expected) -> None:
    with pytest.raises(InputError) as caught:
        mix_labels(mixture)
    assert str(caught.value) == expected
