"""Rows of a study that are made of others: pressed by a recipe from the baseline, or the ensemble of all."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sympress.compression.distill.teachers import PART_NOTES
from sympress.compression.export import export_checked, parity
from sympress.compression.quantize.choose import Choice
from sympress.compression.recipe import Exported, Step
from sympress.compression.recipe.engine import run_recipe
from sympress.compression.recipe.language import BASELINE, LONGER, STRATEGIES, Recipe, read_recipe
from sympress.compression.recipe.material import Context, FurtherTeacher, Material, State, encode_notes
from sympress.config import StudyConfig
from sympress.errors import InputError, SympressError
from sympress.evaluation.cost import count_weights, time_in_turn
from sympress.evaluation.probabilities import fit_fusion
from sympress.files import atomic_path, full_disk_explained
from sympress.labels.lexicon import load_lexicon
from sympress.labels.own_words import OwnWords
from sympress.labels.task import task_of
from sympress.models.encoder import Encoder, token_limit
from sympress.models.ensemble import FILE, Ensemble, signs_of
from sympress.models.model import Pooling, SymptomModel, build_model, load_model, save_model
from sympress.models.rules import entries_for
from sympress.provenance import fingerprint_texts
from sympress.runtime.affirm import Fusion
from sympress.runtime.artifact import (
    Extractor,
    model_source,
    read_extractor,
    write_checksums,
    write_extractor,
)
from sympress.runtime.linker import carried_words, held_as, write_words
from sympress.runtime.session import Runtime
from sympress.studies.costs import INT8, PYTORCH
from sympress.studies.folder import RunFolder
from sympress.training.data import encode_texts
from sympress.training.epochs import Scorer, TrainSettings

#: Notes on which ONNX is compared with PyTorch, and on which kernels and layers are judged.
PARITY_NOTES = 16
JUDGED_NOTES = 64
#: Pieces that a convolution reads at once in a long note; the more, the less is read twice.
WIDE_WINDOW = 1024
#: Names of rows and timings that no recipe may have.
RESERVED = (*STRATEGIES, LONGER, "rule", "rule-assertion", "tfidf", "ensemble", PYTORCH, INT8)
#: `NAME = recipe`; what stands before the first `=` is a name unless a bracket opens or a step ends in it.
_NAMED = re.compile(r"([^=(>]*)=(.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Compressed:
    """A finished recipe: the piece, the kernel that was chosen, and the largest difference to PyTorch."""

    state: State
    choice: Choice | None
    parity: float

    def as_json(self, macs_per_note: int) -> dict[str, Any]:
        """How it was made, for provenance and rows; `kernel` says what was chosen."""
        return {
            "epochs": self.state.epochs,
            "train_seconds": self.state.train_seconds,
            "remarks": self.state.remarks,
            "kernel": None if self.choice is None else asdict(self.choice),
            "parity_max_difference": self.parity,
            "macs_per_note": macs_per_note,
        }


def named(recipes: Sequence[str]) -> dict[str, Recipe]:
    """The recipes of a study by the name of their row: `pocket`, or `small = vocab(keep=0.2) > …`.

    Raises:
        InputError: a recipe has a mistake, or a name that is not one, is another row's or is given twice.
    """
    found: dict[str, Recipe] = {}
    for number, text in enumerate(recipes, 1):
        named_so = _NAMED.fullmatch(text)
        bare = text.strip()
        name, rest = (bare if _NAME.fullmatch(bare) else f"recipe-{number}"), bare
        if named_so is not None:
            name, rest = (part.strip() for part in named_so.groups())
        if not _NAME.fullmatch(name):
            raise InputError(f"a recipe called {name!r}: a name has letters, digits, '-' and '_' only")
        if name in RESERVED:
            raise InputError(f"a recipe called {name!r}: a row of every study has that name; choose another")
        if name in found:
            raise InputError(f"two recipes are called {name!r}; write NAME = before one of them")
        found[name] = read_recipe(rest)
    return found


def train_settings(config: StudyConfig, seed: int) -> TrainSettings:
    """How a study trains."""
    return TrainSettings(
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate or 3e-5,
        head_rate_ratio=config.head_rate_ratio or 1.0,
        weight_decay=config.weight_decay,
        schedule=config.schedule or "cosine",
        warmup_share=config.warmup_share or 0.0,
        seed=seed,
        select=config.select or "last",
    )


def write_model(
    model: SymptomModel,
    tokenizer: PreTrainedTokenizerBase,
    extractor: Extractor,
    notes: Sequence[NDArray[np.int64]],
    draft: Path,
) -> float:
    """Write weights, tokenizer, settings and ONNX file to the folder `draft`, which is emptied before.

    Returns:
        The largest difference of a logit between PyTorch and ONNX, over the first of `notes`.
    """
    shutil.rmtree(draft, ignore_errors=True)
    save_model(model, draft)
    tokenizer.save_pretrained(draft)
    write_extractor(draft, extractor)
    return export_checked(model, draft / "model.onnx", list(notes[:PARITY_NOTES]))


def try_encoder(encoder: Encoder, outputs: int, pooling: Pooling) -> None:
    """Run the encoder with a fresh head and export it once, before anything is trained.

    Args:
        encoder: it stays as it is.
        outputs: of the head; the export of a trained model of the same structure traces nothing again.
        pooling: of the head.

    Raises:
        InputError: it cannot be run or exported.
    """
    texts = ["c/o fever and chills, denies cough", "no fever"]
    ids = encode_texts(encoder.tokenizer, texts, token_limit(encoder, 16)).ids
    model = build_model(encoder.model, outputs, pooling, 0)
    with tempfile.TemporaryDirectory(prefix="sympress-") as folder:
        try:
            with full_disk_explained(Path(folder)):
                export_checked(model, Path(folder) / "model.onnx", list(ids))
        except SympressError:
            raise
        except Exception as error:  # PyTorch's exporter raises its own types
            raise InputError(
                f"{encoder.name}: cannot be run and exported ({type(error).__name__}); take another encoder"
            ) from error


def move_artifact(draft: Path, final: Path) -> None:
    """List the files of the finished `draft` and put it in the place of `final`."""
    write_checksums(draft)
    shutil.rmtree(final, ignore_errors=True)
    final.parent.mkdir(parents=True, exist_ok=True)
    draft.replace(final)


def deployed_windows(state: State, tagger: bool, max_tokens: int, stride: int) -> tuple[int, int]:
    """Pieces of a window and from one to the next: as far apart as changes nothing, or as they were given.

    A convolution sees few pieces to each side. Where windows share twice as many, each piece stands in one as
    in the whole note (`runtime.tokens.merge_windows`); a tagger, which pools nothing, may then read long
    ones, which share less.
    """
    reach = getattr(state.model.encoder.config, "reach", None)
    if reach is None:
        return max_tokens, stride
    wide = max(max_tokens, WIDE_WINDOW) if tagger else max_tokens
    return wide, max(1, wide - state.tokenizer.num_special_tokens_to_add() - 2 * int(reach))


def press(
    teacher_folder: Path,
    recipe: Recipe,
    material: Material,
    settings: TrainSettings,
    extractor: Extractor,
    *,
    work: Path,
    draft: Path,
    score: Scorer,
    trains: bool = True,
    teachers: Sequence[FurtherTeacher] = (),
    kernel: str | None = None,
    threads: int = 1,
    pretrained: PreTrainedModel | None = None,
    logits: Path | None = None,
    step: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> Compressed:
    """Run `recipe` on the model in `teacher_folder` and write what is deployed to `draft`.

    Args:
        teacher_folder: an artifact, with its tokenizer.
        recipe: what to do.
        material: notes, none of them a test note.
        settings: of every training that a step does not set itself.
        extractor: the teacher's; the pressed one has a padding id of its own, and nothing settled yet but the
            weights of a step that fuses.
        work: for finished steps.
        draft: folder to fill.
        score: judges validation logits after an epoch.
        trains: False forbids steps that train.
        teachers: more teachers; students imitate the average of all logits.
        kernel: of the int8 file where the recipe makes one, whatever kind it says.
        threads: cores of the runtime that is timed where the kernel is chosen by the clock.
        pretrained: the encoder before fine-tuning, for steps that begin with it.
        logits: folder of the teachers' answers, which recipes share; `work.parent / "logits"` if None.
        step: told of progress.
    """
    context = Context(
        material=material,
        settings=settings,
        score=score,
        folder=work,
        logits_folder=logits or work.parent / "logits",
        progress=lambda done, total: step("training", done, total),
        answering=lambda done, total: step("the teacher's answers", done, total),
        trains=trains,
        teachers=tuple(teachers),
        pretrained=pretrained,
    )
    tokenizer = AutoTokenizer.from_pretrained(teacher_folder, local_files_only=True)

    def announce(number: int, total: int, what: Step) -> None:
        step(what.step, number, total)

    state = run_recipe(recipe, load_model(teacher_folder), tokenizer, context, announce=announce)
    material = state.reads(material)
    notes = list(encode_notes(state.tokenizer, material.validation[:JUDGED_NOTES], material).ids)
    unsettled = _unsettled(extractor, state, material)
    worst = write_model(state.model, state.tokenizer, unsettled, notes, draft)
    exported = Exported(
        path=draft / "model.onnx",
        calibration=encode_notes(state.tokenizer, material.training[:JUDGED_NOTES], material).ids,
        notes=notes,
        folder=work,
        threads=threads,
        time_in_turn=time_in_turn,
        kernel=kernel,
    )
    choices = [one.apply_to_file(exported) for one in recipe.steps]
    choice = next((one for one in reversed(choices) if one is not None), None)
    if choice is not None:
        worst = parity(state.model, model_source(draft), notes[:PARITY_NOTES])
    write_checksums(draft)
    if any(one.fuses for one in recipe.steps):
        fuse_artifact(draft, carried_words(teacher_folder, extractor), material)
    return Compressed(state, choice, worst)


def _unsettled(extractor: Extractor, state: State, material: Material) -> Extractor:
    """The teacher's settings without those that do not fit the pressed model."""
    changed = {"pad_id": state.pad_id, "thresholds": None, "calibration": None, "fusion": None}
    if state.max_tokens is not None:
        changed |= {"max_tokens": material.max_tokens, "stride": material.stride}
    if material.stride is not None:
        tagger = task_of(extractor.task).finds_spans
        windows = deployed_windows(state, tagger, material.max_tokens, material.stride)
        changed |= dict(zip(("max_tokens", "stride"), windows, strict=True))
    return extractor.model_copy(update=changed)


def fuse_artifact(folder: Path, words: OwnWords, material: Material) -> None:
    """Fit on the validation notes what the rules' findings weigh beside the file in `folder`; write it there.

    Args:
        folder: a complete artifact of a task of whole notes.
        words: that its rules read by; a lexicon of its own, or else the clinical one.
        material: the validation notes and their labels.
    """
    settings = read_extractor(folder)
    lexicon = words.lexicon or load_lexicon("clinical")
    fusion = Fusion.neutral(entries_for(settings.symptoms, lexicon))
    write_words(folder, words)
    held = settings.model_copy(update={"lexicon": held_as(lexicon), "fusion": fusion})
    write_extractor(folder, held)
    write_checksums(folder)
    runtime = Runtime.load(folder)
    logits = np.stack([runtime.network_logits(text) for text in material.validation])
    signs = np.stack([fusion.signs(runtime.mentions_in(text)) for text in material.validation])
    slopes, shifts, weights = fit_fusion(logits, signs, material.validation_targets)
    fitted = Fusion(
        mentions=fusion.mentions,
        slope=slopes.tolist(),
        bias=shifts.tolist(),
        present=weights[:, 0].tolist(),
        denied=weights[:, 1].tolist(),
    )
    write_extractor(folder, held.model_copy(update={"fusion": fitted}))
    write_checksums(folder)


# The ensemble of a study: weighed from what its rows answered, and asked what students are to imitate.


#: The row of the baselines of every seed, TF-IDF and the rules, weighed on validation notes.
ENSEMBLE = "ensemble"
#: The rows that are members beside the baselines; of the first seed.
_OTHERS = ("tfidf", "rule-assertion")

Probabilities = dict[str, NDArray[np.float64]]


def weigh_members(
    run: RunFolder, targets: NDArray[np.uint8], *, networks: int, seed: int
) -> tuple[Ensemble, Probabilities]:
    """Fit the ensemble on the members' answers to validation notes and write it; its answers by part.

    Args:
        run: with the rows of the members.
        targets: `(notes, K)` of the validation notes.
        networks: how many seeds' baselines are members.
        seed: of the row that is made; the ensemble is the same for every seed.
    """
    logits, signs = {}, {}
    for part in ("validation", "test"):
        own = [run.predictions(BASELINE, one, part) for one in range(networks)]
        logits[part] = np.mean([task_of("present").logits(one) for one in own], axis=0)
        signs[part] = signs_of(*(run.predictions(one, 0, part) for one in _OTHERS))
    slope, bias, weights = fit_fusion(logits["validation"], signs["validation"], targets)
    folders = [run.artifact(BASELINE, one) for one in range(networks)]
    counts = [count_weights(folder / "model.onnx") for folder in folders]
    ensemble = Ensemble(
        run.artifact(ENSEMBLE, seed),
        tuple(folder.name for folder in folders),
        run.artifact("tfidf", 0).name,
        run.artifact("rule-assertion", 0).name,
        slope,
        bias,
        weights,
        macs_per_note=int(total_of(run, networks, "macs_per_note")),
        network_weights=(
            sum(one.parameters for one in counts),
            sum(one.nonzero_parameters for one in counts),
        ),
    )
    shutil.rmtree(ensemble.folder, ignore_errors=True)
    ensemble.save(ensemble.folder)
    answers = {
        part: task_of("present").probabilities(ensemble.combine(logits[part], signs[part])) for part in logits
    }
    return ensemble, answers


def total_of(run: RunFolder, networks: int, key: str) -> float:
    """The sum of what the rows of all members have under `key`."""
    rows = [run.read_row(BASELINE, one) or {} for one in range(networks)]
    rows += [run.read_row(one, 0) or {} for one in _OTHERS]
    return sum(float(row[key]) for row in rows)


def ensemble_logits(
    run: RunFolder, texts: Sequence[str], step: Callable[[str, int, int], None]
) -> NDArray[np.float32]:
    """What the ensemble says of `texts`, `(notes, K)`, computed once.

    Args:
        run: with the row of the ensemble.
        texts: as the models see them.
        step: told of progress.
    """
    ensemble = Ensemble.load(run.artifact(ENSEMBLE, 0))
    mark = hashlib.sha256((ensemble.folder / FILE).read_bytes()).hexdigest()[:16]
    kept = run.work(ENSEMBLE, 0) / f"{mark}-{fingerprint_texts(texts)[:16]}.npy"
    if kept.is_file():
        stored: NDArray[np.float32] = np.load(kept, allow_pickle=False)
        return stored
    parts = []
    for start in range(0, len(texts), PART_NOTES):
        parts.append(ensemble.logits(texts[start : start + PART_NOTES]))
        step("the ensemble's answers", min(start + PART_NOTES, len(texts)), len(texts))
    logits = np.concatenate(parts).astype(np.float32)
    with atomic_path(kept) as draft, draft.open("wb") as stream:
        np.save(stream, logits, allow_pickle=False)
    return logits
