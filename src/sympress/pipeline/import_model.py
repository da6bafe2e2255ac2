"""`import`: a fine-tuned classifier of transformers in, an artifact with the same logits out."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sympress.compression.export import export_checked
from sympress.errors import InputError
from sympress.evaluation.gold import Gold
from sympress.files import alone, folder_to_write, full_disk_explained, is_bare, write_text
from sympress.labels.gold.attributes import load_attributes
from sympress.labels.gold.mentions import PRECEDENCE, form_key, ids_by_form, symptoms_named
from sympress.labels.lexicon import Lexicon, codes_by_symptom, forms_by_symptom, load_lexicon
from sympress.labels.mentions import ASSERTIONS, Assertion
from sympress.labels.task import task_of
from sympress.models.encoder import Encoder, token_limit
from sympress.models.huggingface import Checkpoint, Rows, adopt, load_checkpoint
from sympress.models.model import save_model
from sympress.notes.intake import TOKENS_MOST
from sympress.pipeline.origin import Labeller
from sympress.provenance import environment
from sympress.report.card import imported_card
from sympress.runtime.artifact import (
    Extractor,
    read_extractor,
    write_checksums,
    write_extractor,
    write_provenance,
)
from sympress.runtime.linker import with_lexicon, write_lexicon
from sympress.runtime.tokens import OUTSIDE, SpecialTokens, pieces_of, tags_of
from sympress.studies.train import NONE, make_material, settle
from sympress.training.data import default_stride

# What the labels of a fine-tuned classifier mean: which symptom each names, which tags make a mention.


_UNNAMED = re.compile(r"LABEL_\d+", re.IGNORECASE)
_NOTHING = frozenset({"none", "nothing", "other", "normal", "no finding", "no findings", "false", "0", "o"})
_ANYTHING = frozenset({"true", "1", "any", "yes"})
#: BIO; BILOU, BIOES, BMES and BMEWO, with Middle, Last or End, and with Unit, Single or Whole.
_BEGINS, _GOES_ON = "BUSW", "ILEM"
_TAG = re.compile(rf"([{_BEGINS}{_GOES_ON}])[-_](.+)")
_PREFIXED = re.compile(r"([^\W_]+)[-_](.+)")


@dataclass(frozen=True)
class Answers:
    """What an imported model answers with.

    Attributes:
        task: of a classifier of notes; None for tags.
        names: of its symptoms, or its tags, in order.
        rows: what each is made of.
        codes: of the symptoms that the lexicon has.
        remarks: what a user should know, a line each.
    """

    task: str | None
    names: tuple[str, ...]
    rows: Rows
    codes: dict[str, list[str]]
    remarks: tuple[str, ...]


def read_note_labels(name: str, labels: Sequence[str], problem: str | None, lexicon: Lexicon) -> Answers:
    """What a classifier of notes answers.

    Labels that say that a note has no symptom are none of the symptoms: of several labels a note they are
    left out, of two the other one is the symptom. Labels that name a symptom of the lexicon are called by its
    id.

    Args:
        name: of the checkpoint, for messages.
        labels: of its logits, in order.
        problem: its `problem_type`, or what a user says instead.
        lexicon: which a label names a symptom of by its id, its name or one of its forms.

    Raises:
        InputError: nothing says whether a note has one label or several, or the labels name no symptoms.
    """
    if problem == "multi_label_classification":
        kept = [at for at, label in enumerate(labels) if not _denies(label, lexicon)]
        if not kept:
            raise InputError(f"{name}: its labels name no symptom ({_some(labels)}); name them in id2label")
        left = [label for label in labels if _denies(label, lexicon)]
        return _named(
            "present",
            [labels[at] for at in kept],
            [((at, 1.0),) for at in kept],
            lexicon,
            [f"left out, as they name no symptom: {_some(left)}"] if left else [],
        )
    if problem != "single_label_classification":
        raise InputError(
            f"{name}: problem_type in config.json is {problem or 'missing'}; say with --labels-per-note "
            "whether a note has `one` label or `several`"
        )
    return _one_a_note(name, labels, lexicon)


def _one_a_note(name: str, labels: Sequence[str], lexicon: Lexicon) -> Answers:
    denying = [at for at, label in enumerate(labels) if _denies(label, lexicon)]
    unnamed = [label for label in labels if _UNNAMED.fullmatch(label)]
    if unnamed or len(labels) < 2:
        raise InputError(
            f"{name}: one label a note, and {_some(unnamed or labels)} names no symptom; name its labels "
            "in id2label"
        )
    if not denying:
        return _named("topic", labels, [((at, 1.0),) for at in range(len(labels))], lexicon, [])
    if len(labels) > 2 or len(denying) > 1:
        raise InputError(
            f"{name}: one label a note, and {labels[denying[0]]!r} says that it has no symptom, which the "
            "task topic cannot answer; train with several labels a note (multi_label_classification)"
        )
    no = denying[0]
    symptom = labels[1 - no]
    if not load_attributes().label_parts(symptom).kind or form_key(symptom) in _ANYTHING:
        raise InputError(f"{name}: {symptom!r} names no symptom; name the symptom that it finds in id2label")
    remark = f"the logit of {symptom!r} is its own less that of {labels[no]!r}: the probability is the same"
    return _named("present", [symptom], [((1 - no, 1.0), (no, -1.0))], lexicon, [remark])


def _denies(label: str, lexicon: Lexicon) -> bool:
    """Whether a label says that there is no symptom; `loss of appetite` does not."""
    words = form_key(label)
    if words in _NOTHING:
        return True
    said = load_attributes().label_parts(label).assertions
    return "absent" in said and words not in ids_by_form(lexicon)


def _named(task: str, labels: Sequence[str], rows: Rows, lexicon: Lexicon, remarks: Sequence[str]) -> Answers:
    """Answers with the lexicon's ids for the labels that name one of its symptoms and no other label does."""
    ids, codes = ids_by_form(lexicon), codes_by_symptom(lexicon)
    meant = [ids.get(form_key(label)) for label in labels]
    times = Counter(one for one in meant if one is not None)
    names = tuple(
        label if one is None or times[one] > 1 else one for label, one in zip(labels, meant, strict=True)
    )
    own = [label for label, one in zip(labels, meant, strict=True) if one is None or times[one] > 1]
    said = list(remarks)
    if own:
        said.append(
            f"{len(own)} of {len(labels)} labels keep their names and have no code, as the lexicon "
            f"{lexicon.name} has no single symptom for them: {_some(own)}"
        )
    if len(set(names)) < len(names):  # a label that is called like the id of another's symptom
        names = tuple(labels)
    found = {
        name: codes[name] for name, one in zip(names, meant, strict=True) if name == one and one in codes
    }
    return Answers(task, names, rows, found, tuple(said))


def read_tags(name: str, labels: Sequence[str], lexicon: Lexicon, *, entities: Sequence[str] = ()) -> Answers:
    """What a classifier of tokens answers: `O`, then `B-` and `I-` of each assertion that its tags name.

    Args:
        name: of the checkpoint, for messages.
        labels: its tags, BIO, BILOU, BIOES, BMES or BMEWO.
        lexicon: which a tag may name a symptom of.
        entities: the entities that are symptoms (`problem` of `B-problem`); () for those that are called so.

    Raises:
        InputError: they are no such tags, one has an unknown prefix, or none of them names symptoms.
    """
    outside = [at for at, label in enumerate(labels) if label == OUTSIDE]
    tags = {at: match.groups() for at, label in enumerate(labels) if (match := _TAG.fullmatch(label))}
    if not outside or not tags:
        raise InputError(
            f"{name}: its labels are no tags ({_some(labels)}); they must be O, and B- and I- "
            "(or L-, U-) of entities"
        )
    kinds = list(dict.fromkeys(kind for _, kind in tags.values()))
    if strange := [label for at, label in enumerate(labels) if at not in tags and _is_tag(label, kinds)]:
        raise InputError(
            f"{name}: {_some(strange)}: no known tag; tags are O, and B-, I-, L-, E-, M-, U-, S- or W- of an "
            "entity: rename it in id2label"
        )
    if unknown := [one for one in entities if one not in kinds]:
        raise InputError(f"{name}: no entity is called {unknown[0]!r}; there are {_some(kinds)}")
    symptoms = dict.fromkeys(entities) or symptoms_named(kinds, lexicon)
    if not symptoms:
        raise InputError(
            f"{name}: no entity is called a symptom; say which are with --entity ({_some(kinds)})"
        )
    said = {kind: _assertion(kind) for kind in symptoms}
    assertions = [one for one in ASSERTIONS if one in said.values()]
    groups = [[at for at in range(len(labels)) if at not in tags or tags[at][1] not in symptoms]]
    for assertion in assertions:
        for sides in (_BEGINS, _GOES_ON):
            mine = [at for at, (side, kind) in tags.items() if side in sides and said.get(kind) == assertion]
            if not mine:
                raise InputError(
                    f"{name}: no tag {sides[0]}- of "
                    f"{_some([kind for kind in said if said[kind] == assertion])}; "
                    "tags must tell where an entity begins and where it goes on"
                )
            groups.append(mine)
    rows = [tuple((at, 1.0) for at in group) for group in groups]
    return Answers(None, tags_of(assertions), rows, {}, _remarks(kinds, said))


def _is_tag(label: str, kinds: Sequence[str]) -> bool:
    """Whether a label that is no known tag looks like one: a letter before it, or a word before an entity."""
    found = _PREFIXED.fullmatch(label)
    return found is not None and (len(found[1]) == 1 or found[2] in kinds)


def _assertion(kind: str) -> Assertion:
    said = load_attributes().label_parts(kind).assertions
    return next((one for one in PRECEDENCE if one in said), "present")


def _remarks(kinds: Iterable[str], said: dict[str, Assertion]) -> tuple[str, ...]:
    left = [kind for kind in kinds if kind not in said]
    lines = [f"symptoms are {_some(list(said))}" + (f"; left out: {_some(left)}" if left else "")]
    if set(said.values()) == {"present"}:
        lines.append(
            "the tags do not say what a note asserts: every span is called present, unless rules answer too "
            "(sympress pack --rules)"
        )
    return tuple(lines)


def _some(labels: Sequence[str]) -> str:
    """The first of them, for a line."""
    shown = ", ".join(labels[:5])
    return f"{shown} and {len(labels) - 5} more" if len(labels) > 5 else shown


# `import`: a fine-tuned classifier of transformers in, an artifact with the same logits out.


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
    settings, output = settings or ImportSettings(), folder_to_write(output)
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
    labelled = Labeller(draft)(validation, by_people=True)
    material = make_material(read_extractor(draft), NONE, labelled)
    judged = settle(draft, material, labelled.texts)
    return f"chosen on {len(validation.notes):,} notes that were given, validation F1 {judged.f1:.4f}"


def _answers(checkpoint: Checkpoint, lexicon: Lexicon, settings: ImportSettings) -> Answers:
    name, labels = checkpoint.name, checkpoint.labels
    if checkpoint.kind == "tokens":
        if settings.labels_per_note is not None:
            raise InputError(f"{name}: answers for tokens; leave out --labels-per-note")
        return read_tags(name, labels, lexicon, entities=settings.entities)
    if settings.entities:
        raise InputError(f"{name}: answers for whole notes; leave out --entity")
    if checkpoint.problem == "regression":
        raise InputError(
            f"{name}: problem_type in config.json is regression: its outputs are numbers, not logits of "
            "symptoms; give a classifier"
        )
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
    most = min(TOKENS_MOST, token_limit(encoder, int(tokenizer.model_max_length)))
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
    if task_of(extractor.task).finds_spans:
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
    """Word-piece ids of `PROBES` as the runtime cuts them, which must be as transformers cuts them."""
    fresh = _bare(checkpoint.tokenizer)
    specials = SpecialTokens.of(fresh)
    notes = []
    for text in PROBES:
        own = specials.surround(pieces_of(fresh, text, offsets=False).ids)
        theirs = np.asarray(checkpoint.tokenizer(text, truncation=False)["input_ids"], dtype=np.int64)
        if not np.array_equal(own, theirs):
            raise InputError(
                f"{checkpoint.name}: its tokenizer.json cuts text otherwise than its tokenizer in "
                "transformers; save the tokenizer again (save_pretrained)"
            )
        room = max_tokens - specials.count
        notes.append(specials.surround(pieces_of(fresh, text, offsets=False, limit=room).ids))
    return notes
