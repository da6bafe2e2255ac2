"""How to use an artifact elsewhere, as a reader follows it: the loop on the page answers as sympress does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import sympress
from sympress.runtime.artifact import BOX_FOLDER, read_extractor, write_checksums, write_extractor

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "use-an-artifact-elsewhere.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NOTES = ["", "c/o fever and chills, denies cough", "Injection site redness, headache and nausea. " * 40]


def loop_of(block: str) -> dict[str, object]:
    names: dict[str, object] = {"__name__": "page"}
    exec(compile(block, "python.md", "exec"), names)
    return names


@pytest.mark.parametrize("windows", ["first", "all"])
def test_the_bare_loop_gives_the_probabilities_that_sympress_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: str
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(BOX_FOLDER, "pocket")
    changed = {"windows": windows, "mask_placeholders": False}
    write_extractor(Path("pocket"), read_extractor(Path("pocket")).model_copy(update=changed))
    write_checksums(Path("pocket"))
    names = loop_of(BLOCKS[0])
    model = sympress.load("pocket")
    for text in NOTES:
        logits, count, _ = model.note_logits(text)
        assert len(names["windows"](text)) == count
        wanted = [one.probability for one in model.beliefs(logits).values()]
        np.testing.assert_allclose(names["probabilities"](text), wanted, atol=1e-6)
    affirmed = [name for name, one in model.beliefs(model.note_logits(NOTES[1])[0]).items() if one.affirms]
    assert names["affirmed"] == affirmed


def test_the_block_for_spacy_prints_spans_and_assertions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("spacy", reason="spaCy is not installed: the extra `spacy` brings it")
    import sympress.spacy_component  # noqa: F401  installed, the entry point of spacy_factories does this

    monkeypatch.chdir(tmp_path)
    shutil.copytree(BOX_FOLDER, "pocket")
    loop_of(BLOCKS[1])
    assert "('cough', 'cough', 'absent')" in capsys.readouterr().out
