"""What libraries log and warn of stays out of the terminal; what sympress says itself does not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LOUD = """
import logging, sys, warnings
import sympress.runtime.pack as summary
from sympress.runtime.session import open_session, _PRODUCT
from sympress.cli.main import run

def loud(_folder):
    import numpy as np
    warnings.warn("a warning of a library")
    for name in ("transformers", "torch.onnx", "huggingface_hub", "onnxruntime", "another"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.StreamHandler())
        logger.error("an error line of %s", name)
    try:
        open_session(_PRODUCT, threads=1).run(None, {"x": np.zeros((1, 9), dtype=np.uint8)})
    except Exception:
        pass
    return {"kernel": "none"}

summary.summarize = loud
sys.argv = ["sympress", "show", "box"]
run()
"""


def ended(**more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    return subprocess.run(
        [sys.executable, "-c", LOUD],
        capture_output=True,
        text=True,
        env=kept | more,
        check=False,
        timeout=120,
    )


def test_a_command_prints_its_own_words_alone():
    done = ended()
    assert (done.returncode, done.stdout, done.stderr) == (0, "kernel:   none\n", "")


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ({"SYMPRESS_TRACEBACK": "1"}, ("a warning of a library", "an error line of transformers")),
        ({"PYTHONWARNINGS": "default"}, ("a warning of a library",)),
    ],
)
def test_who_asks_to_see_them_does(asked: dict[str, str], seen: tuple[str, ...]):
    done = ended(**asked)
    assert done.returncode == 0
    assert all(line in done.stderr for line in seen)
