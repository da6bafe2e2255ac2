"""A further task is one entry: how severe each symptom of a note is, from training to answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import sympress
from sympress.errors import InputError
from sympress.evaluation.gold import Vocabulary
from sympress.evaluation.gold_files import read_for
from sympress.labels.lexicon import load_lexicon
from sympress.labels.mentions import Mention
from sympress.labels.task import TASKS, Task, affirms
from sympress.runtime.artifact import Extractor as Settings
from sympress.runtime.pack import with_rules

SEVERITY = Task(
    name="severity",
    labels="spans",
    sources=("gold",),
    classes=("none", "mild", "moderate", "severe"),
    affirming=("mild", "moderate", "severe"),
)
#: In these notes a symptom is always as severe, which a tiny encoder learns in seconds.
SYMPTOMS = {"nausea": "none", "fever": "mild", "cough": "mild", "pain": "moderate", "rash": "severe"}
OTHERS = ("patient", "reports", "with", "and", "the", "after", "dose", "arm", "no")
RECIPE = "prune(ffn=0.5) > fine-tune(epochs=2) > quantize(int8)"
Notes = tuple[list[str], list[list[tuple[int, int, str, str]]]]


@pytest.fixture(scope="module", autouse=True)
def severity() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "severity", SEVERITY)
        yield


def notes_of(count: int, seed: int) -> Notes:
    """Notes of a few symptoms and other words, and the spans of the symptoms."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(count):
        text, spans = " ".join(rng.choice(OTHERS, size=int(rng.integers(3, 7)))), []
        for name in rng.permutation(list(SYMPTOMS))[: int(rng.integers(1, 5))].tolist():
            text += f" {' '.join(rng.choice(OTHERS, size=int(rng.integers(1, 3))))} "
            spans.append((len(text), len(text) + len(name), name, SYMPTOMS[name]))
            text += name
        texts.append(text)
        labels.append(spans)
    return texts, labels


@pytest.fixture(scope="module")
def model(encoder_folder: Path) -> Any:
    return sympress.train(
        *notes_of(240, 1),
        encoder=encoder_folder,
        task="severity",
        validation=notes_of(40, 2),
        epochs=3,
        learning_rate=4e-3,
        head_rate_ratio=1.0,
        max_tokens=32,
    )


def told_right(model: Any) -> float:
    """Share of spans that are found with their symptom and severity."""
    texts, labels = notes_of(60, 3)
    found = {
        (at, one.start, one.end, one.symptom, one.assertion)
        for at, result in enumerate(model(texts))
        for one in result.mentions
    }
    gold = {(at, *span) for at, spans in enumerate(labels) for span in spans}
    return len(found & gold) / len(found | gold)


def test_a_model_learns_severities_and_answers_with_them(model: Any):
    assert model.task == "severity"
    assert model.settings.tags == ["O", *(f"{side}-{one}" for one in SEVERITY.classes for side in "BI")]
    assert told_right(model) > 0.9
    there, absent = model(
        ["patient reports after the dose and pain and rash", "patient reports after the dose no nausea"]
    )
    assert [(one.symptom, one.assertion) for one in there.mentions] == [
        ("pain", "moderate"),
        ("rash", "severe"),
    ]
    assert {one.symptom for one in there.symptoms} == {"pain", "rash"}
    assert [(one.symptom, one.assertion) for one in absent.mentions] == [("nausea", "none")]
    assert absent.symptoms == ()
    assert affirms("mild")
    assert not affirms("none")
    assert "severe" in there._repr_html_()


def test_a_recipe_presses_it_and_figures_tell_severities_apart(model: Any, tmp_path: Path):
    small = sympress.compress(
        model, RECIPE, train=notes_of(240, 1), validation=notes_of(40, 2), output=tmp_path / "small"
    )
    again = sympress.load(tmp_path / "small")
    assert told_right(again) == told_right(small) > 0.8
    sizes = [(one.folder / "model.onnx").stat().st_size for one in (small, model)]
    assert sizes[0] < 0.6 * sizes[1]
    spans = sympress.evaluate(again, *notes_of(60, 3), timed=False).results.spans
    assert spans is not None
    assert [one.assertion for one in spans.assertions] == list(SEVERITY.classes)
    assert spans.exact_assertion.f1.value > 0.85


def test_gold_has_the_classes_in_rows_and_rules_do_not_tell_them(tmp_path: Path):
    path, words = tmp_path / "gold.jsonl", Vocabulary.of_lexicon(load_lexicon("clinical"))
    span = {"start": 7, "end": 11}
    mention = span | {"symptom": "rash", "assertion": "severe"}
    path.write_text(json.dumps({"note_id": "n", "text": "Severe rash.", "mentions": [mention]}), "utf-8")
    assert read_for(path, words).notes[0].mentions == (Mention(7, 11, "rash", cast("Any", "severe")),)
    marked = span | {"label": "symptom", "attributes": {"assertion": "severe"}}
    path.write_text(json.dumps({"note_id": "n", "text": "Severe rash.", "spans": [marked]}), "utf-8")
    with pytest.raises(InputError, match=r"assertion is 'severe', which is no assertion but a class of an"):
        read_for(path, words)
    settings = Settings(
        task="severity", symptoms=["rash"], max_tokens=16, pad_id=0, tags=["O", "B-mild", "I-mild"]
    )
    with pytest.raises(InputError, match="--rules: they tell what spans assert, and the task severity tells"):
        with_rules(settings)


def test_a_class_of_another_task_is_refused_before_anything_is_trained(encoder_folder: Path):
    texts, labels = notes_of(10, 1)
    labels[0] = [(start, end, name, "absent") for start, end, name, _ in labels[0]]
    with pytest.raises(InputError, match="a span that is absent; the task severity tells apart none, mild,"):
        sympress.train(texts, labels, encoder=encoder_folder, task="severity", validation=notes_of(5, 2))
    with pytest.raises(InputError, match=r"a span that is \w+; the task mentions tells apart present,"):
        sympress.train(
            *notes_of(10, 4), encoder=encoder_folder, task="mentions", validation=([texts[1]], [labels[1]])
        )
    with pytest.raises(
        InputError, match=r"unknown assertion 'server' \(did you mean 'severe'\?\); use present, .*severe"
    ):
        sympress.train(["fever"], [[(0, 5, "fever", "server")]], encoder=encoder_folder, task="severity")
