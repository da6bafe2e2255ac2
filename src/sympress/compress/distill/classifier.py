"""Any Hugging Face classifier, of notes or of tokens, as a teacher; its labels in the student's order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers import PreTrainedTokenizerBase as Tokenizer

from sympress.errors import InputError
from sympress.training.pretrained import check_folder, quiet_transformers, why_unreadable


class ClassifierTeacher(nn.Module):
    """A fine-tuned classifier that answers with one logit a symptom, or a tag, in the student's order.

    Attributes:
        model: the classifier.
        tokenizer: the classifier's own. Where it is not the student's, encode the texts with it and store
            the logits (`teachers.teacher_logits`): the two then need not share word pieces.
        order: `(K,)`, which of the classifier's logits belongs to each symptom or tag.
        per_token: whether it answers for each token.
    """

    order: Tensor

    def __init__(
        self, model: PreTrainedModel, tokenizer: Tokenizer, order: Sequence[int], *, per_token: bool = False
    ) -> None:
        super().__init__()
        self.model, self.tokenizer, self.per_token = model, tokenizer, per_token
        self.register_buffer("order", torch.tensor(order, dtype=torch.int64))

    @property
    def symptoms(self) -> int:
        """How many symptoms it tells apart."""
        return len(self.order)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits of shape `(batch, symptoms)`, or `(batch, tokens, tags)`."""
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits[..., self.order]


def load_classifier_teacher(
    name: str, symptoms: Sequence[str], *, per_token: bool = False, several: bool = False
) -> ClassifierTeacher:
    """Load a folder in Hugging Face form, or a Hub id, as a teacher of `symptoms`; of tags if `per_token`.

    Weights come from safetensors, or from a `.bin` that is read weights-only. The Hub is asked only for
    what is not in the local cache.

    Args:
        name: folder or id.
        symptoms: or tags, in the student's order.
        per_token: it answers for each token.
        several: notes may carry several symptoms, or none, as in the task `present`.

    Raises:
        InputError: it cannot be read, its classification head was never trained, its labels are not exactly
            the symptoms (in any order and case), or it was trained for one label a note where there may be
            `several`.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_folder(folder, "teacher")
        model, tokenizer = _load(name, str(folder), local=True, per_token=per_token)
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"{name}: no such teacher folder; give a folder or a Hugging Face id")
    else:
        try:
            model, tokenizer = _load(name, name, local=True, per_token=per_token)
        except InputError:
            model, tokenizer = _load(name, name, local=False, per_token=per_token)
    if several and model.config.problem_type == "single_label_classification":
        raise InputError(
            f"{name}: a teacher of one label per note (its problem_type is single_label_classification); the "
            "task present needs one of several, multi_label_classification"
        )
    labels = [str(label) for _, label in sorted((model.config.id2label or {}).items())]
    order = label_order(name, labels, symptoms)
    return ClassifierTeacher(model, tokenizer, order, per_token=per_token).eval()


def label_order(teacher: str, labels: Sequence[str], symptoms: Sequence[str]) -> list[int]:
    """For each of `symptoms` its place among the teacher's `labels`, upper and lower case alike.

    Raises:
        InputError: one side has a label that the other lacks, or the teacher has one twice.
    """
    places = {label.casefold(): index for index, label in enumerate(labels)}
    wanted = {symptom.casefold() for symptom in symptoms}
    missing = [symptom for symptom in symptoms if symptom.casefold() not in places]
    extra = [label for label in labels if label.casefold() not in wanted]
    if missing or extra or len(places) < len(labels):
        reasons = [f"it lacks {missing[0]!r} ({len(missing)} missing)"] if missing else []
        reasons += [f"it adds {extra[0]!r} ({len(extra)} extra)"] if extra else []
        raise InputError(
            f"{teacher}: a teacher and student with different labels: "
            f"{' and '.join(reasons) or 'it has a label twice'}; its id2label must be the student's symptoms"
        )
    return [places[symptom.casefold()] for symptom in symptoms]


def _load(name: str, source: str, *, local: bool, per_token: bool) -> tuple[PreTrainedModel, Tokenizer]:
    kind = AutoModelForTokenClassification if per_token else AutoModelForSequenceClassification
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
            model, info = kind.from_pretrained(
                source, local_files_only=local, output_loading_info=True, dtype=torch.float32
            )
    except Exception as error:  # pickle, safetensors and tokenizers raise their own types, or bare Exception
        if Path(source).is_dir():
            raise InputError(why_unreadable(Path(source), "teacher", error)) from error
        raise InputError(
            f"teacher {name!r}: no such folder, nor an id in the local cache or downloadable from "
            f"here ({type(error).__name__}); copy its files into a folder and give that"
        ) from error
    missing = sorted(_names(info["missing_keys"]))
    if missing:
        raise InputError(
            f"{name}: the weights lack {missing[0]} ({len(missing)} tensors); a teacher needs a trained "
            "classification head"
        )
    return model, tokenizer


def _names(keys: Any) -> list[str]:
    return [str(key) for key in keys]
