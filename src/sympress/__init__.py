"""Train, compress and honestly measure symptom extractors for clinical notes on plain CPUs.

    from sympress import StudyConfig, run_study
    results = run_study(StudyConfig(synthetic_notes=500, epochs=1), "runs/try")

    import sympress
    sympress.load("runs/try/artifacts/quantization-seed0")("c/o fever and chills, denies cough").to_frame()

`load()` without a folder opens the artifact that comes with sympress. The logger `sympress` is silent until a
program gives it a handler; it never says what a note says.

What needs PyTorch is imported when it is first used, so that a base install can extract and serve.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

from sympress.telemetry import silence

if TYPE_CHECKING:
    from sympress.config import StudyConfig
    from sympress.deploy.extractor import Extractor
    from sympress.deploy.load import load
    from sympress.deploy.note_result import NoteResult, NoteResults
    from sympress.deploy.runtime import Runtime
    from sympress.errors import InputError, LeakError, MissingExtraError, SympressError
    from sympress.evaluation.run import evaluate
    from sympress.labels.labelset import LabelSet
    from sympress.labels.lexicon import Lexicon, load_lexicon
    from sympress.notes.read import read_notes, stream_notes
    from sympress.notes.schema import NOTE_SCHEMA, NoteSet
    from sympress.notes.synthesize import synthesize
    from sympress.results import Results, load_results
    from sympress.study.run import run_study

silence()
logging.getLogger("sympress").addHandler(logging.NullHandler())

_HOMES = {
    "Extractor": "sympress.deploy.extractor",
    "InputError": "sympress.errors",
    "LabelSet": "sympress.labels.labelset",
    "LeakError": "sympress.errors",
    "Lexicon": "sympress.labels.lexicon",
    "MissingExtraError": "sympress.errors",
    "NOTE_SCHEMA": "sympress.notes.schema",
    "NoteResult": "sympress.deploy.note_result",
    "NoteResults": "sympress.deploy.note_result",
    "NoteSet": "sympress.notes.schema",
    "Results": "sympress.results",
    "Runtime": "sympress.deploy.runtime",
    "StudyConfig": "sympress.config",
    "SympressError": "sympress.errors",
    "evaluate": "sympress.evaluation.run",
    "load": "sympress.deploy.load",
    "load_lexicon": "sympress.labels.lexicon",
    "load_results": "sympress.results",
    "read_notes": "sympress.notes.read",
    "run_study": "sympress.study.run",
    "stream_notes": "sympress.notes.read",
    "synthesize": "sympress.notes.synthesize",
}

__all__ = [
    "NOTE_SCHEMA",
    "Extractor",
    "InputError",
    "LabelSet",
    "LeakError",
    "Lexicon",
    "MissingExtraError",
    "NoteResult",
    "NoteResults",
    "NoteSet",
    "Results",
    "Runtime",
    "StudyConfig",
    "SympressError",
    "evaluate",
    "load",
    "load_lexicon",
    "load_results",
    "read_notes",
    "run_study",
    "stream_notes",
    "synthesize",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("sympress")
    if name not in _HOMES:
        raise AttributeError(f"module 'sympress' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
