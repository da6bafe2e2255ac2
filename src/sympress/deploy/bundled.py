"""What answers without an artifact of one's own: folders that come with sympress."""

from __future__ import annotations

from pathlib import Path

#: `extractor.json` alone: mentions by the clinical lexicon, sections and assertion rules, without a model.
RULES_FOLDER = Path(__file__).with_name("rules")

#: A `micro` model with the same rules beside it, made by `make model`; its card is the README.md in it.
BOX_FOLDER = Path(__file__).with_name("box")

_BY_NAME = {"box": BOX_FOLDER, "rules": RULES_FOLDER}


def artifact_folder(asked: str | Path | None) -> Path:
    """The folder of the artifact that was asked for: by its path, or `box` or `rules`; the box for None."""
    if asked is None:
        return BOX_FOLDER
    folder = Path(asked)
    return folder if folder.exists() else _BY_NAME.get(str(asked), folder)


def bundled_name(folder: Path) -> str | None:
    """`box` or `rules` for a folder that comes with sympress, wherever it is installed; else None."""
    return next((name for name, own in _BY_NAME.items() if own == folder), None)
