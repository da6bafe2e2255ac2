"""Peers' classifiers are judged as ours are, and one that can't run is a row that says so."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from benchmarks import peer_classifiers
from benchmarks.document_tables import classifiers_table
from benchmarks.peer_classifiers import REFERENCE, Contender, Reports, compare, peer, write_checkpoint
from benchmarks.peer_medspacy import ask_peer
from benchmarks.peer_models import classifier_class
from sympress.errors import InputError
from sympress.models.model import build_model, save_model
from sympress.runtime.artifact import Extractor, write_extractor

TEXTS = [f"note {number}" for number in range(40)]
LABELS = np.stack([np.arange(40) % 2, np.arange(40) % 3 == 0], axis=1).astype(np.uint8)
REPORTS = Reports(TEXTS, LABELS)


def knowing(seconds: float) -> Contender:
    """Is sure of everything, and right."""

    def answer(texts: Sequence[str]) -> tuple[Any, float]:
        return 0.1 + 0.8 * LABELS[[TEXTS.index(text) for text in texts]], seconds

    return Contender(answer, 1_000_000, 40)


def guessing(texts: Sequence[str]) -> tuple[Any, float]:
    """Says the same of every note."""
    return np.full((len(texts), 2), 0.5), 8.0


def refusing(_texts: Sequence[str]) -> tuple[Any, float]:
    raise InputError("cannot run it")


def test_each_is_scored_at_thresholds_of_its_own_and_one_that_fails_says_why() -> None:
    contenders = {
        REFERENCE: knowing(2.0),
        "guess": Contender(guessing, 2_000_000, 8),
        "absent": Contender(refusing, 0, 0),
    }
    found = compare(contenders, REPORTS, REPORTS, timed=20, rounds=1)
    rows = found["rows"]
    assert rows[REFERENCE]["micro_f1"]["value"] == 1
    assert rows[REFERENCE]["notes_per_cpu_second"] == 10
    guess = rows["guess"]
    # everything is affirmed: all of 20 + 14 are found, among 80 answers
    assert guess["micro_f1"]["value"] == pytest.approx(2 * 34 / (34 + 80))
    difference = guess["minus_reference"]["micro_f1"]
    assert difference["value"] == pytest.approx(guess["micro_f1"]["value"] - 1)
    assert difference["low"] <= difference["value"] <= difference["high"] < 0
    assert guess["times_slower"] == 4
    assert rows["absent"] == {"missing": "cannot run it"}

    where = {"validation": 40, "test": 40, "shots": 8, "setfit_steps": 1, "longest": 512}
    table = classifiers_table(found | where | {"environment": {"processor": "a CPU"}})
    assert (
        "| small | 40 | 1.000 \\[1.000, 1.000\\] | – | 1.000 \\[1.000, 1.000\\] | 1.0 | 10.0 | – |" in table
    )
    assert "| absent | not compared: cannot run it |  |  |  |  |  |  |" in table


def test_a_peer_is_made_once_from_what_it_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask(_python: Path, _script: str, question: dict[str, Any], _peer: str) -> dict[str, Any]:
        asked.append(question)
        if question["do"] == "prepare":
            return {"size_bytes": 7, "cpu_seconds": 1.0}
        return {"probabilities": [[0.5, 0.5] for _ in question["texts"]], "cpu_seconds": 2.0}

    monkeypatch.setattr(peer_classifiers, "ask_peer", ask)
    shots = REPORTS.shots(3)
    assert shots.labels.sum(axis=0).min() >= 3
    for _ in range(2):
        made = peer(Path("python"), "setfit", tmp_path / "setfit", shots, {"encoder": "e", "trained_on": 0})
    assert (made.size_bytes, made.trained_on) == (7, len(shots.texts))
    assert [one["do"] for one in asked] == ["prepare"]
    assert asked[0]["labels"] == shots.labels.tolist()
    answers, seconds = made.answer(["a", "b"])
    assert (answers.shape, seconds) == ((2, 2), 2.0)


def test_peers_are_given_the_same_weights(
    make_encoder: Callable[..., torch.nn.Module], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = build_model(make_encoder("bert"), 3, "maximum", seed=0).eval()
    save_model(model, tmp_path)
    tokenizer.save_pretrained(tmp_path)
    write_extractor(tmp_path, Extractor(task="present", symptoms=["a", "b", "c"], max_tokens=16, pad_id=0))
    theirs = classifier_class().from_pretrained(write_checkpoint(tmp_path, tmp_path / "theirs")).eval()
    ids = torch.tensor([[2, 5, 6, 7, 3], [2, 9, 3, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids, mask).logits, model(ids, mask))
    assert theirs.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_what_a_peer_lacks_is_named_and_nothing_that_it_read() -> None:
    with pytest.raises(InputError, match=r"cannot run setfit \(ModuleNotFoundError: No module named 'no_"):
        ask_peer(Path(sys.executable), "import no_such_module", {}, "setfit")
    with pytest.raises(InputError, match=r"cannot run setfit \(ValueError\);"):
        ask_peer(Path(sys.executable), "raise ValueError('fever of Mr Smith')", {}, "setfit")
