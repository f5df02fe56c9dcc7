"""The service's database: one engine, one session scope, migrations."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Connection,
    Engine,
    String,
    column,
    create_engine,
    event,
    inspect,
    select,
    table,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.orm import Session

from service.base.disk import check_room
from service.base.errors import (
    DatabaseSetupError,
    DatabaseUnavailableError,
    DiskFullError,
    InputError,
    ServerError,
)
from service.base.redaction import redact, redact_query
from service.server.store.tables import Base

_CONNECTIONS = 20
_PG_DISK_FULL = "53100"
_BEGIN = "gapsweep_begin"
_ROWS = 1000
_VERSION = table("alembic_version", column("version_num", String))
_joined: ContextVar[tuple[Database, Session] | None] = ContextVar("joined", default=None)
"""The transaction that this thread's reads and writes of a database are part of."""


class Database:
    """A SQLite or PostgreSQL database by its URL; connections are opened when they are needed.

    Raises:
        DatabaseSetupError: the URL is invalid.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._engine = _engine(url)
            self._reader = _reader(self._engine)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise DatabaseSetupError(
                f"invalid database URL {_without_password(url)} ({error}); write it as "
                "sqlite:///service.db or postgresql+psycopg://user:password@host/name"
            ) from None

    def reading(self) -> AbstractContextManager[Session]:
        """A session for reading only; each query sees the state at its own time.

        Raises:
            DatabaseUnavailableError: the database does not answer.
        """
        return self._session(self._reader)

    def writing(self) -> AbstractContextManager[Session]:
        """One transaction: committed when the block ends, rolled back when it raises.

        SQLite has one writer; the transaction takes the write lock at its beginning, because it
        could not continue after a read once another writer had committed.

        Raises:
            DatabaseUnavailableError: the database does not answer.
        """
        return self._session(self._engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"}))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make one transaction of what the block reads and writes, by whichever stores.

        Raises:
            DatabaseUnavailableError: the database does not answer; nothing was written.
        """
        with self.writing() as session:
            before = _joined.set((self, session))
            try:
                yield
            finally:
                _joined.reset(before)

    @contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        joined = _joined.get()
        try:
            if joined is not None and joined[0] is self:
                with joined[1].begin_nested():
                    yield joined[1]
                return
            with Session(engine, expire_on_commit=False) as session, session.begin():
                yield session
        except SQLAlchemyError as error:
            if isinstance(error, OperationalError | InterfaceError):
                raise self._unavailable(error) from error
            if isinstance(error, DataError):
                raise InputError("the database cannot store a value of the request") from error
            raise

    def upgrade(self) -> None:
        """Create the schema or migrate it to this version.

        Raises:
            DatabaseUnavailableError: the database does not answer.
            DatabaseSetupError: a newer version of gapsweep has migrated it.
        """
        try:
            with self.connecting() as connection:
                _check_known(MigrationContext.configure(connection).get_current_revision())
                command.upgrade(alembic_configuration(connection), "head")
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error

    def connecting(self) -> AbstractContextManager[Connection]:
        """One connection in a transaction, for migrations."""
        return self._engine.begin()

    def check(self) -> None:
        """Check that the schema is this version's.

        Raises:
            DatabaseUnavailableError: the database does not answer.
            DatabaseSetupError: the schema is another version's.
        """
        wanted = _get_migrations().get_current_head()
        try:
            with self._engine.connect() as connection:
                found = _read_revision(connection)
        except SQLAlchemyError as error:
            raise self._unavailable(error) from error
        _check_known(found)
        if found != wanted:
            raise DatabaseSetupError(
                f"the database is at migration {found or 'none'}, this version needs {wanted}; "
                f"run: gapsweep migrate --database-url {_without_password(self.url)}"
            )

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def checked_out(self) -> int:
        """The number of connections in use."""
        pool: Any = self._engine.pool
        return int(pool.checkedout()) if hasattr(pool, "checkedout") else 0

    def _unavailable(self, error: SQLAlchemyError) -> ServerError:
        first = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        where = _without_password(self.url)
        if self._is_disk_full(getattr(error, "orig", None)):
            return DiskFullError(f"the disk of the database {where} is full: {first}")
        return DatabaseUnavailableError(f"the database {where} does not answer: {first}")

    def _is_disk_full(self, error: BaseException | None) -> bool:
        """Whether a driver's error says that its disk is full: PostgreSQL's by its code.

        SQLite also says that it cannot open or write a file beside the database.
        """
        if getattr(error, "sqlstate", None) == _PG_DISK_FULL:
            return True
        code = getattr(error, "sqlite_errorcode", None)
        if code is None or code == sqlite3.SQLITE_FULL:
            return code is not None
        file = self._engine.url.database
        unwritable = code & 0xFF in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
        return unwritable and file is not None and _has_no_room(Path(file).parent)


def _has_no_room(folder: Path) -> bool:
    try:
        check_room(folder)
    except DiskFullError:
        return True
    except OSError:
        return False
    return False


def upsert(
    session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]], keys: Iterable[str]
) -> None:
    """Insert rows or replace those with the same ``keys``; of equal keys the last row counts."""
    index = list(keys)
    last = {tuple(row[k] for k in index): row for row in rows}
    for some in _parts(list(last.values())):
        statement = _insert(session, table, some)
        others = {n: statement.excluded[n] for n in some[0] if n not in index}
        session.execute(statement.on_conflict_do_update(index_elements=index, set_=others))


def insert_new(
    session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]], keys: Iterable[str]
) -> None:
    """Insert rows in order, except those whose ``keys`` exist already."""
    index = list(keys)
    for some in _parts(rows):
        statement = _insert(session, table, some)
        session.execute(statement.on_conflict_do_nothing(index_elements=index))


def in_parts(values: Collection[str]) -> Iterator[Sequence[str]]:
    """Values for ``IN``, sorted, some at a time: databases bound the values of a statement."""
    wanted = sorted(values)
    for start in range(0, len(wanted), _ROWS):
        yield wanted[start : start + _ROWS]


def _parts(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """SQLite bounds the values of a statement."""
    for start in range(0, len(rows), _ROWS):
        yield rows[start : start + _ROWS]


def _insert(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> Any:
    dialect = session.get_bind().dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(table).values([dict(row) for row in rows])


@functools.cache
def _get_migrations() -> ScriptDirectory:
    """This version's migrations, which are read from their files once."""
    return ScriptDirectory.from_config(alembic_configuration())


def _read_revision(connection: Connection) -> str | None:
    """The schema's revision, by a query that is compiled once.

    Alembic makes a new table for each of its own, and every query of a new table takes 20 KiB in
    the engine's cache of 500 to 750 queries, where it displaces those that are used again.
    """
    if not inspect(connection).has_table(_VERSION.name):
        return None
    return connection.scalar(select(_VERSION.c.version_num))


def _check_known(revision: str | None) -> None:
    """Check that this version of gapsweep knows the database's revision.

    Raises:
        DatabaseSetupError: it does not.
    """
    scripts = _get_migrations()
    known = {script.revision for script in scripts.walk_revisions()}
    if revision is not None and revision not in known:
        raise DatabaseSetupError(
            f"the database is at migration {revision}, which a newer version of gapsweep made; "
            f"this version knows migrations up to {max(known)}: use the newer version, or restore "
            "a backup from before the migration"
        )


def _reader(engine: Engine) -> Engine:
    """An engine for reading: on PostgreSQL without transactions, two round trips less."""
    if engine.dialect.name != "postgresql":
        return engine
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _engine(url: str) -> Engine:
    """Its errors, which are logged, do not show the values of a statement: some are secrets."""
    if not url.startswith("sqlite"):
        return create_engine(
            url,
            pool_size=_CONNECTIONS,
            max_overflow=_CONNECTIONS,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    engine = create_engine(url, connect_args={"timeout": 30}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, _record: object) -> None:
        """Let readers not wait for the writer; enforce foreign keys."""
        connection.isolation_level = None  # transactions begin below
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))

    return engine


def alembic_configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration; running migrations needs a ``connection``."""
    configuration = Config()
    configuration.attributes["connection"] = connection
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return configuration


def _without_password(url: str) -> str:
    """The URL without its password."""
    try:
        return redact_query(make_url(url).render_as_string(hide_password=True))
    except ArgumentError:
        return redact(repr(url))
