"""`--lexicon`, `--cues` and `--sections`: the same in every command that takes them, and checked first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.main import get_command

from sympress.cli.main import build_app, run

OPTIONS = ("--lexicon", "--cues", "--sections")
MINE = '[[symptom]]\nid = "zaps"\nname = "zaps"\nforms = ["zaps"]\n'


def called(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as done:
        run([str(argument) for argument in arguments])
    captured = capfd.readouterr()
    return int(done.value.code or 0), captured.out, captured.err


def test_four_commands_take_the_same_options():
    commands = get_command(build_app()).commands
    helps = {
        name: [(one.opts, one.help) for one in commands[name].params if one.opts[0] in OPTIONS]
        for name in ("extract", "serve", "pack", "label")
    }
    assert [opts for opts, _ in helps["extract"]] == [[option] for option in OPTIONS]
    assert all(found == helps["extract"] for found in helps.values())


@pytest.mark.parametrize(
    "command",
    [
        ("extract", "gone.txt", "--model", "gone"),
        ("serve", "--model", "gone"),
        ("pack", "gone", "-o", "out"),
        ("label", "gone.csv", "-o", "out.jsonl", "--task", "mentions"),
    ],
    ids=lambda command: command[0],
)
def test_mistakes_of_all_files_are_said_in_lines_before_anything_else(
    command: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "cues.toml").write_text('[[cue]]\nassertion = "absnt"\nphrase = ["x"]\n')
    (tmp_path / "sections.toml").write_text("[[section]]\nkind = 'past'\n")
    files = (tmp_path / "gone.toml", tmp_path / "cues.toml", tmp_path / "sections.toml")
    given = [part for pair in zip(OPTIONS, files, strict=True) for part in pair]
    code, out, err = called(capfd, *command, *given)
    first, *lines = err.splitlines()
    assert (code, out, first, len(lines)) == (2, "", "sympress: 5 mistakes:", 5)
    assert [line.partition(".toml")[0] for line in lines] == [
        str(path.with_suffix("")) for path in files[:1]
    ] + [str(files[1].with_suffix(""))] * 3 + [str(files[2].with_suffix(""))]


def test_a_lexicon_that_does_not_say_whether_it_extends_ours_is_pointed_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "note.txt").write_text("Hiccups and zaps.")
    (tmp_path / "mine.toml").write_text(MINE)
    call = ("extract", tmp_path / "note.txt", "--lexicon", tmp_path / "mine.toml", "-q", "--format", "table")
    call += ("--model", "rules")
    code, out, err = called(capfd, *call)
    assert (code, [line.split()[1] for line in out.splitlines()]) == (0, ["zaps"])
    assert err == (
        f"{tmp_path / 'mine.toml'}: takes the place of our lexicon, and only its symptoms are found; "
        'write  extends = "clinical"  to add them to ours, or  extends = "none"  if that is meant\n'
    )
    for extends, found in (("none", ["zaps"]), ("clinical", ["hiccups", "zaps"])):
        (tmp_path / "mine.toml").write_text(f'extends = "{extends}"\n{MINE}')
        _, out, err = called(capfd, *call)
        assert [line.split()[1] for line in out.splitlines()] == found
        assert err == ""


def test_labels_are_made_with_own_cues(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    (tmp_path / "notes.csv").write_text("note_id,text\na,Patient negates fever\n")
    (tmp_path / "cues.toml").write_text('[[cue]]\nassertion = "absent"\nphrases = ["negates"]\n')
    call = ("label", tmp_path / "notes.csv", "--cues", tmp_path / "cues.toml", "-o", tmp_path / "out.jsonl")
    assert called(capfd, *call, "--task", "mentions")[0] == 0
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert [one["assertion"] for one in row["mentions"]] == ["absent"]


@pytest.mark.parametrize(
    ("options", "why"),
    [((), "the rule of a topic reads none"), (("--labels", "coded"), "coded labels are read, not made")],
)
def test_labels_that_read_no_cues_refuse_them(
    options: tuple[str, ...], why: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "cues.toml").write_text("")
    call = ("label", tmp_path / "gone.csv", "--cues", tmp_path / "cues.toml", "-o", tmp_path / "out.jsonl")
    code, _, err = called(capfd, *call, *options)
    assert code == 2
    assert err == f"sympress: --cues: {why}; leave out --cues, or make --task mentions --labels silver\n"
