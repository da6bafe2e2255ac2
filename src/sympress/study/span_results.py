"""The rows of a study of mentions: quality of spans, cost of whole notes, differences to the baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sympress.compress.recipe.parse import Recipe
from sympress.deploy.extractor import Extractor
from sympress.deploy.probe import peak_memory_bytes
from sympress.labels.mentions import Mention
from sympress.measure.cost import count_weights
from sympress.measure.latency import Timing, rates_in_turn, time_in_turn
from sympress.measure.spans import compare_spans, score_mentions
from sympress.results import Comparison, Cost, EpochQuality, Estimate, Quality, StrategyResult, YardstickCost
from sympress.study.assemble import correct_p_values
from sympress.study.costs import MEMORY_NOTES, ROUNDS, TIMED_SEED, compare_costs, pick_timed
from sympress.study.mentions import RULE, SpanBench, read_answers, run_pressed_tagger, run_rules, run_tagger
from sympress.study.yardsticks import INT8, PYTORCH, teacher_yardsticks, time_yardsticks

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
