r"""Writing files so that a process killed at any moment leaves the old file or the new one."""

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp

_STALE_SECONDS = 24 * 3600
#: What to do about the errors that a user can mend.
ADVICE = {
    errno.ENOSPC: "Free some space there, or write to another disk",
    errno.EDQUOT: "Free some space there, or write to another disk",
    errno.EFBIG: "Raise the limit on the size of files, or write to another disk",
    errno.EACCES: "Write to a folder that is yours, or change its permissions",
    errno.EPERM: "Write to a folder that is yours, or change its permissions",
    errno.EROFS: "Write to a disk that is not read-only",
    errno.EEXIST: "There must be a folder, not a file: name another place",
    errno.ENOTDIR: "There must be a folder, not a file: name another place",
}


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    r"""Gives a temporary path beside ``path``; when the block ends well, the file is on the disk
    and takes its name.

    Args:
        path (str or os.PathLike): The file to write; its folder is made where it is missing.

    Raises:
        OSError: Where the disk is full or the folder read-only; names ``path``, says what to do,
            and leaves the old file as it was.
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(".*.part"):  # what killed processes left there
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                    left.unlink()
        handle, name = mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        mask = os.umask(0)  # mkstemp makes private files; a data set is read by others too
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        sync(temporary)
        os.replace(temporary, target)
        if os.name == "posix":
            sync(target.parent)
    except Exception as error:
        if (mended := _explained(error, target)) is None:
            raise
        raise mended from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def reserve(path: str | os.PathLike[str]) -> None:
    r"""Takes the room on the disk that a file's size tells of.

    A file that is mapped into memory has none before it is written to, and a disk that is full by
    then ends the process without a word.

    Raises:
        OSError: If the disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def _explained(error: BaseException, target: Path) -> OSError | None:
    r"""The same error with the name of the file, or nothing where it is not about the file."""
    cause: BaseException | None = error
    while cause is not None:  # torch raises an error of its own while it handles that of the disk
        named = Path(getattr(cause, "filename", None) or target)
        if isinstance(cause, OSError):
            number = cause.errno
        else:  # what safetensors says
            found = re.search(r"\(os error (\d+)\)", str(cause))
            number = int(found[1]) if found else None
        ours = named in (target, *target.parents) or named.name.startswith(f".{target.name}.")
        if number in ADVICE and ours:
            kept = "its old content is kept" if target.exists() else "nothing of it was written"
            full = number in (errno.ENOSPC, errno.EDQUOT)
            what = "The disk is full" if full else os.strerror(number)
            text = f"{what}: {kept}. {ADVICE[number]}"
            return OSError(number, text, str(target))
        cause = None if isinstance(cause, OSError) else cause.__context__
    return None


def write_text(path: str | os.PathLike[str], text: str) -> None:
    r"""Writes a text file, in UTF-8, which is there completely or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    r"""Waits until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
