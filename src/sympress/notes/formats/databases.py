"""Notes that a database selects: DuckDB by its own driver, everything else by SQLAlchemy."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sympress.errors import InputError, MissingExtraError
from sympress.files import refuse_pipe
from sympress.notes.intake import Intake, Note
from sympress.notes.layout import Rows, TableOptions
from sympress.notes.streams import text_or_bytes

_ROWS = 500
_DUCKDB = "duckdb://"
#: The environment variable that may hold the URL.
URL_VARIABLE = "SYMPRESS_URL"


def query_notes(sql: str, url: str, table: TableOptions, intake: Intake) -> Iterator[Note | None]:
    """Yield the note of each row that `sql` selects, in the order of the database, a few hundred at a time.

    Columns are known by the names that tables use (`note_id`, `text`, ...), or as `table` says. For a job
    that can be resumed the query needs an ORDER BY.

    Raises:
        InputError: the database or the query is refused, or no column holds the text. What a database
            says may quote a note, a password or the query, so only the kind of its error is told.
        MissingExtraError: the driver is not installed.
    """
    place = Path("query")
    with ExitStack() as stack:
        names, batches = stack.enter_context((_duckdb if url.startswith(_DUCKDB) else _sqlalchemy)(sql, url))
        first: list[Sequence[object]] = []
        named = dataclasses.replace(table, header=True)
        rows = Rows(named, intake, place, lambda name: [row[names.index(name)] for row in first])
        rows.columns(names)
        for batch in batches:
            first = first or list(batch)
            for values in batch:
                intake.row()
                yield rows.note(list(values))


Result = tuple[list[str], Iterator[Sequence[Sequence[object]]]]


@contextmanager
def _duckdb(sql: str, url: str) -> Iterator[Result]:
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError("sql", "duckdb") from error
    path = url.removeprefix(_DUCKDB).removeprefix("/")
    if not Path(path).is_file():
        raise InputError("--url: no such DuckDB file; write duckdb:///FILE")
    with ExitStack() as stack:
        with _kind_only():
            connection = stack.enter_context(duckdb.connect(path, read_only=True))
            cursor = connection.execute(sql)
            names = [column[0] for column in cursor.description or ()]
        yield names, _batches(cursor.fetchmany)


@contextmanager
def _sqlalchemy(sql: str, url: str) -> Iterator[Result]:
    try:
        import sqlalchemy
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SAWarning
    except ImportError as error:
        raise MissingExtraError("sql", "sqlalchemy") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SAWarning)
            engine = sqlalchemy.create_engine(url)
    except SAWarning:
        raise InputError("--url: its driver does not know an argument behind the '?'; leave it out") from None
    except (ArgumentError, NoSuchModuleError, ValueError, TypeError):  # also a port that is no number
        raise InputError("--url: no SQLAlchemy URL; write for example sqlite:///FILE") from None
    except ImportError as error:
        raise InputError(f"--url: its driver is not installed: pip install {error.name}") from None
    if engine.dialect.name == "sqlite":
        if engine.url.database is None or not Path(engine.url.database).is_file():
            raise InputError("--url: no such SQLite file; write sqlite:///FILE")
        sqlalchemy.event.listen(engine, "connect", _take_any_text)
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        with _kind_only():
            connection = stack.enter_context(engine.connect())
            streaming = connection.execution_options(stream_results=True, yield_per=_ROWS)
            result = streaming.execute(sqlalchemy.text(sql))
            names = list(result.keys())
        yield names, _batches(result.fetchmany)


def _take_any_text(connection: Any, _: object) -> None:
    """Have SQLite's driver give text that is not UTF-8 as bytes: it refuses the whole query for one."""
    connection.text_factory = text_or_bytes


def _batches(fetch: Any) -> Iterator[Sequence[Sequence[object]]]:
    while True:
        with _kind_only():
            batch = fetch(_ROWS)
        if not batch:
            return
        yield batch


@contextmanager
def _kind_only() -> Iterator[None]:
    """Tell no more of an error than its kind.

    What drivers say may quote the URL with its password, the query, or a note, and each has its own errors.
    Their warnings may too: they are not shown.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        kind = type(getattr(error, "orig", None) or error).__name__
    else:
        return
    # Outside the handler: what the driver said must not be the context of our error.
    raise InputError(
        f"--sql: the database refused the URL or the query, or broke off ({kind}); "
        "try both in the database's own shell"
    )


def read_url(given: str | None, file: Path | None, *, wanted: bool) -> str | None:
    """The URL of a database: as given, from the first line of `file`, or from the environment.

    A URL with a password is best given by file or environment: every user of a machine can read the
    arguments of its processes.

    Args:
        given: by option.
        file: with the URL.
        wanted: whether a query asks for one; only then the environment counts.

    Raises:
        InputError: both are given, or the file cannot be read or is empty.
    """
    if file is None:
        return given or ((os.environ.get(URL_VARIABLE) or None) if wanted else None)
    if given is not None:
        raise InputError("--url and --url-file: give one of them")
    refuse_pipe(file)
    try:
        url = file.read_text(encoding="utf-8").strip().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"{file}: cannot be read ({reason})") from None
    if not url:
        raise InputError(f"{file}: empty; write the URL of a database into it, for example sqlite:///FILE")
    return url
