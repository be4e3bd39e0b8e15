r"""A file of SQLite that one process writes and any number read, with errors in words."""

import errno
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

# What to do about the errors that a user can mend, by a part of SQLite's own words.
ADVICE = {
    "full": "the disk is full. What was answered is kept; free some space and run again",
    "I/O": "the disk cannot be written or read. What was answered is kept; see to it, run again",
    "readonly": "it may not be written. Change its permissions, or use another folder",
    "unable to open": "it cannot be opened. Change the folder's permissions, or use another one",
    "locked": "another program holds it. Wait for it or stop it",
}
NOT_MINE = (errno.EACCES, errno.EPERM, errno.EROFS)
DAMAGED = "it is damaged. Put back a copy, or delete it to begin anew"


class StoreError(ValueError):
    """A file that cannot be used, or that another process is writing."""


class Database:
    r"""A file of SQLite that one process writes and any number read.

    What is written is there for every later process once a call returns, however this one ends;
    a power cut costs a second. A file that is not there yet is made when it is claimed.

    Args:
        path (pathlib.Path): The file.
        schema (str): Commands that make its tables where they are missing.
        shared (bool): Whether several processes may write it at once, as they may a file of
            answers alone; it is made at once. (default: ``False``)

    Raises:
        StoreError: If the file is damaged or cannot be opened.
    """

    def __init__(self, path: Path, schema: str, shared: bool = False) -> None:
        self.path, self._schema, self._synced = path, schema, time.monotonic()
        self._lock = FileLock(path.with_suffix(".lock"))
        if shared:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._open(create=shared)

    def close(self) -> None:
        """Leaves the file alone; what stood beside it is put into it."""
        self._connection.close()

    @contextmanager
    def claim(self, wait: bool = False) -> Iterator[None]:
        r"""Lets this process alone write; inside of it, does nothing.

        Args:
            wait (bool): Wait while another process writes. (default: ``False``)

        Raises:
            StoreError: If another process is writing.
            OSError: If the folder may not be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            what = f"Another run is writing {self.path}: wait for it or stop it."
            raise StoreError(what) from None
        except OSError as error:
            file, what = error.filename or self._lock.lock_file, str(error.strerror)
            if error.errno in NOT_MINE:
                what += f": {ADVICE['readonly']}"
            raise OSError(error.errno, what, file) from None
        try:
            if not self.exists:
                self._open(create=True)
            yield
        finally:
            self._lock.release()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Writes all that the block writes, or nothing of it; inside of one, does nothing."""
        if self._connection.in_transaction:
            yield
            return
        # A commit is safe from a kill. From a power cut it is with a wait for the disk, which
        # takes longer than the rest of a request: once a second is enough.
        due = time.monotonic() - self._synced >= 1
        self.run(f"PRAGMA synchronous = {'FULL' if due else 'NORMAL'}")
        self.run("BEGIN IMMEDIATE")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            with suppress(StoreError):  # a full disk has rolled back by itself
                self.run("ROLLBACK")
            raise
        if due:
            self._synced = time.monotonic()

    def run(self, command: str, *values: Any) -> sqlite3.Cursor:
        """Runs a command of SQL, its errors in words."""
        with self._explained():
            return self._connection.execute(command, values)

    def run_many(self, command: str, rows: Iterable[Sequence[Any]]) -> None:
        """Runs a command for each row."""
        with self._explained():
            self._connection.executemany(command, rows)

    def rows(self, command: str, *values: Any) -> Iterator[Any]:
        """The rows of a query, one by one."""
        cursor = self.run(command, *values)
        while True:
            with self._explained():
                part = cursor.fetchmany(1000)
            if not part:
                return
            yield from part

    def _open(self, create: bool) -> None:
        self.exists = create or (self.path.exists() and self.path.stat().st_size > 0)
        if self.exists:
            # A reader makes files beside a database, unless it says that nobody writes there; then
            # it does not see what a writer that was killed left beside the file.
            beside = self.path.with_name(f"{self.path.name}-wal")
            left = beside.exists() and beside.stat().st_size > 0
            still = "?mode=ro" if left else "?immutable=1"
            writable = os.access(self.path.parent, os.W_OK)
            self._connect(self.path.absolute().as_uri() + ("" if writable else still))
            # One that has no tables was left by a process that was killed while it made it.
            self.exists = create or bool(self.run("SELECT 1 FROM sqlite_master").fetchone())
        if not self.exists:
            self._connect(":memory:")
        if create or not self.exists:
            self.run("PRAGMA journal_mode = WAL")
            with self._explained():
                self._connection.executescript(f"BEGIN IMMEDIATE;{self._schema}COMMIT;")

    def _connect(self, place: str) -> None:
        with self._explained():
            self._connection = sqlite3.connect(
                place, timeout=60, isolation_level=None, check_same_thread=False, uri=True
            )
        # One damaged character is one damaged row, and no reason to refuse the file.
        self._connection.text_factory = lambda text: text.decode("utf-8", "replace")
        for pragma in ("cache_size = -65536", "wal_autocheckpoint = 8000", "synchronous = NORMAL"):
            self.run(f"PRAGMA {pragma}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            found = [advice for words, advice in ADVICE.items() if words in str(error)]
            advice = (found or [DAMAGED])[0]
            if advice == ADVICE["I/O"]:  # SQLite does not tell a limit from a broken disk
                advice += size_limit()
            raise StoreError(f"{self.path}: {advice} ({error}).") from None


def size_limit() -> str:
    """What to know of a limit of the size of files, where this process has one."""
    try:
        import resource
    except ImportError:  # Windows has none
        return ""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    known = limit != resource.RLIM_INFINITY
    return f"; files may have {limit} bytes here: raise that limit (ulimit -f)" if known else ""
