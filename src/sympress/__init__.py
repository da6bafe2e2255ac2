"""Train, compress and honestly measure symptom extractors for clinical notes on plain CPUs.

    import sympress

    model = sympress.load("my-org/symptom-bert")
    small = sympress.compress(model, "pocket", train=(texts, labels), unlabelled=others)
    print(sympress.evaluate(small, test, test_labels, against=model, groups=patients))
    small.save("pocket/")
    sympress.load("pocket/")("c/o fever and chills, denies cough").to_frame()

`load()` without a folder opens the artifact that comes with sympress. The logger `sympress` is silent until a
program gives it a handler; it never says what a note says.

What needs PyTorch is imported when it is first used, so that a base install can extract and serve.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from sympress.processes import silence

if TYPE_CHECKING:
    from sympress.api import compress, evaluate, load, study, train
    from sympress.compression.recipe.language import Recipe
    from sympress.config import StudyConfig
    from sympress.errors import InputError, LeakError, MissingExtraError, SympressError
    from sympress.labels.lexicon import Lexicon, load_lexicon
    from sympress.labels.mentions import LabelSet
    from sympress.model import Model
    from sympress.notes.read import NOTE_SCHEMA, NoteSet, read_notes, stream_notes
    from sympress.notes.synthesize import synthesize
    from sympress.results import Results, load_results
    from sympress.runtime.extractor import Extractor
    from sympress.runtime.note_result import NoteResult, NoteResults
    from sympress.runtime.session import Runtime

silence()
logging.getLogger("sympress").addHandler(logging.NullHandler())

#: Where each public name is.
_HOMES = {
    "Extractor": "sympress.runtime.extractor",
    "InputError": "sympress.errors",
    "LabelSet": "sympress.labels.mentions",
    "LeakError": "sympress.errors",
    "Lexicon": "sympress.labels.lexicon",
    "MissingExtraError": "sympress.errors",
    "Model": "sympress.model",
    "NOTE_SCHEMA": "sympress.notes.read",
    "NoteResult": "sympress.runtime.note_result",
    "NoteResults": "sympress.runtime.note_result",
    "NoteSet": "sympress.notes.read",
    "Recipe": "sympress.compression.recipe.language",
    "Results": "sympress.results",
    "Runtime": "sympress.runtime.session",
    "StudyConfig": "sympress.config",
    "SympressError": "sympress.errors",
    "compress": "sympress.api",
    "evaluate": "sympress.api",
    "load": "sympress.api",
    "load_lexicon": "sympress.labels.lexicon",
    "load_results": "sympress.results",
    "read_notes": "sympress.notes.read",
    "stream_notes": "sympress.notes.read",
    "study": "sympress.api",
    "synthesize": "sympress.notes.synthesize",
    "train": "sympress.api",
}

__all__ = [
    "NOTE_SCHEMA",
    "Extractor",
    "InputError",
    "LabelSet",
    "LeakError",
    "Lexicon",
    "MissingExtraError",
    "Model",
    "NoteResult",
    "NoteResults",
    "NoteSet",
    "Recipe",
    "Results",
    "Runtime",
    "StudyConfig",
    "SympressError",
    "compress",
    "evaluate",
    "load",
    "load_lexicon",
    "load_results",
    "read_notes",
    "stream_notes",
    "study",
    "synthesize",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("sympress")
    if name not in _HOMES:
        raise AttributeError(f"module 'sympress' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
