"""The artifact: the folder that is deployed. Reading one needs neither torch nor transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sympress.errors import InputError
from sympress.files import write_json

ARTIFACT_FORMAT = 1


class Extractor(BaseModel):
    """`extractor.json`: everything beside the weights that decides what a note's answer is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    task: Literal["topic", "present"]
    symptoms: list[str]
    thresholds: list[float] | None = None
    max_tokens: int
    text_window: int | None = None
    lower: bool = False
    mask_placeholders: bool = False
    pad_id: int


def write_extractor(folder: Path, extractor: Extractor) -> None:
    """Write `extractor.json`."""
    write_json(folder / "extractor.json", extractor.model_dump())


def write_provenance(folder: Path, provenance: dict[str, Any]) -> None:
    """Write `provenance.json`: recipe, config, seed, versions, fingerprints; never text."""
    write_json(folder / "provenance.json", provenance)


def read_extractor(folder: Path) -> Extractor:
    """Read `extractor.json`.

    Raises:
        InputError: the folder is no artifact, is damaged or of a newer format.
    """
    path = folder / "extractor.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder}: no artifact here (extractor.json is missing)") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}); copy the artifact again") from error
    if not isinstance(raw, dict) or raw.get("format") != ARTIFACT_FORMAT:
        raise InputError(f"{path}: not format {ARTIFACT_FORMAT}; this artifact needs another sympress")
    try:
        return Extractor.model_validate(raw)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InputError(f"{path}: damaged at {where}; copy the artifact again") from error
