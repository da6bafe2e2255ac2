"""Hidden dimensions: removed equals masked, in every family, and the config tells the truth."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModel, ElectraConfig

from sympress.compression.lowrank.factorize import factorize_embeddings_, lowrank_
from sympress.compression.prune.remove import choose_hidden, hidden_importance, remove_hidden_
from sympress.compression.prune.structured import Kept, remove_
from sympress.errors import InputError
from sympress.models.families import head_width, layers_of
from sympress.models.model import LowRankLinear, SymptomModel, build_model, load_model, save_model
from sympress.training.losses import loss_of

FAMILIES = ["bert", "distilbert", "roberta", "electra", "modernbert"]
DIMS = tuple(dim for dim in range(32) if dim % 4 != 1)  # 24 of 32, from every head's rows
IDS = torch.tensor([[2, 7, 9, 11, 12, 30, 3], [2, 8, 3, 0, 0, 0, 0], [2, 17, 25, 9, 3, 0, 0]])
MASK = (IDS != 0).long()
BATCH = {"input_ids": IDS, "attention_mask": MASK, "labels": torch.eye(3)}


def build(make_encoder: Callable, family: str, pooling: str = "cls") -> SymptomModel:
    """A model in which no bias is 0 and no LayerNorm has weight 1, so that a forgotten slice shows."""
    model = build_model(make_encoder(family), 3, pooling, seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += torch.randn(parameter.shape, generator=generator) * 0.3
    return model


class MaskedNorm(nn.Module):
    """LayerNorm written out over the kept dimensions; the others come out as zeros."""

    def __init__(self, norm: nn.LayerNorm, alive: torch.Tensor) -> None:
        super().__init__()
        self.norm, self.alive = norm, alive

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        kept = self.alive.sum()
        states = states * self.alive
        centred = (states - states.sum(-1, keepdim=True) / kept) * self.alive
        scaled = centred / ((centred**2).sum(-1, keepdim=True) / kept + self.norm.eps).sqrt()
        bias = 0.0 if self.norm.bias is None else self.norm.bias
        return (scaled * self.norm.weight + bias) * self.alive


def masked(model: SymptomModel, dims: tuple[int, ...]) -> SymptomModel:
    """The model at full size in which the removed dimensions are silent everywhere."""
    model = copy.deepcopy(model)
    alive = torch.zeros(32)
    alive[list(dims)] = 1.0
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.LayerNorm) and child.normalized_shape == (32,):
                setattr(module, name, MaskedNorm(child, alive))
    if hasattr(model.encoder, "embeddings_project"):
        model.encoder.embeddings_project.register_forward_hook(lambda _m, _a, output: output * alive)
    if model.head.dense is not None:
        model.head.dense.register_forward_hook(lambda _m, _a, output: output * alive)
    return model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", ["cls", "label"])
def test_removed_equals_masked_and_loads_back(
    family: str, pooling: str, make_encoder: Callable, tmp_path: Path
):
    model = build(make_encoder, family, pooling)
    expected = masked(model, DIMS)
    with torch.inference_mode():
        before = model(IDS, MASK)
        remove_hidden_(model, DIMS)
        after = model(IDS, MASK)
        torch.testing.assert_close(after, expected(IDS, MASK), atol=1e-5, rtol=0)
        assert (after - before).abs().max() > 1e-4
        save_model(model, tmp_path)
        loaded = load_model(tmp_path)
        assert torch.equal(loaded(IDS, MASK), after)
    assert loaded.encoder.config.hidden_size == 24
    assert head_width(loaded.encoder) == 8
    assert loaded.head.output.in_features == 24


@pytest.mark.parametrize("family", FAMILIES)
def test_every_dimension_kept_changes_nothing(family: str, make_encoder: Callable):
    model = build(make_encoder, family)
    with torch.inference_mode():
        before = model(IDS, MASK)
        remove_hidden_(model, range(32))
        torch.testing.assert_close(model(IDS, MASK), before, atol=1e-6, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_part_keeps_the_old_width_and_it_still_learns(family: str, make_encoder: Callable):
    model = build(make_encoder, family)
    remove_hidden_(model, DIMS)
    loss_of("topic")(model(IDS, MASK), BATCH["labels"]).backward()
    for name, parameter in model.named_parameters():
        if not name.endswith(("query.weight", "key.weight", "value.weight", "lin.weight", "Wo.weight")):
            assert 32 not in parameter.shape or "attention" in name, name
        assert parameter.grad is None or parameter.grad.shape == parameter.shape


def test_without_as_many_heads_transformers_opens_the_folder_itself(make_encoder: Callable, tmp_path: Path):
    model = build(make_encoder, "bert")
    remove_(model, Kept(((0, 1, 2), (1, 2, 3)), (tuple(range(48)),) * 2))
    remove_hidden_(model, DIMS)
    save_model(model, tmp_path)
    plain = AutoModel.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        ours = model.encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
        theirs = plain(input_ids=IDS, attention_mask=MASK).last_hidden_state
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_heads_and_neurons_can_go_before_or_after(make_encoder: Callable):
    kept = Kept(((0, 2), (3,)), (tuple(range(0, 48, 2)), (5, 6, 40)))
    first, second = build(make_encoder, "modernbert"), build(make_encoder, "modernbert")
    remove_(first, kept)
    remove_hidden_(first, DIMS)
    remove_hidden_(second, DIMS)
    remove_(second, kept)
    with torch.inference_mode():
        assert torch.equal(first(IDS, MASK), second(IDS, MASK))


def test_factorized_layers_are_narrowed_too(make_encoder: Callable, tmp_path: Path):
    model = build(make_encoder, "bert")
    lowrank_(model, method="svd", rank=4)
    factorize_embeddings_(model, rank=8)
    expected = masked(model, DIMS)
    remove_hidden_(model, DIMS)
    assert isinstance(layers_of(model.encoder)[0].attention.output.dense, LowRankLinear)
    save_model(model, tmp_path)
    with torch.inference_mode():
        torch.testing.assert_close(model(IDS, MASK), expected(IDS, MASK), atol=1e-5, rtol=0)
        assert torch.equal(load_model(tmp_path)(IDS, MASK), model(IDS, MASK))


def electra(embedding: int) -> SymptomModel:
    torch.manual_seed(0)
    config = ElectraConfig(
        vocab_size=54,
        hidden_size=32,
        embedding_size=embedding,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
    )
    return build_model(AutoModel.from_config(config).eval(), 3, "cls", seed=0)


def test_electra_with_embeddings_as_wide_as_its_states(tmp_path: Path):
    model = electra(32)
    remove_hidden_(model, DIMS)
    assert model.encoder.config.embedding_size == 24
    save_model(model, tmp_path)
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path)(IDS, MASK), model.eval()(IDS, MASK))


def test_electra_is_not_cut_to_the_width_at_which_it_loses_its_projection():
    with pytest.raises(InputError, match=r"^hidden=16 is the width of the embeddings"):
        remove_hidden_(electra(16), range(16))


def test_importance_of_a_dimension_that_reaches_nothing_is_zero(make_encoder: Callable):
    model = build(make_encoder, "bert", "mean")
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.data[5] = module.bias.data[5] = 0.0
        if name.endswith("LayerNorm"):
            assert module.normalized_shape == (32,)
    importance = hidden_importance(model, [BATCH, BATCH], loss_of("topic"))
    assert importance.shape == (32,)
    assert importance[5] == 0
    assert (importance > 0).sum() == 31
    assert 5 not in choose_hidden(model, importance, 0.75)
    assert all(not module._forward_hooks for module in model.modules())


def test_importance_is_the_squared_first_order_change_of_the_loss(make_encoder: Callable):
    model = build(make_encoder, "bert", "mean").double()
    one = {"input_ids": IDS[:1], "attention_mask": MASK[:1], "labels": BATCH["labels"][:1].double()}
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    importance = hidden_importance(model, [one], loss_of("topic"))
    expected, share = 0.0, 1e-5
    with torch.no_grad():
        before = loss_of("topic")(model(one["input_ids"], one["attention_mask"]), one["labels"])
        for norm in norms:
            for parameter in (norm.weight, norm.bias):
                parameter[3] *= 1 - share
            after = loss_of("topic")(model(one["input_ids"], one["attention_mask"]), one["labels"])
            for parameter in (norm.weight, norm.bias):
                parameter[3] /= 1 - share
            expected += float((after - before) / share) ** 2
    assert float(importance[3]) == pytest.approx(expected, rel=1e-2)


def test_a_share_is_rounded_to_whole_heads_and_a_number_is_taken_as_it_is(make_encoder: Callable):
    model = build(make_encoder, "bert")
    importance = torch.arange(32.0)
    assert choose_hidden(model, importance, 0.7) == tuple(range(8, 32))  # 22.4 -> 24
    assert choose_hidden(model, importance, 0.01) == tuple(range(24, 32))
    assert choose_hidden(model, importance, 16) == tuple(range(16, 32))
    assert choose_hidden(model, importance, 1.0) == tuple(range(32))


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (20, "hidden=20 must be a multiple of the width of a head, 8, and at most 32"),
        (40, "hidden=40 must be a multiple of the width of a head, 8, and at most 32"),
        (1.5, "the share of hidden dimensions to keep must be above 0 and at most 1, not 1.5"),
    ],
)
def test_an_impossible_width_is_refused(keep: float, message: str, make_encoder: Callable):
    with pytest.raises(InputError) as caught:
        choose_hidden(build(make_encoder, "bert"), torch.arange(32.0), keep)
    assert str(caught.value) == message


def test_an_unsupported_family_is_refused_with_those_that_are(make_encoder: Callable):
    with pytest.raises(InputError) as caught:
        remove_hidden_(build(make_encoder, "deberta-v2"), DIMS)
    assert str(caught.value) == (
        "hidden dimensions of 'deberta-v2' cannot be removed; supported are bert, roberta, xlm-roberta, "
        "electra, distilbert, modernbert"
    )
