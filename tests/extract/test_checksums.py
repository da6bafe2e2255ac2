"""What an artifact's list of checksums promises, and what a pinned digest promises beside it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from test_extract import refused, run
from typer.testing import CliRunner

from sympress.cli.main import build_app
from sympress.errors import InputError
from sympress.runtime.artifact import (
    BOX_FOLDER,
    RULES_FOLDER,
    TRAINING_FILES,
    artifact_digest,
    check_files,
    parse_digest,
    write_checksums,
)
from sympress.runtime.extractor import Extractor
from sympress.runtime.pack import pack
from sympress.serve.models import Shelf, load_model, parse_digests


@pytest.fixture
def folder(tiny_artifact: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_artifact, tmp_path / "artifact")
    return tmp_path / "artifact"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    shutil.copytree(RULES_FOLDER, tmp_path / "own-rules")
    return tmp_path / "own-rules"


def alter(folder: Path) -> None:
    """Change what the artifact answers by, without a sign of damage."""
    path = folder / "extractor.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(raw | {"text_window": 9}), encoding="utf-8")


def delete(folder: Path) -> str:
    (folder / "checksums.json").unlink()
    return "checksums.json: missing, so nothing tells whether the files are whole; copy the artifact again"


def list_another(folder: Path) -> str:
    card = hashlib.sha256(b"").hexdigest()
    (folder / "other").touch()
    (folder / "checksums.json").write_text(json.dumps({"format": 1, "sha256": {"other": card}}))
    return "extractor.json: not in checksums.json, so it is not the artifact's; copy it again"


def change_only(_: Path) -> str:
    return "extractor.json: changed since it was written (its checksum differs); copy it again"


@pytest.mark.parametrize("hide", [delete, list_another, change_only])
@pytest.mark.parametrize("kind", ["folder", "rules"])
def test_an_altered_artifact_never_runs(
    kind: str, hide: Callable[[Path], str], request: pytest.FixtureRequest, tmp_path: Path
):
    place: Path = request.getfixturevalue(kind)
    alter(place)
    message = f"{place}/{hide(place)}"
    (tmp_path / "in.txt").write_text("fever")
    assert refused(tmp_path / "in.txt", "-m", place) == message
    for use in (
        partial(Extractor.load, place),
        partial(load_model, "one", place),
        partial(pack, place, tmp_path / "packed"),
    ):
        with pytest.raises(InputError) as caught:
            use()
        assert str(caught.value) == message


@pytest.mark.parametrize("name", ["lexicon.json", "forms.json", "cues.toml", "sections.toml"])
def test_a_file_that_somebody_laid_beside_it_is_not_the_artifacts(folder: Path, name: str):
    (folder / name).write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=f"{name}: not in checksums.json"):
        Extractor.load(folder)


@pytest.mark.parametrize("name", TRAINING_FILES)
def test_what_training_reads_is_listed_too(folder: Path, name: str):
    check_files(folder, also=TRAINING_FILES)
    raw = json.loads((folder / "checksums.json").read_text(encoding="utf-8"))
    raw["sha256"].pop(name, None)
    (folder / name).touch()
    (folder / "checksums.json").write_text(json.dumps(raw), encoding="utf-8")
    check_files(folder)  # the runtime reads none of them
    with pytest.raises(InputError, match=f"{name}: not in checksums.json"):
        check_files(folder, also=TRAINING_FILES)


@pytest.mark.parametrize("place", [BOX_FOLDER, RULES_FOLDER])
def test_what_comes_with_sympress_is_whole(place: Path):
    check_files(place)


def test_the_digest_is_that_of_the_list(folder: Path):
    raw = (folder / "checksums.json").read_bytes()
    assert artifact_digest(folder) == f"sha256:{hashlib.sha256(raw).hexdigest()}"
    before = artifact_digest(folder)
    alter(folder)
    write_checksums(folder)
    assert artifact_digest(folder) != before


@pytest.mark.parametrize(
    "given", ["", "sha256:", "sha256:12", "f" * 64, f"md5:{'0' * 64}", f"sha256:{'g' * 64}"]
)
def test_what_is_no_digest_is_one_line(given: str):
    with pytest.raises(InputError) as caught:
        parse_digest(given)
    assert str(caught.value) == (
        f"--digest {given}: not sha256: and 64 hexadecimal digits, as `sympress pack` prints them"
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_extract_runs_the_pinned_artifact_and_no_other(folder: Path, tmp_path: Path, workers: int):
    (tmp_path / "in.txt").write_text("fever")
    pinned = artifact_digest(folder)
    call = (tmp_path / "in.txt", "-m", folder, "-j", workers, "--digest")
    assert run(*call, pinned.upper())[0]
    alter(folder)
    write_checksums(folder)  # somebody who may change the files may change the list
    assert run(*call[:-1])[0]
    assert refused(*call, pinned) == (
        f"{folder}: another artifact than that of the digest given, its own is {artifact_digest(folder)}"
    )


def test_a_reload_never_takes_another_artifact_than_the_pinned(folder: Path):
    pinned = artifact_digest(folder)
    shelf = Shelf({"one": folder}, lambda name, place: load_model(name, place, digest=pinned))
    before = shelf.pick("one")
    alter(folder)
    write_checksums(folder)
    with pytest.raises(InputError, match="another artifact than that of the digest given"):
        shelf.reload("one")
    assert shelf.pick("one") is before


ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


@pytest.mark.parametrize(
    ("given", "names", "found"),
    [
        ([], ["a"], {}),
        ([ONE], ["a"], {"a": ONE}),
        ([f"a={ONE}"], ["a"], {"a": ONE}),
        ([f"b={TWO}", f"a={ONE}"], ["a", "b"], {"a": ONE, "b": TWO}),
        ([ONE], ["a", "b"], f"--digest {ONE}: of which model? say NAME={ONE}"),
        ([f"c={ONE}"], ["a"], f"--digest c={ONE}: no model is called 'c'; served are a"),
        ([f"a={ONE}", TWO], ["a"], f"--digest {TWO}: 'a' has two; give one"),
    ],
)
def test_digests_of_several_models_go_by_their_names(
    given: list[str], names: list[str], found: dict[str, str] | str
):
    if isinstance(found, dict):
        assert parse_digests(given, names) == found
        return
    with pytest.raises(InputError) as caught:
        parse_digests(given, names)
    assert str(caught.value) == found


def test_pack_prints_the_digest(folder: Path, tmp_path: Path):
    done = CliRunner().invoke(build_app(["pack"]), ["pack", str(folder), "-o", str(tmp_path / "packed")])
    assert f"digest: {artifact_digest(tmp_path / 'packed')}\n" in done.stdout
