"""Notes that a database selects: DuckDB by its own driver, everything else by SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sympress.deploy.extract.items import EveryNote, Item
from sympress.errors import InputError, MissingExtraError
from sympress.notes.layout import Rows
from sympress.notes.tables.options import TableOptions

_ROWS = 500
_DUCKDB = "duckdb://"


def query_items(sql: str, url: str, table: TableOptions, intake: EveryNote) -> Iterator[Item]:
    """Yield one item a row that `sql` selects, in the order of the database, a few hundred at a time.

    Columns are known by the names that tables use (`note_id`, `text`, ...), or as `table` says. For a job
    that can be resumed the query needs an ORDER BY.

    Raises:
        InputError: the database or the query is refused, or no column holds the text. What a database
            says while it reads may quote a note, so only the kind of that error is told.
        MissingExtraError: the driver is not installed.
    """
    place = Path("query")
    with ExitStack() as stack:
        names, batches = stack.enter_context((_duckdb if url.startswith(_DUCKDB) else _sqlalchemy)(sql, url))
        first: list[Sequence[object]] = []
        rows = Rows(table, intake, place, lambda name: [row[names.index(name)] for row in first])
        rows.columns(names)
        for batch in batches:
            first = first or list(batch)
            for values in batch:
                intake.row()
                note = rows.note(list(values))
                yield from intake.counts.drain()
                if note is not None:
                    yield note


Result = tuple[list[str], Iterator[Sequence[Sequence[object]]]]


@contextmanager
def _duckdb(sql: str, url: str) -> Iterator[Result]:
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError("sql", "duckdb") from error
    path = url.removeprefix(_DUCKDB).removeprefix("/")
    if not Path(path).is_file():
        raise InputError(f"{url}: no such DuckDB file; write duckdb:///FILE")
    try:
        with duckdb.connect(path, read_only=True) as connection:
            cursor = connection.execute(sql)
            yield [column[0] for column in cursor.description or ()], _batches(cursor.fetchmany)
    except (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException) as error:
        # Raised before a row is read, so it cannot quote a note.
        raise InputError(f"--sql: {str(error).splitlines()[0]}") from None
    except duckdb.Error as error:
        raise InputError(_refused(type(error).__name__)) from None


@contextmanager
def _sqlalchemy(sql: str, url: str) -> Iterator[Result]:
    try:
        import sqlalchemy
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
    except ImportError as error:
        raise MissingExtraError("sql", "sqlalchemy") from error
    try:
        engine = sqlalchemy.create_engine(url)
    except (ArgumentError, NoSuchModuleError):
        raise InputError("--url: no SQLAlchemy URL; write for example sqlite:///FILE") from None
    except ImportError as error:
        raise InputError(f"--url: its driver is not installed: pip install {error.name}") from None
    if engine.dialect.name == "sqlite" and not _sqlite_exists(engine.url.database):
        raise InputError("--url: no such SQLite file; write sqlite:///FILE")
    try:
        with engine.connect() as connection:
            streaming = connection.execution_options(stream_results=True, yield_per=_ROWS)
            result = streaming.execute(sqlalchemy.text(sql))
            yield list(result.keys()), (list(part) for part in result.partitions(_ROWS))
    except SQLAlchemyError as error:
        kind = type(getattr(error, "orig", None) or error).__name__
        raise InputError(_refused(kind)) from None
    finally:
        engine.dispose()


def _sqlite_exists(database: str | None) -> bool:
    return database is not None and Path(database).is_file()


def _batches(fetch: Any) -> Iterator[Sequence[Sequence[object]]]:
    while batch := fetch(_ROWS):
        yield batch


def _refused(kind: str) -> str:
    return f"--sql: the database refused the query or broke off ({kind}); try it in the database's own shell"
