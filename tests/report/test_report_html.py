from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from sympress.errors import MissingExtraError, SympressError
from sympress.report.columns import groups
from sympress.report.html import command_of, flatten, published_beside, render_report, write_report
from sympress.report.scatter import LABEL_HEIGHT, scatter
from sympress.results import SymptomQuality

VOID = {"meta", "line", "circle", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(source)

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
    assert not {"script", "link", "iframe", "img"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name in {"src", "href", "onclick", "onload"}]
    assert not re.search(r"url\(|@import|https?://", source)


def test_the_page_says_what_the_run_measured(results):
    text = Page(render_report(results)).text
    for expected in (
        "The lexicon rule beats every trained model here",
        "pruning-masked gains nothing in cost",
        "−0.050 [−0.070, −0.030] *",
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


def test_the_headline_is_the_first_sentence_of_the_verdict(results):
    headline = re.search(r"<h1>(.*?)</h1>", render_report(results), re.DOTALL)
    assert headline is not None
    assert headline[1].startswith("The lexicon rule beats")


def test_hostile_names_and_warnings_are_text(results, make_run, make_strategy, make_quality):
    attack = '<script>alert(1)</script>"><img src=x onerror=1>'
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
        MissingExtraError, match=r"jinja2 is not installed: run  pip install 'sympress\[train\]'"
    ):
        render_report(results)


@pytest.mark.parametrize("others", [0.9, 0.1])
def test_labels_of_the_picture_never_collide_and_marks_lie_inside(others, make_run, make_strategy):
    rows = [make_strategy(f"s{number}", others, size=80_000_000 + number) for number in range(9)]
    rows.append(make_strategy("best", 0.95))
    drawn = scatter(groups(make_run(*rows)))
    assert drawn is not None
    heights = sorted(point.label_y for point in drawn.points)
    assert min(b - a for a, b in pairwise(heights)) >= LABEL_HEIGHT
    assert drawn.top <= heights[0]
    assert heights[-1] <= drawn.bottom
    for point in drawn.points:
        assert drawn.left <= point.x <= drawn.right
        assert drawn.top - 1e-6 <= point.y_high <= point.y <= point.y_low <= drawn.bottom + 1e-6


def test_a_better_and_smaller_strategy_stands_higher_and_further_left(make_run, make_strategy):
    drawn = scatter(
        groups(make_run(make_strategy("a", 0.9, size=10**6), make_strategy("b", 0.8, size=10**8)))
    )
    assert drawn is not None
    by_name = {point.label: point for point in drawn.points}
    assert by_name["a"].x < by_name["b"].x
    assert by_name["a"].y < by_name["b"].y


def test_one_strategy_or_an_undefined_f1_makes_no_picture(make_run, make_strategy):
    assert scatter(groups(make_run(make_strategy("a")))) is None
    assert scatter(groups(make_run(make_strategy("a", None), make_strategy("b")))) is None


def test_the_command_is_a_line_of_shell(make_run):
    assert command_of(make_run(config={"command": ["sympress", "study", "-o", "my run"]})) == (
        "sympress study -o 'my run'"
    )
    assert command_of(make_run(config={})) is None
    assert flatten({"a": {"b": 1}, "c": None}) == [("a.b", "1"), ("c", "–")]
