"""`sympress show`: what an artifact is, and the CPUs that its kernel is made for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show(
    artifact: Annotated[
        Path, typer.Argument(help="Folder of an artifact, or `box` or `rules`.", show_default=False)
    ],
) -> None:
    """Show what an artifact is: its task, digest, recipe and kernel, and the CPUs that this is made for."""
    from sympress.deploy.bundled import artifact_folder
    from sympress.deploy.summary import summarize

    for name, line in summarize(artifact_folder(artifact)).items():
        typer.echo(f"{name + ':':<10}{line}")
