"""`sympress compress MODEL`: press an artifact by a recipe, or search one that meets a budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from sympress.cli.options import (
    DeviceOption,
    Entities,
    GoldLabels,
    LabelsPerNote,
    TextColumn,
    ValidationOption,
    grouped_options,
    plain_console,
    read_labelled,
    read_texts,
)
from sympress.cli.study import command_line
from sympress.compression.recipe.language import UNTRAINED
from sympress.errors import InputError
from sympress.progress import Reporter

if TYPE_CHECKING:
    from sympress.evaluation.gold import Gold
    from sympress.pipeline.order import Order

#: Exit code of a search that ended with a model that does not meet the budget.
UNMET = 3


@dataclass(frozen=True)
class Labelled:
    """Notes to learn from and to judge by, in place of the study's."""

    notes: Annotated[
        Path | None,
        typer.Option(help="The notes of its study; of any other model, unlabelled ones or those of --gold."),
    ] = None
    gold: Annotated[
        Path | None,
        typer.Option(
            help="Labelled notes to learn from, as `evaluate --gold` reads them, in place of the study's.",
            show_default=False,
        ),
    ] = None
    validation: ValidationOption = None
    gold_labels: GoldLabels = None

    def read(self, text_column: str | None) -> tuple[Gold | None, Gold | None]:
        """Notes to learn from and to judge by, None where none are named.

        Raises:
            InputError: they cannot be read.
        """
        train, judged = (
            None
            if path is None
            else read_labelled(path, self.notes, labels=self.gold_labels, text_column=text_column)
            for path in (self.gold, self.validation)
        )
        return train, judged


@dataclass(frozen=True)
class Wish:
    """What is asked for: what to do, or what the result may cost, and how far a search and a teacher go."""

    recipe: Annotated[
        str | None,
        typer.Option(
            help="safe, balanced, pocket, micro, a TOML file, or "
            "'vocab(keep=0.35) > distill(layers=3) > quantize(int8)'."
        ),
    ] = None
    budget: Annotated[
        str | None,
        typer.Option(help="Limits to search for: 'size_mb<=6, latency_ratio<=0.1, f1_drop<=0.01'."),
    ] = None
    trials: Annotated[int, typer.Option(help="Recipes that the search for a budget trains.")] = 30
    transfer_fraction: Annotated[
        float | None,
        typer.Option(help="Also teach with the further notes of this share of patients, unlabelled."),
    ] = None
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            help="A further teacher, an artifact, a folder or an id; logits are averaged. Repeatable."
        ),
    ] = None
    training: Annotated[
        bool,
        typer.Option(
            "--training/--no-training",
            help=f"Without: only steps that need no training; without --recipe too, {UNTRAINED!r}.",
        ),
    ] = True
    kernel: Annotated[
        str,
        typer.Option(
            help="Of the int8 file: auto times those of the recipe's kind on this machine and takes the "
            "fastest that is accurate; or dynamic-7bit, dynamic-8bit, static-8bit, …"
        ),
    ] = "auto"


@dataclass(frozen=True)
class Changes:
    """Settings of the study that differ."""

    epochs: Annotated[int | None, typer.Option(help="Passes of each training; the study's if not given.")] = (
        None
    )
    learning_rate: Annotated[float | None, typer.Option(help="The study's if not given.")] = None
    seed: Annotated[int | None, typer.Option(help="The study's if not given.")] = None
    threads: Annotated[
        int | None, typer.Option(help="Cores that timed models may use; the study's if not given.")
    ] = None


@grouped_options
def compress(
    *,
    model: Annotated[
        str,
        typer.Argument(
            help="An artifact with its weights, such as RUN/artifacts/baseline-seed0, or a fine-tuned "
            "classifier of transformers: its folder, or an id of the Hugging Face Hub.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the pressed artifact.", show_default=False)
    ],
    labelled: Labelled,
    labels_per_note: LabelsPerNote = None,
    entity: Entities = None,
    text_column: TextColumn = None,
    wish: Wish,
    changes: Changes,
    device: DeviceOption = "auto",
    test: Annotated[bool, typer.Option("--test/--no-test", help="Score test notes, for the record.")] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say the steps and the estimated size; read and train nothing.")
    ] = False,
) -> None:
    """Compress a fine-tuned model by a recipe, or by the best recipe that a search finds for a budget.

    Give --recipe, --budget, or --no-training alone. Without labels the model labels the notes itself. If it
    is interrupted, repeat the command to resume it. Exit code 3: no recipe meets the budget.
    """
    from sympress.api import load
    from sympress.errors import require_training
    from sympress.pipeline.order import Given, check_given, check_order
    from sympress.runtime.artifact import artifact_folder, is_classifier

    require_training()
    from sympress.training.epochs import check_device, on_device

    check_device(device)
    per_note, notes = _per_note(labels_per_note), labelled.notes
    train, judged = labelled.read(text_column)
    order = _order(model, output, wish, changes, notes=notes, test=test)

    def with_notes(order: Order) -> Order:
        """What the notes are that nobody prepared as a study does."""
        given = check_given(Given(train, judged, read_texts(notes, text_column)))
        return replace(order, notes=None, given=given)

    if is_classifier(artifact_folder(model)):
        order = with_notes(order)
    elif notes is not None and not notes.exists():
        raise InputError(f"{notes}: no such file or folder; give notes")
    check_order(order, dry=dry_run)  # before a model is read, or the Hub asked
    opened = load(model, labels_per_note=per_note, entities=tuple(entity or ()))
    from sympress.pipeline.compress import compress as press
    from sympress.pipeline.compress import describe, make_plan
    from sympress.pipeline.origin import of_study

    if order.given is None and not (train is None and judged is None and of_study(opened.folder)):
        order = with_notes(order)
    plan = make_plan(replace(order, model=opened.folder), dry=dry_run)
    console = plain_console()
    if dry_run:
        console.print(*describe(plan), sep="\n")
        return
    with on_device(device):
        record = press(plan, reporter=Reporter(), command=command_line())
    _show(console, record, output)
    if record["search"] is not None and not record["search"]["meets"]:
        raise typer.Exit(UNMET)


def _order(
    model: str, output: Path, wish: Wish, changes: Changes, *, notes: Path | None, test: bool
) -> Order:
    from sympress.compression.recipe.language import read_recipe
    from sympress.compression.search import parse_budget
    from sympress.pipeline.order import Order

    return Order(
        model=Path(model),
        output=output,
        notes=notes,
        recipe=None if wish.recipe is None else read_recipe(wish.recipe),
        budget=None if wish.budget is None else parse_budget(wish.budget),
        trials=wish.trials,
        teachers=tuple(wish.teacher or ()),
        trains=wish.training,
        kernel=wish.kernel,
        seed=changes.seed,
        test=test,
        called=model,
        changes={
            "epochs": changes.epochs,
            "learning_rate": changes.learning_rate,
            "threads": changes.threads,
            "transfer_fraction": wish.transfer_fraction,
        },
    )


def _per_note(given: str | None) -> Literal["one", "several"] | None:
    if given not in (None, "one", "several"):
        raise InputError(f"--labels-per-note {given}: give one or several")
    return cast("Literal['one', 'several'] | None", given)


def _show(console: Console, record: dict[str, Any], output: Path) -> None:
    """Print what was done, the table, the search, the flips, where it lies and what to do next."""
    console.print(f"recipe: {record['recipe']}", *(f"- {remark}" for remark in record["remarks"]), sep="\n")
    console.print(_table(record), soft_wrap=False)
    if record["search"] is not None:
        from sympress.report.page import front_table, read_front

        console.print(front_table(read_front(output / "search")), soft_wrap=False)
        console.print(record["search"]["sentence"])
    if record["test"] is not None:
        console.print(*_changes(record["test"]), sep="\n")
    console.print("", f"wrote {output}", f"next: {_next(record, output)}", sep="\n")


def _next(record: dict[str, Any], output: Path) -> str:
    if record["search"] is not None:
        return f"open {output / 'search' / 'search.svg'}"
    half = record["table"]["pressed"]["size_bytes"] / 2e6
    return f'sympress compress MODEL --budget "size_mb<={half:.2g}, f1_drop<=0.01" -o {output}-smaller'


def _table(record: dict[str, Any]) -> Table:
    from sympress.report.card import MODELS

    threads, notes = record["threads"], record["notes"]
    kind = "synthetic" if "synthetic" in notes else "validation"
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{notes[kind]:,} {kind} notes, {threads} thread{'s' * (threads > 1)}",
        title_justify="left",
    )
    for number, name in enumerate(("", "MB", "ms p50", "of PyTorch", "of int8", "validation F1")):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for name, row in record["table"].items():
        table.add_row(
            MODELS[name],
            f"{row['size_bytes'] / 1e6:.2f}",
            f"{row['latency_ms_p50']:.2f}",
            f"{row['latency_ratio']:.3f}×",
            f"{row['int8_latency_ratio']:.3f}×",
            f"{row['validation_f1']:.4f}",
        )
    return table


def _changes(test: dict[str, Any]) -> list[str]:
    """What compression changed beyond the average, on test notes."""
    changes, difference = test["changes"], test["f1_difference"]
    interval = ""
    if difference["low"] is not None and difference["high"] is not None:
        interval = f" [{difference['low']:+.4f}, {difference['high']:+.4f}]"
    changed = "undefined" if difference["value"] is None else f"{difference['value']:+.4f}"
    lines = [
        f"test notes, for the record: F1 {test['f1']:.4f}, the teacher's {test['teacher_f1']:.4f}; "
        f"difference {changed}{interval}",
        f"the answer changed for {changes['flipped_notes']:,} of {changes['notes']:,} test notes; "
        f"symptom by symptom {changes['corrected']:,} now right, {changes['spoiled']:,} now wrong",
    ]
    return lines + [
        f"  {one['symptom']}: {one['flipped']:,} flipped, F1 {_f1(one['f1'])}, "
        f"the teacher's {_f1(one['baseline_f1'])}"
        for one in changes["per_symptom"]
        if one["flipped"]
    ]


def _f1(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
