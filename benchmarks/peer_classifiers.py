"""Classifiers of sympress beside those of other libraries: `benchmarks.peer_classifiers RUN RUN -o FILE`.

All answer the same reports of 2005, which chose nothing, at thresholds that our own rule chooses on
the same reports of 2004. The first run is a study of a model without attention, from labels alone; the second
one of the packaged encoder, whose fine-tuned weights three rows of other libraries share with `minilm-int8`.
What a library can't do here is a row that says why. Every contender gets all texts at once, with its own
batch size; seconds are of the processor, in turn on one core.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from benchmarks.peer_medspacy import ask_peer
from benchmarks.peer_models import LONGEST, MODEL2VEC_PASSES, PEERS, SETFIT_STEPS
from benchmarks.peers import measure
from benchmarks.trials import cap_rows, score_f1
from sympress.errors import InputError, bundled_encoder_folder
from sympress.files import write_json
from sympress.labels.task import task_of
from sympress.models.model import load_model
from sympress.notes.intake import keep_patient
from sympress.provenance import environment
from sympress.results import load_results
from sympress.runtime.artifact import model_file, read_extractor
from sympress.runtime.session import Runtime
from sympress.studies.judge import choose_operating_point
from sympress.studies.results import Reread, reread

TASK = "present"
#: The row that the others are compared with, and what follows it in the same study.
REFERENCE, FUSED, INT8 = "small", "small-fused", "minilm-int8"
#: Reports of each symptom that SetFit learns from.
SHOTS = 8
SCRIPT = Path(__file__).with_name("peer_models.py")

#: Answers texts with uncalibrated probabilities `(notes, K)`, and says the processor seconds that took.
Answer = Callable[[Sequence[str]], tuple[NDArray[np.float64], float]]


@dataclass(frozen=True)
class Reports:
    """What contenders learn from and are judged by: texts, and labels `(notes, K)` of 0 and 1."""

    texts: list[str]
    labels: NDArray[np.uint8]

    @classmethod
    def of(cls, study: Reread, rows: NDArray[np.int64]) -> Reports:
        """Those in `rows` of the notes of a study."""
        return cls(study.data.texts_of(rows), study.data.labels.targets[rows])

    def shots(self, count: int) -> Reports:
        """`count` reports of each symptom, drawn the same way each time."""
        order = np.random.default_rng(0).permutation(len(self.texts))
        each = [order[self.labels[order, column] == 1][:count] for column in range(self.labels.shape[1])]
        rows = np.unique(np.concatenate(each))
        return Reports([self.texts[row] for row in rows], self.labels[rows])


@dataclass(frozen=True)
class Contender:
    """What answers, the bytes of its weights, and how many reports it learned from."""

    answer: Answer
    size_bytes: int
    trained_on: int


def ours(folder: Path, trained_on: int) -> Contender:
    """An artifact."""
    runtime = Runtime.load(folder)
    runtime.predict_logits(["c/o fever and chills, denies cough"])  # whatever is made once is made now

    def answer(texts: Sequence[str]) -> tuple[NDArray[np.float64], float]:
        used = time.process_time()
        found = task_of(TASK).probabilities(runtime.predict_logits(texts))
        return found, time.process_time() - used

    return Contender(answer, model_file(folder).stat().st_size, trained_on)


def peer(python: Path, name: str, folder: Path, learned: Reports | None, given: dict[str, Any]) -> Contender:
    """A classifier of another library, in the environment of `python`; made once.

    Args:
        python: of that environment.
        name: one of `PEERS`.
        folder: for its files.
        learned: what it is trained on; None for weights that are fine-tuned already.
        given: `encoder` and `weights`, as `peer_models` takes them, and `trained_on` of the weights.

    Raises:
        InputError: it can't be made there.
    """
    script, made = SCRIPT.read_text("utf-8"), folder / "made.json"
    if not made.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        notes = {} if learned is None else {"texts": learned.texts, "labels": learned.labels.tolist()}
        asked = {"do": "prepare", "peer": name, "folder": str(folder), **given, **notes}
        made_so = ask_peer(python, script, asked, name)
        trained_on = given["trained_on"] if learned is None else len(learned.texts)
        write_json(made, {**made_so, "trained_on": trained_on})
    known = json.loads(made.read_text("utf-8"))

    def answer(texts: Sequence[str]) -> tuple[NDArray[np.float64], float]:
        asked = {"do": "answer", "peer": name, "folder": str(folder), "texts": list(texts)}
        found = ask_peer(python, script, asked, name)
        return np.array(found["probabilities"]), float(found["cpu_seconds"])

    return Contender(answer, known["size_bytes"], known["trained_on"])


def write_checkpoint(artifact: Path, folder: Path) -> Path:
    """Write the weights of an artifact of BERT as transformers' own classifier has them.

    Its head differs: sympress pools the maximum over tokens, see `peer_models.classifier_class`.
    """
    model, symptoms = load_model(artifact), read_extractor(artifact).symptoms
    folder.mkdir(parents=True, exist_ok=True)
    names = {str(number): name for number, name in enumerate(symptoms)}
    config = {
        **model.encoder.config.to_dict(),
        "architectures": ["BertForSequenceClassification"],
        "id2label": names,
        "label2id": {name: int(number) for number, name in names.items()},
        "problem_type": "multi_label_classification",
    }
    write_json(folder / "config.json", config)
    tensors = {f"bert.{name}": value for name, value in model.encoder.state_dict().items()}
    tensors |= {f"classifier.{name}": value for name, value in model.head.output.state_dict().items()}
    save_file(
        {name: value.contiguous() for name, value in tensors.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(artifact / file, folder / file)
    return folder


def judge(
    contenders: dict[str, Contender], validation: Reports, test: Reports
) -> tuple[dict[str, NDArray[np.bool_]], dict[str, str]]:
    """What each affirms of the test reports `(notes, K)`, at thresholds of its own; and why some don't.

    Args:
        contenders: by name.
        validation: what chooses thresholds.
        test: what is answered.
    """
    affirmed, failed = {}, {}
    for name, contender in contenders.items():
        try:
            found, _ = contender.answer([*validation.texts, *test.texts])
        except InputError as error:
            failed[name] = str(error)
            continue
        chosen_by, judged = np.split(found, [len(validation.texts)])
        point = choose_operating_point(TASK, chosen_by, validation.labels)
        affirmed[name] = task_of(TASK).affirmed(point.apply(TASK, judged), point.thresholds)
    return affirmed, failed


def compare(
    contenders: dict[str, Contender],
    validation: Reports,
    test: Reports,
    *,
    timed: int,
    rounds: int,
) -> dict[str, Any]:
    """F1 with intervals, bytes and notes a processor second of each, and its difference to `REFERENCE`.

    Args:
        contenders: by name, with `REFERENCE` first.
        validation: what chooses thresholds.
        test: what is scored.
        timed: test reports that are answered for the clock, evenly spread.
        rounds: how often; figures are medians.
    """
    affirmed, failed = judge(contenders, validation, test)
    truth = test.labels.astype(bool)
    scores = score_f1(affirmed, truth, np.arange(len(truth)))
    texts = test.texts[:: max(1, len(test.texts) // timed)][:timed]
    asked = {name: _seconds(contenders[name].answer) for name in affirmed}
    speeds = measure(asked, texts, rounds, reference=REFERENCE)
    rows: dict[str, Any] = {
        name: {
            "trained_on": contenders[name].trained_on,
            "size_bytes": contenders[name].size_bytes,
            **scores["models"][name],
            "minus_reference": {
                kind: {"value": -one["value"], "low": -one["high"], "high": -one["low"]}
                for kind, one in scores["first_minus"].get(name, {}).items()
            },
            **speeds[name],
        }
        for name in affirmed
    }
    return {
        "symptoms": scores["symptoms"],
        "rounds": rounds,
        "timed": {"notes": len(texts), "characters": sum(map(len, texts))},
        "rows": rows | {name: {"missing": why} for name, why in failed.items()},
    }


def _seconds(answer: Answer) -> Callable[[Sequence[str]], float]:
    return lambda texts: answer(texts)[1]


def enter(
    python: Path, training: Reports, minilm: Path, work: Path
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Make every peer that can be made; and say why the others can't.

    Args:
        python: of the peers' environment.
        training: what Model2Vec, and in part SetFit, learn from.
        minilm: the run whose fine-tuned weights the others share.
        work: for their files.
    """
    weights = write_checkpoint(minilm / "artifacts" / "baseline-seed0", work / "checkpoint")
    given = {
        "encoder": str(bundled_encoder_folder()),
        "weights": str(weights),
        "trained_on": load_results(minilm).data.train,
    }
    learned = {"model2vec": training, "setfit": training.shots(SHOTS)}
    made, missing = {}, {}
    for name in PEERS:
        try:
            made[name] = peer(python, name, work / name, learned.get(name), given)
        except InputError as error:
            missing[name] = str(error)
    return made, missing


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the peers, judge all and write the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peer_classifiers", description=__doc__)
    parser.add_argument("convolution", type=Path, help=f"run of a study with the rows {REFERENCE}, {FUSED}")
    parser.add_argument("minilm", type=Path, help="run of a study of the packaged encoder with a row int8")
    parser.add_argument("--peer-python", type=Path, required=True, help="Python of the peers' environment")
    parser.add_argument("--work", type=Path, required=True, help="folder for the peers' files; continues")
    parser.add_argument("--used", type=float, default=0.4, help="share of patients that judged before")
    parser.add_argument("--validation", type=int, default=1000, help="reports that choose thresholds")
    parser.add_argument("--test", type=int, default=2000, help="reports that are scored")
    parser.add_argument("--timed", type=int, default=100, help="reports that are timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    study = reread(given.convolution)
    split = study.data.split
    ids = study.data.frame["note_id"].gather(split.test).to_list()
    fresh = split.test[[not keep_patient(one, given.used) for one in ids]]
    training = Reports.of(study, split.train)
    validation = Reports.of(study, cap_rows(split.validation, given.validation))
    test = Reports.of(study, cap_rows(fresh, given.test))
    learned = load_results(given.minilm).data.train
    contenders = {
        name: ours(given.convolution / "artifacts" / f"{name}-seed0", len(split.train))
        for name in (REFERENCE, FUSED)
    }
    contenders[INT8] = ours(given.minilm / "artifacts" / "int8-seed0", learned)
    peers, missing = enter(given.peer_python, training, given.minilm, given.work)
    found = compare(contenders | peers, validation, test, timed=given.timed, rounds=given.rounds)
    found["rows"] |= {name: {"missing": why} for name, why in missing.items()}
    about = {
        "format": 1,
        "validation": len(validation.texts),
        "test": len(test.texts),
        "used": given.used,
        "shots": SHOTS,
        "setfit_steps": SETFIT_STEPS,
        "model2vec_passes": MODEL2VEC_PASSES,
        "longest": LONGEST,
    }
    versions = ask_peer(given.peer_python, SCRIPT.read_text("utf-8"), {"do": "versions"}, "the peers")
    write_json(given.output, about | found | {"peer_versions": versions, "environment": environment()})


if __name__ == "__main__":
    main()
