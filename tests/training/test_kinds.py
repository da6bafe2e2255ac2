"""The second head: what else people marked, learnt beside the symptoms and taken away afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from sympress.labels.mentions import AnnotatedNote, Mention, OtherSpan
from sympress.models.model import build_model, load_model, save_model
from sympress.training import parameter_groups, train
from sympress.training.data import Collate, NoteDataset
from sympress.training.epochs import TrainSettings
from sympress.training.losses import IGNORED, TOKENS_A_NOTE
from sympress.training.tagging import (
    LEAST_SPANS,
    KindsLoss,
    attach_kinds_,
    cut_windows,
    detach_kinds_,
    kinds_of,
    note_kinds,
    spread_targets,
    window_targets,
)

TEXT = "patient reports fever after dose and pain with arm and cough"
TAGS = ("O", "B-present", "I-present")
NOTE = AnnotatedNote(
    "n", TEXT, (Mention(16, 21, "fever"),), (OtherSpan(28, 32, "Drug"), OtherSpan(47, 50, "Anatomy"))
)


def test_kinds_are_those_that_occur_often_enough():
    rare = AnnotatedNote("r", TEXT, (), (OtherSpan(0, 7, "Sex"),))
    assert kinds_of([NOTE] * LEAST_SPANS + [rare]) == ("symptom", "Anatomy", "Drug")
    assert kinds_of([NOTE] * (LEAST_SPANS - 1)) == ()
    assert kinds_of([AnnotatedNote("m", TEXT, NOTE.mentions)] * LEAST_SPANS) == ()


def test_targets_mark_each_kind_and_leave_special_tokens_out(tokenizer: PreTrainedTokenizerFast):
    windows = cut_windows(tokenizer, [TEXT], 24, 22)
    assert len(windows.notes.ids) == 1
    targets = spread_targets(windows, note_kinds(windows, [NOTE], ("symptom", "Drug")))
    assert targets[0] == targets[-1] == IGNORED
    starts, inner = windows.pieces[0].starts.tolist(), targets[1:-1].tolist()
    assert inner[starts.index(16)] == 1  # fever, a symptom
    assert inner[starts.index(28)] == 3  # dose, a drug
    assert inner[starts.index(47)] == 0  # arm is of a kind that is not learnt
    assert sum(tag in (1, 3) for tag in inner) == 2


def test_a_note_that_nobody_marked_for_other_kinds_says_nothing_of_them(tokenizer: PreTrainedTokenizerFast):
    silver = AnnotatedNote("s", TEXT, NOTE.mentions)
    windows = cut_windows(tokenizer, [TEXT, TEXT], 24, 22)
    first, second = note_kinds(windows, [silver, NOTE], ("symptom", "Drug"))
    assert (first == IGNORED).all()
    assert (second != IGNORED).sum() == len(windows.pieces[1].ids)


def _batch(tokenizer: PreTrainedTokenizerFast, **more: Any) -> tuple[NoteDataset, dict[str, torch.Tensor]]:
    windows = cut_windows(tokenizer, [TEXT, "fever"], 24, 22)
    notes = [NOTE, AnnotatedNote("m", "fever", (Mention(0, 5, "fever"),))]
    targets = window_targets(windows, [note.mentions for note in notes], TAGS)
    kinds = spread_targets(windows, note_kinds(windows, notes, ("symptom", "Anatomy", "Drug")))
    held = NoteDataset(windows.notes, targets, kinds=kinds, **more)
    return held, Collate(0)([held[row] for row in range(len(held))])


def test_the_loss_is_that_of_the_tags_and_a_weight_times_that_of_the_kinds(
    make_encoder: Callable[..., Any], tokenizer: PreTrainedTokenizerFast
):
    model = build_model(make_encoder(), len(TAGS), "token", 0).eval()
    attach_kinds_(model, ("symptom", "Anatomy", "Drug"), 0)
    _, batch = _batch(tokenizer)
    assert batch["kinds"].shape == batch["labels"].shape
    assert (batch["kinds"][batch["attention_mask"] == 0] == IGNORED).all()
    states = model.encoder(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
    ).last_hidden_state

    def summed(logits: torch.Tensor, key: str) -> torch.Tensor:
        whole = functional.cross_entropy(logits.flatten(0, 1), batch[key].flatten(), reduction="sum")
        return whole / TOKENS_A_NOTE / 2  # two windows

    tags, kinds = summed(model.head.output(states), "labels"), summed(model.kinds(states), "kinds")
    torch.testing.assert_close(KindsLoss(0.5)(model, batch), tags + 0.5 * kinds)
    _, weighted = _batch(tokenizer, weights=np.array([1.0, 0.0], dtype=np.float32))
    first = {key: value[:1] for key, value in batch.items()}
    torch.testing.assert_close(KindsLoss(0.5)(model, weighted), KindsLoss(0.5)(model, first) / 2)


def test_the_second_head_learns_with_the_first_and_leaves_nothing_behind(
    make_encoder: Callable[..., Any], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    model = build_model(make_encoder(), len(TAGS), "token", 0)
    attach_kinds_(model, ("symptom", "Anatomy", "Drug"), 0)
    names = [name for name, _ in model.named_parameters() if name.startswith("kinds.")]
    assert names == ["kinds.weight", "kinds.bias"]
    settings = TrainSettings(epochs=40, batch_size=2, learning_rate=3e-3, head_rate_ratio=2.0)
    rates = {id(one): group["lr"] for group in parameter_groups(model, settings) for one in group["params"]}
    assert rates[id(model.kinds.weight)] == rates[id(model.head.output.weight)]
    held, batch = _batch(tokenizer)
    before = KindsLoss(1.0)(model.eval(), batch).item()
    train(
        model,
        held,
        held,
        settings,
        tmp_path / "work",
        pad_id=0,
        score=lambda _logits: (0.0, {}),
        batch_loss=KindsLoss(1.0),
    )
    assert KindsLoss(1.0)(model, batch).item() < 0.2 * before
    detach_kinds_(model)
    save_model(model, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    assert not any("kinds" in name for name in loaded.state_dict())
    ids, mask = batch["input_ids"], batch["attention_mask"]
    assert torch.equal(loaded(ids, mask), model.eval()(ids, mask))
