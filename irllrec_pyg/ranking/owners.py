"""The owner's ids, and where they stand."""

from collections.abc import Hashable, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor


class Owners:
    """Ids of users or items by position, and positions by id.

    Args:
        ids (sequence): The ids.
        side (str): Whose, ``"user"`` or ``"item"``.
    """

    def __init__(self, ids: Sequence[int | str], side: str) -> None:
        self.ids, self.side = ids, side

    @cached_property
    def _index(self) -> "pd.Index[Any]":
        return pd.Index(list(self.ids), dtype=object)

    @cached_property
    def _series(self) -> "pd.Series[Any]":
        return pd.Series(self.ids)

    def __contains__(self, value: object) -> bool:
        return value in self._index

    def take(self, position: NDArray[np.int64]) -> Any:
        """Ids at positions, as a column of a table."""
        return self._series.take(position).array

    def positions(self, asked: Hashable | Iterable[Hashable] | None) -> Tensor:
        """Positions of ids; of all if none are given.

        Raises:
            KeyError: If an id is unknown; names it.
            TypeError: If what is given for an id cannot be one.
        """
        if asked is None:
            return torch.arange(len(self.ids))
        if isinstance(asked, (Tensor, np.ndarray)):
            asked = np.atleast_1d(asked).tolist()
        single = isinstance(asked, (str, bytes)) or not isinstance(asked, Iterable)
        wanted: list[Any] = [asked] if single else list(asked)  # type: ignore[arg-type]
        for value in wanted:  # a mask's True equals the id 1
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, Hashable):
                raise TypeError(
                    f"'{self.side}' must be an id or a list of ids, got {value!r} in it."
                )
        position = self._index.get_indexer(pd.Index(wanted, dtype=object))
        if (position < 0).any():
            unknown = [wanted[at] for at in (position < 0).nonzero()[0][:3]]
            text = isinstance(unknown[0], int) and str(unknown[0]) in self._index
            hint = f" Its ids are text: did you mean {str(unknown[0])!r}?" if text else ""
            raise KeyError(
                f"Unknown {self.side} {', '.join(map(repr, unknown))}; {self.side}s are given by "
                f"the ids of the training data.{hint}"
            )
        return torch.as_tensor(position, dtype=torch.long)
