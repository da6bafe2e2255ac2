"""Folds by document of annotated notes: train, press and answer each, stored as it finishes.

Every document is answered once, by the deployed file of a tagger that never saw it. The epoch and the bias
towards spans are chosen on documents held out from each fold's training part.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer

from sympress.compression.recipe.language import Recipe
from sympress.compression.recipe.material import FurtherTeacher
from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.extract.sources import ItemCounts, find_notes, stream_items
from sympress.files import check_claim, read_object, write_json
from sympress.labels.lexicon import load_lexicon
from sympress.labels.mentions import AnnotatedNote, Mention
from sympress.models.encoder import Encoder, fingerprint_encoder
from sympress.models.model import load_model
from sympress.notes.intake import Note
from sympress.provenance import fingerprint_annotated, fingerprint_texts
from sympress.runtime.artifact import read_extractor, write_checksums, write_extractor
from sympress.runtime.session import Runtime, prepare_text
from sympress.studies.judge import answer_note, predict_mentions
from sympress.studies.train import Labelled, Lesson, press_artifact, tagger_record, train_artifact
from sympress.training.tagging import choose_span_bias

#: Share of a fold's training documents that only choose the epoch and the bias.
VALIDATION_SHARE = 0.125
#: Mentions by document: start, end, assertion, score.
Found = dict[str, list[list[Any]]]


@dataclass(frozen=True)
class Options:
    """What is run."""

    data: Path
    output: Path
    encoder: str
    folds: int
    limit_folds: int | None
    reports: Path | None
    silver: int
    silver_weight: float
    config: StudyConfig
    seed: int
    recipes: tuple[str, ...] = ()
    transfer: tuple[tuple[Path, int], ...] = ()


@dataclass(frozen=True)
class Fold:
    """Documents of one fold, as indices."""

    number: int
    train: list[int]
    validation: list[int]
    test: list[int]


def make_folds(documents: int, folds: int, seed: int) -> list[Fold]:
    """Disjoint test parts that cover all documents; a function of the seed alone.

    Raises:
        InputError: there are fewer than 2 folds, or fewer than 3 documents a fold.
    """
    if folds < 2 or documents < 3 * folds:
        raise InputError(f"{folds} folds of {documents} documents: give 2 folds or more, of 3 documents each")
    order = np.random.default_rng(seed).permutation(documents).tolist()
    made = []
    for number in range(folds):
        test = sorted(order[number::folds])
        rest = [index for index in order if index not in set(test)]
        held_out = max(1, round(VALIDATION_SHARE * len(rest)))
        made.append(Fold(number, sorted(rest[held_out:]), sorted(rest[:held_out]), test))
    return made


def as_rows(mentions: Sequence[Mention]) -> list[list[Any]]:
    """Mentions as they are written: start, end, assertion, score."""
    return [[one.start, one.end, one.assertion, one.score] for one in mentions]


def run_fold(options: Options, fold: Fold, documents: Sequence[AnnotatedNote], encoder: Encoder) -> Found:
    """Predictions of the fold's test documents by the deployed file."""
    folder = options.output / f"fold-{fold.number}"
    stored = folder / "predictions.json"
    claim = _claim(options, fold, documents, encoder)
    if (done := read_object(stored)) is not None:
        return _claimed(done, claim, folder)
    if read_object(folder / "claim.json") != claim:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(folder / "claim.json", claim)
    train, validation = ([documents[index] for index in part] for part in (fold.train, fold.validation))
    artifact = _train(options, fold, train, validation, encoder=encoder, folder=folder)
    return _predict(artifact, fold, documents, stored, claim)


def press_fold(
    options: Options,
    fold: Fold,
    documents: Sequence[AnnotatedNote],
    encoder: Encoder,
    *,
    name: str,
    recipe: Recipe,
) -> Found:
    """The same by the fold's tagger, pressed by `recipe`."""
    folder = options.output / f"fold-{fold.number}"
    stored = folder / f"predictions-{name}.json"
    transfer = draw_transfer(options.transfer)
    claim = _claim(options, fold, documents, encoder)
    claim["settings"] |= {"recipe": str(recipe)}
    claim["inputs"] |= {"transfer": fingerprint_texts(transfer)}
    if (done := read_object(stored)) is not None:
        return _claimed(done, claim, folder)
    target = folder / f"artifact-{name}"
    shutil.rmtree(target, ignore_errors=True)
    train, validation = ([documents[index] for index in part] for part in (fold.train, fold.validation))
    artifact = press_artifact(
        _lesson(options, train, validation),
        folder / "artifact",
        recipe,
        target,
        transfer=transfer,
        logits=options.output / "logits",
        step=_stepped(f"fold {fold.number}, {name}"),
    )
    return _predict(artifact, fold, documents, stored, claim)


def press_all(
    options: Options,
    folds: Sequence[Fold],
    documents: Sequence[AnnotatedNote],
    *,
    name: str,
    recipe: Recipe,
    target: Path,
) -> None:
    """What ships: a student of all documents, taught by the taggers of all folds, whose logits are averaged.

    Its bias towards spans is the best for the folds' students together, each on documents that neither it nor
    its tagger had seen. No document is left to judge this one: the folds' figures are of students of one
    tagger and fewer documents.
    """
    folders = [options.output / f"fold-{fold.number}" for fold in folds]
    taggers = [folder / "artifact" for folder in folders]
    shutil.rmtree(target, ignore_errors=True)
    seen = [documents[index] for index in folds[0].validation]
    press_artifact(
        _lesson(options, documents, seen),
        taggers[0],
        recipe,
        target,
        transfer=draw_transfer(options.transfer),
        teachers=[_further(tagger) for tagger in taggers[1:]],
        logits=options.output / "logits",
        step=_stepped(f"all, {name}"),
    )
    bias, _ = choose_bias([folder / f"artifact-{name}" for folder in folders], folds, documents)
    write_extractor(target, read_extractor(target).model_copy(update={"span_bias": bias}))
    write_checksums(target)


def choose_bias(
    artifacts: Sequence[Path], folds: Sequence[Fold], documents: Sequence[AnnotatedNote]
) -> tuple[float, float]:
    """The bias towards spans that is best for the taggers of all folds together, and its strict F1.

    Each answers the validation documents of its own fold.
    """
    answers, gold = [], []
    for artifact, fold in zip(artifacts, folds, strict=True):
        runtime = Runtime.load(artifact)
        for index in fold.validation:
            text = prepare_text(documents[index].text, runtime.extractor)
            answers.append((*answer_note(runtime, text), text))
            gold.append(documents[index].mentions)
    return choose_span_bias(answers, gold, read_extractor(artifacts[0]).tags or [])


def _further(artifact: Path) -> FurtherTeacher:
    """A tagger as a teacher beside another one of the same tags."""
    model, tokenizer = load_model(artifact), AutoTokenizer.from_pretrained(artifact, local_files_only=True)
    return FurtherTeacher(model, tokenizer, tuple(range(model.symptoms)), read_extractor(artifact).max_tokens)


def _lesson(
    options: Options,
    train: Sequence[AnnotatedNote],
    validation: Sequence[AnnotatedNote],
    weights: NDArray[np.float32] | None = None,
) -> Lesson:
    learnt, lexicon = Labelled(train, weights=weights), load_lexicon("clinical")
    return Lesson(learnt, Labelled(validation), options.config, lexicon, seed=options.seed)


def draw_transfer(sources: Sequence[tuple[Path, int]]) -> list[str]:
    """Unlabelled notes, which only taggers judge: of each source so many, each text once, drawn by seed 0.

    Raises:
        InputError: a source cannot be read.
    """
    drawn: list[str] = []
    for path, count in sources:
        items = stream_items(find_notes([str(path)]), ItemCounts())
        texts = list(dict.fromkeys(item.text for item in items if isinstance(item, Note)))
        order = np.random.default_rng(0).permutation(len(texts))[:count]
        drawn += [texts[row] for row in order]
    return list(dict.fromkeys(drawn))


def _claimed(done: dict[str, Any], claim: dict[str, Any], folder: Path) -> Found:
    """Stored predictions, if they were made with these settings."""
    check_claim(folder, done.get("claim") or {}, claim["settings"], claim["inputs"])
    predictions: Found = done["predictions"]
    return predictions


def _predict(
    artifact: Path, fold: Fold, documents: Sequence[AnnotatedNote], stored: Path, claim: dict[str, Any]
) -> Found:
    """Answer the fold's test documents, and store the answers with what they were made by."""
    started = time.perf_counter()
    answers = predict_mentions(artifact, [documents[index].text for index in fold.test])
    found = {
        documents[index].note_id: as_rows(mentions)
        for index, mentions in zip(fold.test, answers, strict=True)
    }
    made = {
        "claim": claim,
        "predictions": found,
        "predict_seconds": time.perf_counter() - started,
        "size_bytes": (artifact / "model.onnx").stat().st_size,
    }
    write_json(stored, made)
    return found


def _train(
    options: Options,
    fold: Fold,
    train: Sequence[AnnotatedNote],
    validation: Sequence[AnnotatedNote],
    *,
    encoder: Encoder,
    folder: Path,
) -> Path:
    """The artifact of a fold; with silver notes, a second one learns from what the first finds in them."""
    artifact = train_artifact(
        _lesson(options, train, validation),
        encoder,
        folder / "artifact",
        progress=_said(f"fold {fold.number}"),
    )
    if not options.silver or options.reports is None:
        return artifact
    texts = read_reports(options.reports, options.silver)
    silver = [
        AnnotatedNote(note_id, text, mentions)
        for (note_id, text), mentions in zip(
            texts, predict_mentions(artifact, [text for _, text in texts]), strict=True
        )
    ]
    weights = np.array([1.0] * len(train) + [options.silver_weight] * len(silver), dtype=np.float32)
    return train_artifact(
        _lesson(options, [*train, *silver], validation, weights),
        encoder,
        folder / "artifact-silver",
        progress=_said(f"fold {fold.number}, with silver"),
    )


def read_reports(path: Path, count: int) -> list[tuple[str, str]]:
    """Id and text of the first `count` unlabelled case reports."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(count), lines, strict=False)]
    return [(str(row["id"]), str(row["text"])) for row in rows]


def _said(name: str) -> Any:
    """Says how far a training is, every thirty seconds."""
    said = [time.monotonic()]

    def progress(done: int, total: int) -> None:
        if time.monotonic() - said[0] > 30 or done == total:
            said[0] = time.monotonic()
            sys.stderr.write(f"{name}: step {done:,} of {total:,}\n")

    return progress


def _stepped(name: str) -> Callable[[str, int, int], None]:
    """The same for the steps of a recipe."""
    said = _said(name)
    return lambda _what, done, total: said(done, total)


def _claim(
    options: Options, fold: Fold, documents: Sequence[AnnotatedNote], encoder: Encoder
) -> dict[str, Any]:
    """All that a fold's spans depend on: not the lexicon, which only names them."""
    silver = read_reports(options.reports, options.silver) if options.silver and options.reports else []
    return {
        "settings": {"silver_weight": options.silver_weight, **tagger_record(options.config, options.seed)},
        "inputs": {
            "notes": fingerprint_annotated(documents),
            "split": fingerprint_texts([json.dumps([fold.train, fold.validation, fold.test])]),
            "silver": fingerprint_texts([text for _, text in silver]),
            "encoder": fingerprint_encoder(encoder),
        },
    }
