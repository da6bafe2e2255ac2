"""`sympress tune`: search the settings of a strategy on validation notes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sympress.cli.options import settings_options, study_config
from sympress.progress import Reporter

if TYPE_CHECKING:
    from sympress.study.tune import Tuned

_SETTINGS = (
    *("notes", "protocol", "task", "top_k", "text_column", "fraction", "split", "encoder", "epochs"),
)
#: Trials in the console's table.
_SHOWN = 5


@settings_options(_SETTINGS, panel="As in sympress study; --config takes the rest")
def tune(  # noqa: PLR0917  one option a setting; typer passes them by name
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; the same command continues it.")],
    strategy: Annotated[
        str, typer.Option(help="baseline, distillation, lowrank, pruning-masked or pruning.")
    ] = "baseline",
    trials: Annotated[int, typer.Option(help="How many, those that end early included.")] = 20,
    search: Annotated[
        str | None,
        typer.Option(
            help="Settings to search, with commas; else all of learning_rate, weight_decay and the "
            "strategy's own (temperature, alpha, rank, masked_share)."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the proposals and of each training.")] = 0,
    config: Annotated[Path | None, typer.Option(help="TOML of a study; flags win.")] = None,
    **settings: Any,
) -> None:
    """Find the settings with which a strategy scores best on validation notes; test notes choose nothing.

    The first trial has the settings as they are. Kill it at any time; the same command goes on.
    """
    chosen = study_config(settings, config)
    from sympress.extras import require_training

    require_training()
    from sympress.study.search import Search
    from sympress.study.tune import run_tuning

    wanted = tuple(name.strip().replace("-", "_") for name in (search or "").split(",") if name.strip())
    tuned = run_tuning(chosen, Search(strategy, trials, wanted, seed), output, reporter=Reporter())
    _say(tuned)


def _say(tuned: Tuned) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    names = list(tuned.trials[tuned.best]["settings"])
    finished = [trial for trial in tuned.trials if trial["value"] is not None]
    table = Table("trial", f"validation {tuned.score}", *names)
    for trial in sorted(finished, key=lambda one: -one["value"])[:_SHOWN]:
        values = [f"{trial['settings'][name]:.4g}" for name in names]
        table.add_row(str(trial["number"]), f"{trial['value']:.4f}", *values)
    console.print(table)
    early = len(tuned.trials) - len(finished)
    first = tuned.trials[0]["value"]
    console.print(f"{len(tuned.trials)} trials, {early} of them ended early", end="")
    console.print("" if first is None else f"; the settings as they were score {first:.4f} (trial 0)")
    for name, share in tuned.importance.items():
        console.print(f"{name} explains {share:.0%} of the differences")
    console.print(f"wrote {tuned.folder / 'tune.json'} and {tuned.folder / 'best.toml'}")
    console.print(f"next: sympress study --config {tuned.folder / 'best.toml'} -o RUN")
