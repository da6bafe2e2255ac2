"""The model of an artifact: `model.onnx`, or `model.onnx.gz`, which is decoded when it is loaded."""

from __future__ import annotations

import zlib
from pathlib import Path

from sympress.errors import InputError
from sympress.files import refuse_pipe

MODEL_FILE = "model.onnx"
#: The same file, its bytes Huffman-coded; `gunzip` gives it back.
CODED_FILE = "model.onnx.gz"
#: What protobuf reads at the most, and so the largest model there is.
MOST_BYTES = 2**31 - 1
#: No model is coded to less than this part of its size; a file that says so is made to fill the memory.
MOST_RATIO = 100
#: How much repeats count beside how often bytes occur: weights hardly repeat, names of nodes do.
_STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY)
_GZIP = 16 + zlib.MAX_WBITS
_HEAD, _LENGTH_BYTES = b"\x1f\x8b\x08", 4


def model_file(folder: Path) -> Path:
    """The file in `folder` that holds the model: the coded one where there is no other."""
    plain, coded = folder / MODEL_FILE, folder / CODED_FILE
    return coded if coded.is_file() and not plain.is_file() else plain


def model_source(folder: Path) -> Path | bytes:
    """The model in `folder` as ONNX Runtime takes it: the file's path, or what it decodes to.

    Raises:
        InputError: the file is coded and damaged, or decodes to more than it may.
    """
    path = model_file(folder)
    return path if path.name == MODEL_FILE else decode_model(path)


def model_bytes(folder: Path) -> bytes:
    """The model in `folder` as bytes of an ONNX file; raises as `model_source`, and `OSError`."""
    source = model_source(folder)
    return source if isinstance(source, bytes) else source.read_bytes()


def encode_model(path: Path) -> Path:
    """Replace the file `path` by its coded form beside it, which is returned; the same bytes every time."""
    content, coded = path.read_bytes(), path.with_name(CODED_FILE)
    coded.write_bytes(min((_coded(content, strategy) for strategy in _STRATEGIES), key=len))
    path.unlink()
    return coded


def _coded(content: bytes, strategy: int) -> bytes:
    coder = zlib.compressobj(level=9, wbits=_GZIP, strategy=strategy)
    return coder.compress(content) + coder.flush()


def decode_model(path: Path) -> bytes:
    """What the coded file `path` holds.

    Its last four bytes say how long that is. More is never decoded, whatever the file holds.

    Raises:
        InputError: it is no such file, is damaged, or says that it holds more than a model may.
    """
    refuse_pipe(path)
    try:
        size = path.stat().st_size
        coded = path.read_bytes() if size <= MOST_BYTES else b""
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); copy the artifact again") from error
    length = int.from_bytes(coded[-_LENGTH_BYTES:], "little")
    if size > MOST_BYTES:
        raise InputError(f"{path}: {size:,} bytes, more than a model has; copy the artifact again")
    if not coded.startswith(_HEAD):
        raise InputError(f"{path}: not gzip; copy the artifact again")
    if length > min(MOST_BYTES, MOST_RATIO * len(coded)):
        raise InputError(
            f"{path}: says that {len(coded):,} bytes decode to {length:,}, more than a model's do; "
            "copy the artifact again"
        )
    decoder = zlib.decompressobj(wbits=_GZIP)
    try:
        content = decoder.decompress(coded, length + 1)
    except zlib.error as error:
        raise InputError(f"{path}: damaged ({error}); copy the artifact again") from error
    if len(content) != length or not decoder.eof or decoder.unused_data:
        raise InputError(f"{path}: does not hold the {length:,} bytes that it says; copy the artifact again")
    return content
