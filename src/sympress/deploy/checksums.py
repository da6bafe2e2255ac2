"""SHA-256 of the files of an artifact, so that one changed byte is noticed before it answers.

That is integrity, not authenticity: who may change a file may change the list too. A digest of the list that
came by another way, and that the user gives, tells the one artifact from any other.

The card, README.md, is for people and may be written anew; it is left out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from sympress.deploy.artifact import read_extractor
from sympress.errors import InputError
from sympress.files import refuse_pipe, write_json

CHECKSUMS_FILE = "checksums.json"
CHECKSUMS_FORMAT = 1

#: What an artifact cannot run without; the rest may be left out where it is deployed.
NEEDED_FILES = ("extractor.json", "tokenizer.json", "model.onnx")
_WHERE_PRESENT = ("forms.json", "lexicon.json", "cues.toml", "sections.toml")
#: What training reads of an artifact beside what the runtime does.
TRAINING_FILES = (
    "config.json",
    "model.safetensors",
    "provenance.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
_NOT_LISTED = frozenset({CHECKSUMS_FILE, "README.md"})
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def files_to_run(folder: Path) -> list[str]:
    """Names of the files that decide what the artifact in `folder` answers, in a fixed order."""
    return [*_needed(folder), *(name for name in _WHERE_PRESENT if (folder / name).is_file())]


def _needed(folder: Path) -> tuple[str, ...]:
    return ("extractor.json",) if read_extractor(folder).rules_only else NEEDED_FILES


def write_checksums(folder: Path) -> None:
    """Write `checksums.json` over the files in `folder`; call it when the artifact is complete."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    names = sorted({path.relative_to(folder).as_posix() for path in paths} - _NOT_LISTED)
    sums = {name: _sha256(folder / name) for name in names}
    write_json(folder / CHECKSUMS_FILE, {"format": CHECKSUMS_FORMAT, "sha256": sums})


def check_files(folder: Path, digest: str | None = None, *, also: Iterable[str] = ()) -> None:
    """Check the files in `folder` against its `checksums.json`.

    Files that are listed but absent matter only where the runtime needs them: a hospital may deploy an
    artifact without its training weights.

    Args:
        folder: of the artifact.
        digest: what the list's own digest must be (`artifact_digest`); None for any.
        also: names of files that are read beside `files_to_run`, where they are there.

    Raises:
        InputError: the list is missing, damaged, newer or not the one of `digest`; a needed file is missing;
            a file that is read is not listed; or a listed file has changed.
    """
    if digest is not None and (found := artifact_digest(folder)) != digest:
        raise InputError(f"{folder}: another artifact than that of the digest given, its own is {found}")
    sums = _read_checksums(folder)
    present = (folder / "extractor.json").is_file()
    for name in _needed(folder) if present else NEEDED_FILES:
        if not (folder / name).is_file():
            raise InputError(f"{folder}: {name} is missing; copy the artifact again")
    read = {*files_to_run(folder), *(name for name in also if (folder / name).is_file())}
    if unlisted := sorted(read - sums.keys()):
        raise InputError(
            f"{folder / unlisted[0]}: not in {CHECKSUMS_FILE}, so it is not the artifact's; copy it again"
        )
    for name, expected in sums.items():
        path = folder / name
        if path.is_file() and _sha256(path) != expected:
            raise InputError(f"{path}: changed since it was written (its checksum differs); copy it again")


def artifact_digest(folder: Path) -> str:
    """`sha256:` and the digest of `checksums.json`, and so of every file of the artifact but its card.

    Raises:
        InputError: the list is missing or cannot be read.
    """
    return f"sha256:{_sha256(folder / CHECKSUMS_FILE)}"


def parse_digest(given: str) -> str:
    """The digest that a user gives with `--digest`.

    Raises:
        InputError: it is not one.
    """
    found = given.strip().lower()
    if not _DIGEST.fullmatch(found):
        raise InputError(
            f"--digest {given}: not sha256: and 64 hexadecimal digits, as `sympress pack` prints them"
        )
    return found


def _read_checksums(folder: Path) -> dict[str, str]:
    path = folder / CHECKSUMS_FILE
    refuse_pipe(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: missing, so nothing tells whether the files are whole; copy the artifact again"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}); copy the artifact again") from error
    if isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > CHECKSUMS_FORMAT:
        raise InputError(f"{path}: format {raw['format']} is newer than this sympress; upgrade sympress")
    sums = raw.get("sha256") if isinstance(raw, dict) else None
    if not isinstance(sums, dict) or not sums:
        raise InputError(f"{path}: damaged at sha256; copy the artifact again")
    for name, value in sums.items():
        inside = len(name) < 1_000 and not Path(name).is_absolute() and all(map(_is_name, Path(name).parts))
        if not isinstance(value, str) or not inside:
            raise InputError(f"{path}: damaged at sha256; copy the artifact again")
    return dict(sums)


def _is_name(part: str) -> bool:
    """Whether a file in the folder may be called so."""
    return part != ".." and "\0" not in part and len(part.encode("utf-8", "replace")) < 256


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); copy the artifact again") from error
