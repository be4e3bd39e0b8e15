"""Memory of a training process on a CPU."""

import contextlib
import ctypes
from collections.abc import Iterator

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of glibc's mallopt
KEPT = 512 << 20
# Larger blocks still come straight from the system and go back to it at once; glibc takes no more.
LARGEST = 32 << 20


@contextlib.contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Lets the process keep memory that it has freed, to use it again.

    Every training step allocates the same few matrices. By default glibc returns them to the
    system and asks for them again, and the system clears every page anew: a third of a step of
    LightGCN on Amazon-book. Here up to half a gigabyte at the end of its heap stays; afterwards
    that goes back, and glibc keeps up to 32 MB, in the place of what it was set to before. With
    other C libraries this does nothing.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt, libc.malloc_trim  # noqa: B018 - musl and macOS have neither
    except (AttributeError, OSError, TypeError):
        yield
        return
    libc.mallopt(TRIM_THRESHOLD, KEPT)
    libc.mallopt(MMAP_THRESHOLD, LARGEST)
    try:
        yield
    finally:
        libc.mallopt(TRIM_THRESHOLD, LARGEST)
        libc.malloc_trim(0)
