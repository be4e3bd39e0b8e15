r"""Embeddings on the disk: rows of one width, each found by a key, appended and never rewritten."""

import hashlib
import json
import os
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .journal import AppendedFile, JournalError

KEY_BYTES = 32


class EmbeddingStore(AppendedFile):
    r"""A file of embeddings by text.

    Its first line names the encoder and the width; each row after it is the SHA-256 of a text and
    the embedding as little-endian float32. A row that a crash tore is dropped when the file is
    opened for writing. Rows of an encoder that is paid for are thus bought once.

    Args:
        path (pathlib.Path): The file.
        encoder (str): The name of the encoder, with what changes its result.

    Raises:
        JournalError: If the file is not a store of this encoder.
    """

    def __init__(self, path: Path, encoder: str) -> None:
        super().__init__(path)
        self.encoder = encoder
        self.width = 0
        self._rows: dict[bytes, int] = {}
        self._start = 0
        self._read()

    def __enter__(self) -> Self:
        super().__enter__()
        os.ftruncate(self._open_file(), self._end if self._start else 0)
        return self

    def __contains__(self, text: str) -> bool:
        return _key(text) in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, texts: list[str], vectors: NDArray[np.float32]) -> None:
        """Appends embeddings; they are on their way to the disk when this returns."""
        file = self._open_file()
        if not self.width:
            self.width = vectors.shape[1]
            header = json.dumps({"encoder": self.encoder, "width": self.width}).encode() + b"\n"
            os.write(file, header)
            self._start = len(header)
        if vectors.shape[1] != self.width:
            raise JournalError(
                f"The encoder {self.encoder!r} now gives width {vectors.shape[1]}, "
                f"but {self.path} holds width {self.width}: is another model served "
                "under that name? Delete the file to start again."
            )
        rows = np.ascontiguousarray(vectors, "<f4")
        for text, row in zip(texts, rows, strict=True):
            key = _key(text)
            if key not in self._rows:
                os.write(file, key + row.tobytes())
                self._rows[key] = len(self._rows)

    def sync(self) -> None:
        """Waits until everything is on the disk."""
        if self._file is not None:
            os.fsync(self._file)

    def get(self, texts: list[str]) -> NDArray[np.float32]:
        """The embeddings of texts that are all there, in their order."""
        table = np.memmap(
            self.path,
            np.dtype([("key", "V32"), ("row", "<f4", (self.width,))]),
            mode="r",
            offset=self._start,
            shape=(len(self._rows),),
        )
        return np.asarray(table["row"][[self._rows[_key(text)] for text in texts]], np.float32)

    @property
    def _end(self) -> int:
        return self._start + len(self._rows) * (KEY_BYTES + 4 * self.width)

    def _read(self) -> None:
        self._rows.clear()
        self._start = self.width = 0
        if not self.path.exists():
            return
        with open(self.path, "rb") as file:
            header = file.readline()
            if not header.endswith(b"\n"):
                return  # the very first line was torn: nothing was stored
            try:
                found = json.loads(header)
                encoder, self.width = found["encoder"], int(found["width"])
            except (ValueError, KeyError, TypeError):
                raise JournalError(
                    f"{self.path} is not a store of embeddings; delete it."
                ) from None
            if encoder != self.encoder:
                raise JournalError(
                    f"{self.path} belongs to encoder {encoder!r}, not to {self.encoder!r}."
                )
            self._start = len(header)
            size = KEY_BYTES + 4 * self.width
            while len(row := file.read(size)) == size:
                self._rows[row[:KEY_BYTES]] = len(self._rows)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
