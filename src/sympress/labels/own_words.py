"""The user's own words: a lexicon, cues and sections in place of ours, read from files before work begins."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sympress.errors import InputError
from sympress.labels.annotate import Annotator
from sympress.labels.assertion.cue_files import lay_cues
from sympress.labels.assertion.cues import CUE_TABLES, CueBook
from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.labels.sections import SectionBook, lay_sections
from sympress.labels.surface import forms_by_symptom
from sympress.labels.user_files import Mistakes, parse_table, read_text


@dataclass(frozen=True)
class OwnWords:
    """What a user brings; None is ours. Nothing is read from disk any more, so it goes to any process.

    Attributes:
        lexicon: names the symptoms.
        cues: decide what a note asserts of a mention.
        sections: tell which headings stand where.
        texts: of the files of `cues` and `sections`, as they were written, by those names.
    """

    lexicon: Lexicon | None = None
    cues: CueBook | None = None
    sections: SectionBook | None = None
    texts: Mapping[str, str] = field(default_factory=dict, hash=False)

    def named(self) -> list[str]:
        """Which of `lexicon`, `cues` and `sections` there are."""
        given = {"lexicon": self.lexicon, "cues": self.cues, "sections": self.sections}
        return [name for name, one in given.items() if one is not None]

    def over(self, base: OwnWords) -> OwnWords:
        """Return these, and those of `base` where there are none."""
        return OwnWords(
            self.lexicon or base.lexicon,
            self.cues or base.cues,
            self.sections or base.sections,
            {**base.texts, **self.texts},
        )

    def annotator(self, default: str | Lexicon, *, at_once: bool = True) -> Annotator:
        """Return what finds mentions by these words; `default` is the lexicon where there is none."""
        lexicon = self.lexicon or (load_lexicon(default) if isinstance(default, str) else default)
        return Annotator(lexicon, self.cues, self.sections, at_once=at_once)

    def digest(self) -> str:
        """Return 64 hexadecimal digits that differ where anything in the words does."""
        parts = [repr(self.lexicon), *(f"{name}\n{text}" for name, text in sorted(self.texts.items()))]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


#: No words of a user's: everything is ours.
OURS = OwnWords()


def read_own_words(
    lexicon: str | Path | None = None, cues: str | Path | None = None, sections: str | Path | None = None
) -> OwnWords:
    """Read a user's files; None for each that is not given.

    Args:
        lexicon: the name of a built-in lexicon, or a .tsv or .toml file.
        cues: a .toml file, see `lay_cues`.
        sections: a .toml file, see `lay_sections`.

    Raises:
        InputError: a file cannot be read or has mistakes; the message names all of all files.
    """
    mistakes = Mistakes()
    words, texts = OwnWords(), {}
    if lexicon is not None:
        with mistakes.noted():
            words = OwnWords(load_lexicon(lexicon))
    for name, path in (("cues", cues), ("sections", sections)):
        if path is not None:
            with mistakes.noted():
                texts[name] = read_text(Path(path), f"file of {name}")
                words = words_of_text(name, texts[name], str(path)).over(words)
    mistakes.raise_any(by_line=False)
    return words


def words_of_text(name: str, text: str, source: str) -> OwnWords:
    """Return the words of one text; `name` is `cues` or `sections`, `source` what messages call it.

    Raises:
        InputError: as `lay_cues` and `lay_sections`.
    """
    if name == "cues":
        return OwnWords(cues=lay_cues(text, source).book, texts={name: text})
    if name == "sections":
        return OwnWords(sections=lay_sections(text, source).book, texts={name: text})
    raise InputError(f"{source}: neither cues nor sections; see docs/how-to/add-a-symptom.md")


def kind_of(path: Path) -> Literal["lexicon", "cues", "sections"]:
    """Return what a file holds by its tables; a lexicon where they do not tell.

    Raises:
        InputError: the file cannot be read, or is no TOML.
    """
    if path.suffix.lower() != ".toml" or not path.is_file():
        return "lexicon"
    tables = parse_table(read_text(path, "lexicon"), str(path)).keys()
    if "symptom" in tables:
        return "lexicon"
    return "cues" if tables & CUE_TABLES.keys() else "sections" if "section" in tables else "lexicon"


def compare_lexicons(base: Lexicon, made: Lexicon) -> dict[str, int]:
    """Return how many symptoms and forms `made` has that `base` has not, and the other way round."""
    before, after = (
        {name: set(forms) for name, forms in forms_by_symptom(one).items()} for one in (base, made)
    )
    return {
        "symptoms added": len(after.keys() - before.keys()),
        "symptoms removed": len(before.keys() - after.keys()),
        "forms added": sum(len(own - before.get(name, set())) for name, own in after.items()),
        "forms removed": sum(len(own - after.get(name, set())) for name, own in before.items()),
    }
