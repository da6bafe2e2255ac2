"""The ten lines of the README, as they stand there, on a checkpoint of the Trainer."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sympress.compression.recipe.language import NamedRecipe, parse_recipe

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
(LINES,) = re.findall(r"^```py\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
#: In place of `pocket`, whose student is wider than the tiny teacher of a test.
SMALL = "vocab(keep=0.9) > distill(layers=1, epochs=12, rate=0.003) > quantize(int8)"
Notes = Callable[[int, int], tuple[list[str], list[list[str]]]]


def test_the_ten_lines_of_the_readme(
    classifier: Path,
    notes_of: Notes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(classifier, "my-org/symptom-bert")
    pocket = NamedRecipe("pocket", "small", parse_recipe(SMALL))
    monkeypatch.setattr("sympress.compression.recipe.language.named_recipes", lambda: (pocket,))
    given = dict(zip(("texts", "labels"), notes_of(200, 1), strict=True))
    given |= dict(zip(("more", "their_labels"), notes_of(60, 2), strict=True))
    given |= dict(zip(("test", "test_labels"), notes_of(60, 4), strict=True))
    given |= {"others": notes_of(100, 3)[0], "patients": [f"p{row // 2}" for row in range(60)]}
    exec(
        compile(LINES.replace(".to_frame()", ".to_frame().write_csv('found.csv')"), "README.md", "exec"),
        given,
    )

    said = capsys.readouterr().out
    assert "60 notes of 30 patients" in said
    assert "[ ] 95 % bootstrap interval, patients resampled" in said
    assert "bytes, " in said
    assert "against symptom-bert: " in said
    assert "Difference of F1, and the p-value of a paired test" in said
    model, small, sympress = given["model"], given["small"], given["sympress"]
    assert model.symptoms == small.symptoms == ["fever", "cough", "rash"]
    assert small.provenance["notes"] == {"train": 200, "transfer": 100, "validation": 60, "test": 0}
    assert small.provenance["data"]["labels"] == "given: by people"
    found = Path("found.csv").read_text(encoding="utf-8")
    assert "fever,HP:0001945,present," in found

    again = sympress.evaluate(
        "pocket", given["test"], given["test_labels"], against=model, groups=given["patients"]
    ).results
    assert again.notes.micro.f1.value > 0.8
    assert again.cost.size_bytes < again.against.cost.size_bytes / 2
    assert [one.figure for one in again.against.differences] == ["notes micro", "notes macro"]
    micro = again.against.differences[0]
    assert micro.difference.value == pytest.approx(micro.f1 - micro.against_f1)
    assert micro.difference.low <= micro.difference.value <= micro.difference.high
    assert 0 < micro.p_value <= 1
    assert f"{micro.f1:.3f}" in said
