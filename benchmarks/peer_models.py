"""Classifiers of other libraries, used as their documents say: run in an environment of theirs.

This file imports nothing of sympress, for `benchmarks.peer_classifiers` runs it there by `ask_peer`. Its
arguments are a file with the question and the file to write the answer to, both JSON:

    {"do": "prepare", "peer": …, "folder": …, "encoder": …, "weights": …, "texts": […], "labels": [[…], …]}
    {"do": "answer", "peer": …, "folder": …, "texts": […]}
    {"do": "versions"}

`prepare` writes to `folder` what is deployed and answers the bytes of its weights; `answer` loads that and
answers probabilities `(notes, K)`, and how many processor seconds they took. One thread, no hub.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "CUDA_VISIBLE_DEVICES": "",
}

Rows = list[list[float]]
Predict = Callable[[Sequence[str]], Rows]
#: Word pieces at which the pipelines cut a note, as many as the encoder has positions for.
LONGEST = 512
#: Steps of SetFit's contrastive training, of 16 pairs each: its minutes are bounded.
SETFIT_STEPS = 100
#: Passes of Model2Vec's classifier at most; it stops by itself when its own held-out tenth gets no better.
MODEL2VEC_PASSES = 10
PACKAGES = ("torch", "transformers", "optimum", "optimum-onnx", "onnxruntime", "model2vec", "setfit")


def classifier_class() -> Any:
    """BERT with the head that sympress trained: a maximum over the real tokens and one linear layer."""
    from transformers import BertForSequenceClassification
    from transformers.modeling_outputs import SequenceClassifierOutput

    class MaximumBert(BertForSequenceClassification):  # type: ignore[misc,unused-ignore]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.bert.pooler = None

        def forward(  # type: ignore[override,unused-ignore]
            self, input_ids: Any = None, attention_mask: Any = None, token_type_ids: Any = None, **_: Any
        ) -> Any:
            states = self.bert(
                input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state
            hidden = (attention_mask.unsqueeze(-1).to(states.dtype) - 1.0) * 1e4
            return SequenceClassifierOutput(logits=self.classifier((states + hidden).amax(1)))

    MaximumBert.__module__ = BertForSequenceClassification.__module__  # by which Optimum knows the library
    return MaximumBert


def _pipeline(model: Any, folder: Path) -> Predict:
    from transformers import AutoTokenizer, pipeline

    classify = pipeline(
        "text-classification",
        model=model,
        tokenizer=AutoTokenizer.from_pretrained(folder),
        device="cpu",
        top_k=None,
        function_to_apply="sigmoid",
    )
    column = model.config.label2id

    def predict(texts: Sequence[str]) -> Rows:
        found: Any = classify(list(texts), truncation=True, max_length=LONGEST)
        rows = [[0.0] * len(column) for _ in found]
        for row, answers in zip(rows, found, strict=True):
            for answer in answers:
                row[column[answer["label"]]] = answer["score"]
        return rows

    return predict


def load_transformers(folder: Path) -> Predict:
    """The pipeline of transformers, PyTorch in float."""
    return _pipeline(classifier_class().from_pretrained(folder).eval(), folder)


def load_optimum(folder: Path) -> Predict:
    """The same pipeline over ONNX Runtime, by Optimum."""
    from onnxruntime import SessionOptions
    from optimum.onnxruntime import ORTModelForSequenceClassification

    options = SessionOptions()
    options.intra_op_num_threads = 1
    name = next(path.name for path in folder.glob("*.onnx"))
    model = ORTModelForSequenceClassification.from_pretrained(
        folder, file_name=name, session_options=options, provider="CPUExecutionProvider"
    )
    return _pipeline(model, folder)


def load_model2vec(folder: Path) -> Predict:
    """Model2Vec's pipeline, which needs no PyTorch."""
    from model2vec.inference import StaticModelPipeline

    pipeline = StaticModelPipeline.from_pretrained(folder)

    def predict(texts: Sequence[str]) -> Rows:
        rows: Rows = pipeline.predict_proba(list(texts)).tolist()
        return rows

    return predict


def load_setfit(folder: Path) -> Predict:
    """SetFit's sentence encoder and its logistic regressions."""
    import numpy as np
    from setfit import SetFitModel

    model = SetFitModel.from_pretrained(str(folder), device="cpu")

    def predict(texts: Sequence[str]) -> Rows:
        rows: Rows = np.asarray(model.predict_proba(list(texts))).tolist()
        return rows

    return predict


def prepare_transformers(given: dict[str, Any], folder: Path) -> None:
    """The fine-tuned weights as they are."""
    model = classifier_class().from_pretrained(given["weights"])
    model.save_pretrained(folder)
    _copy_tokenizer(given["weights"], folder)


def prepare_optimum(given: dict[str, Any], folder: Path) -> None:
    """Optimum's export of the fine-tuned weights."""
    from optimum.exporters.onnx import onnx_export_from_model

    model = classifier_class().from_pretrained(given["weights"]).eval()
    onnx_export_from_model(model, output=folder, task="text-classification", device="cpu", do_validation=True)
    _copy_tokenizer(given["weights"], folder)


def prepare_optimum_int8(given: dict[str, Any], folder: Path) -> None:
    """Optimum's dynamic quantization of that export, with the settings of its documents for AVX-512."""
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    exported = folder / "exported"
    prepare_optimum(given, exported)
    settings = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=False)
    ORTQuantizer.from_pretrained(exported).quantize(save_dir=folder, quantization_config=settings)
    (exported / "model.onnx").unlink()
    _copy_tokenizer(given["weights"], folder)


def prepare_model2vec(given: dict[str, Any], folder: Path) -> None:
    """A static model distilled from the encoder, and its classifier trained on all reports."""
    from model2vec.distill import distill
    from model2vec.train import StaticModelForClassification

    static = distill(model_name=given["encoder"], device="cpu")
    classifier = StaticModelForClassification.from_static_model(model=static)
    names = [[f"{column:03}" for column, true in enumerate(row) if true] for row in given["labels"]]
    classifier.fit(given["texts"], names, max_epochs=MODEL2VEC_PASSES, device="cpu")
    classifier.to_pipeline().save_pretrained(str(folder))


def prepare_setfit(given: dict[str, Any], folder: Path) -> None:
    """SetFit of a few shots a label, one regression for each, no more steps than `SETFIT_STEPS`."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    model = SetFitModel.from_pretrained(given["encoder"], multi_target_strategy="one-vs-rest", device="cpu")
    settings = TrainingArguments(
        output_dir=str(folder / "work"),
        batch_size=16,
        num_epochs=1,
        max_steps=SETFIT_STEPS,
        seed=0,
        save_strategy="no",
        report_to="none",
    )
    shots = Dataset.from_dict({"text": given["texts"], "label": given["labels"]})
    Trainer(model=model, args=settings, train_dataset=shots).train()
    model.save_pretrained(str(folder))


def _copy_tokenizer(source: str, folder: Path) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(source).save_pretrained(folder)


#: What makes the files of a peer, and what loads them.
PEERS: dict[str, tuple[Callable[[dict[str, Any], Path], None], Callable[[Path], Predict]]] = {
    "transformers-pipeline": (prepare_transformers, load_transformers),
    "optimum": (prepare_optimum, load_optimum),
    "optimum-int8": (prepare_optimum_int8, load_optimum),
    "model2vec": (prepare_model2vec, load_model2vec),
    "setfit": (prepare_setfit, load_setfit),
}
#: What weights are stored in; tokenizers and settings are not counted.
WEIGHTS = ("*.safetensors", "*.onnx", "*.skops", "*.pkl")


def answer(given: dict[str, Any]) -> dict[str, Any]:
    """What a question is answered with."""
    if given["do"] == "versions":
        return versions()
    prepare, load = PEERS[given["peer"]]
    folder = Path(given["folder"])
    if given["do"] == "prepare":
        folder.mkdir(parents=True, exist_ok=True)
        used = time.process_time()
        prepare(given, folder)
        files = {path for pattern in WEIGHTS for path in folder.rglob(pattern)}
        return {
            "size_bytes": sum(path.stat().st_size for path in files),
            "cpu_seconds": time.process_time() - used,
        }
    predict = load(folder)
    predict(given["texts"][:2])
    used = time.process_time()
    rows = predict(given["texts"])
    return {"probabilities": rows, "cpu_seconds": time.process_time() - used}


def versions() -> dict[str, str]:
    """Those of the libraries that are installed here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    """Answer the question in the first argument's file in the second's."""
    given = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    try:
        import torch

        torch.set_num_threads(1)
    except ImportError:  # Model2Vec answers without it
        pass
    Path(sys.argv[2]).write_text(json.dumps(answer(given)), "utf-8")


if __name__ == "__main__":
    main()
