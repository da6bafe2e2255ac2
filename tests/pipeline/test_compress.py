"""Pressing an artifact of a tiny study: what is written, measured, resumed and chosen."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from transformers import BertConfig, BertForSequenceClassification

from sympress.compression import distill
from sympress.compression.distill import Distill
from sympress.compression.distill.teachers import fingerprint_teacher
from sympress.compression.quantize import Quantize
from sympress.compression.recipe import Exported
from sympress.compression.recipe import material as taught
from sympress.compression.recipe.language import parse_recipe
from sympress.compression.recipe.material import Context, Material, State
from sympress.compression.search import parse_budget
from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.evaluation.cost import time_in_turn
from sympress.files import alone, read_object, write_json
from sympress.labels.task import task_of
from sympress.models.model import SymptomModel, load_model
from sympress.notes.synthesize import synthesize
from sympress.pipeline import compressor as presser_module
from sympress.pipeline.compress import compress, describe, load_teacher, make_plan
from sympress.pipeline.order import Order
from sympress.pipeline.origin import read_origin, read_texts
from sympress.progress import Reporter
from sympress.runtime.artifact import read_extractor, write_checksums
from sympress.runtime.session import Runtime
from sympress.studies.press import train_settings
from sympress.studies.run import run_study

SMALL: dict[str, Any] = {
    "synthetic_notes": 600,
    "epochs": 1,
    "max_tokens": 32,
    "text_window": 200,
    "resamples": 50,
    "learning_rate": 1e-3,
}
RECIPE = "vocab(keep=0.9) > distill(layers=1) > quantize(int8)"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path, memory_unmeasured: None) -> Path:
    """The baseline of a tiny study on synthetic notes."""
    run = tmp_path_factory.mktemp("compress") / "run"
    run_study(StudyConfig(encoder=str(encoder_folder), strategies=("baseline",), **SMALL), run)
    return run / "artifacts" / "baseline-seed0"


@pytest.fixture(scope="module")
def classifier(teacher: Path, tokenizer: Any) -> Path:
    """A classifier in Hugging Face form, its labels in another order than the symptoms."""
    labels = list(reversed(read_extractor(teacher).symptoms))
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )
    folder = teacher.parent / "classifier"
    model = BertForSequenceClassification(config)
    model.classifier.weight.data *= 100  # answers that stand out
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def order(teacher: Path, classifier: Path) -> Order:
    return Order(
        model=teacher,
        output=teacher.parent / "pressed",
        recipe=parse_recipe(RECIPE),
        teachers=(str(classifier),),
        kernel="dynamic-unsigned",
    )


@pytest.fixture(scope="module")
def averaged() -> list[int]:
    """Of how many teachers each average in `pressed` was taken."""
    return []


@pytest.fixture(scope="module")
def pressed(order: Order, averaged: list[int]) -> tuple[Path, dict[str, Any]]:
    """The one recipe of this file that trains and exports."""
    average = taught.average_logits

    def counted(logits: Any) -> Any:
        averaged.append(len(logits))
        return average(logits)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(taught, "average_logits", counted)
        return order.output, compress(make_plan(order))


@pytest.fixture
def exports_copied(teacher: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For recipes that leave the weights alone: the fp32 file is the teacher's, which saves the export."""

    def copied(model: SymptomModel, path: Path, _notes: object) -> float:
        assert fingerprint_teacher(model) == fingerprint_teacher(load_model(teacher))
        shutil.copyfile(teacher / "model.onnx", path)
        return 0.0

    monkeypatch.setattr("sympress.studies.press.export_checked", copied)


def test_the_artifact_is_smaller_and_says_how_it_was_made(
    pressed: tuple[Path, dict[str, Any]], teacher: Path
) -> None:
    output, record = pressed
    assert json.loads((output / "provenance.json").read_text(encoding="utf-8")) == record
    assert len(load_model(output).encoder.encoder.layer) == 1
    assert record["recipe"] == RECIPE
    assert [remark.partition(":")[0] for remark in record["remarks"]] == ["vocab", "distill", "quantize"]
    table = record["table"]
    assert list(table) == ["pytorch-fp32", "onnx-int8", "pressed"]
    assert table["pressed"]["size_bytes"] == (output / "model.onnx").stat().st_size
    assert table["pytorch-fp32"]["size_bytes"] == (teacher / "model.safetensors").stat().st_size
    assert table["pressed"]["size_bytes"] < table["pytorch-fp32"]["size_bytes"]
    assert table["pytorch-fp32"]["latency_ratio"] == 1.0
    assert table["onnx-int8"]["int8_latency_ratio"] == 1.0
    assert not output.with_name("pressed.work").exists()
    assert Runtime.load(output).predict(["fever and cough"]).shape == (1, 5)


def test_the_kernel_and_the_further_teachers_are_those_of_the_call(
    pressed: tuple[Path, dict[str, Any]], averaged: list[int]
) -> None:
    _, record = pressed
    assert record["kernel"]["name"] == "dynamic-unsigned"
    assert not record["kernel"]["automatic"]
    assert [one["name"] for one in record["kernel"]["candidates"]] == ["fp32", "dynamic-unsigned"]
    (named,) = record["asked"]["teachers"]
    assert named.startswith("classifier (")
    assert averaged == [2]  # once, of two


def test_its_card_says_what_its_provenance_says(pressed: tuple[Path, dict[str, Any]]) -> None:
    output, record = pressed
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "**Not validated for clinical use.**" in card
    assert "\n- Kernel `dynamic-unsigned`: unsigned weights of 8 bits, exact on every CPU" in card
    assert "- Pressed from: baseline-seed0, fine-tuned from " in card
    assert f"- Further teachers: {record['asked']['teachers'][0]}\n" in card
    assert f"- Data fingerprint: `{record['data_fingerprint']}`" in card
    for name, row in zip(("PyTorch fp32", "ONNX int8", "pressed"), record["table"].values(), strict=True):
        assert f"{name} | {row['size_bytes']:,} | {row['latency_ms_p50']:.2f} | " in card
    changes = record["test"]["changes"]
    assert f"for {changes['flipped_notes']:,} of {changes['notes']:,} notes" in card
    for one in changes["per_symptom"]:
        scores = f"{one['f1']:.3f} | {one['baseline_f1']:.3f}"
        assert f"| {one['symptom']} | {one['flipped']} | {scores} | " in card
    groups = [one["group"] for one in changes["per_group"]]
    assert groups
    assert all(f"\n| {group} | " in card for group in groups)


def test_changes_are_what_the_two_models_answer_differently(
    pressed: tuple[Path, dict[str, Any]], teacher: Path
) -> None:
    output, record = pressed
    texts = read_texts(read_origin(teacher, None, {}), Reporter(quiet=True))
    before, after = (Runtime.load(folder).predict(texts.test).argmax(axis=1) for folder in (teacher, output))
    truth = texts.data.labels.targets[texts.data.split.test].argmax(axis=1)
    flipped, stored = before != after, record["test"]["changes"]
    assert flipped.any()
    assert stored["notes"] == len(texts.test)
    assert stored["flipped_notes"] == int(flipped.sum())
    for column, one in enumerate(stored["per_symptom"]):
        assert one["flipped"] == int((flipped & ((before == column) | (after == column))).sum())
    sexes = [one for one in stored["per_group"] if one["group"].startswith("sex ")]
    assert sum(one["flipped_notes"] for one in sexes) == int(flipped.sum())
    scores = [
        f1_score(truth, found, average="macro", labels=sorted(set(truth)), zero_division=0)
        for found in (after, before)
    ]
    test = record["test"]
    assert (test["f1"], test["teacher_f1"]) == pytest.approx(scores)
    assert test["f1_difference"]["value"] == pytest.approx(scores[0] - scores[1])


def test_the_split_is_the_studys(teacher: Path) -> None:
    origin = read_origin(teacher, None, {})
    texts = read_texts(origin, Reporter(quiet=True))
    stored = np.load(teacher.parents[1] / "predictions" / "baseline-seed0.npz")
    ours = Runtime.load(teacher).predict(texts.test[:8])
    assert len(stored["test"]) == len(texts.test)
    np.testing.assert_allclose(ours, stored["test"][:8], atol=1e-5)


def test_the_same_order_is_done_and_another_is_refused(
    pressed: tuple[Path, dict[str, Any]], order: Order
) -> None:
    output, record = pressed
    before = (output / "model.onnx").stat().st_mtime_ns
    assert compress(make_plan(order)) == record
    assert (output / "model.onnx").stat().st_mtime_ns == before
    for other, said in (
        (replace(order, recipe=parse_recipe("quantize(int8)")), f"its recipe is '{RECIPE}', not 'quantize("),
        (replace(order, teachers=()), "a further teacher changed since it was begun; undo that, or choose"),
    ):
        with pytest.raises(InputError) as refused:
            compress(make_plan(other))
        assert f"pressed: {said}" in str(refused.value)


def test_a_killed_call_goes_on_with_what_was_pressed(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exports_copied: None
) -> None:
    order = Order(
        model=teacher,
        output=tmp_path / "out",
        recipe=parse_recipe("quantize(int8)"),
        test=False,
        trains=False,
    )

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("sympress.pipeline.compress.describe_artifact", killed)
        with pytest.raises(KeyboardInterrupt):
            compress(make_plan(order))
    assert not order.output.exists()
    assert list((order.work / "made").glob("*/made.json"))
    different = replace(order, changes={"epochs": 7})
    with pytest.raises(InputError, match=r"out.work: its epochs is 1, not 7; remove it or choose another"):
        compress(make_plan(different))
    with alone(order.work, order.output), pytest.raises(InputError, match=r"out: another process is writing"):
        compress(make_plan(order))
    monkeypatch.setattr(presser_module, "press", killed)  # what is pressed is not pressed again
    record = compress(make_plan(order))
    assert record["test"] is None
    assert "Test notes were not scored." in (order.output / "README.md").read_text(encoding="utf-8")
    assert not order.work.exists()


def test_too_few_word_pieces_are_refused_before_anything_is_read(teacher: Path, tmp_path: Path) -> None:
    few = "distill(layers=1, epochs=1) > vocab(keep=0.05) > quantize(int8)"
    with pytest.raises(
        InputError, match=r"step 2 \(vocab\): vocab keep=0\.05 allows \d+ word pieces, but \d+ always stay"
    ):
        make_plan(Order(model=teacher, output=tmp_path / "out", recipe=parse_recipe(few)), dry=True)


def test_a_recipe_that_trained_nothing_leaves_no_claim(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exports_copied: None
) -> None:
    order = Order(model=teacher, output=tmp_path / "out", recipe=parse_recipe("quantize(int8)"), test=False)

    def refused(*_: object, **__: object) -> None:
        raise InputError("step 1, quantize: no")

    with monkeypatch.context() as patch:
        patch.setattr(presser_module, "press", refused)
        with pytest.raises(InputError, match="step 1, quantize: no"):
            compress(make_plan(replace(order, changes={"epochs": 7})))
    assert not order.work.exists()
    assert [path.name for path in tmp_path.iterdir()] == []
    compress(make_plan(order))


def test_another_call_that_began_while_the_notes_were_read_is_not_overwritten(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = Order(model=teacher, output=tmp_path / "out", recipe=parse_recipe("quantize(int8)"), test=False)

    def meanwhile(origin: Any, reporter: Any) -> Any:
        write_json(order.work / "asked.json", {"asked": {"seed": 7}, "inputs": {}})
        return read_texts(origin, reporter)

    monkeypatch.setattr("sympress.pipeline.compress.read_texts", meanwhile)
    with pytest.raises(InputError, match=r"out.work: its recipe is None, not 'quantize"):
        compress(make_plan(order))
    assert read_object(order.work / "asked.json") == {"asked": {"seed": 7}, "inputs": {}}


def test_a_named_kernel_replaces_what_the_step_stands_for(teacher: Path, tmp_path: Path) -> None:
    ids = [np.array([2, 5, 6, 3]), np.array([2, 9, 3])]
    for step, name in (
        (Quantize(kind="auto"), "dynamic-unsigned"),
        (Quantize(float_layers=2), "dynamic-unsigned-2-float"),
    ):
        path = tmp_path / "model.onnx"
        shutil.copyfile(teacher / "model.onnx", path)
        exported = Exported(path, ids, ids, tmp_path / "work", 1, time_in_turn, kernel="dynamic-unsigned")
        choice = step.apply_to_file(exported)
        assert (choice.name, choice.automatic) == (name, False)
        assert [candidate.name for candidate in choice.candidates] == ["fp32", name]


def test_a_search_ends_with_the_artifact_and_its_front(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for student in ("COPIED", "NARROW"):
        few = getattr(distill, student).model_copy(update={"updates": 60})
        monkeypatch.setattr(distill, student, few)
    order = Order(
        model=teacher,
        output=tmp_path / "out",
        budget=parse_budget("size_mb<=0.5, f1_drop<=1"),
        trials=1,
        test=False,
    )
    record = compress(make_plan(order))
    assert record["search"]["meets"]
    assert record["table"]["pressed"]["size_bytes"] <= 500_000
    search = json.loads((order.output / "search" / "search.json").read_text(encoding="utf-8"))
    chosen = search["tried"][search["chosen"]]
    assert chosen["recipe"] == record["recipe"]
    assert chosen["measured"]["size_mb"] * 1e6 == (order.output / "model.onnx").stat().st_size
    assert f"- Found by a search: {record['search']['sentence'][:20]}" in (
        order.output / "README.md"
    ).read_text(encoding="utf-8")
    assert not order.work.exists()


def test_a_budget_that_cannot_be_met_still_leaves_the_nearest(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exports_copied: None
) -> None:
    """Of a space with one recipe, that needs no training."""
    monkeypatch.setattr(
        "sympress.compression.search.search.suggest", lambda _trial, _teacher: parse_recipe("quantize(int8)")
    )
    order = Order(
        model=teacher, output=tmp_path / "out", budget=parse_budget("size_mb<=0.001"), trials=1, test=False
    )
    record = compress(make_plan(order))
    assert not record["search"]["meets"]
    sentence = record["search"]["sentence"]
    assert "recipes meets the budget; the nearest one that was trained has size_mb" in sentence
    assert (order.output / "model.onnx").is_file()


def test_students_are_taught_the_average_in_the_order_of_the_symptoms(
    teacher: Path, classifier: Path, tmp_path: Path, tokenizer: Any
) -> None:
    origin = read_origin(teacher, None, {})
    further = tuple(load_teacher(str(folder), origin.extractor) for folder in (classifier, teacher))
    texts = ["fever and cough", "pain after dose"]
    material = Material("topic", texts, np.eye(2, 5, dtype=np.uint8), texts[:1], [], np.zeros((0, 5)), 32)
    context = Context(
        material=material,
        settings=train_settings(origin.config, 0),
        score=lambda _logits: (0.0, {}),
        folder=tmp_path / "work",
        logits_folder=tmp_path / "logits",
        teachers=further,
    )
    state = State(origin.model, origin.tokenizer, origin.model, (origin.model, origin.tokenizer))
    answered = taught.teacher_notes(state, context, Distill())
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    inputs = encoded["input_ids"], encoded["attention_mask"]
    plain = BertForSequenceClassification.from_pretrained(classifier)
    with torch.no_grad():
        ours = origin.model.eval()(*inputs)
        theirs = plain.eval()(*inputs).logits.flip(1)
    mean = ((2 * ours + theirs) / 3).numpy()
    found = np.stack([answered[row]["teacher_logits"].numpy() for row in range(3)])
    assert theirs.std() > 0.5
    np.testing.assert_allclose(found, mean[[0, 1, 0]], atol=0.02)  # teachers run in mixed precision


def test_a_dry_run_says_steps_and_estimates(teacher: Path, tmp_path: Path) -> None:
    order = Order(
        model=teacher, output=tmp_path / "out", recipe=parse_recipe("distill(layers=1) > quantize(int8)")
    )
    lines = describe(make_plan(order))
    assert lines[1:3] == ["step 1: distill(layers=1)", "step 2: quantize(int8)"]
    assert lines[3].startswith("estimated file: 0.")
    assert "of the teacher's" in lines[4]
    budget = Order(model=teacher, output=tmp_path / "out", budget=parse_budget("size_mb<=1"), trials=4)
    assert describe(make_plan(budget))[1:] == [
        "budget: size_mb<=1",
        "4 recipes would be trained, at first for one epoch on a part of the notes",
    ]
    assert not order.work.exists()


def test_other_notes_than_the_studys_are_said(teacher: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(teacher, copy)
    stored = json.loads((copy / "provenance.json").read_text(encoding="utf-8"))
    (copy / "provenance.json").write_text(json.dumps(stored | {"data_fingerprint": "other"}))
    write_checksums(copy)
    said: list[str] = []
    reporter = Reporter(quiet=True)
    reporter.say = said.append  # type: ignore[method-assign]
    read_texts(read_origin(copy, None, {}), reporter)
    assert "note: these are not the very notes that MODEL was trained on; its F1 may differ" in said


def test_an_answer_is_the_likeliest_topic_or_all_at_their_thresholds() -> None:
    probabilities = np.array([[0.2, 0.8], [0.6, 0.5]])
    assert task_of("topic").affirmed(probabilities, None).tolist() == [[False, True], [True, False]]
    assert task_of("present").affirmed(probabilities, None).tolist() == [[False, True], [True, True]]
    assert task_of("present").affirmed(probabilities, np.array([0.7, 0.6])).tolist() == [
        [False, True],
        [False, False],
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[::-1], "the notes, or their order, changed since it was begun"),
        (lambda rows: rows[:-20], "the notes, or their order, changed since it was begun"),
    ],
)
def test_other_notes_of_the_same_name_are_not_done_before(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, said: str
) -> None:
    frame = synthesize(600, seed=0).frame
    rows = [json.dumps({key: one[key] for key in ("note_id", "text")}) for one in frame.iter_rows(named=True)]

    def order(folder: str, rows: list[str]) -> Order:
        notes = tmp_path / folder / "notes.jsonl"
        notes.parent.mkdir(exist_ok=True)
        notes.write_text("\n".join(rows))
        recipe = parse_recipe("quantize(int8)")
        return Order(model=teacher, output=tmp_path / "out", notes=notes, recipe=recipe)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sympress.pipeline.compress._presser", killed)
    for folder in ("notes", "moved"):
        with pytest.raises(KeyboardInterrupt):
            compress(make_plan(order(folder, rows)))
    with pytest.raises(InputError) as refused:
        compress(make_plan(order("other", change(rows))))
    assert (
        str(refused.value) == f"{tmp_path / 'out.work'}: {said}; undo that, or remove it or choose another -o"
    )
    claim = read_object(tmp_path / "out.work" / "asked.json") or {}
    (tmp_path / "out").mkdir()
    write_json(tmp_path / "out" / "provenance.json", {**claim, "trials": None})
    assert compress(make_plan(order("moved", rows)))["inputs"] == claim["inputs"]
    with pytest.raises(InputError, match=r"out: the notes, or their order, changed since it was begun"):
        compress(make_plan(order("other", change(rows))))
    write_json(tmp_path / "out" / "provenance.json", {"asked": claim["asked"], "trials": None})
    with pytest.raises(InputError, match=r"out: an older sympress began it and did not note what its inputs"):
        compress(make_plan(order("moved", rows)))


def test_a_student_without_attention_is_deployed_and_can_be_pressed_again(
    teacher: Path, tmp_path: Path
) -> None:
    text = "vocab(keep=0.9) > distill(student=conv, width=16, channels=24, tokens=48, rate=0.01, T=1)"
    order = Order(model=teacher, output=tmp_path / "conv", recipe=parse_recipe(text), test=False)
    record = compress(make_plan(order))
    assert "16 wide and a convolution of 24 channels" in record["remarks"][1]
    assert record["parity_max_difference"] < 1e-4
    settings = read_extractor(order.output)
    assert (settings.max_tokens, settings.stride) == (48, None)
    long = "a b " * 50
    (read,) = Runtime.load(order.output).windows_of(long).windows
    assert len(read) == 48 > read_extractor(teacher).max_tokens

    again = replace(order, model=order.output, output=tmp_path / "again")
    with pytest.raises(InputError, match=r"step 1 \(prune\): this model has no attention"):
        make_plan(replace(again, recipe=parse_recipe("prune(heads=0.5)")))
    with pytest.raises(InputError, match="no feed-forward layers, which --budget searches; give a recipe"):
        make_plan(replace(again, recipe=None, budget=parse_budget("size_mb<=1")))
    assert (
        make_plan(replace(again, recipe=parse_recipe("lowrank(embeddings=4) > quantize(int8)"))).shape.kernel
        == 3
    )
