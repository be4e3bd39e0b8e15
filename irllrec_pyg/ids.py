r"""The owner's ids, which may come from a file that nobody vouches for."""

from collections.abc import Iterable
from itertools import pairwise

#: Integers beyond this are no ids. Python hashes a number by its remainder, so that any number of
#: larger ones can share a hash, and a table of them takes a time that grows with its square.
MAX_ID = (1 << 63) - 1


def repeated_id(ids: Iterable[int | str]) -> int | str | None:
    r"""An id that occurs twice, or ``None``.

    Integers are sorted and not hashed: a file can choose them so that their hashes collide. Those
    of texts cannot be foreseen.

    Args:
        ids (iterable of int or str): The ids.
    """
    numbers: list[int] = []
    texts: set[str] = set()
    for value in ids:
        if isinstance(value, int):
            numbers.append(value)
        elif value in texts:
            return value
        else:
            texts.add(value)
    return next((one for one, other in pairwise(sorted(numbers)) if one == other), None)


def too_large(value: object) -> bool:
    r"""Whether an id is an integer of more than 64 bits."""
    return isinstance(value, int) and abs(value) > MAX_ID
