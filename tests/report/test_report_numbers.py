"""Every number of the page comes from the results file: as it is, or by a derivation listed here."""

from __future__ import annotations

import itertools
import json
import re
import time
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sympress.errors import InputError
from sympress.report.columns import groups
from sympress.report.page import render_report
from sympress.results import SymptomQuality, load_results

ROOT = Path(__file__).parents[2]
#: Runs of earlier versions of sympress, as they wrote them.
RUNS = [
    path
    for path in sorted(ROOT.glob("results/*.json"))
    if "strategies" in json.loads(path.read_text("utf-8"))
]
NUMBER = re.compile(r"(?<![\w.])[+−-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
#: Words of the page itself, and the published study's own numbers, which no run has.
OWN = re.compile(
    r"0\.9218 0\.9262 0\.9230 0\.9240 0\.9871|0\.9241 0\.9269 0\.9259 0\.9258 0\.9869|"
    r"Table 1|clipped at 1\.0|"
    r"95 %|10⁶|batch 1|epoch 5|435 test|0\.9218|0\.9241|given 0\.8|80 %|of rank 32|0 is best|int8|fp32|F1"
)


class Words(HTMLParser):
    """The text of a page without scripts, styles and the published rows."""

    def __init__(self, source):
        super().__init__()
        self.words, self.silent = [], 0
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        if tag in {"script", "style"} or dict(attrs).get("class") == "published":
            self.silent += 1

    def handle_endtag(self, tag):
        if tag in {"script", "style"} or (tag == "tr" and self.silent):
            self.silent -= 1

    def handle_data(self, data):
        if not self.silent:
            self.words.append(data)


def numbers_in(value):
    """Every number in a JSON value, those inside its texts too."""
    if isinstance(value, dict):
        return [one for name, part in value.items() for one in (*numbers_in(part), *numbers_in(name))]
    if isinstance(value, list):
        return [one for part in value for one in numbers_in(part)]
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int | float):
        return [float(value)]
    return [as_number(one) for one in NUMBER.findall(str(value))]


def as_number(text):
    return float(text.replace(",", "").replace("−", "-").rstrip(","))


def derived(results):
    """What the page computes: means over seeds, ratios to the baseline, shares, differences, counts."""
    found = []
    for group in groups(results):
        rows = [*group.seeds]
        for pick in (
            lambda row: [float(v) for v in row.cost.model_dump().values() if isinstance(v, int | float)],
            lambda row: [e.value for e in estimates(row) if e is not None and e.value is not None],
            lambda row: [
                e.value
                for e in (row.versus_baseline and row.versus_baseline.f1_difference,
                          row.versus_baseline and row.versus_baseline.micro_f1_difference)
                if e is not None and e.value is not None
            ],
            lambda row: [e.value for s in row.quality.per_symptom for e in (s.f1,) if e.value is not None],
        ):  # fmt: skip
            columns = itertools.zip_longest(*(pick(row) for row in rows))
            found += [sum(c) / len(c) for column in columns if None not in (c := list(column))]
        found += [r for r in (group.size_ratio, group.latency_ratio) if r]
        for row, base in zip(rows, group.baselines, strict=True):
            cost = row.cost
            if cost.parameters and cost.nonzero_parameters is not None:
                found += [100 * (1 - cost.nonzero_parameters / cost.parameters), cost.parameters]
            if base is not None and row.quality.micro_f1 and base.quality.micro_f1:
                found.append(row.quality.micro_f1.value / base.quality.micro_f1.value * 100)
            if base is not None and cost.parameters and base.cost.parameters:
                found.append(abs(cost.parameters - base.cost.parameters))
            if row.changes:
                both = [*row.changes.per_group, *row.changes.per_symptom]
                found += [one.f1 - one.baseline_f1 for one in both if None not in (one.f1, one.baseline_f1)]
        for claim in filter(None, (group.macro, group.micro)):
            pooled = claim.pooled
            found += [pooled.difference.value, pooled.difference.low, pooled.difference.high, pooled.margin]
            found += [claim.p_holm, pooled.p_value, pooled.p_margin, pooled.p_margin_holm]
    kept = [v for v in found if v]
    shares = [
        sum(values) / len(values) * 100
        for group in groups(results)
        if (values := [r.quality.micro_f1.value / b.quality.micro_f1.value
                       for r, b in zip(group.seeds, group.baselines, strict=True)
                       if b is not None and r.quality.micro_f1 and b.quality.micro_f1])
    ]  # fmt: skip
    return [*kept, *shares, *range(len(results.strategies) + 3), *range(12)]


def estimates(row):
    quality = row.quality
    return [quality.accuracy, quality.precision, quality.recall, quality.f1, quality.auroc, quality.micro_f1,
            quality.average_precision]  # fmt: skip


def unexplained(source, results):
    """The numbers of the page that no number of the results rounds to."""
    raw = numbers_in(json.loads(results.model_dump_json())) + derived(results)
    known = {value * scale for value in raw for scale in (1, 1e-6)}
    known |= {1 / value for value in raw if value}
    known |= {abs(value) for value in known}
    two_figures = {f"{value:.2g}" for value in known}
    one_figure = {f"{value:.1e}" for value in known}
    rounded = {}
    missing = []
    for words in Words(source).words:
        for token in NUMBER.findall(OWN.sub(" ", words)):
            digits = len(token.partition(".")[2])
            wanted = abs(as_number(token))
            if "e" in token:
                fits = token in one_figure or wanted in known
            else:
                if digits not in rounded:
                    rounded[digits] = {round(value, digits) for value in known}
                near = rounded[digits]
                fits = any(round(wanted + step * 10**-digits, digits) in near for step in (0, 1, -1))
            # p-values and what is too small for its decimals keep two figures that count
            if not fits and not (wanted < 1 and f"{wanted:.2g}" in two_figures):
                missing.append((token, words.strip()[:60]))
    return missing


@cache
def page_of(path):
    """The results of a run, and their page."""
    results = load_results(path)
    return results, render_report(results)


@pytest.mark.parametrize("name", ["vaers-present", "vaers-coded", "mtsamples"])
def test_every_number_of_the_page_is_in_the_results(name):
    results, source = page_of(ROOT / "results" / f"{name}.json")
    assert unexplained(source, results) == []


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_an_old_run_folder_gives_a_page(path):
    results, source = page_of(path)
    assert "<h1>" in source
    assert all(f"{group.label}</th>" in source for group in groups(results))


def test_a_number_from_nowhere_is_found(results):
    source = render_report(results).replace("</footer>", " 731.59 </footer>")
    assert [token for token, _ in unexplained(source, results)] == ["731.59"]


def test_a_large_study_renders_in_10_seconds_and_5_megabytes(make_run, make_strategy, make_quality):
    one = make_quality(0.8).per_symptom[0]
    symptoms = [SymptomQuality(**(dict(one) | {"symptom": f"symptom {number}"})) for number in range(20)]
    quality = make_quality(0.8, per_symptom=symptoms)
    rows = [
        make_strategy(name, seed=seed, quality=quality, difference=(-0.01, -0.02, 0.001), smaller=True)
        for name in ("baseline", "distillation", "lowrank", "pruning", "quantization")
        for seed in range(3)
    ]
    render_report(make_run(*rows[:2]))  # the import of the library is not the page's time
    started = time.process_time()
    source = render_report(make_run(*rows))
    assert time.process_time() - started <= 10
    assert len(source.encode()) <= 5_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 2}', "format 2, this sympress reads format 1; update sympress"),
        ('{"format": 1', "damaged"),
        ('{"format": 1}', "damaged at protocol"),
        ("[]", "format None"),
    ],
)
def test_a_damaged_or_newer_file_is_one_clear_line(tmp_path, text, message):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_results(tmp_path)
    assert "\n" not in str(caught.value)
