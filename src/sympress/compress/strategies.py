"""The study's strategies: a name and a recipe each, in which the study's settings stand where they are used.

The names that end in `-published` do literally what the published study did, so that a reader can see what
that changes.
"""

from __future__ import annotations

from sympress.compress.recipe.parse import Recipe, parse_recipe
from sympress.config import StudyConfig
from sympress.errors import InputError, nearest

#: The row that every other is compared with: the encoder, fine-tuned.
BASELINE = "baseline"
#: `further=0`: these learn from labelled notes alone. `faster` and `slower` are the published ratios of the
#: learning rate to the baseline's.
STRATEGIES: dict[str, str] = {
    BASELINE: "fine-tune",
    "distillation": "distill("
    "layers={student_layers}, T={temperature}, alpha={alpha}, rate={faster}, further=0)",
    "lowrank": "lowrank(rank={rank}, method=svd) > fine-tune(rate={faster})",
    "pruning-masked": "mask({masked_share}) > fine-tune(rate={slower})",
    "pruning": "prune(heads={keep_heads}, ffn={keep_neurons}, score=taylor) > "
    "distill(T={temperature}, alpha={alpha}, further=0)",
    "quantization": "quantize(int8)",
    "distillation-published": "pretrained > "
    "distill(T={temperature}, alpha={alpha}, rate={faster}, further=0, teacher=pretrained)",
    "lowrank-published": "pretrained > lowrank(rank={rank}, method=svd, where=classifier) > "
    "fine-tune(rate={faster})",
    "pruning-published": "pretrained > mask({masked_share}) > fine-tune(rate={slower})",
    "quantization-published": "pretrained > fine-tune(rate={slower}, simulate=int8)",
}

PUBLISHED = tuple(name for name in STRATEGIES if name.endswith("-published"))
REAL = tuple(name for name in STRATEGIES if name not in PUBLISHED)


def choose_strategies(config: StudyConfig) -> tuple[str, ...]:
    """The strategies to run, baseline first (every other is compared with it).

    Raises:
        InputError: a name is unknown; the nearest known one is named.
    """
    wanted = config.strategies or REAL + (PUBLISHED if config.published_variants else ())
    for name in wanted:
        if name not in STRATEGIES:
            raise InputError(
                f"unknown strategy {name!r}{nearest(name, STRATEGIES)}; known are {', '.join(STRATEGIES)}"
            )
    return (BASELINE, *(name for name in STRATEGIES if name in wanted and name != BASELINE))


def recipe_of(name: str, config: StudyConfig, *, removes_heads: bool = True) -> Recipe:
    """The recipe of a strategy with the study's settings filled in.

    Args:
        name: one of `STRATEGIES`.
        config: of the study, resolved.
        removes_heads: False for an encoder whose heads are tied to its relative positions: all of them stay.
    """
    rate = config.learning_rate or 3e-5
    values = config.model_dump() | {
        "student_layers": config.student_layers or "half",
        "keep_heads": config.keep_heads if removes_heads else 1.0,
        "faster": f"{rate * 5 / 3:.6g}",
        "slower": f"{rate * 2 / 3:.6g}",
    }
    return parse_recipe(STRATEGIES[name].format(**values))
