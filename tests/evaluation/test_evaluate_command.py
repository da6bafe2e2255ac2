"""`sympress evaluate` as a user calls it, its page of errors, and its how-to as a reader follows it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sympress.cli.main import run
from sympress.evaluation.errors_page import errors_of, render_errors
from sympress.evaluation.evaluate import evaluate
from sympress.evaluation.gold import gold_of_spans, gold_of_symptoms
from sympress.evaluation.records import EvaluationResults
from sympress.labels.mentions import AnnotatedNote, Mention
from sympress.runtime.artifact import RULES_FOLDER
from sympress.runtime.extractor import Extractor

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-to" / "evaluate-on-your-gold.md").read_text("utf-8")
KEYS = (DOCS / "reference" / "evaluation-file.md").read_text("utf-8")
FENCED = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = {"start": 0, "end": 5, "label": "Symptom"}
NOTE = {"note_id": "n1", "text": "Fever of <b>Smith</b>.", "spans": [SPAN]}


def code_of(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        run([str(one) for one in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    path = tmp_path / "gold.jsonl"
    path.write_text(json.dumps(NOTE) + "\n", encoding="utf-8")
    return path


def test_the_document_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    told = []
    for language, file, body in FENCED.findall(PAGE):
        if file:
            Path(file).write_text(body, encoding="utf-8")
        elif language == "python":
            exec(compile(body, "evaluate.md", "exec"), {"__name__": "page"})
            assert "value=1.0" in capsys.readouterr().out
        else:
            for line in re.findall(r"^\$ sympress (.*)$", body, re.MULTILINE):
                assert code_of(*shlex.split(line)) == 0, line
                told.append(capsys.readouterr().out)
    assert "By ward" in told[1]
    assert "outside its vocabulary: 1 gold spans" in told[0]
    results = EvaluationResults.model_validate_json(Path("figures.json").read_text())
    assert (results.gold.patients, results.resampled_by) == (2, "patients")
    keys = set(re.findall(r"`(\w+)`", KEYS[KEYS.index("| key | holds |") :]))
    assert set(EvaluationResults.model_fields) - {"format"} <= keys


def test_figures_are_printed_and_written_without_the_words_of_a_note(
    gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert code_of("evaluate", "rules", "--gold", gold, "-o", tmp_path / "o.json", "-q") == 0
    said = capsys.readouterr()
    written = (tmp_path / "o.json").read_text()
    assert "1 notes with 1 marked spans" in said.out
    assert json.loads(written)["spans"]["exact"]["f1"]["value"] == 1.0
    assert "Smith" not in said.out + said.err + written


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere"),
        (["rules", "-o", "o.txt"], "the name must end in .json"),
        (["rules", "--errors", "o.txt"], "the name must end in .html"),
        (["rules", "--group-by", "ward"], "--group-by ward: no annotated note has it"),
        (["rules", "--notes", "nothing.csv"], "nothing.csv: no such file or folder"),
        (["rules", "--gold-labels", "Drug"], "no span is labelled Drug"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    gold: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert code_of("evaluate", "--gold", gold, *arguments) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


def test_nothing_is_overwritten_unasked(gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "o.json"
    output.write_text("mine")
    assert code_of("evaluate", "rules", "--gold", gold, "-o", output) == 2
    assert "exists already" in capsys.readouterr().err
    assert output.read_text() == "mine"
    assert code_of("evaluate", "rules", "--gold", gold, "-o", output, "--force", "-q") == 0


class _Tags(HTMLParser):
    """Every tag with its attributes, and the text outside script and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._in = "", ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_data(self, data: str) -> None:
        self.text += "" if self._in in ("script", "style") else data


def test_the_page_of_errors_shows_each_kind_with_its_words_escaped_and_needs_no_network():
    pytest.importorskip("jinja2", reason="the extra `report` is not installed")
    text = "<img src=x onerror=alert(1)> Fever, no cough. Severe nausea, rash, brain zaps."
    places = {word: text.index(word) for word in ("cough", "nausea", "Severe", "rash", "brain")}
    marked = (
        Mention(places["cough"], places["cough"] + 5, "cough", "present"),
        Mention(places["Severe"], places["nausea"] + 6, "nausea"),
        Mention(places["rash"], places["rash"] + 4, "hives"),
        Mention(places["brain"], places["brain"] + 10, "brain-zaps"),
    )
    done = evaluate(
        Extractor.load(RULES_FOLDER), gold_of_spans([AnnotatedNote("<n1>", text, marked)]), resamples=0
    )
    kinds = {(one.kind, one.symptom) for one in errors_of(done)}
    assert kinds == {
        ("made up", "fever"),
        ("wrong assertion", "cough"),
        ("other ends", "nausea"),
        ("wrong symptom", "hives"),
        ("missed", "brain-zaps"),
    }
    page, count = render_errors(done)
    read = _Tags(page)
    assert count == 5
    assert "<img src=x onerror=alert(1)>" in read.text
    assert not {tag for tag, _ in read.tags} & {"img", "link", "iframe", "object"}
    assert not re.search(r"(?:src|href)=|https?://|@import", page.split("</head>")[0].split("<title>")[1])
    assert [one["data-kind"] for tag, one in read.tags if tag == "article"] == [
        "made up", "wrong assertion", "other ends", "wrong symptom", "missed",
    ]  # fmt: skip
    assert all(one.get("tabindex") == "-1" for tag, one in read.tags if tag == "article")
    assert {one["id"] for tag, one in read.tags if tag == "select"} == {"kind", "symptom"}


def test_errors_of_whole_notes_are_listed_by_symptom():
    gold = gold_of_symptoms(["Fever.", "No cough."], [["cough"], ["cough"]])
    done = evaluate(Extractor.load(RULES_FOLDER), gold, resamples=0)
    assert [(one.kind, one.symptom, one.note_id) for one in errors_of(done)] == [
        ("missed", "cough", "1"),
        ("missed", "cough", "2"),
    ]
    assert [one.found for one in errors_of(done)] == ["", "cough, absent"]
