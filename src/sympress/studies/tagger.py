"""The task `mentions`: train a tagger from annotated notes, press it, answer with the deployed file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from sympress.compression.recipe.language import Recipe
from sympress.compression.recipe.material import Material, Tagging, encode_notes
from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.labels.lexicon import Lexicon
from sympress.labels.mentions import AnnotatedNote, Mention
from sympress.labels.surface import forms_by_symptom
from sympress.labels.task import task_of
from sympress.models.encoder import Encoder, token_limit
from sympress.models.model import build_model, count_macs
from sympress.provenance import environment
from sympress.runtime.artifact import (
    Extractor,
    read_extractor,
    write_checksums,
    write_extractor,
    write_provenance,
)
from sympress.runtime.extractor import Extractor as LoadedExtractor
from sympress.runtime.linker import with_lexicon, write_lexicon
from sympress.runtime.session import Runtime, prepare_text
from sympress.runtime.tokens import Pieces, note_logits, tags_of
from sympress.studies.press import Compressed, move_artifact, press, write_model
from sympress.training.data import NoteDataset
from sympress.training.epochs import EpochLog, Progress, TrainSettings, default_device
from sympress.training.fingerprints import fingerprint_annotated
from sympress.training.losses import loss_of
from sympress.training.tagging import (
    KindsLoss,
    Windows,
    attach_kinds_,
    choose_span_bias,
    classes_in,
    cut_windows,
    default_stride,
    detach_kinds_,
    kind_targets,
    kinds_of,
    span_scorer,
    window_targets,
)
from sympress.training.train import train

# The task `mentions`: train a tagger from annotated notes, press it, and answer with the deployed file.


@dataclass(frozen=True)
class TaggerSettings:
    """How a tagger reads and learns; the rates are those that suit the packaged MiniLM.

    Attributes:
        epochs: passes over the notes.
        batch_size: windows a step.
        learning_rate: of the encoder.
        head_rate_ratio: how much faster the head learns.
        weight_decay: AdamW's.
        warmup_share: share of the steps in which the rate rises, before it falls linearly.
        max_tokens: word pieces a window, special tokens included.
        stride: pieces from the start of a window to that of the next; None for three quarters of one.
        lower: lower-case the text.
        mask_placeholders: hide de-identification placeholders.
        select: the `best` epoch on validation notes, the `last`, or the `average` of the second half.
        others_weight: of the second head's loss, which learns what else people marked; 0 for none.
        seed: of the heads and the order.
    """

    epochs: int = 15
    batch_size: int = 8
    learning_rate: float = 2e-4
    head_rate_ratio: float = 10.0
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    max_tokens: int = 256
    stride: int | None = None
    lower: bool = False
    mask_placeholders: bool = True
    select: Literal["best", "last", "average"] = "best"
    others_weight: float = 0.5
    seed: int = 0

    @classmethod
    def of(cls, config: StudyConfig, seed: int) -> Self:
        """How the tagger of a seed learns in a study."""
        return cls(
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate or 3e-5,
            head_rate_ratio=config.head_rate_ratio or 1.0,
            others_weight=config.others_weight,
            weight_decay=config.weight_decay,
            warmup_share=config.warmup_share or 0.0,
            max_tokens=config.max_tokens or 256,
            lower=bool(config.lower),
            mask_placeholders=bool(config.mask_placeholders),
            select=config.select or "best",
            seed=seed,
        )

    def training(self) -> TrainSettings:
        """The same for the training loop."""
        return TrainSettings(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            head_rate_ratio=self.head_rate_ratio,
            weight_decay=self.weight_decay,
            schedule="linear",
            warmup_share=self.warmup_share,
            seed=self.seed,
            select=self.select,
        )


def train_tagger(
    notes: Sequence[AnnotatedNote],
    validation: Sequence[AnnotatedNote],
    encoder: Encoder,
    settings: TaggerSettings,
    folder: Path,
    *,
    weights: NDArray[np.float32] | None = None,
    lexicon: Lexicon | None = None,
    progress: Progress | None = None,
) -> Path:
    """Train a tagger and write its artifact to `folder`; returns `folder`.

    The epoch and the bias towards spans are chosen on `validation`. A killed call goes on, with the same
    arguments, in `folder` with the ending `.work`; a finished one returns at once.

    Args:
        notes: to learn from.
        validation: notes that choose; none of them is a test note.
        encoder: the pretrained one; not changed.
        settings: how.
        folder: of the artifact.
        weights: `(notes,)`, what each note's loss is multiplied by: less for silver than for gold labels.
        lexicon: names the symptom of a span that is found; None names none.
        progress: called after each step.

    Raises:
        InputError: there is no note or no mention to learn from, or a window has no room.
    """
    if (folder / "extractor.json").is_file():
        return folder
    _check_notes(notes, validation, weights)
    extractor = _extractor(notes, encoder, settings, lexicon)
    learnt, judged = (_cut(part, encoder.tokenizer, extractor) for part in (notes, validation))
    tags = extractor.tags or []
    model = build_model(encoder.model, len(tags), "token", settings.seed)
    kinds = kinds_of(notes) if settings.others_weight else ()
    if kinds:
        attach_kinds_(model, kinds, settings.seed)
    device = default_device()
    work = folder.with_name(folder.name + ".work")
    log = train(
        model.to(device),
        dataset(learnt, notes, tags, weights, kinds),
        dataset(judged, validation, tags),
        settings.training(),
        work / "checkpoints",
        pad_id=extractor.pad_id,
        objective=None if kinds else loss_of("mentions"),
        batch_loss=KindsLoss(settings.others_weight) if kinds else None,
        score=span_scorer(judged, [note.mentions for note in validation], tags),
        progress=progress,
    )
    detach_kinds_(model)
    draft = work / "artifact"
    worst = write_model(model.cpu(), encoder.tokenizer, extractor, judged.notes.ids, draft)
    if lexicon is not None:
        write_lexicon(draft, extractor, lexicon)
    windows, tokens = len(judged.notes.ids), int(np.median(judged.notes.lengths))
    made = _provenance(settings, log, fingerprint_annotated([*notes, *validation])) | {
        "macs_per_note": count_macs(model, tokens) * windows // len(validation),
        "parity_max_difference": worst,
        "validation_strict_f1": choose_bias(draft, validation),
    }
    write_provenance(draft, made)
    move_artifact(draft, folder)
    shutil.rmtree(work)
    return folder


def _check_notes(
    notes: Sequence[AnnotatedNote], validation: Sequence[AnnotatedNote], weights: NDArray[np.float32] | None
) -> None:
    for name, part in (("training", notes), ("validation", validation)):
        if not any(note.mentions for note in part):
            raise InputError(f"no mention in the {len(part)} {name} notes; give notes with annotated spans")
    if weights is not None and weights.shape != (len(notes),):
        raise InputError(f"{len(weights)} weights for {len(notes)} notes; give one a note")


def _extractor(
    notes: Sequence[AnnotatedNote], encoder: Encoder, settings: TaggerSettings, lexicon: Lexicon | None
) -> Extractor:
    max_tokens = token_limit(encoder, settings.max_tokens)
    symptoms = {mention.symptom for note in notes for mention in note.mentions if mention.symptom}
    if lexicon is not None:
        symptoms |= set(forms_by_symptom(lexicon))
    extractor = Extractor(
        task="mentions",
        symptoms=sorted(symptoms),
        max_tokens=max_tokens,
        lower=settings.lower,
        mask_placeholders=settings.mask_placeholders,
        pad_id=int(encoder.tokenizer.pad_token_id or 0),
        windows="all",
        stride=settings.stride or default_stride(max_tokens),
        tags=list(tags_of(classes_in([note.mentions for note in notes], task_of("mentions")))),
    )
    return extractor if lexicon is None else with_lexicon(extractor, lexicon)


def _cut(notes: Sequence[AnnotatedNote], tokenizer: Any, extractor: Extractor) -> Windows:
    texts = [prepare_text(note.text, extractor) for note in notes]
    stride = extractor.stride or default_stride(extractor.max_tokens)
    return cut_windows(tokenizer, texts, extractor.max_tokens, stride)


def dataset(
    windows: Windows,
    notes: Sequence[AnnotatedNote],
    tags: Sequence[str],
    weights: NDArray[np.float32] | None = None,
    kinds: Sequence[str] = (),
) -> NoteDataset:
    """The windows with a tag for each token; `weights` are the notes', `kinds` those of the second head."""
    targets = window_targets(windows, [note.mentions for note in notes], tags)
    own = None if weights is None else weights[windows.owners]
    further = kind_targets(windows, notes, kinds) if kinds else None
    return NoteDataset(windows.notes, targets, weights=own, kinds=further)


def choose_bias(artifact: Path, validation: Sequence[AnnotatedNote]) -> float:
    """Choose `span_bias` on validation notes by the deployed file of `artifact`; returns its strict F1."""
    write_checksums(artifact)
    runtime = Runtime.load(artifact)
    extractor = runtime.extractor
    tags = extractor.tags or []
    answers = [(*answer_note(runtime, note.text), note.text) for note in validation]
    bias, f1 = choose_span_bias(answers, [note.mentions for note in validation], tags)
    write_extractor(artifact, extractor.model_copy(update={"span_bias": bias}))
    write_checksums(artifact)
    return f1


def answer_note(runtime: Runtime, text: str) -> tuple[NDArray[np.float32], Pieces]:
    """Logits `(pieces, tags)` of a whole note from the deployed file, and its pieces."""
    pieces = runtime.pieces(text, offsets=True)
    run = runtime.logits_of
    return note_logits(pieces, runtime.specials, room=runtime.room, stride=runtime.stride, run=run), pieces


def predict_mentions(artifact: Path, texts: Sequence[str], *, threads: int = 1) -> list[tuple[Mention, ...]]:
    """The mentions of each text, by the deployed file; offsets count characters of `texts`.

    Raises:
        InputError: the artifact is damaged or of another task.
    """
    extractor = LoadedExtractor.load(artifact, threads=threads)
    if extractor.task != "mentions":
        raise InputError(f"{artifact}: its task is {extractor.task!r}, which finds no spans; give a tagger")
    return [
        tuple(Mention(one.start, one.end, one.symptom, one.assertion, one.score) for one in result.mentions)
        for result in extractor(texts)
    ]


def _provenance(settings: TaggerSettings, log: EpochLog, fingerprint: str) -> dict[str, Any]:
    return {
        "format": 1,
        "strategy": "baseline",
        "recipe": "fine-tune",
        "seed": settings.seed,
        "tagger": asdict(settings),
        "data_fingerprint": fingerprint,
        "epochs": log.epochs,
        "best_epoch": log.best_epoch,
        "train_seconds": log.seconds,
        "environment": environment(),
    }


# Press a tagger by a recipe: the same steps as for notes, on windows of annotated notes.


def tagger_material(
    extractor: Extractor,
    notes: Sequence[AnnotatedNote],
    validation: Sequence[AnnotatedNote],
    *,
    transfer: Sequence[str] = (),
) -> Material:
    """What a recipe learns from, as the tagger reads it.

    Args:
        extractor: the tagger's.
        notes: labelled notes.
        validation: notes that choose an epoch; none of them is a test note.
        transfer: further notes, which only the teacher judges.

    Raises:
        InputError: the artifact is no tagger.
    """
    if extractor.tags is None:
        raise InputError(
            f"its task is {extractor.task!r}, which finds no spans; give an artifact of mentions"
        )
    tagging = Tagging(
        tags=tuple(extractor.tags),
        stride=extractor.stride or default_stride(extractor.max_tokens),
        training=[note.mentions for note in notes],
        validation=[note.mentions for note in validation],
    )
    return Material(
        task="mentions",
        training=[prepare_text(note.text, extractor) for note in notes],
        targets=np.zeros((len(notes), 0), dtype=np.uint8),
        transfer=[prepare_text(text, extractor) for text in transfer],
        validation=[prepare_text(note.text, extractor) for note in validation],
        validation_targets=np.zeros((len(validation), 0), dtype=np.uint8),
        max_tokens=extractor.max_tokens,
        tagging=tagging,
    )


def press_tagger(  # noqa: PLR0917  what a tagger needs, in the order of `train_tagger`
    artifact: Path,
    recipe: Recipe,
    notes: Sequence[AnnotatedNote],
    validation: Sequence[AnnotatedNote],
    settings: TaggerSettings,
    folder: Path,
    *,
    transfer: Sequence[str] = (),
    lexicon: Lexicon | None = None,
    threads: int = 1,
    step: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> Path:
    """Press the tagger `artifact` by `recipe` and write the smaller artifact to `folder`; returns `folder`.

    Args are those of `studies.press.press`; `settings` say how its trainings go.
    A killed call goes on behind its last finished step; a finished one returns at once.

    Raises:
        InputError: the artifact is no tagger, or a step cannot be applied.
    """
    if (folder / "extractor.json").is_file():
        return folder
    extractor = read_extractor(artifact)
    material = tagger_material(extractor, notes, validation, transfer=transfer)
    work = folder.with_name(folder.name + ".work")
    draft = work / "artifact"
    torch.manual_seed(settings.seed)
    pressed = press(
        artifact,
        recipe,
        material,
        settings.training(),
        extractor,
        work=work / "steps",
        draft=draft,
        score=_no_score,
        threads=threads,
        step=step,
    )
    if lexicon is not None:
        write_lexicon(draft, extractor, lexicon)
    learnt = {
        "recipe": str(recipe),
        "seed": settings.seed,
        "tagger": asdict(settings),
        "data_fingerprint": fingerprint_annotated([*notes, *validation]),
        "transfer_notes": len(transfer),
        "validation_strict_f1": choose_bias(draft, validation),
    }
    write_provenance(draft, learnt | _described(pressed, material))
    move_artifact(draft, folder)
    shutil.rmtree(work)
    return folder


def _described(pressed: Compressed, material: Material) -> dict[str, Any]:
    """What the provenance says of how a tagger was pressed, and of what it costs."""
    state = pressed.state
    judged = encode_notes(state.tokenizer, material.validation, material)
    windows, tokens = len(judged.ids), int(np.median(judged.lengths))
    return {
        **pressed.as_json(count_macs(state.model, tokens) * windows // len(material.validation)),
        "format": 1,
        "strategy": "recipe",
        "environment": environment(),
    }


def _no_score(_logits: NDArray[np.float32]) -> tuple[float, dict[str, Any]]:
    """Never asked: of `mentions` the spans are judged."""
    raise ValueError("a tagger is judged by its spans")
