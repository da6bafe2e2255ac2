"""Int8 files on every CPU: which kernel is made for which, and sessions that multiply right on all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from sympress.deploy.artifact import read_provenance
from sympress.errors import InputError

onnxruntime.set_default_logger_severity(4)  # its log goes to the terminal, past Python's logging

#: The kernel of an int8 file where nothing else is asked for, as the provenance of an artifact names it.
INT8_KERNEL = "dynamic-7bit"

_SEVEN_BITS = "signed weights of 7 bits, exact on every CPU"
_FULL_RANGE = (
    "signed weights of all 8 bits, made for CPUs that add their products in 32 bits (x86 with VNNI, ARM); on "
    "others the runtime multiplies unsigned weights instead, exact and slower"
)
#: What a kernel stores and the CPUs that it is made for.
_MADE_FOR = {
    "dynamic-7bit": _SEVEN_BITS,
    "dynamic-8bit": _FULL_RANGE,
    "dynamic-unsigned": "unsigned weights of 8 bits, exact on every CPU, slower on x86 without VNNI",
    "static-7bit": _SEVEN_BITS,
    "static-8bit": _FULL_RANGE,
    "weights-8bit": "weights of 8 bits by blocks, for every CPU",
    "weights-4bit": "weights of 4 bits by blocks, for every CPU",
}
#: Operators that an integer product is written with.
_INTEGER_PRODUCTS = (b"MatMulInteger", b"DequantizeLinear")

#: ONNX Runtime's fused sum and layer norm takes 106 µs on 64 x 384 numbers where the two apart take 20:
#: without it MiniLM's int8 file is 1.3 times as fast.
SLOWER_FUSED = ("SkipLayerNormFusion",)

#: An ONNX file that multiplies `x` (rows, 4) of 0..255 by 4 x 4 weights of 127 with `MatMulInteger`.
_PRODUCT = bytes.fromhex(
    "08093a7c0a1d0a01780a06776569676874120179220d4d61744d756c496e7465676572120770726f647563742a200804"
    "0804100342067765696768744a107f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f5a170a017812120a100802120c0a06120472"
    "6f77730a02080462170a017912120a100806120c0a061204726f77730a02080442040a001014"
)
_LARGEST = 4 * 255 * 127  # that this file gives, where a sum of two products in 16 bits ends at 32,767
_ROWS = (1, 16)  # as of one token and of a note, which have kernels of their own


def open_session(file: Path | bytes, *, threads: int, disabled: Sequence[str] = SLOWER_FUSED) -> Any:
    """An ONNX file, or its bytes, ready to answer on `threads` cores (0: all) one note at a time.

    Products of unsigned by signed 8-bit numbers are exact on every CPU: x86 without VNNI adds pairs of them
    in 16 bits (`pmaddubsw`), where 2 · 255 · 127 does not fit. There the runtime makes signed weights that
    may overflow, those beyond 64, unsigned when it loads them; others it leaves as they are.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what fails is raised as well
    options.enable_mem_pattern = False  # a pattern is kept for every length of a note that is met
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(
        file, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled)
    )


@cache
def products_are_exact() -> bool:
    """True if sessions of `open_session` multiply 8-bit weights without saturating, asked of the runtime.

    The largest product there is is computed once a process; False if it cannot be.
    """
    try:
        session = open_session(_PRODUCT, threads=1)
        answers = [session.run(None, {"x": np.full((rows, 4), 255, dtype=np.uint8)})[0] for rows in _ROWS]
    except Exception:  # the runtime's errors have no common base of their own
        return False
    return all(bool((answer == _LARGEST).all()) for answer in answers)


def check_kernel(folder: Path) -> None:
    """Check that this CPU multiplies right what the artifact in `folder` was pressed for.

    Raises:
        InputError: products overflow here, in spite of `open_session`, and the file is not known to hold
            weights that are exact everywhere.
    """
    if products_are_exact():
        return
    kernel = kernel_of(folder)
    if made_for(kernel) in (None, _FULL_RANGE) and multiplies_integers(folder / "model.onnx"):
        raise InputError(
            f"{folder}: {f'kernel {kernel}' if kernel else 'its kernel is not recorded'}, and products of "
            f"8-bit weights overflow on this CPU with onnxruntime {onnxruntime.__version__}, so that answers "
            f"would be wrong; press the model again with --kernel {INT8_KERNEL}, which is exact on every CPU"
        )


def kernel_of(folder: Path) -> str | None:
    """The kernel that the provenance of the artifact in `folder` names; None where it names none."""
    try:
        record = read_provenance(folder, missing="no provenance")
    except InputError:
        return None
    kernel = record.get("kernel") if isinstance(record, dict) else None
    name = kernel.get("name") if isinstance(kernel, dict) else None
    return name if isinstance(name, str) else None


def made_for(kernel: str | None) -> str | None:
    """What `kernel` stores and the CPUs it is made for, also with layers in float; None if it is unknown."""
    return _MADE_FOR.get("-".join((kernel or "").split("-")[:2]))


def multiplies_integers(file: Path) -> bool:
    """Whether the ONNX `file` has products of integers."""
    content = file.read_bytes()  # an operator's name stands in it as it is
    return any(name in content for name in _INTEGER_PRODUCTS)
