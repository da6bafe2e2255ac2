"""Notes as word pieces, batches and their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from sympress.models.model import build_model
from sympress.training.data import Collate, EncodedNotes, LengthGroupedSampler, NoteDataset, encode_texts
from sympress.training.epochs import predict_logits

LONG = "patient reports fever and cough and pain after the dose"


def test_long_notes_are_cut_and_counted_and_keep_their_special_tokens(tokenizer: PreTrainedTokenizerFast):
    notes = encode_texts(tokenizer, [LONG, "fever", LONG, ""], max_tokens=6)
    assert notes.truncated == 2
    assert notes.lengths.tolist() == [6, 3, 6, 2]
    whole = tokenizer(LONG)["input_ids"]
    assert notes.ids[0].tolist() == [*whole[:5], tokenizer.sep_token_id]
    for ids in notes.ids:
        assert ids.dtype == np.int64
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)


def test_a_note_of_exactly_the_limit_is_not_cut(tokenizer: PreTrainedTokenizerFast):
    length = len(tokenizer(LONG)["input_ids"])
    assert encode_texts(tokenizer, [LONG], max_tokens=length).truncated == 0
    assert encode_texts(tokenizer, [LONG], max_tokens=length - 1).truncated == 1


def test_a_note_longer_than_the_tokenizer_likes_makes_no_noise(tokenizer: PreTrainedTokenizerFast, caplog):
    notes = encode_texts(tokenizer, ["fever " * 200], max_tokens=64)
    assert notes.lengths.tolist() == [64]
    assert caplog.records == []


def test_memory_does_not_grow_with_what_is_cut_off(tokenizer: PreTrainedTokenizerFast):
    peak = Path("/proc/self/clear_refs")
    if not peak.is_file():
        pytest.skip("the peak of memory can be set back on Linux only")

    def peak_mb() -> int:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) // 1000

    peak.write_text("5", encoding="utf-8")
    before = peak_mb()
    notes = encode_texts(tokenizer, ["fever and cough " * 60_000], max_tokens=64)
    assert (notes.lengths.tolist(), notes.truncated) == ([64], 1)
    assert peak_mb() - before < 30  # 100 and more if all of the note is tokenized


def test_no_notes_are_fine(tokenizer: PreTrainedTokenizerFast):
    assert encode_texts(tokenizer, [], 8) == EncodedNotes((), 0)
    assert EncodedNotes((), 0).lengths.shape == (0,)


@pytest.mark.parametrize(("at_once", "characters"), [(5, 1000), (100, 30), (100, 1)])
def test_notes_are_tokenized_in_parts_that_change_nothing(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch, at_once: int, characters: int
):
    texts = ["fever", "fever and cough " * 3, "", "a b c d e f g h i j"] * 3
    whole = encode_texts(tokenizer, texts, 7)
    assert whole.truncated == 6
    monkeypatch.setattr("sympress.training.data.NOTES_AT_ONCE", at_once)
    monkeypatch.setattr("sympress.training.data.CHARACTERS_AT_ONCE", characters)
    parts = encode_texts(tokenizer, texts, 7)
    assert parts.truncated == whole.truncated
    assert [ids.tolist() for ids in parts.ids] == [ids.tolist() for ids in whole.ids]
    assert max(len(ids) for ids in parts.ids) == 7


def of_lengths(lengths: Sequence[int] | np.ndarray) -> NoteDataset:
    """Notes of so many pieces."""
    ids = tuple(np.ones(int(length), dtype=np.int64) for length in lengths)
    return NoteDataset(EncodedNotes(ids, 0), np.zeros((len(ids), 1), dtype=np.uint8))


def test_a_batch_is_padded_to_its_longest_note():
    notes = EncodedNotes((np.array([2, 5, 3]), np.array([2, 3])), 0)
    dataset = NoteDataset(notes, np.array([[1, 0], [0, 1]], dtype=np.uint8))
    batch = Collate(9)([dataset[0], dataset[1]])
    assert batch["input_ids"].tolist() == [[2, 5, 3], [2, 3, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert "teacher_logits" not in batch


def test_teacher_logits_travel_with_their_notes():
    notes = EncodedNotes((np.array([2, 5, 3]), np.array([2, 3])), 0)
    logits = np.array([[1.5, -1.0], [0.25, 3.0]], dtype=np.float32)
    dataset = NoteDataset(notes, np.eye(2, dtype=np.uint8), logits)
    batch = Collate(0)([dataset[1], dataset[0]])
    assert batch["teacher_logits"].tolist() == logits[::-1].tolist()
    assert batch["labels"].tolist() == [[0.0, 1.0], [1.0, 0.0]]


@given(st.lists(st.integers(2, 60), max_size=200), st.integers(1, 9), st.integers(0, 5), st.integers(0, 5))
def test_the_order_is_a_permutation_and_a_function_of_seed_and_epoch(
    lengths: list[int], batch_size: int, seed: int, epoch: int
):
    def order(seed: int, epoch: int) -> list[int]:
        sampler = LengthGroupedSampler(of_lengths(lengths), batch_size, seed)
        sampler.set_epoch(epoch)
        assert len(sampler) == len(lengths)
        return list(sampler)

    first = order(seed, epoch)
    assert sorted(first) == list(range(len(lengths)))
    np.random.seed(0)  # noqa: NPY002  the global state is what must not matter
    torch.manual_seed(0)
    assert order(seed, epoch) == first


def test_each_seed_and_epoch_has_an_order_of_its_own():
    orders = set()
    for seed in range(3):
        sampler = LengthGroupedSampler(of_lengths(range(200)), 8, seed)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            orders.add(tuple(sampler))
    assert len(orders) == 9


def test_notes_of_like_length_share_a_batch():
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, 250, size=2000)

    def spread(order: np.ndarray) -> float:
        """Mean over batches of the difference between the longest and the shortest note."""
        return float(np.mean([np.ptp(lengths[order[i : i + 16]]) for i in range(0, 2000, 16)]))

    grouped = spread(np.array(list(LengthGroupedSampler(of_lengths(lengths), 16, seed=0))))
    assert grouped < 0.1 * spread(rng.permutation(2000))


def test_only_the_last_batch_is_short():
    """A short batch in the middle would shift every batch after it across the groups."""
    lengths = np.arange(16 * 50 + 7)
    order = np.array(list(LengthGroupedSampler(of_lengths(lengths), 16, seed=0)))
    batches = [order[i : i + 16] for i in range(0, len(order), 16)]
    assert [len(batch) for batch in batches[:-1]] == [16] * 50
    assert max(np.ptp(lengths[batch]) for batch in batches[:-1]) < 40


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_predictions_come_in_the_order_of_the_notes(
    make_encoder: Callable, token_ids: list[np.ndarray], batch_size: int
):
    model = build_model(make_encoder("bert"), 3, "mean", seed=0)
    notes = [token_ids[index] for index in (3, 0, 2, 1)]
    dataset = NoteDataset(EncodedNotes(tuple(notes), 0), np.zeros((4, 3), dtype=np.uint8))
    model.train()
    found = predict_logits(model, dataset, pad_id=0, batch_size=batch_size)
    assert model.training  # as it was
    assert found.dtype == np.float32
    model.eval()
    with torch.inference_mode():
        for row, ids in enumerate(notes):
            one = torch.from_numpy(ids)[None]
            expected = model(one, torch.ones_like(one))[0].numpy()
            np.testing.assert_allclose(found[row], expected, atol=1e-5)
