"""The sizes of a model as it stands, and whether a recipe can be applied to them."""

from __future__ import annotations

from torch import nn

from sympress.compress.arch import Family, family_of, head_width, layers_of, position_rows
from sympress.compress.budget.estimate import ModelShape
from sympress.compress.recipe.parse import Recipe
from sympress.errors import InputError
from sympress.training.model import LowRankEmbedding, LowRankLinear, SymptomModel


def shape_of(model: SymptomModel, max_tokens: int | None = None) -> ModelShape:
    """The shape of `model`; where layers differ (heads or neurons were removed), their mean.

    Args:
        model: as it stands.
        max_tokens: its longest input, which says how many positions a recipe may cut; None if not known.

    Raises:
        InputError: the architecture is not supported; the message names those that are.
    """
    encoder, family = model.encoder, family_of(model.encoder)
    layers, width = list(layers_of(encoder)), head_width(encoder)
    tables = _tables(encoder, family)
    positions, first = position_rows(encoder)
    words, embedding = tables[0]
    hidden = int(encoder.config.hidden_size)
    ranks = [module.first.out_features for module in encoder.modules() if isinstance(module, LowRankLinear)]
    return ModelShape(
        layers=len(layers),
        hidden=hidden,
        heads=max(1, round(sum(_channels(layer, family) for layer in layers) / (width * len(layers)))),
        head_width=width,
        ffn=max(1, round(sum(_neurons(layer, family) for layer in layers) / len(layers))),
        vocabulary=words,
        symptoms=model.symptoms,
        positions=positions,
        positions_read=None if max_tokens is None else min(positions, first + max_tokens),
        token_types=sum(
            rows for name, (rows, _) in zip(family.embeddings, tables, strict=True) if "type" in name
        ),
        embedding=None if embedding == hidden else embedding,
        gated=family.gated,
        dense_head=model.head.dense is not None,
        rank=round(sum(ranks) / len(ranks)) if ranks else None,
        embedding_rank=_embedding_rank(encoder, family),
    )


def check_recipe(recipe: Recipe, model: SymptomModel, *, training: bool = True) -> ModelShape:
    """Refuse a recipe that could not be applied to `model`; returns the shape that it leaves.

    Raises:
        InputError: a step trains though `training` is False, keeps more than there is, removes heads where
            there is one a layer, or has a rank above the full one. The step's number is named.
    """
    teacher, family = shape_of(model), family_of(model.encoder)
    shape = teacher
    for number, step in enumerate(recipe.steps, 1):
        if not training and step.trains:
            raise InputError(
                f"step {number} ({step.step}) trains, which --no-training rules out; take it out"
            )
        if step.needs_pretrained:
            raise InputError(
                f"step {number} ({step.step}) needs the encoder before fine-tuning, which a study alone has; "
                "take it out"
            )
        try:
            step.check(shape, teacher, family)
            shape = step.reshape(shape)
        except InputError as error:
            raise InputError(f"step {number} ({step.step}): {error}") from error
    return shape


def _tables(encoder: nn.Module, family: Family) -> list[tuple[int, int]]:
    """Rows and width of each embedding table of the family; an absent one has no rows."""
    modules = dict(encoder.named_modules())
    found = []
    for name in family.embeddings:
        table = modules.get(name)
        if isinstance(table, LowRankEmbedding):
            found.append((table.first.num_embeddings, table.second.out_features))
        elif isinstance(table, nn.Embedding):
            found.append((table.num_embeddings, table.embedding_dim))
        else:
            found.append((0, 0))
    return found


def _embedding_rank(encoder: nn.Module, family: Family) -> int | None:
    table = dict(encoder.named_modules()).get(family.embeddings[0])
    return table.first.embedding_dim if isinstance(table, LowRankEmbedding) else None


def _channels(layer: nn.Module, family: Family) -> int:
    """Channels of the queries of one layer; a third of the outputs where the three share a matrix."""
    outputs = _outputs(layer.get_submodule(family.relation_inputs[0]))
    return outputs // 3 if len(family.relation_inputs) == 1 else outputs


def _neurons(layer: nn.Module, family: Family) -> int:
    outputs = _outputs(layer.get_submodule(family.neurons_in))
    return outputs // 2 if family.gated else outputs


def _outputs(module: nn.Module) -> int:
    last = module.second if isinstance(module, LowRankLinear) else module
    if not isinstance(last, nn.Linear):
        raise InputError(f"a layer has a {type(last).__name__} where a linear layer belongs")
    return last.out_features
