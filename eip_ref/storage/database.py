"""The database: an SQLite file in which queues, stores and logs live, its transactions, and its time.

A transaction is a few statements without an await between them, so whoever holds the file open in this
process never waits for another. Another process may hold the file for a moment: `run` waits for it
without stopping the event loop, a plain `transaction()` by stopping it, both at most `busy_timeout`
seconds.

Times in the file are whole microseconds on the *file's clock*, which goes on over restarts: anyio's
clock plus a shift. That is chosen when the file is opened, and in another event loop, whose clock may
start anywhere, it is another. Without a `clock` the file's is the machine's,
which counts from its start, and the shift is the one kept in the file. It grows when that clock is behind
the last time that was written, as after a restart of the machine: then the file's clock goes on where it
stopped. So a lease may last longer over a restart, by the time for which nobody had the file open (and by
a second after a crash, since the time is written once a second), and never shorter. With
`clock=time.time` that time counts too; the clock is asked once, at the opening, so setting the clock of
the machine later disturbs nothing. Everybody who opens a file must use the same kind of clock.
"""

from __future__ import annotations

import math
import sqlite3
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self, TypeVar, TypeVarTuple

import anyio
import anyio.lowlevel

from .. import values
from ..signal import Signal, alone
from ..trace import Kind, record
from .transactions import ForeignTransaction, Transactional

T = TypeVar("T")
Given = TypeVarTuple("Given")

APPLICATION = 0x45495052  #: in the header of each file that was made here
VERSION = 3  #: of the format
FOREVER = 10**18  #: microseconds; what is due then is never due
PAUSE = 0.005  #: seconds between two tries to get hold of a file that another process has locked
RETRY = 0.1  #: seconds until a task in the background tries again what a fault of the disk has stopped
TICK = 1_000_000  #: microseconds; the time is written down this often
LATEST = 1e11  #: seconds; a clock that is beyond the year 5138 counts something else

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS time (offset REAL NOT NULL, at INTEGER NOT NULL)",
    "INSERT INTO time SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM time)",
)

_signals: weakref.WeakValueDictionary[tuple[object, Path, str], Signal] = weakref.WeakValueDictionary()


def microseconds(seconds: float) -> int:
    """A time or a duration as the file keeps it; at most `FOREVER`."""
    return round(min(seconds, FOREVER / 1e6) * 1e6)


async def despite_faults(work: Callable[[], Awaitable[T]], who: str) -> T:
    """Return what `work()` returns, for a task in the background, which must not end because of a disk.

    A fault of SQLite, such as a lock that lasts longer than `busy_timeout`, is recorded as a note, and
    the work is tried again `RETRY` seconds later.
    """
    while True:
        try:
            return await work()
        except (sqlite3.Error, ForeignTransaction) as error:
            record(Kind.NOTE, who, who="", text=f"tried again later: {error!r}")
        await anyio.sleep(RETRY)


class Database(Transactional):
    """One database file and one connection to it. Whatever is given it shares both, and its transactions.

    `synchronous` is SQLite's: "FULL" writes each commit through to the disk before it returns,
    "NORMAL" may lose the last commits when the power fails, "OFF" may lose the file. `busy_timeout` is
    how many seconds another process may keep the file locked; `poll` how many seconds pass between two
    looks for what another process has written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: str = "FULL",
        clock: Callable[[], float] | None = None,
        busy_timeout: float = 5.0,
        poll: float = 0.1,
    ) -> None:
        self._connection: sqlite3.Connection | None = None
        super().__init__()
        if synchronous not in ("FULL", "NORMAL", "OFF"):
            raise ValueError(f"synchronous must be 'FULL', 'NORMAL' or 'OFF', not {synchronous!r}")
        self.path = Path(path).resolve()
        self.synchronous = synchronous
        self.busy_timeout = values.duration("busy_timeout", busy_timeout, infinite=True)
        self.poll = values.duration("poll", poll, zero=False)
        values.must_not_be_async("clock", clock)
        self._clock = clock
        self._shift = 0.0
        self._beyond = 0.0  # the machine's clock, in seconds that do not change while it is open
        self._loop: object = None  # whose clock the shift is for
        self._users = 0
        self._begun = False  # a transaction, which has not ended yet
        self._stops_the_loop = True  # who waits for another process
        self._written = 0  # the time that was written down last, or later
        self._look_again = 0.0  # on the machine's clock: not before then a tick has passed

    @classmethod
    def at(cls, path: str | Path | Database, **settings: Any) -> Database:
        """The database at a path, made with those settings that are not None, or the one that is given.

        Raises ValueError for settings beside a database: it has its own.
        """
        settings = {name: setting for name, setting in settings.items() if setting is not None}
        if not isinstance(path, Database):
            return cls(path, **settings)
        if settings:
            raise ValueError(f"the Database that is given has its own {' and '.join(settings)}: say it there")
        return path

    def __str__(self) -> str:
        return str(self.path)

    # Opening

    def __enter__(self) -> Self:
        if self._users == 0:
            try:
                self._connection = sqlite3.connect(
                    self.path, isolation_level=None, check_same_thread=False, timeout=PAUSE
                )
                self._patiently(self._prepare)
            except sqlite3.Error as error:
                self._close()
                raise self._named(error) from error
            except BaseException:
                self._close()
                raise
        self._users += 1
        return self

    def __exit__(self, *_: object) -> None:
        if self._users == 1:
            self._write_time()
        self._users -= 1
        if self._users == 0:
            self._close()

    def __del__(self) -> None:
        self._close()  # a process that crashed in virtual time leaves the file open

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        self._begun = False
        if connection is not None:
            connection.close()

    def _prepare(self) -> None:
        new = self._must_be_ours()
        if self.one("PRAGMA journal_mode = WAL") != ("wal",):
            raise ValueError(f"SQLite cannot keep a write-ahead log beside {self.path}; use a local disk")
        self.execute(f"PRAGMA synchronous = {self.synchronous}")
        with self.transaction():
            if new:
                self.execute(f"PRAGMA application_id = {APPLICATION}")
                self.execute(f"PRAGMA user_version = {VERSION}")
            self.create(SCHEMA)
            self._set_clock()

    def _must_be_ours(self) -> bool:
        """True for a file that holds nothing yet. Raises ValueError for a file of another program."""
        (application,), (version,) = self.one("PRAGMA application_id"), self.one("PRAGMA user_version")
        if application == APPLICATION and version == VERSION:
            return False
        if application == APPLICATION:
            raise ValueError(f"{self.path} has format {version}; this program reads format {VERSION}")
        if application or version or self.one("SELECT count(*) FROM sqlite_master") != (0,):
            raise ValueError(f"{self.path} is the file of another program, and stays as it is; name another")
        return True

    def open(self, schema: tuple[str, ...], *statement: str) -> None:
        """Enter it for a queue, a store or a log: make its tables, and execute one statement with its values.

        When that fails it is left again.
        """
        self.__enter__()
        try:
            with self.transaction():
                self.create(schema)
                if statement:
                    self.execute(*statement)
        except BaseException:
            self.__exit__()
            raise

    def create(self, schema: tuple[str, ...]) -> None:
        """Make tables, where they are missing."""
        with self.transaction():
            for statement in schema:
                self.execute(statement)

    # Statements

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection. Raises RuntimeError while the file is not open.

        Raises sqlite3.OperationalError inside a transaction that SQLite has rolled back itself, as it
        does when the disk is full: what came after it would be written without what came before.
        """
        if self._connection is None:
            raise RuntimeError(f"{self.path} is not open; use what lives in it inside its `with` block")
        if self._begun and not self._connection.in_transaction:
            raise sqlite3.OperationalError(f"{self.path}: an error has rolled back all of this transaction")
        return self._connection

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Execute one statement. Raises what sqlite3 raises, with the name of the file."""
        try:
            return self.connection.execute(statement, values)
        except sqlite3.Error as error:
            raise self._named(error) from error

    def execute_many(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """Execute the statement with each of the rows. Raises as `execute` does."""
        try:
            self.connection.executemany(statement, rows)
        except sqlite3.Error as error:
            raise self._named(error) from error

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows. Raises as `execute` does, also where only a later row cannot be read."""
        try:
            return self.connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._named(error) from error

    def one(self, statement: str, *values: Any) -> tuple[Any, ...]:
        """The first row of those that there must be."""
        return self.rows(statement, *values)[0]

    def _named(self, error: sqlite3.Error) -> sqlite3.Error:
        """The same error, in words that name the file."""
        words = str(error)
        named = type(error)(words if str(self.path) in words else f"{self.path}: {words}")
        named.__dict__.update(error.__dict__)
        return named

    # Transactions

    def transaction(self) -> AbstractContextManager[None]:
        """All statements inside are committed together, or none. Inside another one it is a savepoint.

        Raises what sqlite3 raises, and `ForeignTransaction`. After an error of the commit itself, such
        as a full disk, the file is as it was before, as far as this process can tell.
        """
        return self._changing()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All statements inside see the file as it is at one moment. They wait for nobody, and write nothing.

        Inside a transaction of the same task they see what that has written. Raises
        `ForeignTransaction`, and RuntimeError for a transaction inside.
        """
        with self._looking() as outermost:
            if outermost:
                self.execute("BEGIN")
            try:
                yield
            finally:
                if outermost:
                    self._roll_back(nested=False, mark=0)

    async def empty_log(self) -> None:
        """Bring all that was committed into the file itself: the write-ahead log beside it is then empty.

        Raises sqlite3.OperationalError when another process still reads an older state of the file
        after `busy_timeout` seconds; meanwhile the event loop goes on.
        """
        await self._waiting(self._try_to_empty_log)

    def _try_to_empty_log(self) -> None:
        (busy, *_) = self.one("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            error = sqlite3.OperationalError(f"{self.path}: another process reads an older state of it")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error

    async def run(self, step: Callable[[*Given], T], *given: *Given) -> T:
        """Return what `step(*given)` returns, after the commit of the transaction in which it ran.

        While another process has the file locked this waits, `busy_timeout` seconds at most, and the
        event loop goes on. Raises what `transaction` raises, and TypeError for an `async def`.
        """
        values.must_not_be_async("a step of a transaction", step)
        return await self._waiting(self._in_transaction, step, *given)

    def _in_transaction(self, step: Callable[[*Given], T], *given: *Given) -> T:
        with self.transaction():
            self._stops_the_loop = True
            return step(*given)

    async def _waiting(self, work: Callable[[*Given], T], *given: *Given) -> T:
        """Try again while another process has the file locked; the event loop goes on."""
        until = None
        while True:
            self._stops_the_loop = False
            try:
                return work(*given)
            except sqlite3.OperationalError as error:
                until = until or anyio.current_time() + self.busy_timeout
                if not _is_locked(error) or anyio.current_time() >= until:
                    raise
            finally:
                self._stops_the_loop = True
            await anyio.sleep(PAUSE)

    def _begin(self, nested: bool) -> int:
        if nested:
            self.execute("SAVEPOINT nested")
            return 0
        self._patiently(self.execute, "BEGIN IMMEDIATE")
        self._follow_loop()
        self._begun = True
        return self.connection.total_changes

    def _commit(self, nested: bool, mark: int) -> None:
        if nested:
            self.execute("RELEASE nested")
            return
        if self.connection.total_changes > mark:
            self._note_time()
        self.execute("COMMIT")
        self._begun = False

    def _roll_back(self, nested: bool, mark: int) -> None:
        self._begun = self._begun and nested
        if self._connection is None or not self._connection.in_transaction:
            return  # SQLite has rolled all of it back itself, as it does when the disk is full
        if nested:
            self.execute("ROLLBACK TO nested")
            self.execute("RELEASE nested")
        else:
            self.execute("ROLLBACK")

    def _patiently(self, step: Callable[[*Given], object], *given: *Given) -> None:
        """Try again while another process has the file locked, unless the loop must not be stopped."""
        until = None
        while True:
            try:
                step(*given)
                return
            except sqlite3.OperationalError as error:
                until = until or time.monotonic() + (self.busy_timeout if self._stops_the_loop else 0)
                if not _is_locked(error) or time.monotonic() >= until:
                    raise
            time.sleep(PAUSE)

    # News

    def signal(self, channel: str) -> Signal:
        """The signal of a channel in this file, one for all in this event loop who have the file open."""
        return _signals.setdefault((_loop(), self.path, channel), Signal())

    async def news(self, signal: Signal) -> None:
        """Wait for the `notify_all` of a signal, or `poll` seconds: another process may have written."""
        with anyio.move_on_after(math.inf if alone.get() else self.poll):
            await signal.wait()

    # Time

    @property
    def shift(self) -> float:
        """The file's clock minus anyio's, in seconds; in another event loop it may be another."""
        if not self._begun:  # in a transaction there is no await, and so no other loop
            self._follow_loop()
        return self._shift

    def _follow_loop(self) -> None:
        if self._loop != (loop := _loop()):
            self._loop, self._shift = loop, _machine_ahead() + self._beyond

    def now(self) -> int:
        """The time on the file's clock."""
        return microseconds(_now() + self.shift)

    def on_anyio(self, when: int) -> float:
        """A time of the file on anyio's clock, in seconds."""
        return math.inf if when >= FOREVER else when / 1e6 - self.shift

    def _set_clock(self) -> None:
        offset, last = self.one("SELECT offset, at FROM time")
        ahead = self._ahead()
        if microseconds(_now() + ahead + offset) < last:
            offset = last / 1e6 - (_now() + ahead)
            self.execute("UPDATE time SET offset = ?", offset)
        self._loop, self._shift = _loop(), ahead + offset
        self._beyond = self._shift - _machine_ahead()

    def _ahead(self) -> float:
        """The seconds by which this file's kind of clock is ahead of anyio's."""
        if self._clock is None:
            return _machine_ahead()
        if not 0 <= (now := values.number("clock", self._clock())) < LATEST:
            raise ValueError(f"clock must return seconds, as time.time does, and not {now!r}")
        return now - _now()

    def _note_time(self) -> None:
        """Write the time down, once a tick; that it was just now costs little to find out."""
        if time.monotonic() < self._look_again and not alone.get():  # virtual time goes its own way
            return
        if (now := self.now()) >= self._written + TICK:
            self._written, self._look_again = now, time.monotonic() + TICK / 1e6
            self.execute("UPDATE time SET at = max(at, ?)", now)

    def _write_time(self) -> None:
        """Write the time down once more at the end, if that can be done now: else it is a second old."""
        self._stops_the_loop = False
        with suppress(sqlite3.Error, ForeignTransaction):
            if self._written:
                with self.transaction():
                    self.execute("UPDATE time SET at = max(at, ?)", self.now())
        self._stops_the_loop = True


def _now() -> float:
    try:
        return anyio.current_time()
    except RuntimeError:  # outside any event loop, where asyncio's would have the same clock
        return time.monotonic()


def _machine_ahead() -> float:
    """The seconds by which the machine's clock is ahead of anyio's: none in virtual time, nor on asyncio."""
    ahead = 0.0 if alone.get() else time.monotonic() - _now()
    return ahead if abs(ahead) > PAUSE else 0.0  # on trio anyio's starts anywhere


def _loop() -> object:
    """The event loop that runs, or None."""
    try:
        return anyio.lowlevel.current_token()
    except RuntimeError:
        return None


def _is_locked(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
