"""`compress`: an artifact in, a smaller and faster one out, by a recipe or by a search for a budget."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sympress.claim import check_claim
from sympress.compress.budget.found import SearchResult
from sympress.compress.budget.parse import Budget
from sympress.compress.budget.search import search
from sympress.compress.distill.teachers import fingerprint_teacher
from sympress.compress.recipe.material import encode_notes
from sympress.compress.recipe.parse import parse_recipe
from sympress.deploy.artifact import write_provenance
from sympress.deploy.checksums import write_checksums
from sympress.deploy.rule_files import carried_words, write_words
from sympress.errors import InputError
from sympress.files import alone, full_disk_explained, is_bare, read_object, write_json, write_text
from sympress.progress import Reporter
from sympress.report.card import artifact_card
from sympress.report.front import write_front
from sympress.study.given import given_texts
from sympress.study.inputs import fingerprint_texts
from sympress.study.origin import Texts, read_texts
from sympress.study.plan import Order, Plan
from sympress.study.presser import Presser, judge_teacher
from sympress.study.record import describe_artifact
from sympress.study.yardsticks import teacher_yardsticks
from sympress.training.fingerprint import fingerprint_tokenizer

#: Of what was asked for, the names of files, which may move: what they hold is compared instead.
_NAMES = ("notes", "teachers")


def compress(plan: Plan, *, reporter: Reporter | None = None, command: str | None = None) -> dict[str, Any]:
    """Press, measure and write the artifact; returns its provenance.

    The same order goes on where it was killed, and returns what it made where it is done. Nothing is
    chosen on test notes: they are looked at once, at the end.

    Raises:
        InputError: the output is taken, or the notes do not fit the model.
    """
    order, reporter = plan.order, reporter or Reporter(quiet=True)
    asked = _asked(plan)
    _check_output(order, asked, {})  # before minutes of reading
    with reporter, full_disk_explained(order.work):
        given = order.given
        texts = (
            read_texts(plan.origin, reporter) if given is None else given_texts(plan.origin, given, plan.seed)
        )
        claim = {"asked": asked, "inputs": _inputs(plan, texts)}
        done = _check_output(order, **claim)
        if done is not None:
            reporter.say(f"{order.output}: done before")
            return done
        with alone(order.work, order.output):
            done = _check_output(order, **claim)
            if done is not None:  # another call ended meanwhile
                shutil.rmtree(order.work)
                return done
            write_json(order.work / "asked.json", claim)
            return _make(plan, texts, claim, command, reporter)


def _make(
    plan: Plan, texts: Texts, claim: dict[str, dict[str, Any]], command: str | None, reporter: Reporter
) -> dict[str, Any]:
    """Everything after the notes are read; the caller holds the work folder alone."""
    order = plan.order
    presser = _presser(plan, texts, reporter)
    found = None if order.budget is None else _search(plan, order.budget, presser)
    recipe = parse_recipe(found.best.recipe) if found is not None else order.recipe
    if recipe is None:
        raise InputError("give either --recipe or --budget: what to do, or what the result may cost")
    reporter.say(f"recipe: {recipe}")
    artifact = presser.press(recipe)
    record = describe_artifact(presser, artifact, recipe, found, test=order.test)
    record |= {**claim, "trials": _trials(order), "command": command}
    write_provenance(artifact, record)
    write_words(artifact, carried_words(plan.origin.folder, plan.origin.extractor))
    write_text(artifact / "README.md", artifact_card(record, plan.origin.extractor.symptoms))
    if found is not None:
        write_front(found, artifact / "search")
    write_checksums(artifact)
    if order.output.is_dir():
        order.output.rmdir()  # empty: it was checked
    order.output.parent.mkdir(parents=True, exist_ok=True)
    artifact.replace(order.output)
    shutil.rmtree(order.work)
    return record


def _asked(plan: Plan) -> dict[str, Any]:
    """The settings that decide the result, and names for the record."""
    order, config = plan.order, plan.origin.config
    return {
        "recipe": None if order.recipe is None else str(order.recipe),
        "budget": None if order.budget is None else str(order.budget),
        "notes": None if config.notes is None else config.notes.name,
        "teachers": [
            f"{Path(name).name} ({fingerprint_teacher(one.model)[:12]})"
            for name, one in zip(order.teachers, plan.teachers, strict=True)
        ],
        "training": order.trains,
        "kernel": order.kernel,
        "seed": plan.seed,
        "epochs": config.epochs,
        "learning_rate": config.learning_rate,
        "transfer_fraction": config.transfer_fraction,
    }


def _inputs(plan: Plan, texts: Texts) -> dict[str, str]:
    """Fingerprints of what decides the result."""
    origin = plan.origin
    cuts = fingerprint_tokenizer(origin.tokenizer)
    teachers = [
        fingerprint_teacher(one.model) + fingerprint_tokenizer(one.tokenizer) for one in plan.teachers
    ]
    return {
        **texts.inputs,
        "model": fingerprint_texts(
            [fingerprint_teacher(origin.model), cuts, origin.extractor.model_dump_json()]
        ),
        "teachers": fingerprint_texts(teachers),
        "transfer": fingerprint_texts(texts.material.transfer),
    }


def _check_output(order: Order, asked: dict[str, Any], inputs: dict[str, str]) -> dict[str, Any] | None:
    """The provenance of the finished artifact if this very order made it; None where nothing is there yet.

    Raises:
        InputError: the output, or what lies beside it of an order that was cut off, is another's.
    """
    output = order.output
    settings = {key: value for key, value in asked.items() if key not in _NAMES}
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: a file, not a folder; choose another -o")
    if output.is_dir() and any(output.iterdir()):
        stored = read_object(output / "provenance.json") or {}
        if not isinstance(stored.get("asked"), dict):
            raise InputError(f"{output}: holds another artifact or other files; choose another -o")
        found = {
            "settings": stored["asked"] | {"trials": stored.get("trials")},
            "inputs": stored.get("inputs"),
        }
        check_claim(output, found, settings | {"trials": _trials(order)}, inputs)
        return stored
    if not is_bare(order.work):
        before = read_object(order.work / "asked.json") or {}
        found = {"settings": before.get("asked", {}), "inputs": before.get("inputs")}
        check_claim(order.work, found, settings, inputs, advice="remove it or choose another -o")
    return None


def _trials(order: Order) -> int | None:
    return None if order.budget is None else order.trials


def _presser(plan: Plan, texts: Texts, reporter: Reporter) -> Presser:
    """Everything that recipes share, the teacher's F1 both ways included."""
    order, origin = plan.order, plan.origin
    cores = torch.get_num_threads()
    yardsticks = teacher_yardsticks(origin.folder, order.work / "teacher", threads=origin.config.threads)
    torch.set_num_threads(cores)  # the yardsticks set their own, which would slow training down
    teacher = judge_teacher(origin, texts, yardsticks, order.work / "teacher" / "int8.onnx")
    for name, judged in teacher.items():
        reporter.say(f"teacher, {name}: validation F1 {judged.f1:.4f}")
    encoded = encode_notes(origin.tokenizer, texts.material.validation, texts.material)
    return Presser(
        origin=origin,
        texts=texts,
        teachers=plan.teachers,
        kernel=order.kernel,
        trains=order.trains,
        seed=plan.seed,
        work=order.work,
        yardsticks=yardsticks,
        teacher=teacher,
        tokens=int(np.median(encoded.lengths)),
        memory=order.budget is not None and order.budget.memory_mb is not None,
        reporter=reporter,
    )


def _search(plan: Plan, budget: Budget, presser: Presser) -> SearchResult:
    result = search(
        budget,
        presser,
        shape=plan.shape,
        trials=plan.order.trials,
        storage=plan.order.work / "trials.log",
        seed=plan.seed,
        tokens=presser.tokens,
        say=presser.reporter.say,
    )
    presser.reporter.say(result.sentence())
    return result
