"""Where a result came from: configuration, data by its fingerprint, versions, commit, machine; never text."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.config import StudyConfig
from sympress.labels.lexicon import Lexicon
from sympress.labels.mentions import AnnotatedNote, LabelSet

if TYPE_CHECKING:
    from sympress.notes.split import Split

_PACKAGES = ("sympress", "torch", "transformers", "onnxruntime", "onnx", "polars", "numpy", "scikit-learn")


def environment() -> dict[str, Any]:
    """Versions, processor and cores of this machine, and the GPU that PyTorch sees where it was imported."""
    gpu = accelerator()
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": processor_name(),
        "cores": os.cpu_count() or 1,
        **({} if gpu is None else {"accelerator": gpu}),
        "versions": versions(),
        "commit": commit(),
    }


def accelerator() -> str | None:
    """The name of the GPU that trains and answers, if PyTorch was imported and sees one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name())


def versions() -> dict[str, str]:
    """Installed versions of what decides a result."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def processor_name() -> str:
    """The processor's own name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of the checkout that this package runs from, or None when it is installed."""
    try:
        done = subprocess.run(  # noqa: S603  fixed arguments
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],  # noqa: S607  git of the user's PATH
            capture_output=True,
            text=True,
            check=False,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def provenance(config: StudyConfig, name: str, recipe: str, seed: int, fingerprint: str) -> dict[str, Any]:
    """What is stored with an artifact."""
    return {
        "format": 1,
        "strategy": name,
        "recipe": recipe,
        "seed": seed,
        "config": public_settings(config),
        "data_fingerprint": fingerprint,
        "environment": environment(),
    }


def public_settings(config: StudyConfig) -> dict[str, Any]:
    """The settings as they may travel: of a path on this machine only the last part."""
    values = config.model_dump(mode="json")
    for name in ("notes", "lexicon", "encoder"):
        if values[name] is not None and Path(values[name]).is_absolute():
            values[name] = Path(values[name]).name
    return values


# Fingerprints of what a study learns from and is judged by; nothing can be read from them.


#: Texts that are joined before they are hashed.
_PART = 10_000


def data_inputs(frame: pl.DataFrame, lexicon: Lexicon, split: Split, labels: str) -> dict[str, str]:
    """Fingerprints of the data of a study, by the names of `claim.INPUTS`.

    Args:
        frame: the notes as they were read, in their order.
        lexicon: with all that its file extends.
        split: rows of the labelled notes.
        labels: fingerprint of what the notes carry.
    """
    return {
        "notes": fingerprint_frame(frame),
        "lexicon": fingerprint_lexicon(lexicon),
        "labels": labels,
        "split": fingerprint_split(split),
    }


def fingerprint_frame(frame: pl.DataFrame) -> str:
    """SHA-256 of every note in order, with its ids, time, category, sex, age and codes: 1 s a gigabyte."""
    digest = hashlib.sha256()
    for name in frame.columns:
        series = frame[name]
        digest.update(f"{name} {len(series)}".encode())
        if series.dtype == pl.List(pl.String):
            digest.update(_integers(series.list.len()))
            series = series.explode()
        if series.dtype == pl.String:
            digest.update(_integers(series.str.len_bytes()))  # so that no two columns read alike
            for start in range(0, len(series), _PART):
                digest.update("".join(series[start : start + _PART].drop_nulls()).encode())
        elif series.dtype == pl.Float64:
            digest.update(_integers(series.is_null().cast(pl.Int64)))
            digest.update(series.fill_null(0.0).to_numpy().astype("<f8").tobytes())
        else:
            digest.update(_integers(series.is_null().cast(pl.Int64)))
            digest.update(_integers(series.to_physical()))
    return digest.hexdigest()


def fingerprint_texts(texts: Sequence[str]) -> str:
    """SHA-256 of texts in order."""
    return fingerprint_frame(pl.DataFrame({"text": list(texts)}, schema={"text": pl.String}))


def fingerprint_labels(labels: LabelSet, weights: NDArray[np.float32] | None = None) -> str:
    """SHA-256 of which notes are labelled with what, and of what their loss is multiplied by."""
    digest = hashlib.sha256(json.dumps([labels.task, labels.symptoms, labels.note_ids]).encode())
    digest.update(np.ascontiguousarray(labels.targets, dtype=np.uint8).tobytes())
    if weights is not None:
        digest.update(np.ascontiguousarray(weights, dtype="<f4").tobytes())
    return digest.hexdigest()


def fingerprint_split(split: Split) -> str:
    """SHA-256 of the rows of each side."""
    rows = [side.tolist() for side in (split.train, split.validation, split.test)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def fingerprint_lexicon(lexicon: Lexicon) -> str:
    """SHA-256 of a lexicon's entries in order, and of what else it says; not of its name."""
    held = asdict(lexicon)
    del held["name"]
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def fingerprint_annotated(notes: Sequence[AnnotatedNote]) -> str:
    """SHA-256 of the notes' ids, texts and spans, in order."""
    digest = hashlib.sha256()
    for note in notes:
        others = [repr(note.others)] if note.others else []
        for part in (note.note_id, note.text, repr(note.mentions), *others):
            written = part.encode("utf-8", "surrogatepass")
            digest.update(len(written).to_bytes(8, "little"))
            digest.update(written)
    return digest.hexdigest()


def _integers(series: pl.Series) -> bytes:
    """Little-endian int64, -1 where nothing is."""
    return series.cast(pl.Int64).fill_null(-1).to_numpy().astype("<i8").tobytes()
