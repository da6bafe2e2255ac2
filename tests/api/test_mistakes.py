"""A mistake in a call is one line that names the argument, or the flag, before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sympress
from sympress import api
from sympress.cli.main import run
from sympress.errors import InputError, naming_flags
from sympress.runtime.extractor import Extractor

NINE = ["fever"] * 9
LABELS = [["fever"]] * 9
HOW = "give a recipe, such as 'pocket', or a budget, such as 'size_mb<=3, f1_drop<=0.01'; or training=False"
NO_MODEL = "is no model; give a folder, an id of the Hub, or 'box'"


@pytest.fixture(autouse=True)
def nothing_is_read(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """No model is opened: what is wrong is said before."""
    if "model" not in request.fixturenames:
        monkeypatch.setattr(Extractor, "load", lambda *_args, **_more: pytest.fail("a model was read"))
        monkeypatch.setattr(api, "artifact_folder", lambda _source: pytest.fail("a model was looked for"))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sympress.load(3), f"source: int {NO_MODEL}"),
        (lambda: sympress.compress("MODEL"), f"how: {HOW} for what needs no training"),
        (
            lambda: sympress.compress("MODEL", 5),
            "how: int is no recipe and no budget; give 'pocket', 'quantize(int8)', or "
            "'size_mb<=3, f1_drop<=0.01'",
        ),
        (lambda: sympress.compress(5, "quantize(int8)"), f"model: int {NO_MODEL}"),
        (
            lambda: sympress.compress("MODEL", "vocab(keep=0.5)", training=False),
            "step 1 (vocab) needs notes; give some, unlabelled ones are enough, or take it out: "
            "quantize(int8) needs none",
        ),
        (
            lambda: sympress.compress("MODEL", "distill(layers=1)", training=False, unlabelled=NINE),
            "step 1 (distill) trains, which training=False rules out; take it out",
        ),
        (
            lambda: sympress.compress("MODEL", "size_mb<=3", training=False),
            "a budget searches recipes that train; leave out a budget or training=False",
        ),
        (lambda: sympress.compress("MODEL", "quantize(int8)", trials=0), "trials 0 must be at least 1"),
        (
            lambda: sympress.compress("MODEL", "quantize(int8)", kernel="dynamic-9bit"),
            "unknown kernel 'dynamic-9bit' (did you mean 'dynamic-8bit'?); known are dynamic-7bit, "
            "dynamic-8bit, dynamic-unsigned, static-7bit, static-8bit, weights-8bit, weights-4bit",
        ),
        (
            lambda: sympress.compress("MODEL", "quantize(int8)", output=__file__),
            f"{__file__}: a file, not a folder; choose another output",
        ),
        (lambda: sympress.evaluate(None, NINE, LABELS, resamples=-1), "resamples -1: "),
        (lambda: sympress.evaluate("box", NINE, LABELS, resamples=-1), "resamples -1: "),
        (lambda: sympress.evaluate(5, NINE, LABELS), f"model: int {NO_MODEL}"),
        (
            lambda: sympress.train(NINE, LABELS, task="zork"),
            "task 'zork' is not one of topic, present, mentions",
        ),
        (
            lambda: sympress.train(NINE, [["fever", "rash"]] * 9, symptoms=["fever"]),
            "train: note '1' has 'rash', which is none of symptoms; add it there, or leave it out",
        ),
        (
            lambda: sympress.train(NINE, LABELS, epochs=0),
            "epochs 0: input should be greater than or equal to 1",
        ),
        (
            lambda: sympress.train(pl.LazyFrame({"text": NINE, "symptoms": LABELS})),
            "train: a LazyFrame, which has no rows yet; give its .collect()",
        ),
        (lambda: sympress.train(NINE, 5), "train: labels are int; give an array of 0 and 1, names, or spans"),
        (lambda: sympress.train(NINE, "fever"), "train: labels are str; give an array"),
    ],
)
def test_a_mistake_in_a_call_names_its_argument(call: Callable[[], Any], said: str):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(said)
    assert "--" not in str(caught.value)


def test_another_model_is_checked_as_the_first():
    with pytest.raises(InputError) as caught:
        sympress.evaluate(Extractor.__new__(Extractor), NINE, LABELS, against=5)
    assert str(caught.value) == f"against: int {NO_MODEL}"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "give either --recipe or --budget: what to do, or what the result may cost"),
        (("--recipe", "pockte"), "unknown recipe 'pockte' (did you mean 'pocket'?)"),
        (("--budget", "size<=3"), "budget: unknown key 'size' (did you mean 'size_mb'?)"),
        (("--recipe", "quantize(int8)", "--trials", "0"), "--trials 0 must be at least 1"),
        (("--recipe", "quantize(int8)", "--kernel", "x"), "unknown kernel 'x'"),
        (("--recipe", "pocket"), "step 1 (vocab) needs notes; give some"),
        (("--recipe", "pocket", "--no-training"), "step 2 (distill) trains, which --no-training rules out"),
        (("--budget", "size_mb<=3"), "a budget searches recipes that train; give notes"),
        (("--recipe", "pocket", "--notes", "none.jsonl"), "none.jsonl: no such file"),
        (("--no-training", "--labels-per-note", "two"), "--labels-per-note two: give one or several"),
    ],
)
def test_a_mistake_in_a_command_names_its_flag_before_the_checkpoint_is_read(
    flags: tuple[str, ...],
    said: str,
    classifier: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(api, "load", lambda *_args, **_more: pytest.fail("the checkpoint was read"))
    if "--no-training" in flags[-1:]:  # notes are asked for first where none are given
        (tmp_path / "notes.jsonl").write_text('{"text": "fever"}\n{"text": "cough"}\n', encoding="utf-8")
        flags = (*flags, "--notes", str(tmp_path / "notes.jsonl"))
    with pytest.raises(SystemExit) as ended:
        run(["compress", str(classifier), "-o", str(tmp_path / "small"), *flags])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "small").exists()


def test_a_dry_run_needs_no_notes(
    classifier: Path,
    model: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(api, "load", lambda *_args, **_more: model)
    with pytest.raises(SystemExit) as ended:
        run(
            [
                "compress",
                str(classifier),
                "-o",
                str(tmp_path / "small"),
                "--recipe",
                "vocab(keep=0.9)",
                "--dry-run",
            ]
        )
    assert ended.value.code == 0
    assert "step 1: vocab(" in capsys.readouterr().out


def test_a_message_of_the_command_line_keeps_its_flags():
    with naming_flags(), pytest.raises(InputError) as caught:
        sympress.compress("MODEL", "quantize(int8)", trials=0)
    assert str(caught.value) == "--trials 0 must be at least 1"
