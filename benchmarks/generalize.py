"""What a model has that rules and TF-IDF do not: words it was never taught, another source, a later year."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.trials import cap_rows, describe_data, label_set, run_trial, score_f1
from benchmarks.unseen_forms import Bools, Evidence, contains, hold_out, only_held_out, score_unseen
from sympress.config import StudyConfig, make_config
from sympress.errors import InputError, SympressError
from sympress.files import check_settings, read_object, write_json
from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.labels.note_labels import label_coded_present
from sympress.models.encoder import Encoder, load_encoder
from sympress.models.rules import AssertedRule
from sympress.notes.read import NoteSet, read_notes
from sympress.notes.split import Split, group_notes, patient_numbers, split_notes
from sympress.progress import Reporter
from sympress.provenance import environment, public_settings

# Long notes of another source cut into passages that a model trained on short reports can read.


#: A passage has at most this many characters: about the 128 word pieces that models of reports read.
MOST_CHARACTERS = 400
_BREAK = re.compile(r"\n+|(?<=[.;?!])\s+")


@dataclass(frozen=True)
class Passages:
    """Passages as notes of their own, and which note each belongs to, `(passages,)` from 0."""

    frame: pl.DataFrame
    notes: NDArray[np.int64]


def cut_passages(text: str, most: int = MOST_CHARACTERS) -> list[str]:
    """Cut at ends of lines and sentences into passages of at most `most` characters.

    Every character but white space between passages is in exactly one; a longer sentence is cut at `most`.
    """
    pieces = [piece for piece in _BREAK.split(text) if piece and piece.strip()]
    short = [piece[start : start + most] for piece in pieces for start in range(0, len(piece), most)]
    passages: list[str] = []
    for piece in short:
        if passages and len(passages[-1]) + 1 + len(piece) <= most:
            passages[-1] += f"\n{piece}"
        else:
            passages.append(piece)
    return passages


def passage_frame(frame: pl.DataFrame) -> Passages:
    """Return the passages of every note, NOTE_SCHEMA; a note without a word has none."""
    cut = frame.with_row_index("note").with_columns(
        pl.col("text").map_elements(cut_passages, return_dtype=pl.List(pl.String))
    )
    rows = cut.explode("text").drop_nulls("text").with_row_index("passage")
    named = rows.with_columns(
        note_id=pl.lit("elsewhere/") + pl.col("note_id") + pl.lit("#") + pl.col("passage").cast(pl.String)
    )
    return Passages(named.select(frame.columns), rows["note"].to_numpy().astype(np.int64))


def by_note(answers: NDArray[np.bool_], notes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return `(notes, K)`: a note has a symptom where one of its passages `(passages, K)` has it."""
    numbers, where = np.unique(notes, return_inverse=True)
    joined = np.zeros((len(numbers), answers.shape[1]), dtype=bool)
    np.logical_or.at(joined, where, answers)
    return joined


# What a model has that rules and TF-IDF do not: words it was never taught, another source, a later year.
#
#     python -m benchmarks.generalize --notes VAERS --elsewhere MTSAMPLES -o runs/generalize
#
# Three trainings of the encoder: on coded reports before a year (`years`), on silver labels (`source`), and
# on silver labels without the notes that contain a held-out form (`forms`). Each is stored when it is done:
# the same command goes on where it was killed. Ends with `generalize.json` in the output folder.


FORMAT = 1
#: A symptom needs this many positive notes in another source to be scored there.
LEAST_ELSEWHERE = 10


@dataclass(frozen=True)
class Order:
    """What is asked for.

    Attributes:
        elsewhere: notes of another source; none leaves the table `source` empty.
        lexicon: a built-in one, or a file.
        held_out_share: of the forms of each symptom that occur, but for the most frequent.
        training_notes: the most notes a training sees; 0 for all.
        test_notes: the most test notes of the first source.
        validation_from: first year of validation of the table `years`; training is before.
        test_from: first year of its test notes; every later year is a row.
    """

    elsewhere: Path | None = None
    lexicon: str = "clinical"
    held_out_share: float = 0.4
    training_notes: int = 4000
    test_notes: int = 3000
    validation_from: int = 2003
    test_from: int = 2004


@dataclass(frozen=True)
class Workplace:
    """What the three trainings share."""

    config: StudyConfig
    order: Order
    notes: NoteSet
    lexicon: Lexicon
    encoder: Encoder
    folder: Path
    reporter: Reporter

    def capped(self, split: Split) -> Split:
        """The split with no more notes than are asked for; a fourth as many validate."""
        most = self.order.training_notes or len(split.train)
        return Split(
            cap_rows(split.train, most),
            cap_rows(split.validation, max(1, most // 4)),
            cap_rows(split.test, self.order.test_notes),
            split.counts,
        )


def generalize(
    config: StudyConfig, order: Order, output: Path, *, reporter: Reporter | None = None
) -> dict[str, Any]:
    """Run, or continue, the three experiments; returns what `generalize.json` holds.

    Args:
        config: notes with codes and years, encoder, epochs, top_k; its task is `present`.
        order: the rest.
        output: where trainings and results go.
        reporter: where progress goes; a quiet one by default.

    Raises:
        InputError: the notes cannot be read or carry no codes, or `output` holds other experiments.
    """
    config, reporter = config.resolved(), reporter or Reporter(quiet=True)
    if config.notes is None:
        raise InputError("generalize needs --notes with symptoms coded by people, e.g. VAERS")
    _claim(output, order, config)
    started = time.perf_counter()
    with reporter:
        place = Workplace(
            config,
            order,
            read_notes(config.notes, text_column=config.text_column, fraction=config.fraction),
            load_lexicon(order.lexicon),
            load_encoder(config.encoder or "bundled", case=config.case),
            output,
            reporter,
        )
        result = {
            "format": FORMAT,
            "settings": public_settings(config) | _public_order(order),
            "years": _years(place),
            **_silver(place),
            "environment": environment(),
        }
    result["seconds"] = time.perf_counter() - started
    write_json(output / "generalize.json", result)
    return result


def _public_order(order: Order) -> dict[str, Any]:
    values = asdict(order)
    return values | {"elsewhere": None if order.elsewhere is None else order.elsewhere.name}


def _years(place: Workplace) -> dict[str, Any]:
    """Coded reports: trained before `validation_from`, scored by year from `test_from` on."""
    place.reporter.say("a later year: training on the reports before")
    frame, order = place.notes.frame, place.order
    split = place.capped(
        split_notes(
            frame,
            group_notes(frame),
            rule="time",
            validation_from=datetime(order.validation_from, 1, 1),
            test_from=datetime(order.test_from, 1, 1),
        )
    )
    training = np.zeros(frame.height, dtype=bool)
    training[split.train] = True
    labels = label_coded_present(frame, top_k=place.config.top_k, rows=training)
    data = describe_data(place.notes, frame, labels, split, place.lexicon)
    found = run_trial(place.config, data, place.encoder, place.folder / "years", place.reporter)
    rule = AssertedRule.of(labels.symptoms, place.lexicon)
    texts = data.texts_of(split.test)
    found |= {"rule-assertion": rule.predict_proba(texts) > 0}
    truth, patients = labels.targets[split.test].astype(bool), data.patients[split.test]
    years = frame["time"].dt.year().to_numpy()[split.test]
    tables = {}
    for year in sorted({int(year) for year in years}):
        rows = years == year
        answered = {name: each[rows] for name, each in found.items()}
        tables[str(year)] = score_f1(answered, truth[rows], patients[rows], resamples=place.config.resamples)
    return {"train": len(split.train), "validation": len(split.validation), "by_year": tables}


def _silver(place: Workplace) -> dict[str, Any]:
    """Both experiments on silver labels: `source` and `forms`; they share split, symptoms and test notes."""
    place.reporter.say("silver labels by the rule with assertion")
    silver = _label(place)
    passages = (
        None if place.order.elsewhere is None else passage_frame(read_notes(place.order.elsewhere).frame)
    )
    place.reporter.say("another source: training on all forms")
    frame, whole, other = place.notes.frame, silver, None
    if passages is not None:
        frame = pl.concat([frame, passages.frame])
        other = Evidence.of(silver.rule, passages.frame["text"].to_list())
        whole = silver.and_tested(other)
    found = _train(place, frame, whole, "source")
    tested = len(silver.split.test)
    here = {name: each[:tested] for name, each in found.items()}
    forms = _forms(place, silver, here)
    if passages is None or other is None:
        return {"source": None, "forms": forms}
    there = {name: by_note(each[tested:], passages.notes) for name, each in found.items()}
    truth = by_note(other.affirmed, passages.notes)
    source = {
        "train": len(silver.split.train),
        "passages": len(passages.notes),
        "same_source": score_f1(
            here, silver.test.affirmed, silver.patients, resamples=place.config.resamples
        ),
        "elsewhere": score_f1(
            there, truth, np.arange(len(truth)), least=LEAST_ELSEWHERE, resamples=place.config.resamples
        ),
    }
    return {"source": source, "forms": forms}


@dataclass(frozen=True)
class Silver:
    """Silver labels of the first source, and its split.

    Attributes:
        rule: what labels, for the K symptoms.
        evidence: what it finds in every note.
        split: of the notes.
        test: the evidence of the test notes.
        patients: of the test notes.
    """

    rule: AssertedRule
    evidence: Evidence
    split: Split
    test: Evidence
    patients: NDArray[np.int64]

    def and_tested(self, other: Evidence) -> Silver:
        """The same with further notes, behind the others, that are tested."""
        mine = self.evidence
        evidence = Evidence(
            mine.found + other.found,
            np.concatenate([mine.affirmed, other.affirmed]),
            np.concatenate([mine.mentioned, other.mentioned]),
        )
        rows = np.arange(len(mine.found), len(evidence.found))
        return replace(
            self,
            evidence=evidence,
            split=replace(self.split, test=np.concatenate([self.split.test, rows])),
        )


def _label(place: Workplace) -> Silver:
    """Labels by the rule of the K symptoms that training notes affirm most often."""
    frame = place.notes.frame
    split = place.capped(split_notes(frame, group_notes(frame), rule="patient"))
    texts = frame["text"].to_list()
    names = [symptom.name for symptom in place.lexicon.symptoms]
    everything = AssertedRule.of(names, place.lexicon)
    counts = Evidence.of(everything, [texts[row] for row in split.train]).affirmed.sum(axis=0)
    top = [k for k in np.argsort(-counts, kind="stable")[: place.config.top_k] if counts[k]]
    if not top:
        raise InputError(f"{place.notes.name}: no training note affirms a symptom of the lexicon")
    rule = AssertedRule.of([names[k] for k in top], place.lexicon)
    evidence = Evidence.of(rule, texts)
    patients = patient_numbers(frame)[split.test]
    return Silver(rule, evidence, split, evidence.rows(split.test), patients)


def _forms(place: Workplace, silver: Silver, taught: dict[str, Bools]) -> dict[str, Any] | None:
    """Train without the notes that contain a held-out form; `taught` are models that saw them."""
    rule, evidence, split = silver.rule, silver.evidence, silver.split
    held = hold_out(rule, evidence, split.train, place.order.held_out_share)
    if not held:
        place.reporter.say("no symptom has a second form in training: no form is held out")
        return None
    has = contains(evidence, held)
    train, validation = (rows[~has[rows]] for rows in (split.train, split.validation))
    removed = len(split.train) - len(train)
    place.reporter.say(f"held-out forms: training without {removed:,} notes")
    kept = replace(silver, split=replace(split, train=train, validation=validation))
    found = _train(place, place.notes.frame, kept, "forms")
    texts = place.notes.frame["text"].to_list()
    without = rule.without(held).predict_proba([texts[row] for row in split.test]) > 0
    answered = {**found, "rule": without} | {f"{name}-taught": each for name, each in taught.items()}
    unseen = only_held_out(rule, silver.test, held)
    scores = score_unseen(answered, silver.test, unseen, silver.patients, resamples=place.config.resamples)
    return {"forms_held_out": len(held), "train": len(train), "removed": removed} | scores


def _train(place: Workplace, frame: pl.DataFrame, silver: Silver, name: str) -> dict[str, Bools]:
    labels = label_set(
        frame,
        silver.rule.symptoms,
        silver.evidence.affirmed.astype(np.uint8),
        "silver",
        "forms of the lexicon that the note affirms",
    )
    data = describe_data(place.notes, frame, labels, silver.split, place.lexicon)
    return run_trial(place.config, data, place.encoder, place.folder / name, place.reporter)


def _claim(output: Path, order: Order, config: StudyConfig) -> None:
    """Refuse a folder that other experiments were begun in; each training compares what it learns from."""
    asked = asdict(order) | {"fraction": config.fraction, "top_k": config.top_k}
    del asked["elsewhere"], asked["lexicon"]  # files, which may move
    path = output / "asked.json"
    if path.is_file():
        check_settings(output, read_object(path) or {}, asked)
    elif output.is_dir() and any(output.iterdir()):
        raise InputError(f"{output}: not empty and not of benchmarks.generalize; choose another -o")
    write_json(path, asked)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the experiments that the command line asks for; exit code 2 for a mistake in it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generalize", description=main.__doc__)
    parser.add_argument("--notes", type=Path, required=True, help="VAERS notes, coded by people")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--elsewhere", type=Path, help="notes of another source, e.g. MTSamples")
    parser.add_argument("--fraction", type=float, default=0.1, help="share of the patients that is read")
    parser.add_argument("--encoder", default="bundled", help="`bundled`, a folder, or a Hugging Face id")
    parser.add_argument("--lexicon", default=Order.lexicon, help="of the silver labels")
    parser.add_argument("--top-k", type=int, default=20, help="symptoms, the most frequent in training")
    parser.add_argument("--epochs", type=int, default=1, help="passes over the training notes")
    parser.add_argument("--training-notes", type=int, default=Order.training_notes, help="0 for all")
    parser.add_argument("--test-notes", type=int, default=Order.test_notes, help="the most test notes")
    parser.add_argument("--held-out-share", type=float, default=Order.held_out_share, help="of the forms")
    given = parser.parse_args(arguments)
    names = ("elsewhere", "lexicon", "held_out_share", "training_notes", "test_notes")
    order = Order(**{name: getattr(given, name) for name in names})
    settings = {name: getattr(given, name) for name in ("notes", "encoder", "fraction", "top_k", "epochs")}
    try:
        config = make_config({"protocol": "clinical", "task": "present", **settings})
        generalize(config, order, given.output, reporter=Reporter())
    except SympressError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2 if isinstance(error, InputError) else 1) from None
    sys.stdout.write(f"wrote {given.output / 'generalize.json'}\n")


if __name__ == "__main__":
    main()
