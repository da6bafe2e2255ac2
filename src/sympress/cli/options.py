"""Options of the command line that are made from the fields of the configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer

from sympress.config import (
    CompressionConfig,
    DataConfig,
    MeasurementConfig,
    StudyConfig,
    TrainingConfig,
    make_config,
    marks_of,
    read_config_file,
)

_PARTS = (DataConfig, TrainingConfig, CompressionConfig, MeasurementConfig)
#: What typer reads; everything else is text, which the configuration checks, with a message of its own.
_READ_BY_TYPER = (bool, int, float, Path)

Command = TypeVar("Command", bound=Callable[..., Any])


def settings_options(
    names: Iterable[str] | None = None, *, panel: str | None = None
) -> Callable[[Command], Command]:
    """Return a decorator that replaces `**settings` of a command by options, behind what it requires.

    Args:
        names: of settings; all that have a flag by default.
        panel: of the help; by default that of the part of the configuration.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        at = sum(one.default is one.empty for one in own)
        chosen = [name for name in StudyConfig.model_fields if marks_of(name).flag is not None]
        made = [_option(name, panel) for name in (chosen if names is None else names)]
        parameters = [one.replace(kind=one.KEYWORD_ONLY) for one in (*own[:at], *made, *own[at:])]
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
        return command

    return decorate


def _option(name: str, panel: str | None) -> inspect.Parameter:
    """The option of a setting; None where it is not given."""
    field = StudyConfig.model_fields[name]
    held = {*get_args(field.annotation), field.annotation}
    flag = marks_of(name).flag or "--" + name.replace("_", "-")
    kind: Any = next((one for one in _READ_BY_TYPER if one in held), str)
    if _is_repeatable(name):
        kind = list[str]
    elif kind is bool:
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    part = next((one for one in _PARTS if name in one.model_fields), None)
    shown = panel or (part.panel if part is not None else None)
    option = typer.Option(flag, help=field.description, rich_help_panel=shown)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _is_repeatable(name: str) -> bool:
    """Whether a setting of several texts is given one at a time, by a flag of its own; else with commas."""
    return StudyConfig.model_fields[name].default == () and bool(marks_of(name).flag)


def study_config(flags: dict[str, Any], file: Path | None) -> StudyConfig:
    """The study that the flags (None where not given) and the TOML file describe; flags win."""
    values = read_config_file(file) if file is not None else {}
    for name, value in flags.items():
        if name not in StudyConfig.model_fields or value is None or value == []:
            continue
        if StudyConfig.model_fields[name].default == ():
            parts = value.split(",") if isinstance(value, str) else value
            value = tuple(part.strip() for part in parts if part.strip())  # noqa: PLW2901
        values[name] = value
    return make_config(values)
