"""Files that are never half written, folders that one process writes, and what they were made from."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sympress.errors import InputError, SympressError

# Writing files so that a final name never holds half a file, and saying so when a disk is full.


#: Most bytes of a file that is no table of notes and holds no weights; 250,000 word pieces take 17 MB.
SETTINGS_BYTES = 32_000_000

#: The file in a folder that `alone` holds.
LOCK = "lock"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` only if the block succeeds.

    The file has the mode that the user's umask gives to any new file, also where a library that writes it
    (safetensors, say) replaces it by one that only its owner may read.

    Raises:
        InputError: the file could not be written (for example a full disk). Nothing is left
            under the final name that was not there before.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
        descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        temporary, mode = draft, stat.S_IMODE(os.fstat(descriptor).st_mode)
        os.close(descriptor)
        yield temporary
        with temporary.open("r+b") as written:  # Windows flushes only what may be written
            os.fsync(written.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        raise InputError(_unwritable(path, _said_by_system(error))) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def refuse_to_overwrite(written: Iterable[Path], read: Iterable[os.stat_result]) -> None:
    """Refuse to write over what is read, by whatever name: it may be a link, or one of a folder's files.

    Raises:
        InputError: with the file.
    """
    taken = {(one.st_dev, one.st_ino) for one in read}
    for path in written:
        with suppress(FileNotFoundError, NotADirectoryError):
            found = path.stat()
            if (found.st_dev, found.st_ino) in taken:
                raise InputError(f"{path}: read by this very command; name another output")


def refuse_pipe(path: Path) -> None:
    """Refuse a pipe or a device, which may never end; a file that is missing is left to what reads it.

    So is a file of the kernel that says nothing of its size: `/proc/kmsg` waits for a word.

    Raises:
        InputError: with the path.
    """
    if not path.exists() or path.is_dir():
        return
    if not path.is_file() or (path.stat().st_size == 0 and path.resolve().is_relative_to("/proc")):
        raise InputError(f"{path}: no file but a pipe or a device; write it to a file first")


def read_settings(path: Path) -> str:
    """The UTF-8 text of a file beside a model's weights, all of which fits into memory many times over.

    Raises:
        InputError: a pipe or a device, or more than `SETTINGS_BYTES`.
        OSError: it is missing or cannot be read.
        UnicodeDecodeError: it is not UTF-8.
    """
    refuse_pipe(path)
    with path.open("rb") as file:
        raw = file.read(SETTINGS_BYTES + 1)
    if len(raw) > SETTINGS_BYTES:
        raise InputError(
            f"{path}: more than {SETTINGS_BYTES // 10**6} MB, which no such file has; copy it again"
        )
    return raw.decode("utf-8")


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, all of it or none."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`, or None if there is none: what was stored by a run may be half-written."""
    try:
        value = json.loads(read_settings(path))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, all of it or none; NaN is refused."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def alone(folder: Path, output: Path) -> Iterator[None]:
    """Hold the lock of `folder`; the system lets go of it when the process ends, however it does.

    A missing folder is made.

    Raises:
        InputError: another process holds it, and so is writing `output`; the folder cannot be written; or
            the lock is a link, which is not followed.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise InputError(f"{path}: a link, or no file, which is not followed; remove it")
        held = FileLock(path).acquire(blocking=False)
    except Timeout as error:
        raise InputError(f"{output}: another process is writing it; wait for it to end") from error
    except OSError as error:
        raise InputError(_unwritable(folder, _said_by_system(error))) from error
    with held:
        yield


def is_bare(folder: Path) -> bool:
    """True if `folder` is missing, or holds only the lock of `alone`; False for a file or a dead link."""
    if not folder.is_dir():
        return not os.path.lexists(folder)
    return all(found.name == LOCK for found in folder.iterdir())


def folder_to_write(asked: str | Path, *, advice: str | None = None) -> Path:
    """The folder that a user asked for, where a new one can take its place; nothing is made yet.

    `~` is the user's home, and a link to a folder is that folder.

    Args:
        asked: as it was given.
        advice: what to do; `ADVICE` if None.

    Raises:
        InputError: there is no such user, a file is in the way, or the program is in the folder.
    """
    advice = advice or ADVICE
    try:
        folder = Path(asked).expanduser()
        whole = folder.resolve()
    except (RuntimeError, OSError) as error:  # no such user; links in a circle
        raise InputError(f"{asked}: no folder can be there; {advice}") from error
    with suppress(FileNotFoundError):  # the current folder may be gone
        if Path.cwd().is_relative_to(whole):
            raise InputError(f"{asked}: the current folder, which cannot be replaced; {advice}")
    above = next(parent for parent in whole.parents if os.path.lexists(parent))
    if not above.is_dir():
        raise InputError(f"{above}: a file, not a folder; {advice}")
    return whole if folder.is_symlink() and folder.is_dir() else folder


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield the name of a folder beside `folder`, which takes its place only if the block succeeds.

    Raises:
        InputError: it could not be written. What was in `folder` is there yet, and nothing else is.
    """
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with full_disk_explained(folder):
            yield draft
            shutil.rmtree(folder, ignore_errors=True)
            draft.replace(folder)
    except OSError as error:
        raise InputError(_unwritable(folder, _said_by_system(error))) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def full_disk_explained(folder: Path) -> Iterator[None]:
    """Turn whatever a library raises when the disk under `folder` is full into one clear line.

    safetensors and PyTorch raise errors of their own, which say nothing a user can act on.

    Raises:
        InputError: the block failed because the disk is full.
    """
    try:
        yield
    except SympressError:
        raise
    except Exception as error:
        reason = _why_full(folder, error)
        if reason is None:
            raise
        raise InputError(_unwritable(folder, reason)) from error


def _why_full(folder: Path, error: BaseException) -> str | None:
    """What the system says of the disk where `error` comes of a full one, else None."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return cause.strerror or os.strerror(cause.errno)
        for one in _FULL:
            if os.strerror(one) in str(cause):
                return os.strerror(one)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, OSError) and error.errno is not None:
        return None  # the system says another reason
    if _holds_largest_file(folder):
        return os.strerror(errno.EFBIG)
    place = next((parent for parent in (folder, *folder.parents) if parent.is_dir()), Path())
    return os.strerror(errno.ENOSPC) if shutil.disk_usage(place).free < _NEARLY_FULL_BYTES else None


def _holds_largest_file(folder: Path) -> bool:
    """Whether a file in `folder` is as long as a limit of the system (`ulimit -f`) lets one become."""
    if sys.platform == "win32":
        return False
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return limit != resource.RLIM_INFINITY and any(
        file.stat().st_size >= limit for file in folder.rglob("*") if file.is_file()
    )


#: A full disk, a full quota, a limit of the size of a file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: PyTorch's writer does not say why it failed; with less than this left, the disk is why, or else a file that
#: the limit cut off.
_NEARLY_FULL_BYTES = 1_000_000


def _said_by_system(error: OSError) -> str:
    """What the system said, also through a library in Rust, whose errors have it in their text only."""
    in_rust = re.search(r"\(os error (\d+)\)", str(error))
    return error.strerror or (os.strerror(int(in_rust[1])) if in_rust else type(error).__name__)


def _unwritable(path: Path, reason: str) -> str:
    return (
        f"{path}: cannot be written ({reason}); free space or choose another folder, "
        "then run the same command again"
    )


# What the stored results of a folder were made from: settings, and inputs by their content.
#
# Whoever keeps results writes such a claim beside them, and compares it before anything stored is used. A
# path is not in it: files that moved are the same files, and a file that was edited is another.


#: What each input is called when it has changed, in the order in which they are compared: whoever edits the
#: lexicon changes labels and split too.
INPUTS = {
    "model": "the model",
    "teachers": "a further teacher",
    "notes": "the notes, or their order,",
    "lexicon": "the lexicon",
    "labels": "the labels",
    "split": "the split",
    "transfer": "the transfer notes",
    "silver": "the unlabelled reports",
    "encoder": "the encoder",
}


ADVICE = "choose another -o"


def check_claim(
    where: object,
    found: Mapping[str, Any],
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    *,
    advice: str = ADVICE,
) -> None:
    """Compare what a folder was begun with to what this call has; of `inputs`, as many as are known yet.

    Args:
        where: the folder, for the message.
        found: what is stored, with `settings` and `inputs`.
        settings: plain JSON values; what else is stored is not compared.
        inputs: SHA-256 of each input, by the names of `INPUTS`.
        advice: what to do.

    Raises:
        InputError: one differs (the message has the first), or nothing tells what the folder was made from.
    """
    check_inputs(where, found.get("inputs"), {}, advice=advice)
    check_settings(where, found.get("settings", {}), settings, advice=advice)
    check_inputs(where, found["inputs"], inputs, advice=advice)


def check_settings(
    where: object, found: Mapping[str, Any], wanted: Mapping[str, Any], *, advice: str = ADVICE
) -> None:
    """The part of `check_claim` for settings."""
    for key, value in wanted.items():
        if found.get(key) != value:
            raise InputError(f"{where}: its {key} is {found.get(key)!r}, not {value!r}; {advice}")


def check_inputs(where: object, found: object, wanted: Mapping[str, str], *, advice: str = ADVICE) -> None:
    """The part of `check_claim` for inputs; anything stored but a mapping is of an older version."""
    if not isinstance(found, Mapping) or not wanted.keys() <= found.keys():
        raise InputError(
            f"{where}: an older sympress began it and did not note what its inputs held; {advice}"
        )
    for name, called in INPUTS.items():
        if name in wanted and found[name] != wanted[name]:
            raise InputError(f"{where}: {called} changed since it was begun; undo that, or {advice}")
