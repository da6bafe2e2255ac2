"""The words of the synthetic notes, read from the TOML files in `data/` and made ready to draw from."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal, get_args

Assertion = Literal["present", "absent", "possible", "hypothetical", "historical", "family"]
ASSERTIONS: tuple[Assertion, ...] = get_args(Assertion)

#: How often the usual form, an abbreviation and a misspelling are written, before a reserved form is tried.
FORM_SHARES = {"forms": 0.78, "abbreviations": 0.16, "misspellings": 0.06}

_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Unit:
    """What one surface form names: a symptom, or several at once ("N/V").

    Attributes:
        symptoms: names of the symptoms.
        forms: surface forms, repeated in proportion to how often they are written.
        reserved: surface forms kept for the patients of validation and test; may be empty.
        mask: one bit a symptom.
        covers: bits of the symptoms that are denied too when this one is denied.
        weight: how often it is drawn.
    """

    symptoms: tuple[str, ...]
    forms: tuple[str, ...]
    reserved: tuple[str, ...]
    mask: int
    covers: int
    weight: int


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a template: mentions of one assertion, or one word of a list."""

    name: str
    assertion: Assertion | None
    plural: bool
    capital: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A sentence: literal text before each slot, then a tail; `present` counts the affirmed slots."""

    parts: tuple[tuple[str, Slot], ...]
    tail: str
    present: int


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a category of notes; see `data/categories.toml` for the fields."""

    heading: tuple[str, ...]
    draw: tuple[str, ...] = ()
    mentions: tuple[int, int] = (0, 0)
    filler: str = ""
    fillers: tuple[int, int] = (0, 0)
    chance: float = 1.0
    copied: bool = False
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of note as NOTEEVENTS names it."""

    name: str
    weight: int
    descriptions: tuple[str, ...]
    timed: float
    wrapped: bool
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Vocabulary:
    """All that a note is made of; `draws` and `category_draws` repeat indices in proportion to weight."""

    units: tuple[Unit, ...]
    draws: tuple[Unit, ...]
    templates: dict[str, tuple[Template, ...]]
    filler: dict[str, tuple[Template, ...]]
    words: dict[str, dict[str, tuple[Template, ...]]]
    category_draws: tuple[Category, ...]


def compile_template(text: str) -> Template:
    """Split `text` at its `{slots}`; a slot named after an assertion, or its plural, holds mentions."""
    pieces = _SLOT.split(text)
    slots = [_slot(name) for name in pieces[1::2]]
    present = sum(slot.assertion == "present" for slot in slots)
    return Template(tuple(zip(pieces[0:-1:2], slots, strict=True)), pieces[-1], present)


def _slot(name: str) -> Slot:
    lower = name.lower()
    for assertion in ASSERTIONS:
        plural = lower == {"family": "families"}.get(assertion, f"{assertion}s")
        if plural or lower == assertion:
            return Slot(lower, assertion, plural, name[0].isupper())
    return Slot(name, None, plural=False, capital=False)


@lru_cache(maxsize=1)
def load_vocabulary() -> Vocabulary:
    """Read the TOML files that come with sympress, once a process."""
    units = _units(_read("symptoms"))
    categories = tuple(_category(table) for table in _read("categories")["category"])
    return Vocabulary(
        units=units,
        draws=tuple(unit for unit in units for _ in range(unit.weight)),
        templates=_compile(_read("templates")),
        filler=_compile(_read("filler")),
        words={sex: _compile(_words(_read("words"), sex)) for sex in ("F", "M")},
        category_draws=tuple(category for category in categories for _ in range(category.weight)),
    )


def _read(name: str) -> dict[str, Any]:
    resource = files("sympress.notes.synthesize").joinpath("data", f"{name}.toml")
    return tomllib.loads(resource.read_text(encoding="utf-8"))


def _compile(lists: dict[str, list[str]]) -> dict[str, tuple[Template, ...]]:
    return {name: tuple(compile_template(text) for text in texts) for name, texts in lists.items()}


def _units(tables: dict[str, Any]) -> tuple[Unit, ...]:
    bits = {table["name"]: 1 << k for k, table in enumerate(tables["symptom"])}
    single = [_unit((table["name"],), table, bits) for table in tables["symptom"]]
    compound = [_unit(tuple(table["symptoms"]), table, bits) for table in tables["compound"]]
    return (*single, *compound)


def _unit(symptoms: tuple[str, ...], table: dict[str, Any], bits: dict[str, int]) -> Unit:
    return Unit(
        symptoms=symptoms,
        forms=_spread({kind: tuple(table.get(kind, ())) for kind in FORM_SHARES}),
        reserved=tuple(table.get("reserved", ())),
        mask=sum(bits[name] for name in symptoms),
        covers=sum(bits[name] for name in table.get("covers", ())),
        weight=table["weight"],
    )


def _spread(forms: dict[str, tuple[str, ...]], places: int = 100) -> tuple[str, ...]:
    """Repeat forms over about `places` places by `FORM_SHARES`; the first form takes half of its share."""
    spread: list[str] = []
    for kind, texts in forms.items():
        seats = round(places * FORM_SHARES[kind])
        if texts:
            spread += [texts[0] if k < seats // 2 else texts[k % len(texts)] for k in range(seats)]
    return tuple(spread)


def _category(table: dict[str, Any]) -> Category:
    fields = _tuples(table)
    sections = tuple(Section(**_tuples(section)) for section in fields.pop("section"))
    return Category(**fields, sections=sections)


def _tuples(table: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}


def _words(lists: dict[str, list[str]], sex: str) -> dict[str, list[str]]:
    """Add what depends on the sex, and the de-identified dates, to the word lists of `words.toml`."""
    he, his, noun = ("she", "her", "woman") if sex == "F" else ("he", "his", "man")
    return {
        **lists,
        "Rel": [relative.capitalize() for relative in lists["rel"]],
        "he": [he],
        "He": [he.capitalize()],
        "his": [his],
        "His": [his.capitalize()],
        "sex": [noun, noun, "female" if sex == "F" else "male", sex],
        "pt": ["pt", "pt", "patient", "the patient", he],
        "Pt": ["Pt", "Pt", "Patient", "The patient", he.capitalize()],
        "num": [str(number) for number in range(2, 10)],
        "day": [str(number) for number in range(1, 32)],
        "age2": [str(number) for number in range(42, 90)],
        "year": [f"[**21{number}**]" for number in range(18, 40)],
        "date": [f"[**21{40 + k % 10}-{1 + k % 12}-{1 + k % 28}**]" for k in range(420)],
    }
