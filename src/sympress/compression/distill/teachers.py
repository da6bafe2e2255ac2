"""Teachers' answers: of one or several, of other classifiers, of int8 files; each stored once."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers import PreTrainedTokenizerBase as Tokenizer

from sympress.compression.export import export_onnx
from sympress.compression.quantize.kernels import quantize_onnx
from sympress.errors import InputError
from sympress.files import atomic_path
from sympress.models.encoder import check_folder, fingerprint_weights, quiet_transformers, why_unreadable
from sympress.models.model import HeadForm, SymptomModel, check_numbers
from sympress.runtime.session import open_session
from sympress.training.data import EncodedNotes, NoteDataset, blank_targets
from sympress.training.epochs import predict_logits

# Any Hugging Face classifier, of notes or of tokens, as a teacher; its labels in the student's order.


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
    missing = sorted(map(str, info["missing_keys"]))
    if missing:
        raise InputError(
            f"{name}: the weights lack {missing[0]} ({len(missing)} tensors); a teacher needs a trained "
            "classification head"
        )
    check_numbers(name, model.state_dict(), "teacher")
    return model, tokenizer


# A teacher as an int8 file: where there is no GPU it answers faster than in PyTorch.


class Int8Teacher:
    """`model` with 8-bit weights and activations, each note by itself: no answer depends on the others.

    Weights have 7 bits, as in every int8 file of sympress that nothing else is asked of. The file is made
    when the first note is answered, and is nowhere afterwards.
    """

    def __init__(self, model: SymptomModel) -> None:
        self.model = model

    @property
    def symptoms(self) -> int:
        """How many symptoms or tags the teacher tells apart."""
        return self.model.symptoms

    @property
    def per_token(self) -> bool:
        """Whether it answers for each token rather than for the note."""
        return self.model.per_token

    @cached_property
    def session(self) -> Any:
        """The file, loaded on as many cores as PyTorch has."""
        with tempfile.TemporaryDirectory() as folder:
            whole, pressed = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
            export_onnx(self.model, whole)
            quantize_onnx(whole, pressed, reduce_range=True)
            return open_session(pressed.read_bytes(), threads=torch.get_num_threads())

    def logits(self, notes: EncodedNotes) -> NDArray[np.float32]:
        """Logits `(notes, K)`, or `(tokens, tags)` of all notes one behind the other."""
        answers: list[NDArray[np.float32]] = []
        for note in notes.ids:
            inputs = {"input_ids": note[None], "attention_mask": np.ones_like(note[None])}
            (answer,) = self.session.run(None, inputs)
            answers.append(answer[0] if self.per_token else answer)
        if not answers:
            return np.zeros((0, self.symptoms), dtype=np.float32)
        flat = np.concatenate(answers)
        return flat if self.per_token else notes.pool(flat)


# Teachers' logits: averaged over several teachers, and stored so that each teacher runs once.


#: Notes that a teacher answers before what it said is stored.
PART_NOTES = 4096
#: Either answers `(input_ids, attention_mask)` with logits in the order of the student's symptoms.
Teacher = SymptomModel | ClassifierTeacher


def average_logits(logits: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The mean of the teachers' logits, `(N, K)` each (notes or tokens): the geometric mean of their odds.

    An ensemble as teacher (Hinton et al. 2015, section 3; two clinical teachers in OptimCLM, Hasan et al.
    2025). Averaged as logits, not as probabilities, so that every temperature can still be applied.

    Raises:
        InputError: there is no teacher, or they answered for different notes or symptoms.
    """
    shapes = sorted({teacher.shape for teacher in logits})
    if not shapes:
        raise InputError("no teacher to average; give one at least")
    if len(shapes) > 1:
        raise InputError(
            f"teachers answered with logits of shapes {shapes[0]} and {shapes[1]}; use equal ones"
        )
    mean: NDArray[np.float64] = np.stack(logits).astype(np.float64).mean(axis=0)
    return mean.astype(np.float32)


def teacher_logits(
    teachers: Sequence[Teacher | Int8Teacher],
    notes: EncodedNotes,
    pad_id: int,
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """The average of the teachers' logits `(notes, K)`, in the order of `notes`, computed once.

    Of teachers that answer for each token `(tokens, tags)`, all notes one behind the other.

    Each teacher's logits stand in files of `folder`, one for every `PART_NOTES` notes, named and marked by
    the fingerprints of its weights and of the part's word pieces. What such a file holds is not computed
    again, also after a kill; a damaged one is written anew. A teacher runs on the device it is on, in mixed
    precision where there is some; an `Int8Teacher` on the CPU.

    Args:
        teachers: each runs over all notes.
        notes: in the teachers' word pieces.
        pad_id: of their tokenizer.
        folder: made where there is none.
        progress: told of the notes that are answered and of all, over all teachers.

    Raises:
        InputError: as `average_logits`, or the folder cannot be written.
    """
    starts = range(0, max(1, len(notes)), PART_NOTES)
    parts = [notes.part(start, start + PART_NOTES) for start in starts]
    read = [fingerprint_notes(part) for part in parts]
    every, done = [], 0
    for teacher in teachers:
        answers, mark = [], fingerprint_teacher(teacher)
        for part, its in zip(parts, read, strict=True):
            answers.append(_stored_logits(teacher, part, {"teacher": mark, "notes": its}, pad_id, folder))
            done += len(part)
            if progress is not None:
                progress(done, len(teachers) * len(notes))
        every.append(np.concatenate(answers))
    return average_logits(every)


def _stored_logits(
    teacher: Teacher | Int8Teacher, notes: EncodedNotes, marks: dict[str, str], pad_id: int, folder: Path
) -> NDArray[np.float32]:
    path = folder / f"logits-{marks['teacher'][:16]}-{marks['notes'][:16]}.safetensors"
    blank = blank_targets(notes, outputs=teacher.symptoms, per_token=teacher.per_token)
    shape = (len(blank), teacher.symptoms)
    stored = read_logits(path, marks)
    if stored is not None and stored.shape == shape:
        return stored
    if isinstance(teacher, Int8Teacher):
        logits = teacher.logits(notes)
    else:
        # predict_logits asks of a model no more than both kinds of teachers have
        model = cast("SymptomModel", teacher)
        logits = predict_logits(model, NoteDataset(notes, blank), pad_id, mixed=True)
    with atomic_path(path) as draft:
        save_file({"logits": logits}, draft, metadata=marks)
    return logits


def read_logits(path: Path, marks: dict[str, str]) -> NDArray[np.float32] | None:
    """The logits in `path` if it is whole and carries exactly `marks`, else None."""
    try:
        with safe_open(path, framework="numpy") as file:
            if file.metadata() != marks:
                return None
            logits: NDArray[np.float32] = file.get_tensor("logits")
            return logits
    except (OSError, SafetensorError):
        return None


def fingerprint_notes(notes: EncodedNotes) -> str:
    """SHA-256 of every note's word pieces, in order, and of how they are cut into windows."""
    digest = hashlib.sha256(b"" if notes.counts is None else str(notes.counts).encode())
    for ids in notes.ids:
        digest.update(len(ids).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(ids, dtype="<i8").tobytes())
    return digest.hexdigest()


def fingerprint_teacher(teacher: Teacher | Int8Teacher) -> str:
    """SHA-256 of a teacher's config and weights, and of how it rounds; not of the folder it was read from."""
    if isinstance(teacher, Int8Teacher):
        rounded = f"{fingerprint_teacher(teacher.model)} int8, 7 bits"
        return hashlib.sha256(rounded.encode()).hexdigest()
    if isinstance(teacher, SymptomModel):
        head = teacher.head
        settings = {**teacher.encoder.config.to_dict(), "pooling": head.pooling}
        if head.form != HeadForm.of_pooling(head.pooling):
            settings["form"] = asdict(head.form)
    else:
        settings = teacher.model.config.to_dict()
    return fingerprint_weights(settings, teacher.state_dict())
