"""Checkpoints as the Trainer of transformers saves them, and notes that they learnt from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

import sympress
from sympress.model import Model

SYMPTOMS = ("fever", "cough", "rash")
NOISE = ("patient", "reports", "with", "and", "the", "after", "dose", "arm", "pain")


def write_notes(count: int, seed: int) -> tuple[list[str], list[list[str]]]:
    """Notes of a few words, each symptom in a third of them, and the symptoms that each affirms."""
    rng = np.random.default_rng(seed)
    texts, labels = [], []
    for _ in range(count):
        named = [name for name in SYMPTOMS if rng.random() < 0.4]
        words = [*named, *rng.choice(NOISE, size=4).tolist()]
        rng.shuffle(words)
        texts.append(" ".join(words))
        labels.append(named)
    return texts, labels


def as_array(labels: list[list[str]]) -> np.ndarray:
    return np.array([[name in named for name in SYMPTOMS] for named in labels], dtype=np.uint8)


class Notes(torch.utils.data.Dataset):
    def __init__(self, tokenizer: Any, texts: list[str], targets: np.ndarray) -> None:
        self.encoded = [tokenizer(text, truncation=True) for text in texts]
        self.targets = targets.astype(float).tolist()

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, at: int) -> dict[str, Any]:
        return {**self.encoded[at], "labels": self.targets[at]}


def small_config(tokenizer: PreTrainedTokenizerFast, **more: Any) -> BertConfig:
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=80,
        **more,
    )


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A classifier of notes, fine-tuned and saved by the Trainer."""
    folder = tmp_path_factory.mktemp("trainer")
    torch.manual_seed(0)
    named = dict(enumerate(SYMPTOMS))
    config = small_config(
        tokenizer,
        id2label=named,
        label2id={name: at for at, name in named.items()},
        problem_type="multi_label_classification",
    )
    texts, labels = write_notes(256, seed=0)
    trainer = Trainer(
        model=BertForSequenceClassification(config),
        args=TrainingArguments(
            folder / "run",
            num_train_epochs=24,
            per_device_train_batch_size=16,
            learning_rate=3e-3,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
        ),
        train_dataset=Notes(tokenizer, texts, as_array(labels)),
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model(str(folder / "symptom-bert"))
    return folder / "symptom-bert"


@pytest.fixture(scope="session")
def tagger(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A tagger that answers as its seed has it, saved as the Trainer does."""
    folder = tmp_path_factory.mktemp("tagger") / "symptom-tagger"
    torch.manual_seed(0)
    tags = {0: "O", 1: "B-SYMPTOM", 2: "I-SYMPTOM"}
    config = small_config(tokenizer, id2label=tags, label2id={name: at for at, name in tags.items()})
    BertForTokenClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model(classifier: Path) -> Model:
    """The classifier, imported; it must not be changed."""
    return sympress.load(classifier)


@pytest.fixture(scope="session")
def found(tagger: Path) -> Model:
    """The tagger, imported; it must not be changed."""
    return sympress.load(tagger)


@pytest.fixture(scope="session")
def notes_of() -> Callable[[int, int], tuple[list[str], list[list[str]]]]:
    return write_notes
