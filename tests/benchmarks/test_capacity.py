"""The plan of a corpus: hand-computed."""

from __future__ import annotations

import pytest

from benchmarks.capacity import main, plan_corpus
from sympress.errors import InputError


def test_hours_and_cost_of_a_hand_computed_case():
    plan = plan_corpus(3_600_000, 10, 100, efficiency=0.5, price=0.2)
    assert plan.core_hours == pytest.approx(10)
    assert plan.hours == pytest.approx(2)
    assert plan.cost == pytest.approx(4)
    assert plan_corpus(3_600, 1, 1).cost is None


def test_the_table_has_a_line_for_each_corpus_and_number_of_cores(capsys: pytest.CaptureFixture[str]):
    main(["--rate", "500", "--cores", "2", "8"])
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| 2,000,000 | 2 | 1.11 | 0.56 | – |",
        "| 2,000,000 | 8 | 1.11 | 0.14 | – |",
        "| 1,000,000,000 | 2 | 555.56 | 277.78 | – |",
        "| 1,000,000,000 | 8 | 555.56 | 69.44 | – |",
    ]


@pytest.mark.parametrize("efficiency", [0, 1.1])
def test_impossible_numbers_are_refused(efficiency: float):
    with pytest.raises(InputError, match="efficiency at most 1"):
        plan_corpus(1, 1, 1, efficiency=efficiency)
