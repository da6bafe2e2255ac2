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

from sympress.runtime.note_result import FoundSymptom  # noqa: E402

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
    page.wait_for_selector("#send:enabled")  # it is not, while an answer is waited for
    page.wait_for_selector("#result:not([hidden])")


def groups(page: Any) -> dict[str, list[str]]:
    """The lines below each heading of what was found."""
    return dict(
        page.eval_on_selector_all(
            "#groups section",
            "all => all.map(g => [g.querySelector('h3').textContent,"
            " [...g.querySelectorAll('li span')].map(s => s.textContent)])",
        )
    )


def test_mentions_are_marked_by_assertion_where_they_stand_with_who_found_them_and_why(page: Any):
    read(page, NOTE)
    marks = page.eval_on_selector_all(
        "#marked mark", "all => all.map(m => [m.firstChild.textContent, m.className, m.title])"
    )
    assert marks == [
        ["fever", "present", "fever: present (rules and model, 90\u00a0%)"],
        ["chills", "present", "chills <i>or rigors</i>: present (rules and model, 90\u00a0%)"],
        ["cough", "absent", "cough: denied, because of “denies” (rules)"],
    ]
    assert page.locator("#marked .cue").all_inner_texts() == ["denies"]
    assert page.locator("#legend li").all_inner_texts() == [
        "denied",
        "present",
        "possible",
        "feared or conditional",
        "in the past",
        "someone else's",
    ]
    assert page.locator("#rows tr").last.locator("td").all_inner_texts() == [
        "cough",
        "cough",
        "denied",
        "because of “denies”",
        "rules",
        "49727002",
        "45–50",
    ]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("document.activeElement.id") == "result"


def test_what_is_denied_is_read_first_and_rules_have_no_percentage(page: Any):
    read(page, NOTE)
    found = groups(page)
    assert list(found) == ["Denied (1)", "Present (2)"]
    assert found["Denied (1)"] == ["cough", "“cough”: because of “denies” (rules)"]
    assert found["Present (2)"] == [
        "fever",
        "“fever” (rules and model, 90\u00a0%)",
        "chills <i>or rigors</i>",
        "“chills” (rules and model, 90\u00a0%)",
    ]
    assert page.locator("#groups i").count() == 0
    assert page.locator("#no-words").is_hidden()


def test_only_a_note_without_any_finding_is_said_to_name_none(page: Any):
    read(page, "seen in clinic")
    assert page.locator("#no-words").inner_text() == "No words of this note name a symptom."
    read(page, "denies cough")
    assert page.locator("#no-words").is_hidden()
    assert list(groups(page)) == ["Denied (1)"]


def test_an_example_can_be_tried_with_one_button(page: Any):
    page.get_by_role("button", name="Try an example").press("Enter")
    page.wait_for_selector("#result:not([hidden])")
    assert "Denies headache" in page.get_by_label("Clinical note").input_value()
    assert page.locator("#marked mark").first.inner_text().startswith("fever")


def test_the_card_and_the_api_are_linked(page: Any, service: Running):
    read(page, NOTE)
    assert page.get_by_role("link", name="API").get_attribute("href") == "/docs"
    page.get_by_role("link", name="Card of the model").press("Enter")
    sync_api.expect(page.locator("#card-text")).to_have_text("# Words <b>\n\nFinds three words.")
    page.get_by_role("button", name="Close").click()
    assert page.locator("#card-dialog").is_hidden()
    with service.client() as client:
        assert client.get("/v1/models/words/card").text.startswith("# Words <b>")
        assert client.get("/v1/models/words/card").headers["content-type"].startswith("text/plain")
        assert client.get("/v1/models/none/card").status_code == 404


def test_the_api_is_described_on_a_page_of_its_own(page: Any, service: Running):
    page.goto(f"{service.url}/docs")
    page.wait_for_selector("#operations section")
    assert page.locator("#operations h2").all_inner_texts() == [
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
        "POST /v1/extract",
        "GET /v1/models",
        "GET /v1/models/{name}/symptoms",
        "GET /v1/models/{name}/card",
        "POST /v1/models/{name}/reload",
    ]
    bodies = page.locator("#operations table", has_text="Content-Type").locator("tr", has_text="OneNote")
    assert "OneNote or ManyNotes" in bodies.first.inner_text()
    fields = page.locator("#MentionAnswer tbody td:first-child").all_inner_texts()
    assert fields[:3] == ["start", "end", "symptom"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="needs axe-core-python")
    assert [one["id"] for one in axe.Axe().run(page)["violations"]] == []


def test_the_description_of_a_service_with_a_key_asks_for_it(browser: Any):
    with running(key=KEY) as service:
        page = browser.new_page()
        page.goto(f"{service.url}/docs")
        page.get_by_label("API key").fill(KEY)
        page.get_by_role("button", name="Show").click()
        page.wait_for_selector("#operations section")
        assert page.locator("#form").is_hidden()
        page.close()


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
        assert page.locator("#no-words").is_hidden()
        assert page.locator("#head th").all_inner_texts() == ["Symptom", "Found by", "Code"]
        page.close()


def test_what_no_span_accounts_for_stands_below_the_spans(browser: Any):
    beside = (FoundSymptom("fever", None, 0.9), FoundSymptom("seizure", None, 0.4))
    with running({"words": WordModel(beside=beside)}, task="present") as service:
        page = browser.new_page()
        page.goto(service.url)
        read(page, NOTE)
        assert page.locator("#marked mark").count() == 3
        rows = [row.split("\t") for row in page.locator("#rows tr").all_inner_texts()]
        assert [row[0] for row in rows] == ["fever", "chills", "cough", "–"]
        assert rows[-1][1:] == ["seizure", "present", "the whole note", "model, 40\u00a0%", "–", "whole note"]
        page.close()


def test_a_service_with_a_key_asks_for_it(browser: Any):
    with running(key=KEY) as service:
        page = browser.new_page()
        page.goto(service.url)
        page.get_by_label("API key").fill(KEY)
        read(page, NOTE)
        assert page.locator("#rows tr").count() == 3
        page.close()
