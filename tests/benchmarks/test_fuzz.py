"""A few hundred altered inputs, always the same: an answer or one clear line, never anything else."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sympress.evaluation.cost import own_peak_bytes

FILE = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"
COUNT = 60


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reader(fuzz: ModuleType):
    return fuzz.Reader()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "artifact", "words", "request", "recipe"])
def test_an_altered_input_is_answered_or_refused(fuzz: ModuleType, reader, tmp_path: Path, kind: str):
    before, found = own_peak_bytes(), {}
    for number in range(COUNT):
        folder = tmp_path / str(number)
        folder.mkdir()
        (path,) = fuzz.MAKERS[kind](folder, fuzz.chance_of(0, kind, number))
        found[number] = reader.read(kind, path)
    assert set(found.values()) == {"answered", "refused"}, found
    assert own_peak_bytes() - before < fuzz.MEMORY_BYTES


def test_what_is_not_altered_is_answered(fuzz: ModuleType, reader, tmp_path: Path):
    """Else every alteration would be refused for a fault of the fuzzer's own."""
    for name, text in (("lexicon", fuzz.LEXICON), ("cues", fuzz.CUES), ("sections", fuzz.SECTIONS)):
        (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
        assert reader.read("words", tmp_path / f"{name}.toml") == "answered"
    for coded in (False, True):
        assert reader.read("artifact", fuzz._whole_artifact(coded=coded)) == "answered"
    for recipe in fuzz.RECIPES:
        (tmp_path / "recipe.txt").write_text(recipe, encoding="utf-8")
        assert reader.read("recipe", tmp_path / "recipe.txt") == "answered"


def test_an_input_depends_on_its_number_only(fuzz: ModuleType):
    assert fuzz.alter_rows(fuzz.chance_of(1, "csv", 7)) == fuzz.alter_rows(fuzz.chance_of(1, "csv", 7))
    raw = bytes(range(256))
    made = {fuzz.alter_bytes(raw, random.Random(at)) for at in range(50)}
    assert len(made) > 40


@pytest.mark.parametrize(
    ("failure", "what"),
    [
        (ValueError("of a patient"), "traceback: ValueError at test_fuzz.py"),
        (RecursionError(), "traceback: RecursionError"),
        (SystemExit(3), "traceback: SystemExit"),
    ],
)
def test_what_is_no_clear_line_is_a_finding(
    fuzz: ModuleType, reader, monkeypatch, failure: BaseException, what: str
):
    def explode(*_: object) -> None:
        raise failure

    monkeypatch.setattr(reader, "_read", explode)
    assert reader.read("csv", Path()).startswith(what)


def test_a_message_of_a_page_is_a_finding(fuzz: ModuleType, reader, monkeypatch):
    def explode(*_: object) -> None:
        raise fuzz.InputError("a\n" * 30)

    monkeypatch.setattr(reader, "_read", explode)
    assert reader.read("csv", Path()) == "a long message"
