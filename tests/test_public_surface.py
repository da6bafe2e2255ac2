"""What `import sympress` promises, and what it does not load."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

import sympress

HEAVY = ("torch", "transformers", "accelerate", "onnx", "sklearn", "scipy", "rensa", "jinja2", "matplotlib")


def test_the_public_names_are_sorted_once_each_and_all_there():
    # as ruff sorts them: constants, classes, functions
    def rank(name: str) -> tuple[int, str]:
        return (0 if name.isupper() else 1 if name[0].isupper() else 2), name

    assert list(sympress.__all__) == sorted(set(sympress.__all__), key=rank)
    assert dir(sympress) == sorted(sympress.__all__)
    for name in sympress.__all__:
        assert getattr(sympress, name) is not None


def test_every_public_class_and_function_says_what_it_does():
    for name in sympress.__all__:
        value = getattr(sympress, name)
        if callable(value):
            own = vars(value).get("__doc__") if isinstance(value, type) else value.__doc__
            assert own, name
            assert own.strip().splitlines()[0].endswith((".", ":")), name
        if name != "NOTE_SCHEMA":  # of a package that is a function too its name says where it is
            assert (getattr(value, "__module__", None) or value.__name__).startswith("sympress."), name


def test_a_package_with_the_name_of_a_function_is_that_function():
    import sympress.compression.recipe.language
    import sympress.studies.run

    with pytest.raises(TypeError, match="got an unexpected keyword argument 'recipes'"):
        sympress.compress(sympress.load(), recipes="pocket")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'output'"):
        sympress.study(sympress.StudyConfig())


def test_the_version_is_that_of_the_package():
    assert sympress.__version__ == metadata.version("sympress")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'sympress' has no attribute 'run_studie'"):
        _ = sympress.run_studie


@pytest.mark.parametrize(
    "module", ["sympress", "sympress.runtime.session", "sympress.cli.main", "sympress.config"]
)
def test_a_base_install_is_enough_to_import(module: str):
    """Checked in a process of its own, in which the packages of every extra cannot be imported."""
    program = f"""
import sys
sys.modules.update(dict.fromkeys({HEAVY!r}))  # importing a name that maps to None fails
import {module}
if {module!r} == "sympress":
    for name in sympress.__all__:
        if name not in ("study", "compress"):  # these are packages too
            getattr(sympress, name)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
