"""A study of the task `mentions`: taggers, pressed like everything else, and the rules as the row to beat.

Spans are judged exactly and by overlap (`measure.spans`); a row's F1 is that of exact spans. Every strategy
is a recipe here: the tagger of its seed, pressed (`study.tagger_press`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sympress.compress.arch import family_of, removes_heads
from sympress.compress.recipe.parse import Recipe
from sympress.compress.strategies import PUBLISHED, REAL, choose_strategies, recipe_of
from sympress.config import StudyConfig
from sympress.deploy.extractor import Extractor
from sympress.errors import InputError
from sympress.files import write_json
from sympress.labels.annotate import Annotator
from sympress.labels.mentions import AnnotatedNote, Mention
from sympress.measure.asserted import AssertedRule
from sympress.progress import Reporter
from sympress.study.folder import RunFolder
from sympress.study.press import named
from sympress.study.span_data import SpanData
from sympress.study.tagger import TaggerSettings, train_tagger
from sympress.study.tagger_press import press_tagger
from sympress.training.encoder import Encoder

#: The row of the rules: lexicon, sections, assertion.
RULE = "rule-assertion"


@dataclass(frozen=True)
class SpanBench:
    """What every row of a study of mentions shares."""

    config: StudyConfig
    data: SpanData
    encoder: Encoder
    run: RunFolder
    reporter: Reporter

    def settings(self, seed: int) -> TaggerSettings:
        """How the tagger of a seed learns."""
        config = self.config
        return TaggerSettings(
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


def span_recipes(config: StudyConfig, encoder: Encoder) -> dict[str, Recipe]:
    """The rows behind the baseline by name: strategies as recipes, then the recipes.

    Args:
        config: of the study.
        encoder: that taggers are trained from.

    Raises:
        InputError: a strategy exists for whole notes only, or a recipe has a mistake.
    """
    found = {}
    heads = removes_heads(family_of(encoder.model))
    for name in choose_strategies(config)[1:]:
        if name in PUBLISHED:
            raise InputError(f"strategy {name!r}: not for mentions; there are {', '.join(REAL[1:])}")
        found[name] = recipe_of(name, config, removes_heads=heads)
    return found | named(config.recipes)


def run_tagger(bench: SpanBench, seed: int) -> None:
    """Train the tagger of `seed` and answer the test notes, unless it was done before."""
    if bench.run.read_row("baseline", seed) is not None:
        return
    artifact = train_tagger(
        bench.data.side(bench.data.split.train),
        bench.data.side(bench.data.split.validation),
        bench.encoder,
        bench.settings(seed),
        bench.run.artifact("baseline", seed),
        lexicon=bench.data.lexicon,
        progress=lambda done, total: bench.reporter.step("baseline", done, total),
    )
    _store(bench, "baseline", seed, artifact)


def run_pressed_tagger(bench: SpanBench, name: str, recipe: Recipe, seed: int) -> None:
    """Press the tagger of `seed` by `recipe` and answer the test notes, unless it was done before.

    Raises:
        InputError: the row was made by another recipe.
    """
    if bench.run.has_row(name, seed, {"recipe": str(recipe)}):
        return
    artifact = press_tagger(
        bench.run.artifact("baseline", seed),
        recipe,
        bench.data.side(bench.data.split.train),
        bench.data.side(bench.data.split.validation),
        bench.settings(seed),
        bench.run.artifact(name, seed),
        lexicon=bench.data.lexicon,
        threads=bench.config.threads,
        step=lambda what, done, total: bench.reporter.step(f"{name}: {what}", done, total),
    )
    _store(bench, name, seed, artifact)


def run_rules(bench: SpanBench) -> Callable[[str], Sequence[Mention]]:
    """What the rules find, as a function of a text; answers the test notes once for every seed."""
    annotator = Annotator(bench.data.lexicon)
    names = [symptom.id or symptom.name for symptom in bench.data.lexicon.symptoms]
    for seed in range(bench.config.seeds):
        if bench.run.read_row(RULE, seed) is None:
            AssertedRule.of(names, bench.data.lexicon).save(bench.run.artifact(RULE, seed))
            found = [annotator.mentions(note.text) for note in bench.data.side(bench.data.split.test)]
            row = {"recipe": f"lexicon {bench.data.lexicon.name!r} with sections and assertion"}
            _write(bench, RULE, seed, row, found)
    return annotator.mentions


def _store(bench: SpanBench, name: str, seed: int, artifact: Path) -> None:
    """Answer the test notes with the deployed file, and store answers and row."""
    made = json.loads((artifact / "provenance.json").read_text(encoding="utf-8"))
    extractor = Extractor.load(artifact)
    found = [
        [Mention(one.start, one.end, one.symptom, one.assertion, one.score) for one in result.mentions]
        for result in extractor([note.text for note in bench.data.side(bench.data.split.test)])
    ]
    kept = ("recipe", "epochs", "train_seconds", "parity_max_difference", "remarks", "macs_per_note")
    _write(bench, name, seed, {key: made.get(key) for key in kept}, found)


def _write(
    bench: SpanBench, name: str, seed: int, row: Mapping[str, Any], found: Sequence[Sequence[Mention]]
) -> None:
    notes = bench.data.side(bench.data.split.test)
    answers = {
        note.note_id: [[one.start, one.end, one.symptom, one.assertion, one.score] for one in mentions]
        for note, mentions in zip(notes, found, strict=True)
    }
    write_json(bench.run.answers(name, seed), answers)
    bench.run.write_row(name, seed, dict(row), {})


def read_answers(bench: SpanBench, name: str, seed: int) -> list[tuple[Mention, ...]]:
    """The mentions that a row found in the test notes, in the order of the split."""
    stored = json.loads(bench.run.answers(name, seed).read_text(encoding="utf-8"))
    notes: list[AnnotatedNote] = bench.data.side(bench.data.split.test)
    return [tuple(Mention(*values) for values in stored[note.note_id]) for note in notes]
