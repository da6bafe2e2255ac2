"""Search for the recipe that meets a budget (`size_mb<=6, f1_drop<=0.01`) with the best F1."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import optuna
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from sympress.compression.recipe import Step, Trial
from sympress.compression.recipe.language import Recipe
from sympress.compression.recipe.steps import STEPS
from sympress.compression.search import (
    BEHIND,
    BUDGET_KEYS,
    FINISHED,
    PARETO_KEYS,
    TOO_COSTLY,
    TOO_LARGE,
    Budget,
    SearchResult,
    Tried,
)
from sympress.compression.search.estimate import ModelShape, estimates
from sympress.errors import InputError

# The Pareto set: the points that no other point beats.


def pareto_front(points: Sequence[Mapping[str, float]], minimise: Sequence[str]) -> list[int]:
    """Indices, ascending, of the points that no other point dominates; equal points all stay.

    One point dominates another if it is nowhere larger and somewhere smaller (Deb et al. 2002, NSGA-II,
    section III). In lexicographic order only earlier points can dominate a later one, and, domination
    being transitive, a dominated one is dominated by a member of the front: O(n log n + n x front).

    Args:
        points: what each candidate costs, e.g. `{"size_mb": 6.1, "f1_drop": 0.003}`.
        minimise: the keys that count, each the smaller the better.

    Raises:
        InputError: `minimise` is empty, or a point lacks one of its keys or has NaN there.
    """
    if not minimise:
        raise InputError("a Pareto set needs at least one value to minimise")
    values = [_values(number, point, minimise) for number, point in enumerate(points)]
    front: list[int] = []
    for index in sorted(range(len(values)), key=lambda place: values[place]):
        if not any(_dominates(values[member], values[index]) for member in front):
            front.append(index)
    return sorted(front)


def _values(number: int, point: Mapping[str, float], keys: Sequence[str]) -> tuple[float, ...]:
    for key in keys:
        if key not in point or math.isnan(point[key]):
            raise InputError(f"point {number} of the Pareto set has no {key}")
    return tuple(point[key] for key in keys)


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


# The recipes that a search tries: what each step suggests, one behind the other.


#: Raised when the space changes: trials of another space say nothing about this one.
VERSION = 2


def suggest(trial: Trial, teacher: ModelShape) -> Recipe:
    """A recipe for a teacher of this shape, as `trial` chooses.

    The student is either `copied` (the first layers of the teacher, once heads and neurons were removed and
    the rest was mended) or `narrow` (fewer heads of the teacher's width, fresh layers). Each learns the
    teacher's answers and is followed by int8; see `Step.suggest` of each step.

    Args:
        trial: asked for each setting by name.
        teacher: with at least one layer and two word pieces, and a width that is a multiple of its heads.
    """
    steps: tuple[Step, ...] = ()
    for step in STEPS.values():
        steps = step.suggest(trial, teacher, steps)
    return Recipe(steps)


# Search for the recipe that meets a budget with the best F1: Optuna's TPE, cheap proxies first.
#
# A trial goes as far as it deserves: an estimate of bytes and multiply-accumulates, a short training whose
# file is measured, then the whole training. What is stored is enough to go on after a kill.


#: Estimates are within 0.5 % of the files they were checked on; only what is clearly above is refused.
ESTIMATE_MARGIN = 0.02
#: Recipes that are looked at for each one that may be trained; an estimate costs nothing.
MOST_LOOKED_AT = 30
#: Trials before the median says anything.
TRIALS_BEFORE_MEDIAN = 5
#: Optuna takes no infinity as a value to compare with.
_WORST = 1e9

Say = Callable[[str], None]


class Evaluate(Protocol):
    """Presses the teacher and measures the file."""

    def __call__(self, recipe: Recipe, *, short: bool) -> Mapping[str, float]:
        """`PARETO_KEYS`, the keys that the budget limits, and `f1`, all on validation data.

        `short` stands for little training on a part of the notes: its costs are final, its F1 is not.
        """


def search(
    budget: Budget,
    evaluate: Evaluate,
    *,
    shape: ModelShape,
    trials: int,
    storage: Path,
    seed: int,
    tokens: int = 128,
    say: Say = lambda _line: None,
) -> SearchResult:
    """Try recipes until `trials` of them were trained, at least for a short time.

    The Tree-structured Parzen Estimator (Bergstra et al. 2011) proposes settings. Any trial that meets the
    budget ranks above any that does not; among the former F1 decides, among the latter `Budget.excess`.
    If none was trained to the end, the nearest one is. A search that was killed goes on with the trial it
    was killed in, and proposes what it would have proposed; more `trials` continue a finished one.

    Args:
        budget: what the result may cost.
        evaluate: presses and measures; called with the same recipe twice at most, first `short`.
        shape: the teacher's.
        trials: how many recipes to train, at least 1.
        storage: a file that keeps the trials; those of other budgets, shapes, seeds and versions of the
            space are left alone.
        seed: of the sampler.
        tokens: word pieces of a typical note, for estimates.
        say: told what becomes of each trial.

    Raises:
        InputError: `trials` is below 1.
    """
    if trials < 1:
        raise InputError(f"--trials {trials} must be at least 1")
    study = _open(f"{budget}; {shape}; seed {seed}; space {VERSION}", storage)
    _take_up_interrupted(study)
    runner = _Runner(study, budget, evaluate, shape, tokens, say)
    while _wants_more(_settled(study), trials):
        runner.run(seed)
    if not any(trial.user_attrs["verdict"] == FINISHED for trial in _settled(study)):
        _enqueue_nearest(study, budget)
        runner.run(seed)
    return _result(study, budget)


def _open(name: str, storage: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage.parent.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        study_name=name,
        storage=JournalStorage(JournalFileBackend(str(storage))),
        pruner=MedianPruner(n_startup_trials=TRIALS_BEFORE_MEDIAN),
        load_if_exists=True,
    )


def _take_up_interrupted(study: optuna.Study) -> None:
    """Put the settings of trials that a kill left running back in the queue."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if trial.params:
            study.enqueue_trial(trial.params, user_attrs={"forced": trial.user_attrs.get("forced", False)})
        study.tell(trial.number, state=TrialState.FAIL)


def _settled(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))


def _wants_more(done: list[FrozenTrial], trials: int) -> bool:
    trained = [
        one for one in done if one.user_attrs["verdict"] != TOO_LARGE and "repeats" not in one.user_attrs
    ]
    return len(trained) < trials and len(done) < trials * MOST_LOOKED_AT


@dataclass(frozen=True)
class _Runner:
    study: optuna.Study
    budget: Budget
    evaluate: Evaluate
    shape: ModelShape
    tokens: int
    say: Say

    def run(self, seed: int) -> None:
        """Ask for one recipe and settle it."""
        done = _settled(self.study)
        # the sampler's state is not stored: a seed a trial makes a resumed search propose the same
        self.study.sampler = TPESampler(seed=(seed * 1_000_003 + len(done)) % 2**32)
        trial = self.study.ask()
        recipe = suggest(trial, self.shape)
        trial.set_user_attr("recipe", str(recipe))
        forced = bool(trial.user_attrs.get("forced", False))
        earlier = next((one for one in done if one.user_attrs["recipe"] == str(recipe)), None)
        if earlier is not None and not forced:
            self._repeat(trial, earlier)
        else:
            self._settle(trial, recipe, forced=forced)

    def _settle(self, trial: optuna.Trial, recipe: Recipe, *, forced: bool) -> None:
        guessed = estimates(recipe, self.shape, self.tokens)
        if not forced:
            if self.budget.among(guessed).excess(guessed) > ESTIMATE_MARGIN:
                return self._end(trial, TOO_LARGE, guessed)
            short = dict(self.evaluate(recipe, short=True))
            if not self.budget.among([key for key in BUDGET_KEYS if key != "f1_drop"]).meets(short):
                return self._end(trial, TOO_COSTLY, short)
            trial.report(1 - short["f1"], 0)
            if trial.should_prune():
                return self._end(trial, BEHIND, short)
        return self._end(trial, FINISHED, dict(self.evaluate(recipe, short=False)))

    def _end(self, trial: optuna.Trial, verdict: str, measured: dict[str, float]) -> None:
        """Tell Optuna, and whoever listens, how the trial ended."""
        trial.set_user_attr("verdict", verdict)
        trial.set_user_attr("measured", measured)
        if verdict == FINISHED:
            self.study.tell(trial, value_of(self.budget, measured))
        else:
            self.study.tell(trial, state=TrialState.PRUNED)
        known = ", ".join(f"{key} {value:.4g}" for key, value in measured.items())
        self.say(f"trial {trial.number}: {trial.user_attrs['recipe']}: {verdict} ({known})")

    def _repeat(self, trial: optuna.Trial, earlier: FrozenTrial) -> None:
        """Settle a recipe that was tried before as it was then; it counts as looked at, not as trained."""
        trial.set_user_attr("verdict", earlier.user_attrs["verdict"])
        trial.set_user_attr("measured", earlier.user_attrs["measured"])
        trial.set_user_attr("repeats", earlier.number)
        for step, value in earlier.intermediate_values.items():
            trial.report(value, step)
        if earlier.state == TrialState.COMPLETE:
            self.study.tell(trial, earlier.value)
        else:
            self.study.tell(trial, state=TrialState.PRUNED)


def value_of(budget: Budget, measured: Mapping[str, float]) -> float:
    """What the search minimises: -F1 (at most 0) where the budget is met, else its excess (above 0)."""
    excess = budget.excess(measured)
    return min(excess, _WORST) if excess > 0 else -measured["f1"]


def _enqueue_nearest(study: optuna.Study, budget: Budget) -> None:
    """Queue the trial whose known costs come nearest to the budget, to be trained to the end."""

    def rank(trial: FrozenTrial) -> tuple[bool, float]:
        known = trial.user_attrs["measured"]
        trained = trial.user_attrs["verdict"] != TOO_LARGE
        return not trained, min(budget.among(known).excess(known), _WORST)

    nearest = min(_settled(study), key=rank)
    study.enqueue_trial(nearest.params, user_attrs={"forced": True})


def _result(study: optuna.Study, budget: Budget) -> SearchResult:
    operating_point = [trial for trial in _settled(study) if "repeats" not in trial.user_attrs]
    forced = {trial.user_attrs["recipe"] for trial in operating_point if trial.user_attrs.get("forced")}
    tried = tuple(
        Tried(number, *(trial.user_attrs[key] for key in ("recipe", "verdict", "measured")))
        for number, trial in enumerate(
            trial
            for trial in operating_point
            if trial.user_attrs["verdict"] == FINISHED or trial.user_attrs["recipe"] not in forced
        )
    )
    finished = [one for one in tried if one.verdict == FINISHED]
    points = [{key: min(one.measured[key], _WORST) for key in PARETO_KEYS} for one in finished]
    front = tuple(finished[index].number for index in pareto_front(points, PARETO_KEYS))
    return SearchResult(budget, tried, front, min(finished, key=lambda one: _rank(budget, one)).number)


def _rank(budget: Budget, one: Tried) -> tuple[float, float]:
    """Smaller is better: by value, then by bytes."""
    return value_of(budget, one.measured), one.measured["size_mb"]
