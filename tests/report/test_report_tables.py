from __future__ import annotations

import pytest
from rich.console import Console

from sympress.report.columns import format_difference, format_estimate, format_number, format_ratio, groups
from sympress.report.page import render_report
from sympress.report.sections import drift_table
from sympress.report.verdict import console_table, escape_markdown, explanation, markdown_table, printable
from sympress.results import Drift, Estimate, Period, SymptomRates


def shown(results, width=120):
    console = Console(width=width, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    console.print(console_table(results, width))
    console.file.close()
    return console.export_text()


def line_of(text, name):
    return next(line for line in text.splitlines() if line.strip(" |").startswith(name))


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (Estimate(value=0.9234, low=0.9011, high=0.9444), "0.923 [0.901, 0.944]"),
        (Estimate(value=0.5), "0.500"),
        (Estimate(value=0.5, low=0.4, high=0.6, note="over 4 of 5 symptoms"), "0.500† [0.400, 0.600]"),
        (Estimate(value=None, note="one class"), "undefined"),
        (Estimate(value=float("nan")), "undefined"),
        (Estimate(value=0.0, low=0.0, high=0.0), "0.000 [0.000, 0.000]"),
        (None, "–"),
    ],
)
def test_an_estimate_is_printed_with_its_interval_or_as_undefined(estimate, expected):
    assert format_estimate(estimate) == expected


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (Estimate(value=-0.0121, low=-0.02, high=0.004), "−0.012 [−0.020, +0.004]"),
        (Estimate(value=-0.0001, low=-0.0004, high=0.0), "0.000 [0.000, 0.000]"),
        (Estimate(value=None), "undefined"),
    ],
)
def test_a_difference_carries_its_sign(estimate, expected):
    assert format_difference(estimate) == expected


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [(1234.5, 0, "1,234"), (0.0031, 2, "0.0031"), (0.0, 2, "0.00"), (None, 1, "–"), (float("inf"), 1, "–")],
)
def test_a_small_number_is_not_printed_as_zero(value, digits, expected):
    assert format_number(value, digits) == expected


@pytest.mark.parametrize(
    ("ratio", "expected"), [(0.5, "0.50×"), (0.001, "<0.01×"), (None, "–"), (0.0, "0.00×")]
)
def test_ratio(ratio, expected):
    assert format_ratio(ratio) == expected


def test_the_console_table_fits_120_columns_and_puts_the_references_last(results):
    text = shown(results)
    assert max(map(len, text.splitlines())) <= 120
    assert "…" not in text
    names = [
        "baseline", "distillation", "pruning-masked", "quantization", "rule (reference)", "tfidf (reference)",
    ]  # fmt: skip
    places = [text.index(f" {name} ") if number else text.index(name) for number, name in enumerate(names)]
    assert places == sorted(places)


def test_a_row_of_the_console_table(results):
    cells = line_of(shown(results), "quantization").split("  ")
    assert [cell.strip() for cell in cells if cell.strip()] == [
        "quantization",
        "0.880 [0.860, 0.900]",
        "−0.050 [−0.070, −0.030] *",
        "20.0 (0.25×)",
        "20.00 (0.90×)",
        "1,234",
    ]


def test_the_present_table_has_micro_f1_and_fits(make_run, make_strategy, make_quality):
    quality = make_quality(0.56, micro_f1=Estimate(value=0.61, low=0.6, high=0.62))
    row = make_strategy("pruning-masked", quality=quality, difference=(-0.01, -0.02, -0.001))
    results = make_run(row, task="present")
    assert max(map(len, shown(results).splitlines())) <= 120
    assert line_of(shown(results), "pruning-masked").split()[1:6] == [
        "0.610",
        "[0.600,",
        "0.620]",
        "–",
        "–",
    ]
    assert "F1 micro" in markdown_table(results)
    assert "F1 micro" not in markdown_table(make_run(make_strategy("baseline")))


def test_several_seeds_make_one_row_with_mean_and_range(make_run, make_strategy):
    rows = [make_strategy("baseline", f1, seed=seed) for seed, f1 in enumerate((0.90, 0.92, 0.97))]
    rows += [
        make_strategy("lowrank", 0.8, seed=seed, difference=difference, size=40_000_000)
        for seed, difference in enumerate([(-0.1, -0.2, -0.05), (-0.12, -0.2, -0.05), (-0.17, -0.2, -0.1)])
    ]
    results = make_run(*rows)
    text = markdown_table(results, full=False)
    assert len(text.splitlines()) == 4
    assert "0.930 (0.900 to 0.970)" in text
    assert r"−0.130 \[−0.213, −0.047\] \*" in text
    assert "40.0 (0.50×)" in text
    assert "mean (range) over 3 seeds (0, 1, 2)" in explanation(results)


def test_an_average_over_fewer_symptoms_is_marked_and_explained(
    results, make_run, make_strategy, make_quality
):
    partly = Estimate(value=0.5, low=0.4, high=0.6, note="over 4 of 5 symptoms: undefined for 1")
    row = make_strategy("baseline", quality=make_quality(0.9, f1=partly))
    assert "0.500†" in markdown_table(make_run(row))
    assert "† averaged over the symptoms that are defined" in explanation(make_run(row))
    assert "†" not in explanation(results)


def test_the_mark_asks_all_seeds_together(make_run, make_strategy):
    apart = [(-0.1, -0.2, -0.05), (0.1, 0.05, 0.2)]
    alike = [(-0.1, -0.2, -0.05), (-0.09, -0.2, -0.01)]

    def cell(differences):
        rows = [make_strategy("lowrank", seed=seed, difference=one) for seed, one in enumerate(differences)]
        return line_of(markdown_table(make_run(*rows)), "lowrank").split(" | ")[2]

    assert not cell(apart).endswith("*")
    assert cell(alike).endswith("*")
    assert cell(alike[:1]).endswith("*")


def test_a_seed_without_a_value_is_not_averaged_away(make_run, make_strategy):
    results = make_run(make_strategy("baseline", 0.9), make_strategy("baseline", None, seed=1))
    assert "| baseline | undefined |" in markdown_table(results, full=False)


def test_the_ratio_is_to_the_baseline_of_the_same_seed(make_run, make_strategy):
    rows = [
        make_strategy("baseline", seed=0, p50=10.0),
        make_strategy("baseline", seed=1, p50=20.0),
        make_strategy("lowrank", seed=0, p50=5.0),
        make_strategy("lowrank", seed=1, p50=20.0),
    ]
    assert groups(make_run(*rows))[1].latency_ratio == 0.75


def test_without_a_baseline_there_is_no_ratio(make_run, make_strategy):
    assert "| 80.0 |" in markdown_table(make_run(make_strategy("lowrank")))


def test_the_full_markdown_table_has_every_column_in_every_row(results):
    lines = markdown_table(results).splitlines()
    assert {line.count(" | ") for line in lines} == {16}
    for header in ("accuracy", "AUROC", "MACs M/note", "peak MB", "training s", "p95 ms", "parameters M"):
        assert header in lines[0]
    assert lines[-2].startswith("| rule (reference) | 1.000")


def test_hostile_names_stay_text(make_run, make_strategy):
    name = "<img src=x>|`a`\x1b[31m\n[bold]x[/bold]"
    results = make_run(make_strategy(name))
    text = markdown_table(results)
    assert len(text.splitlines()) == 3
    assert "\x1b" not in text
    assert "<img" not in text.replace("\\<img", "")
    assert "[bold]" in shown(results, width=200)
    assert escape_markdown("a|b & <c>") == r"a\|b &amp; \<c\>"
    assert printable("a\tb") == "a\N{REPLACEMENT CHARACTER}b"


def test_rates_by_year_stand_in_the_data_section_of_notes_split_by_time(make_run):
    run = make_run()
    assert drift_table(run) is None
    drift = Drift(
        periods=[Period(side="train", year=2003, notes=10), Period(side="test", year=2005, notes=10)],
        symptoms=[SymptomRates(symptom="<fever>", rates=[0.5, 0.125])],
    )
    run = run.model_copy(update={"data": run.data.model_copy(update={"drift": drift})})
    assert drift_table(run) == (["Symptom", "2003", "2005, test"], [["<fever>", "50.00", "12.50"]])
    page = render_report(run)
    assert "&lt;fever&gt;</th><td>50.00</td><td>12.50</td>" in page


def test_the_table_of_a_terminal_of_80_columns_breaks_no_word(make_run, make_strategy, make_quality):
    micro = make_quality(0.9, micro_f1=make_quality(0.9).f1)
    costs = {"latency_ratio": 0.05, "smaller": True, "faster": True, "size": 2_000_000, "p50": 1.3}
    rows = [make_strategy("baseline", quality=micro)]
    rows += [
        make_strategy(name, quality=micro, difference=(-0.01, -0.02, 0.002), **costs)
        for name in ("vocabulary-40", "rule-assertion")
    ]
    text = shown(make_run(*rows, task="present"), width=80)
    header = next(line.split() for line in text.splitlines() if "strategy" in line)
    assert header == ["strategy", "F1", "micro", "verdict", "size", "MB", "(×)", "p50", "ms", "(×)"]
    assert line_of(text, "rule-assertion").split()[:4] == ["rule-assertion", "0.900", "too", "few"]
