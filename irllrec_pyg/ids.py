r"""The owner's ids, which may come from a file that nobody vouches for."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

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


def plain_id(value: Any, where: str) -> int | str:
    r"""Gives an id as a Python integer or string.

    Args:
        value (object): The id.
        where (str): Where it is, for the message.

    Raises:
        ValueError: For any other kind of value.
    """
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # what pandas makes of integers in a column that once had a gap
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(
            f"{where} has the id {value!r} of type {type(value).__name__}; ids must be integers or "
            "strings, which .astype(str) makes of a column"
        )
    if too_large(value):
        raise ValueError(
            f"{where} has the id {value}, and integers must fit into 64 bits: use text"
        )
    return str(value) if isinstance(value, str) else value


def distinct_ids(ids: Any, count: int, side: str) -> Sequence[int | str] | None:
    r"""The owner's ids as they are, those of a tensor or an array as a list.

    Args:
        ids (sequence, Tensor or array, optional): The ids.
        count (int): How many there must be.
        side (str): Whose they are, ``"user"`` or ``"item"``.

    Raises:
        ValueError: If there are more or fewer, or an id occurs twice.
    """
    plain: Sequence[int | str] | None = ids.tolist() if hasattr(ids, "tolist") else ids
    if plain is None:
        return None
    if len(plain) != count:
        raise ValueError(f"'{side}_ids' has {len(plain)} ids for {count} {side}s.")
    if len(set(plain)) < count:
        twice = Counter(plain).most_common(1)[0][0]
        raise ValueError(f"'{side}_ids' must be distinct, got {twice!r} more than once.")
    return plain
