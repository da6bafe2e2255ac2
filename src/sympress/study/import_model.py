"""`import`: a fine-tuned classifier of transformers in, an artifact with the same logits out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sympress.deploy.artifact import Extractor, write_extractor, write_provenance
from sympress.deploy.checksums import write_checksums
from sympress.deploy.export import export_checked
from sympress.deploy.link import with_lexicon, write_lexicon
from sympress.deploy.pieces import SpecialTokens, pieces_of
from sympress.deploy.runtime import Runtime
from sympress.errors import InputError
from sympress.evaluation.gold import Gold
from sympress.files import alone, full_disk_explained, is_bare, write_text
from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.labels.surface import forms_by_symptom
from sympress.provenance import environment
from sympress.report.card import imported_card
from sympress.study.given import Labeller, judge_labelled
from sympress.study.import_labels import Answers, read_note_labels, read_tags
from sympress.training.adopt import adopt
from sympress.training.checkpoint import Checkpoint, load_checkpoint
from sympress.training.encoder import Encoder, token_limit
from sympress.training.model import save_model
from sympress.training.tagging import default_stride

#: What `--labels-per-note` says, as transformers calls it.
_PROBLEMS = {"one": "single_label_classification", "several": "multi_label_classification"}
#: Texts on which the checkpoint, the model and its ONNX file are compared.
PROBES = (
    "fever",
    "c/o fever and chills, denies cough.",
    "Patient reports NAUSEA x3 days; no chest pain. T 38.5, BP 120/80.",
    "Injection site: redness, swelling and pain in the left arm after the 2nd dose. " * 3,
)


@dataclass(frozen=True)
class ImportSettings:
    """How a checkpoint is imported.

    Attributes:
        lexicon: built-in or a file, which names the symptoms.
        labels_per_note: `one` or `several`, instead of what the checkpoint's `problem_type` says.
        entities: of a tagger, those that are symptoms; () for those that are called so.
        max_tokens: word pieces a window; None for as many as the tokenizer and the model allow.
    """

    lexicon: str | Path = "clinical"
    labels_per_note: Literal["one", "several"] | None = None
    entities: tuple[str, ...] = ()
    max_tokens: int | None = None


def import_model(
    source: str | Path,
    output: str | Path,
    settings: ImportSettings | None = None,
    *,
    validation: Gold | None = None,
    revision: str | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Write the artifact of a fine-tuned classifier to `output`; returns its provenance.

    Args:
        source: a folder as the Trainer of transformers saves it, or an id of the Hub.
        output: a folder that is not there, or empty.
        settings: how.
        validation: labelled notes that choose its thresholds and calibration, or its bias towards spans.
        revision: branch, tag or commit on the Hub.
        command: for the record.

    Raises:
        InputError: the output is taken, a label is none of the model's, or the checkpoint cannot be read or
            be represented exactly.
        SympressError: the artifact's logits are not the checkpoint's.
    """
    settings, output = settings or ImportSettings(), Path(output)
    work = output.with_name(output.name + ".work")
    if not is_bare(output):
        raise InputError(f"{output}: there is something already; choose another -o")
    lexicon = load_lexicon(settings.lexicon)
    checkpoint = load_checkpoint(source, revision)
    answers = _answers(checkpoint, lexicon, settings)
    extractor = _extractor(checkpoint, answers, lexicon, settings)
    with full_disk_explained(work), alone(work, output):
        draft = work / "artifact"
        shutil.rmtree(draft, ignore_errors=True)
        record = _write(draft, checkpoint, answers, extractor, lexicon) | {"command": command}
        if validation is not None:
            record["thresholds"] = _settle(draft, validation)
        write_provenance(draft, record)
        write_text(draft / "README.md", imported_card(record, extractor.task, extractor.symptoms))
        write_checksums(draft)
        if output.is_dir():
            output.rmdir()
        draft.replace(output)
        shutil.rmtree(work)
    return record


def _settle(draft: Path, validation: Gold) -> str:
    """Choose on labelled notes what decides the answers of the artifact in `draft`; what to say of it."""
    write_checksums(draft)
    runtime = Runtime.load(draft)
    judged = judge_labelled(runtime, Labeller(draft)(validation, by_people=True))
    judged.write(draft)
    return f"chosen on {len(validation.notes):,} notes that were given, validation F1 {judged.f1:.4f}"


def _answers(checkpoint: Checkpoint, lexicon: Lexicon, settings: ImportSettings) -> Answers:
    name, labels = checkpoint.name, checkpoint.labels
    if checkpoint.kind == "tokens":
        if settings.labels_per_note is not None:
            raise InputError(f"{name}: answers for tokens; leave out --labels-per-note")
        return read_tags(name, labels, lexicon, entities=settings.entities)
    if settings.entities:
        raise InputError(f"{name}: answers for whole notes; leave out --entity")
    problem = _PROBLEMS.get(settings.labels_per_note or "", checkpoint.problem)
    return read_note_labels(name, labels, problem, lexicon)


def _extractor(
    checkpoint: Checkpoint, answers: Answers, lexicon: Lexicon, settings: ImportSettings
) -> Extractor:
    """What decides the artifact's answers: whole notes by windows, nothing done to the text."""
    max_tokens = _max_tokens(checkpoint, settings.max_tokens)
    common = {
        "max_tokens": max_tokens,
        "pad_id": int(checkpoint.tokenizer.pad_token_id),
        "windows": "all",
        "stride": default_stride(max_tokens),
    }
    if answers.task is not None:
        return Extractor(task=answers.task, symptoms=list(answers.names), codes=answers.codes, **common)
    symptoms = sorted(forms_by_symptom(lexicon))
    return with_lexicon(
        Extractor(task="mentions", symptoms=symptoms, tags=list(answers.names), **common), lexicon
    )


def _max_tokens(checkpoint: Checkpoint, wanted: int | None) -> int:
    tokenizer = checkpoint.tokenizer
    encoder = Encoder(checkpoint.name, checkpoint.model, tokenizer)
    most = token_limit(encoder, int(tokenizer.model_max_length))
    least = SpecialTokens.of(_bare(tokenizer)).count + 2
    if wanted is None:
        return max(most, least)
    if not least <= wanted <= most:
        raise InputError(f"--max-tokens {wanted}: {checkpoint.name} takes {least} to {most}")
    return wanted


def _write(
    draft: Path, checkpoint: Checkpoint, answers: Answers, extractor: Extractor, lexicon: Lexicon
) -> dict[str, Any]:
    notes = _probes(checkpoint, extractor.max_tokens)
    model, worst = adopt(checkpoint, answers.rows, notes)
    config = model.encoder.config
    config.id2label = dict(enumerate(answers.names))
    config.label2id = {name: at for at, name in enumerate(answers.names)}
    save_model(model, draft)
    checkpoint.tokenizer.model_max_length = extractor.max_tokens
    checkpoint.tokenizer.save_pretrained(draft)
    write_extractor(draft, extractor)
    if extractor.task == "mentions":
        write_lexicon(draft, extractor, lexicon)
    exported = export_checked(model, draft / "model.onnx", notes)
    return {
        "format": 1,
        "strategy": "import",
        "recipe": "import",
        "source": {
            "name": checkpoint.name,
            "digest": checkpoint.digest,
            "model_type": config.model_type,
            "labels": list(checkpoint.labels),
        },
        "thresholds": "0.5: nothing chose them",
        "remarks": [*checkpoint.remarks, *answers.remarks],
        "import_max_difference": worst,
        "parity_max_difference": exported,
        "environment": environment(),
    }


def _bare(tokenizer: Any) -> Tokenizer:
    """The tokenizer as the artifact's runtime will have it."""
    fresh = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    fresh.no_truncation()
    fresh.no_padding()
    return fresh


def _probes(checkpoint: Checkpoint, max_tokens: int) -> list[NDArray[np.int64]]:
    """Word-piece ids of `PROBES` as the runtime cuts them, which must be as transformers cuts them.

    Raises:
        InputError: they are not.
    """
    fresh = _bare(checkpoint.tokenizer)
    specials = SpecialTokens.of(fresh)
    notes = []
    for text in PROBES:
        own = specials.surround(pieces_of(fresh, text, offsets=False).ids)
        theirs = np.asarray(checkpoint.tokenizer(text, truncation=False)["input_ids"], dtype=np.int64)
        if not np.array_equal(own, theirs):
            raise InputError(
                f"{checkpoint.name}: its tokenizer.json cuts text otherwise than its tokenizer in "
                "transformers; "
                "save the tokenizer again (save_pretrained)"
            )
        room = max_tokens - specials.count
        notes.append(specials.surround(pieces_of(fresh, text, offsets=False, limit=room).ids))
    return notes
