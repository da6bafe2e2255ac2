"""Whole notes in training: cut into windows, pooled by the maximum, bounded in memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from sympress.compression.distill.objective import Distillation, DistillSettings
from sympress.compression.distill.teachers import Int8Teacher, fingerprint_notes, teacher_logits
from sympress.compression.lowrank.factorize import fisher_statistics
from sympress.compression.prune.structured import mask_gradients
from sympress.compression.prune.surgeon import curvatures
from sympress.compression.recipe.engine import run_recipe
from sympress.compression.recipe.language import parse_recipe
from sympress.compression.recipe.material import (
    Context,
    Material,
    State,
    calibration_batches,
    encode_notes,
    fingerprint_material,
    training_notes,
    validation_notes,
)
from sympress.errors import InputError
from sympress.models.model import SymptomModel, build_model
from sympress.training import data as module
from sympress.training import from_logits, train
from sympress.training.data import (
    Collate,
    EncodedNotes,
    NoteDataset,
    default_stride,
    encode_texts,
    encode_windows,
    joined_notes,
    note_logits,
    pool_windows,
    split_batch,
    take_notes,
)
from sympress.training.epochs import TrainSettings, predict_logits
from sympress.training.losses import loss_of

FILLER = ("patient", "reports", "with", "and", "the", "after", "dose", "arm", "a", "b", "c", "d", "e", "f")
SETTINGS = TrainSettings(epochs=2, batch_size=4, learning_rate=1e-3, save_steps=50)
SIZE, STRIDE = 12, 7
LENGTHS = (3, 25, 10, 17, 40, 1)


def texts_of(lengths: Sequence[int], seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(FILLER, size=length)) for length in lengths]


TEXTS = texts_of(LENGTHS)
MATERIAL = Material(
    task="present",
    training=TEXTS * 3,
    targets=np.random.default_rng(1).integers(0, 2, (18, 3)).astype(np.uint8),
    transfer=texts_of((30, 5), 2),
    validation=TEXTS,
    validation_targets=np.eye(6, 3, dtype=np.uint8),
    max_tokens=SIZE,
    stride=STRIDE,
    max_windows=3,
)


@pytest.fixture
def model(make_encoder: Callable[..., Any]) -> SymptomModel:
    made = build_model(make_encoder("bert"), 3, "cls", seed=0).eval()
    made.head.output.weight.data *= 20
    return made


@pytest.fixture(scope="module")
def encoded(tokenizer: PreTrainedTokenizerFast) -> EncodedNotes:
    return encode_windows(tokenizer, TEXTS, SIZE, STRIDE)


def batch_of(notes: EncodedNotes, rows: Sequence[int], labels: np.ndarray | None = None) -> dict[str, Any]:
    targets = np.eye(len(notes), 3, dtype=np.uint8) if labels is None else labels
    dataset = NoteDataset(notes, targets)
    return Collate(0)([dataset[row] for row in rows])


def test_windows_overlap_and_hold_every_piece(
    encoded: EncodedNotes, tokenizer: PreTrainedTokenizerFast
) -> None:
    assert encoded.counts == (1, 4, 1, 2, 6, 1)  # 10 pieces a window, 7 apart
    assert (len(encoded), len(encoded.ids), encoded.truncated) == (6, 15, 0)
    assert encoded.lengths.max() == SIZE
    assert encoded.tokens.tolist() == [5, 25 + 3 * 3 + 8, 12, 17 + 3 + 4, 40 + 5 * 3 + 12, 3]
    whole = tokenizer(TEXTS[1], add_special_tokens=False)["input_ids"]
    own = [encoded.ids[place].tolist() for place in range(1, 5)]
    assert [window[1:-1] for window in own] == [whole[at : at + 10] for at in (0, 7, 14, 21)]
    assert {(window[0], window[-1]) for window in own} == {(2, 3)}


def test_the_first_windows_alone_are_kept_and_what_is_left_is_counted(
    encoded: EncodedNotes, tokenizer: PreTrainedTokenizerFast
) -> None:
    two = encode_windows(tokenizer, TEXTS, SIZE, STRIDE, most=2)
    assert two.counts == (1, 2, 1, 2, 2, 1)
    assert two.truncated == 2
    assert [ids.tolist() for ids in two.part(1, 2).ids] == [
        ids.tolist() for ids in encoded.part(1, 2).ids[:2]
    ]
    one = encode_windows(tokenizer, TEXTS, SIZE, STRIDE, most=1)
    assert one.counts is None
    first = encode_texts(tokenizer, TEXTS, SIZE)
    assert one.truncated == first.truncated == 3
    assert [ids.tolist() for ids in one.ids] == [ids.tolist() for ids in first.ids]


def test_long_notes_are_tokenized_in_parts_to_the_same_pieces(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = texts_of((400, 3, 250))
    whole = encode_windows(tokenizer, texts, SIZE, STRIDE)
    monkeypatch.setattr(module, "SEGMENT_CHARACTERS", 300)
    monkeypatch.setattr(module, "NOTES_AT_ONCE", 2)
    parts = encode_windows(tokenizer, texts, SIZE, STRIDE)
    assert fingerprint_notes(parts) == fingerprint_notes(whole)
    assert encode_windows(tokenizer, texts, SIZE, STRIDE, most=5).counts == (5, 1, 5)


def test_a_window_without_room_is_one_line(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match=r"^stride 7 of windows of 8 tokens: give 1 to 6, or more tokens$"):
        encode_windows(tokenizer, TEXTS, 8, 7)
    assert default_stride(128) == 94


def test_a_notes_logit_is_its_largest_over_the_windows(encoded: EncodedNotes, model: SymptomModel) -> None:
    dataset = NoteDataset(encoded, np.zeros((6, 3), dtype=np.uint8))
    found = predict_logits(model, dataset, 0, batch_size=4)
    with torch.inference_mode():
        alone = [
            model(torch.from_numpy(ids[None]), torch.ones(1, len(ids), dtype=torch.int64))[0].numpy()
            for ids in encoded.ids
        ]
    ends = encoded.ends
    wanted = [np.max(alone[a:b], axis=0) for a, b in pairwise(ends)]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    with torch.inference_mode():
        together = note_logits(model, batch_of(encoded, range(6)))
    np.testing.assert_allclose(together, wanted, atol=1e-5)


def test_a_gradient_reaches_the_largest_window_of_each_symptom_alone() -> None:
    logits = torch.tensor([[1.0, 5.0], [3.0, 4.0], [7.0, 0.0]], requires_grad=True)
    batch = {"input_ids": torch.zeros(3, 1), "owners": torch.tensor([0, 0, 1])}
    pooled = pool_windows(logits, batch)
    assert pooled.tolist() == [[3.0, 5.0], [7.0, 0.0]]
    pooled.sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]


def test_notes_of_one_window_make_the_very_batches_they_made(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = texts_of((3, 10, 7))
    one, first = encode_windows(tokenizer, texts, SIZE, STRIDE), encode_texts(tokenizer, texts, SIZE)
    assert one.counts is None
    ours, theirs = (batch_of(notes, [2, 0, 1], np.eye(3, dtype=np.uint8)) for notes in (one, first))
    assert list(ours) == list(theirs) == ["input_ids", "attention_mask", "labels"]
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert fingerprint_notes(one) == fingerprint_notes(first)


def test_short_notes_beside_long_ones_need_no_owners(encoded: EncodedNotes) -> None:
    assert "owners" not in batch_of(encoded, [0, 2, 5])
    assert batch_of(encoded, [0, 1, 5])["owners"].tolist() == [0, 1, 1, 1, 1, 2]


def test_parts_of_a_batch_are_whole_notes(encoded: EncodedNotes) -> None:
    batch = batch_of(encoded, range(6))
    parts = split_batch(batch, 5)
    assert [len(part["input_ids"]) for part in parts] == [5, 3, 6, 1]  # no note is cut
    assert [len(part["labels"]) for part in parts] == [2, 2, 1, 1]
    assert all(int(part["owners"][0]) == 0 for part in parts)
    again = torch.cat([part["input_ids"] for part in parts])
    assert torch.equal(again, batch["input_ids"])
    assert split_batch(batch, 15) == [batch]
    assert take_notes(batch, 4, 5)["input_ids"].shape == (6, SIZE)


def test_parts_of_notes_join_again(encoded: EncodedNotes) -> None:
    joined = joined_notes([encoded.part(0, 2), encoded.part(2, 6)])
    assert (joined.counts, len(joined.ids)) == (encoded.counts, len(encoded.ids))
    assert joined_notes([encoded.part(0, 0)]).ids == ()
    assert fingerprint_notes(encoded) != fingerprint_notes(EncodedNotes(encoded.ids, 0))


def train_on(model: SymptomModel, notes: NoteDataset, folder: Path, **settings: Any) -> SymptomModel:
    """A copy without dropout, trained."""
    copied = copy.deepcopy(model)
    for part in copied.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    chosen = replace(SETTINGS, **settings)
    train(
        copied, notes, notes, chosen, folder, pad_id=0,
        score=lambda logits: (float(np.abs(logits).mean()), {}), batch_loss=from_logits(loss_of("present")),
    )  # fmt: skip
    return copied


def test_a_batch_that_is_run_in_parts_teaches_the_same(
    encoded: EncodedNotes, model: SymptomModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = NoteDataset(encoded, np.eye(6, 3, dtype=np.uint8))
    whole = train_on(model, notes, tmp_path / "whole", batch_size=6)
    sizes = []

    def counted(batch: dict[str, Any], most: int) -> list[dict[str, Any]]:
        parts = split_batch(batch, most)
        sizes.append([len(part["input_ids"]) for part in parts])
        return parts

    monkeypatch.setattr("sympress.training.WINDOWS_AT_ONCE", 2)
    monkeypatch.setattr("sympress.training.split_batch", counted)
    parts = train_on(model, notes, tmp_path / "parts", batch_size=6)
    assert max(len(own) for own in sizes) > 1
    assert max(size for own in sizes for size in own) <= 6
    gaps, moved = [], []
    for name, value in model.state_dict().items():
        gaps.append((parts.state_dict()[name] - whole.state_dict()[name]).abs().flatten())
        moved.append((whole.state_dict()[name] - value).abs().flatten())
    assert float(torch.cat(gaps).mean()) < 0.02 * float(torch.cat(moved).mean())  # Adam enlarges rounding


def test_what_stands_behind_the_first_window_is_learnt_by_windows_and_not_without(
    make_encoder: Callable[..., Any], tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    def notes(count: int, seed: int) -> tuple[list[str], np.ndarray]:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, (count, 2)).astype(np.uint8)
        found = []
        for row in labels:
            words = list(rng.choice(FILLER, size=30))
            for symptom, place in zip(np.flatnonzero(row), rng.permutation(np.arange(12, 28)), strict=False):
                words[place] = ("fever", "cough")[symptom]
            found.append(" ".join(words))
        return found, labels

    (texts, labels), (judged, truth) = notes(240, 0), notes(80, 1)

    def right(stride: int | None) -> float:
        material = Material("present", texts, labels, (), judged, truth, max_tokens=12, stride=stride)
        model = build_model(make_encoder("bert"), 2, "maximum", seed=0)
        learnt, seen = training_notes(tokenizer, material), encode_notes(tokenizer, judged, material)
        torch.manual_seed(0)
        train(
            model,
            learnt,
            NoteDataset(seen, truth),
            replace(SETTINGS, epochs=6, batch_size=16, learning_rate=5e-3),
            tmp_path / str(stride),
            pad_id=0,
            score=lambda logits: (0.0, {}),
            batch_loss=from_logits(loss_of("present")),
        )
        answers = predict_logits(model, NoteDataset(seen, truth), 0) > 0
        return float((answers == truth).mean())

    assert right(7) > 0.95
    assert right(None) < 0.65  # chance: the words are not among what is read


def test_teachers_answer_whole_notes_and_int8_nearly_so(
    encoded: EncodedNotes, model: SymptomModel, tmp_path: Path
) -> None:
    blank = NoteDataset(encoded, np.zeros((6, 3), dtype=np.uint8))
    wanted = predict_logits(model, blank, 0)
    told: list[tuple[int, int]] = []
    found = teacher_logits([model], encoded, 0, tmp_path, progress=lambda *done: told.append(done))
    np.testing.assert_allclose(found, wanted, atol=1e-5 if not torch.cpu.get_capabilities() else 0.05)
    assert told == [(6, 6)]
    rounded = Int8Teacher(model).logits(encoded)
    assert rounded.shape == (6, 3)
    assert np.abs(rounded - wanted).max() < 0.2 * wanted.std() + 0.05


def test_distillation_compares_logits_of_notes(encoded: EncodedNotes, model: SymptomModel) -> None:
    loss = Distillation("present", DistillSettings(labels=0, soft=1, temperature=2), [model])
    batch = batch_of(encoded, range(6))
    assert float(loss(model, batch).detach()) == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        stored = note_logits(model, batch)
    other = copy.deepcopy(model)
    other.head.output.bias.data += 1
    ours = float(loss(other, batch | {"teacher_logits": stored}).detach())
    wanted = loss_of("present").soft_targets(stored + 1, stored, 2.0)
    assert ours == pytest.approx(float(wanted), rel=1e-4)


def test_importance_is_that_of_notes(encoded: EncodedNotes, model: SymptomModel) -> None:
    batch, objective = batch_of(encoded, range(6)), loss_of("present")
    together = mask_gradients(model, [batch], objective)
    alone = mask_gradients(model, [take_notes(batch, row, row + 1) for row in range(6)], objective)
    for ours, theirs in zip(
        (*together.heads, *together.neurons), (*alone.heads, *alone.neurons), strict=True
    ):
        assert len(ours) == 6
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)
    one = fisher_statistics(model, [batch], objective)
    parts = fisher_statistics(model, split_batch(batch, 5), objective)
    assert one.notes == parts.notes == 6
    for name, moment in one.moments.items():
        torch.testing.assert_close(moment, parts.moments[name])
    generator = torch.Generator().manual_seed(0)
    found = curvatures(
        model, [batch], objective, lambda logits, labels: loss_of("present").sample(logits, labels, generator)
    )
    assert found[0].tokens[0].shape == batch["input_ids"].shape


RECIPES = [
    "distill(layers=1, hidden=1, relations=1) > quantize(int8)",
    "distill(student=conv, channels=16, width=16, tokens=20)",
    "prune(heads=0.5, ffn=0.5) > fine-tune(simulate=int8)",
    "prune(macs=0.6)",
    "prune(layers=1, score=fisher)",
    "lowrank(rank=4, method=activation)",
    "lowrank(rank=4, method=fisher)",
    "mask(share=0.3)",
]


def context_of(folder: Path, material: Material) -> Context:
    return Context(
        material=material,
        settings=replace(SETTINGS, epochs=1),
        score=lambda logits: (float(np.abs(logits).mean()), {"notes": len(logits)}),
        folder=folder / "work",
        logits_folder=folder / "logits",
    )


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_kind_of_step_works_on_whole_notes(
    recipe: str, model: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    state = run_recipe(parse_recipe(recipe), model, tokenizer, context_of(tmp_path, MATERIAL))
    assert all(epoch["notes"] == len(TEXTS) for epoch in state.epochs)
    read = state.reads(MATERIAL)
    assert (read.max_tokens, read.stride) == (
        (20, default_stride(20)) if "tokens" in recipe else (SIZE, STRIDE)
    )
    notes, _ = validation_notes(state.tokenizer, read, lambda logits: (0.0, {}))
    assert predict_logits(state.model, notes, 0).shape == (6, 3)


def test_training_reads_as_many_windows_as_it_may_and_validation_all(
    tokenizer: PreTrainedTokenizerFast, model: SymptomModel
) -> None:
    learnt = training_notes(tokenizer, MATERIAL)
    assert learnt.notes.counts == (1, 3, 1, 2, 3, 1) * 3
    assert learnt.notes.truncated == 6
    judged, _ = validation_notes(tokenizer, MATERIAL, lambda logits: (0.0, {}))
    assert judged.notes.counts == (1, 4, 1, 2, 6, 1)
    state = State(model, tokenizer, model, (model, tokenizer))
    batches = calibration_batches(state, MATERIAL)
    assert sum(len(batch["labels"]) for batch in batches) == 18
    assert sum(len(batch["input_ids"]) for batch in batches) == len(learnt.notes.ids)


def test_how_notes_are_read_is_part_of_what_a_result_depends_on() -> None:
    first = replace(MATERIAL, stride=None, max_windows=None)
    changed = [MATERIAL, replace(MATERIAL, stride=8), replace(MATERIAL, max_windows=4), first]
    assert len({fingerprint_material(one) for one in changed}) == 4
