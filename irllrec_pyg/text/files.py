r"""Files that are either whole or not there, and on the disk when they take their name."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..files import atomic_path, write_text


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that takes its name only when it is completely on the disk."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        yield file


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON file atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
