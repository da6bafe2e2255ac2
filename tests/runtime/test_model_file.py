"""A coded model file: what it holds comes back, and what it should not hold never does."""

from __future__ import annotations

import gzip
import resource
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from sympress.errors import InputError
from sympress.runtime.artifact import (
    check_files,
    decode_model,
    encode_model,
    files_to_run,
    model_bytes,
    model_file,
    write_checksums,
)
from sympress.runtime.extractor import Extractor
from sympress.runtime.pack import summarize
from sympress.runtime.session import Runtime, multiplies_integers

CONTENT = np.random.default_rng(0).integers(0, 16, size=100_000).astype(np.uint8).tobytes()


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(CONTENT)
    return encode_model(tmp_path / "model.onnx")


@pytest.fixture
def coded_artifact(tiny_artifact: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "coded"
    shutil.copytree(tiny_artifact, folder)
    encode_model(folder / "model.onnx")
    write_checksums(folder)
    return folder


def test_what_was_coded_comes_back_and_is_near_its_entropy(coded: Path) -> None:
    assert decode_model(coded) == model_bytes(coded.parent) == gzip.decompress(coded.read_bytes()) == CONTENT
    assert not (coded.parent / "model.onnx").exists()
    assert coded.stat().st_size < 0.51 * len(CONTENT)  # four bits of eight
    first = coded.read_bytes()
    (coded.parent / "model.onnx").write_bytes(CONTENT)
    assert encode_model(coded.parent / "model.onnx").read_bytes() == first


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as refused:
        decode_model(path)
    assert "\n" not in str(refused.value)
    return str(refused.value).removeprefix(f"{path}: ")


def test_a_file_that_decodes_to_four_gigabytes_is_refused_before_it_does(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx.gz"
    coder = zlib.compressobj(level=9, wbits=31)
    nothing = bytes(1 << 20)
    parts = [coder.compress(nothing) for _ in range(300)]  # as much as 300 MB
    bomb = b"".join([*parts, coder.flush()])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path.write_bytes(bomb)
    assert refusal(path) == (
        f"says that {len(bomb):,} bytes decode to 314,572,800, more than a model's do; copy the artifact "
        "again"
    )
    for told in (0, 4_096, len(bomb) * 90):  # 4 GB is 0 in its four bytes; or it lies
        path.write_bytes(bomb[:-4] + told.to_bytes(4, "little"))
        assert refusal(path) == f"does not hold the {told:,} bytes that it says; copy the artifact again"
    path.write_bytes(bomb[:-4] + b"\xff\xff\xff\xff")
    assert "decode to 4,294,967,295, more than a model's do" in refusal(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: b"", "not gzip"),
        (lambda data: CONTENT, "not gzip"),
        (lambda data: b"\x80\x04" + data, "not gzip"),
        (lambda data: data[:3], "decode to"),
        (lambda data: data[:-9], "decode to"),
        (lambda data: data[:2_000] + b"\x00" + data[2_001:], "damaged"),
        (lambda data: data[:-8] + b"\x00\x00\x00\x00" + data[-4:], "damaged"),  # its own checksum
        (lambda data: data + data, "does not hold"),
        (lambda data: data + b"x" + data[-4:], "does not hold"),
    ],
)
def test_a_damaged_file_is_one_line(coded: Path, change: object, said: str) -> None:
    coded.write_bytes(change(coded.read_bytes()))  # type: ignore[operator]
    message = refusal(coded)
    assert said in message
    assert message.endswith("copy the artifact again")


def test_a_file_larger_than_any_model_is_not_read(coded: Path) -> None:
    with coded.open("r+b") as file:
        file.truncate(3 << 30)  # holes, which take no room
    assert refusal(coded) == "3,221,225,472 bytes, more than a model has; copy the artifact again"


def test_every_cut_and_every_flipped_bit_is_refused_or_changes_nothing(coded: Path) -> None:
    data, rng, said = coded.read_bytes(), np.random.default_rng(1), []
    for _ in range(60):
        altered = bytearray(data)
        altered[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        coded.write_bytes(bytes(altered[: len(data) - int(rng.integers(2)) * int(rng.integers(1, 99))]))
        try:
            assert decode_model(coded) == CONTENT  # a bit of the head that says when it was written
        except InputError as error:
            said.append(str(error))
    assert len(said) > 50
    assert not any("\n" in one for one in said)


def test_a_coded_artifact_answers_bit_for_bit_as_the_plain_one(
    tiny_artifact: Path, coded_artifact: Path
) -> None:
    texts = ["fever and cough", "denies pain", "", "no rash after the dose " * 30]
    plain, ours = Runtime.load(tiny_artifact), Runtime.load(coded_artifact)
    assert np.array_equal(plain.predict_logits(texts), ours.predict_logits(texts))
    assert files_to_run(coded_artifact) == ["extractor.json", "tokenizer.json", "model.onnx.gz"]
    assert model_file(coded_artifact).name == "model.onnx.gz"
    assert not multiplies_integers(coded_artifact)
    assert "3 to run" in summarize(coded_artifact)["files"]


def test_its_checksum_is_of_the_coded_file_and_it_must_be_there(coded_artifact: Path) -> None:
    path = coded_artifact / "model.onnx.gz"
    data = path.read_bytes()
    path.write_bytes(data[:4] + b"\x01" + data[5:])  # another time, the same model
    with pytest.raises(InputError, match="its checksum differs"):
        Extractor.load(coded_artifact)
    path.unlink()
    with pytest.raises(InputError, match=r"model\.onnx is missing"):
        check_files(coded_artifact)
    path.write_bytes(b"")
    write_checksums(coded_artifact)
    with pytest.raises(InputError, match=r"model\.onnx\.gz: not gzip; copy the artifact again"):
        Extractor.load(coded_artifact)
    path.unlink()
    path.symlink_to("/dev/zero")
    write_checksums(coded_artifact)
    with pytest.raises(InputError, match=r"model\.onnx is missing"):
        Extractor.load(coded_artifact)
