"""Reference pages made from the code: commands, configuration, results file and artifact.

A block such as `<!-- sympress:commands -->` in a document is filled by one of `REFERENCE`, as
`benchmarks.documents` describes.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.main import get_command

from sympress.cli.main import build_app
from sympress.config import ENCODERS, PROTOCOLS, StudyConfig, marks_of
from sympress.results import Results
from sympress.runtime.artifact import Extractor

NONE = "–"


def commands() -> list[str]:
    """Every command of `sympress` with its arguments and options, in the order of `--help`."""
    root: Any = get_command(build_app())
    lines: list[str] = []
    for name, command in root.commands.items():
        lines += _command(f"sympress {name}", command, "##")
    return lines[:-1]


def _command(name: str, command: Any, heading: str) -> Iterator[str]:
    """The section of a command; of a group of commands also those of its commands."""
    yield from (f"{heading} `{name}`", "", _flat(command.help), "")
    if hasattr(command, "commands"):
        for below, one in command.commands.items():
            yield from _command(f"{name} {below}", one, f"{heading}#")
        return
    arguments = [one for one in command.params if not one.opts[0].startswith("-")]
    yield from ("```text", " ".join([name, "[OPTIONS]", *map(_usage, arguments)]), "```", "")
    panels: dict[str, list[Any]] = {}
    for one in command.params:
        if not one.hidden:
            panels.setdefault(one.rich_help_panel or "", []).append(one)
    for panel, parameters in panels.items():
        if panel:
            yield from (f"**{panel}**", "")
        yield from (_row("option", "value", "default", "what it is"), _row(*[":--"] * 4))
        yield from (_parameter(one) for one in parameters)
        yield ""


def _usage(argument: Any) -> str:
    name = (argument.metavar or argument.name).strip("{}").upper()
    name = f"{name}..." if argument.nargs != 1 else name
    return name if argument.required else f"[{name}]"


def _parameter(one: Any) -> str:
    """The line of an option or an argument."""
    is_option = one.opts[0].startswith("-")
    names = [*one.opts, *one.secondary_opts] if is_option else [_usage(one)]
    nothing = one.default in (None, [], (), "", False) or callable(one.default)
    default = ("required" if one.required else NONE) if nothing else f"`{_plain(one.default)}`"
    return _row(", ".join(f"`{name}`" for name in names), _value(one, is_option), default, _flat(one.help))


def _value(one: Any, is_option: bool) -> str:
    if getattr(one, "is_flag", False):
        return "flag"
    if one.metavar and is_option:
        return f"`{one.metavar}`"
    kind = _type(one.type_descriptor.annotation)
    told = one.type_descriptor.parameter_info
    bounds = [("at least", told.min), ("at most", told.max)]
    return ", ".join([kind, *(f"{word} {bound:g}" for word, bound in bounds if bound is not None)])


def configuration() -> list[str]:
    """Every setting of a study: its name in TOML, its flag, values, defaults, and what it is."""
    lines: list[str] = []
    parts = [base for base in StudyConfig.__mro__ if base.__dict__.get("panel")]
    for part in reversed(parts):
        lines += [f"## {part.__dict__['panel']}", "", _flat(part.__doc__), ""]
        lines += [_row("setting", "flag", "value", "default", "what it is"), _row(*[":--"] * 5)]
        for name in part.__annotations__:
            if name in StudyConfig.model_fields:
                lines.append(_setting(name))
        lines.append("")
    return lines[:-1]


def _setting(name: str) -> str:
    field = StudyConfig.model_fields[name]
    marks = marks_of(name)
    flag = NONE if marks.flag is None else f"`{marks.flag or '--' + name.replace('_', '-')}`"
    cells = (f"`{name}`", flag, _type(field.annotation), _default(name), _flat(field.description))
    return _row(*cells)


def _default(name: str) -> str:
    default = StudyConfig.model_fields[name].default
    if default not in (None, (), PydanticUndefined):
        return f"`{_plain(default)}`"
    encoders = {encoder or "other encoders": values for encoder, values in ENCODERS.items()}
    given = {where: values[name] for where, values in (PROTOCOLS | encoders).items() if name in values}
    if given:
        return ", ".join(f"`{_plain(value)}` ({where})" for where, value in given.items())
    return NONE


def protocols() -> list[str]:
    """What each protocol sets, side by side."""
    names = list(PROTOCOLS)
    lines = [_row("setting", *(f"`{name}`" for name in names)), _row(*([":--"] * (len(names) + 1)))]
    lines += [
        _row(f"`{setting}`", *(f"`{_plain(PROTOCOLS[name][setting])}`" for name in names))
        for setting in PROTOCOLS[names[0]]
    ]
    return lines


def results_file() -> list[str]:
    """Every part of `results.json` with its keys, from the file itself down to its smallest part."""
    return _models(Results, first="The file")


def artifact_settings() -> list[str]:
    """Every key of `extractor.json`."""
    return _models(Extractor, first="`extractor.json`")


def _models(root: type[BaseModel], *, first: str) -> list[str]:
    """A section for `root` and for each part that it holds, in the order in which they are met."""
    met, lines = [root], []
    for model in met:
        told, meanings = _docstring(model)
        title = first if model is root else f"`{model.__name__}`"
        lines += [f"## {title}", "", told, ""]
        lines += [_row("key", "value", "default", "what it is"), _row(*[":--"] * 4)]
        for name, field in model.model_fields.items():
            met += [part for part in _parts(field.annotation) if part not in met]
            lines.append(_row(f"`{name}`", _type(field.annotation), _given(field), meanings.get(name, "")))
        lines.append("")
    return lines[:-1]


def _given(field: Any) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return NONE if default is None or default in ([], {}, ()) else f"`{_plain(default)}`"


def _docstring(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """What a class is, and what each attribute of its docstring means."""
    text, _, attributes = (model.__doc__ or "").partition("Attributes:")
    entries = re.findall(r"^\s{8}(\w+): (.*?)(?=^\s{8}\w+: |\Z)", attributes + "\n", re.MULTILINE | re.DOTALL)
    return _flat(text), {name: _flat(meaning) for name, meaning in entries}


def _parts(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)


# Values and types in words.


_HOLDERS = {list: "list of ", tuple: "list of ", dict: "object of ", Annotated: ""}
_NAMES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "Path": "path",
    "datetime": "date",
    "NaiveDatetime": "date",
}


def _type(annotation: Any) -> str:
    """A type as a reader of JSON or TOML calls it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        named = [_type(one) for one in inner if one is not type(None)]
        return " or ".join([*named, *(["null"] if type(None) in inner else [])])
    if origin in _HOLDERS:
        return f"{_HOLDERS[origin]}{_type(inner[-1 if origin is dict else 0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[`{annotation.__name__}`](#{annotation.__name__.lower()})"
    return _NAMES.get(getattr(annotation, "__name__", ""), "any")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _flat(text: str | None) -> str:
    """A docstring or a help text on one line, safe between the bars of a table."""
    plain = re.sub(r"\[/?(?:bold|dim|italic)\]", "", text or "")
    return " ".join(plain.split()).replace("<", "&lt;").replace("``", "`")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


#: What fills a block of a reference page, by its kind.
REFERENCE: dict[str, Callable[[], list[str]]] = {
    "commands": commands,
    "configuration": configuration,
    "protocols": protocols,
    "results-file": results_file,
    "artifact": artifact_settings,
}
