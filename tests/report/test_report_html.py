from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from sympress.errors import InputError, MissingExtraError, SympressError
from sympress.report.page import Example, render_page, render_report, write_report
from sympress.report.paper import epochs_beside, points_of, published_beside
from sympress.report.sections import PrecisionRecall, command_of, flatten, parts_of, table_of
from sympress.report.sections import tests_of as paired_tests
from sympress.results import (
    CalibrationQuality,
    Estimate,
    GroupGap,
    GroupQuality,
    ReliabilityBin,
    SymptomQuality,
    YardstickCost,
)

VOID = {"meta", "line", "circle", "br", "img", "link", "input", "hr", "path"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(re.sub(r"<script.*?</script>|<style.*?</style>", "", source, flags=re.DOTALL))
        assert source.count("<script") == source.count("</script>")

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_is_well_formed_and_needs_nothing_from_outside(results):
    source = render_report(results)
    page = Page(source)
    assert page.open == []
    assert not {"script", "link", "iframe", "img", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name in {"src", "onclick", "onload"}]
    assert all((value or "").startswith("#") for name, value in page.attributes if name == "href")
    assert "default-src 'none'" in source
    outside = re.sub(r"<script.*?</script>", "", source, flags=re.DOTALL)
    assert not re.search(r"url\(|@import|https?://", outside)


def test_the_page_says_what_the_run_measured(results):
    text = Page(render_report(results)).text
    for expected in (
        "The lexicon rule beats every trained model here",
        "pruning-masked gains nothing in cost",
        "−0.050 * [−0.070, −0.030]",
        "20.0 (0.25×)",
        "rule (reference)",
        "fever, auroc: no test note carries the symptom",
        "near-duplicates found",
        "patients on both sides",
        "sympress demo",
        "versions.torch",
        "Not validated for clinical use",
    ):
        assert expected in text, expected


def test_the_headline_says_what_to_take(results):
    headline = re.search(r"<h1>(.*?)</h1>", render_report(results), re.DOTALL)
    assert headline is not None
    assert headline[1] == "The lexicon rule beats every trained model: F1 1.000 against 0.930."


def test_hostile_names_and_warnings_are_text(results, make_run, make_strategy, make_quality):
    attack = '<script>alert(1)</script>"><img src=x onerror=1>\u202eabc'
    row = results.strategies[1].quality.per_symptom[0]
    quality = make_quality(0.5, per_symptom=[SymptomQuality(**(dict(row) | {"symptom": attack}))])
    hostile = make_run(
        make_strategy("baseline", quality=quality, notes=[attack], recipe=attack),
        make_strategy(attack, size=1_000_000),
        data=results.data.model_copy(update={"name": attack, "labels": attack, "reading": {attack: 1}}),
        warnings=[attack],
        config={"command": attack},
        environment={attack: attack},
    )
    source = render_report(hostile)
    page = Page(source)
    assert not {"script", "img"} & set(page.tags)
    assert page.text.count("<script>alert(1)") >= 8
    assert "\u202e" not in source
    assert "alert(1)</script>" not in source
    assert page.open == []


def test_the_published_table_stands_beside_ours_under_the_paper_protocol_only(results, make_run):
    lines = {line["method"]: line for line in published_beside(results)}
    assert lines["quantization"]["published"] == ["0.9126", "0.9189", "0.9135", "0.9152", "0.9872"]
    assert lines["quantization"]["ours"] == [("quantization", ["0.8800"] * 5)]
    assert lines["low rank"]["ours"] == []
    assert "published numbers" in render_report(results)
    assert "published numbers" not in render_report(results.model_copy(update={"protocol": "clinical"}))


def test_the_literal_variant_stands_under_the_published_row(make_run, make_strategy):
    rows = [make_strategy("lowrank", 0.9), make_strategy("lowrank-published", 0.91)]
    line = next(line for line in published_beside(make_run(*rows)) if line["method"] == "low rank")
    assert [name for name, _ in line["ours"]] == ["lowrank", "lowrank-published"]


def test_epochs_stand_beside_the_published_ones(results):
    lines = epochs_beside(results)
    assert [(line["method"], line["epoch"]) for line in lines] == [("baseline", "1"), ("baseline", "2")]
    assert lines[0]["published"] == ["0.9149", "0.9180", "0.9160", "0.9165", "0.9875"]
    assert lines[0]["ours"] == [("baseline", ["0.6000"] * 5)]


def test_the_points_say_what_this_run_shows(results, make_run, make_strategy):
    points = [shown for _, shown in points_of(results)]
    assert len(points) == 15
    assert points[0].startswith("The rule scores F1 1.000, the best trained model 0.930.")
    assert points[1] == "Not counted in this run."
    assert "of 1,234 test notes 13 have a note of the same patient and 3 a copy" in points[3]
    assert points[4] == "distillation: 0.50× the bytes, 0.50× the latency, F1 0.920."
    assert points[5] == "This run has no row lowrank-published or lowrank."
    assert points[6].startswith("25.0% of the weights of pruning-masked are zeros.")
    assert "accuracy of the baseline 0.930 [0.910, 0.950]. 1 of 3" in points[9]
    counted = {
        "labelled by a negated mention": 21,
        "labelled by a mention of family, history, possibility or hypothesis": 5,
    }
    data = results.data.model_copy(update={"labelling": counted})
    rows = [make_strategy("baseline"), make_strategy("lowrank-published", parameters=20_000_165)]
    points = [shown for _, shown in points_of(make_run(*rows, data=data))]
    assert points[1].startswith("21 of 2,134 labels come from a negated mention, 5 from one of family")
    assert points[5].startswith(
        "The model with the factorized classifier has 165 more parameters than the baseline."
    )
    coded = results.data.model_copy(update={"labels": "coded: by people"})
    points = [shown for _, shown in points_of(make_run(*rows, data=coded))]
    assert points[1] == "The labels of this run come from people, not from a rule."
    assert points[2] == f"{points[1]} Fingerprint of the data: abc123."


def test_several_runs_share_a_table_and_say_whether_they_may_be_compared(results):
    other = results.model_copy(update={"data": results.data.model_copy(update={"fingerprint": "zzz"})})
    same, different = (render_page([("one", results), ("two", run)]) for run in (results, other))
    assert "their rows may be compared" in same
    assert "compare quality only within one of them" in different
    assert Page(same).text.count("two") > len(results.strategies)
    with pytest.raises(InputError, match="runs of the tasks present and topic: give runs of one task"):
        render_page([("one", results), ("two", results.model_copy(update={"task": "present"}))])


def test_a_run_without_calibration_says_so(results):
    text = Page(render_report(results)).text
    assert "This run has no calibration" in text
    assert "This run has no numbers by group of notes" in text


def test_calibration_tests_and_groups_are_shown(make_run, make_strategy, make_quality):
    one = Estimate(value=0.0375, low=0.03, high=0.05)
    calibration = CalibrationQuality(
        ece=one, ece_width=one, brier=Estimate(value=0.1234), ece_before=Estimate(value=0.2222),
        bins=[ReliabilityBin(low=0, high=1, answers=9, predicted=0.4, observed=Estimate(value=0.5))],
    )  # fmt: skip
    group = GroupQuality(by="sex", group="F", notes=77, positives=9, f1=Estimate(value=0.8125))
    gap = GroupGap(by="sex", best="F", worst="M", difference=Estimate(value=0.0625))
    quality = make_quality(0.9, calibration=calibration, groups=[group], gaps=[gap])
    row = make_strategy("safe", difference=(-0.01, -0.02, -0.001), smaller=True)
    versus = row.versus_baseline.model_copy(update={"p_mcnemar": 0.0004})
    run = make_run(
        make_strategy("baseline", quality=quality), row.model_copy(update={"versus_baseline": versus})
    )
    source = render_report(run)
    text = Page(source).text
    for expected in (
        "0.037 [0.030, 0.050]",
        "0.123",
        "0.222",
        "sex: F",
        "0.812",
        "+0.062",
        "<0.001",
        "All seeds together",
        "p of a loss of the margin",
    ):
        assert expected in text, expected
    assert 'id="run0-calibration"' in source


def test_examples_are_shown_only_when_asked_and_the_page_says_so(results):
    assert "The page holds no text of a note." in render_report(results)
    example = Example("n1", "safe", "denies <b>fever</b>", ("fever",), ("fever",), ())
    source = render_report(results, [example])
    assert "denies &lt;b&gt;fever&lt;/b&gt;" in source
    assert "This page holds text of notes" in source
    assert "<dt>missed</dt><dd>fever</dd>" in source
    assert "wrongly found" not in source
    assert "The page holds no text of a note." not in source


def test_three_figures_stand_below_the_headline(make_run, make_strategy):
    small = make_strategy("small", difference=(0.0, -0.001, 0.001), size=8_000_000, p50=2.5, smaller=True)
    source = render_report(make_run(make_strategy("baseline"), small))
    figures = re.search(r'<dl class="figures">(.*?)</dl>', source, re.DOTALL)[1]
    assert re.findall(r"<dt>(.*?)</dt><dd><b>(.*?)</b><span>(.*?)</span>", figures) == [
        ("size of small", "8.0\u00a0MB", "0.10× the baseline’s 80.0\u00a0MB"),
        ("time per note", "2.50\u00a0ms", "0.25× the baseline’s 10.00\u00a0ms"),
        ("change of macro F1", "0.000", "95 % interval [−0.001, +0.001]"),
    ]
    alone = render_report(make_run(make_strategy("baseline", 0.9)))
    assert "<dt>macro F1</dt><dd><b>0.900</b><span>95 % interval [0.880, 0.920]</span></dd>" in alone


def test_every_figure_has_a_caption_of_one_sentence(results):
    source = render_report(results, curves=[PrecisionRecall("baseline", (0.1, 0.9), (1.0, 0.8), (0.7, 0.9))])
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", source)
    assert len(captions) == 4
    assert [one for one in captions if re.search(r"[.:?] ", one)] == []


def test_precision_recall_and_thresholds_are_shown_where_the_run_has_them(results, make_run, make_strategy):
    curve = PrecisionRecall("baseline", (0.1, 0.9), (1.0, 0.8), (0.7, 0.9))
    source = render_report(results, curves=[curve])
    assert 'id="run0-precision-recall"' in source
    assert "run0-precision-recall" not in render_report(results)
    cells = "<td>40</td><td>0.250</td><td>0.900 <small>[0.880, 0.920]</small></td>"
    assert f'<th scope="row" class="text">fever</th>{cells}' in source
    quality = results.strategies[1].quality.model_copy(update={"per_symptom": []})
    assert "no thresholds" in render_report(make_run(make_strategy("baseline", quality=quality)))


def test_seeds_are_folded_below_their_strategy(make_run, make_strategy):
    rows = [make_strategy(name, seed=seed) for seed in (0, 1) for name in ("baseline", "small")]
    source = render_report(make_run(*rows))
    assert re.findall(r"<summary>((?:baseline|small).*?)</summary>", source) == [
        "baseline", "baseline · seed 0", "baseline · seed 1", "small", "small · seed 0", "small · seed 1",
    ]  # fmt: skip


def test_an_empty_run_still_has_a_page(make_run):
    assert "no baseline" in render_report(make_run())


def test_the_same_results_give_the_same_page_and_the_file_is_whole(results, tmp_path):
    path = write_report(results, tmp_path)
    assert path == tmp_path / "report.html"
    first = path.read_text(encoding="utf-8")
    write_report(results, tmp_path)
    assert path.read_text(encoding="utf-8") == first
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_that_cannot_be_written_is_one_clear_line(results, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SympressError, match="cannot be written"):
        write_report(results, tmp_path / "file")


def test_a_missing_jinja2_names_the_install_command(results, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(
        MissingExtraError, match=r"jinja2 is not installed: run  pip install 'sympress\[report\]'"
    ):
        render_report(results)


def test_the_command_is_a_line_of_shell(make_run):
    assert command_of(make_run(config={"command": ["sympress", "study", "-o", "my run"]})) == (
        "sympress study -o 'my run'"
    )
    assert command_of(make_run(config={})) is None
    assert flatten({"a": {"b": 1}, "c": None}) == [("a.b", "1"), ("c", "–")]


def test_runs_with_other_columns_share_one_table(results, make_run, make_strategy):
    yardsticks = {"pytorch-fp32": YardstickCost(size_bytes=1, latency_ms_p50=2, latency_ms_p95=3)}
    timed = make_run(make_strategy("baseline"), yardsticks=yardsticks)
    table = table_of([("one", results), ("two", timed)])
    assert ("× PyTorch", False) in table["headers"]
    assert ("AUROC", True) in table["headers"]
    assert {len(row["cells"]) for row in table["rows"]} == {len(table["headers"])}


def test_tests_stand_by_strategy_without_the_columns_that_no_row_fills(make_run, make_strategy):
    rows = [
        make_strategy(name, seed=seed, difference=(-0.01, -0.02, 0.01)) for seed in (0, 1) for name in "ab"
    ]
    found = paired_tests(make_run(*rows))
    assert found["headers"] == ["row", "Δ F1 macro", "p, macro"]
    assert [row[0] for row in found["rows"]] == ["a · seed 0", "a · seed 1", "b · seed 0", "b · seed 1"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("0.661 (0.657 to 0.666)†", ("0.661", "†", "(0.657 to 0.666)")),
        ("−0.050 [−0.070, −0.030] *", ("−0.050", " *", "[−0.070, −0.030]")),
        ("0.0032 (<0.01×)", ("0.0032", "", "(<0.01×)")),
        ("99.6%", ("99.6%", "", "")),
        ("rule (reference)", ("rule (reference)", "", "")),
    ],
)
def test_a_cell_is_a_value_a_mark_and_brackets(text, parts):
    assert parts_of(text) == parts
