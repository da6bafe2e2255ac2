"""Settings of the service from flags, environment and file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.main import get_command

pytest.importorskip("pydantic_settings", reason="needs the extra serve")
from sympress.cli.main import build_app, run
from sympress.config import marks_of
from sympress.errors import InputError
from sympress.serve.config import ServeConfig, read_settings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SYMPRESS_SERVE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "serve.toml"
    path.write_text('port = 1\nthreads = 2\nqueue_notes = 3\nmodel = ["a=x", "b=y"]\nidle_seconds = 4\n')
    return path


def test_flags_win_over_the_environment_and_that_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SYMPRESS_SERVE_PORT", "10")
    monkeypatch.setenv("SYMPRESS_SERVE_THREADS", "20")
    found = read_settings({"port": 100, "threads": None, "model": []}, file)
    assert (found.port, found.threads, found.queue_notes, found.idle_seconds) == (100, 20, 3, 4)
    assert found.model == ("a=x", "b=y")
    assert found.body_bytes == 4_000_000


def test_the_environment_may_name_the_file_and_has_lists_with_commas(
    file: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SYMPRESS_SERVE_CONFIG", str(file))
    monkeypatch.setenv("SYMPRESS_SERVE_ALLOWED_HOST", "one.example, two.example")
    monkeypatch.setenv("SYMPRESS_SERVE_TLS_KEY", "")  # as compose passes what is not set
    found = read_settings({})
    assert (found.port, found.allowed_host, found.tls_key) == (1, ("one.example", "two.example"), None)


def test_every_flag_is_a_setting_and_an_environment_variable(monkeypatch: pytest.MonkeyPatch):
    options = {
        name for one in get_command(build_app(["serve"])).commands["serve"].params for name in one.opts
    }
    flagged = {name for name in ServeConfig.model_fields if marks_of(name, ServeConfig).flag is not None}
    assert options - {"--help", "--config"} == {"--" + name.replace("_", "-") for name in flagged}
    for name in flagged:
        default = ServeConfig.model_fields[name].default
        value = "1" if isinstance(default, bool | int | float) else "x"
        monkeypatch.setenv(f"SYMPRESS_SERVE_{name.upper()}", value)
    found = read_settings({})
    assert [name for name in flagged if getattr(found, name) == ServeConfig.model_fields[name].default] == [
        name for name in flagged if name == "threads"
    ]


@pytest.mark.parametrize(
    ("flags", "environment", "text", "message"),
    [
        ({"port": 99999}, {}, "", "--port 99999: input should be less than or equal to 65535"),
        (
            {},
            {"SYMPRESS_SERVE_PORT": "tcp://10.0.0.1:80"},
            "",
            "SYMPRESS_SERVE_PORT 'tcp://10.0.0.1:80': input should be a valid integer, unable to parse "
            "string as an integer",
        ),
        ({}, {}, "threads = 0", "serve.toml: threads 0: input should be greater than 0"),
        ({}, {}, "thread = 1", "serve.toml: unknown setting 'thread' (did you mean 'threads'?)"),
        ({}, {}, "= 1", None),
        (
            {},
            {"SYMPRESS_SERVE_API_KEY_FIEL": "x"},
            "",
            "SYMPRESS_SERVE_API_KEY_FIEL: no setting has that name (did you mean 'API_KEY_FILE'?); unset it",
        ),
        ({"request_seconds": float("inf")}, {}, "", None),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_where_it_came_from(
    flags: dict[str, object],
    environment: dict[str, str],
    text: str,
    message: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "serve.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_settings(flags, path)
    assert "\n" not in str(caught.value)
    if message is not None:
        assert str(caught.value).replace(str(path), "serve.toml") == message


def test_a_missing_file_is_a_mistake_of_the_call(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as done:
        run(["serve", "--config", "nowhere.toml"])
    assert done.value.code == 2
    assert "nowhere.toml: cannot be read" in capsys.readouterr().err
