r"""Taking single files out of a downloaded archive."""

import io
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from ..files import atomic_path

# RuntimeError: what zipfile raises for encryption and compression that it does not know.
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


class _Chain(io.RawIOBase):
    r"""Several files, read as if they were one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._rest = list(paths)
        self._file: IO[bytes] | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        while True:
            if self._file is None:
                if not self._rest:
                    return 0
                self._file = open(self._rest.pop(0), "rb")  # noqa: SIM115
            chunk = self._file.read(len(view))
            if chunk:
                view[: len(chunk)] = chunk
                return len(chunk)
            self._file.close()
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


@contextmanager
def _open(paths: Sequence[Path]) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    if zipfile.is_zipfile(paths[0]):
        with zipfile.ZipFile(paths[0]) as archive:
            yield ((info.filename, archive.open(info)) for info in archive.infolist())
        return
    with (
        io.BufferedReader(_Chain(paths)) as stream,
        tarfile.open(fileobj=stream, mode="r|*") as tar,
    ):
        members = ((member.name, tar.extractfile(member)) for member in tar if member.isfile())
        yield ((name, file) for name, file in members if file is not None)


def extract(
    paths: Sequence[Path], folders: Collection[str], wanted: Collection[str], target: str
) -> None:
    r"""Writes some files of a tar or zip archive; nothing else of it touches the disk.

    Args:
        paths: The archive, or its parts in order.
        folders: Names that the folder of a file inside the archive may have.
        wanted: Names of the files.
        target: Folder to write them to.

    Raises:
        ValueError: Where the archive is damaged or of another kind.
    """
    try:
        with _open(paths) as members:
            for name, file in members:
                inside = PurePosixPath(name)
                if inside.name in wanted and inside.parent.name in folders:
                    destination = os.path.join(target, inside.name)
                    with atomic_path(destination) as temporary, open(temporary, "wb") as out:
                        shutil.copyfileobj(file, out, 1 << 20)
    except _DAMAGED as error:
        raise ValueError(
            f"{paths[0]} is damaged or not a tar or zip archive ({error}). Delete "
            f"{paths[0].parent} and try again, or unpack it by hand to {os.path.abspath(target)}"
        ) from error
