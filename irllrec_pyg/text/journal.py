r"""The journal of answers: one line an answer, appended at once, never rewritten."""

import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from .redaction import Redactor

# Windows has no flock: there it is up to the user that only one run writes at a time.
if sys.platform != "win32":
    import fcntl

Sync = Literal["always", "interval", "never"]
Record = dict[str, Any]


class JournalError(ValueError):
    """A journal that cannot be used."""


class AppendedFile:
    r"""A file that grows inside a ``with`` block, where no other process can open it so.

    Args:
        path (pathlib.Path): The file.

    Raises:
        JournalError: If another process has the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(file)
                raise JournalError(
                    f"Another run is writing {self.path}: wait for it or stop it."
                ) from None
        self._file = file
        # What was read before the lock was had may be old.
        self._read()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None

    def _open_file(self) -> int:
        if self._file is None:
            raise JournalError(f"{self.path} is open for reading only; use it in a with statement.")
        return self._file

    def _read(self) -> None:
        raise NotImplementedError


class Journal(AppendedFile):
    r"""An append-only file of JSON lines, keyed by the hash of the request.

    A line is written by a single system call as soon as its answer is there, so a killed process
    loses nothing that was answered. Against a power cut the file is synchronised with the disk
    at least once every ``sync_seconds`` while lines arrive, and when the journal is closed. A last
    line that a crash tore is dropped when the journal is opened, and its request is made again.
    Of several lines with one key and node the last one counts. While it is open for writing no
    other process can open it so.

    Args:
        path (pathlib.Path): The file.
        sync (str): ``"always"`` synchronises after every line, ``"interval"`` as said above,
            ``"never"`` leaves it to the system. (default: ``"interval"``)
        sync_seconds (float): The interval. (default: ``1.0``)
        redactor (Redactor, optional): What takes keys out of a line. (default: ``None``)

    Raises:
        JournalError: If a line other than the last is damaged, or another process has the journal.
    """

    def __init__(
        self,
        path: Path,
        sync: Sync = "interval",
        sync_seconds: float = 1.0,
        redactor: Redactor | None = None,
    ) -> None:
        super().__init__(path)
        self.torn = False
        self._sync, self._sync_seconds = sync, sync_seconds
        self._redactor = redactor or Redactor()
        self._records: dict[tuple[str, int], Record] = {}
        self._by_key: dict[str, Record] = {}
        self._synced = time.monotonic()
        self._read()

    def append(self, record: Record) -> None:
        """Adds a line; ``key`` and ``node`` are needed."""
        file = self._open_file()
        line = self._redactor.exact(json.dumps(record, ensure_ascii=False)) + "\n"
        data = line.encode("utf-8", "replace")
        written = os.write(file, data)
        while written < len(data):  # a full disk can take a part
            written += os.write(file, data[written:])
        self._keep(json.loads(line))
        now = time.monotonic()
        if self._sync == "always" or (
            self._sync == "interval" and now - self._synced >= self._sync_seconds
        ):
            os.fsync(file)
            self._synced = now

    def get(self, key: str, node: int) -> Record | None:
        """The last record of a request for a node."""
        return self._records.get((key, node))

    def get_key(self, key: str) -> Record | None:
        """A successful record of a request for whatever node."""
        return self._by_key.get(key)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def __len__(self) -> int:
        return len(self._records)

    def _keep(self, record: Record) -> None:
        # Later lines replace earlier ones, also in their place in the order.
        self._records.pop((record["key"], record["node"]), None)
        self._records[record["key"], record["node"]] = record
        if record["status"] == "ok":
            self._by_key[record["key"]] = record

    def _read(self) -> None:
        self._records.clear()
        self._by_key.clear()
        if not self.path.exists():
            return
        start = 0
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, 1):
                record = _parse(line)
                if record is not None:
                    self._keep(record)
                    if not line.endswith(b"\n"):
                        # Whole but for its end: nothing is lost, only the end is added.
                        if self._file is not None:
                            os.write(self._file, b"\n")
                        return
                elif file.read(1):
                    raise JournalError(
                        f"Line {number} of {self.path} is damaged, and it is not the last one: "
                        "delete that line, and the next run makes its request again."
                    )
                else:
                    self.torn = True
                    if self._file is not None:
                        warnings.warn(
                            f"The last line of {self.path} was torn by a crash: it is "
                            "dropped, and its request is made again.",
                            stacklevel=3,
                        )
                        os.ftruncate(self._file, start)
                start += len(line)


def _parse(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if isinstance(record, dict) and {"key", "node", "status"} <= record.keys():
        return record
    return None
