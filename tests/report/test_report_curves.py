from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from sympress.errors import InputError
from sympress.report.curves import BOTTOM, COLOURS, EDGES, TOP, curves_svg
from sympress.results import Estimate

SVG = "{http://www.w3.org/2000/svg}"


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


def drawn(results):
    return ET.fromstring(curves_svg(results))


def texts(image):
    return [element.text for element in image.iter(f"{SVG}text")]


def marks(image):
    """Name of the row -> its marks `(x, y, colour)`, the left panel's first."""
    found = {}
    for path in image.iter(f"{SVG}path"):
        title = path.find(f"{SVG}title")
        if title is not None:
            x, y = map(float, re.findall(r"[\d.]+", path.get("transform")))
            found.setdefault(title.text.partition(":")[0], []).append((x, y, path.get("stroke")))
    return found


def lines(image, colour):
    return [
        path.get("d")
        for path in image.iter(f"{SVG}path")
        if path.get("stroke") == colour and "L" in path.get("d")
    ]


def test_both_axes_are_logarithmic_and_f1_is_linear(make_run, family):
    found = marks(drawn(make_run(*family)))
    for panel, (left, right) in enumerate(EDGES):
        x = [found[name][panel][0] for name in ("depth-1", "depth-2", "baseline")]
        assert all(left < value < right for value in x)
        # 20, 40, 80 MB, and 8, 4, 1 times as fast
        share = (x[1] - x[0]) / (x[2] - x[0])
        assert share == pytest.approx((1 / 2, 1 / 3)[panel], abs=0.002)
        y = [found[name][panel][1] for name in ("depth-1", "depth-2", "baseline")]
        assert y[0] - y[1] == pytest.approx(y[1] - y[2], abs=0.2)
        assert y[0] > y[2]
    assert found["depth-1"][0][0] < found["baseline"][0][0], "small is left"
    assert found["depth-1"][1][0] > found["baseline"][1][0], "fast is right"


def test_a_family_is_joined_in_the_order_of_its_strengths(make_run, family):
    image = drawn(make_run(*family))
    found = marks(image)
    for panel in (0, 1):
        ends = [found[f"depth-{layers}"][panel][:2] for layers in (1, 2, 4)]
        for (x0, y0), (x1, y1) in pairwise(ends):
            assert f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" in lines(image, COLOURS[0])
    assert len(lines(image, COLOURS[0])) == 2 * 2
    assert "depth 1, 2, 4" in texts(image)
    assert {found[f"depth-{layers}"][0][2] for layers in (1, 2, 4)} == {COLOURS[0]}


def test_rows_by_themselves_are_named_at_their_marks_and_not_joined(make_run, family, row):
    alone = [row("svd-60", 0.7, 50, 0.6), row("bits-8-static", 0.89, 21, 0.4), row("removed", 0.86, 15, 0.2)]
    image = drawn(make_run(*family, *alone))
    for name in ("svd-60", "bits-8-static", "removed"):
        assert texts(image).count(name) == 2, "once a panel"
        assert marks(image)[name][0][2] == "#333"
    assert (
        len([path for path in image.iter(f"{SVG}path") if "L" in path.get("d") and "z" not in path.get("d")])
        == 4
    )


def test_families_differ_in_colour_and_marker(make_run, row):
    rows = [row(f"f{family}-{n}", 0.9, 10 * n) for family in range(42) for n in (1, 2)]
    image = drawn(make_run(row("baseline"), *rows))
    shapes = {
        (path.get("stroke"), path.get("d"))
        for path in image.iter(f"{SVG}path")
        if path.find(f"{SVG}title") is not None
    }
    assert len(shapes) == 42 + 1


def test_baseline_and_references_are_dashed_lines_with_their_f1(make_run, family, row):
    image = drawn(make_run(*family, row("tfidf", 0.82, 5, 0.01), row("rule", 0.7, 0.003, 0.001)))
    dashed = [path for path in image.iter(f"{SVG}path") if path.get("stroke-dasharray")]
    assert len(dashed) == 2 * 3
    assert {"baseline 0.900", "tfidf 0.820", "rule 0.700"} <= set(texts(image))
    assert not {"tfidf", "rule"} & set(marks(image)), "a lookup is no point on the axes of the models"
    assert float(dashed[0].get("d").split()[1].partition("H")[0]) == marks(image)["baseline"][0][1]


def test_present_is_judged_by_micro_f1(make_run, row, make_quality):
    def with_micro(name, micro, mb):
        quality = make_quality(0.5, micro_f1=Estimate(value=micro, low=micro - 0.01, high=micro + 0.01))
        return row(name, 0.5, mb, quality=quality)

    image = drawn(make_run(with_micro("baseline", 0.8, 80), with_micro("bits-8", 0.7, 20), task="present"))
    assert "baseline 0.800" in texts(image)
    assert "micro-F1 on the test notes" in texts(image)
    assert not [text for text in texts(image) if "macro" in text]


def test_bars_are_the_interval_of_one_seed_and_the_range_of_several(make_run, row):
    one = curves_svg(make_run(row("baseline", 0.9), row("depth-2", 0.8, 40)))
    assert "depth-2: F1 0.800 (0.780 to 0.820)" in one
    assert "bars are the 95 % bootstrap interval (seed 0)" in one
    rows = [row("depth-2", f1, 40, seed=seed) for seed, f1 in enumerate((0.78, 0.81, 0.84))]
    several = curves_svg(make_run(*(row("baseline", 0.9, seed=seed) for seed in range(3)), *rows))
    assert "depth-2: F1 0.810 (0.780 to 0.840)" in several
    assert "bars are the range over 3 seeds (0, 1, 2), marks their mean" in several


def test_milliseconds_stand_in_for_all_rows_where_one_was_not_timed_against_pytorch(make_run, family, row):
    assert [text for text in texts(drawn(make_run(*family))) if text.startswith("times as fast")]
    image = drawn(make_run(*family, row("svd-60", ratio=None)))
    assert "ms a note at batch 1, median (log axis; left is faster)" in texts(image)
    assert marks(image)["depth-1"][1][0] < marks(image)["baseline"][1][0]


def test_what_cannot_be_placed_is_named_below(make_run, family, row):
    assert not [text for text in texts(drawn(make_run(*family))) if "not drawn" in text]
    image = drawn(make_run(*family, row("broken", None), row("empty", mb=0)))
    assert "not drawn, without an F1 or a cost: broken, empty" in texts(image)
    assert not {"broken", "empty"} & set(marks(image))


def test_nothing_to_draw_is_one_clear_line(make_run, row):
    with pytest.raises(InputError, match="no row has an F1, a size and a latency: there is nothing to draw"):
        curves_svg(make_run(row("baseline", None)))


def test_one_row_alone_is_drawn_with_ticks_on_every_axis(make_run, row):
    image = drawn(make_run(row("baseline", 0.5, 75, 1.0)))
    assert len(marks(image)["baseline"]) == 2
    ticks = [text for text in texts(image) if re.fullmatch(r"[\d.]+", text)]
    assert {"68.2", "82.5"} <= set(ticks), "75 MB less and more a tenth: no round number lies between"


def test_names_stay_inside_and_do_not_cover_each_other(make_run, row):
    rows = [row(f"row{chr(97 + n)}", 0.8 + 0.01 * (n % 2), 40 + 4 * n, 0.5 + 0.05 * n) for n in range(6)]
    image = drawn(make_run(row("baseline", 0.9), *rows))
    for left, right in EDGES:
        spots = [
            (float(text.get("x")), float(text.get("y")))
            for text in image.iter(f"{SVG}text")
            if text.text.startswith("row") and left <= float(text.get("x")) <= right
        ]
        assert len(spots) == 6
        assert all(TOP < y < BOTTOM for _, y in spots)
        apart = [max(abs(x0 - x1) / 24, abs(y0 - y1) / 11) for (x0, y0), (x1, y1) in pairwise(sorted(spots))]
        assert min(apart) >= 1


def test_everything_from_the_results_is_escaped(make_run, make_strategy, row):
    results = make_run(row("baseline"), row('<script>&"-\x1b'))
    described = results.data.model_copy(update={"name": "a <b> & \x00"})
    image = drawn(results.model_copy(update={"data": described}))
    assert [text for text in texts(image) if text.endswith("a <b> & \N{REPLACEMENT CHARACTER}")]
    assert '<script>&"-\N{REPLACEMENT CHARACTER}' in texts(image)
    assert {element.tag.removeprefix(SVG) for element in image.iter()} == {
        "svg",
        "rect",
        "path",
        "text",
        "title",
    }


def test_the_image_stands_by_itself_and_is_the_same_every_time(results, make_run):
    svg = curves_svg(results)
    assert svg == curves_svg(results.model_copy(deep=True))
    assert re.findall(r"https?://[^\"]+", svg) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"href|url\(|<script|<style|nan|inf", svg)
    image = ET.fromstring(svg)
    _, _, width, height = map(float, image.get("viewBox").split())
    ground = image.find(f"{SVG}rect")
    assert (float(ground.get("width")), float(ground.get("height")), ground.get("fill")) == (
        width,
        height,
        "#fff",
    )
    for text in image.iter(f"{SVG}text"):
        assert 0 < float(text.get("x")) < width
        assert 0 < float(text.get("y")) < height
    assert math.isclose(width, 1120)
