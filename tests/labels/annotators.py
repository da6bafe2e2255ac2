"""Annotators that several files ask: building one takes half a second."""

from functools import cache

from sympress.labels.annotate import Annotator
from sympress.labels.lexicon import load_lexicon


@cache
def clinical() -> Annotator:
    """With the clinical lexicon and our cues and sections."""
    return Annotator(load_lexicon("clinical"))
