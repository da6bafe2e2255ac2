"""What names the symptom of a found span: the forms of a lexicon, which an artifact names or carries."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from sympress.deploy.artifact import Extractor
from sympress.deploy.decode import Link
from sympress.errors import InputError
from sympress.files import write_json
from sympress.labels.annotate import Annotator
from sympress.labels.lexicon import BUILT_IN, Lexicon, Symptom, load_lexicon
from sympress.labels.mentions import Mention
from sympress.labels.surface import SurfaceLinker, codes_by_symptom, forms_by_symptom

#: Where an artifact carries the forms of a lexicon of its own.
FORMS_FILE = "forms.json"


def with_lexicon(extractor: Extractor, lexicon: Lexicon) -> Extractor:
    """`extractor`, which names spans by `lexicon` and knows its codes; see `write_forms`."""
    held = lexicon.name if lexicon.name in BUILT_IN else FORMS_FILE
    update = {"lexicon": held, "codes": codes_by_symptom(lexicon)}
    return Extractor.model_validate(extractor.model_dump() | update)


def with_rule_codes(extractor: Extractor) -> Extractor:
    """`extractor`, which also knows the codes of what its rules find beside the model's own symptoms."""
    if not extractor.rules or extractor.task == "mentions" or extractor.lexicon in {None, FORMS_FILE}:
        return extractor
    codes = codes_by_symptom(load_lexicon(extractor.lexicon)) | extractor.codes
    return extractor.model_copy(update={"codes": codes})


def load_names(extractor: Extractor) -> dict[str, str]:
    """What people call each symptom that `extractor` may answer with, by its id.

    A symptom that its lexicon does not have is called by its id.
    """
    names = {name: name for name in extractor.symptoms}
    if extractor.lexicon in {None, FORMS_FILE}:
        return names
    held = {one.id or one.name: one.name for one in load_lexicon(extractor.lexicon or "").symptoms}
    asked = held if extractor.rules or extractor.task == "mentions" else names
    return names | {name: held.get(name, name) for name in asked}


def write_forms(folder: Path, extractor: Extractor, lexicon: Lexicon) -> None:
    """Put the forms into the artifact `folder`, unless its lexicon comes with sympress."""
    if extractor.lexicon == FORMS_FILE:
        write_json(
            folder / FORMS_FILE, {name: list(forms) for name, forms in forms_by_symptom(lexicon).items()}
        )


def load_rules(folder: Path, extractor: Extractor) -> Callable[[str], Sequence[Mention]] | None:
    """What finds the further mentions of a text by rules; None where the artifact asks for none.

    Raises:
        InputError: its forms are missing or damaged.
    """
    if not extractor.rules or extractor.lexicon is None:
        return None
    if extractor.lexicon != FORMS_FILE:
        return Annotator(load_lexicon(extractor.lexicon), at_once=False).mentions
    forms = _read_forms(folder)
    entries = tuple(Symptom(name, tuple(own), name) for name, own in forms.items())
    return Annotator(Lexicon(FORMS_FILE, entries), at_once=False).mentions


def load_link(folder: Path, extractor: Extractor) -> Link | None:
    """What names spans for the artifact in `folder`; None where nothing does.

    Raises:
        InputError: its forms are missing or damaged.
    """
    if extractor.lexicon is None:
        return None
    if extractor.lexicon != FORMS_FILE:
        return SurfaceLinker(forms_by_symptom(load_lexicon(extractor.lexicon)))
    return SurfaceLinker(_read_forms(folder))


def _read_forms(folder: Path) -> dict[str, list[str]]:
    path = folder / FORMS_FILE
    try:
        forms = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): [str(form) for form in own] for name, own in forms.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f"{path}: missing or damaged ({type(error).__name__}); copy the artifact again"
        ) from error
