"""Artifacts on the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path

from sympress.errors import InputError

_ID = re.compile(r"[\w.-]+/[\w.-]+")


def artifact_on_hub(name: str, revision: str | None = None) -> Path | None:
    """The local copy of the artifact `name` of the Hub; None where it is no id, or no artifact of ours.

    The Hub is asked only for what the local cache lacks; where it cannot be asked there is none.
    """
    if not _ID.fullmatch(name) or name.startswith("."):
        return None
    from huggingface_hub import snapshot_download

    for local in (True, False):
        try:
            marker = Path(
                snapshot_download(
                    name, revision=revision, allow_patterns=["extractor.json"], local_files_only=local
                )
            )
        except Exception as error:  # of the Hub or the network, each its own type: what imports it says why
            del error
            continue
        if (marker / "extractor.json").is_file():
            return _whole(name, revision, local=local)
    return None


def _whole(name: str, revision: str | None, *, local: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=local))
    except Exception as error:
        raise InputError(
            f"{name}: not downloadable from here ({type(error).__name__}); copy its files into a folder"
        ) from error


def upload(
    folder: Path, repo_id: str, *, private: bool | None, token: str | None, message: str | None
) -> str:
    """Upload the artifact `folder` to the repository `repo_id`, made where it is not there; its address.

    Raises:
        InputError: `repo_id` is no id, or the Hub refuses or cannot be reached.
    """
    if not _ID.fullmatch(repo_id):
        raise InputError(f"{repo_id[:60]!r}: no id of the Hub; write OWNER/NAME")
    from huggingface_hub import HfApi

    hub = HfApi(token=token)
    try:
        address = hub.create_repo(repo_id, private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=repo_id, folder_path=folder, commit_message=message or "Upload a sympress artifact"
        )
    except Exception as error:  # of the Hub, or of the network
        raise InputError(
            f"{repo_id}: not uploaded ({type(error).__name__}); check the id, `hf auth login` and the network"
        ) from error
    return str(address)
