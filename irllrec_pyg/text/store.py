r"""The one file of a folder: answers, failures, batches, embeddings, settings, and the split."""

import hashlib
import json
import re
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .database import DAMAGED, Database, StoreError

Record = dict[str, Any]
SCHEMA = """
CREATE TABLE IF NOT EXISTS settings(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers(
    key BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, body TEXT NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS asking(key BLOB PRIMARY KEY, who TEXT, until REAL) WITHOUT ROWID;
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
#: Seconds that a request of a shared file is left to the process that asks it.
LEASE = 300.0
#: A setting: its checksum, which it did not always have, and what it is, which is no number.
SUMMED = re.compile(r"([0-9a-f]{8})(.*)", re.DOTALL)
#: Kinds of failures: the server's, of the request, an answer that is of no use, a refusal.
FAILED = ("transport", "request", "answer", "refused")


class Store(Database):
    r"""What is known of a folder's nodes, or a file of answers that folders share.

    Args:
        path (pathlib.Path): The file.
        shared (bool): Whether several processes may write it at once, as they may a file of
            answers alone; it is made at once. (default: ``False``)

    Raises:
        StoreError: If the file is damaged or cannot be opened.
    """

    def __init__(self, path: Path, shared: bool = False) -> None:
        super().__init__(path, SCHEMA, shared)

    def get(self, name: str) -> Any:
        """A setting, or ``None``."""
        row = self.run("SELECT value FROM settings WHERE name = ?", name).fetchone()
        if row is None:
            return None
        try:
            found = SUMMED.fullmatch(row[0])
            value = json.loads(found[2] if found else row[0])
            if found and int(found[1], 16) != checksum(name.encode(), found[2]):
                raise ValueError("it is not what was written")
            if isinstance(value, list):  # fields by name, a text or a truth
                raise ValueError("a list")
        except (ValueError, TypeError) as error:  # of another type: bytes
            raise StoreError(f"{self.path}: {DAMAGED} (setting {name!r}: {error}).") from None
        return value

    def set(self, name: str, value: Any) -> None:
        """Keeps a setting."""
        text = json.dumps(value, ensure_ascii=False)
        summed = f"{checksum(name.encode(), text):08x}{text}"
        self.run("INSERT OR REPLACE INTO settings VALUES (?, ?)", name, summed)

    def answer(self, key: bytes) -> Record | None:
        """The answer to a request, or how it failed; ``None`` also where it is damaged."""
        row = self.run("SELECT kind, body, sum FROM answers WHERE key = ?", key).fetchone()
        return json.loads(row[1]) if row and is_whole(key, *row[1:]) else None

    def put(self, key: bytes, record: Record) -> None:
        """Keeps an answer or a failure, which takes the place of an earlier one."""
        body = json.dumps(record, ensure_ascii=False)
        self.run(
            "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
            *(key, record["kind"], body, checksum(key, body)),
        )

    def lease(self, key: bytes, who: str) -> bool:
        """Takes a request for so long as nobody else should ask it; says whether it was free."""
        now = time.time()  # before the wait for others that are writing
        return (
            self.run(
                "INSERT INTO asking VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET who = excluded.who, "
                "until = excluded.until WHERE who = excluded.who OR until NOT BETWEEN ? AND ?",
                *(key, who, now + LEASE, now, now + 2 * LEASE),
            ).rowcount
            > 0
        )

    def release(self, who: str, key: bytes | None = None) -> None:
        """Gives a request back, or all that were taken."""
        self.run("DELETE FROM asking WHERE who = ? AND key = coalesce(?, key)", who, key)

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
            bad = [row[:1] for row in rows if not is_whole(*row)]
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


def states(counts: Counter[str]) -> dict[str, int]:
    """Counts of kinds as they are shown."""
    failed = sum(counts[kind] for kind in FAILED)
    shown = {"done": counts["ok"], "failed": failed, "in_batch": counts["batch"]}
    return shown | {"no_text": counts["no_text"], "to_do": counts["open"]}


def checksum(key: bytes, body: str) -> int:
    """What an answer is checked by when it is read."""
    return zlib.crc32(body.encode(), zlib.crc32(key))


def is_whole(key: Any, body: Any, found: Any) -> bool:
    """Whether an answer is what was written; damage may change the types as well."""
    typed = isinstance(key, bytes) and isinstance(body, str)
    return typed and found == checksum(key, body)


def _hash(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
