"""The task `mentions` from annotated notes to a pressed artifact, on a tiny encoder."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from sympress.compression.distill import Distill
from sympress.compression.quantize import Quantize
from sympress.compression.recipe import Exported
from sympress.compression.recipe.engine import run_recipe
from sympress.compression.recipe.language import parse_recipe
from sympress.compression.recipe.material import Context, State, encode_notes, teacher_notes
from sympress.config import make_config
from sympress.errors import InputError
from sympress.evaluation.cost import time_in_turn
from sympress.labels.lexicon import load_lexicon
from sympress.labels.mentions import AnnotatedNote, Assertion, Mention, OtherSpan
from sympress.models.encoder import Encoder
from sympress.models.model import load_model
from sympress.runtime.artifact import Extractor, read_extractor, write_checksums, write_extractor
from sympress.studies.judge import predict_mentions
from sympress.studies.press import train_settings
from sympress.studies.train import Labelled, Lesson, make_material, press_artifact, train_artifact
from sympress.training.data import NoteDataset, blank_targets
from sympress.training.epochs import predict_logits
from sympress.training.tagging import MovingWindows, cut_windows, decode_windows, strict_f1

SYMPTOMS = ("fever", "cough", "pain", "nausea", "chills", "rash")
NEVER = ("nausea", "rash")
OTHERS = ("patient", "reports", "with", "and", "the", "after", "dose", "arm")


def annotated(count: int, seed: int) -> list[AnnotatedNote]:
    """Notes in which each symptom is a mention, some always absent: what a tiny encoder learns in seconds."""
    rng = np.random.default_rng(seed)
    notes = []
    for number in range(count):
        text, mentions = "", []
        for _ in range(int(rng.integers(6, 30))):
            kind = rng.random()
            if kind < 0.5:
                text += str(rng.choice(OTHERS)) + " "
                continue
            word = str(rng.choice(SYMPTOMS))
            told: Assertion = "absent" if word in NEVER else "present"
            mentions.append(Mention(len(text), len(text) + len(word), word, told))
            text += word + " "
        notes.append(AnnotatedNote(f"{seed}-{number}", text.strip(), tuple(mentions)))
    return notes


NOTES, VALIDATION, TEST = annotated(60, 1), annotated(12, 2), annotated(12, 3)
GOLD = [note.mentions for note in TEST]
SETTINGS = {"task": "mentions", "protocol": "clinical", "encoder": "tiny", "epochs": 4, "batch_size": 8}
SETTINGS |= {"learning_rate": 3e-3, "head_rate_ratio": 1.0, "max_tokens": 20, "mask_placeholders": False}


def lesson(notes: Sequence[AnnotatedNote] = NOTES, **settings: Any) -> Lesson:
    config = make_config({**SETTINGS, **settings}).resolved()
    return Lesson(Labelled(notes), Labelled(VALIDATION), config, load_lexicon("paper"))


@pytest.fixture(scope="module")
def encoder(make_encoder: Callable[..., Any], tokenizer: PreTrainedTokenizerFast) -> Encoder:
    return Encoder("tiny", make_encoder(), tokenizer)


@pytest.fixture(scope="module")
def tagger(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_artifact(lesson(), encoder, tmp_path_factory.mktemp("tagger") / "artifact")


def found(artifact: Path) -> list[tuple[Mention, ...]]:
    return predict_mentions(artifact, [note.text for note in TEST])


def test_a_tagger_learns_spans_and_assertions_through_windows(tagger: Path):
    assert any(len(note.text.split()) > 18 for note in TEST)  # more than one window
    assert strict_f1(GOLD, found(tagger)) > 0.95
    extractor = read_extractor(tagger)
    assert extractor.tags == ["O", "B-present", "I-present", "B-absent", "I-absent"]
    assert (extractor.task, extractor.windows, extractor.stride) == ("mentions", "all", 13)
    assert not tagger.with_name("artifact.work").exists()


def test_what_else_is_marked_is_learnt_beside_and_not_deployed(
    tagger: Path, encoder: Encoder, tmp_path: Path
):
    rich = [
        replace(
            note,
            others=tuple(
                OtherSpan(match.start(), match.end(), "Drug") for match in re.finditer("dose", note.text)
            ),
        )
        for note in NOTES
    ]
    artifact = train_artifact(lesson(rich), encoder, tmp_path / "artifact")
    assert strict_f1(GOLD, found(artifact)) > 0.95
    assert (artifact / "model.onnx").stat().st_size == (tagger / "model.onnx").stat().st_size
    weights = [(one / "model.onnx").read_bytes() for one in (artifact, tagger)]
    assert weights[0] != weights[1], "the second head moved the encoder"
    fingerprints = {
        json.loads((one / "provenance.json").read_text(encoding="utf-8"))["data_fingerprint"]
        for one in (artifact, tagger)
    }
    assert len(fingerprints) == 2
    alone = train_artifact(lesson(rich, others_weight=0.0), encoder, tmp_path / "alone")
    assert (alone / "model.onnx").read_bytes() == weights[1]


def test_the_deployed_file_answers_as_the_trained_model(tagger: Path, encoder: Encoder):
    model, extractor = load_model(tagger), read_extractor(tagger)
    assert model.head.pooling == "token"
    windows = cut_windows(encoder.tokenizer, [note.text for note in TEST], 20, extractor.stride or 0)
    blank = NoteDataset(windows.notes, blank_targets(windows.notes, outputs=5, per_token=True))
    flat = predict_logits(model, blank, 0)
    assert flat.shape == (int(windows.notes.lengths.sum()), 5)
    ours = decode_windows(windows, flat, extractor.tags or [])
    write_extractor(tagger, extractor.model_copy(update={"span_bias": 0.0}))
    write_checksums(tagger)
    theirs = found(tagger)
    write_extractor(tagger, extractor)
    write_checksums(tagger)
    assert [[replace(one, score=0) for one in note] for note in ours] == [
        [replace(one, score=0, symptom=None) for one in note] for note in theirs
    ]


TRANSFER = [note.text for note in annotated(12, 4)]
STEPS = [
    "vocab(keep=44)",
    "distill(layers=1)",
    "distill(layers=1, hidden=1, relations=1)",
    "distill(layers=1, width=16, hidden=1)",
    "fine-tune(epochs=1)",
    "lowrank(rank=8)",
    "lowrank(keep=0.7, method=fisher, embeddings=16)",
    "prune(heads=0.5, ffn=0.5)",
    "prune(hidden=16, reconstruct=true)",
    "prune(layers=1)",
    "prune(macs=0.7, reconstruct=true)",
    "mask(0.3)",
    "mask(0.3, score=movement)",
    "quantize(int8, aware=true, epochs=1)",
]


def make_context(tagger: Path, folder: Path, **changes: Any) -> Context:
    material = make_material(read_extractor(tagger), Labelled(NOTES), Labelled(VALIDATION), TRANSFER)
    settings = replace(train_settings(lesson().config, 0), epochs=1)
    return Context(
        material=replace(material, **changes),
        settings=settings,
        score=lambda _logits: (0.0, {}),
        folder=folder / "work",
        logits_folder=folder / "logits",
    )


def f1_of(state: State, extractor: Extractor) -> float:
    texts = [note.text for note in TEST]
    windows = cut_windows(state.tokenizer, texts, extractor.max_tokens, extractor.stride or 0)
    blank = NoteDataset(windows.notes, blank_targets(windows.notes, outputs=5, per_token=True))
    flat = predict_logits(state.model, blank, state.pad_id)
    return strict_f1(GOLD, decode_windows(windows, flat, extractor.tags or []))


@pytest.mark.parametrize("text", STEPS)
def test_every_step_presses_a_tagger_and_reloads_equal(
    tagger: Path, encoder: Encoder, tmp_path: Path, text: str
):
    extractor, whole = read_extractor(tagger), load_model(tagger)
    state = run_recipe(parse_recipe(text), whole, encoder.tokenizer, make_context(tagger, tmp_path))
    assert state.model.per_token
    stored = load_model(max((tmp_path / "work").glob("[0-9][0-9]-*")) / "model")
    assert all(
        torch.equal(value, stored.state_dict()[name]) for name, value in state.model.state_dict().items()
    )
    f1 = f1_of(state, extractor)
    assert 0 <= f1 <= 1
    if "width" not in text and "layers" not in text:  # what was taken away is a part of what it knew
        assert f1 > 0.7


@pytest.mark.parametrize("kind", ["int8", "static", "weights8", "int8, float_layers=1", "auto"])
def test_every_kernel_deploys_a_tagger(tagger: Path, encoder: Encoder, tmp_path: Path, kind: str):
    artifact = tmp_path / "artifact"
    shutil.copytree(tagger, artifact)
    (step,) = parse_recipe(f"quantize({kind})").steps
    assert isinstance(step, Quantize)
    material = make_context(tagger, tmp_path).material
    ids = list(encode_notes(encoder.tokenizer, material.validation[:4], material).ids)
    step.apply_to_file(Exported(artifact / "model.onnx", ids, ids, tmp_path, 1, time_in_turn))
    write_checksums(artifact)
    assert (artifact / "model.onnx").stat().st_size < (tagger / "model.onnx").stat().st_size
    assert strict_f1(GOLD, found(artifact)) > 0.9


def test_a_recipe_presses_a_tagger_from_end_to_end(tagger: Path, tmp_path: Path):
    text = (
        "vocab(keep=42) > distill(layers=1, epochs=8) > prune(ffn=0.5) > distill(epochs=4) > quantize(int8)"
    )
    pressed = press_artifact(lesson(), tagger, parse_recipe(text), tmp_path / "pressed", transfer=TRANSFER)
    assert strict_f1(GOLD, found(pressed)) > 0.8
    assert (pressed / "model.onnx").stat().st_size < 0.5 * (tagger / "model.onnx").stat().st_size
    assert read_extractor(pressed).tags == read_extractor(tagger).tags
    assert not (tmp_path / "pressed.work").exists()


def test_a_student_is_taught_the_teachers_answers_about_whole_notes(
    tagger: Path, encoder: Encoder, tmp_path: Path
):
    context, whole = make_context(tagger, tmp_path), load_model(tagger)
    taught = teacher_notes(
        State(whole, encoder.tokenizer, whole, (whole, encoder.tokenizer)), context, Distill()
    )
    assert isinstance(taught, MovingWindows)
    assert taught.labelled is not None
    windows = taught.windows
    assert windows.texts == (*(note.text for note in NOTES), *TRANSFER)
    assert taught.labelled.tolist() == (windows.owners < len(NOTES)).tolist()
    assert taught.teacher_logits is not None
    tags = read_extractor(tagger).tags or []
    mentions = [note.mentions for note in [*NOTES, *annotated(12, 4)]]
    assert strict_f1(mentions, decode_windows(windows, taught.teacher_logits.numpy(), tags)) > 0.95


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        ([], "no mention in the 0 training notes; give notes with annotated spans"),
        (
            [AnnotatedNote("a", "fever", ())],
            "no mention in the 1 training notes; give notes with annotated spans",
        ),
    ],
)
def test_notes_without_mentions_are_refused(
    encoder: Encoder, tmp_path: Path, notes: list[AnnotatedNote], message: str
):
    with pytest.raises(InputError) as caught:
        train_artifact(lesson(notes), encoder, tmp_path / "artifact")
    assert str(caught.value) == message
