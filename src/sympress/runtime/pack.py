"""Pack an artifact as it is shipped, decide between model and rules, and say in a few lines what it is."""

from __future__ import annotations

import shutil
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sympress.errors import InputError
from sympress.files import atomic_folder, folder_to_write, read_object, read_settings, write_text
from sympress.labels.lexicon import Lexicon, load_lexicon, vaers_to_clinical
from sympress.labels.linking import SpanLinker
from sympress.labels.own_words import OURS, OwnWords
from sympress.labels.task import task_of
from sympress.provenance import processor_name
from sympress.runtime.affirm import Evidence, EvidenceReader, Sourced
from sympress.runtime.artifact import (
    TAGGER_FOLDER,
    artifact_digest,
    check_files,
    files_to_run,
    needed_files,
    read_extractor,
    read_provenance,
    write_checksums,
    write_extractor,
    write_provenance,
)
from sympress.runtime.artifact import Extractor as Settings
from sympress.runtime.extractor import Extractor
from sympress.runtime.linker import TEXT_FILES, carried_words, check_words, with_words, write_words
from sympress.runtime.session import check_kernel, kernel_of, made_for, multiplies_integers

# Who decides where model and rules disagree, and which words are evidence: chosen on validation notes.
#
# Each symptom is chosen by itself. A choice other than the default must gain on both halves of the
# validation notes, so that it is no accident of them. On general notes of known truth it must add no error
# and lose no symptom, so that an artifact made from one kind of note can serve others.


#: What a symptom's F1 must gain on each half of the validation notes for a choice that is not the default.
LEAST_GAIN = 0.005
#: A model may refuse a symptom's mentions only where this many general notes affirm it.
LEAST_GENERAL = 20
_DECIMALS = 4
Truth = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelledNotes:
    """Notes and which of an artifact's symptoms each affirms, `(notes, K)`."""

    texts: Sequence[str]
    truth: Truth


@dataclass(frozen=True)
class Signs:
    """What rules and model say of each symptom of each note, each `(notes, K)`.

    Attributes:
        present: a mention of it is present.
        named: it is mentioned, whatever is said of it.
        affirms: the model's probability reaches the threshold.
        supported: the model affirms it, no mention names it, and other words stand for it.
        renamed: by symptom of the evidence, what is no longer mentioned where its words are a mention of that
            symptom instead.
    """

    present: Truth
    named: Truth
    affirms: Truth
    supported: Truth
    renamed: Mapping[str, Truth]


@dataclass(frozen=True)
class Choice:
    """What was chosen, and on which figures.

    Attributes:
        decides: `rules` or `model`, for each symptom of the model that the rules can find.
        evidence: for the symptoms that gain by it.
        figures: what `provenance.json` holds of it.
    """

    decides: dict[str, str]
    evidence: dict[str, Evidence]
    figures: dict[str, Any]


def candidates() -> dict[str, Evidence]:
    """Every evidence of `labels/data/evidence.toml`, by the symptom it is for."""
    text = (resources.files("sympress.labels") / "data" / "evidence.toml").read_text("utf-8")
    return {
        symptom: Evidence(mentions=mentions, words=group["words"])
        for group in tomllib.loads(text).values()
        for symptom, mentions in group["mentions"].items()
    }


def coded_notes(
    texts: Sequence[str], codes: Sequence[Sequence[str]], symptoms: Sequence[str]
) -> LabelledNotes:
    """Notes with the symptoms that people coded, under its own name or one that the lexicon's map knows."""
    truth = np.zeros((len(texts), len(symptoms)), dtype=bool)
    place = {name: at for at, name in enumerate(symptoms)}
    for row, coded in zip(truth, codes, strict=True):
        for code in coded:
            for name in (code, vaers_to_clinical(code)):
                if name in place:
                    row[place[name]] = True
    return LabelledNotes(texts, truth)


def read_signs(extractor: Extractor, texts: Sequence[str], evidence: Mapping[str, Evidence]) -> Signs:
    """What the rules and the model of `extractor`, of the task `present`, say of `texts`."""
    place = {name: at for at, name in enumerate(extractor.symptoms)}
    shape = (len(texts), len(place))
    present, named, affirms, supported = (np.zeros(shape, dtype=bool) for _ in range(4))
    renamed = {name: np.zeros(shape, dtype=bool) for name in evidence}
    signs = Signs(present, named, affirms, supported, renamed)
    readers = {name: EvidenceReader({name: one}) for name, one in evidence.items()}
    for row, text in enumerate(texts):
        beliefs = extractor.beliefs(extractor.note_logits(text)[0])
        found = extractor.mentions_in(text)
        signs.affirms[row] = [belief.affirms for belief in beliefs.values()]
        for one in found:
            if (at := place.get(one.mention.symptom or "")) is not None:
                signs.named[row, at] = True
        before = _present(found)
        for at in (place[name] for name in before if name in place):
            signs.present[row, at] = True
        for name, reader in readers.items():
            after = _present(reader.read(text, found, beliefs))
            signs.supported[row, place[name]] = name in after - before
            for at in (place[lost] for lost in before - after if lost in place):
                signs.renamed[name][row, at] = True
    return signs


def _present(found: Iterable[Sourced]) -> set[str]:
    """Symptoms with a present mention."""
    return {
        one.mention.symptom for one in found if one.mention.symptom and one.mention.assertion == "present"
    }


def choose(extractor: Extractor, validation: LabelledNotes, general: LabelledNotes) -> Choice:
    """Choose for each symptom who decides on a present mention, and whether evidence may stand for it.

    Args:
        extractor: of the task `present`, with rules; what it has chosen so far does not matter.
        validation: notes of the kind that the model was trained on, but not those.
        general: other notes, of known truth.

    Raises:
        InputError: the artifact is of another task or without rules.
    """
    if not (task_of(extractor.task).has_thresholds and extractor.settings.rules):
        raise InputError(
            f"{extractor.folder}: only a model of the task present with rules has a choice to make"
        )
    table = {name: one for name, one in candidates().items() if name in extractor.symptoms}
    told, others = (read_signs(extractor, notes.texts, table) for notes in (validation, general))
    decides: dict[str, str] = {}
    evidence: dict[str, Evidence] = {}
    figures: dict[str, Any] = {}
    for at, symptom in enumerate(extractor.symptoms):
        here, elsewhere = _Side(told, validation.truth, at), _Side(others, general.truth, at)
        figures[symptom] = {}
        if told.named[:, at].any() or others.named[:, at].any():
            gains, figures[symptom]["decides"] = _compare(
                here, elsewhere, symptom, "model", least=LEAST_GENERAL
            )
            decides[symptom] = "model" if gains else "rules"
        if symptom in table:
            gains, figures[symptom]["evidence"] = _compare(here, elsewhere, symptom, "evidence")
            if gains:
                evidence[symptom] = table[symptom]
    notes_read = {"validation_notes": len(validation.texts), "general_notes": len(general.texts)}
    return Choice(decides, evidence, {**notes_read, "least_gain": LEAST_GAIN, "symptoms": figures})


@dataclass(frozen=True)
class _Side:
    """One symptom on one set of notes, whose truth is `(notes, K)`."""

    signs: Signs
    every: Truth
    at: int

    @property
    def truth(self) -> Truth:
        """Whether each note affirms the symptom, `(notes,)`."""
        return self.every[:, self.at]

    def answer(self, way: str) -> Truth:
        present, at = self.signs.present[:, self.at], self.at
        if way == "model":
            return present & self.signs.affirms[:, at]
        return present | self.signs.supported[:, at] if way == "evidence" else present

    def f1(self, way: str, rows: slice = slice(None)) -> float:
        found, truth = self.answer(way)[rows], self.truth[rows]
        total = int(found.sum()) + int(truth.sum())
        return 2 * int((found & truth).sum()) / total if total else 0.0

    def errors(self, way: str, symptom: str) -> int:
        return int((self.answer(way) != self.truth).sum()) + self._lost(way, symptom)

    def hits(self, way: str, symptom: str) -> int:
        return int((self.answer(way) & self.truth).sum()) - self._lost(way, symptom)

    def _lost(self, way: str, symptom: str) -> int:
        """How often a symptom that a note affirms lost its mention to `symptom`."""
        return int((self.signs.renamed[symptom] & self.every).sum()) if way == "evidence" else 0


def _compare(
    here: _Side, elsewhere: _Side, symptom: str, way: str, *, least: int = 0
) -> tuple[bool, dict[str, Any]]:
    """Whether `way` gains over the rules, and the figures that say so.

    Args:
        here: the validation notes.
        elsewhere: the general ones, at least `least` of which must affirm the symptom.
        symptom: its name.
        way: `model` or `evidence`.
        least: see `elsewhere`.
    """
    halves = [slice(half, None, 2) for half in (0, 1)]
    gain = min(here.f1(way, rows) - here.f1("rules", rows) for rows in halves)
    ways = ("rules", way)
    errors = {one: elsewhere.errors(one, symptom) for one in ways}
    hits = {one: elsewhere.hits(one, symptom) for one in ways}
    harmless = errors[way] <= errors["rules"] and hits[way] >= hits["rules"]
    taken = gain >= LEAST_GAIN and harmless and int(elsewhere.truth.sum()) >= least
    return taken, {
        "chosen": way if taken else "rules",
        "f1": {one: round(here.f1(one), _DECIMALS) for one in ways},
        "smaller_gain_of_two_halves": round(gain, _DECIMALS),
        "errors_on_general_notes": errors,
        "right_on_general_notes": hits,
    }


# Pack an artifact as it is shipped: what it needs to run, its card, and rules beside its model.


#: What is shipped beside the files that the runtime reads.
BESIDE = ("README.md", "provenance.json")


#: General notes of known truth by which a choice on validation notes is checked.
GENERAL_NOTES, GENERAL_SEED = 5_000, 1
_PACKED = "## As packed"
_NAMES = "Symptoms as the lexicon names them:"


def pack(
    source: Path,
    output: Path,
    *,
    rules: bool = False,
    words: OwnWords = OURS,
    tagger: Path | None = None,
    validation: Path | None = None,
    most_bytes: int | None = None,
    force: bool = False,
) -> int:
    """Write the artifact in `source` to `output` without what only training needs; return its size in bytes.

    `artifact_digest` of `output` is what `--digest` pins.

    Args:
        source: folder of an artifact.
        output: folder to write; it must not hold anything unless `force`.
        rules: let the rules of the clinical lexicon answer with the model, which then affirms only what words
            of the note name. The model's symptoms take the lexicon's names.
        words: a user's own, which the artifact then carries and reads by.
        tagger: folder of an artifact of the task `mentions`, whose spans then are mentions beside those of
            the rules, which read what each of them asserts. Wants `rules`; `source` is of whole notes.
        validation: coded notes on which it is chosen, by symptom, who decides where the two disagree and
            which words are evidence; without them the rules decide and no further words are. Wants `rules`.
        most_bytes: of all files together.
        force: overwrite an artifact in `output`.

    Raises:
        InputError: `source` or `tagger` is no whole artifact of its task, `output` is in the way, the
            artifact is too large, the validation notes cannot be read or were not coded, no rules would
            read `words`, or rules do not tell what its task tells of spans.
    """
    if validation is not None and not rules:
        raise InputError("--validation chooses between the model and the rules; add --rules")
    settings = read_extractor(source)
    check_files(source)
    if tagger is not None:
        _check_tagger(tagger, settings, rules=rules or settings.rules)
    held = words.over(carried_words(source, settings))
    packed = with_rules(settings, held.lexicon) if rules else settings
    if tagger is not None:
        packed = packed.model_copy(update={"tagger": True})
    check_words(source, packed, words)
    output = folder_to_write(output, advice="name another folder")
    if source.resolve() == output.resolve():
        raise InputError(f"{output}: is the artifact itself; name another folder")
    if output.exists() and not (force and (output / "extractor.json").is_file()):
        raise InputError(
            f"{output}: exists already; name another folder, or add --force for an older artifact"
        )
    with atomic_folder(output) as made:
        if tagger is not None:
            _carry(made, tagger)
        _fill(made, source, with_words(packed, words), words, validation)
        size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
        if most_bytes is not None and size > most_bytes:
            raise InputError(
                f"{source}: {size:,} bytes packed, more than the {most_bytes:,} asked for; press it further"
            )
    return size


def _check_tagger(tagger: Path, settings: Settings, *, rules: bool) -> None:
    """Refuse a tagger that could not be carried.

    Raises:
        InputError: as `pack`.
    """
    own = read_extractor(tagger)
    check_files(tagger)
    if own.tags is None or not task_of(own.task).asserts:
        lacks = "finds no spans" if own.tags is None else "tells no assertions"
        raise InputError(f"--tagger {tagger}: of the task {own.task}, {lacks}; give one of mentions")
    if task_of(settings.task).finds_spans:
        raise InputError(
            "--tagger: the artifact finds spans itself; give one of whole notes, or leave it out"
        )
    if not rules:
        raise InputError("--tagger: rules read what its spans assert; add --rules")


def _carry(made: Path, tagger: Path) -> None:
    (made / TAGGER_FOLDER).mkdir(parents=True)
    for name in needed_files(tagger):
        shutil.copyfile(tagger / name, made / TAGGER_FOLDER / name)
    record = tagger / "provenance.json"
    if record.is_file():
        shutil.copyfile(record, made / TAGGER_FOLDER / record.name)


def _fill(made: Path, source: Path, settings: Settings, words: OwnWords, validation: Path | None) -> None:
    for name in [*files_to_run(source), *BESIDE]:
        if (source / name).is_file() and not (made / name).exists():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, made / name)
    write_words(made, words)
    before = read_extractor(source)
    if settings != before:
        write_extractor(made, settings)
    if validation is not None:
        write_checksums(made)
        settings = _choose(made, settings, validation)
    if settings != before:
        _say_on_card(made / "README.md", before, settings)
    write_checksums(made)


def _choose(made: Path, settings: Settings, validation: Path) -> Settings:
    """Choose who decides on the coded notes of `validation`; write it to the artifact and its provenance."""
    from sympress.notes.read import read_notes
    from sympress.notes.synthesize import synthesize
    from sympress.runtime.extractor import Extractor as Loaded

    notes = read_notes(validation)
    if notes.frame["codes"].null_count():
        raise InputError(f"{validation}: notes without symptoms that people coded; give coded notes")
    general = synthesize(GENERAL_NOTES, seed=GENERAL_SEED).frame
    id_of = SpanLinker.of(load_lexicon("clinical"))  # synthetic notes know their symptoms by name
    known_ids = [[id_of(name) or name for name in names] for names in general["codes"].to_list()]
    told = coded_notes(notes.frame["text"].to_list(), notes.frame["codes"].to_list(), settings.symptoms)
    known = coded_notes(general["text"].to_list(), known_ids, settings.symptoms)
    chosen = choose(Loaded.load(made), told, known)
    settings = Settings.model_validate(
        settings.model_dump() | {"decides": chosen.decides, "evidence": chosen.evidence}
    )
    write_extractor(made, settings)
    record = read_provenance(made, missing="provenance.json is missing; the choice would not be recorded")
    figures = {"notes": notes.name, "fingerprint": notes.fingerprint, **chosen.figures}
    write_provenance(made, {**record, "decisions": figures})
    return settings


def with_rules(settings: Settings, own: Lexicon | None = None) -> Settings:
    """`settings`, with rules beside the model and the lexicon's names for the model's symptoms.

    The lexicon is `own`, or else the clinical one.

    The rules read all of a note, and so then does the model, window by window. A symptom keeps its name where
    the lexicon has none for it, or the same one for several of them.

    Raises:
        InputError: its spans are told something else than assertions, which is all that rules tell.
    """
    task = task_of(settings.task)
    if task.finds_spans and not task.asserts:
        raise InputError(
            f"--rules: they tell what spans assert, and the task {task.name} tells "
            f"{', '.join(task.classes)}; leave out --rules"
        )
    lexicon = settings.lexicon or "clinical"
    symptoms = (own or load_lexicon("clinical")).symptoms
    if task.finds_spans:
        return settings.model_copy(update={"lexicon": lexicon, "rules": True})
    ids = {symptom.id or symptom.name for symptom in symptoms}
    named = {name: vaers_to_clinical(name) for name in settings.symptoms}
    times = Counter(named.values())
    names = {
        name: one if one in ids and times[one] == 1 and one not in named else name
        for name, one in named.items()
    }
    codes = {names.get(name, name): codes for name, codes in settings.codes.items()}
    return settings.model_copy(
        update={
            "symptoms": [*names.values()],
            "codes": codes,
            "lexicon": lexicon,
            "rules": True,
            "windows": "all",
        }
    )


def _say_on_card(card: Path, before: Settings, settings: Settings) -> None:
    """Say on the card that rules answer too, and what the model's symptoms are called now.

    What an earlier packing said is replaced, but for the names that it gave.
    """
    if not card.is_file():
        return
    text, _, said_before = read_settings(card).partition(f"\n{_PACKED}\n")
    said = [
        f"Rules of the lexicon `{settings.lexicon}` find the mentions and their assertion; they have no "
        "probability. The figures above are the model's, without the rules.",
    ]
    own = [file for name, file in TEXT_FILES.items() if getattr(settings, name)]
    if own:
        said.append(f"Its own {' and '.join(f'`{file}`' for file in own)} are laid over those of sympress.")
    if not task_of(settings.task).finds_spans:
        said += _said_of_notes(settings, before.windows)
    if settings.tagger:
        said.append(
            "The model in `tagger` finds further spans. The rules read what each of them asserts; one that "
            "no words of the lexicon name has a symptom where its words are like those of one. No figure "
            "above is of these spans; `tagger/provenance.json` says how the model was made. Score all this "
            "on your own annotated notes: `sympress evaluate`."
        )
    renamed = [
        f"{old} is `{new}`" for old, new in zip(before.symptoms, settings.symptoms, strict=True) if old != new
    ]
    if renamed:
        said.append(f"{_NAMES} {', '.join(renamed)}; the others as above.")
    else:
        said += [line[2:] for line in said_before.splitlines() if line.startswith(f"- {_NAMES}")]
    lines = ["", _PACKED, "", *(f"- {one}" for one in said)]
    write_text(card, text.rstrip() + "\n" + "\n".join(lines) + "\n")


def _said_of_notes(settings: Settings, judged: str) -> list[str]:
    """What a card says of a model of whole notes that is packed with rules."""
    said = [
        "A note affirms a symptom that at least one of its mentions calls present. The model's probability "
        "confirms or doubts it; a symptom that no words name is not affirmed.",
        f"The model reads a note in windows of {settings.max_tokens} word pieces, and a symptom has the "
        "probability of its surest window."
        + (" The figures above are those of the first window." if judged == "first" else ""),
    ]
    refusing = [f"`{name}`" for name, one in settings.decides.items() if one == "model"]
    if refusing:
        said.append(f"Of {', '.join(refusing)} the model may refuse a present mention that it doubts.")
    if settings.evidence:
        named = (
            f"`{name}` ({', '.join(f'`{one}`' for one in held.mentions)})"
            for name, held in settings.evidence.items()
        )
        said.append(
            "Where the model affirms one of these and the note has no mention of it, a present mention of "
            f"the symptoms in brackets stands for it: {', '.join(named)}."
        )
    return said


# What an artifact says of itself in a few lines, and whether it is whole and right on this CPU.


def summarize(folder: Path) -> dict[str, str]:
    """A line for each thing to know of the artifact in `folder`, by its name.

    Among them are its digest, which `--digest` of other commands pins, its kernel with the CPUs that it is
    made for, and the CPU it was pressed on.

    Raises:
        InputError: the folder is no artifact, a file of it is missing, changed or damaged, or this CPU would
            multiply its weights wrong.
    """
    settings = read_extractor(folder)
    check_files(folder)
    names = files_to_run(folder)
    size = sum((folder / name).stat().st_size for name in names if (folder / name).is_file())
    what = "rules alone" if settings.rules_only else f"{len(settings.symptoms)} symptoms"
    what += ", rules and a tagger" if settings.tagger else ""
    lines = {
        "task": f"{settings.task}, {what}",
        "files": f"{len(names)} to run, {size:,} bytes",
        "digest": artifact_digest(folder),
    }
    if settings.rules_only:
        return lines
    check_kernel(folder)
    record = read_object(folder / "provenance.json") or {}
    if isinstance(record.get("recipe"), str):
        lines["recipe"] = record["recipe"]
    lines["kernel"] = _kernel(folder)
    pressed_on = _pressed_on(record)
    if pressed_on:
        lines["made on"] = pressed_on
    lines["this CPU"] = f"{processor_name()}: right with onnxruntime {onnxruntime.__version__}"
    return lines


def _kernel(folder: Path) -> str:
    kernel = kernel_of(folder)
    if kernel is not None:
        return f"{kernel}: {made_for(kernel) or 'unknown to this sympress'}"
    integers = multiplies_integers(folder)
    return "not recorded; the file multiplies integers" if integers else "none: float weights, for every CPU"


def _pressed_on(record: dict[str, Any]) -> str | None:
    environment = record.get("environment")
    processor = environment.get("processor") if isinstance(environment, dict) else None
    return processor if isinstance(processor, str) else None
