"""`sympress demo`: the whole study on embedded notes and the packaged encoder, in minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sympress.cli.study import start
from sympress.config import make_config

_FULL = {"synthetic_notes": 1600, "epochs": 2, "max_tokens": 96, "text_window": 300}
_SMALLEST = {"synthetic_notes": 500, "epochs": 1, "max_tokens": 64, "text_window": 250, "resamples": 200}


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Run folder; the same command continues it.")
    ] = Path("runs/demo"),
    smallest: Annotated[
        bool, typer.Option("--smallest", help="Fewer notes and one epoch: shows that it runs.")
    ] = False,
) -> None:
    """Run the five strategies and the two reference rows on synthetic notes with the packaged MiniLM.

    No data and no network needed. The notes are synthetic: the numbers show the method, not a hospital.
    """
    sizes = _SMALLEST if smallest else _FULL
    if smallest and output == Path("runs/demo"):
        output = Path("runs/demo-smallest")
    config = make_config(sizes | {"protocol": "paper", "encoder": "bundled", "published_variants": False})
    start(config, output)
