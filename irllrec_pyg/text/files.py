r"""Files that are either whole or not there, and on the disk when they take their name."""

import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..files import atomic_path, write_text

# The readers of the published layout go back to Python 3.8; protocol 5 has another form of arrays.
PICKLE_PROTOCOL = 4


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Opens a file that takes its name only when it is completely on the disk."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        yield file


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON file atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def write_pickle(path: Path, value: object) -> None:
    """Writes a pickle of the published layout atomically."""
    with atomic(path) as file:
        pickle.dump(value, file, protocol=PICKLE_PROTOCOL)
