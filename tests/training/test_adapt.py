"""Masked-language training: the masks, what it may change, and whether it says the truth about itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import (
    AutoModel,
    BertForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from sympress.compression.recipe.material import Context, Material, State
from sympress.compression.recipe.steps import Adapt
from sympress.errors import InputError
from sympress.models.encoder import masked_language_model
from sympress.models.model import build_model
from sympress.training.adapt import (
    AdaptLog,
    AdaptSettings,
    Judge,
    Masking,
    adapt_encoder_,
    hold_out,
    imitation_loss,
)
from sympress.training.data import EncodedNotes, NoteDataset
from sympress.training.epochs import TrainSettings

FAMILIES = ("bert", "roberta", "electra", "distilbert", "modernbert", "deberta-v2")
PHRASES = ("patient reports fever and cough", "patient denies pain with nausea", "no rash after the dose")
SETTINGS = AdaptSettings(epochs=2, batch_size=16, learning_rate=3e-3, max_tokens=32, held_out_share=0.2)


class KilledError(Exception):
    """Stands for a kill."""


def make_texts(count: int = 80) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join([*rng.choice(PHRASES, 2), *rng.choice(list("abcdefgh"), 3)]) for _ in range(count)]


def weights_of(encoder: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in encoder.state_dict().items()}


def changed(encoder: PreTrainedModel, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}


@pytest.fixture(scope="module")
def masking(make_encoder: Callable, tokenizer: PreTrainedTokenizerFast) -> Callable[[int], Masking]:
    """The masks of a seed."""
    encoder = make_encoder("bert")
    return lambda seed: Masking(tokenizer, encoder, seed)


def test_fifteen_percent_are_chosen_and_fare_as_published(
    masking: Callable[[int], Masking], tokenizer: PreTrainedTokenizerFast
) -> None:
    word = tokenizer.convert_tokens_to_ids("fever")
    ids = torch.full((200, 500), word)
    ids[:, 0], ids[:, 400:] = tokenizer.cls_token_id, tokenizer.pad_token_id
    mask = (ids != tokenizer.pad_token_id).long()
    masked, chosen = masking(1).apply(ids, mask)
    real = ids == word
    assert not chosen[~real].any()
    assert torch.equal(masked[~chosen], ids[~chosen])
    assert chosen[real].float().mean().item() == pytest.approx(0.15, abs=0.005)
    fates = masked[chosen]
    blank, kept = fates == tokenizer.mask_token_id, fates == word
    assert blank.float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert kept.float().mean().item() == pytest.approx(0.1, abs=0.015)
    assert (~blank & ~kept).float().mean().item() == pytest.approx(0.1, abs=0.015)
    assert len(fates.unique()) > 0.9 * len(tokenizer)  # random pieces come from the whole vocabulary


def test_masks_depend_on_the_seed_alone_and_differ_from_draw_to_draw(
    masking: Callable[[int], Masking],
) -> None:
    ids = torch.full((4, 60), 9)
    first, second = masking(5), masking(5)
    one = first.apply(ids, torch.ones_like(ids))
    torch.manual_seed(0)  # must not matter
    assert torch.equal(one[0], second.apply(ids, torch.ones_like(ids))[0])
    assert not torch.equal(one[1], first.apply(ids, torch.ones_like(ids))[1])


def test_at_least_one_word_of_a_batch_is_chosen(
    masking: Callable[[int], Masking], tokenizer: PreTrainedTokenizerFast
) -> None:
    cls, sep, pad = tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    ids = torch.tensor([[cls, 9, sep], [cls, pad, pad]])
    for seed in range(20):
        _, chosen = masking(seed).apply(ids, (ids != pad).long())
        assert chosen.tolist() == [[False, True, False], [False, False, False]]


def test_whole_groups_are_held_out() -> None:
    groups = np.repeat(np.arange(30), np.arange(1, 31))
    learnt, judged = hold_out(groups, 0.2, seed=3)
    assert sorted(learnt + judged) == list(range(len(groups)))
    assert not set(groups[learnt]) & set(groups[judged])
    assert 0.2 * len(groups) <= len(judged) <= 0.2 * len(groups) + 30
    assert hold_out(groups, 0.2, seed=3) == (learnt, judged)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_gives_what_transformers_own_model_gives(make_encoder: Callable, family: str) -> None:
    encoder = make_encoder(family)
    model, fresh = masked_language_model(encoder, None, seed=0)
    assert fresh
    assert model.encoder is encoder
    ids = torch.randint(5, 50, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    chosen[0, 3] = chosen[1, 1] = chosen[1, 4] = True
    with torch.no_grad():
        ours = model.eval()(ids, mask, chosen)
        setattr(model.head, model.head.base_model_prefix, encoder)
        theirs = model.head(input_ids=ids, attention_mask=mask).logits
    assert torch.allclose(ours, theirs[chosen], atol=1e-5)
    assert model.head.get_output_embeddings().weight is encoder.get_input_embeddings().weight


def test_shared_weights_stand_once_in_the_state_and_stay_shared(make_encoder: Callable) -> None:
    model, _ = masked_language_model(make_encoder("bert"), None, seed=0)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    assert not any("decoder" in name for name in weights)
    word = next(name for name in weights if name.endswith("word_embeddings.weight"))
    weights[word] += 1
    model.load_state_dict(weights)
    assert torch.equal(model.head.get_output_embeddings().weight, weights[word])


def test_the_head_of_the_checkpoint_is_used_where_there_is_one(
    tmp_path: Path, make_encoder: Callable
) -> None:
    torch.manual_seed(0)
    stored = BertForMaskedLM(make_encoder("bert").config)
    stored.save_pretrained(tmp_path / "whole")
    encoder = AutoModel.from_pretrained(tmp_path / "whole", add_pooling_layer=False)
    model, fresh = masked_language_model(encoder, str(tmp_path / "whole"), seed=0)
    assert not fresh
    ids = torch.tensor([[2, 7, 9, 3]])
    with torch.no_grad():
        ours = model.eval()(ids, torch.ones_like(ids), ids == 9)
        assert torch.allclose(ours, stored.eval()(ids).logits[ids == 9], atol=1e-5)
    encoder.save_pretrained(tmp_path / "bare")
    assert masked_language_model(encoder, str(tmp_path / "bare"), seed=0)[1]


def test_the_fall_and_its_error_are_those_of_the_ratio_estimator() -> None:
    judge = Judge((), np.array([1, 3, 2]))
    found = judge.describe(np.array([2.0, 9.0, 4.0]), np.array([1.0, 6.0, 5.0]))
    assert found["loss"] == pytest.approx(12 / 6)
    assert found["fall"] == pytest.approx(3 / 6)
    spread = np.array([1.0, 3.0, -1.0]) - 0.5 * np.array([1, 3, 2])
    assert found["standard_error"] == pytest.approx(np.sqrt(3 / 2 * (spread**2).sum()) / 6)


def test_the_judge_sums_each_notes_cross_entropy(
    make_encoder: Callable, tokenizer: PreTrainedTokenizerFast
) -> None:
    model, _ = masked_language_model(make_encoder("bert"), None, seed=0)
    masking = Masking(tokenizer, model.encoder, 2)
    ids = tuple(np.array(tokenizer(text)["input_ids"], dtype=np.int64) for text in make_texts(40))
    judge = Judge.of(masking, NoteDataset(EncodedNotes(ids, 0), np.zeros((40, 1), dtype=np.uint8)), 0)
    losses = judge.losses(model)
    assert (losses > 0).sum() == (judge.counts > 0).sum()
    batch, row = judge.batches[0], 5
    alone = {key: value[row : row + 1] for key, value in batch.items()}
    with torch.no_grad():
        logits = model.eval()(alone["masked"], alone["attention_mask"], alone["chosen"])
    truth = alone["input_ids"][alone["chosen"]]
    assert losses[row] == pytest.approx(
        functional.cross_entropy(logits, truth, reduction="sum").item(), rel=0.02
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_falls_on_notes_with_a_pattern(
    make_encoder: Callable, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, family: str
) -> None:
    encoder = make_encoder(family)
    before = weights_of(encoder)
    log = adapt_encoder_(encoder, tokenizer, make_texts(), SETTINGS, tmp_path)
    assert log.helped
    assert log.epochs[log.best_epoch - 1]["loss"] < log.before - 0.1
    assert log.fresh_head
    assert (log.notes, log.held_out) == (64, 16)
    moved = changed(encoder, before)
    assert len(moved) > len(before) * 0.8
    assert log.verdict().startswith("the encoder knows these notes better: loss on 16 held-out notes")


def test_a_smaller_encoder_learns_from_the_whole_one_too_and_a_killed_run_ends_alike(
    make_encoder: Callable, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    settings, steps = replace(SETTINGS, layers=1), 0

    def progress(_done: int, _total: int) -> None:
        nonlocal steps
        steps += 1
        if steps == 6:  # 4 steps of the head, then the second of the encoder
            raise KilledError

    small, again = make_encoder("bert"), make_encoder("bert")
    log = adapt_encoder_(small, tokenizer, make_texts(), settings, tmp_path / "whole")
    assert log.helped
    assert (len(small.encoder.layer), small.config.num_hidden_layers) == (1, 1)
    assert log.epochs[log.best_epoch - 1]["loss"] < log.before - 0.1
    with pytest.raises(KilledError):
        adapt_encoder_(make_encoder("bert"), tokenizer, make_texts(), settings, tmp_path, progress=progress)
    adapt_encoder_(again, tokenizer, make_texts(), settings, tmp_path)
    assert not changed(again, weights_of(small))


def test_imitation_is_free_of_loss_where_the_answers_are_the_teachers() -> None:
    rng = torch.Generator().manual_seed(0)
    wanted, other = (torch.randn(5, 40, generator=rng) for _ in range(2))
    assert imitation_loss(wanted + 3, wanted).item() == pytest.approx(0, abs=1e-6)
    softened = [torch.softmax(logits / 2, -1) for logits in (other, wanted)]
    by_hand = 4 * (softened[1] * (softened[1] / softened[0]).log()).sum(1).mean()
    assert imitation_loss(other, wanted).item() == pytest.approx(by_hand.item(), rel=1e-5)


@pytest.fixture(scope="module")
def whole(
    make_encoder: Callable, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PreTrainedModel, AdaptLog]:
    """An adaptation that nothing interrupted."""
    encoder = make_encoder("bert")
    return encoder, adapt_encoder_(
        encoder, tokenizer, make_texts(), SETTINGS, tmp_path_factory.mktemp("whole")
    )


@pytest.mark.parametrize("kill_at", [3, 7, 11])
def test_a_killed_run_ends_like_an_undisturbed_one(
    make_encoder: Callable,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    whole: tuple[PreTrainedModel, AdaptLog],
    kill_at: int,
) -> None:
    steps = 0

    def progress(_done: int, _total: int) -> None:
        nonlocal steps
        steps += 1
        if steps == kill_at:  # 4 steps of the head, then 2 epochs of 4
            raise KilledError

    with pytest.raises(KilledError):
        adapt_encoder_(make_encoder("bert"), tokenizer, make_texts(), SETTINGS, tmp_path, progress=progress)
    torch.manual_seed(kill_at)  # must not matter
    encoder = make_encoder("bert")
    log = adapt_encoder_(encoder, tokenizer, make_texts(), SETTINGS, tmp_path)
    assert not changed(encoder, weights_of(whole[0]))
    assert (log.before, log.epochs, log.best_epoch) == (whole[1].before, whole[1].epochs, whole[1].best_epoch)


def test_notes_longer_than_the_encoder_takes_are_cut_where_it_ends(
    make_encoder: Callable, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    texts = [f"{'fever and cough ' * 60}{at}" for at in range(20)]
    settings = AdaptSettings(batch_size=20, max_tokens=256)
    assert adapt_encoder_(make_encoder("bert"), tokenizer, texts, settings, tmp_path).truncated == 20


@pytest.mark.parametrize("rate", [1e-12, 3.0])
def test_a_worthless_adaptation_is_called_so_and_undone(
    make_encoder: Callable, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, rate: float
) -> None:
    encoder = make_encoder("bert")
    before = weights_of(encoder)
    settings = AdaptSettings(batch_size=16, learning_rate=rate, max_tokens=32, held_out_share=0.2)
    log = adapt_encoder_(encoder, tokenizer, make_texts(), settings, tmp_path)
    assert not log.helped
    assert log.verdict().startswith("adapting did not help: loss on 16 held-out notes")
    assert log.verdict().endswith("the encoder is left as it was")
    assert not changed(encoder, before)


@pytest.mark.parametrize(
    ("texts", "settings", "message"),
    [
        (
            make_texts(10),
            SETTINGS,
            "adapting needs at least 20 notes with words; these are 10",
        ),
        (
            [""] * 30,
            SETTINGS,
            "adapting needs at least 20 notes with words; these are 0",
        ),
        (
            ["patient reports fever"] * 30,
            SETTINGS,
            "adapting needs at least 20 different notes or patients; these are 1",
        ),
        (
            make_texts(),
            AdaptSettings(held_out_share=1.0),
            "held-out share 1: give one above 0 and below 1",
        ),
    ],
)
def test_what_cannot_be_adapted_to(
    make_encoder: Callable,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    texts: list[str],
    settings: AdaptSettings,
    message: str,
) -> None:
    with pytest.raises(InputError) as refused:
        adapt_encoder_(make_encoder("bert"), tokenizer, texts, settings, tmp_path)
    assert str(refused.value) == message


def test_a_tokenizer_without_mask_and_a_pressed_encoder_are_refused(
    make_encoder: Callable, tokenizer: PreTrainedTokenizerFast
) -> None:
    class Maskless:
        mask_token_id: Any = None

    encoder = make_encoder("bert")
    with pytest.raises(InputError, match="has no mask token"):
        Masking(Maskless(), encoder)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'sympress-conv' has no masked-language head in transformers"):
        masked_language_model(make_encoder("sympress-conv"), None, seed=0)
    encoder.set_input_embeddings(torch.nn.Embedding(20, 32))
    with pytest.raises(InputError, match="before anything is removed"):
        masked_language_model(encoder, None, seed=0)


def test_the_step_of_a_recipe_adapts_the_encoder_and_leaves_head_and_teacher(
    make_encoder: Callable, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model, teacher = (build_model(make_encoder("bert"), 3, "cls", seed=0) for _ in range(2))
    state = State(model, tokenizer, teacher, (teacher, tokenizer))
    texts, targets = make_texts(100), np.zeros((60, 3), dtype=np.uint8)
    material = Material("present", texts[:60], targets, texts[60:], [], targets[:0], 32)
    folders = {"folder": tmp_path, "logits_folder": tmp_path / "logits"}
    context = Context(material, TrainSettings(batch_size=8), lambda _: (0.0, {}), **folders)
    said = Adapt(epochs=8).apply(state, context, 1)
    assert " held-out notes " in said
    assert ("its head no longer fits until a later step" in said) == said.startswith("the encoder knows")
    assert state.train_seconds > 0
    assert not changed(teacher.encoder, weights_of(build_model(make_encoder("bert"), 3, "cls", 0).encoder))
    for ours, theirs in zip(model.head.parameters(), teacher.head.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(InputError, match="step 1 trains, which --no-training rules out"):
        Adapt().apply(state, replace(context, trains=False), 1)
