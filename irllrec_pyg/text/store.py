r"""The one file of a folder: answers, failures, batches, embeddings, settings, and the split."""

import hashlib
import json
import os
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

Record = dict[str, Any]
SCHEMA = """
CREATE TABLE IF NOT EXISTS settings(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers(
    key BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, body TEXT NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS nodes(
    step TEXT, node INTEGER, key BLOB, kind TEXT NOT NULL, PRIMARY KEY(step, node)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent(
    step TEXT PRIMARY KEY, calls INTEGER, prompt INTEGER, completion INTEGER);
CREATE TABLE IF NOT EXISTS batches(
    name TEXT PRIMARY KEY, step TEXT, sha256 TEXT, id TEXT, status TEXT, error TEXT);
CREATE TABLE IF NOT EXISTS batch_keys(name TEXT, key BLOB, PRIMARY KEY(name, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS batches_of_key ON batch_keys(key);
CREATE TABLE IF NOT EXISTS encoders(id INTEGER PRIMARY KEY, name TEXT UNIQUE, width INTEGER);
CREATE TABLE IF NOT EXISTS embeddings(
    encoder INTEGER, text BLOB, vector BLOB NOT NULL, UNIQUE(encoder, text));
"""
#: Kinds of failures: the server's, of the request, an answer that is of no use, a refusal.
FAILED = ("transport", "request", "answer", "refused")
# What to do about the errors that a user can mend, by a part of SQLite's own words.
ADVICE = {
    "full": "the disk is full. What was answered is kept; free some space and run again",
    "I/O": "the disk cannot be written or read. What was answered is kept; see to it, run again",
    "readonly": "it may not be written. Change its permissions, or use another folder",
    "unable to open": "it cannot be opened. Change the folder's permissions, or use another one",
    "locked": "another program holds it. Wait for it or stop it",
}
DAMAGED = "it is damaged. Put back a copy, or delete it to begin anew"


class StoreError(ValueError):
    """A file that cannot be used, or that another process is writing."""


class Store:
    r"""A file of SQLite that one process writes and any number read.

    What is written is there for every later process once a call returns, however this one ends;
    a power cut costs a second. A file that is not there yet is made when it is claimed.

    Args:
        path (pathlib.Path): The file.
        shared (bool): Whether several processes may write it at once, as they may a file of
            answers alone; it is made at once. (default: ``False``)

    Raises:
        StoreError: If the file is damaged or cannot be opened.
    """

    def __init__(self, path: Path, shared: bool = False) -> None:
        self.path, self._synced = path, time.monotonic()
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
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            what = f"Another run is writing {self.path}: wait for it or stop it."
            raise StoreError(what) from None
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

    # Settings and answers =========================================================================

    def get(self, name: str) -> Any:
        """A setting, or ``None``."""
        row = self.run("SELECT value FROM settings WHERE name = ?", name).fetchone()
        try:
            value = None if row is None else json.loads(row[0])
            if isinstance(value, list):  # fields by name, a text or a truth
                raise ValueError("a list")
        except ValueError as error:
            raise StoreError(f"{self.path}: {DAMAGED} (setting {name!r}: {error}).") from None
        return value

    def set(self, name: str, value: Any) -> None:
        """Keeps a setting."""
        text = json.dumps(value, ensure_ascii=False)
        self.run("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, text)

    def answer(self, key: bytes) -> Record | None:
        """The answer to a request, or how it failed; ``None`` also where it is damaged."""
        row = self.run("SELECT kind, body, sum FROM answers WHERE key = ?", key).fetchone()
        return None if row is None or row[2] != checksum(key, row[1]) else json.loads(row[1])

    def put(self, key: bytes, record: Record) -> None:
        """Keeps an answer or a failure, which takes the place of an earlier one."""
        body = json.dumps(record, ensure_ascii=False)
        self.run(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
            *(key, record["kind"], body, checksum(key, body)),
        )

    def spend(self, step: str, record: Record) -> None:
        """Adds what a request took to what the step took."""
        usage = record.get("usage", {})
        self.run(
            "INSERT INTO spent VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET calls = calls + "
            "excluded.calls, prompt = prompt + excluded.prompt, "
            "completion = completion + excluded.completion",
            *(step, record.get("calls", 0), usage.get("prompt", 0), usage.get("completion", 0)),
        )

    def used(self, step: str | None = None) -> tuple[int, int, int]:
        """Calls, prompt tokens and answer tokens of a step or of all, whatever became of them."""
        query = "SELECT sum(calls), sum(prompt), sum(completion) FROM spent WHERE ? IN (step, '')"
        calls, prompt, completion = self.run(query, step or "").fetchone()
        return calls or 0, prompt or 0, completion or 0

    def note(self, step: str, node: int, key: bytes | None, kind: str) -> None:
        """Keeps what became of a node: a kind of record, ``"no_text"``, ``"batch"``, ``"open"``."""
        self.run("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?, ?)", step, node, key, kind)

    def counts(self, step: str, nodes: int, known: bool = True) -> Counter[str]:
        """How many of a step's nodes are of each kind; ``"open"`` are those to ask for."""
        query = "SELECT kind, count(*) FROM nodes WHERE step = ? AND ? GROUP BY kind"
        counts: Counter[str] = Counter(dict(self.rows(query, step, known)))
        counts["open"] += nodes - counts.total()
        return counts

    def drop_damaged(self) -> int:
        """Takes answers out that are not what was written; nodes that are not what their answer
        or their batch says, such as those of a request that was answered since, are open again.
        """
        with self.transaction():
            rows = self.rows("SELECT key, body, sum FROM answers")
            bad = [(key,) for key, body, found in rows if found != checksum(key, body)]
            self.run_many("DELETE FROM answers WHERE key = ?", bad)
            self.run(
                "UPDATE nodes SET kind = 'open' WHERE kind NOT IN ('open', 'no_text', 'batch') AND "
                "NOT EXISTS (SELECT 1 FROM answers AS a WHERE (a.key, a.kind) = (nodes.key, "
                "nodes.kind)) OR kind = 'batch' AND NOT EXISTS (SELECT 1 FROM batches CROSS "
                "JOIN batch_keys AS k USING (name) "
                "WHERE k.key = nodes.key AND status != 'collected')"
            )
        return len(bad)

    # Embeddings ===================================================================================

    def encoder(self, name: str) -> tuple[int, int]:
        """The number of an encoder and its width, 0 where nothing was embedded yet."""
        row = self.run("SELECT id, width FROM encoders WHERE name = ?", name).fetchone()
        return row or (0, 0)

    def add_vectors(self, name: str, texts: Sequence[str | bytes], rows: Any) -> None:
        r"""Keeps embeddings by text, or by a text's SHA-256.

        Raises:
            StoreError: If they are of another width than earlier ones.
        """
        vectors = np.ascontiguousarray(rows, "<f4")
        with self.transaction():
            new = "INSERT OR IGNORE INTO encoders(name, width) VALUES (?, ?)"
            self.run(new, name, vectors.shape[1])
            number, width = self.encoder(name)
            if vectors.shape[1] != width:
                raise StoreError(
                    f"The encoder {name!r} now gives width {vectors.shape[1]}, "
                    f"but {self.path} holds width {width}: is another model served "
                    "under that name? Delete the file to start again."
                )
            added = ((number, _hash(t), v.tobytes()) for t, v in zip(texts, vectors, strict=True))
            self.run_many("INSERT OR IGNORE INTO embeddings VALUES (?, ?, ?)", added)

    def missing(self, name: str, texts: Iterable[str]) -> list[str]:
        """Those of the texts that have no embedding, each once."""
        number, _ = self.encoder(name)
        query = "SELECT 1 FROM embeddings WHERE encoder = ? AND text = ?"
        return [t for t in dict.fromkeys(texts) if not self.run(query, number, _hash(t)).fetchone()]

    def vectors(self, name: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """The embeddings of texts that all have one, float32 of shape ``(N, T)``."""
        number, width = self.encoder(name)
        rows = np.zeros((len(texts), width), np.float32)
        query = "SELECT vector FROM embeddings WHERE encoder = ? AND text = ?"
        for row, text in zip(rows, texts, strict=True):
            row[:] = np.frombuffer(self.run(query, number, _hash(text)).fetchone()[0], "<f4")
        return rows

    # Inside =======================================================================================

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
                self._connection.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;")

    def _connect(self, place: str) -> None:
        with self._explained():
            self._connection = sqlite3.connect(
                place, timeout=60, isolation_level=None, check_same_thread=False, uri=True
            )
        for pragma in ("cache_size = -65536", "wal_autocheckpoint = 8000", "synchronous = NORMAL"):
            self.run(f"PRAGMA {pragma}")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            advice = [advice for words, advice in ADVICE.items() if words in str(error)]
            raise StoreError(f"{self.path}: {(advice or [DAMAGED])[0]} ({error}).") from None


def states(counts: Counter[str]) -> dict[str, int]:
    """Counts of kinds as they are shown."""
    failed = sum(counts[kind] for kind in FAILED)
    shown = {"done": counts["ok"], "failed": failed, "in_batch": counts["batch"]}
    return shown | {"no_text": counts["no_text"], "to_do": counts["open"]}


def checksum(key: bytes, body: str) -> int:
    """What an answer is checked by when it is read."""
    return zlib.crc32(body.encode(), zlib.crc32(key))


def _hash(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
