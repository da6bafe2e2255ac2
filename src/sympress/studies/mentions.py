"""A study of the task `mentions`: taggers, pressed like everything else, and the rules as the row to beat."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.compression.export import count_weights
from sympress.compression.recipe.language import PUBLISHED, REAL, Recipe, choose_strategies, recipe_of
from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.evaluation.cost import Timing, peak_memory_bytes, rates_in_turn, time_in_turn
from sympress.evaluation.spans import compare_spans, score_mentions
from sympress.files import write_json
from sympress.labels.annotate import Annotator
from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.labels.mentions import AnnotatedNote, Mention
from sympress.labels.note_labels import check_labelling
from sympress.models.encoder import Encoder
from sympress.models.families import family_of, removes_heads
from sympress.models.rules import AssertedRule
from sympress.notes.schema import NoteSet
from sympress.notes.split import Split, check_leaks, patient_numbers
from sympress.notes.synthesize.generator import synthesize
from sympress.progress import Reporter
from sympress.results import (
    Comparison,
    Cost,
    DataDescription,
    EpochQuality,
    Estimate,
    Quality,
    StrategyResult,
    YardstickCost,
)
from sympress.runtime.extractor import Extractor
from sympress.studies.costs import (
    INT8,
    MEMORY_NOTES,
    PYTORCH,
    ROUNDS,
    TIMED_SEED,
    compare_costs,
    pick_timed,
    teacher_yardsticks,
    time_yardsticks,
)
from sympress.studies.data import describe_notes, label_source, read_sources, split_frame
from sympress.studies.folder import RunFolder
from sympress.studies.press import named
from sympress.studies.results import correct_p_values
from sympress.studies.tagger import TaggerSettings, press_tagger, train_tagger
from sympress.training.fingerprints import data_inputs, fingerprint_annotated

# The notes of a study of mentions: annotated by people, by rules or by construction, and split.


#: What the labels of each source are, in the report.
_RULES = {
    "gold": "gold: spans that people marked",
    "silver": "silver: spans by lexicon, section and assertion rules",
    "synthetic": "gold: spans that synthetic notes hold by construction",
}


@dataclass(frozen=True)
class SpanData:
    """Annotated notes and their split.

    Attributes:
        notes: annotated notes; row i of `frame`.
        frame: the notes, `NOTE_SCHEMA`.
        split: rows of each side.
        lexicon: names the symptom of a span.
        description: what goes into the results file.
        inputs: fingerprints of notes, lexicon, annotations and split, see `inputs.data_inputs`.
    """

    notes: list[AnnotatedNote]
    frame: pl.DataFrame
    split: Split
    lexicon: Lexicon
    description: DataDescription
    inputs: Mapping[str, str]

    def side(self, rows: NDArray[np.int64]) -> list[AnnotatedNote]:
        """The notes of one side of the split."""
        return [self.notes[row] for row in rows]

    @property
    def test_patients(self) -> NDArray[np.int64]:
        """A number a test note, the same for notes of one patient."""
        return patient_numbers(self.frame)[self.split.test]


def prepare_spans(config: StudyConfig, reporter: Reporter) -> SpanData:
    """Read, annotate and split the notes of `config` (resolved).

    Raises:
        InputError: the notes or annotations cannot be read, or a side has no mention.
        LeakError: a patient or a copy is on both sides (except under the protocol `paper`).
    """
    lexicon = load_lexicon(config.lexicon or "clinical")
    source = label_source(config, None)
    check_labelling("mentions", source)
    if source == "gold" and config.gold is None:
        source, notes, annotated = "synthetic", *_synthetic(config, reporter)
    else:
        gold, notes = read_sources(config, lexicon, reporter)
        annotated = _annotated(source, notes, gold, lexicon, reporter)
    ids = [note.note_id for note in annotated]
    frame = pl.DataFrame({"note_id": ids}).join(notes.frame, on="note_id", how="left", maintain_order="left")
    split, duplicates = split_frame(config, frame, reporter)
    check_leaks(split, frame, duplicates, strict=config.protocol != "paper")
    counts = Counter(mention.assertion for note in annotated for mention in note.mentions)
    labelling = {
        "notes": len(annotated),
        "with a mention": sum(bool(note.mentions) for note in annotated),
        "mentions": counts.total(),
        "mentions that name a symptom of the lexicon": sum(
            mention.symptom is not None for note in annotated for mention in note.mentions
        ),
        **{f"mentions {assertion}": count for assertion, count in sorted(counts.items())},
    }
    description = describe_notes(
        notes, symptoms=_symptoms(annotated, split), labels=_RULES[source], labelling=labelling, split=split
    )
    inputs = data_inputs(notes.frame, lexicon, split, fingerprint_annotated(annotated))
    return SpanData(annotated, frame, split, lexicon, description, inputs)


def _annotated(
    source: str, notes: NoteSet, gold: list[AnnotatedNote] | None, lexicon: Lexicon, reporter: Reporter
) -> list[AnnotatedNote]:
    if source == "gold":
        known = set(notes.frame["note_id"])
        for note in gold or []:
            if note.note_id not in known:
                raise InputError(f"labels for notes that are not there (first: note {note.note_id!r})")
        return gold or []
    annotator, total = Annotator(lexicon), notes.frame.height
    found = []
    for row in notes.frame.select("note_id", "text").iter_rows():
        found.append(annotator.annotate(row[0], row[1] or ""))
        reporter.step("annotating by rules", len(found), total)
    return found


def _synthetic(config: StudyConfig, reporter: Reporter) -> tuple[NoteSet, list[AnnotatedNote]]:
    """Synthetic notes and the mentions that they hold by construction."""
    if config.notes is not None:
        raise InputError("labels from gold need the annotated notes: give --gold FILE or FOLDER")
    _, notes = read_sources(config, load_lexicon(config.lexicon or "clinical"), reporter)
    rows: dict[str, list[Mention]] = {}
    for row in synthesize(config.synthetic_notes, seed=0).mentions.iter_rows(named=True):
        mention = Mention(row["start"], row["end"], row["symptom"], row["assertion"])
        rows.setdefault(row["note_id"], []).append(mention)
    return notes, [
        AnnotatedNote(note_id, text, tuple(rows.get(note_id, ())))
        for note_id, text in notes.frame.select("note_id", "text").iter_rows()
    ]


def _symptoms(notes: list[AnnotatedNote], split: Split) -> list[str]:
    """Symptoms that training notes mention, most frequent first."""
    counts = Counter(m.symptom for row in split.train for m in notes[row].mentions if m.symptom)
    return sorted(counts, key=lambda name: (-counts[name], name))


# A study of the task `mentions`: taggers, pressed like everything else, and the rules as the row to beat.
#
# Spans are judged exactly and by overlap (`measure.spans`); a row's F1 is that of exact spans. Every
# strategy is a recipe here: the tagger of its seed, pressed (`study.tagger_press`).


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


# The rows of a study of mentions: quality of spans, cost of whole notes, differences to the baseline.


Rows = tuple[list[StrategyResult], dict[str, YardstickCost]]


def run_span_rows(bench: SpanBench, recipes: Mapping[str, Recipe]) -> Rows:
    """Train, press, answer, time and score every row; the rows by seed, the baseline first."""
    for seed in range(bench.config.seeds):
        bench.reporter.say(f"baseline (seed {seed})")
        run_tagger(bench, seed)
        for name, recipe in recipes.items():
            bench.reporter.say(f"{name} (seed {seed})")
            run_pressed_tagger(bench, name, recipe, seed)
    rules = run_rules(bench)
    bench.reporter.say("timing every row in turn")
    costs, yardsticks = _measure(bench, ("baseline", *recipes), rules)
    bench.reporter.say("computing intervals")
    rows = [
        _row(bench, name, seed, costs)
        for seed in range(bench.config.seeds)
        for name in ("baseline", *recipes, RULE)
    ]
    return correct_p_values(rows), yardsticks


def _row(bench: SpanBench, name: str, seed: int, costs: Mapping[str, Cost]) -> StrategyResult:
    stored = bench.run.read_row(name, seed) or {}
    gold = [note.mentions for note in bench.data.side(bench.data.split.test)]
    ours, patients = read_answers(bench, name, seed), bench.data.test_patients
    resamples, comparison = bench.config.resamples, None
    if name != "baseline":
        theirs = read_answers(bench, "baseline", seed)
        difference, p_value = compare_spans(ours, theirs, gold, groups=patients, resamples=resamples)
        comparison = Comparison(
            f1_difference=difference,
            micro_f1_difference=difference,
            p_value=p_value,
            p_value_micro=p_value,
            **compare_costs(costs[name], costs["baseline"]),
        )
    return StrategyResult(
        name=name,
        seed=seed,
        recipe=stored["recipe"],
        quality=score_mentions(gold, ours, groups=patients, resamples=resamples),
        cost=costs[name],
        versus_baseline=comparison,
        epochs=[_epoch(entry) for entry in stored.get("epochs") or []],
        parity_max_difference=stored.get("parity_max_difference"),
        notes=list(stored.get("remarks") or []),
    )


def _epoch(entry: Mapping[str, Any]) -> EpochQuality:
    """Exact span F1 on validation notes after an epoch; all else was not scored."""
    nothing = Estimate(value=None, note="not scored after an epoch")
    f1 = Estimate(value=entry.get("span_f1"), note=None if "span_f1" in entry else "not scored")
    quality = Quality(accuracy=nothing, precision=nothing, recall=nothing, f1=f1, auroc=nothing, micro_f1=f1)
    return EpochQuality(epoch=max(1, round(float(entry["epoch"]))), quality=quality)


def _measure(
    bench: SpanBench, names: Sequence[str], rules: Callable[[str], Sequence[Mention]]
) -> tuple[dict[str, Cost], dict[str, YardstickCost]]:
    """Costs of whole notes: every window, from text to mentions, all rows in turn."""
    texts = [note.text for note in bench.data.side(bench.data.split.test)]
    picked = pick_timed(texts)
    folders = {name: bench.run.artifact(name, TIMED_SEED) for name in names}
    threads = bench.config.threads
    yardsticks = teacher_yardsticks(folders["baseline"], bench.run.path / "yardsticks", threads=threads)
    answers: dict[str, Callable[[str], object]] = {
        name: Extractor.load(folder, threads=threads).answer for name, folder in folders.items()
    }
    answers[RULE] = rules
    single = {name: _by_index(answer, picked) for name, answer in answers.items()}
    timed = single | time_yardsticks(yardsticks, picked)
    timings = time_in_turn(timed, len(picked), reference="baseline", also=[PYTORCH, INT8], rounds=ROUNDS)
    rates = rates_in_turn({name: _all(answer, picked) for name, answer in answers.items()}, rounds=ROUNDS)
    costs = {
        name: _cost(bench, name, folders.get(name), timing=timings[name], rate=rates[name], texts=picked)
        for name in answers
    }
    return costs, {
        name: YardstickCost(
            size_bytes=one.size_bytes,
            latency_ms_p50=timings[name].latency_ms_p50,
            latency_ms_p95=timings[name].latency_ms_p95,
        )
        for name, one in yardsticks.items()
    }


def _by_index(answer: Callable[[str], object], texts: Sequence[str]) -> Callable[[int], object]:
    return lambda index: answer(texts[index])


def _all(answer: Callable[[str], object], texts: Sequence[str]) -> Callable[[], int]:
    def run() -> int:
        for text in texts:
            answer(text)
        return len(texts)

    return run


def _cost(
    bench: SpanBench, name: str, folder: Path | None, *, timing: Timing, rate: float, texts: Sequence[str]
) -> Cost:
    """Of an artifact, or of the rules, whose size is that of their lexicon as a file."""
    stored = bench.run.read_row(name, TIMED_SEED) or {}
    if folder is None:
        folder = bench.run.artifact(name, TIMED_SEED)
        size, parameters, nonzero = (folder / "asserted.json").stat().st_size, None, None
    else:
        weights = count_weights(folder / "model.onnx")
        size = (folder / "model.onnx").stat().st_size
        parameters, nonzero = weights.parameters, weights.nonzero_parameters
    return Cost(
        size_bytes=size,
        parameters=parameters,
        nonzero_parameters=nonzero,
        macs_per_note=stored.get("macs_per_note"),
        latency_ms_p50=timing.latency_ms_p50,
        latency_ms_p95=timing.latency_ms_p95,
        latency_ratio=timing.ratio,
        latency_ratio_pytorch=timing.ratios.get(PYTORCH),
        latency_ratio_int8=timing.ratios.get(INT8),
        notes_per_second=rate,
        peak_rss_bytes=peak_memory_bytes(folder, list(texts[:MEMORY_NOTES])),
        runtime="sympress" if parameters is None else "onnxruntime",
        threads=bench.config.threads,
        train_seconds=float(stored.get("train_seconds") or 0.0),
    )
