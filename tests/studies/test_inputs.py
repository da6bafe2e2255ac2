"""What stored rows were made from is compared by content, before anything is trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from sympress.compression.recipe.language import parse_recipe
from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.files import check_claim
from sympress.labels.lexicon import load_lexicon
from sympress.models.encoder import fingerprint_encoder, load_encoder
from sympress.notes.read import NOTE_SCHEMA
from sympress.notes.split import Split
from sympress.notes.synthesize import synthesize
from sympress.pipeline.tune import Search, run_tuning
from sympress.progress import Reporter
from sympress.provenance import fingerprint_frame, fingerprint_lexicon, fingerprint_split
from sympress.studies.data import prepare
from sympress.studies.folder import RunFolder
from sympress.studies.results import reread
from sympress.studies.rows import made_by
from sympress.studies.run import run_study

TRAINERS = (
    "sympress.studies.rows.train_baseline",
    "sympress.studies.mentions.train_artifact",
    "sympress.pipeline.tune._share_baseline",
    "sympress.pipeline.tune.train_strategy",
)
OWN = 'extends = "more.toml"\n[[symptom]]\nid = "fever"\nadd_forms = ["hot as an oven"]\n'
MORE = """extends = "none"
[[symptom]]
id = "fever"
name = "fever"
forms = ["fever", "febrile"]
[[symptom]]
id = "cough"
name = "cough"
forms = ["cough", "coughing"]
"""
NOTES, LEXICON = "the notes, or their order, changed", "the lexicon changed"


class TrainedError(Exception):
    """Stands for hours of training."""


@pytest.fixture(scope="module", autouse=True)
def begins() -> Iterator[None]:
    """Whatever would train says so instead: a run that begins, or that goes on, ends there."""

    def trained(*_: object, **__: object) -> None:
        raise TrainedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sympress.studies.run.try_encoder", lambda *_: None)
        for name in TRAINERS:
            patch.setattr(name, trained)
        yield


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    said = ("fever since Monday", "coughing at night")
    return [
        {
            "note_id": f"n{n}",
            "patient_id": f"p{n}",
            "text": f"Patient {n} {n * 7} reports {said[n % 2]} {n * 31}.",
        }
        for n in range(120)
    ]


@pytest.fixture(scope="module")
def inputs(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], encoder_folder: Path
) -> Path:
    """Everything that a study reads, as files."""
    folder = tmp_path_factory.mktemp("inputs") / "inputs"
    shutil.copytree(encoder_folder, folder / "encoder")
    write(folder, rows)
    (folder / "own.toml").write_text(OWN)
    (folder / "more.toml").write_text(MORE)
    return folder


@pytest.fixture
def place(tmp_path: Path, inputs: Path) -> Path:
    """`inputs`, to be changed."""
    return Path(shutil.copytree(inputs, tmp_path / "inputs"))


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "notes.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


def config(place: Path, **settings: Any) -> StudyConfig:
    files = {"notes": place / "notes.jsonl", "lexicon": str(place / "own.toml")}
    small = {"protocol": "clinical", "epochs": 1, "max_tokens": 16, "top_k": 2, "split": "random"}
    return StudyConfig(**{**files, "encoder": str(place / "encoder"), **small, **settings})


def study(place: Path, run: Path) -> None:
    run_study(config(place), run)


def mentions(place: Path, run: Path) -> None:
    run_study(config(place, task="mentions", labels="silver"), run)


def tune(place: Path, run: Path) -> None:
    run_tuning(config(place), Search("baseline", trials=1), run)


def reverse(place: Path, rows: list[dict[str, Any]]) -> None:
    write(place, rows[::-1])


def lose_one(place: Path, rows: list[dict[str, Any]]) -> None:
    write(place, rows[1:])


def lose_many(place: Path, rows: list[dict[str, Any]]) -> None:
    write(place, rows[:90])


def edit_a_word(place: Path, rows: list[dict[str, Any]]) -> None:
    write(place, [rows[0] | {"text": rows[0]["text"] + "."}, *rows[1:]])


def rename_a_patient(place: Path, rows: list[dict[str, Any]]) -> None:
    write(place, [rows[0] | {"patient_id": "somebody"}, *rows[1:]])


def edit_the_lexicon(place: Path, _rows: object) -> None:
    (place / "own.toml").write_text(OWN.replace("oven", "stove"))


def edit_what_it_extends(place: Path, _rows: object) -> None:
    (place / "more.toml").write_text(MORE.replace("febrile", "pyrexia"))


def change_weights(place: Path, _rows: object) -> None:
    model = AutoModel.from_pretrained(place / "encoder")
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1.0
    model.save_pretrained(place / "encoder")


def change_word_pieces(place: Path, _rows: object) -> None:
    path = place / "encoder" / "tokenizer.json"
    path.write_text(path.read_text().replace('"lowercase": true', '"lowercase": false'))


Change = Callable[[Path, Any], None]
Command = Callable[[Path, Path], None]
CHANGES: list[tuple[Change, str]] = [
    (reverse, NOTES),
    (lose_one, NOTES),
    (lose_many, NOTES),
    (edit_a_word, NOTES),
    (rename_a_patient, NOTES),
    (edit_the_lexicon, LEXICON),
    (edit_what_it_extends, LEXICON),
    (change_weights, "the encoder changed"),
    (change_word_pieces, "the encoder changed"),
]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, inputs: Path, begins: None) -> Callable[[Command], Path]:
    """Runs that a command began, and went on with when it was given again."""
    runs: dict[Command, Path] = {}

    def run(command: Command) -> Path:
        if command not in runs:
            runs[command] = tmp_path_factory.mktemp(command.__name__) / "run"
            for _ in range(2):  # the second call goes on
                with pytest.raises(TrainedError):
                    command(inputs, runs[command])
        return runs[command]

    return run


@pytest.mark.parametrize(("change", "said"), CHANGES, ids=lambda one: getattr(one, "__name__", ""))
def test_a_study_is_refused_when_an_input_changed(
    begun: Callable[[Command], Path], place: Path, rows: list[dict[str, Any]], change: Change, said: str
) -> None:
    refuses(study, begun, place, rows, change, said)


@pytest.mark.parametrize("command", [mentions, tune])
@pytest.mark.parametrize(("change", "said"), [CHANGES[0], CHANGES[5], CHANGES[7]])
def test_so_are_the_other_commands_that_train(
    begun: Callable[[Command], Path],
    place: Path,
    rows: list[dict[str, Any]],
    command: Command,
    change: Change,
    said: str,
) -> None:
    refuses(command, begun, place, rows, change, said)


def refuses(
    command: Command,
    begun: Callable[[Command], Path],
    place: Path,
    rows: list[dict[str, Any]],
    change: Change,
    said: str,
) -> None:
    run = Path(shutil.copytree(begun(command), place.with_name("run")))
    before = (run / "study.json").read_bytes()
    change(place, rows)
    with pytest.raises(InputError) as refused:
        command(place, run)
    assert str(refused.value) == f"{run}: {said} since it was begun; undo that, or choose another -o"
    assert (run / "study.json").read_bytes() == before


@pytest.mark.parametrize("command", [study, mentions])
def test_files_that_moved_are_the_same_files(place: Path, tmp_path: Path, command: Any) -> None:
    with pytest.raises(TrainedError):
        command(place, tmp_path / "run")
    moved = place.rename(tmp_path / "elsewhere")
    with pytest.raises(TrainedError):
        command(moved, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "study.json").read_text())["config"]["encoder"].startswith(
        str(moved)
    )


def test_labels_by_people_are_inputs(place: Path, tmp_path: Path, encoder_folder: Path) -> None:
    notes = [
        {
            "note_id": str(n),
            "text": f"{'fever' if n % 2 else 'cough'} {n}",
            "codes": [["cough", "fever"][n % 2]],
        }
        for n in range(80)
    ]
    frame = pl.DataFrame(notes)

    def call() -> None:
        frame.write_parquet(place / "notes.parquet")
        run_study(
            config(place, notes=place / "notes.parquet", labels="coded", task="present"),
            tmp_path / "run",
        )

    with pytest.raises(TrainedError):
        call()
    frame = frame.with_columns(
        pl.when(pl.col("note_id") == "7").then(["cough"]).otherwise("codes").alias("codes")
    )
    with pytest.raises(InputError, match="the notes, or their order, changed since"):
        call()


@pytest.mark.parametrize(
    "stored", [{"format": 1}, {"format": 1, "inputs": None}, {"format": 2, "inputs": {}}]
)
def test_a_folder_of_an_older_version_is_refused(place: Path, tmp_path: Path, stored: dict[str, Any]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    settings = config(place).resolved().model_dump(mode="json")
    (run / "study.json").write_text(json.dumps({**stored, "config": settings}))
    with pytest.raises(InputError) as refused:
        study(place, run)
    assert str(refused.value) == (
        f"{run}: an older sympress began it and did not note what its inputs held; choose another -o"
    )


def test_stored_predictions_are_not_read_beside_other_labels(
    place: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(TrainedError):
        study(place, tmp_path / "run")
    assert reread(tmp_path / "run").config == config(place).resolved()
    reverse(place, rows)
    with pytest.raises(
        InputError, match=r"changed since it was begun; undo that, or run the study again with"
    ):
        reread(tmp_path / "run")


def test_a_row_tells_its_transfer_notes_apart(tmp_path: Path) -> None:
    recipe, run = parse_recipe("quantize(int8)"), RunFolder(tmp_path)
    run.write_row("small", 0, made_by(recipe, ["a note", "another"]), {})
    assert run.has_row("small", 0, made_by(recipe, ["a note", "another"]))
    assert not run.has_row("small", 1, made_by(recipe, []))
    with pytest.raises(InputError, match=r"row 'small': its transfer is '.*'; give this recipe another name"):
        run.has_row("small", 0, made_by(recipe, ["another", "a note"]))


def test_the_first_input_that_explains_the_others_is_named() -> None:
    found = {"settings": {"seed": 0}, "inputs": {"split": "1", "labels": "1", "notes": "1"}}
    with pytest.raises(InputError, match=r"^run: the notes, or their order, changed since"):
        check_claim("run", found, {"seed": 0}, {"split": "2", "labels": "2", "notes": "2"})
    with pytest.raises(InputError, match=r"^run: its seed is 0, not 1; choose another -o$"):
        check_claim("run", found, {"seed": 1}, {"split": "2"})
    check_claim("run", found, {}, {"split": "1"})


@pytest.mark.parametrize(
    ("column", "one", "other"),
    [
        ("text", ["ab", "c"], ["a", "bc"]),
        ("text", ["", "a"], ["a", ""]),
        ("patient_id", [None, ""], ["", None]),
        ("age", [None, 0.0], [0.0, None]),
        ("sex", ["F", "M"], ["M", "F"]),
        ("codes", [["a", "b"], []], [["a"], ["b"]]),
        ("codes", [None, ["a"]], [[], ["a"]]),
    ],
)
def test_no_two_sets_of_notes_have_one_fingerprint(column: str, one: list[Any], other: list[Any]) -> None:
    marks = {
        fingerprint_frame(pl.DataFrame({column: values}, schema={column: NOTE_SCHEMA[column]}))
        for values in (one, other)
    }
    assert len(marks) == 2


def test_fingerprints_do_not_depend_on_how_a_frame_or_a_file_lies(place: Path) -> None:
    frame = synthesize(100, seed=0).frame
    assert fingerprint_frame(pl.concat([frame[:30], frame[30:]], rechunk=False)) == fingerprint_frame(frame)
    lexicon = load_lexicon(place / "own.toml")
    assert fingerprint_lexicon(replace(lexicon, name="another")) == fingerprint_lexicon(lexicon)
    assert fingerprint_lexicon(load_lexicon("clinical")) != fingerprint_lexicon(lexicon)
    data = prepare(config(place).resolved(), Reporter(quiet=True))
    swapped = Split(data.split.train, data.split.test, data.split.validation, data.split.counts)
    assert fingerprint_split(swapped) != data.inputs["split"]


def test_an_encoder_is_the_same_after_use_and_without_what_its_files_lack(place: Path) -> None:
    encoder = load_encoder(str(place / "encoder"))
    mark = fingerprint_encoder(encoder)
    encoder.tokenizer(["fever and cough"] * 2, padding=True, truncation=True, max_length=4)
    assert fingerprint_encoder(encoder) == mark
    AutoModel.from_pretrained(place / "encoder", add_pooling_layer=False).save_pretrained(place / "bare")
    AutoTokenizer.from_pretrained(place / "encoder").save_pretrained(place / "bare")
    fresh = [load_encoder(str(place / "bare")) for _ in range(2)]
    assert any("pooler" in name for name in fresh[0].fresh)
    assert not np.array_equal(*(one.model.state_dict()["pooler.dense.weight"].numpy() for one in fresh))
    assert len({fingerprint_encoder(one) for one in fresh}) == 1
