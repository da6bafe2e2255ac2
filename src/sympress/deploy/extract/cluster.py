"""The same extraction on a Ray cluster, with the artifact loaded once an actor.

The driver reads the notes, keeps the order and writes the checkpoint, as on one machine, so the output is
the same.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sympress.cluster import open_cluster
from sympress.deploy.checksums import CHECKSUMS_FILE, files_to_run
from sympress.deploy.extract.chunks import Answered, Chunk, Order, answer_chunk
from sympress.deploy.extract.workers import Answer
from sympress.deploy.extractor import Extractor
from sympress.labels.own_words import OURS, OwnWords


@dataclass(frozen=True)
class LoadArtifact:
    """Loads an artifact from the bytes of its files: a worker need not share a disk with the driver."""

    files: dict[str, bytes]
    order: Order
    words: OwnWords = OURS
    digest: str | None = None

    def __call__(self) -> Callable[[Chunk], Answered]:
        """Return what answers chunks."""
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self.files.items():
                (Path(folder) / name).write_bytes(content)
            extractor = Extractor.load(folder, words=self.words, digest=self.digest)
        return lambda chunk: answer_chunk(extractor, chunk, self.order)


def open_extraction(
    folder: Path, order: Order, address: str, words: OwnWords = OURS, digest: str | None = None
) -> AbstractContextManager[Answer]:
    """Open what answers chunks on every core of the Ray cluster at `address`; `local` starts one here.

    Raises:
        InputError: the artifact cannot be used or is not that of `digest`, or not with `words`, or no
            cluster answers there.
        MissingExtraError: a part of the extra `ray` is not installed.
    """
    Extractor.load(folder, words=words, digest=digest)  # a bad artifact is found before anything starts
    files = {name: (folder / name).read_bytes() for name in [*files_to_run(folder), CHECKSUMS_FILE]}
    return open_cluster(LoadArtifact(files, order, words, digest), address)
