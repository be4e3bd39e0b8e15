"""Finished pieces of a study as files: what is there is complete, and is not made again."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from ..config import ConfigError
from ..files import atomic_path, write_text

HASH, TABLE_HASH = "hash", "table_hash"


class Units:
    """The folder of a study; a unit is a path of names, such as ``amazon/warm/ease/none/split-1``.

    A unit is a JSON file and, where it has one, a table of users beside it, which is written first.
    The file holds the hashes of both, so that a flipped byte is noticed.

    Args:
        folder (Path): Is made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "units"

    def read(self, unit: str) -> dict[str, Any] | None:
        """What a unit holds, or nothing where it is not finished.

        Raises:
            ConfigError: If its file or its table is damaged; names it and says what to do.
        """
        file = self.root / f"{unit}.json"
        if not file.exists():
            return None
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise _damaged(file, error) from None
        if not isinstance(content, dict):
            raise _damaged(file, "it holds no fields")
        # Units of earlier versions have no hashes.
        if (known := content.pop(HASH, None)) is not None and known != short_hash(content):
            raise _damaged(file, "its hash is another")
        if (known := content.pop(TABLE_HASH, None)) is not None:
            table = file.with_suffix(".parquet")
            if not table.exists():
                raise _damaged(table, "it is gone")
            if known != sha256(table.read_bytes()).hexdigest():
                raise _damaged(table, "its hash is another")
        return content

    def write(
        self, unit: str, content: Mapping[str, Any], users: pd.DataFrame | None = None
    ) -> None:
        """Finishes a unit."""
        row: dict[str, Any] = json.loads(json.dumps(content))  # as it will be read, for the hash
        if users is not None:
            with atomic_path(self.root / f"{unit}.parquet") as temporary:
                users.to_parquet(temporary, index=False)
                row[TABLE_HASH] = sha256(temporary.read_bytes()).hexdigest()
        row[HASH] = short_hash(row)
        write_text(self.root / f"{unit}.json", json.dumps(row, indent=1))

    def users(self, unit: str) -> pd.DataFrame:
        """The table of users of a unit."""
        file = self.root / f"{unit}.parquet"
        try:
            return pd.read_parquet(file)
        except (OSError, ValueError) as error:
            raise _damaged(file, error if file.exists() else "it is gone") from None

    def named(self, pattern: str) -> list[str]:
        """The finished units whose path fits a pattern, sorted."""
        found = self.root.glob(f"{pattern}.json")
        return sorted(file.relative_to(self.root).with_suffix("").as_posix() for file in found)

    def drop(self, unit: str) -> None:
        """Forgets a unit."""
        (self.root / f"{unit}.json").unlink(missing_ok=True)

    @contextmanager
    def scratch(self, unit: str) -> Iterator[Path]:
        """A folder for what a unit needs to go on after a kill; gone when the block ends well."""
        folder = self.folder / "scratch" / unit
        yield folder
        shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def alone(self, unit: str, wait: bool = False) -> Iterator[bool]:
        """Whether no other process works on a unit; while the block runs, no other one will.

        Args:
            unit (str): The unit.
            wait (bool, optional): Whether to wait for the other process. (default: ``False``)
        """
        file = self.folder / "locks" / f"{unit.replace('/', '.')}.lock"
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file)
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


def _damaged(file: Path, reason: object) -> ConfigError:
    return ConfigError(f"{file} is damaged ({reason}). The command makes this piece again.")


def short_hash(values: Mapping[str, Any]) -> str:
    """Twelve characters that tell values apart, for the names of files."""
    return sha256(repr(sorted(values.items())).encode()).hexdigest()[:12]
