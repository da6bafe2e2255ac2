from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from benchmarks.document_curves import curves_figure, curves_svg
from sympress.errors import InputError
from sympress.report.columns import COLOURS
from sympress.results import Estimate


@pytest.fixture
def row(make_strategy):
    """A row with an F1, megabytes and its latency over that of PyTorch."""

    def build(name, f1=0.9, mb=80.0, ratio=1.0, **changes):
        made = make_strategy(name, f1, size=round(mb * 1e6), p50=20 * (ratio or 1), **changes)
        cost = made.cost.model_copy(update={"latency_ratio_pytorch": ratio})
        return made.model_copy(update={"cost": cost})

    return build


@pytest.fixture
def family(row):
    return [
        row("baseline", 0.9, 80, 1.0),
        row("depth-2", 0.85, 40, 0.25),
        row("depth-1", 0.8, 20, 0.125),
        row("depth-4", 0.88, 60, 0.5),
    ]


def lines(axis, label):
    """The points of the line with a label."""
    return [
        list(zip(*line.get_data(), strict=True)) for line in axis.get_lines() if line.get_label() == label
    ]


def texts(axis):
    return [text.get_text().strip() for text in axis.texts]


def dashed(axis):
    return [line for line in axis.get_lines() if line.get_linestyle() == "--"]


def test_a_family_is_one_line_over_size_and_over_speed(make_run, family):
    size, speed = curves_figure(make_run(*family)).axes
    assert lines(size, "depth") == [[(20, 0.8), (40, 0.85), (60, 0.88)]]
    assert lines(speed, "depth") == [[(2, 0.88), (4, 0.85), (8, 0.8)]]
    assert (size.get_xscale(), size.get_yscale(), speed.get_xscale()) == ("log", "linear", "log")
    assert [line.get_color() for line in size.get_lines() if line.get_label() == "depth"] == [COLOURS[0]]
    assert {"1", "2", "4"} <= set(texts(size))


def test_rows_by_themselves_are_named_at_their_marks(make_run, family, row):
    alone = [row("svd-60", 0.7, 50, 0.6), row("removed", 0.86, 15, 0.2)]
    for axis in curves_figure(make_run(*family, *alone)).axes:
        assert texts(axis).count("svd-60") == texts(axis).count("removed") == 1


def test_baseline_and_references_are_dashed_lines_with_their_f1(make_run, family, row):
    run = make_run(*family, row("tfidf", 0.82, 5, 0.01), row("rule", 0.7, 0.003, 0.001))
    for axis in curves_figure(run).axes:
        assert [line.get_ydata()[0] for line in dashed(axis)] == [0.9, 0.82, 0.7]
        assert {"baseline 0.900", "tfidf 0.820", "rule 0.700"} <= set(texts(axis))


def test_present_is_judged_by_micro_f1(make_run, row, make_quality):
    quality = make_quality(0.5, micro_f1=Estimate(value=0.8, low=0.79, high=0.81))
    axis = curves_figure(make_run(row("baseline", quality=quality), task="present")).axes[0]
    assert "baseline 0.800" in texts(axis)
    assert axis.get_ylabel() == "micro F1 on the test notes"


def test_bars_are_the_interval_of_one_seed_and_the_range_of_several(make_run, row):
    one = curves_figure(make_run(row("baseline", 0.9), row("depth-2", 0.8, 40)))
    assert "bars are the 95 % bootstrap interval (seed 0)" in one.get_suptitle()
    assert [0.78, 0.82] in [list(line.get_ydata()) for line in one.axes[0].get_lines()]
    rows = [row("depth-2", f1, 40, seed=seed) for seed, f1 in enumerate((0.78, 0.81, 0.84))]
    several = curves_figure(make_run(*(row("baseline", 0.9, seed=seed) for seed in range(3)), *rows))
    assert "bars are the range over 3 seeds (0, 1, 2), marks their mean" in several.get_suptitle()
    assert [0.78, 0.84] in [list(line.get_ydata()) for line in several.axes[0].get_lines()]


def test_milliseconds_stand_in_for_all_rows_where_one_was_not_timed_against_pytorch(make_run, family, row):
    assert curves_figure(make_run(*family)).axes[1].get_xlabel().startswith("times as fast")
    axis = curves_figure(make_run(*family, row("svd-60", ratio=None))).axes[1]
    assert axis.get_xlabel() == "ms a note at batch 1, median (left is faster) (log)"


def test_what_cannot_be_placed_is_named_below(make_run, family, row):
    assert curves_figure(make_run(*family)).get_supxlabel() == ""
    figure = curves_figure(make_run(*family, row("broken", None), row("empty", mb=0)))
    assert figure.get_supxlabel() == "not drawn, without an F1 or a cost: broken, empty"


def test_nothing_to_draw_is_one_clear_line(make_run, row):
    with pytest.raises(InputError, match="no row has an F1, a size and a latency: there is nothing to draw"):
        curves_svg(make_run(row("baseline", None)))


def test_the_image_stands_by_itself_and_is_the_same_every_time(make_run, family, row):
    run = make_run(*family, row('<script>&"$x$\u202e-\x1b'))
    svg = curves_svg(run)
    assert svg == curves_svg(run.model_copy(deep=True))
    assert not re.search(r'href="(?!#)|@import|<script|\u202e|<dc:date', svg)
    assert ET.fromstring(svg).tag.endswith("svg")
