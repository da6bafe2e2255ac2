"""Search the settings of a strategy that validation notes like best."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from sympress.compression.recipe.language import BASELINE
from sympress.config import StudyConfig, check_seed
from sympress.errors import InputError, SympressError, nearest, require_optuna, require_training
from sympress.files import check_settings, full_disk_explained, write_json, write_text
from sympress.models.encoder import fingerprint_encoder, load_encoder
from sympress.models.model import save_model
from sympress.progress import Reporter
from sympress.provenance import environment, public_settings
from sympress.studies.data import prepare
from sympress.studies.folder import RunFolder
from sympress.studies.judge import epoch_score_name
from sympress.studies.rows import NoteTask, make_bench, score_epoch, train_baseline, train_strategy

# What a search for settings may try: which settings of which strategy, and in which ranges.


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
        check_seed(self.seed)
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


# `run_tuning`: search the settings of a strategy that validation notes like best.
#
# Bergstra et al. 2011 (tree-structured Parzen estimator) proposes, the median rule of Golovin et al. 2017
# (section 3.2) ends what falls behind; both as Optuna has them (Akiba et al. 2019). Test notes choose
# nothing.


#: Trials drawn at random before the estimator proposes, and before the median rule ends any.
RANDOM_TRIALS = 5


@dataclass(frozen=True)
class Tuned:
    """What a search found, as `tune.json` has it.

    Attributes:
        folder: where `tune.json` and `best.toml` lie.
        trials: of each trial `number`, `state` (`finished`, `ended early`, `diverged`), `settings`, `value`
            (`score` of the epoch that is kept; None unless finished) and `epochs` (the same after each).
        best: number of the best trial.
        importance: share of the variance of `score` that each setting explains; empty where unknown.
        score: what trials are compared by on validation notes, see `epoch_score`.
    """

    folder: Path
    trials: tuple[dict[str, Any], ...]
    best: int
    importance: dict[str, float]
    score: str


def run_tuning(
    config: StudyConfig, search: Search, output: Path, *, reporter: Reporter | None = None
) -> Tuned:
    """Run, or continue, a search; its first trial is `config` itself.

    `output` is a run folder whose baseline all searches in it share; `output/STRATEGY/` holds the search:
    `trials.db`, `tune.json` and `best.toml`. Finished trials are never run again, and proposals depend on
    the seed and the finished trials alone: a killed search ends like an undisturbed one. The trial that
    was cut off starts anew.

    Raises:
        InputError: the notes, the encoder, the folder or a setting cannot be used.
        SympressError: every trial diverged.
    """
    require_training()
    require_optuna()
    names, resolved = search.names(), config.resolved()
    run, folder = RunFolder(Path(output)), Path(output) / search.strategy
    reporter = reporter or Reporter(quiet=True)
    run.check(resolved)
    with reporter, full_disk_explained(run.path):
        encoder = load_encoder(resolved.encoder or "bundled", case=resolved.case)
        space = search_space(resolved, names, int(encoder.model.config.hidden_size))
        bench = make_bench(resolved, prepare(resolved, reporter), encoder, run)
        with run.held(resolved, {**bench.data.inputs, "encoder": fingerprint_encoder(encoder)}):
            if search.strategy != BASELINE:
                _share_baseline(bench, search.seed, reporter)
            score = epoch_score_name(bench.config.note_task)
            study = _open(folder, search, space, score)
            _run_trials(study, bench, search, space, reporter)
            trials = _describe(study)
            tuned = Tuned(folder, trials, _best(trials), _importance(study, search.seed), score)
    _write(tuned, config, search, bench)
    return tuned


def _share_baseline(bench: NoteTask, seed: int, reporter: Reporter) -> None:
    """Train the baseline that all trials start from, unless the folder has it; it is not deployed."""
    final = bench.run.artifact(BASELINE, seed)
    if (final / "model.safetensors").is_file():
        return
    reporter.say("baseline: trained once, for all trials")
    model = train_baseline(bench, seed, reporter.step).model
    draft = bench.run.work(BASELINE, seed) / "artifact"
    save_model(model.cpu(), draft)
    final.parent.mkdir(parents=True, exist_ok=True)
    draft.replace(final)
    shutil.rmtree(bench.run.work(BASELINE, seed))


def _open(folder: Path, search: Search, space: Mapping[str, BaseDistribution], score: str) -> optuna.Study:
    """The stored search, without what a kill left half done; refused if it is of other settings or seed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{folder / 'trials.db'}",
        study_name=search.strategy,
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=RANDOM_TRIALS),
    )
    claim = {"seed": search.seed, "score": score} | {
        f"range of {name}": str(where) for name, where in space.items()
    }
    stored = study.user_attrs.get("claim", claim)
    check_settings(folder, stored, claim)
    check_settings(folder, claim, stored)  # a range that is no longer searched
    study.set_user_attr("claim", claim)
    for trial in study.get_trials(deepcopy=False):
        if trial.state in (TrialState.RUNNING, TrialState.WAITING):
            if trial.state == TrialState.WAITING:
                study.ask()  # a waiting trial is told of by being taken
            study.tell(trial.number, state=TrialState.FAIL)
    return study


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _run_trials(
    study: optuna.Study,
    bench: NoteTask,
    search: Search,
    space: Mapping[str, BaseDistribution],
    reporter: Reporter,
) -> None:
    """Run trials until `search.trials` are finished."""
    while (done := len(_finished(study))) < search.trials:
        proposals = np.random.SeedSequence((search.seed, done)).generate_state(1)[0]
        study.sampler = optuna.samplers.TPESampler(seed=int(proposals), n_startup_trials=RANDOM_TRIALS)
        if done == 0:
            study.enqueue_trial({name: getattr(bench.config, name) for name in space})
        trial = study.ask(dict(space))
        spelled = ", ".join(f"{name} {value:.4g}" for name, value in trial.params.items())
        reporter.say(f"trial {done + 1} of {search.trials}: {spelled}")
        try:
            value = _run_trial(trial, bench, search, reporter)
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
            reporter.say("  behind the median of the others: ended early")
        except InputError:
            raise
        except SympressError as error:
            trial.set_user_attr("diverged", str(error))
            study.tell(trial, state=TrialState.PRUNED)
            reporter.say(f"  {error}")
        else:
            study.tell(trial, value)
            reporter.say(f"  validation {epoch_score_name(bench.config.note_task)} {value:.4f}")


def _run_trial(trial: optuna.Trial, bench: NoteTask, search: Search, reporter: Reporter) -> float:
    """Train with the trial's settings; the score on validation of the epoch that is kept."""
    name = f"{search.strategy}-trial"
    tried = replace(bench, config=bench.config.model_copy(update=trial.params))
    work = bench.run.work(name, search.seed)
    shutil.rmtree(work, ignore_errors=True)
    epoch = 0

    def score(logits: NDArray[np.float32]) -> tuple[float, dict[str, Any]]:
        nonlocal epoch
        value, description = score_epoch(tried, logits)
        epoch += 1
        trial.report(value, epoch)
        if epoch < tried.config.epochs and trial.should_prune():
            raise optuna.TrialPruned
        return value, description

    epochs = train_strategy(tried, search.strategy, search.seed, reporter.step, score=score, work=name)
    shutil.rmtree(work, ignore_errors=True)
    scores = [float(done["score"]) for done in epochs]
    return max(scores) if tried.config.select == "best" else scores[-1]


def _describe(study: optuna.Study) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "number": number,
            "state": "diverged"
            if "diverged" in trial.user_attrs
            else ("finished" if trial.state == TrialState.COMPLETE else "ended early"),
            "settings": trial.params,
            "value": trial.value if trial.state == TrialState.COMPLETE else None,
            "epochs": [trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)],
        }
        for number, trial in enumerate(_finished(study))
    )


def _best(trials: Sequence[dict[str, Any]]) -> int:
    """The first of the best finished trials."""
    trials = [trial for trial in trials if trial["value"] is not None]
    if not trials:
        raise SympressError("every trial diverged; lower --learning-rate and search again in another -o")
    return int(max(trials, key=lambda trial: float(trial["value"]))["number"])


def _importance(study: optuna.Study, seed: int) -> dict[str, float]:
    """Functional ANOVA (Hutter et al. 2014) over the finished trials; empty below eight of them."""
    values = [trial.value for trial in _finished(study) if trial.value is not None]
    if len(values) < 8 or len(set(values)) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}


def _write(tuned: Tuned, config: StudyConfig, search: Search, bench: NoteTask) -> None:
    """Write `tune.json`, and `best.toml` with the user's own settings and the best trial's."""
    best = tuned.trials[tuned.best]
    write_json(
        tuned.folder / "tune.json",
        {
            "format": 1,
            "strategy": search.strategy,
            "seed": search.seed,
            "score": tuned.score.lower().replace(" ", "_"),
            "config": public_settings(bench.config),
            "data": bench.data.description.model_dump(mode="json"),
            "trials": list(tuned.trials),
            "best": best,
            "importance": tuned.importance,
            "environment": environment(),
        },
    )
    own = config.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    values = own | {"strategies": [search.strategy]} | best["settings"]
    said = (
        f"# validation {tuned.score} {best['value']:.4f}, "
        f"the best of {len(tuned.trials)} trials of {search.strategy}\n"
        "# learning_rate and weight_decay hold for every row of a study, its baseline too\n"
    )
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in sorted(values.items())]
    write_text(tuned.folder / "best.toml", said + "".join(lines))
