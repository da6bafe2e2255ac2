"""Where a model is trained is an argument: `auto`, the CPU, CUDA or MPS."""

from __future__ import annotations

import pytest
import torch

from sympress.cli.main import run
from sympress.errors import InputError
from sympress.training.epochs import default_device, on_device


@pytest.fixture(autouse=True)
def hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


def test_cuda_is_taken_where_there_is_one_and_mps_by_name_only():
    assert default_device().type == "cuda"
    for name in ("cpu", "cuda", "mps"):
        with on_device(name):
            assert default_device().type == name
    assert default_device().type == "cuda"


def test_auto_is_the_cpu_without_cuda_even_where_there_is_mps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with on_device("auto"):
        assert default_device().type == "cpu"


def test_a_device_that_is_not_there_or_unknown_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError) as caught, on_device("mps"):
        pass
    assert str(caught.value) == (
        "--device mps: PyTorch cannot use one here; choose cpu, or install its build for it"
    )
    with (
        pytest.raises(InputError, match=r"--device gpu: unknown.*choose from auto, cpu, cuda, mps"),
        on_device("gpu"),
    ):
        pass


@pytest.mark.parametrize(
    "command",
    [
        ["study", "-o", "x"],
        ["study", "-o", "x", "--dry-run"],
        ["demo", "-o", "x"],
        ["tune", "-o", "x"],
        ["train", "--gold", "missing.jsonl", "-o", "x"],
        ["adapt", "--notes", "missing.csv", "-o", "x"],
        ["compress", "missing", "--recipe", "pocket", "-o", "x"],
    ],
)
def test_every_command_that_trains_takes_it_and_checks_it_first(
    command: list[str], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as done:
        run([*command, "--device", "gpu"])
    assert done.value.code == 2
    assert "--device gpu: unknown" in capsys.readouterr().err
