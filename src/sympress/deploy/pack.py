"""Pack an artifact as it is shipped: what it needs to run, its card, and rules beside its model."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from sympress.deploy.artifact import (
    Extractor,
    read_extractor,
    read_provenance,
    write_extractor,
    write_provenance,
)
from sympress.deploy.checksums import check_files, files_to_run, write_checksums
from sympress.deploy.rule_files import TEXT_FILES, carried_words, check_words, with_words, write_words
from sympress.errors import InputError
from sympress.files import full_disk_explained, write_text
from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.labels.own_words import OURS, OwnWords
from sympress.labels.surface import symptom_of_forms
from sympress.labels.vaers_map import vaers_to_clinical

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
        validation: coded notes on which it is chosen, by symptom, who decides where the two disagree and
            which words are evidence; without them the rules decide and no further words are. Wants `rules`.
        most_bytes: of all files together.
        force: overwrite an artifact in `output`.

    Raises:
        InputError: `source` is no whole artifact, `output` is in the way, the artifact is too large, the
            validation notes cannot be read or were not coded, or no rules would read `words`.
    """
    if validation is not None and not rules:
        raise InputError("--validation chooses between the model and the rules; add --rules")
    settings = read_extractor(source)
    check_files(source)
    held = words.over(carried_words(source, settings))
    packed = with_rules(settings, held.lexicon) if rules else settings
    check_words(source, packed, words)
    if source.resolve() == output.resolve():
        raise InputError(f"{output}: is the artifact itself; name another folder")
    if output.exists() and not (force and (output / "extractor.json").is_file()):
        raise InputError(
            f"{output}: exists already; name another folder, or add --force for an older artifact"
        )
    made = output.with_name(f"{output.name}.packing")
    shutil.rmtree(made, ignore_errors=True)
    try:
        with full_disk_explained(output.parent):
            _fill(made, source, with_words(packed, words), words, validation)
        size = sum(path.stat().st_size for path in made.iterdir())
        if most_bytes is not None and size > most_bytes:
            raise InputError(
                f"{source}: {size:,} bytes packed, more than the {most_bytes:,} asked for; press it further"
            )
        shutil.rmtree(output, ignore_errors=True)
        made.rename(output)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return size


def _fill(made: Path, source: Path, settings: Extractor, words: OwnWords, validation: Path | None) -> None:
    made.mkdir(parents=True)
    for name in [*files_to_run(source), *BESIDE]:
        if (source / name).is_file():
            shutil.copyfile(source / name, made / name)
    write_words(made, words)
    before = read_extractor(source)
    if settings != before:
        write_extractor(made, settings)
    if validation is not None:
        write_checksums(made)
        settings = _choose(made, settings, validation)
    if settings != before:
        _say_on_card(made / "README.md", before.symptoms, settings)
    write_checksums(made)


def _choose(made: Path, settings: Extractor, validation: Path) -> Extractor:
    """Choose who decides on the coded notes of `validation`; write it to the artifact and its provenance."""
    from sympress.deploy.decisions import choose, coded_notes
    from sympress.deploy.extractor import Extractor as Loaded
    from sympress.notes.read import read_notes
    from sympress.notes.synthesize import synthesize

    notes = read_notes(validation)
    if notes.frame["codes"].null_count():
        raise InputError(f"{validation}: notes without symptoms that people coded; give coded notes")
    general = synthesize(GENERAL_NOTES, seed=GENERAL_SEED).frame
    id_of = symptom_of_forms(load_lexicon("clinical"))  # synthetic notes know their symptoms by name
    known_ids = [[id_of(name) or name for name in names] for names in general["codes"].to_list()]
    told = coded_notes(notes.frame["text"].to_list(), notes.frame["codes"].to_list(), settings.symptoms)
    known = coded_notes(general["text"].to_list(), known_ids, settings.symptoms)
    chosen = choose(Loaded.load(made), told, known)
    settings = Extractor.model_validate(
        settings.model_dump() | {"decides": chosen.decides, "evidence": chosen.evidence}
    )
    write_extractor(made, settings)
    record = read_provenance(made, missing="provenance.json is missing; the choice would not be recorded")
    figures = {"notes": notes.name, "fingerprint": notes.fingerprint, **chosen.figures}
    write_provenance(made, {**record, "decisions": figures})
    return settings


def with_rules(settings: Extractor, own: Lexicon | None = None) -> Extractor:
    """`settings`, with rules beside the model and the lexicon's names for the model's symptoms.

    The lexicon is `own`, or else the clinical one.

    The rules read all of a note, and so then does the model, window by window. A symptom keeps its name where
    the lexicon has none for it, or the same one for several of them.
    """
    lexicon = settings.lexicon or "clinical"
    symptoms = (own or load_lexicon("clinical")).symptoms
    if settings.task == "mentions":
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


def _say_on_card(card: Path, before: list[str], settings: Extractor) -> None:
    """Say on the card that rules answer too, and what the model's symptoms are called now.

    What an earlier packing said is replaced, but for the names that it gave.
    """
    if not card.is_file():
        return
    text, _, said_before = card.read_text(encoding="utf-8").partition(f"\n{_PACKED}\n")
    said = [
        f"Rules of the lexicon `{settings.lexicon}` find the mentions and their assertion; they have no "
        "probability. The figures above are the model's, without the rules.",
    ]
    own = [file for name, file in TEXT_FILES.items() if getattr(settings, name)]
    if own:
        said.append(f"Its own {' and '.join(f'`{file}`' for file in own)} are laid over those of sympress.")
    if settings.task != "mentions":
        said += _said_of_notes(settings)
    renamed = [f"{old} is `{new}`" for old, new in zip(before, settings.symptoms, strict=True) if old != new]
    if renamed:
        said.append(f"{_NAMES} {', '.join(renamed)}; the others as above.")
    else:
        said += [line[2:] for line in said_before.splitlines() if line.startswith(f"- {_NAMES}")]
    lines = ["", _PACKED, "", *(f"- {one}" for one in said)]
    write_text(card, text.rstrip() + "\n" + "\n".join(lines) + "\n")


def _said_of_notes(settings: Extractor) -> list[str]:
    """What a card says of a model of whole notes that is packed with rules."""
    said = [
        "A note affirms a symptom that at least one of its mentions calls present. The model's probability "
        "confirms or doubts it; a symptom that no words name is not affirmed.",
        f"The model reads a note in windows of {settings.max_tokens} word pieces, and a symptom has the "
        "probability of its surest window. The figures above are those of the first window.",
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
