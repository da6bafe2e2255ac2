"""The page as a reader opens it: headless Chromium, from disk, without a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sympress.report.page import render_page
from sympress.results import CalibrationQuality, Estimate, ReliabilityBin, SymptomQuality

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ATTACK = '<img src=x onerror="document.title=1"><script>document.title=2</script>\u202e$$x$$'


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.is_file():
        pytest.skip(f"no browser at {CHROMIUM}")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page_file(results, make_strategy, make_quality, tmp_path):
    """A page with every section, a hostile row among them."""
    one = Estimate(value=0.04, low=0.03, high=0.05)
    bins = [
        ReliabilityBin(
            low=n / 4, high=(n + 1) / 4, answers=9, predicted=n / 4 + 0.1, observed=Estimate(value=n / 4)
        )
        for n in range(4)
    ]
    calibration = CalibrationQuality(ece=one, ece_width=one, brier=one, bins=bins)
    hostile = make_quality(0.7).per_symptom[0].model_dump() | {"symptom": ATTACK}
    quality = make_quality(0.7, calibration=calibration, per_symptom=[SymptomQuality(**hostile)])
    rows = [*results.strategies, make_strategy(ATTACK, quality=quality, size=5_000_000)]
    path = tmp_path / "report.html"
    run = results.model_copy(update={"strategies": rows})
    path.write_text(render_page([("run", run)]), encoding="utf-8")
    return path


def opened(browser, path, width, scheme):
    """The page once its figures are drawn, with what it asked for and complained of."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri(), timeout=120_000)
    page.wait_for_selector("html[data-drawn]", state="attached", timeout=120_000)
    return page, requests, errors


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light")])
def test_the_page_draws_and_sorts_without_errors_or_requests(browser, page_file, width, scheme):
    page, requests, errors = opened(browser, page_file, width, scheme)
    assert requests == [page_file.as_uri()]
    assert page.evaluate("document.documentElement.dataset.drawn") == "4"
    inked = page.evaluate(
        """() => [...document.querySelectorAll('.drawing')].map(drawing => {
            const found = [], visit = root => { for (const one of root.querySelectorAll('*')) {
                if (one.tagName === 'CANVAS') found.push(one);
                if (one.shadowRoot) visit(one.shadowRoot); } };
            visit(drawing);
            return found.some(canvas => canvas.getContext('2d')
                .getImageData(0, 0, canvas.width, canvas.height).data.some(value => value)); })"""
    )
    assert inked == [True] * 4
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    head = page.locator("#results thead button", has_text="F1 macro").first
    head.click()
    column = page.evaluate(
        "[...document.querySelectorAll('#results tbody tr')].map(row => parseFloat(row.cells[1].dataset.key))"
    )
    assert column == sorted(column, reverse=True)
    head.click()
    assert page.locator("#results th[aria-sort=ascending]").count() == 1
    assert page.title().startswith("sympress")
    assert "<script>document.title=2</script>" in page.inner_text("#results")
    assert errors == []
    page.close()


def test_the_text_has_no_serious_accessibility_finding(browser, page_file):
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe-core-python is not installed")
    page, *_ = opened(browser, page_file, 1440, "light")
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    found = axe.Axe().run(page)["violations"]
    page.emulate_media(color_scheme="dark")  # only colours change
    only = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
    found += axe.Axe().run(page, options=only)["violations"]
    serious = [
        (one["id"], [node["html"][:200] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]
    assert serious == []
    page.close()


def test_hovering_a_hostile_name_shows_text(browser, page_file):
    page, _, errors = opened(browser, page_file, 1440, "light")
    box = page.locator("#pareto-size").bounding_box()
    for x in range(int(box["x"]) + 60, int(box["x"] + box["width"]), 24):
        for y in range(int(box["y"]) + 10, int(box["y"]) + 330, 80):
            page.mouse.move(x, y)
    assert page.title().startswith("sympress")
    assert errors == []
    page.close()


def test_a_page_names_no_other_place(page_file):
    outside = re.sub(r"<script.*?</script>", "", page_file.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not re.search(r"https?://", outside)


CUT = """[...document.querySelectorAll('.scroll')]
    .filter(one => one.checkVisibility({contentVisibilityAuto: true}))
    .filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.getAttribute('aria-label'))"""


def test_the_table_fits_a_wide_screen_and_shows_more_columns_when_asked(browser, page_file):
    page, *_ = opened(browser, page_file, 1440, "light")
    assert page.evaluate(CUT) == []
    assert page.locator("#results th.extra").first.is_hidden()
    page.get_by_label("more columns").check()
    assert page.locator("#results th.extra").first.is_visible()
    page.close()


def test_paper_cuts_no_table(browser, page_file):
    page, *_ = opened(browser, page_file, 690, "dark")  # A4 less its margins
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(CUT) == []
    assert page.locator("nav").is_hidden()
    assert (
        page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()")
        == "#1b1f23"
    )
    page.close()
