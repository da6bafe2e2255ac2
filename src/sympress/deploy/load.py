"""`sympress.load`: the one way in for a program that wants answers."""

from __future__ import annotations

from pathlib import Path

from sympress.deploy.extractor import Extractor, OnError
from sympress.labels.own_words import read_own_words


def load(
    source: str | Path | None = None,
    *,
    threads: int = 1,
    lexicon: str | Path | None = None,
    cues: str | Path | None = None,
    sections: str | Path | None = None,
    digest: str | None = None,
    on_error: OnError = "record",
) -> Extractor:
    """Load an artifact, ready to answer notes.

        sympress.load()("c/o fever and chills, denies cough").to_frame()

    Args:
        source: folder of the artifact; `box` (also None) for the model and rules that come with sympress,
            `rules` for the rules alone.
        threads: notes that are answered at the same time.
        lexicon: a built-in lexicon's name or a file that names the symptoms, in place of the artifact's.
        cues: a .toml file that decides assertions, over the artifact's.
        sections: a .toml file of headings, over the artifact's.
        digest: `sha256:` and 64 digits, of the one artifact that may be loaded; None for any.
        on_error: what becomes of a note without an answer: `record` puts the reason into its result, `raise`
            raises it.

    Raises:
        InputError: no artifact is there, it is damaged or not that of `digest`, or it has no rules that would
            read `lexicon`, `cues` or `sections`, or one of these has mistakes.
    """
    words = read_own_words(lexicon, cues, sections)
    return Extractor.load(source, threads=threads, words=words, digest=digest, on_error=on_error)
