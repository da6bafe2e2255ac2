"""`compress`: an artifact in, a smaller and faster one out, by a recipe or by a search for a budget."""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from sympress.compression.distill.teachers import fingerprint_teacher, label_order, load_classifier_teacher
from sympress.compression.quantize.choose import available_kernels
from sympress.compression.recipe.language import UNTRAINED, Recipe, parse_recipe, read_recipe
from sympress.compression.recipe.material import FurtherTeacher, encode_notes
from sympress.compression.search import Budget, SearchResult
from sympress.compression.search.estimate import ModelShape, check_recipe, estimates, shape_of
from sympress.compression.vocab.trim import choose_pieces, count_pieces, trim_vocabulary_
from sympress.errors import InputError
from sympress.files import (
    alone,
    check_claim,
    folder_to_write,
    full_disk_explained,
    is_bare,
    read_object,
    write_json,
    write_text,
)
from sympress.labels.task import task_of
from sympress.models.encoder import fingerprint_tokenizer
from sympress.models.families import NO_ATTENTION
from sympress.models.model import load_model
from sympress.pipeline.compressor import Compressor, describe_artifact, judge_teacher
from sympress.pipeline.order import Given, Order, check_order, read_made_before
from sympress.pipeline.origin import Origin, Texts, given_texts, read_origin, read_texts
from sympress.progress import Reporter
from sympress.provenance import fingerprint_texts
from sympress.report.card import artifact_card
from sympress.report.page import write_front
from sympress.runtime.artifact import (
    TRAINING_FILES,
    Extractor,
    check_files,
    read_extractor,
    write_checksums,
    write_provenance,
)
from sympress.runtime.linker import carried_words, write_words
from sympress.studies.costs import teacher_yardsticks
from sympress.studies.train import stride_of
from sympress.training.data import default_stride

# What would be done, checked against the model before any note is read.


@dataclass(frozen=True)
class Plan:
    """An order that was checked against its model, before any note is read."""

    order: Order
    origin: Origin
    shape: ModelShape
    seed: int
    teachers: tuple[FurtherTeacher, ...]


def make_plan(order: Order, *, dry: bool = False) -> Plan:
    """Check all that can be checked without notes; if `dry`, those that a recipe needs may be missing.

    Raises:
        InputError: as `check_order`; or a model that cannot be pressed, a recipe that cannot be applied to
            it, a kernel that this machine does not have, or a teacher with different labels.
    """
    check_order(order, dry=dry)
    order = replace(order, output=folder_to_write(order.output))
    bare = order.recipe is None and order.budget is None
    origin = read_origin(order.model, order.notes, order.changes, given=order.given is not None)
    if order.given is None and origin.fingerprint is None:
        order = replace(order, given=Given())  # no study made it: without notes, then
    if bare:
        given = order.given  # without notes no step may count what they hold
        noted = given is None or given.train is not None or bool(given.unlabelled)
        order = replace(order, recipe=read_recipe(UNTRAINED if noted else "quantize(int8)"))
    check_order(order, dry=dry)
    shape = shape_of(origin.model, origin.extractor.max_tokens)
    if order.budget is not None and not shape.attention:
        raise InputError(
            f"{order.model}: {NO_ATTENTION}, which --budget searches; give a recipe, such as quantize(int8)"
        )
    if order.recipe is not None:
        check_recipe(order.recipe, origin.model, training=order.trains)
        _try_vocabulary(order.recipe, origin)
    if order.kernel not in (None, "auto") and order.kernel not in available_kernels():
        raise InputError(
            f"kernel {order.kernel!r} is not in this machine's runtime; take another or leave it out"
        )
    teachers = tuple(load_teacher(name, origin.extractor) for name in order.teachers)
    return Plan(order, origin, shape, origin.seed if order.seed is None else order.seed, teachers)


def _try_vocabulary(recipe: Recipe, origin: Origin) -> None:
    """Trim the vocabulary of a copy, so that what cannot be trimmed, or not so far, is refused at once."""
    for number, step in enumerate(recipe.steps, 1):
        if step.step != "vocab":
            continue
        try:
            step.check_tokenizer(origin.tokenizer)
            kept = choose_pieces(origin.tokenizer, count_pieces(origin.tokenizer, ()), 1.0)
            trim_vocabulary_(copy.deepcopy(origin.model), origin.tokenizer, kept.ids)
        except InputError as error:
            raise InputError(f"step {number} ({step.step}): {error}") from error


def load_teacher(name: str, extractor: Extractor) -> FurtherTeacher:
    """Load an artifact of sympress, a Hugging Face classifier's folder, or a Hub id as a teacher.

    Raises:
        InputError: it cannot be read, was trained for another task, or its labels are not the symptoms.
    """
    folder = Path(name).expanduser()
    if (folder / "extractor.json").is_file():
        theirs = read_extractor(folder)
        check_files(folder, also=TRAINING_FILES)
        if theirs.task != extractor.task:
            raise InputError(f"{name}: a teacher of the task {theirs.task}, not {extractor.task}")
        order = label_order(name, theirs.symptoms, extractor.symptoms)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return FurtherTeacher(
            load_model(folder), tokenizer, tuple(order), theirs.max_tokens, stride_of(theirs)
        )
    teacher = load_classifier_teacher(
        name, extractor.symptoms, several=task_of(extractor.task).has_thresholds
    )
    limit = min(int(teacher.tokenizer.model_max_length), extractor.max_tokens)
    stride = None if stride_of(extractor) is None else default_stride(limit)
    return FurtherTeacher(teacher, teacher.tokenizer, tuple(range(len(extractor.symptoms))), limit, stride)


def describe(plan: Plan) -> list[str]:
    """What would be done, line by line, with estimates; nothing is read or trained."""
    tokens = plan.origin.extractor.max_tokens
    teacher = (plan.origin.folder / "model.safetensors").stat().st_size / 1e6
    lines = [
        f"teacher: {plan.order.called or plan.origin.folder}, {teacher:.2f} MB, {plan.shape.layers} layers, "
        f"{plan.shape.hidden} wide"
    ]
    if plan.order.recipe is None:
        return [
            *lines,
            f"budget: {plan.order.budget}",
            f"{plan.order.trials} recipes would be trained, at first for one epoch on a part of the notes",
        ]
    guessed = estimates(plan.order.recipe, plan.shape, tokens)
    lines += [f"step {number}: {step}" for number, step in enumerate(plan.order.recipe.steps, 1)]
    return [
        *lines,
        f"estimated file: {guessed['size_mb']:.2f} MB ({teacher / guessed['size_mb']:.1f}x smaller)",
        f"estimated multiply-accumulates, {tokens} word pieces: {guessed['macs_ratio']:.3f} of the teacher's",
    ]


# `compress`: an artifact in, a smaller and faster one out, by a recipe or by a search for a budget.


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
            try:
                return _make(plan, texts, claim, command, reporter)
            except InputError:
                if not any(any(order.work.glob(f"{part}/**/*.safetensors")) for part in ("pressing", "made")):
                    shutil.rmtree(order.work, ignore_errors=True)  # or its claim would refuse what is mended
                raise


def _make(
    plan: Plan, texts: Texts, claim: dict[str, dict[str, Any]], command: str | None, reporter: Reporter
) -> dict[str, Any]:
    """Everything after the notes are read; the caller holds the work folder alone."""
    order = plan.order
    compressor = _presser(plan, texts, reporter)
    found = None if order.budget is None else _search(plan, order.budget, compressor)
    recipe = parse_recipe(found.best.recipe) if found is not None else order.recipe
    if recipe is None:
        raise ValueError("the order was checked")
    reporter.say(f"recipe: {recipe}")
    artifact = compressor.press(recipe)
    record = describe_artifact(compressor, artifact, recipe, found, test=order.test)
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
    stored = read_made_before(output)
    if stored is not None:
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


def _presser(plan: Plan, texts: Texts, reporter: Reporter) -> Compressor:
    """Everything that recipes share, the teacher's F1 both ways included."""
    order, origin = plan.order, plan.origin
    cores = torch.get_num_threads()
    yardsticks = teacher_yardsticks(origin.folder, order.work / "teacher", threads=origin.config.threads)
    torch.set_num_threads(cores)  # the yardsticks set their own, which would slow training down
    teacher = judge_teacher(origin, texts, yardsticks, order.work / "teacher" / "int8.onnx")
    for name, judged in teacher.items():
        reporter.say(f"teacher, {name}: validation F1 {judged.f1:.4f}")
    encoded = encode_notes(origin.tokenizer, texts.material.validation, texts.material)
    return Compressor(
        origin=origin,
        texts=texts,
        teachers=plan.teachers,
        kernel=order.kernel,
        trains=order.trains,
        seed=plan.seed,
        work=order.work,
        yardsticks=yardsticks,
        teacher=teacher,
        read=encoded,
        memory=order.budget is not None and order.budget.memory_mb is not None,
        reporter=reporter,
    )


def _search(plan: Plan, budget: Budget, compressor: Compressor) -> SearchResult:
    from sympress.compression.search.search import search

    result = search(
        budget,
        compressor,
        shape=plan.shape,
        trials=plan.order.trials,
        storage=plan.order.work / "trials.log",
        seed=plan.seed,
        tokens=compressor.tokens,
        say=compressor.reporter.say,
    )
    compressor.reporter.say(result.sentence())
    return result
