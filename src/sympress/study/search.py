"""What a search for settings may try: which settings of which strategy, and in which ranges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sympress.config import StudyConfig
from sympress.errors import InputError, nearest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

#: Strategies that can be tuned, and what each has to search besides the learning rate and weight decay.
TUNABLE: dict[str, tuple[str, ...]] = {
    "baseline": (),
    "distillation": ("temperature", "alpha"),
    "lowrank": ("rank",),
    "pruning-masked": ("masked_share",),
    "pruning": ("temperature", "alpha"),
}
_ALWAYS = ("learning_rate", "weight_decay")


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        strategy: one of `TUNABLE`.
        trials: how many finished trials, ended ones included.
        settings: which settings are searched; empty for all that the strategy has.
        seed: of the proposals and of each training.
    """

    strategy: str
    trials: int = 20
    settings: tuple[str, ...] = ()
    seed: int = 0

    def names(self) -> tuple[str, ...]:
        """The settings that are searched.

        Raises:
            InputError: the strategy, a setting or the number of trials cannot be.
        """
        if self.strategy not in TUNABLE:
            raise InputError(
                f"--strategy {self.strategy!r} cannot be tuned{nearest(self.strategy, TUNABLE)}; those that "
                f"can are {', '.join(TUNABLE)}"
            )
        if self.trials < 1:
            raise InputError(f"--trials {self.trials}: give at least 1")
        known = (*_ALWAYS, *TUNABLE[self.strategy])
        for name in self.settings:
            if name not in known:
                raise InputError(
                    f"--search {name!r} is no setting of {self.strategy}{nearest(name, known)}; it has "
                    f"{', '.join(known)}"
                )
        return tuple(name for name in known if not self.settings or name in self.settings)


def search_space(config: StudyConfig, names: Sequence[str], hidden: int) -> dict[str, BaseDistribution]:
    """Where each setting is looked for; every range holds the setting of `config` (resolved).

    Ranks end where they no longer pay in a square layer, at half of `hidden`.
    """
    from optuna.distributions import FloatDistribution, IntDistribution

    rate = config.learning_rate or 3e-5
    ranges = {
        "learning_rate": FloatDistribution(rate / 10, rate * 10, log=True),
        "weight_decay": FloatDistribution(0.0, max(0.1, config.weight_decay)),
        "rank": IntDistribution(min(4, config.rank), max(hidden // 2, config.rank), log=True),
        "masked_share": FloatDistribution(0.0, max(0.9, config.masked_share)),
        "temperature": FloatDistribution(min(1.0, config.temperature), max(10.0, config.temperature)),
        "alpha": FloatDistribution(0.0, 1.0),
    }
    return {name: ranges[name] for name in names}
