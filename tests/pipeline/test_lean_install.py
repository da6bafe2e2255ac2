"""Training without Optuna and scikit-learn, as in `make demo`: only what needs them asks for them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sympress.compression.search import parse_budget
from sympress.config import make_config
from sympress.errors import MissingExtraError, require_training
from sympress.models.tfidf import fit_tfidf
from sympress.pipeline.order import Order, check_order
from sympress.pipeline.tune import Search, run_tuning

ABSENT = {"optuna", "sklearn"}


@pytest.fixture(autouse=True)
def lean(monkeypatch: pytest.MonkeyPatch) -> None:
    known = importlib.util.find_spec

    def find(name: str, *more: Any) -> Any:
        return None if name in ABSENT else known(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", find)


def test_training_asks_for_neither():
    require_training()
    program = "import sympress.pipeline.compress, sympress.studies.run, sys; print('optuna' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=250
    )
    assert done.stdout == "False\n"


def test_a_search_names_the_extra_before_a_model_is_read(tmp_path: Path):
    order = Order(tmp_path / "no-model", tmp_path / "out", budget=parse_budget("size_mb<=3"))
    with pytest.raises(MissingExtraError, match=r"^optuna is not installed: run .*'sympress\[train\]'$"):
        check_order(order)
    check_order(order, dry=True)
    with pytest.raises(MissingExtraError, match=r"^optuna is not installed"):
        run_tuning(make_config({"notes": tmp_path / "no-notes"}), Search("baseline"), tmp_path / "tuned")


def test_tf_idf_names_the_extra():
    with pytest.raises(
        MissingExtraError, match=r"^scikit-learn is not installed: run .*'sympress\[train\]'$"
    ):
        fit_tfidf(["fever"], [[1]], "present", ["fever"])
