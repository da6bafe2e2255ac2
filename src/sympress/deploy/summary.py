"""What an artifact says of itself in a few lines, and whether it is whole and right on this CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

from sympress.deploy.artifact import read_extractor
from sympress.deploy.checksums import artifact_digest, check_files, files_to_run
from sympress.deploy.kernels import check_kernel, kernel_of, made_for, multiplies_integers
from sympress.files import read_object
from sympress.provenance import processor_name


def summarize(folder: Path) -> dict[str, str]:
    """A line for each thing to know of the artifact in `folder`, by its name.

    Among them are its digest, which `--digest` of other commands pins, its kernel with the CPUs that it is
    made for, and the CPU it was pressed on.

    Raises:
        InputError: the folder is no artifact, a file of it is missing, changed or damaged, or this CPU would
            multiply its weights wrong.
    """
    settings = read_extractor(folder)
    check_files(folder)
    names = files_to_run(folder)
    size = sum((folder / name).stat().st_size for name in names if (folder / name).is_file())
    what = "rules alone" if settings.rules_only else f"{len(settings.symptoms)} symptoms"
    lines = {
        "task": f"{settings.task}, {what}",
        "files": f"{len(names)} to run, {size:,} bytes",
        "digest": artifact_digest(folder),
    }
    if settings.rules_only:
        return lines
    check_kernel(folder)
    record = read_object(folder / "provenance.json") or {}
    if isinstance(record.get("recipe"), str):
        lines["recipe"] = record["recipe"]
    lines["kernel"] = _kernel(folder)
    pressed_on = _pressed_on(record)
    if pressed_on:
        lines["made on"] = pressed_on
    lines["this CPU"] = f"{processor_name()}: right with onnxruntime {onnxruntime.__version__}"
    return lines


def _kernel(folder: Path) -> str:
    kernel = kernel_of(folder)
    if kernel is not None:
        return f"{kernel}: {made_for(kernel) or 'unknown to this sympress'}"
    integers = multiplies_integers(folder / "model.onnx")
    return "not recorded; the file multiplies integers" if integers else "none: float weights, for every CPU"


def _pressed_on(record: dict[str, Any]) -> str | None:
    environment = record.get("environment")
    processor = environment.get("processor") if isinstance(environment, dict) else None
    return processor if isinstance(processor, str) else None
