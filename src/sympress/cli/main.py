"""The `sympress` command: one thin file a command, one place for errors and exit codes."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from typing import Annotated

import typer
from typer.exceptions import TyperException

from sympress.cli.adapt import adapt
from sympress.cli.compress import compress
from sympress.cli.demo import demo
from sympress.cli.label import label
from sympress.cli.report import report
from sympress.cli.study import study
from sympress.cli.synth import synth
from sympress.cli.tune import tune
from sympress.errors import SympressError

app = typer.Typer(
    name="sympress",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train, compress and honestly measure symptom extractors for clinical notes.",
    epilog="New here? Run  sympress demo",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("sympress"))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command("demo")(demo)
app.command("study")(study)
app.command("synth")(synth)
app.command("label")(label)
app.command("adapt")(adapt)
app.command("tune")(tune)
app.command("report")(report)
app.command("compress")(compress)


def run(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a failure of ours, 2 a mistake in the call or the input."""
    try:
        app(args=arguments, standalone_mode=False)
        sys.exit(0)
    except SympressError as error:
        _fail(str(error), error.exit_code)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except TyperException as error:
        _fail(error.format_message(), 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted; run the same command again to go on", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or type(error).__name__}; nothing half-written is left", 1)


def _fail(message: str, code: int) -> None:
    line = " ".join(message.split())
    sys.stderr.write(f"sympress: {line}\n")
    sys.exit(code)
