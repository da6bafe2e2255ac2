"""The `sympress` command: which function each command is, one place for errors and exit codes."""

from __future__ import annotations

import importlib
import io
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from sympress.errors import MistakesError, SympressError, naming_flags

#: Each command and the function, or the group of commands, that it is, in the order of `--help`.
COMMANDS: dict[str, str] = {
    "demo": "study:demo",
    "extract": "extract:extract",
    "serve": "extract:serve",
    "pack": "artifact:pack",
    "show": "artifact:show",
    "evaluate": "artifact:evaluate",
    "study": "study:study",
    "train": "study:train",
    "import": "artifact:import_model",
    "compress": "compress:compress",
    "tune": "study:tune",
    "adapt": "study:adapt",
    "label": "notes:label",
    "lexicon": "notes:lexicon",
    "synth": "notes:synth",
    "data": "data:data",
    "report": "report:report",
    "compare": "report:compare",
}

#: Exit code of a command that SIGINT ended: 128 and the number of the signal, as shells have it.
_INTERRUPTED = 130
_INTERRUPTION = "interrupted; run the same command again to go on"
#: The environment variable that shows the traceback of a fault of ours.
_TRACEBACK = "SYMPRESS_TRACEBACK"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("sympress"))
        raise typer.Exit


def _root(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.with_resource(naming_flags())


def build_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line with the commands `names`; only their modules are imported."""
    app = typer.Typer(
        name="sympress",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Find symptoms in clinical notes, with small models that you train, compress and measure.",
        epilog="New here? Run  sympress demo",
    )
    app.callback()(_root)
    for name in names:
        module, _, function = COMMANDS[name].partition(":")
        command = getattr(importlib.import_module(f"sympress.cli.{module}"), function)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def run(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a failure of ours, 2 a mistake in the call or the input.

    130 is an interruption by SIGINT (Ctrl-C), whatever the command was doing, also where a library turned it
    into an error of its own.
    """
    _never_fail_to_print()
    asked = sys.argv[1:2] if arguments is None else arguments[:1]
    if arguments is None and _TRACEBACK not in os.environ:
        _quiet_libraries(logs=asked == ["serve"])
    with _interruptions() as met:
        try:
            names = asked if asked and asked[0] in COMMANDS else COMMANDS  # the others' modules cost a second
            ended = build_app(names)(args=arguments, standalone_mode=False)
            if ended == _INTERRUPTED or met:  # typer turns Ctrl-C into a value that it returns
                raise KeyboardInterrupt
            sys.exit(ended if isinstance(ended, int) else 0)
        except (KeyboardInterrupt, typer.Abort):
            _fail(_INTERRUPTION, _INTERRUPTED)
        except Exception as error:
            if met:
                _fail(_INTERRUPTION, _INTERRUPTED)
            _end(error)


def _never_fail_to_print() -> None:
    """Write `?` for a character that an output lacks, such as a Windows pipe in cp1252."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def _quiet_libraries(*, logs: bool) -> None:
    """Keep what libraries log and warn of from the terminal: it is for developers, and may quote a note.

    With `logs`, Python's logging stays: the service routes it into its own.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if not sys.warnoptions:  # neither -W nor PYTHONWARNINGS asks to see them
        warnings.showwarning = lambda *_args, **_more: None
    if not logs:
        logging.disable(logging.CRITICAL)


@contextmanager
def _interruptions() -> Iterator[list[int]]:
    """Yield a list that is empty until SIGINT comes, which raises KeyboardInterrupt as ever."""
    met: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        met.append(number)
        signal.default_int_handler(number, frame)

    before = signal.getsignal(signal.SIGINT)
    ours = before is signal.default_int_handler and current_thread() is main_thread()
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield met
    finally:
        if ours and signal.getsignal(signal.SIGINT) is note:
            signal.signal(signal.SIGINT, before)


def _end(cause: Exception) -> NoReturn:
    """Say what ended the command, and exit."""
    try:
        raise cause
    except SympressError as error:
        _fail(str(error), error.exit_code, lines=isinstance(error, MistakesError))
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except TyperException as error:
        _fail(error.format_message(), 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or type(error).__name__}; nothing half-written is left", 1)
    except Exception as error:
        _fail(*_fault(error))


def _fault(error: Exception) -> tuple[str, int]:
    """A fault of the program in one line: its kind and place, as what a library says may quote a note."""
    if _TRACEBACK in os.environ:
        raise error
    if isinstance(error, RecursionError):
        return "a file of the call, JSON or TOML, is nested too deeply to be read; mend it", 2
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f"{Path(one.filename).name}:{one.lineno}" for one in frames if "sympress" in one.filename]
    message = (
        f"a fault of sympress ({type(error).__name__} at {', '.join(ours[-3:])}); please report it. "
        f"{_TRACEBACK}=1 shows more, perhaps a note's words too"
    )
    return message, 1


def _fail(message: str, code: int, *, lines: bool = False) -> NoReturn:
    kept = message.splitlines() if lines else [message]
    sys.stderr.write("sympress: " + "\n".join(" ".join(one.split()) for one in kept) + "\n")
    sys.exit(code)
