"""Least squares after removal: never worse on the calibration notes, and unchanged where nothing went."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from transformers import AutoModel, DebertaV2Config

from sympress.compression.lowrank.factorize import lowrank_
from sympress.compression.prune import surgeon
from sympress.compression.prune.remove import remove_hidden_
from sympress.compression.prune.structured import Kept, remove_
from sympress.compression.prune.surgeon import reconstruct_
from sympress.errors import InputError
from sympress.models.families import family_of, layers_of
from sympress.models.model import SymptomModel, build_model

FAMILIES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
KEPT = Kept(heads=((0, 2), (3,)), neurons=(tuple(range(0, 48, 2)), (5, 6, 40)))
DIMS = tuple(dim for dim in range(32) if dim % 4 != 1)


def build(make_encoder: Callable, family: str) -> SymptomModel:
    model = build_model(make_encoder(family), 3, "mean", seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and "embeddings" not in name:
            parameter.data *= 4  # so that removal hurts
        if name.endswith("bias"):
            parameter.data.normal_(std=0.1, generator=generator)
    return model


def batches(seed: int = 0, count: int = 4) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        ids = torch.randint(5, 54, (8, 12), generator=generator)
        ids[::2, 7:] = 0
        made.append({"input_ids": ids, "attention_mask": (ids != 0).long()})
    return made


@torch.no_grad()
def logits(model: SymptomModel, notes: list[dict[str, torch.Tensor]]) -> torch.Tensor:
    return torch.cat([model(batch["input_ids"], batch["attention_mask"]) for batch in notes])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_logits_come_back_towards_the_originals(family: str, make_encoder: Callable):
    original = build(make_encoder, family)
    pruned = copy.deepcopy(original)
    remove_(pruned, KEPT)
    for notes, least in ((batches(), 0.8), (batches(1), 1.0)):  # on calibration notes, and on others
        bare = (logits(pruned, notes) - logits(original, notes)).square().sum()
        fixed = copy.deepcopy(pruned)
        reconstruct_(fixed, original, batches())
        assert (logits(fixed, notes) - logits(original, notes)).square().sum() < least * bare


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_removed_is_nothing_changed(family: str, make_encoder: Callable):
    original = build(make_encoder, family)
    same = copy.deepcopy(original)
    reconstruct_(same, original, batches())
    for (name, weight), (_, other) in zip(same.named_parameters(), original.named_parameters(), strict=True):
        torch.testing.assert_close(weight, other, atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("family", ["bert", "deberta-v2", "modernbert"])
def test_no_sum_has_a_larger_error_than_before_its_own_correction(
    family: str, weighted: bool, make_encoder: Callable, monkeypatch: pytest.MonkeyPatch
):
    """Errors before and after each solution, summed over the real tokens by an independent formula."""
    original = build(make_encoder, family)
    pruned = copy.deepcopy(original)
    remove_(pruned, KEPT)
    seen: list[tuple[float, float]] = []

    class Watched(surgeon._NormalEquations):
        def __init__(self, linear: torch.nn.Linear) -> None:
            super().__init__(linear)
            self.data: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

        def add(self, block, target, real, counts):
            super().add(block, target, real, counts)
            self.data.append((block.inputs[real], (target - block.residual)[real], counts))

        def error(self) -> float:
            errors = (
                ((self.linear(x) - y).double().square().sum(1) * count).sum() for x, y, count in self.data
            )
            return sum(map(float, errors))

        def solve_(self, ridge: float) -> None:
            before = self.error()
            super().solve_(ridge)
            seen.append((before, self.error()))

    monkeypatch.setattr(surgeon, "_NormalEquations", Watched)
    generator = torch.Generator().manual_seed(3)
    counts = [torch.rand(batch["input_ids"].shape, generator=generator) ** 4 for batch in batches()]
    reconstruct_(pruned, original, batches(), tokens=[counts] * 4 if weighted else None)
    assert len(seen) == 4
    for before, after in seen:
        assert after <= before * (1 + 1e-6) + 1e-6
    assert sum(after < 0.9 * before for before, after in seen) >= 2


def test_without_a_ridge_it_is_the_least_squares_solution(make_encoder: Callable):
    """The first attention output, against torch.linalg.lstsq on the same data."""
    original = build(make_encoder, "bert")
    pruned = copy.deepcopy(original)
    remove_(pruned, KEPT)
    dense = layers_of(pruned.encoder)[0].attention.output.dense
    whole = layers_of(original.encoder)[0].attention.output.dense
    rows: dict[str, list[torch.Tensor]] = {"x": [], "y": []}
    hooks = [
        dense.register_forward_hook(lambda _m, inputs, _o: rows["x"].append(inputs[0])),
        whole.register_forward_hook(lambda _m, _i, output: rows["y"].append(output)),
    ]
    logits(pruned, batches())
    logits(original, batches())
    for hook in hooks:
        hook.remove()
    real = [batch["attention_mask"].bool() for batch in batches()]
    x = torch.cat([states[mask] for states, mask in zip(rows["x"], real, strict=True)]).double()
    y = torch.cat([states[mask] for states, mask in zip(rows["y"], real, strict=True)]).double()
    solution = torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], 1), y).solution
    reconstruct_(pruned, original, batches(), ridge=0.0)
    torch.testing.assert_close(dense.weight.double(), solution[:-1].T, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(dense.bias.double(), solution[-1], atol=1e-3, rtol=1e-3)


def test_padding_has_no_part_in_it(make_encoder: Callable):
    original = build(make_encoder, "bert")
    one, two = copy.deepcopy(original), copy.deepcopy(original)
    remove_(one, KEPT)
    remove_(two, KEPT)
    notes = batches()
    longer = [
        {name: torch.nn.functional.pad(value, (0, 9)) for name, value in batch.items()} for batch in notes
    ]
    reconstruct_(one, original, notes)
    reconstruct_(two, original, longer)
    torch.testing.assert_close(logits(one, notes), logits(two, notes), atol=1e-4, rtol=0)


def test_removed_hidden_dimensions_are_made_up_for_too(make_encoder: Callable):
    original = build(make_encoder, "bert")
    pruned = copy.deepcopy(original)
    remove_hidden_(pruned, DIMS)
    fixed = copy.deepcopy(pruned)
    reconstruct_(fixed, original, batches(), dims=DIMS)

    def error(model: SymptomModel) -> float:
        total = 0.0
        for batch in batches():
            with torch.no_grad():
                ours = model.encoder(**batch).last_hidden_state
                theirs = original.encoder(**batch).last_hidden_state[..., list(DIMS)]
            total += float((ours - theirs)[batch["attention_mask"].bool()].square().sum())
        return total

    assert error(fixed) < 0.9 * error(pruned)
    with pytest.raises(InputError, match=r"does not have the layers and hidden dimensions"):
        reconstruct_(pruned, original, batches())


def test_what_cannot_be_reconstructed_is_refused(make_encoder: Callable):
    original = build(make_encoder, "bert")
    factorized = copy.deepcopy(original)
    lowrank_(factorized, method="svd", rank=4)
    with pytest.raises(InputError, match=r"^attention.output.dense is already factorized"):
        reconstruct_(factorized, original, batches())
    config = DebertaV2Config(
        vocab_size=54,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        conv_kernel_size=3,
        conv_act="gelu",
    )
    convolved = build_model(AutoModel.from_config(config).eval(), 3, "cls", seed=0)
    with pytest.raises(InputError, match=r"^this encoder works on the states between its layers"):
        reconstruct_(copy.deepcopy(convolved), convolved, batches())


def test_it_leaves_no_hooks(make_encoder: Callable):
    original = build(make_encoder, "bert")
    pruned = copy.deepcopy(original)
    reconstruct_(pruned, original, batches())
    for model in (pruned, original):
        assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert family_of(pruned.encoder) is family_of(original.encoder)
