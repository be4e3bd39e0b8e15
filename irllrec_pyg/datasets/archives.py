r"""Taking single files out of a downloaded archive."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ..files import atomic_path

_MAX_MEMBERS = 10_000
_MAX_HEADER = 1 << 17  # bytes of one member's headers: its name, and what extensions add to it
# An archive may unpack to so many times its size, and so many bytes more. Embeddings hardly shrink.
_MAX_RATIO, _MORE = 100, 1 << 24

# RuntimeError: what zipfile raises for encryption and compression that it does not know.
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError)
_DAMAGED = (*_BROKEN, EOFError, RuntimeError, UnicodeError)
_OPENERS: Mapping[bytes, Callable[[Any], Any]]
_OPENERS = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}


class _LimitError(ValueError):
    r"""An archive that would take more memory, disk or time than its size warrants."""


class _Limited(io.RawIOBase):
    r"""A stream that gives no more bytes than were allowed."""

    def __init__(self, stream: IO[bytes], total: int) -> None:
        self._stream, self._total = stream, total
        self.allowed = _MAX_HEADER

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(min(size, 1 << 20) if size >= 0 else 1 << 20)
        self._total -= len(data)
        self.allowed -= len(data)
        _check(0, self._total)
        if self.allowed < 0:
            raise _LimitError(f"it has a header of more than {_MAX_HEADER} bytes")
        return data


class _Chain(io.RawIOBase):
    r"""Several files, read as if they were one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = ExitStack()
        self._rest = [self._files.enter_context(open(path, "rb")) for path in paths]  # noqa: SIM115

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._rest:
            if count := self._rest[0].readinto(buffer):
                return count
            self._rest.pop(0)
        return 0

    def close(self) -> None:
        self._files.close()
        super().close()


def _members(paths: Sequence[Path], stack: ExitStack) -> Iterator[tuple[str, IO[bytes]]]:
    total = _MAX_RATIO * sum(path.stat().st_size for path in paths) + _MORE
    if zipfile.is_zipfile(paths[0]):
        archive = stack.enter_context(zipfile.ZipFile(paths[0]))
        for count, packed_file in enumerate(archive.infolist()):
            total -= packed_file.file_size  # more than that is not read of it
            _check(count, total)
            yield packed_file.filename, archive.open(packed_file)
        return
    packed = stack.enter_context(io.BufferedReader(_Chain(paths)))
    kind = _OPENERS.get(packed.peek(2)[:2])
    stream = _Limited(packed if kind is None else stack.enter_context(kind(packed)), total)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for count, member in enumerate(tar):
            _check(count)
            if member.issparse():
                raise _LimitError(f"its member {member.name[:100]!r} is sparse")
            # Its content, which is read here or passed over, and the headers of the next one.
            stream.allowed = max(member.size, 0) + _MAX_HEADER
            tar.members = []  # type: ignore[attr-defined]  # would keep every member
            if member.isfile() and (file := tar.extractfile(member)) is not None:
                yield member.name, file


def _check(members: int, rest: int = 0) -> None:
    if members >= _MAX_MEMBERS:
        raise _LimitError(f"it has more than {_MAX_MEMBERS} members")
    if rest < 0:
        raise _LimitError(f"it unpacks to more than {_MAX_RATIO} times its size")


def extract(
    paths: Sequence[Path], folders: Collection[str], wanted: Collection[str], target: str
) -> None:
    r"""Writes some files of a tar or zip archive; nothing else of it touches the disk.

    Args:
        paths (sequence of Path): The archive, or its parts in order.
        folders (collection of str): Names that the folder of a file inside the archive may have.
        wanted (collection of str): Names of the files.
        target (str): Folder to write them to.

    Raises:
        ValueError: Where the archive is damaged, of another kind, or would take more memory or
            disk than its size warrants.
    """
    try:
        with ExitStack() as stack:
            for name, file in _members(paths, stack):
                inside = PurePosixPath(name)
                if inside.name in wanted and inside.parent.name in folders:
                    destination = os.path.join(target, inside.name)
                    with atomic_path(destination) as temporary, open(temporary, "wb") as out:
                        shutil.copyfileobj(file, out, 1 << 20)
    except _LimitError as error:
        raise ValueError(
            f"{paths[0]} was not unpacked: {error}. Delete {paths[0].parent} and get it again from "
            "its source"
        ) from None
    except _DAMAGED as error:
        raise ValueError(
            f"{paths[0]} is damaged or not a tar or zip archive ({error}). Delete "
            f"{paths[0].parent} and try again, or unpack it by hand to {os.path.abspath(target)}"
        ) from error
