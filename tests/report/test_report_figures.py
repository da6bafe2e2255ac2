from __future__ import annotations

import sys

import pytest

from benchmarks.documents import pareto_svg
from sympress.errors import InputError, MissingExtraError
from sympress.report.columns import groups, looks
from sympress.report.figures import pareto_figure, write_figures
from sympress.report.interactive import place_labels
from sympress.report.paper import escape_latex, latex_table, write_tables
from sympress.report.verdict import beyond_text, in_view, places, size_mb


def test_every_figure_is_written_as_svg_and_png(results, tmp_path):
    written = write_figures(results, tmp_path / "figures")
    assert [path.name for path in written] == [
        f"{name}.{kind}" for name in ("pareto", "epochs", "symptoms") for kind in ("svg", "png")
    ]
    for path in written:
        start = path.read_bytes()[:8]
        assert start.startswith(b"<?xml" if path.suffix == ".svg" else b"\x89PNG")


def test_the_figure_of_a_document_is_the_same_every_time(results):
    assert pareto_svg(results) == pareto_svg(results.model_copy(deep=True))


def test_one_row_makes_no_figure(make_run, make_strategy):
    assert pareto_figure(make_run(make_strategy("baseline"))) is None
    with pytest.raises(InputError, match="no two rows have an F1, a size and a latency"):
        pareto_svg(make_run(make_strategy("baseline")))


def test_a_missing_matplotlib_names_the_install_command(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"run  pip install 'sympress\[report\]'"):
        pareto_svg(results)


def test_a_row_is_dominated_by_one_that_is_cheaper_and_no_worse(make_run, make_strategy):
    run = make_run(
        make_strategy("baseline", 0.9, size=80_000_000),
        make_strategy("good", 0.9, size=20_000_000),
        make_strategy("poor", 0.8, size=40_000_000),
        make_strategy("rule", 0.99, size=1_000),
    )
    found = {one.group.name: one.dominated for one in places([(g.name, g) for g in groups(run)], size_mb)}
    assert found == {"baseline": True, "good": False, "poor": True, "rule": False}


def test_families_share_a_look_and_36_of_them_are_told_apart():
    found = looks(["baseline", "rule", *(f"f{family}-{n}" for family in range(36) for n in (1, 2))])
    assert found["f3-1"] == found["f3-2"]
    assert len({(look.colour, look.marker) for look in found.values()} - {("#808A93", "circle")}) == 36
    assert found["rule"].is_hollow


def test_names_do_not_cover_each_other():
    marks = [(100.0, 50.0 + 4 * number) for number in range(6)]
    labels = place_labels(["name"] * 6, marks, (400, 300))
    width = {"left": 0.0, "center": -13.2, "right": -26.4}
    spots = [(x + one.dx + width[one.align], y + one.dy) for (x, y), one in zip(marks, labels, strict=True)]
    for number, (x0, y0) in enumerate(spots):
        for x1, y1 in spots[number + 1 :]:
            assert max(0, 26.4 - abs(x0 - x1)) * max(0, 14 - abs(y0 - y1)) < 60


def test_the_latex_table_holds_what_the_console_shows(results, tmp_path):
    table = latex_table(results)
    assert r"quantization & 0.880 [0.860, 0.900] & $-$0.050 [$-$0.070, $-$0.030] *" in table
    assert table.count(r"\midrule") == 2
    assert [path.name for path in write_tables(results, tmp_path)] == ["table.tex", "table.md"]
    assert r"\begin{tabular}{lrrrrrr}" in table


def test_the_latex_table_has_a_caption_of_one_sentence_and_a_label(results):
    table = latex_table(results)
    assert (
        r"\caption{Quality and cost of each deployed file on 1,234 test notes, with 95 \% intervals.}"
        in table
    )
    assert r"\label{tab:paper-topic-synthetic}" in table
    named = results.model_copy(
        update={"data": results.data.model_copy(update={"name": r"My_notes\input{x}"})}
    )
    assert r"\label{tab:paper-topic-my-notes-input-x}" in latex_table(named)


def test_latex_sets_hostile_text_as_it_is():
    assert escape_latex("a_b & 50% \\input{x} $y$") == (r"a\_b \& 50\% \textbackslash{}input\{x\} \$y\$")


def test_a_reference_far_below_the_models_is_named_and_not_drawn(make_run, make_strategy):
    run = make_run(
        make_strategy("baseline", 0.72),
        make_strategy("small", 0.69, size=1_000_000),
        make_strategy("tfidf", 0.66, size=500_000),
        make_strategy("rule", 0.54, size=1_000),
    )
    drawn, beyond = in_view(places([(g.name, g) for g in groups(run)], size_mb))
    assert [one.label for one in drawn] == ["baseline", "small", "tfidf"]
    assert beyond_text(beyond) == "rule, 0.540"
