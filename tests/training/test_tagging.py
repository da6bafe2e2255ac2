"""Tags of word pieces, windows and back, and a teacher's answers for other word pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from sympress.errors import InputError
from sympress.labels.mentions import Mention
from sympress.labels.task import task_of
from sympress.runtime.tokens import Pieces, tags_of
from sympress.training.data import Collate, LengthGroupedSampler, NoteDataset, blank_targets
from sympress.training.losses import IGNORED, loss_of
from sympress.training.tagging import (
    MovingWindows,
    align_logits,
    choose_span_bias,
    classes_in,
    cut_windows,
    decode_windows,
    gather_logits,
    moved_spans,
    note_tags,
    piece_tags,
    spread_logits,
    strict_f1,
    window_targets,
)

TAGS = tags_of(["present", "absent"])
TEXTS = ["patient reports fever and pain", "no rash", "", "cough with chills and nausea after the dose"]
MENTIONS = [
    [Mention(16, 21, "fever"), Mention(26, 30, "pain")],
    [Mention(3, 7, "rash", "absent")],
    [],
    [Mention(0, 5, "cough"), Mention(11, 28, "chills")],
]


def pieces(*places: tuple[int, int]) -> Pieces:
    spans = np.array(places, dtype=np.int64).reshape(-1, 2)
    return Pieces(np.arange(len(spans)), spans[:, 0], spans[:, 1], True)


@pytest.mark.parametrize(("max_tokens", "stride"), [(20, 13), (5, 2), (4, 1)])
def test_tags_come_back_from_any_windows_as_the_mentions(
    tokenizer: PreTrainedTokenizerFast, max_tokens: int, stride: int
):
    windows = cut_windows(tokenizer, TEXTS, max_tokens, stride)
    assert max(windows.notes.lengths) <= max_tokens
    targets = window_targets(windows, MENTIONS, TAGS)
    lengths = windows.notes.lengths
    assert (targets == IGNORED).sum() == 2 * len(lengths)  # [CLS] and [SEP]
    flat = np.eye(len(TAGS), dtype=np.float32)[targets.clip(0)] * 9
    found = decode_windows(windows, flat, TAGS)
    assert [[(m.start, m.end, m.assertion) for m in note] for note in found] == [
        [(m.start, m.end, m.assertion) for m in note] for note in MENTIONS
    ]
    notes = gather_logits(windows, flat)
    again = gather_logits(windows, spread_logits(windows, notes))
    assert all(np.array_equal(one, other) for one, other in zip(notes, again, strict=True))


def test_a_window_without_room_is_refused(tokenizer: PreTrainedTokenizerFast):
    with pytest.raises(InputError) as caught:
        cut_windows(tokenizer, TEXTS, 8, 7)
    assert str(caught.value) == "stride 7 of windows of 8 tokens: give 1 to 6, or more tokens"


def test_a_mention_has_its_words_whole_and_the_longest_wins():
    text = "chest pain afebrile"
    cut = pieces((0, 5), (6, 10), (11, 12), (12, 19))
    whole, part = Mention(0, 10, "a"), Mention(6, 10, "b")
    assert piece_tags(text, cut, [part, whole], TAGS).tolist() == [1, 2, 0, 0]
    assert piece_tags(text, cut, [Mention(12, 19, "fever", "absent")], TAGS).tolist() == [0, 0, 3, 4]
    with pytest.raises(InputError) as caught:
        piece_tags(text, cut, [Mention(0, 5, "a", "family")], TAGS)
    assert str(caught.value) == "a mention is 'family'; the tags mark present, absent alone"


def test_a_teachers_answer_is_handed_to_the_pieces_of_its_pieces():
    theirs, ours = pieces((0, 6), (7, 11)), pieces((0, 2), (2, 6), (7, 11))
    answer = np.array([[0.0, 5.0, 1.0], [0.0, 1.0, 4.0]], dtype=np.float32)
    aligned = align_logits(answer, theirs, ours)
    assert aligned[0].tolist() == [0.0, 5.0, 1.0]
    assert aligned[1].tolist() == pytest.approx([0.0, 0.0, np.logaddexp(5.0, 1.0)])
    assert aligned[2].tolist() == [0.0, 1.0, 4.0]
    assert np.array_equal(align_logits(answer, theirs, theirs), answer)
    assert align_logits(answer[:0], pieces(), ours).shape == (3, 3)


def test_the_loss_of_a_window_does_not_depend_on_those_beside_it(tokenizer: PreTrainedTokenizerFast):
    import torch

    windows = cut_windows(tokenizer, TEXTS, 8, 4)
    dataset = NoteDataset(windows.notes, window_targets(windows, MENTIONS, TAGS))
    batch = Collate(0)([dataset[row] for row in range(len(dataset))])
    assert batch["labels"].shape == batch["input_ids"].shape
    assert (batch["labels"][batch["attention_mask"] == 0] == IGNORED).all()
    logits = torch.randn(*batch["labels"].shape, len(TAGS), generator=torch.Generator().manual_seed(0))
    losses = loss_of("mentions").of_notes(logits, batch["labels"])
    for row in range(len(dataset)):
        length = len(dataset[row]["labels"])
        alone = loss_of("mentions")(logits[row : row + 1, :length], dataset[row]["labels"][None])
        assert float(losses[row]) == pytest.approx(float(alone), rel=1e-5)
    weights = torch.arange(len(dataset)).float()
    weighted = loss_of("mentions")(logits, batch["labels"], None, weights)
    assert float(weighted) == pytest.approx(float((losses * weights).mean()), rel=1e-5)


def test_assertions_f1_and_bias_by_hand():
    assert classes_in(MENTIONS, task_of("mentions")) == ("present", "absent")
    assert classes_in([], task_of("mentions")) == ("present",)
    gold = [[Mention(0, 5, None), Mention(6, 9, None, "absent")]]
    found = [[Mention(0, 5, "x"), Mention(6, 9, None), Mention(10, 12, None)]]
    assert strict_f1(gold, found) == pytest.approx(2 / 5)
    assert strict_f1(gold, found, assertion=False) == pytest.approx(4 / 5)
    assert strict_f1([[]], [[]]) == 0.0
    unsure = np.log(np.array([[0.6, 0.3, 0.02, 0.04, 0.04]], dtype=np.float32))
    answers = [(unsure, pieces((0, 5)), "fever")]
    # O 0.6 against B of any assertion 0.34: a bias above ln(0.6 / 0.34) = 0.57 is needed, in steps of 0.25
    assert choose_span_bias(answers, [[Mention(0, 5, None)]], TAGS) == (0.75, 1.0)
    assert choose_span_bias(answers, [[]], TAGS) == (0.0, 0.0)


def test_blank_targets_have_the_shape_of_the_task(tokenizer: PreTrainedTokenizerFast):
    notes = cut_windows(tokenizer, TEXTS, 8, 4).notes
    assert blank_targets(notes, outputs=3, per_token=False).shape == (len(notes.ids), 3)
    assert blank_targets(notes, outputs=3, per_token=True).shape == (int(notes.lengths.sum()),)


@given(st.integers(0, 400), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_moved_windows_cover_a_note_side_by_side_and_are_as_many_wherever_they_fall(
    pieces: int, room: int, seed: int
):
    for rng in (None, np.random.default_rng(seed)):
        spans = moved_spans(pieces, room, rng)
        assert [piece for start, end in spans for piece in range(start, end)] == list(range(pieces))
        assert max(end - start for start, end in spans) <= room
        assert len(spans) == (1 if pieces <= room else -(-pieces // room) + 1)


def test_windows_of_spans_are_other_ones_at_every_epoch_with_their_own_targets(
    tokenizer: PreTrainedTokenizerFast,
):
    windows = cut_windows(tokenizer, TEXTS, 8, 4)
    tags = note_tags(windows, MENTIONS, TAGS)
    logits = [np.eye(len(TAGS), dtype=np.float32)[own] for own in tags]
    weights = np.arange(len(TEXTS), dtype=np.float32)
    moving = MovingWindows(windows, tags, teacher_logits=logits, weights=weights)
    sampler = LengthGroupedSampler(moving, 2, seed=3)
    seen = set()
    for epoch in range(6):
        sampler.set_epoch(epoch)
        assert sorted(sampler) == list(range(len(moving)))
        items = [moving[row] for row in range(len(moving))]
        inner = [item["labels"] != IGNORED for item in items]
        told = np.concatenate([item["labels"][own].numpy() for item, own in zip(items, inner, strict=True)])
        assert told.tolist() == np.concatenate(tags).tolist()  # each piece once, with its own tag
        for item, own in zip(items, inner, strict=True):
            assert (item["teacher_logits"][own].argmax(-1) == item["labels"][own]).all()
        per_note = {float(item["weights"]): 0 for item in items}
        for item, own in zip(items, inner, strict=True):
            per_note[float(item["weights"])] += int(own.sum())
        assert per_note == {float(row): len(own) for row, own in enumerate(tags) if len(own)} | {
            float(row): 0 for row, own in enumerate(tags) if not len(own)
        }
        seen.add(tuple(len(item["labels"]) for item in items))
        again = MovingWindows(windows, tags)
        assert again.move(3, epoch).tolist() == [len(item["labels"]) for item in items]
    assert len(seen) > 1
