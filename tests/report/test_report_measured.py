"""Tables of single measurements: every number stands where it belongs."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.document_tables import (
    MEASURED_TABLES,
    cuts_table,
    extract_table,
    first_line,
    forms_table,
    negex_table,
    pair_table,
    search_table,
    serve_table,
    source_table,
    spans_table,
    throughput_table,
    tuned_table,
    within_table,
    years_table,
)

SETTINGS = {"folds": 5, "tagger": {"seed": 3}}
WHERE = {"processor": "A_CPU", "cores": 2, "notes": "synthetic"}


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "note": None}


def spans(exact: float) -> dict[str, Any]:
    return {
        "notes": 30,
        "gold": 563,
        "exact": {"f1": estimate(exact, exact - 0.1, exact + 0.1)},
        "overlapping": {"f1": estimate(0.7)},
        "assertions": [{"assertion": "absent", "given_span": {"f1": estimate(0.8, 0.7, 0.9)}}],
    }


def test_spans_have_a_line_a_row_and_say_how_many_folds_were_run() -> None:
    row = {"recipe": "fine-tune", "size_bytes": 90_000_000, "spans": spans(0.6), "minus_tagger": None}
    pressed = row | {"size_bytes": None, "spans": spans(0.5), "minus_tagger": estimate(-0.1, -0.2, 0.05)}
    lines = spans_table({**SETTINGS, "folds_run": 1, "rows": {"tagger": row, "small": pressed}})
    assert lines[2] == (r"| tagger | 90.0 | 0.600 \[0.500, 0.700\] | 0.700 | 0.800 \[0.700, 0.900\] | – |")
    assert lines[3].endswith(r"| −0.100 \[−0.200, +0.050\] |")
    assert "1 of 5 folds by document, seed 3," in lines[-1]
    assert "5 folds by document" in spans_table({**SETTINGS, "folds_run": 5, "rows": {"tagger": row}})[-1]
    folds = [{"fold": n, "exact_f1": 0.6 + n / 100, "overlapping_f1": 0.7 + n / 100} for n in range(2)]
    (*_, told) = spans_table({**SETTINGS, "folds_run": 2, "rows": {"tagger": {**row, "by_fold": folds}}})
    assert told.endswith("by fold, exact and then overlapping: 0.600, 0.610; 0.700, 0.710.")


def test_years_sources_and_forms() -> None:
    both = {"micro_f1": estimate(0.7, 0.6, 0.8), "macro_f1": estimate(0.5)}
    found = {"notes": 1200, "symptoms": 9, "models": {"baseline": both, "tfidf": both}}
    years = years_table({"years": {"train": 4000, "by_year": {"2004": found}}})
    assert years[0] == "| test year | reports | MiniLM, fine-tuned | TF-IDF with logistic regression |"
    assert years[2] == r"| 2004 | 1,200 | 0.700 \[0.600, 0.800\] | 0.700 \[0.600, 0.800\] |"
    source = source_table({"source": {"train": 4000, "same_source": found, "elsewhere": found}})
    assert source[3].startswith("| TF-IDF with logistic regression | 0.700")
    rates = {"recall_unseen": estimate(0.25), "recall_seen": estimate(0.9), "false_alarms": estimate(None)}
    forms = {"forms_held_out": 40, "removed": 700, "train": 3300, "answers_recall_unseen": 88}
    lines = forms_table({"forms": forms | {"models": {"rule": rates}}})
    assert lines[2] == "| the rule, without the held-out forms | 0.250 | 0.900 | – |"
    assert "88 answers" in lines[-1]


def test_negex_and_the_peer_that_may_be_missing() -> None:
    kinds = {"negated": {"all": {"f1": 0.98}, "A": {"f1": 0.99}}, "historical": {"all": {"f1": 0.77}}}
    whole = {"command": "c", "data": {"sentences": 1166}, "sympress": kinds}
    assert negex_table(whole | {"medspacy": "not compared"})[2:3] == ["| sympress | 0.980 (0.990) | 0.770 |"]
    assert negex_table(whole | {"medspacy": kinds})[3].startswith("| medspaCy")


def test_cuts_show_both_ways_and_what_the_second_gains() -> None:
    alone, expected = {"micro": 0.7325, "macro": 0.6819}, {"micro": 0.7351, "macro": 0.6815}
    row = {"labels alone": alone, "labels and what the model expects": expected}
    row |= {"gain": {"micro": 0.0026, "macro": -0.0004}, "gain_deviation": {"micro": 0.001, "macro": 0.002}}
    lines = cuts_table({"notes": 2000, "parts": 5, "repeats": 10, "rows": {"micro-seed0": row}})
    shown = "+0.0026 ± 0.0010, −0.0004 ± 0.0020"
    assert lines[2] == f"| micro-seed0 | 0.733 | 0.735 | 0.682 | 0.681 | {shown} |"


def test_throughput_serve_and_extract() -> None:
    rows = {"pipeline": {"windows_per_second": 16.84, "times_as_fast": 1.0}}
    lines = throughput_table({"rows": rows, "cores": 2, "windows": 1500, "environment": WHERE})
    assert lines[2] == "| pipeline | 16.8 | 1.0× |"
    assert r"A\_CPU" in lines[-1]
    seen = {
        "offered_per_second": 71.7, "answered_per_second": 70.6, "statuses": {"200": 5, "429": 1269},
        "server_errors": 0, "p50_ms": 12.5, "p99_ms": 33.9, "rss_mb": {"last": 126.1},
    }  # fmt: skip
    served = serve_table(
        {
            "notes": "of a kind",
            "closed_loop": seen | {"offered_per_second": None},
            "stated": seen,
            "three_times": seen,
            "recovered": seen,
            "slow_connections": {"connections": 500, "clients": seen},
            "huge_bodies": {"bytes": 10**9, "statuses": [413, 413], "rss_grew_mb": 4.0},
            "stop": {"accepted_but_unanswered": 0, "exit_code": 0},
            "environment": WHERE,
        }
    )
    assert served[4] == "| three times the rate | 71.7 | 70.6 | 1,269 | 0 | 12 | 34 | 126 |"
    assert "413, 413" in served[-1]
    job = {"notes": 2000, "workers": 1, "seconds": 8.2, "notes_per_second": 243.9, "peak_rss_bytes": 150e6}
    first = {"first_result_ms_median": 611, "first_result_ms_most": 839, "times": 10}
    kill = {"notes": 50_000, "kills": 10, "same_bytes": True}
    lines = extract_table(
        {"model": "pocket", "memory": [job], "first": first, "kill": kill, "environment": WHERE}
    )
    assert lines[2] == "| 2,000 notes | 1 | 8 | 244 | 150 |"
    assert "611 ms" in lines[-1]
    assert "left the same bytes" in lines[-1]


@pytest.mark.parametrize("kind", MEASURED_TABLES)
def test_what_is_damaged_is_no_table(kind: str) -> None:
    with pytest.raises((KeyError, TypeError, StopIteration)):
        MEASURED_TABLES[kind]({})


def test_a_pair_of_artifacts_and_a_first_line() -> None:
    difference = {"value": 0.157, "low": 0.12, "high": 0.192, "note": None}
    none = {"value": None, "low": None, "high": None, "note": "undefined"}
    row = {"name": "a → b", "notes": 320, "micro_f1_a": 0.4507, "micro_f1_b": 0.6073}
    lines = pair_table({"rows": [row | {"micro_difference": difference, "macro_difference": none}]})
    assert lines[2] == "| a → b | 320 | 0.451 | 0.607 | +0.157 \\[+0.120, +0.192\\] | – |"
    first = {"first_result_ms_median": 814, "first_result_ms_most": 882, "whole_command_ms_median": 971}
    [said] = first_line({"model": "box", "first": first | {"times": 10}, "environment": WHERE})
    assert "814 ms from the start of the command to the first result (median of 10, at most 882)" in said


def test_a_run_by_itself_is_a_line_a_recipe_over_its_seeds() -> None:
    loss = {"value": -0.01, "low": -0.02, "high": 0.001, "note": None}
    found = {"notes": 15423, "micro_difference": loss, "macro_difference": loss | {"value": 0.01}}
    rows = [
        found | {"name": name, "seed": seed, "micro_f1_a": 0.5, "micro_f1_b": f1 + seed / 10}
        for seed in (0, 1)
        for name, f1 in (("pocket", 0.4), ("safe", 0.5))
    ]
    lines = within_table({"rows": rows})
    losses = " | ".join(
        f"{value} \\[−0.020, +0.001\\]; {value} \\[−0.020, +0.001\\]" for value in ("−0.010", "+0.010")
    )
    assert lines[2:4] == [
        f"| pocket | 90.0% (80.0% to 100.0%) | 0.500 | 0.450 | {losses} |",
        f"| safe | 110.0% (100.0% to 120.0%) | 0.500 | 0.550 | {losses} |",
    ]
    assert lines[-1].startswith("15,423 test notes; mean (range) over seeds;")


def test_a_search_shows_its_pareto_set_by_size_and_how_the_others_ended() -> None:
    def tried(number: int, verdict: str, size: float, drop: float) -> dict[str, Any]:
        measured = {
            "size_mb": size,
            "latency_ratio": 0.05,
            "int8_latency_ratio": 0.2,
            "f1_drop": drop,
            "f1": 0.7 - drop,
        }
        return {"number": number, "recipe": f"vocab({number})", "verdict": verdict, "measured": measured}

    trials = [
        tried(0, "finished", 5.0, -0.002),
        tried(1, "finished", 2.0, 0.01),
        {"number": 2, "recipe": "vocab(2)", "verdict": "too large", "measured": {"size_mb": 20.0}},
    ]
    found = {"budget": "size_mb<=6", "meets": True, "chosen": 0, "front": [0, 1], "tried": trials}
    lines = search_table(found)
    assert lines[2] == "| `vocab(1)` | 2.0 | 20.0 | 5.0 | +0.010 | 0.690 |"
    assert lines[3] == "| `vocab(0)` **chosen** | 5.0 | 20.0 | 5.0 | −0.002 | 0.702 |"
    assert lines[-1].startswith("Budget `size_mb<=6`: met. Trials: 2 finished, 1 too large.")
    assert "not met; the chosen recipe comes nearest" in search_table({**found, "meets": False})[-1]


def test_a_tuning_shows_every_trial_in_order_and_marks_the_best() -> None:
    trials = [
        {"number": 0, "state": "finished", "settings": {"learning_rate": 2e-4}, "value": 0.6},
        {"number": 1, "state": "ended early", "settings": {"learning_rate": 1.234e-3}, "value": None},
        {"number": 2, "state": "finished", "settings": {"learning_rate": 3e-4}, "value": 0.61},
    ]
    lines = tuned_table(
        {
            "strategy": "baseline",
            "seed": 0,
            "score": "mean_average_precision",
            "data": {"train": 3082, "validation": 320},
            "trials": trials,
            "best": trials[2],
        }
    )
    assert lines[0] == "| trial | `learning_rate` | ended | validation mean average precision |"
    assert lines[2:5] == [
        "| 0 | 0.0002 | finished | 0.600 |",
        "| 1 | 0.00123 | ended early | – |",
        "| 2 | 0.0003 | finished | **0.610** |",
    ]
    assert "`baseline`, 3,082 training and 320 validation notes, seed 0" in lines[-1]
