import json
from pathlib import Path

import pytest

from benchmarks import negex
from benchmarks.negex import CLASSES, judge, locate, main, read_marked, score
from sympress.errors import InputError

PARTS = ("all", "A", "B")
HEADER = "line\tcondition\tsentence\tnegation\ttemporality\texperiencer\n"
ROWS = [
    ("1", "fever", "No FEVER.", "Negated", "Recent", "Patient"),
    ("2", "gout", "History of GOUT.", "Affirmed", "Historical", "Patient"),
    ("3", "rash", "Has a RASH.", "Negated", "Recent", "Patient"),
    ("4", "gone", "Not in here.", "Affirmed", "Recent", "Patient"),
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "own.tsv"
    path.write_text(HEADER + "".join("\t".join(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def test_scores_by_hand() -> None:
    assert score([True, True, False, False], [True, False, True, False]) == {
        "true_positives": 1, "false_positives": 1, "false_negatives": 1,
        "precision": 0.5, "recall": 0.5, "f1": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("predicted", "gold", "f1"), [([], [], 0.0), ([False], [False], 0.0), ([True, True], [True, True], 1.0)]
)
def test_no_sentence_and_one_class(predicted: list[bool], gold: list[bool], f1: float) -> None:
    assert score(predicted, gold)["f1"] == f1


@pytest.mark.parametrize(
    ("condition", "sentence", "span"),
    [
        ("fever", "fever, then FEVER", (12, 17)),
        ("chest pain", "CHEST   PAIN", (0, 12)),
        ("Chest Pain", "some chest pain", (5, 15)),
        ("gone", "nothing", None),
    ],
)
def test_a_condition_is_looked_for_in_capitals_first(
    condition: str, sentence: str, span: tuple[int, int] | None
) -> None:
    assert locate(condition, sentence) == span


def test_a_file_is_scored_by_class_and_half_and_errors_are_line_numbers(data: Path, tmp_path: Path) -> None:
    main([str(data), "-o", str(tmp_path / "result.json")])
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["without a place"] == ["4"]
    assert result["errors"] == {"negated": ["3"], "historical": []}
    negated, historical = result["sympress"]["negated"], result["sympress"]["historical"]
    assert (negated["all"]["precision"], negated["all"]["recall"]) == (1.0, 0.5)
    assert historical["all"]["f1"] == 1.0
    assert negated["A"]["sentences"] + negated["B"]["sentences"] == negated["all"]["sentences"] == 4
    assert "FEVER" not in (tmp_path / "result.json").read_text()


def test_a_mention_may_be_negated_and_historical(data: Path) -> None:
    rows = read_marked(data)[:1]
    judged = judge(rows, [frozenset({"absent", "historical"})])
    assert {name: judged[name]["all"]["true_positives"] for name in CLASSES} == {
        "negated": 1,
        "historical": 0,
    }
    assert judged["historical"]["all"]["false_positives"] == 1


def test_a_row_without_six_columns_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.tsv"
    path.write_text(HEADER + "1\tfever\tNo fever.\n")
    with pytest.raises(InputError) as caught:
        read_marked(path)
    assert str(caught.value) == f"{path}, line 2: 3 columns, not 6; check the file"


def test_an_environment_without_the_peer_is_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no-python: cannot run medspacy \(FileNotFoundError\); install it"):
        negex.peer_contexts(read_marked(data), tmp_path / "no-python")


ROOT = Path(__file__).parents[2]


def test_the_targets_are_met_by_the_result() -> None:
    result = json.loads((ROOT / "results" / "negex.json").read_text())
    ours, theirs = (result[who]["negated"]["all"]["f1"] for who in ("sympress", "medspacy"))
    assert ours >= 0.95
    assert ours > theirs
    assert result["sympress"]["historical"]["all"]["f1"] >= 0.75


def test_the_rules_of_today_are_those_of_the_result(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "negex" / "dev.tsv"
    if not path.is_file():
        pytest.skip("the NegEx sentences are not here: set SYMPRESS_DATA")
    main([str(path), "-o", str(tmp_path / "now.json")])
    now = json.loads((tmp_path / "now.json").read_text())
    stored = json.loads((ROOT / "results" / "negex.json").read_text())
    assert now["sympress"] == stored["sympress"]
