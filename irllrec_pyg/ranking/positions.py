"""What every ranker is made of: interactions, ids, and lists of positions."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..edges import check_pairs
from ..ids import distinct_ids
from ..sparse import CSR
from .item_table import by_id
from .owners import Owners
from .topk import Scorer, ranked_lists

Exclude = Literal["known", "train"] | Tensor | None

# Scores that may exist at once while ranking: 64 MB in float32.
BLOCK_ENTRIES = 1 << 24


class PositionRanker(torch.nn.Module):
    r"""Ranks items for users by their positions; see :class:`~irllrec_pyg.ranking.Ranker`, whose
    arguments it has.
    """

    seen_ptr: Tensor
    seen_item: Tensor
    known_ptr: Tensor
    known_item: Tensor

    def __init__(
        self,
        edge_index: Tensor,
        num_users: int,
        num_items: int,
        user_ids: Sequence[int | str] | None = None,
        item_ids: Sequence[int | str] | None = None,
        known: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.num_users, self.num_items = num_users, num_items
        self.user_ids = distinct_ids(user_ids, num_users, "user")
        self.item_ids = distinct_ids(item_ids, num_items, "item")
        self.info: dict[str, Any] = {}  # what was saved with a model that was loaded
        self._item_table: pd.DataFrame | None = None
        self.text_encoder: Any = None
        self._owners: dict[str, Owners] = {}
        pairs = self.check_pairs(edge_index, "edge_index")
        self.register_buffer("seen_ptr", pairs.ptr, False)
        self.register_buffer("seen_item", pairs.col, False)
        if known is not None:
            known = known.to(edge_index.device)
            self.check_pairs(known, "known")
            pairs = self.check_pairs(torch.cat([edge_index, known], 1), "known")
        self.register_buffer("known_ptr", pairs.ptr, False)
        self.register_buffer("known_item", pairs.col, False)

    @property
    def item_table(self) -> pd.DataFrame | None:
        """A table of the items, indexed by the owner's ids; see :class:`~.ranking.Ranker`."""
        return self._item_table

    @item_table.setter
    def item_table(self, table: pd.DataFrame | None) -> None:
        own = table is not None and "item" in table and table.index.name != "item"
        self._item_table = by_id(table, self.ids("item")) if table is not None and own else table

    def score(self, user: Tensor) -> Tensor:
        """Scores of all items.

        Args:
            user (Tensor): User positions, int64 of shape :math:`(B,)`.

        Returns:
            Tensor of shape :math:`(B, I)`; nothing is masked.
        """
        raise NotImplementedError

    def scorer(self) -> Scorer:
        """A function like :meth:`score` for many calls between which nothing changes."""
        return self.score

    def embed(self) -> tuple[Tensor, Tensor] | None:
        """Final embeddings of users and items whose dot products are the scores, or nothing."""
        return None

    def seen(self, user: Tensor) -> tuple[Tensor, Tensor]:
        """Training items of some users.

        Args:
            user (Tensor): User positions, int64 of shape :math:`(B,)`.

        Returns:
            Row in ``user`` and item of each training interaction, both of shape :math:`(M,)`.
        """
        return CSR(self.seen_ptr, self.seen_item).of(user)

    def block_size(self) -> int:
        """Users whose scores fit into memory at once."""
        return max(1, BLOCK_ENTRIES // max(1, self.num_items))

    @torch.no_grad()
    def topk(
        self,
        user: Tensor,
        k: int,
        exclude: Exclude = "known",
        candidates: Tensor | None = None,
        block_size: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        r"""The best items of some users; equal scores are listed by ascending item.

        Args:
            user (Tensor): User positions, int64 of shape :math:`(B,)`.
            k (int): Length of the lists.
            exclude (str or Tensor, optional): What is not ranked: ``"known"``, every interaction
                that the data set knows of, ``"train"``, the training interactions only, pairs of
                shape :math:`(2, M)`, or nothing. (default: ``"known"``)
            candidates (Tensor, optional): Positions of the items that are ranked, int64 of shape
                :math:`(C,)`. (default: all items)
            block_size (int, optional): Users that are scored at once.
                (default: as many as score into 64 MB, at most 128 on the CPU)

        Returns:
            Item positions and scores in descending order, both of shape :math:`(B, k)`. Where
            fewer items are left, ``-1`` and minus infinity follow.

        Raises:
            ValueError: If an argument is wrong, or scores are NaN.
        """
        check_length(k)
        user = self._check_positions(user, self.num_users, "user")
        if candidates is not None:
            candidates = self.check_items(candidates)
        return self.lists(user, k, self.hidden_items(exclude), candidates, block_size)

    def lists(
        self,
        user: Tensor,
        k: int,
        hidden: CSR | None,
        candidates: Tensor | None,
        block_size: int | None,
    ) -> tuple[Tensor, Tensor]:
        """What :meth:`topk` returns, of arguments that were checked; hidden items are left out."""
        with self.ranking():
            lists = list(ranked_lists(self, user, k, hidden, candidates, block_size))
        _, item, score = (torch.cat(parts) for parts in zip(*lists, strict=True))
        return item, score

    def hidden_items(self, exclude: Exclude) -> CSR | None:
        """The items of each user that are not ranked.

        Args:
            exclude (str or Tensor, optional): As in :meth:`topk`.
        """
        if exclude is None:
            return None
        if isinstance(exclude, Tensor):
            return self.check_pairs(exclude.to(self.seen_ptr.device), "exclude")
        if isinstance(exclude, str) and exclude == "known":
            return CSR(self.known_ptr, self.known_item)
        if isinstance(exclude, str) and exclude == "train":
            return CSR(self.seen_ptr, self.seen_item)
        raise ValueError(f"'exclude' must be 'known', 'train', None or pairs, got {exclude!r}.")

    def check_pairs(self, pairs: Tensor, name: str) -> CSR:
        r"""Checks pairs of user and item, sorts them, and drops duplicates.

        Args:
            pairs (Tensor): User ids over item ids, int64 of shape :math:`(2, M)`.
            name (str): What messages call them.

        Raises:
            ValueError: If they are no such pairs, or name a user or an item that does not exist.
        """
        sizes = self.num_users, self.num_items
        check_pairs(pairs, *sizes, name)
        key = (pairs[0] * self.num_items + pairs[1]).unique()
        return CSR.from_pairs(key // self.num_items, key % self.num_items, *sizes)

    @contextmanager
    def ranking(self) -> Iterator[None]:
        """Evaluation mode without autocast, in which lists are made."""
        mode = self.training
        self.eval()
        try:
            with torch.autocast(self.seen_ptr.device.type, enabled=False):
                yield
        finally:
            self.train(mode)

    def check_items(self, candidates: Tensor) -> Tensor:
        """Checks positions of items, and brings them to the ranker's device.

        Raises:
            ValueError: If they are none.
        """
        return self._check_positions(candidates, self.num_items, "candidates")

    def _check_positions(self, position: Tensor, count: int, name: str) -> Tensor:
        wrong = position.dim() != 1 or position.dtype != torch.long
        if wrong or bool(((position < 0) | (position >= count)).any()):
            raise ValueError(
                f"{name!r} must be positions from 0 to {count - 1}, int64 in one row, got "
                f"{position}."
            )
        return position.to(self.seen_ptr.device)

    def positions(self, asked: Hashable | Iterable[Hashable] | None, side: str) -> Tensor:
        """Positions of users or items that are given by the owner's ids.

        Args:
            asked (id or iterable of ids, optional): The ids. (default: all)
            side (str): Whose, ``"user"`` or ``"item"``.

        Raises:
            KeyError: If an id is unknown; names it.
            TypeError: If what is given for an id cannot be one.
        """
        return self.owners(side).positions(asked).to(self.seen_ptr.device)

    def ids(self, side: str) -> Sequence[int | str]:
        """The owner's ids of users or items, by position."""
        ids: Sequence[int | str] | None = getattr(self, f"{side}_ids")
        return range(getattr(self, f"num_{side}s")) if ids is None else ids

    def owners(self, side: str) -> Owners:
        """The owner's ids with their positions; they are made when they are first asked for."""
        if side not in self._owners:
            self._owners[side] = Owners(self.ids(side), side)
        return self._owners[side]

    def share_index(self, other: "PositionRanker") -> None:
        """Takes the positions of another ranker's items, which are this one's too."""
        self._owners["item"] = other.owners("item")


def check_length(k: Any) -> None:
    """Checks the length of lists.

    Raises:
        ValueError: If it is none.
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"'k' must be a whole number, at least 1, got {k!r}.")
