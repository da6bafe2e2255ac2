"""The settings of the service from flags, environment and file; flags win, then the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from sympress.config import marks_of, read_config_file
from sympress.errors import InputError, nearest
from sympress.serve.config import ServeConfig

#: Before the name of a setting, in capitals, in the environment.
PREFIX = "SYMPRESS_SERVE_"
_FILE = "config"


class _Environment(ServeConfig, BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, enable_decoding=False)


def read_settings(flags: Mapping[str, Any], file: Path | None = None) -> ServeConfig:
    """The settings that flags, environment variables and a TOML file give.

    Args:
        flags: by setting; None or an empty list where one was not given.
        file: TOML with the names of settings as keys; that of `SYMPRESS_SERVE_CONFIG` unless given.

    Raises:
        InputError: a name is unknown, or a value is not what its setting takes; the message says where it
            came from.
    """
    _refuse_unknown((name[len(PREFIX) :].lower() for name in _named()), {*ServeConfig.model_fields, _FILE})
    if file is None and (named := os.environ.get(PREFIX + _FILE.upper(), "")):
        file = Path(named)
    of_file = read_config_file(file) if file is not None else {}
    for key in of_file:
        if key not in ServeConfig.model_fields:
            raise InputError(f"{file}: unknown setting {key!r}{nearest(key, ServeConfig.model_fields)}")
    of_environment = EnvSettingsSource(_Environment)()
    given = {name: value for name, value in flags.items() if value is not None and value != []}
    try:
        return ServeConfig.model_validate(of_file | of_environment | given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        place = f"{file}: {name}"
        if name in given:
            place = marks_of(name, ServeConfig).flag or "--" + name.replace("_", "-")
        elif name in of_environment:
            place = PREFIX + name.upper()
        raise InputError(f"{place} {first['input']!r}: {first['msg'].lower()}") from error


def _named() -> list[str]:
    return [name for name in os.environ if name.upper().startswith(PREFIX)]


def _refuse_unknown(names: Any, known: set[str]) -> None:
    for name in names:
        if name not in known:
            close = nearest(name, known).upper().replace("DID YOU MEAN", "did you mean")
            raise InputError(f"{PREFIX}{name.upper()}: no setting has that name{close}; unset it")
