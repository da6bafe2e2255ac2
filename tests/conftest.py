"""How the tests run: on one thread each, the longest files first."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before NumPy and PyTorch look at it, and for the processes that tests start: a tiny encoder is no faster on
# more threads, and while the threads of two processes wait for each other's cores, they spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run: what fails once fails again. `--hypothesis-profile default` draws others.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

#: The files that take longest, longest first: 20 seconds and more of a core.
LONGEST = (
    "studies/test_study.py",
    "test_how_tos.py",  # beside it, as it traces no graph that others can use
    "studies/test_press.py",
    "compression/test_export.py",
    "pipeline/test_compress.py",
    "api/test_commands.py",
    "studies/test_study_mentions.py",
    "api/test_model.py",
    "serve/test_serve_processes.py",
    "test_notebooks.py",
    "pipeline/test_import_model.py",
    "serve/test_serve.py",
    "compression/test_quantize_aware.py",
    "extract/test_cluster.py",
)


def pytest_configure(config: pytest.Config) -> None:
    """Have pytest-xdist keep the order of the files; it would begin with those of most tests.

    The process that hands tests to others needs no fixture, and importing PyTorch takes it seconds for which
    the others wait.
    """
    config.option.loadscopereorder = False
    gc.disable()  # modules and tests are there to stay: looking through them again and again takes seconds
    if config.getoption("dist", "no") == "no":
        config.pluginmanager.import_plugin("encoders")


def pytest_collection_finish() -> None:
    """What is there by now is never looked through again, and what is new not after every 700 objects.

    An export makes very many, few of them in circles: a fifth of its time went into looking for those.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20)
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that no process works on one alone at the end."""
    folder = Path(__file__).parent
    place = {folder / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))
