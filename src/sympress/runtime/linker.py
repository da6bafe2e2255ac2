"""The words of an artifact: which names a found span, and which find further mentions."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sympress.errors import InputError, place_of
from sympress.files import read_settings, write_text
from sympress.labels.annotate import Annotator
from sympress.labels.lexicon import (
    BUILT_IN,
    Lexicon,
    Symptom,
    codes_by_symptom,
    forms_by_symptom,
    load_lexicon,
)
from sympress.labels.lexicon_file import MOST_FORMS_TOGETHER
from sympress.labels.linking import SpanLinker
from sympress.labels.own_words import OwnWords, words_of_text
from sympress.labels.task import task_of
from sympress.labels.user_files import read_text
from sympress.runtime.artifact import Extractor
from sympress.runtime.tokens import Link

# The words that an artifact reads by: those it carries in files of its own, or ours.
#
# `lexicon.json` holds a whole lexicon; `cues.toml` and `sections.toml` are the user's files as they were
# written, and are laid over the cues and headings of the sympress that runs the artifact.


#: Where an artifact carries a lexicon of its own.
LEXICON_FILE = "lexicon.json"
LEXICON_FORMAT = 1

#: Where older artifacts carry the forms of one, and nothing else of it.
FORMS_FILE = "forms.json"

#: Where an artifact carries cues and headings, by their name in `OwnWords.texts`.
TEXT_FILES = {"cues": "cues.toml", "sections": "sections.toml"}

_LEXICON = TypeAdapter(Lexicon)
_FORMS = TypeAdapter(dict[str, list[str]])


def check_words(folder: Path, settings: Extractor, words: OwnWords) -> None:
    """Refuse words that the artifact in `folder` would not read.

    Raises:
        InputError: it has no rules; a tagger without them names spans by a lexicon, and reads no more.
    """
    if settings.rules:
        return
    unread = [name for name in words.named() if name != "lexicon" or not task_of(settings.task).finds_spans]
    if unread:
        options = " and ".join(f"--{name}" for name in unread)
        raise InputError(
            f"{options}: {folder} has no rules that would read {'it' if len(unread) == 1 else 'them'}; leave "
            f"out {options}, or add rules with  sympress pack {folder} --rules"
        )


def with_words(settings: Extractor, words: OwnWords) -> Extractor:
    """`settings` of an artifact that reads by `words`, with the codes of their lexicon; see `write_words`."""
    update: dict[str, object] = dict.fromkeys(words.texts, True)
    if words.lexicon is not None:
        codes = codes_by_symptom(words.lexicon)
        update["lexicon"] = held_as(words.lexicon)
        if task_of(settings.task).finds_spans:
            update |= {"codes": codes, "symptoms": list(forms_by_symptom(words.lexicon))}
        else:
            update["codes"] = settings.codes | codes
    return Extractor.model_validate(settings.model_dump() | update)


def held_as(lexicon: Lexicon) -> str:
    """What `extractor.json` calls the lexicon: its name if it comes with sympress, else `LEXICON_FILE`."""
    built_in = lexicon.name in BUILT_IN and lexicon == load_lexicon(lexicon.name)
    return lexicon.name if built_in else LEXICON_FILE


def write_words(folder: Path, words: OwnWords) -> None:
    """Put `words` into the artifact `folder`, but for a lexicon that comes with sympress."""
    if words.lexicon is not None and held_as(words.lexicon) == LEXICON_FILE:
        (folder / FORMS_FILE).unlink(missing_ok=True)
        held = {"format": LEXICON_FORMAT, "lexicon": _LEXICON.dump_python(words.lexicon, mode="json")}
        write_text(folder / LEXICON_FILE, json.dumps(held, ensure_ascii=False, separators=(",", ":")) + "\n")
    for name, text in words.texts.items():
        write_text(folder / TEXT_FILES[name], text)


def carried_words(folder: Path, settings: Extractor) -> OwnWords:
    """The words that the artifact in `folder` reads by; None of them where it reads none, or ours.

    Raises:
        InputError: a file of it is missing or damaged, or clashes with the words of this sympress.
    """
    words = OwnWords(None if settings.lexicon is None else _carried_lexicon(folder, settings.lexicon))
    for name, file in TEXT_FILES.items():
        if getattr(settings, name):
            path = folder / file
            if not path.is_file():
                raise InputError(f"{path}: missing; copy the artifact again")
            words = words_of_text(name, read_text(path, f"file of {name}"), str(path)).over(words)
    return words


def _carried_lexicon(folder: Path, held: str) -> Lexicon:
    if held in BUILT_IN:
        return load_lexicon(held)
    path = folder / held
    try:
        raw = json.loads(read_settings(path))
        if held == FORMS_FILE:
            own = _FORMS.validate_python(raw)
            entries = tuple(Symptom(name, tuple(forms), name) for name, forms in own.items())
            return _bounded(Lexicon(FORMS_FILE, entries), path)
        found = raw["format"]
        if isinstance(found, int) and found > LEXICON_FORMAT:
            raise InputError(f"{path}: format {found} is newer than this sympress; upgrade sympress")
        lexicon = _LEXICON.validate_python(raw["lexicon"])
        if not all(0 <= at < len(lexicon.symptoms) for places in lexicon.combined.values() for at in places):
            raise InputError(f"{path}: damaged at combined; copy the artifact again")
        return _bounded(lexicon, path)
    except ValidationError as error:
        where = place_of(error.errors()[0]["loc"])
        raise InputError(f"{path}: damaged at {where}; copy the artifact again") from error
    except (OSError, ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
        raise InputError(
            f"{path}: missing or damaged ({type(error).__name__}); copy the artifact again"
        ) from error


def _bounded(lexicon: Lexicon, path: Path) -> Lexicon:
    """`lexicon`, whose forms are no more than those of a file that a user writes."""
    forms = sum(len(one.forms) for one in lexicon.symptoms)
    if forms > MOST_FORMS_TOGETHER:
        raise InputError(f"{path}: {forms:,} forms, {MOST_FORMS_TOGETHER:,} at most; make the artifact again")
    return lexicon


# What names the symptom of a found span, and what finds further mentions: the words of an artifact.


def with_lexicon(extractor: Extractor, lexicon: Lexicon) -> Extractor:
    """`extractor`, which names spans by `lexicon` and knows its codes; see `write_lexicon`."""
    update = {"lexicon": held_as(lexicon), "codes": codes_by_symptom(lexicon)}
    return Extractor.model_validate(extractor.model_dump() | update)


def with_rule_codes(extractor: Extractor, lexicon: Lexicon | None) -> Extractor:
    """`extractor`, which also knows the codes of what its rules find beside the model's own symptoms."""
    if not extractor.rules or task_of(extractor.task).finds_spans or lexicon is None:
        return extractor
    return extractor.model_copy(update={"codes": codes_by_symptom(lexicon) | extractor.codes})


def load_names(extractor: Extractor, lexicon: Lexicon | None) -> dict[str, str]:
    """What people call each symptom that `extractor` may answer with, by id; `lexicon` is what it reads by.

    A symptom that the lexicon does not have is called by its id.
    """
    names = {name: name for name in extractor.symptoms}
    if lexicon is None:
        return names
    held = {one.id or one.name: one.name for one in lexicon.symptoms}
    asked = held if extractor.rules or task_of(extractor.task).finds_spans else names
    return names | {name: held.get(name, name) for name in asked}


def write_lexicon(folder: Path, extractor: Extractor, lexicon: Lexicon) -> None:
    """Put `lexicon` into the artifact `folder`, unless it comes with sympress or names no spans."""
    if extractor.lexicon is not None:
        write_words(folder, OwnWords(lexicon))


def load_rules(extractor: Extractor, words: OwnWords) -> Annotator | None:
    """What finds the further mentions of a note by rules; None where the artifact asks for none."""
    return rules_of(words) if extractor.rules else None


def rules_of(words: OwnWords) -> Annotator | None:
    """What finds mentions by the lexicon of `words`; None where there is none."""
    if words.lexicon is None:
        return None
    if words.cues is None and words.sections is None:
        return _rules_by_our_cues(words.lexicon)
    return words.annotator(words.lexicon, at_once=False)


@lru_cache(maxsize=2)
def _rules_by_our_cues(lexicon: Lexicon) -> Annotator:
    """One annotator for all artifacts of a lexicon: a twentieth of a second, and its memory once."""
    return Annotator(lexicon, at_once=False)


def load_link(words: OwnWords) -> Link | None:
    """What names spans by the lexicon of `words`; None where there is none.

    It is made when the first span asks for a name, which takes a tenth of a second: many notes ask for none.
    """
    lexicon = words.lexicon
    if lexicon is None:
        return None
    linker = cache(lambda: SpanLinker.of(lexicon))

    def link(form: str) -> str | None:
        return linker()(form)

    return link
