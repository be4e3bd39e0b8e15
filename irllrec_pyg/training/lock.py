"""One run at a time in a folder."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from lightning_fabric.utilities.rank_zero import rank_zero_only

LOCK_FILE, HOLDER_FILE = ".fit.lock", ".fit.holder"


def is_first() -> bool:
    """Whether this is the only or the first one of the processes of a run."""
    return not vars(rank_zero_only).get("rank")


@contextmanager
def only_run(folder: Path | None) -> Iterator[None]:
    """Refuses a second run in a folder, of this process or another one, while the block runs.

    The system frees the lock when a process ends, however it ends. Between machines it holds only
    where the file system passes locks on, as NFS 4 does; where there are none at all, ``filelock``
    takes the file itself for the lock. Of a run on several devices, the first process holds it.

    Raises:
        RuntimeError: If another run is in the folder; it is named.
    """
    if folder is None or not is_first():
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(folder / LOCK_FILE), folder / HOLDER_FILE
    try:
        lock.acquire(timeout=0)
    except Timeout:
        other = "another process"
        with suppress(OSError, UnicodeDecodeError):
            other = holder.read_text(encoding="utf-8") or other
        raise RuntimeError(
            f"Another run is in the folder {folder}: {other} holds {folder / LOCK_FILE}. Wait "
            "until it ends, or use another folder."
        ) from None
    try:
        with suppress(OSError):  # a full disk is no reason to refuse
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
