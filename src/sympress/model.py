"""A model in the hand: it answers notes, can be compressed, saved, and shared on the Hugging Face Hub."""

from __future__ import annotations

import glob
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from sympress.errors import InputError
from sympress.files import atomic_folder, folder_to_write, full_disk_explained, is_bare
from sympress.runtime.artifact import artifact_folder, check_files, own_files, read_provenance
from sympress.runtime.extractor import Extractor, Origin

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sympress.models.model import SymptomModel


# Artifacts on the Hugging Face Hub.


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

    Only `own_files` go there: what somebody else laid into the folder, such as notes, stays.

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
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=[glob.escape(name) for name in own_files(folder)],
            commit_message=message or "Upload a sympress artifact",
        )
    except Exception as error:  # of the Hub, or of the network
        raise InputError(
            f"{repo_id}: not uploaded ({type(error).__name__}); check the id, `hf auth login` and the network"
        ) from error
    return str(address)


# A model as a program holds it: it answers notes, and is compressed, saved and shared.


class TemporaryFolder:
    """A folder that is removed when nothing holds it any more, or the program ends.

    Attributes:
        path: of the folder.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="sympress-"))
        self._remove = weakref.finalize(self, _remove, self.path, os.getpid())


def _remove(folder: Path, owner: int) -> None:
    """Remove a folder, but not when a fork of the process that made it ends."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Carried(Origin):
    """An unsaved model in a pickle: its temporary folder may be gone when it is read.

    Attributes:
        files: what is in the files of its folder, by their names.
    """

    files: dict[str, bytes]


def _refuse_unread(source: object, given: Mapping[str, Any]) -> None:
    """Refuse settings of a load that the artifact at `source` would not read.

    Raises:
        InputError: with their names.
    """
    unread = [name for name, value in given.items() if value not in (None, ())]
    if unread == ["revision"]:
        raise InputError(f"revision: {source} is not on the Hub, and has no revisions; leave it out")
    if unread:
        raise InputError(
            f"{' and '.join(unread)}: for a classifier of transformers; {source} is an artifact, which has "
            f"its own; leave {'it' if len(unread) == 1 else 'them'} out"
        )


class Model(Extractor):
    """An artifact: encoder, head, tokenizer, labels, and the settings that decide its answers.

    It answers notes as an `Extractor` does, without PyTorch. `compress` reads its weights, where it has them.
    What `load`, `train` or `compress` made lies in a temporary folder until `save` keeps it; it lasts as long
    as the model and its copies do. The pickle of such a model holds all its files. To send a large one to
    other processes, save it and load what was saved: that pickles as its path.
    """

    #: The temporary folder of a model that is not saved.
    _kept: TemporaryFolder | None = None

    @classmethod
    def in_temporary(cls, holder: TemporaryFolder, folder: Path, **settings: Any) -> Self:
        """The artifact `folder` inside a temporary folder, which is removed with the model.

        Args:
            holder: the temporary folder.
            folder: of the artifact, in it.
            settings: of `Extractor.load`.
        """
        model = cls.load(folder, **settings)
        model._kept = holder
        return model

    def __getstate__(self) -> Origin:
        origin = super().__getstate__()
        if self._kept is None:
            return origin
        folder = Path(origin.source)
        files = {name: (folder / name).read_bytes() for name in own_files(folder)}
        return _Carried(**{**vars(origin), "files": files})

    def __setstate__(self, origin: Origin) -> None:
        if isinstance(origin, _Carried):
            self._kept = TemporaryFolder()
            folder = self._kept.path / Path(origin.source).name
            with full_disk_explained(folder):
                for name, content in origin.files.items():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).write_bytes(content)
            origin = replace(origin, source=str(folder), files={})
        super().__setstate__(origin)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        importing: Mapping[str, Any] = MappingProxyType({}),
        **settings: Any,
    ) -> Self:
        """Load an artifact or a fine-tuned classifier of transformers, from a folder or the Hugging Face Hub.

        Args:
            source: a folder, or an id of the Hub.
            revision: branch, tag or commit on the Hub.
            importing: of a classifier, settings of `ImportSettings`.
            settings: of `Extractor.load`.

        Raises:
            InputError: there is no such folder or id, or it cannot be read or be represented exactly, or
                `revision` or `importing` is for another kind of source.
            MissingExtraError: a classifier is read by PyTorch, which is not installed.
        """
        folder = artifact_folder(Path(source).expanduser())
        if (folder / "extractor.json").is_file():
            _refuse_unread(source, {"revision": revision, **importing})
            return cls.load(folder, **settings)
        found = None if folder.exists() else artifact_on_hub(str(source), revision)
        if found is not None:
            _refuse_unread(source, importing)
            return cls.load(found, **settings)
        return cls._imported(source, revision, importing, settings)

    @classmethod
    def _imported(
        cls,
        source: str | Path,
        revision: str | None,
        importing: Mapping[str, Any],
        settings: Mapping[str, Any],
    ) -> Self:
        from sympress.errors import require_training

        require_training()
        from sympress.pipeline.import_model import ImportSettings, import_model

        holder = TemporaryFolder()
        target = holder.path / (Path(source).expanduser().resolve().name or "model")
        import_model(source, target, ImportSettings(**importing), revision=revision)
        return cls.in_temporary(holder, target, **settings)

    @property
    def provenance(self) -> dict[str, Any]:
        """How it was made: recipe, settings, versions, fingerprints, figures; never text.

        Raises:
            InputError: the file is missing or damaged.
        """
        found = read_provenance(self.folder, missing="provenance.json is missing; copy the artifact again")
        return found if isinstance(found, dict) else {}

    @property
    def weights(self) -> SymptomModel:
        """Encoder and head as PyTorch modules, read anew; changes to them change no answer.

        Raises:
            InputError: the artifact was deployed without its weights.
            MissingExtraError: PyTorch is not installed.
        """
        from sympress.errors import require_training

        require_training()
        from sympress.models.model import load_model

        return load_model(self.folder)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer, as transformers has it.

        Raises:
            MissingExtraError: transformers is not installed.
        """
        from sympress.errors import require_training

        require_training()
        from transformers import AutoTokenizer

        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        return found

    def save(self, folder: str | Path) -> Path:
        """Write the artifact to `folder`, which is not there yet or empty; return it.

        Raises:
            InputError: something is there already, or cannot be written, or the artifact has changed since
                it was loaded.
        """
        self._check_unchanged()
        target = folder_to_write(folder, advice="save to another folder")
        if not is_bare(target):
            raise InputError(f"{target}: there is something already; save to another folder")
        with atomic_folder(target) as draft:
            for name in own_files(self.folder):
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.folder / name, draft / name)
        return target

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | None = None,
        message: str | None = None,
    ) -> str:
        """Upload the artifact, its card among it, to the Hugging Face Hub; return its address.

        Args:
            repo_id: owner and name; made where it is not there.
            private: who may see a new one; the owner's default if None.
            token: of the Hub; the one that `hf auth login` stored if None.
            message: of the commit.

        Raises:
            InputError: the Hub refuses, or cannot be reached, or the artifact has changed since it was
                loaded.
        """
        self._check_unchanged()
        return upload(self.folder, repo_id, private=private, token=token, message=message)

    def _check_unchanged(self) -> None:
        """Check that the folder still holds the artifact that was loaded.

        Raises:
            InputError: it does not.
        """
        self._be_open()
        check_files(self.folder, None if self._origin is None else self._origin.digest)
