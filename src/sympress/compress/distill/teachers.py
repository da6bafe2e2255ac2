"""Teachers' logits: averaged over several teachers, and stored so that each teacher runs once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sympress.compress.distill.classifier import ClassifierTeacher
from sympress.compress.distill.int8_teacher import Int8Teacher
from sympress.errors import InputError
from sympress.files import atomic_path
from sympress.training.data import EncodedNotes, NoteDataset, blank_targets
from sympress.training.fingerprint import fingerprint_weights
from sympress.training.heads import HeadForm
from sympress.training.model import SymptomModel
from sympress.training.predict import predict_logits

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
    starts = range(0, max(1, len(notes.ids)), PART_NOTES)
    parts = [EncodedNotes(notes.ids[start : start + PART_NOTES], 0) for start in starts]
    read = [fingerprint_notes(part) for part in parts]
    every, done = [], 0
    for teacher in teachers:
        answers, mark = [], fingerprint_teacher(teacher)
        for part, its in zip(parts, read, strict=True):
            answers.append(_stored_logits(teacher, part, {"teacher": mark, "notes": its}, pad_id, folder))
            done += len(part.ids)
            if progress is not None:
                progress(done, len(teachers) * len(notes.ids))
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
    """SHA-256 of every note's word pieces, in order."""
    digest = hashlib.sha256()
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
