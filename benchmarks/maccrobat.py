"""Spans of MACCROBAT, folds by document: `python -m benchmarks.maccrobat -o runs/maccrobat`.

Every document is predicted once, by the deployed file of a tagger that never saw it, by that tagger pressed
by each recipe, by each of these with the rules beside it, as `sympress pack --tagger` does, and by the rules.
Each fold is stored as it finishes, so that a killed run goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.folds import Fold, Found, Options, as_rows, make_folds, press_all, press_fold, run_fold
from sympress.config import make_config
from sympress.errors import InputError
from sympress.evaluation.spans import compare_spans, score_spans
from sympress.files import write_json
from sympress.labels.annotate import Annotator
from sympress.labels.gold.mentions import to_annotated
from sympress.labels.gold.standoff import read_brat
from sympress.labels.lexicon import load_lexicon
from sympress.labels.mentions import AnnotatedNote, Mention
from sympress.models.encoder import load_encoder
from sympress.notes.markup import View
from sympress.notes.synthesize import synthesize
from sympress.provenance import environment
from sympress.studies.press import named
from sympress.studies.train import tagger_record

TAGGER, RULES, WITH_RULES = "tagger", "rules", " with rules"
_OF_TRAINING = (
    "encoder",
    "epochs",
    "batch_size",
    "learning_rate",
    "head_rate_ratio",
    "max_tokens",
    "others_weight",
)


def read_documents(folder: Path) -> tuple[list[AnnotatedNote], dict[str, int]]:
    """The annotated case reports with the spans called `Sign_symptom`, and what happened to the spans."""
    notes, counts = to_annotated(read_brat(folder).documents, labels={"Sign_symptom"})
    return notes, dict(counts)


def synthetic_documents(count: int, seed: int = 0) -> list[AnnotatedNote]:
    """Synthetic notes with their gold mentions, to try the way without data."""
    made = synthesize(count, seed=seed)
    rows: dict[str, list[Mention]] = {}
    for row in made.mentions.iter_rows(named=True):
        mention = Mention(row["start"], row["end"], row["symptom"], row["assertion"])
        rows.setdefault(row["note_id"], []).append(mention)
    return [
        AnnotatedNote(note["note_id"], note["text"], tuple(rows.get(note["note_id"], ())))
        for note in made.frame.iter_rows(named=True)
    ]


def run(
    options: Options,
    documents: Sequence[AnnotatedNote],
    counts: dict[str, int],
    ship: Path | None = None,
) -> dict[str, Any]:
    """Train, press, predict and score every fold; returns, and writes, the results.

    With `ship`, a folder, each recipe also presses there what ships: a student of all documents.

    Raises:
        InputError: a recipe has a mistake, or the folder holds a run with other settings.
    """
    recipes = named(options.recipes)
    folds = make_folds(len(documents), options.folds, options.seed)[: options.limit_folds]
    encoder = load_encoder(options.encoder)
    found: dict[str, Found] = {name: {} for name in (TAGGER, *recipes)}
    for fold in folds:
        found[TAGGER] |= run_fold(options, fold, documents, encoder)
        for name, recipe in recipes.items():
            found[name] |= press_fold(options, fold, documents, encoder, name=name, recipe=recipe)
    annotator = Annotator(load_lexicon("clinical"))
    tested = [documents[index] for fold in folds for index in fold.test]
    beside = {f"{name}{WITH_RULES}": _with_rules(annotator, tested, each) for name, each in found.items()}
    found |= beside | {RULES: _with_rules(annotator, tested, {})}
    if ship is not None:
        for name, recipe in recipes.items():
            press_all(options, folds, documents, name=name, recipe=recipe, target=ship / name)
    results = _results(options, folds, documents, counts, found)
    write_json(options.output / "maccrobat.json", results)
    return results


def _with_rules(annotator: Annotator, documents: Sequence[AnnotatedNote], tagged: Found) -> Found:
    """What rules find with a tagger's spans beside them, one mention a span: people marked `n/v` once."""
    found: Found = {}
    for note in documents:
        given = [Mention(start, end, None, *told) for start, end, *told in tagged.get(note.note_id, ())]
        given.sort(key=lambda one: one.start)
        spans: dict[tuple[int, int], Mention] = {}
        for one in annotator.mentions_of(View(note.text), spans=given):
            spans.setdefault((one.start, one.end), one)
        found[note.note_id] = as_rows(tuple(spans.values()))
    return found


def _results(
    options: Options,
    folds: Sequence[Fold],
    documents: Sequence[AnnotatedNote],
    counts: dict[str, int],
    found: dict[str, Found],
) -> dict[str, Any]:
    """Scores of each row over the test documents of all folds together; symptoms are not compared."""
    rows = [index for fold in folds for index in fold.test]
    gold = [[replace(one, symptom=None) for one in documents[index].mentions] for index in rows]
    given = {
        name: [
            [Mention(start, end, None, *told) for start, end, *told in each[documents[index].note_id]]
            for index in rows
        ]
        for name, each in found.items()
    }
    tagger = given[TAGGER]
    return {
        "format": 1,
        "task": "mentions",
        "folds": options.folds,
        "folds_run": len(folds),
        "tagger": tagger_record(options.config, options.seed),
        "encoder": Path(options.encoder).name,
        "silver": {"reports": options.silver, "weight": options.silver_weight},
        "transfer": {path.name: count for path, count in options.transfer},
        "counts": counts,
        "rows": {
            name: {
                "recipe": _recipe_of(options, name),
                "size_bytes": _size(options, folds[0], name),
                "spans": score_spans(gold, spans).model_dump(mode="json"),
                "minus_tagger": None
                if name == TAGGER
                else compare_spans(spans, tagger, gold)[0].model_dump(mode="json"),
                "by_fold": _by_fold(folds, gold, spans),
            }
            for name, spans in given.items()
        },
        "environment": environment(),
    }


def _by_fold(
    folds: Sequence[Fold], gold: Sequence[Sequence[Mention]], spans: Sequence[Sequence[Mention]]
) -> list[dict[str, Any]]:
    """F1 of each fold alone; `gold` and `spans` are the test documents of all folds, one behind the other."""
    found, at = [], 0
    for fold in folds:
        part = slice(at, at + len(fold.test))
        scored = score_spans(gold[part], spans[part], resamples=0)
        found.append(
            {
                "fold": fold.number,
                "exact_f1": scored.exact.f1.value,
                "overlapping_f1": scored.overlapping.f1.value,
            }
        )
        at = part.stop
    return found


def _recipe_of(options: Options, name: str) -> str:
    if name == TAGGER:
        return "fine-tune"
    if name == RULES:
        return "lexicon with sections and assertion"
    own = name.removesuffix(WITH_RULES)
    return "fine-tune" if own == TAGGER else str(named(options.recipes)[own])


def _size(options: Options, fold: Fold, name: str) -> int | None:
    """Bytes of the deployed file of the first fold; the others differ by nothing, or by their vocabulary."""
    own = name.removesuffix(WITH_RULES)
    suffix = "" if own == TAGGER else f"-{own}"
    path = options.output / f"fold-{fold.number}" / f"artifact{suffix}" / "model.onnx"
    return path.stat().st_size if path.is_file() else None


def _headline(results: dict[str, Any]) -> str:
    lines = []
    for name, row in results["rows"].items():
        spans = row["spans"]
        told = {one["assertion"]: one for one in spans["assertions"]}
        lines.append(
            f"{name}: documents {spans['notes']}, gold spans {spans['gold']}, found {spans['predicted']}"
        )
        for what, value in (
            ("exact", spans["exact"]["f1"]),
            ("overlapping", spans["overlapping"]["f1"]),
            ("exact with assertion", spans["exact_assertion"]["f1"]),
            ("negated, overlapping", told.get("absent", {}).get("overlapping", {}).get("f1")),
            ("negated, given the span", told.get("absent", {}).get("given_span", {}).get("f1")),
        ):
            if value is not None and value["value"] is not None:
                lines.append(f"  {what} F1 {value['value']:.4f} ({value['low']:.4f} to {value['high']:.4f})")
    return "\n".join(lines)


def counted(given: str) -> tuple[Path, int]:
    """`NOTES=COUNT` as path and number."""
    path, _, count = given.rpartition("=")
    if not path or not count.isdigit():
        raise argparse.ArgumentTypeError(f"{given!r} is not NOTES=COUNT")
    return Path(path), int(count)


def _parse(arguments: Sequence[str] | None) -> tuple[Options, int, Path | None]:
    shared = Path(os.environ.get("SYMPRESS_DATA", Path(__file__).parents[2] / "shared" / "data"))
    tagger = {"task": "mentions", "protocol": "clinical"}
    defaults = make_config({**tagger, "encoder": "bundled"}).resolved()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.maccrobat", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--data", type=Path, default=shared / "maccrobat", help="brat folder")
    parser.add_argument("--encoder", default="bundled")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--limit-folds", type=int, help="run the first folds only")
    parser.add_argument("--epochs", type=int, default=defaults.epochs)
    parser.add_argument("--batch-size", type=int, default=defaults.batch_size)
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    parser.add_argument("--head-rate-ratio", type=float, default=defaults.head_rate_ratio)
    parser.add_argument("--max-tokens", type=int, default=defaults.max_tokens)
    parser.add_argument("--others-weight", type=float, default=defaults.others_weight)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", action="append", default=[], help="also press by it; repeatable")
    parser.add_argument(
        "--transfer",
        type=counted,
        action="append",
        default=[],
        metavar="NOTES=COUNT",
        help="unlabelled notes for the recipes, and how many of them; repeatable",
    )
    parser.add_argument("--silver", type=int, default=0, help="unlabelled case reports for self-training")
    parser.add_argument("--silver-weight", type=float, default=0.5)
    parser.add_argument("--reports", type=Path, default=shared / "case_reports_unlabelled.jsonl.gz")
    parser.add_argument("--ship", type=Path, help="folder for what each recipe makes of all documents")
    parser.add_argument("--synthetic", type=int, default=0, help="synthetic notes instead of --data")
    given = parser.parse_args(arguments)
    asked = {name: value for name, value in vars(given).items() if name in _OF_TRAINING}
    config = make_config({**tagger, **asked}).resolved()
    options = Options(
        given.data,
        given.output,
        given.encoder,
        given.folds,
        given.limit_folds,
        given.reports,
        given.silver,
        given.silver_weight,
        config,
        given.seed,
        tuple(given.recipe),
        tuple(given.transfer),
    )
    return options, given.synthetic, given.ship


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 2 for a mistake in the call or the data, which is said in one line."""
    options, synthetic, ship = _parse(arguments)
    try:
        if synthetic:
            documents, counts = synthetic_documents(synthetic), {"notes": synthetic}
        else:
            documents, counts = read_documents(options.data)
        results = run(options, documents, counts, ship)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(_headline(results) + f"\nwritten: {options.output / 'maccrobat.json'}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
