"""Synthetic clinical notes with gold mentions: the data of sympress where no other may be used.

Every word is ours, no text of a real note is copied. What they are good for is trying the whole way
of the data and testing it; a quality measured on them says nothing about real notes.
"""

from sympress.notes.synthesize.generator import MENTION_SCHEMA, SyntheticNotes, synthesize, synthesize_batches
from sympress.notes.synthesize.vocabulary import load_vocabulary
from sympress.notes.synthesize.writer import WrittenNotes, write_noteevents, write_notes

__all__ = [
    "MENTION_SCHEMA",
    "SyntheticNotes",
    "WrittenNotes",
    "load_vocabulary",
    "synthesize",
    "synthesize_batches",
    "write_noteevents",
    "write_notes",
]
