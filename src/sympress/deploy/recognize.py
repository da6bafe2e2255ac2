"""What a folder is that is no artifact, and what makes an artifact of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: How the names of the architectures end that `sympress import` reads.
_CLASSIFIERS = ("ForSequenceClassification", "ForTokenClassification")


def what_else(place: Path) -> str:
    """What stands at `place`, where no artifact does, and what to do; empty where nothing tells."""
    if place.is_file():
        return "; that is a file: give the folder of the artifact"
    if may_be_on_hub(place):
        return f"; there is no such folder: of a checkpoint on the Hub, {_importing(place)}"
    if run := sorted(one.parent for one in place.glob("artifacts/*/extractor.json")):
        return f"; that is a run: give one of its artifacts, such as {run[0]}"
    return _of_config(place, _config(place))


def _of_config(place: Path, config: dict[str, Any]) -> str:
    if "sympress" in config:
        return "; its weights are: copy the whole artifact again"
    if "model_type" not in config:
        return ""
    names = config.get("architectures")
    name = str(names[0] if isinstance(names, list) and names else config["model_type"])
    name = name if name.isidentifier() else "of an unknown kind"
    if name.endswith(_CLASSIFIERS):
        return f"; that is a Hugging Face checkpoint, {name}: {_importing(place)}"
    return (
        f"; that is a Hugging Face encoder, {name}, without a head for symptoms: train one with  "
        f"sympress study --encoder {place}"
    )


def is_classifier(place: Path) -> bool:
    """Whether `place` is the folder of a fine-tuned classifier of transformers, and no artifact."""
    if (place / "extractor.json").exists():
        return False
    config = _config(place)
    names = config.get("architectures")
    named = isinstance(names, list) and names and str(names[0]).endswith(_CLASSIFIERS)
    return bool(named) and "sympress" not in config


def _importing(place: Path) -> str:
    return f"make an artifact with  sympress import {place} -o ARTIFACT"


def _config(place: Path) -> dict[str, Any]:
    try:
        raw = json.loads((place / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return raw if isinstance(raw, dict) else {}


def may_be_on_hub(place: Path) -> bool:
    """Whether `place` is written as the id of a model: an owner and a name, with no such folder here."""
    return (
        not place.exists() and not place.is_absolute() and len(place.parts) == 2 and ".." not in place.parts
    )
