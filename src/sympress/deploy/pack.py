"""Pack an artifact as it is shipped: what it needs to run, its card, and rules beside its model."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from sympress.deploy.artifact import Extractor, read_extractor, write_extractor
from sympress.deploy.checksums import check_files, files_to_run, write_checksums
from sympress.deploy.rule_files import carried_words, check_words, with_words, write_words
from sympress.errors import InputError
from sympress.files import full_disk_explained, write_text
from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.labels.own_words import OURS, OwnWords
from sympress.labels.vaers_map import vaers_to_clinical

#: What is shipped beside the files that the runtime reads.
BESIDE = ("README.md", "provenance.json")


def pack(
    source: Path,
    output: Path,
    *,
    rules: bool = False,
    words: OwnWords = OURS,
    most_bytes: int | None = None,
    force: bool = False,
) -> int:
    """Write the artifact in `source` to `output` without what only training needs; return its size in bytes.

    Args:
        source: folder of an artifact.
        output: folder to write; it must not hold anything unless `force`.
        rules: let the rules of the clinical lexicon add spans with their assertion. What a span calls present
            is affirmed beside what the model affirms. The model's symptoms take the lexicon's names.
        words: a user's own, which the artifact then carries and reads by.
        most_bytes: of all files together.
        force: overwrite an artifact in `output`.

    Raises:
        InputError: `source` is no whole artifact, `output` is in the way, the artifact is too large,
            or it has no rules that would read `words`.
    """
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
            _fill(made, source, with_words(packed, words), words)
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


def _fill(made: Path, source: Path, settings: Extractor, words: OwnWords) -> None:
    made.mkdir(parents=True)
    for name in [*files_to_run(source), *BESIDE]:
        if (source / name).is_file():
            shutil.copyfile(source / name, made / name)
    write_words(made, words)
    before = read_extractor(source)
    if settings != before:
        write_extractor(made, settings)
        _say_on_card(made / "README.md", before.symptoms, settings)
    write_checksums(made)


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
    """Add to the card that rules answer too, and what the model's symptoms are called now."""
    if not card.is_file():
        return
    said = [
        f"Rules of the lexicon `{settings.lexicon}` add spans with their assertion, with score 1; the "
        "figures above are the model's alone."
    ]
    if settings.task != "mentions":
        said += [
            "A note affirms what the model affirms and what a span calls present.",
            f"The model reads a note in windows of {settings.max_tokens} word pieces, and a symptom has the "
            "probability of its surest window. The figures above are those of the first window.",
        ]
    renamed = [f"{old} is `{new}`" for old, new in zip(before, settings.symptoms, strict=True) if old != new]
    if renamed:
        said.append(f"Symptoms as the lexicon names them: {', '.join(renamed)}; the others as above.")
    lines = ["", "## As packed", "", *(f"- {one}" for one in said)]
    write_text(card, card.read_text(encoding="utf-8").rstrip() + "\n" + "\n".join(lines) + "\n")
