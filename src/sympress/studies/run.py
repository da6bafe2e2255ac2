"""`run_study`: the pipeline from notes to the results file, in the order of the paper."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sympress.compression.recipe.language import BASELINE, choose_strategies
from sympress.config import StudyConfig
from sympress.errors import require_training
from sympress.files import full_disk_explained, write_json, write_text
from sympress.models.encoder import load_encoder
from sympress.progress import Reporter
from sympress.provenance import environment, public_settings
from sympress.report.card import model_card
from sympress.report.page import write_report
from sympress.report.paper import write_csvs
from sympress.results import Results, StrategyResult, YardstickCost
from sympress.runtime.artifact import write_checksums, write_provenance
from sympress.runtime.session import prepare_text
from sympress.studies.costs import TIMED_SEED, Candidate, measure_costs, teacher_yardsticks
from sympress.studies.data import prepare, read_transfer_notes
from sympress.studies.folder import RunFolder
from sympress.studies.mentions import SpanBench, prepare_spans, run_span_rows, span_recipes
from sympress.studies.press import named
from sympress.studies.results import TestSet, assemble_row, correct_p_values, keep_predictions
from sympress.studies.rows import (
    LOADERS,
    Bench,
    make_bench,
    references,
    run_baseline,
    run_pressed,
    run_reference,
    strategy_recipe,
)
from sympress.training.fingerprints import fingerprint_encoder


def run_study(
    config: StudyConfig, output: str | Path, *, command: str | None = None, reporter: Reporter | None = None
) -> Results:
    """Run, or continue, the study `config` in the folder `output`.

    Every finished strategy is stored; a run that was killed goes on where it stopped and ends with the
    same results (timings aside). Writes `results.json`, the CSVs, `report.html`, the artifacts and, of
    the tasks of whole notes, `predictions.npz`.

    Args:
        config: what to run.
        output: the run folder; created, or continued when it holds the same study.
        command: the command line, for the record.
        reporter: where progress goes; a quiet one by default.

    Raises:
        InputError: the notes, the encoder, the folder or a setting cannot be used.
    """
    require_training()
    config = config.resolved()
    strategies = choose_strategies(config)
    recipes = named(config.recipes)
    run = RunFolder(Path(output))
    reporter = reporter or Reporter(quiet=True)
    run.check(config)
    if config.task == "mentions":
        return _run_mentions(config, run, reporter, command)
    with reporter, full_disk_explained(run.path):
        bench, warnings = _set_up(config, run, reporter)
        with run.held(config, {**bench.data.inputs, "encoder": fingerprint_encoder(bench.encoder)}):
            recipes = {name: strategy_recipe(bench, name) for name in strategies[1:]} | recipes
            for seed in range(config.seeds):
                _announce(reporter, run, BASELINE, seed)
                run_baseline(bench, seed, reporter.step)
                for name, recipe in recipes.items():
                    _announce(reporter, run, name, seed)
                    run_pressed(bench, name, recipe, seed, reporter.step)
            rows, yardsticks = _measure(bench, (BASELINE, *recipes), reporter)
            results = Results(
                protocol=config.protocol,
                task=config.task,
                data=bench.data.description,
                strategies=rows,
                environment=environment(),
                yardsticks=yardsticks,
                config=_public_config(config, command),
                warnings=warnings,
            )
            _write(results, run)
            keep_predictions(run, bench.data, rows)
    return results


def _write(results: Results, run: RunFolder) -> None:
    """The results file, what is made from it, and what each artifact says of itself."""
    write_json(run.path / "results.json", results.model_dump(mode="json"))
    write_csvs(results, run.path)
    write_report(results, run.path)
    _describe_artifacts(results, run)


def _run_mentions(config: StudyConfig, run: RunFolder, reporter: Reporter, command: str | None) -> Results:
    """The same for spans: taggers and the recipes that press them, beside the rules."""
    encoder = load_encoder(config.encoder or "bundled", case=config.case)
    recipes = span_recipes(config, encoder)
    run.check(config)
    with reporter, full_disk_explained(run.path):
        data = prepare_spans(config, reporter)
        for warning in encoder.warnings:
            reporter.say(f"note: {warning}")
        with run.held(config, {**data.inputs, "encoder": fingerprint_encoder(encoder)}):
            rows, yardsticks = run_span_rows(SpanBench(config, data, encoder, run, reporter), recipes)
            results = Results(
                protocol=config.protocol,
                task=config.task,
                data=data.description,
                strategies=rows,
                environment=environment(),
                yardsticks=yardsticks,
                config=_public_config(config, command),
                warnings=list(encoder.warnings),
            )
            _write(results, run)
    return results


def _set_up(config: StudyConfig, run: RunFolder, reporter: Reporter) -> tuple[Bench, list[str]]:
    encoder = load_encoder(config.encoder or "bundled", case=config.case)
    data = prepare(config, reporter)
    bench = make_bench(config, data, encoder, run, read_transfer_notes(config, data, reporter))
    warnings = [*encoder.warnings, *data.warnings, *_truncation(bench)]
    for warning in warnings:
        reporter.say(f"note: {warning}")
    return bench, warnings


def _measure(
    bench: Bench, strategies: Sequence[str], reporter: Reporter
) -> tuple[list[StrategyResult], dict[str, YardstickCost]]:
    candidates = _candidates(bench, strategies)
    reporter.say("timing every row in turn")
    texts = [prepare_text(text, bench.extractor) for text in bench.data.texts_of(bench.data.split.test)]
    threads, teacher = bench.config.threads, bench.run.artifact(BASELINE, TIMED_SEED)
    yardsticks = teacher_yardsticks(teacher, bench.run.path / "yardsticks", threads=threads)
    costs, measured = measure_costs(
        candidates, texts, baseline=BASELINE, yardsticks=yardsticks, threads=threads
    )
    reporter.say("computing intervals")
    test = TestSet.of(bench.data)
    rows = [
        assemble_row(
            bench.run, test, bench.config, name=name, seed=seed, cost=costs[name], baseline=costs["baseline"]
        )
        for seed in range(bench.config.seeds)
        for name in (*strategies, *references(bench.config.note_task))
    ]
    return correct_p_values(rows), measured


def _announce(reporter: Reporter, run: RunFolder, name: str, seed: int) -> None:
    state = "done before" if run.read_row(name, seed) is not None else "running"
    reporter.say(f"{name} (seed {seed}): {state}")


def _truncation(bench: Bench) -> list[str]:
    notes = bench.data.frame.height
    if not bench.truncated:
        return []
    return [
        f"{bench.truncated:,} of {notes:,} notes are longer than {bench.extractor.max_tokens} word pieces; "
        "what comes after is not seen"
    ]


def _candidates(bench: Bench, strategies: Sequence[str]) -> dict[str, Candidate]:
    run, candidates = bench.run, {}
    for name in strategies:
        row = run.read_row(name, TIMED_SEED) or {}
        candidates[name] = Candidate(
            run.artifact(name, TIMED_SEED), None, row["train_seconds"], row["macs_per_note"]
        )
    for name in references(bench.config.note_task):
        for seed in range(bench.config.seeds):
            model = run_reference(bench, name, seed)
            if seed == TIMED_SEED:
                row = run.read_row(name, seed) or {}
                candidates[name] = Candidate(
                    run.artifact(name, seed), model, row["train_seconds"], model.macs_per_note
                )
    return candidates


def _describe_artifacts(results: Results, run: RunFolder) -> None:
    """Put the measured numbers and a card beside each artifact's weights."""
    for row in results.strategies:
        folder = run.artifact(row.name, row.seed)
        if row.name in LOADERS:
            continue  # a reference is no artifact
        stored = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        measured = row.model_dump(mode="json", include={"quality", "cost", "versus_baseline"})
        write_provenance(folder, stored | measured)
        write_text(folder / "README.md", model_card(results, row))
        write_checksums(folder)


def _public_config(config: StudyConfig, command: str | None) -> dict[str, object]:
    return public_settings(config) | ({"command": command} if command else {})
