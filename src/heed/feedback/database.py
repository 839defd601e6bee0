"""Opening a database: connections that keep what they acknowledge, migrations, and errors that a person can act on."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    Select,
    create_engine,
    event,
    inspect,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import DataError as StatementDataError

from heed.errors import DataError, ProjectError, UnreachableError
from heed.feedback.schema import HEAD

T = TypeVar("T")

MIGRATIONS = Path(__file__).parent / "migrations"
_VALUES_PER_QUERY = 500  # SQLite takes 999 in its older versions

_FEW = 20

_CACHE_KILOBYTES = 16_384
_KILOBYTES_IN_PASSING = 2_048
_PAGES_BETWEEN_CHECKPOINTS = 8_000

_CONNECTIONS = 12
_MORE_CONNECTIONS = 4

BUSY_SECONDS = 30.0
"""How long a statement waits for another process's short transaction before it gives up."""

_FULL = ("too many clients", "remaining connection slots", "too many connections")
_AWAY = (
    *("connection failed", "could not connect", "connection refused", "server closed the connection"),
    *("terminating connection", "connection is closed", "connection is lost", "consuming input failed"),
    *("the database system is", "connection timeout", "connection is bad", "failed to resolve host"),
    *("could not translate host", "invalid port", "invalid connection option", "invalid uri"),
    *("could not receive data", "could not send data", "connection not open", "ssl syscall"),
)
"""What PostgreSQL's driver says while its server takes nobody in, and while there is no way to it."""

_OPENED: WeakKeyDictionary[Engine, tuple[int, int]] = WeakKeyDictionary()
"""Device and number of the file that each engine was opened for."""

_MIGRATION_LOCK = 0x68656564  # "heed": one process at a time migrates a PostgreSQL database


def open_database(url: str | URL) -> Engine:
    """Connect to ``url`` and bring its schema to ``HEAD``; a new database is made.

    Before an older SQLite database is migrated, a copy is kept beside it as ``NAME.REVISION.backup``.

    Raises:
        ProjectError: no driver, no database, not heed's, damaged, read-only, or of a newer schema than this heed knows.
    """
    address = _parse_url(url)
    place = _place(address)
    try:
        engine = create_engine(address, **_options(address))
    except ModuleNotFoundError as error:
        raise ProjectError(
            place,
            f"the driver {error.name} is not installed.",
            "Run: pip install 'psycopg[binary]'" if "psycopg" in str(error.name) else "Install it.",
        ) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    try:
        with database_errors(engine), engine.connect() as connection:
            current = _revision(connection)
        if current != HEAD:
            _migrate(engine)
        file = engine.url.database
        if engine.dialect.name == "sqlite" and file not in (None, "", ":memory:") and not str(file).startswith("file:"):
            _OPENED[engine] = _file_of(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _options(address: URL) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if address.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": BUSY_SECONDS}
        if address.database in (None, "", ":memory:"):
            return options  # of which there is one connection
    # As many as the threads of a server use at a time: a connection beyond these would be made and closed each time. Those
    # used last are used first, so that a server with little to do holds few.
    return options | {"pool_size": _CONNECTIONS, "max_overflow": _MORE_CONNECTIONS, "pool_use_lifo": True}


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that may write: all of it is stored and survives a crash when the block ends, or none of it."""
    with _transaction(engine, {"heed_writes": True}) as connection:
        yield connection
        if not is_open(connection):
            raise ProjectError(
                _place(engine.url),
                "it took back what was being written.",
                "Look for a full or failing disk, and try again.",
            )


@contextmanager
def sent_together(connection: Connection) -> Iterator[None]:
    """Statements inside go to PostgreSQL without waiting for each other's end, which for small ones is most of their time.

    Nobody may read their results, and an error of one of them is raised at the end.
    """
    if connection.dialect.name != "postgresql":
        yield
        return
    driver: Any = connection.connection.driver_connection
    dbapi: Any = connection.dialect.loaded_dbapi
    try:
        with driver.pipeline():
            yield
    except dbapi.Error as error:  # SQLAlchemy has not seen it, so it has not the type that everybody expects
        raise DBAPIError.instance(None, None, error, dbapi.Error, dialect=connection.dialect) from error


def execute_plain(connection: Connection, statement: str) -> None:
    """A statement without values or results, past SQLAlchemy, which takes many times as long over one as SQLite does."""
    driver: Any = connection.connection.driver_connection
    dbapi: Any = connection.dialect.loaded_dbapi
    try:
        driver.execute(statement)
    except dbapi.Error as error:
        raise DBAPIError.instance(statement, None, error, dbapi.Error, dialect=connection.dialect) from error


def is_open(connection: Connection) -> bool:
    """Whether the transaction still stands: SQLite ends it inside a statement where the disk is full or failing."""
    driver: Any = connection.connection.driver_connection
    return connection.dialect.name != "sqlite" or bool(driver.in_transaction)


@contextmanager
def reading(engine: Engine, *, in_passing: bool = False) -> Iterator[Connection]:
    """One transaction that only reads: it sees one state of the database, whatever others write meanwhile.

    Args:
        engine: from :func:`open_database`.
        in_passing: whether it is part of a pass over a whole table, whose pages nobody needs again: they are not kept.
    """
    # SQLite's transactions see one state always; PostgreSQL's only when told.
    options = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
    with _transaction(engine, options) as connection:
        lean = in_passing and engine.dialect.name == "sqlite"
        if lean:
            connection.exec_driver_sql(f"PRAGMA cache_size=-{_KILOBYTES_IN_PASSING}")
        try:
            yield connection
        finally:
            if lean:
                connection.exec_driver_sql(f"PRAGMA cache_size=-{_CACHE_KILOBYTES}")


@contextmanager
def _transaction(engine: Engine, options: dict[str, Any]) -> Iterator[Connection]:
    # Options of the connection: an engine with options of its own would be made anew each time, which costs more than it does.
    with database_errors(engine), engine.connect() as connection:
        connection.execution_options(**options)
        with connection.begin():
            yield connection


@contextmanager
def database_errors(engine: Engine) -> Iterator[None]:
    """Turn what a user can mend into a :class:`~heed.errors.ProjectError`; broken constraints pass through."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        mended = _explain(_place(engine.url), str(error.orig))
        if mended is None:
            raise
        raise mended from error


def unkeepable(error: Exception) -> DataError | None:
    """What is to be said of an error that comes of a value which the database cannot hold, or None for another error:
    a NUL character, a lone surrogate or a number too large, which the kinds of values here let through nowhere else."""
    if isinstance(error, UnicodeEncodeError | OverflowError | StatementDataError) or (
        isinstance(error, DBAPIError) and "cannot contain nul" in str(error.orig).lower()
    ):
        return DataError(
            "a value",
            "it holds a character or a number that the database cannot keep.",
            "Leave out NUL characters and lone surrogates, and numbers beyond 2^31.",
        )
    return None


def database_is_there(engine: Engine) -> bool:
    """Whether the file of an SQLite database is still the one that was opened; True for every other database.

    Where it was renamed or deleted, SQLite goes on writing to what nobody will open again.
    """
    opened = _OPENED.get(engine)
    try:
        return opened is None or opened == _file_of(engine)
    except OSError:
        return False


def worth_another_try(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed the next time: another process added the same row since it looked, or the
    two waited for each other and PostgreSQL stopped this one."""
    return isinstance(error, IntegrityError) or getattr(error.orig, "sqlstate", None) in ("40P01", "40001")


def batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """``rows`` in lists of ``size``, the last one shorter."""
    left = iter(rows)
    while batch := list(islice(left, size)):
        yield batch


def rows_among(
    connection: Connection, query: Select[Any], key: ColumnElement[Any], values: Iterable[str]
) -> Iterator[Any]:
    """Rows of ``query`` whose ``key`` is among ``values``, however many those are."""
    distinct = dict.fromkeys(values)
    if len(distinct) > _FEW and connection.dialect.name == "postgresql":
        # For this transaction: a plan that was made and kept when a table was small reads all of it when it is large.
        connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_custom_plan")
    for batch in batches(distinct, _VALUES_PER_QUERY):
        yield from connection.execute(query.where(key.in_(batch)))


def existing(connection: Connection, key: ColumnElement[Any], values: Iterable[str]) -> set[str]:
    """Those of ``values`` that stand in the column ``key``."""
    return {row[0] for row in rows_among(connection, select(key), key, values)}


def _file_of(engine: Engine) -> tuple[int, int]:
    """Device and number of the file that stands at the database's path now."""
    status = os.stat(engine.url.database or "")
    return status.st_dev, status.st_ino


def _parse_url(url: str | URL) -> URL:
    try:
        address = make_url(url)
        if address.get_backend_name() not in ("sqlite", "postgresql"):
            raise ArgumentError("another kind of database")
        address.get_dialect()
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError):
        # The URL may hold a password: it is not repeated.
        raise ProjectError(
            "the database URL", "it is not one that heed understands.", "Write sqlite:///heed.db or postgresql://..."
        ) from None
    if address.drivername == "postgresql":
        return address.set(drivername="postgresql+psycopg")
    return address


def _place(address: URL) -> str:
    if address.get_backend_name() == "sqlite":
        return f"database {address.database or 'in memory'}"
    return f"database {address.render_as_string(hide_password=True)}"


def _explain(place: str, message: str) -> ProjectError | None:
    lowered = message.lower()
    for signs, why, fix in (
        (
            ("readonly database", "read-only"),
            "it is read-only for this user.",
            "Make the file and its folder writable (chmod u+w), or copy the project to where you may write.",
        ),
        (
            ("disk is full", "no space left"),
            "the disk is full; nothing acknowledged is lost.",
            "Free some space and repeat the command.",
        ),
        (
            ("unable to open database file",),
            "it cannot be opened: the folder is missing, read-only or closed to this user.",
            "Check the path and its permissions; SQLite writes beside the file even to read it.",
        ),
        (
            ("not a database",),
            "the file is not an SQLite database.",
            "Put the right file there, or move this one away to begin anew.",
        ),
        (
            ("malformed", "disk i/o error"),
            "the file is damaged or cut off.",
            "Restore a copy, or save what is left with: sqlite3 FILE .recover",
        ),
        (
            ("database is locked",),
            f"another process has been writing to it for over {BUSY_SECONDS:.0f} s.",
            "Wait for it to end, or stop it, and repeat the command.",
        ),
        (
            _FULL,
            "all the connections that its server allows are taken.",
            "Raise max_connections of PostgreSQL, or serve with fewer --workers; each holds up to "
            f"{_CONNECTIONS + _MORE_CONNECTIONS}.",
        ),
        (
            _AWAY,
            "the server cannot be reached: " + message.strip().splitlines()[0] + ".",
            "Check that it runs, its address, the user and the password.",
        ),
    ):
        if any(sign in lowered for sign in signs):
            return (UnreachableError if signs in (_FULL, _AWAY) else ProjectError)(place, why, fix)
    return None


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver would begin transactions late and end them early; they begin in _begin_sqlite instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
        cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: in WAL mode the default, NORMAL, may lose the last transactions when the power fails.
    cursor.execute("PRAGMA synchronous=FULL")
    # Ids are hashes, so that every row touches pages all over the indexes: with the defaults, 2 MB and 1,000 pages, most
    # are read again and again, and written back after every few transactions.
    cursor.execute(f"PRAGMA cache_size=-{_CACHE_KILOBYTES}")
    cursor.execute(f"PRAGMA wal_autocheckpoint={_PAGES_BETWEEN_CHECKPOINTS}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A reader that turns writer cannot wait for another writer, it can only fail: writers say so when they begin.
    writes = connection.get_execution_options().get("heed_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revision(connection: Connection) -> str | None:
    """The schema's revision; None for an empty database.

    Raises:
        ProjectError: there are tables, but none of heed's.
    """
    tables = inspect(connection).get_table_names()
    if "alembic_version" in tables and "feedback" in tables:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if set(tables) - {"alembic_version"}:
        raise ProjectError(
            _place(connection.engine.url),
            f"it belongs to another program (it has a table '{sorted(tables)[0]}').",
            "Name another database in heed.yaml.",
        )
    return None


def _migrate(engine: Engine) -> None:
    # Imported here: alembic takes longer to import than an up-to-date database to open.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        current = _revision(connection)  # once more, now that no other process can change it
        if current == HEAD:
            return
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if current is not None and current not in known:
            raise _newer(connection, current)
        if current is not None and connection.dialect.name == "sqlite":
            _back_up(engine, current)
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)
        connection.execute(text("DELETE FROM meta WHERE key = 'heed_version'"))
        connection.execute(
            text("INSERT INTO meta (key, value) VALUES ('heed_version', :version)"), {"version": version("heed")}
        )


def _newer(connection: Connection, current: str) -> ProjectError:
    writer = None
    if "meta" in inspect(connection).get_table_names():
        writer = connection.execute(text("SELECT value FROM meta WHERE key = 'heed_version'")).scalar()
    return ProjectError(
        _place(connection.engine.url),
        f"its schema is revision {current}, written by a newer heed; heed {version('heed')} knows revisions up to {HEAD}.",
        f"Run: pip install 'heed>={writer}'" if writer and writer != version("heed") else "Run: pip install -U heed",
    )


def _back_up(engine: Engine, revision: str) -> None:
    """Copy an SQLite file, with what its write-ahead log still holds, to ``NAME.REVISION.backup`` beside it."""
    database = engine.url.database
    if not database or database == ":memory:":
        return
    target = Path(f"{database}.{revision}.backup")
    partial = target.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(partial)) as copy:
        source.backup(copy)
    os.replace(partial, target)
