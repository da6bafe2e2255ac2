from pathlib import Path

import pytest
from typer.testing import CliRunner

from sympress.cli.notes import lexicon
from sympress.errors import InputError


def call(*arguments: object) -> str:
    result = CliRunner().invoke(lexicon, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_check_counts_what_a_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[[symptom]]\nid = "a"\nname = "A"\nforms = ["x{,s}"]\nambiguous = [{ form = "AX" }]\n')
    said = call("check", path)
    assert "       1  symptoms\n       2  forms\n       1  ambiguous forms\n" in said
    assert said.endswith(f"{path}: no mistake found\n")


def test_check_names_the_first_mistake(tmp_path: Path) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text("symptom\tform\nA\tx\nB\tx\n")
    with pytest.raises(InputError) as caught:
        call("check", path)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(f"{path}, line 3: the form 'x' of 'B' already belongs to 'A'")


def test_show_names_codes_and_every_kind_of_form() -> None:
    said = call("show", "chest-pain")
    assert said.startswith(
        "chest pain  [chest-pain]\ncodes: HP:0100749 SYMP:0000576  (SYMP 2026-07-30, HP 2026-02-16)\n"
    )
    assert "ambiguous: cp; not before angle" in said
    assert "with others: cp/sob" in said
    assert "absent: " in call("show", "fever")
    assert "afebrile" in call("show", "fever")
    assert "misspelled: " in call("show", "headache")
    assert "pain in her chest" in said


def test_an_unknown_id_names_the_nearest() -> None:
    with pytest.raises(
        InputError, match=r"no symptom 'chestpain' in lexicon 'clinical' \(did you mean 'chest-pain'"
    ):
        call("show", "chestpain")


def test_list_shows_every_symptom() -> None:
    said = call("list", "--lexicon", "paper")
    assert "shortness of breath" in said
    assert "      40  symptoms" in said


def test_check_counts_what_a_lexicon_adds_to_the_one_it_extends(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "clinical"\nremove = ["snoring"]\n[[symptom]]\nid = "zaps"\nname = "zaps"\n'
        'forms = ["zap{,s}"]\n'
        '[[symptom]]\nid = "syncope"\nadd_forms = ["went down"]\nremove_forms = ["syncope"]\n'
    )
    said = call("check", path)
    assert "       1  symptoms added\n       1  symptoms removed\n       3  forms added\n" in said


def test_check_takes_files_of_cues_and_sections(tmp_path: Path) -> None:
    cues, sections = tmp_path / "cues.toml", tmp_path / "sections.toml"
    cues.write_text('remove = ["vs"]\n[[pseudo]]\nphrases = ["nix da", "denies"]\n')
    sections.write_text('[[section]]\nkind = "past"\nheadings = ["formerly", "social history"]\n')
    changes = (
        "       1  phrases added\n       0  phrases added by words of lists\n"
        "       1  phrases of ours changed\n       1  phrases of ours removed\n"
    )
    assert call("check", cues) == f"{changes}{cues}: no mistake found\n"
    assert call("check", sections).startswith("       1  headings added\n       1  headings of ours moved\n")
    assert call("check", "--cues", cues, "--sections", sections).endswith(
        f"{cues}: no mistake found\n{sections}: no mistake found\n"
    )


def test_check_says_when_there_is_nothing_or_too_much(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^no file to check; name a lexicon, or give --cues FILE or --sec"):
        call("check")
    cues = tmp_path / "cues.toml"
    cues.write_text("[[pseudo]]\n")
    with pytest.raises(InputError, match=r"cues\.toml: a file of cues, as --cues names one; give one of the"):
        call("check", cues, "--cues", cues)
