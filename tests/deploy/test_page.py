"""The page in headless Chromium: what it marks, how it is used, and that a hostile note stays text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
from serving import KEY, Running, WordModel, running  # noqa: E402

from sympress.deploy.extractor import FoundSymptom  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
NOTE = "🤒 c/o fever and chills since Tuesday, denies cough."
HOSTILE = (
    "fever <img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script> & chills"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with running() as service:
        yield service


@pytest.fixture
def page(browser: Any, service: Running) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page, told, asked = context.new_page(), [], []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(service.url)
    yield page
    assert not told
    assert asked
    assert not [url for url in asked if not url.startswith(service.url)]
    context.close()


def read(page: Any, note: str) -> None:
    page.get_by_label("Clinical note").fill(note)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#result:not([hidden])")


def test_mentions_are_marked_by_assertion_where_they_stand(page: Any):
    read(page, NOTE)
    marks = page.eval_on_selector_all(
        "#marked mark", "all => all.map(m => [m.firstChild.textContent, m.className, m.title])"
    )
    assert marks == [
        ["fever", "present", "fever, present, 90 %"],
        ["chills", "present", "chills, present, 90 %"],
        ["cough", "absent", "cough, absent, 90 %"],
    ]
    assert page.locator("#chips li").all_inner_texts() == ["fever\n90 %", "chills\n90 %"]
    assert page.locator("#legend li").all_inner_texts() == [
        "present",
        "absent",
        "possible",
        "hypothetical",
        "historical",
        "family",
    ]
    assert page.locator("#rows tr").last.locator("td").all_inner_texts() == [
        "cough",
        "cough",
        "absent",
        "90 %",
        "49727002",
        "45–50",
    ]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.activeElement.id") == "result"


def test_a_hostile_note_stays_text(page: Any):
    read(page, HOSTILE)
    shown = page.eval_on_selector_all(
        "#marked .aside", "all => all.forEach(a => a.remove())"
    ) or page.locator("#marked")
    assert shown.text_content() == HOSTILE
    assert page.locator("#result img, #result script").count() == 0
    assert page.title() == "Symptoms of a note – sympress"


def test_the_answer_is_copied_as_json_and_cleared(page: Any):
    read(page, NOTE)
    page.get_by_role("button", name="Copy as JSON").press("Enter")
    sync_api.expect(page.get_by_role("status")).to_have_text("Copied.")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert [found["symptom"] for found in copied["notes"][0]["mentions"]] == ["fever", "chills", "cough"]
    page.get_by_role("button", name="Clear").click()
    assert page.locator("#result").is_hidden()
    assert page.get_by_label("Clinical note").input_value() == ""


def test_a_dropped_file_is_read(page: Any):
    page.evaluate(
        """note => { const data = new DataTransfer();
        data.items.add(new File([note], "note.txt", {type: "text/plain"}));
        document.dispatchEvent(new DragEvent("drop", {dataTransfer: data, cancelable: true})); }""",
        NOTE,
    )
    page.wait_for_selector("#result:not([hidden])")
    assert page.get_by_label("Clinical note").input_value() == NOTE


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(page: Any, scheme: str):
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="needs axe-core-python")
    page.emulate_media(color_scheme=scheme)
    read(page, NOTE)
    found = axe.Axe().run(page)["violations"]
    assert [(one["id"], one["impact"]) for one in found] == []


def test_a_model_without_spans_says_so(browser: Any):
    with running({"words": WordModel(spans=False)}, task="present") as service:
        page = browser.new_page()
        page.goto(service.url)
        read(page, NOTE)
        assert page.locator("#marked").is_hidden()
        assert page.locator("#no-spans").is_visible()
        assert page.locator("#head th").all_inner_texts() == ["Symptom", "Probability", "Code"]
        page.close()


def test_what_no_span_accounts_for_stands_below_the_spans(browser: Any):
    beside = (FoundSymptom("fever", None, 0.9), FoundSymptom("seizure", None, 0.4))
    with running({"words": WordModel(beside=beside)}, task="present") as service:
        page = browser.new_page()
        page.goto(service.url)
        read(page, NOTE)
        assert page.locator("#marked mark").count() == 3
        rows = [row.split("\t") for row in page.locator("#rows tr").all_inner_texts()]
        assert [row[1] for row in rows] == ["fever", "chills", "cough", "seizure"]
        assert rows[-1][-1] == "whole note"
        page.close()


def test_a_service_with_a_key_asks_for_it(browser: Any):
    with running(key=KEY) as service:
        page = browser.new_page()
        page.goto(service.url)
        page.get_by_label("API key").fill(KEY)
        read(page, NOTE)
        assert page.locator("#rows tr").count() == 3
        page.close()
