from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.files import write_json
from sympress.labels.mentions import LabelSet, Mention
from sympress.progress import Reporter
from sympress.report.page import Example
from sympress.studies.compare import compare_paths, compare_runs
from sympress.studies.data import prepare
from sympress.studies.folder import RunFolder
from sympress.studies.labelled import negated_label_share
from sympress.studies.results import error_examples

CONFIG = {"protocol": "paper", "synthetic_notes": 400, "encoder": "bundled"}


@pytest.fixture(scope="module")
def data():
    return prepare(StudyConfig(**CONFIG).resolved(), Reporter(quiet=True))


@pytest.fixture
def make_run(tmp_path, data):
    """A run folder with the predictions of two rows, `wrong` of the first notes answered wrongly."""

    def make(name, wrong, **settings):
        folder = tmp_path / name
        write_json(
            folder / "study.json",
            claim_of(StudyConfig(**(CONFIG | settings)).resolved()),
        )
        truth = data.labels.targets[data.split.test].astype(float)
        rows = []
        for row, mistakes in (("baseline", 0), ("safe", wrong)):
            answered = truth.copy()
            answered[:mistakes] = np.roll(answered[:mistakes], 1, axis=1)
            RunFolder(folder).write_row(row, 0, {"thresholds": None}, {"test": answered})
            rows.append(result_row(row))
        write_json(folder / "results.json", results_of(data, rows))
        return folder

    return make


def claim_of(config):
    """What a study writes into its folder, of its data."""
    inputs = prepare(config, Reporter(quiet=True)).inputs
    return {"format": 2, "config": config.model_dump(mode="json"), "inputs": dict(inputs)}


def result_row(name):
    number = {"value": 1.0}
    changes = {"notes": 1, "flipped_notes": 0, "flipped_answers": 0, "corrected": 0, "spoiled": 0}
    return {
        "name": name,
        "seed": 0,
        "recipe": "r",
        "quality": dict.fromkeys(("accuracy", "precision", "recall", "f1", "auroc"), number),
        "cost": {
            "size_bytes": 1, "latency_ms_p50": 1.0, "latency_ms_p95": 1.0, "notes_per_second": 1.0,
            "peak_rss_bytes": 1, "runtime": "r", "threads": 1, "train_seconds": 1.0,
        },
        "changes": None if name == "baseline" else changes,
    }  # fmt: skip


def results_of(data, rows):
    return {
        "format": 1,
        "protocol": "paper",
        "task": "topic",
        "data": data.description.model_dump(mode="json"),
        "strategies": rows,
        "environment": {},
    }


def test_two_runs_are_compared_row_by_row_on_the_same_notes(make_run):
    same, worse = compare_runs(make_run("a", 0), make_run("b", 4))
    assert (same.name, same.differing, same.micro_difference.value, same.p_mcnemar) == (
        "baseline",
        0,
        0.0,
        1.0,
    )
    assert (worse.name, worse.differing) == ("safe", 4)
    assert worse.micro_f1_a == 1.0
    assert worse.micro_difference.value == pytest.approx(-4 / worse.notes)
    assert worse.micro_difference.high <= 0
    assert worse.p_mcnemar == pytest.approx(2 * 0.5**4)
    assert worse.p_holm >= worse.p_macro
    assert worse.as_json()["macro_difference"]["value"] == worse.macro_difference.value


def test_runs_on_other_notes_are_refused(make_run):
    with pytest.raises(InputError, match=r"not tested on the same notes|not about the same task"):
        compare_runs(make_run("a", 0), make_run("b", 0, synthetic_notes=500))


def test_what_is_neither_run_nor_artifact_is_refused(make_run, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: neither a run \(study.json\) nor an artifact"):
        compare_paths(make_run("a", 0), tmp_path / "empty")
    (tmp_path / "empty" / "extractor.json").write_text("{}")
    with pytest.raises(InputError, match=r"is a run and .*empty is an artifact: give two of a kind"):
        compare_paths(tmp_path / "a", tmp_path / "empty")


def test_examples_are_the_notes_whose_answer_is_wrong_or_flipped(make_run, data):
    found = error_examples(make_run("a", 2))
    assert [type(one) for one in found] == [Example] * 2
    assert found[0].note_id == data.frame["note_id"][int(data.split.test[0])]
    assert found[0].truth == found[0].baseline != found[0].found


def test_labels_by_a_negated_mention_are_counted():
    texts = ["no fever", "fever", "mother had fever", "cough"]
    frame = pl.DataFrame({"text": texts})
    targets = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.uint8)
    labels = LabelSet(
        task="topic", symptoms=("fever", "cough"), note_ids=("0", "1", "2", "3"), targets=targets,
        provenance="silver", rule="first", counts={},
    )  # fmt: skip
    said = {"no fever": "absent", "fever": "present", "mother had fever": "family"}

    def annotate(text):
        start = text.find("fever")
        return [] if start < 0 else [Mention(start, start + 5, "F", said[text])]

    assert list(negated_label_share(frame, labels, annotate, names={"F": "fever"}).values()) == [1, 1, 1]
    assert list(
        negated_label_share(frame, labels, annotate, text_window=5, names={"F": "fever"}).values()
    ) == [
        0,
        0,
        3,
    ]


@pytest.fixture
def make_artifact(tmp_path, data):
    """An artifact as far as it is read without its model: what it finds and what it was made from."""

    def make(name, fingerprint=data.description.fingerprint, **settings):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "extractor.json").write_text("{}")
        config = StudyConfig(**(CONFIG | settings)).resolved().model_dump(mode="json")
        write_json(folder / "provenance.json", {"config": config, "data_fingerprint": fingerprint})
        return folder

    return make


@pytest.fixture
def _runtime(monkeypatch, data):
    """Models that know the truth, but for the first three notes of artifact `b`."""
    truth = data.labels.targets[data.split.test].astype(float)

    class Model:
        def __init__(self, wrong):
            self.extractor = SimpleNamespace(thresholds=None, symptoms=data.labels.symptoms)
            self.wrong = wrong

        @classmethod
        def load(cls, folder):
            return cls(3 if folder.name == "b" else 0)

        def predict(self, texts):
            answered = truth.copy()
            answered[: self.wrong] = np.roll(answered[: self.wrong], 1, axis=1)
            assert len(texts) == len(answered)
            return answered

    monkeypatch.setattr("sympress.studies.compare.Runtime", Model)
    monkeypatch.setattr("sympress.studies.compare.read_extractor", lambda path: Model.load(path).extractor)


@pytest.mark.usefixtures("_runtime")
def test_two_artifacts_are_run_on_the_test_notes_they_were_made_beside(make_artifact):
    (row,) = compare_paths(make_artifact("a"), make_artifact("b"))
    assert (row.name, row.seed, row.differing, row.micro_f1_a) == ("a → b", None, 3, 1.0)
    assert row.micro_difference.value == pytest.approx(-3 / row.notes)
    assert row.p_mcnemar == pytest.approx(2 * 0.5**3)


@pytest.mark.usefixtures("_runtime")
def test_artifacts_of_other_notes_or_splits_are_refused(make_artifact):
    first = make_artifact("a")
    with pytest.raises(InputError, match="not made from the same notes, labels and split"):
        compare_paths(first, make_artifact("c", fingerprint="other"))
    with pytest.raises(InputError, match="not made from the same notes, labels and split"):
        compare_paths(first, make_artifact("d", fraction=0.5))


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Coded reports of three years."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(900):
        has = random.random(3) < (0.5, 0.4, 0.3)
        codes = [code for code, there in zip(("Pyrexia", "Cough", "Rash"), has, strict=True) if there]
        letters = " ".join(random.choice(list("abcdefghijklmnop"), 8))
        rows.append(
            {
                "note_id": f"n{number}",
                "patient_id": f"p{number}",
                "time": datetime(2003 + number % 3, 5, 1),
                "text": f"{letters} {' '.join(codes)}",
                "codes": codes,
            }
        )
    path = tmp_path_factory.mktemp("reports") / "coded.parquet"
    pl.DataFrame(rows).write_parquet(path)
    return path


class Reader:
    """A model that reads the codes off the text; artifact `b` never sees a rash."""

    def __init__(self, symptoms, blind):
        self.extractor = SimpleNamespace(thresholds=None, symptoms=symptoms)
        self.blind = blind

    def predict(self, texts):
        found = np.array([[symptom in text for symptom in self.extractor.symptoms] for text in texts])
        found[:, [symptom == "Rash" for symptom in self.extractor.symptoms]] &= not self.blind
        return found.astype(float)


SHARE = {
    "protocol": "clinical", "task": "present", "labels": "coded", "split": "time", "encoder": "bundled",
    "fraction": 0.3, "top_k": 3, "validation_from": "2004-01-01", "test_from": "2005-01-01",
}  # fmt: skip


def test_artifacts_are_judged_by_more_test_notes_than_their_own(tmp_path, monkeypatch, reports):
    config = StudyConfig(**SHARE, notes=reports).resolved()
    own = prepare(config, Reporter(quiet=True))
    monkeypatch.setattr(
        "sympress.studies.compare.Runtime",
        SimpleNamespace(load=lambda path: Reader(own.labels.symptoms, path.name == "b")),
    )
    monkeypatch.setattr(
        "sympress.studies.compare.read_extractor", lambda _: Reader(own.labels.symptoms, False).extractor
    )
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "extractor.json").write_text("{}")
        write_json(
            tmp_path / name / "provenance.json",
            {
                "config": config.model_dump(mode="json"),
                "data_fingerprint": own.description.fingerprint,
            },
        )
    pair = tmp_path / "a", tmp_path / "b"
    (few,) = compare_paths(*pair)
    reporter, told = Reporter(quiet=True), []
    monkeypatch.setattr(reporter, "step", lambda *done: told.append(done))
    (more,) = compare_paths(*pair, test_fraction=1.0, reporter=reporter)
    answered = [done for done in told if done[0].endswith("answers")]
    assert answered == [(f"{name} answers", done, 300) for name in "ab" for done in (256, 300)]
    assert more.notes == 300
    assert (few.notes, more.notes) == (len(own.split.test), 300)
    assert few.micro_f1_a == more.micro_f1_a == 1.0
    assert (
        more.differing
        == pl.read_parquet(reports)
        .filter(pl.col("codes").list.contains("Rash") & (pl.col("time").dt.year() == 2005))
        .height
    )
    width = [one.micro_difference.high - one.micro_difference.low for one in (few, more)]
    assert width[1] < width[0]
    with pytest.raises(InputError, match=r"--test-fraction 0.2: give more than 0.3"):
        compare_paths(*pair, test_fraction=0.2)
    with pytest.raises(InputError, match="not made from the same notes"):
        compare_paths(tmp_path / "a", _elsewhere(tmp_path, config, own), test_fraction=1.0)


def test_what_a_run_pressed_is_judged_by_further_test_notes_and_answered_once(tmp_path, monkeypatch, reports):
    config = StudyConfig(**SHARE, notes=reports, seeds=2).resolved()
    own = prepare(config, Reporter(quiet=True))
    loaded = []

    def load(path):
        loaded.append(path.name)
        return Reader(own.labels.symptoms, path.name.startswith("safe"))

    monkeypatch.setattr("sympress.studies.compare.Runtime", SimpleNamespace(load=load))
    run = tmp_path / "run"
    write_json(run / "study.json", claim_of(config))
    names = [(name, seed) for seed in (0, 1) for name in ("baseline", "safe", "tfidf")]
    write_json(run / "results.json", results_of(own, [result_row(name) | {"seed": at} for name, at in names]))
    for name, seed in names:
        artifact = run / "artifacts" / f"{name}-seed{seed}"
        artifact.mkdir(parents=True)
        if name != "tfidf":  # a reference is no artifact
            for file in ("extractor.json", "model.onnx", "tokenizer.json"):
                (artifact / file).write_text(artifact.name)
    for _ in range(2):  # the second time from what the first stored, whatever the card says by then
        (run / "artifacts" / "safe-seed0" / "README.md").write_text("a new card")
        rows = compare_paths(run, test_fraction=1.0)
        assert [(row.name, row.seed, row.notes, row.micro_f1_a) for row in rows] == [
            ("safe", 0, 300, 1.0),
            ("safe", 1, 300, 1.0),
        ]
        assert rows[0].micro_difference.high < 0
        assert rows[0].p_holm >= rows[0].p_macro
    assert loaded == ["baseline-seed0", "safe-seed0", "baseline-seed1", "safe-seed1"]
    moved = reports.rename(reports.with_name("moved.parquet"))
    try:
        assert compare_paths(run, notes=moved, test_fraction=1.0) == rows
    finally:
        moved.rename(reports)
    for alone in (run, run / "artifacts" / "safe-seed0"):
        with pytest.raises(InputError, match=r"^give two runs or two artifacts, or one run with --test-frac"):
            compare_paths(alone)


def _elsewhere(tmp_path, config, own):
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "extractor.json").write_text("{}")
    told = config.model_copy(update={"split": "patient"}).model_dump(mode="json")
    write_json(folder / "provenance.json", {"config": told, "data_fingerprint": own.description.fingerprint})
    return folder


@pytest.mark.usefixtures("_runtime")
def test_further_test_notes_belong_to_coded_notes_split_by_time(make_run, make_artifact):
    with pytest.raises(InputError, match="--test-fraction is for artifacts of the task present"):
        compare_paths(make_artifact("a"), make_artifact("b"), test_fraction=1.0)
    with pytest.raises(InputError, match="--notes and --test-fraction are for two artifacts, or for"):
        compare_paths(make_run("r", 0), make_run("s", 0), test_fraction=1.0)


def test_spans_are_not_compared(make_run):
    first, second = make_run("a", 0), make_run("b", 0)
    path = first / "results.json"
    path.write_text(path.read_text().replace('"task": "topic"', '"task": "mentions"'))
    with pytest.raises(InputError, match="spans of the task mentions are not compared"):
        compare_runs(first, second)
