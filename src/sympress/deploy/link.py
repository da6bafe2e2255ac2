"""What names the symptom of a found span, and what finds further mentions: the words of an artifact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from sympress.deploy.artifact import Extractor
from sympress.deploy.decode import Link
from sympress.deploy.rule_files import held_as, write_words
from sympress.labels.lexicon import Lexicon
from sympress.labels.mentions import Mention
from sympress.labels.own_words import OwnWords
from sympress.labels.surface import SurfaceLinker, codes_by_symptom, forms_by_symptom
from sympress.notes.markup.view import View


def with_lexicon(extractor: Extractor, lexicon: Lexicon) -> Extractor:
    """`extractor`, which names spans by `lexicon` and knows its codes; see `write_lexicon`."""
    update = {"lexicon": held_as(lexicon), "codes": codes_by_symptom(lexicon)}
    return Extractor.model_validate(extractor.model_dump() | update)


def with_rule_codes(extractor: Extractor, lexicon: Lexicon | None) -> Extractor:
    """`extractor`, which also knows the codes of what its rules find beside the model's own symptoms."""
    if not extractor.rules or extractor.task == "mentions" or lexicon is None:
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
    asked = held if extractor.rules or extractor.task == "mentions" else names
    return names | {name: held.get(name, name) for name in asked}


def write_lexicon(folder: Path, extractor: Extractor, lexicon: Lexicon) -> None:
    """Put `lexicon` into the artifact `folder`, unless it comes with sympress or names no spans."""
    if extractor.lexicon is not None:
        write_words(folder, OwnWords(lexicon))


class Rules(Protocol):
    """Finds mentions by rules."""

    def __call__(self, view: View, most: int | None = None, /) -> Sequence[Mention]:
        """Those of a note, `most` or an error."""
        ...


def load_rules(extractor: Extractor, words: OwnWords) -> Rules | None:
    """What finds the further mentions of a note by rules; None where the artifact asks for none."""
    if not extractor.rules or words.lexicon is None:
        return None
    return words.annotator(words.lexicon, at_once=False).mentions_of


def load_link(words: OwnWords) -> Link | None:
    """What names spans by the lexicon of `words`; None where there is none."""
    return None if words.lexicon is None else SurfaceLinker(forms_by_symptom(words.lexicon))
