"""The functions of the package: load, train, compress, evaluate, study."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sympress.config import check_seed
from sympress.errors import InputError, names_arguments, require_training
from sympress.evaluation.gold import Gold, gold_of, pair_of, texts_of
from sympress.files import folder_to_write
from sympress.labels.own_words import read_own_words
from sympress.model import Model, TemporaryFolder
from sympress.progress import Reporter
from sympress.runtime.artifact import artifact_folder, is_classifier, may_be_on_hub
from sympress.runtime.extractor import Extractor, OnError

if TYPE_CHECKING:
    from sympress.compression.recipe.language import Recipe
    from sympress.compression.search import Budget
    from sympress.config import StudyConfig
    from sympress.evaluation.evaluate import Evaluation, Step
    from sympress.results import Results

_LOG = logging.getLogger("sympress")


@names_arguments({"--entity": "entities"})
def load(
    source: str | Path | None = None,
    *,
    threads: int = 1,
    lexicon: str | Path | None = None,
    cues: str | Path | None = None,
    sections: str | Path | None = None,
    digest: str | None = None,
    revision: str | None = None,
    labels_per_note: Literal["one", "several"] | None = None,
    entities: Sequence[str] = (),
    max_tokens: int | None = None,
    on_error: OnError = "record",
) -> Model:
    """Load a model, ready to answer notes and to be compressed.

        sympress.load()("c/o fever and chills, denies cough").to_frame()

    Args:
        source: folder of an artifact; `box` (also None) for the model and rules that come with sympress,
            `rules` for the rules alone; or a fine-tuned classifier of transformers, of notes or of tokens, by
            its folder or its id on the Hugging Face Hub, which is asked only for what the local cache lacks.
        threads: notes that are answered at the same time.
        lexicon: a built-in lexicon's name or a file that names the symptoms, in place of the artifact's.
        cues: a .toml file that decides assertions, over the artifact's.
        sections: a .toml file of headings, over the artifact's.
        digest: `sha256:` and 64 digits, of the one artifact that may be loaded; None for any.
        revision: branch, tag or commit of what is on the Hub.
        labels_per_note: of a classifier of notes, where its `problem_type` does not say; an artifact takes
            neither this nor the next two.
        entities: of a tagger, those that are symptoms; () for those that are called so.
        max_tokens: of a classifier, word pieces a window; None for as many as it takes.
        on_error: what becomes of a note without an answer: `record` puts the reason into its result, `raise`
            raises it.

    Raises:
        InputError: nothing readable is there, it is damaged or not that of `digest`, or it has no rules that
            would read `lexicon`, `cues` or `sections`, or one of these has mistakes, or an argument is for
            another kind of source.
        MissingExtraError: a classifier is read by PyTorch, which is not installed.
    """
    _check_source(source, "source")
    words = read_own_words(lexicon, cues, sections)
    settings: dict[str, Any] = {"threads": threads, "words": words, "digest": digest, "on_error": on_error}
    named = (entities,) if isinstance(entities, str) else tuple(entities)
    importing = {"labels_per_note": labels_per_note, "entities": named, "max_tokens": max_tokens}
    folder = artifact_folder(source)
    if is_classifier(folder) or may_be_on_hub(folder) or (folder / "extractor.json").is_file():
        asked = "box" if source is None else str(source)
        return Model.from_pretrained(asked, revision=revision, importing=importing, **settings)
    return Model.load(source, **settings)


@names_arguments({})
def train(
    notes: Any,
    labels: Any = None,
    *,
    encoder: str | Path = "bundled",
    task: str | None = None,
    validation: Any = None,
    symptoms: Sequence[str] = (),
    groups: Any = None,
    output: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: bool | None = None,
    **settings: Any,
) -> Model:
    """Fine-tune an encoder on labelled notes.

        model = sympress.train(texts, [["fever", "cough"], [], ["rash"]], encoder="bundled")

    Args:
        notes: texts, or a table (polars, pandas) with the column `text`.
        labels: one entry a note: names, one name, an array of 0 and 1 with `symptoms` for its columns, or
            spans `(start, end, name[, assertion])`; None where the table has them, see
            `evaluation.gold.gold_of`.
        encoder: `bundled`, a folder in Hugging Face form, or an id of the Hub.
        task: `present` for any number of symptoms a note, `topic` for exactly one, `mentions` for spans; None
            for `mentions` where labels are spans, else `present`.
        validation: `(texts, labels)` or a table, which choose the epoch and the thresholds; None to hold out
            a fifth of the patients, or of the notes.
        symptoms: what the model tells apart; () for every name in the labels.
        groups: `(notes,)` whose note each is.
        output: folder to write; None keeps the model until it is saved. A killed call with the same arguments
            goes on.
        seed: of the head and the order.
        device: where to train: `auto` for CUDA where there is one, else the CPU; `cpu`, `cuda` or `mps`.
        progress: whether to show it; None for on a terminal and in a notebook.
        settings: of `StudyConfig` that say how to train: epochs, batch_size, learning_rate, max_tokens, ….

    Raises:
        InputError: notes and labels do not fit each other, or the encoder cannot be read or is of a family
            that is not supported.
    """
    require_training()
    check_seed(seed)
    from sympress.pipeline.fit import fit, plan_fit, settings_of
    from sympress.training.epochs import check_device, on_device

    check_device(device)
    gold = gold_of(notes, labels, symptoms=symptoms, patients=groups, what="train")
    judged = None if validation is None else pair_of(validation, symptoms=symptoms, what="validation")
    task = task or ("mentions" if gold.spans else "present")
    plan = plan_fit(gold, judged, settings_of(task, str(encoder), settings), symptoms, seed)
    place = _Place(output, "model")
    with on_device(device):
        fit(plan, place.folder, reporter=_reporter(progress))
    return place.model()


@names_arguments({"--recipe": "a recipe", "--budget": "a budget", "--no-training": "training=False"})
def compress(
    model: Extractor | str | Path,
    how: str | Path | Recipe | Budget | None = None,
    *,
    train: Any = None,
    validation: Any = None,
    unlabelled: Any = None,
    training: bool = True,
    trials: int = 30,
    teachers: str | Path | Sequence[str | Path] = (),
    kernel: str | None = "auto",
    epochs: int | None = None,
    learning_rate: float | None = None,
    threads: int | None = None,
    seed: int | None = None,
    device: str = "auto",
    output: str | Path | None = None,
    progress: bool | None = None,
) -> Model:
    """Make a model smaller and faster, by a recipe or by the best one that a search finds for a budget.

        small = sympress.compress(model, "pocket", train=(texts, labels), unlabelled=others)

    Without labels the model itself labels the notes. Its `provenance` says what was done and measured; of a
    search `provenance["search"]["meets"]` says whether the budget is met.

    Args:
        model: what `load` or `train` returns, or what `load` takes.
        how: a recipe by name, as text or from a TOML file; or a budget, `size_mb<=3, f1_drop<=0.01`. None
            with `training=False` for what needs no training.
        train: `(texts, labels)` or a table with labels; see `evaluation.gold.gold_of`.
        validation: the same, for epochs and thresholds; None to hold out a fifth.
        unlabelled: further texts, from which the model teaches.
        training: False forbids steps that train; then no notes are needed.
        trials: recipes that a search trains.
        teachers: further teachers, artifacts or classifiers; their logits are averaged.
        kernel: of the int8 file; `auto` for the fastest here among the accurate ones, None for the recipe's.
        epochs: passes of each training that the recipe does not say; None for the model's.
        learning_rate: the same.
        threads: cores that timed models may use.
        seed: of every training; None for the model's.
        device: where to train, as in `train`.
        output: folder to write; None keeps the model until it is saved. A killed call with the same arguments
            goes on.
        progress: whether to show it; None for on a terminal and in a notebook.

    Raises:
        InputError: notes do not fit the model, a step cannot be applied to its family, or it is quantized.
    """
    require_training()
    if seed is not None:
        check_seed(seed)
    recipe, budget = _recipe_or_budget(how)
    if recipe is None and budget is None and training:
        raise InputError(
            "how: give a recipe, such as 'pocket', or a budget, such as 'size_mb<=3, f1_drop<=0.01'; or "
            "training=False for what needs no training"
        )
    from sympress.pipeline.order import Given, Order, check_order, read_given
    from sympress.training.epochs import check_device, on_device

    check_device(device)
    given = {"train": train, "validation": validation, "unlabelled": unlabelled}
    place = _Place(output, f"{_name(model)}-compressed")
    order = Order(
        model=Path(),
        output=place.folder,
        given=Given() if all(one is None for one in given.values()) else None,
        recipe=recipe,
        budget=budget,
        trials=trials,
        teachers=(str(teachers),) if isinstance(teachers, str | Path) else tuple(map(str, teachers)),
        trains=training,
        kernel=kernel,
        seed=seed,
        test=False,
        changes={"epochs": epochs, "learning_rate": learning_rate, "threads": threads},
    )
    check_order(order)  # before a model is read, or the Hub asked
    opened = _opened(model, given)
    order = replace(order, model=opened.folder, given=read_given(**given, symptoms=opened.symptoms))
    from sympress.pipeline.compress import compress as press
    from sympress.pipeline.compress import make_plan

    with on_device(device):
        record = press(make_plan(order), reporter=_reporter(progress))
    if record["search"] is not None and not record["search"]["meets"]:
        _LOG.warning("%s", record["search"]["sentence"])
    return place.model()


@names_arguments({})
def evaluate(
    model: Extractor | str | Path,
    notes: Any,
    labels: Any = None,
    *,
    against: Extractor | str | Path | None = None,
    groups: Any = None,
    by: Any = None,
    seed: int = 0,
    resamples: int = 1000,
    timed: bool = True,
    step: Step | None = None,
    say: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score a model on notes that people labelled, beside another on the same notes if one is given.

        print(sympress.evaluate(small, texts, labels, against=model, groups=patients))

    Args:
        model: what `load` or `train` returns, or what `load` takes.
        notes: texts, a table (polars, pandas) or `Gold`; see `evaluation.gold.gold_of`, also for `labels`.
        labels: one entry a note: an array of 0 and 1 in the order of `model.symptoms`, names, or spans.
        against: another model, as `model`; both answer every note, and the differences have intervals and
            p-values.
        groups: `(notes,)` whose note each is: patients are resampled, not notes.
        by: `(notes,)` what figures are told apart by, such as a hospital.
        seed: of the resampling.
        resamples: number of resamples of patients, or of notes; 0 gives values without intervals.
        timed: whether the model is timed, also without another one.
        step: called with what is done, and how much of how much.
        say: called with what begins.

    Raises:
        InputError: labels do not fit the notes, a number is below 0, or a model cannot be read.
        SympressError: not one note was answered.
    """
    from sympress.evaluation.evaluate import check_drawing
    from sympress.evaluation.evaluate import evaluate as score

    check_drawing(seed, resamples)
    given = {"notes": notes}
    return score(
        _opened(model, given),
        notes,
        labels,
        against=None if against is None else _opened(against, given, "against"),
        groups=groups,
        by=by,
        seed=seed,
        resamples=resamples,
        timed=timed,
        step=step,
        say=say,
    )


@names_arguments({})
def study(
    config: StudyConfig, output: str | Path, *, command: str | None = None, reporter: Reporter | None = None
) -> Results:
    """Run, or continue, the study `config` in the folder `output`: see `studies.run.run_study`.

    Raises:
        InputError: the notes, the encoder, the folder or a setting cannot be used.
    """
    require_training()
    from sympress.studies.run import run_study

    return run_study(config, output, command=command, reporter=reporter)


def _check_source(source: Any, what: str) -> None:
    if source is not None and not isinstance(source, str | Path):
        raise InputError(
            f"{what}: {type(source).__name__} is no model; give a folder, an id of the Hub, or 'box'"
        )


def _opened(model: Any, notes: dict[str, Any], what: str = "model") -> Extractor:
    """The model, loaded once the notes are known to be texts: before the Hub is asked."""
    if isinstance(model, Extractor):
        return model
    _check_source(model, what)
    for name, given in notes.items():
        if given is not None and not isinstance(given, Gold):
            texts_of(given[0] if isinstance(given, tuple) else given, name)
    return load(model)


def _name(model: Any) -> str:
    """What the folder of a model is called."""
    folder = model.folder if isinstance(model, Extractor) else Path(str(model)).expanduser()
    return folder.resolve().name or "model"


def _recipe_or_budget(how: Any) -> tuple[Recipe | None, Budget | None]:
    from sympress.compression.recipe.language import Recipe, read_recipe
    from sympress.compression.search import Budget, parse_budget

    if isinstance(how, str | Path):
        return (None, parse_budget(str(how))) if "<=" in str(how) else (read_recipe(how), None)
    if isinstance(how, Budget):
        return None, how
    if how is None or isinstance(how, Recipe):
        return how, None
    raise InputError(
        f"how: {type(how).__name__} is no recipe and no budget; give 'pocket', 'quantize(int8)', or "
        "'size_mb<=3, f1_drop<=0.01'"
    )


class _Place:
    """The folder of what is made: the one that was asked for, or one that lasts as long as the model."""

    def __init__(self, output: str | Path | None, name: str) -> None:
        self._holder = TemporaryFolder() if output is None else None
        self.folder = self._holder.path / name if self._holder else folder_to_write(str(output))

    def model(self) -> Model:
        """The model in it."""
        if self._holder is None:
            return Model.load(self.folder)
        return Model.in_temporary(self._holder, self.folder)


def _reporter(progress: bool | None) -> Reporter:
    if progress is None:
        progress = sys.stderr.isatty() or "ipykernel" in sys.modules
    return Reporter(quiet=not progress)
