"""The page of errors as a reader opens it: headless Chromium, from disk, by keyboard."""

from __future__ import annotations

from pathlib import Path

import pytest

from sympress.evaluation.errors_page import write_errors
from sympress.evaluation.evaluate import evaluate
from sympress.evaluation.gold import gold_of_spans
from sympress.labels.mentions import AnnotatedNote, Mention
from sympress.runtime.artifact import RULES_FOLDER
from sympress.runtime.extractor import Extractor

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
TEXT = '<script>document.title = "taken"</script> Fever and cough.'


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory):
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    pytest.importorskip("jinja2", reason="the extra `report` is not installed")
    if not CHROMIUM.is_file():
        pytest.skip(f"no browser at {CHROMIUM}")
    mentions = (Mention(0, 8, "</option>zaps"), Mention(42, 47, "fever", "absent"))
    gold = gold_of_spans([AnnotatedNote("1", TEXT, mentions)])
    path = tmp_path_factory.mktemp("page") / "errors.html"
    assert write_errors(evaluate(Extractor.load(RULES_FOLDER), gold, resamples=0), path) == 3
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        opened = browser.new_page()
        opened.goto(path.as_uri())
        yield opened
        browser.close()


def focused(page) -> str:
    return page.evaluate("document.activeElement.dataset.kind ?? ''")


def test_keys_go_through_the_errors_and_lists_choose_among_them(page):
    kinds = page.eval_on_selector_all("article", "all => all.map(one => one.dataset.kind)")
    assert kinds == ["missed", "wrong assertion", "made up"]
    seen = []
    for key in "jjjjk":
        page.keyboard.press(key)
        seen.append(focused(page))
    assert seen == ["missed", "wrong assertion", "made up", "made up", "wrong assertion"]
    page.select_option("#kind", "made up")
    assert page.inner_text("#shown") == "1 shown"
    page.select_option("#symptom", "</option>zaps")
    assert page.inner_text("#shown") == "0 shown"
    page.select_option("#kind", "")
    assert page.locator("article:visible").count() == 1
    page.select_option("#symptom", "")


def test_words_of_a_note_are_text_and_nothing_else(page):
    assert page.title().startswith("sympress")
    assert TEXT in page.inner_text("#errors")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_has_no_serious_accessibility_finding(page, scheme: str):
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="axe-core-python is not installed")
    page.emulate_media(color_scheme=scheme)
    found = axe.Axe().run(page)["violations"]
    assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []
