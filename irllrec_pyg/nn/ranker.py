"""Whatever scores items for users: models, trained embeddings, baselines."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

Scorer = Callable[[Tensor], Tensor]

# Scores that may exist at once while ranking: 64 MB in float32.
BLOCK_ENTRIES = 1 << 24


class Ranker(torch.nn.Module):
    r"""Base class of everything that ranks items for users.

    A subclass implements :meth:`score`, and :meth:`scorer` where many blocks of users can share
    work.

    Args:
        edge_index (Tensor): Training interactions, user ids over item ids, int64 of shape
            :math:`(2, E)`; :meth:`recommend` leaves them out.
        num_users (int): Number of users.
        num_items (int): Number of items.
        user_ids (sequence, optional): The owner's id of each user. (default: ``0 .. U-1``)
        item_ids (sequence, optional): The owner's id of each item. (default: ``0 .. I-1``)
    """

    seen_ptr: Tensor
    seen_item: Tensor

    def __init__(
        self,
        edge_index: Tensor,
        num_users: int,
        num_items: int,
        user_ids: Sequence[int | str] | None = None,
        item_ids: Sequence[int | str] | None = None,
    ) -> None:
        super().__init__()
        self.num_users, self.num_items = num_users, num_items
        for ids, count, side in ((user_ids, num_users, "user"), (item_ids, num_items, "item")):
            if ids is not None and len(ids) != count:
                raise ValueError(f"'{side}_ids' has {len(ids)} ids for {count} {side}s.")
        self.user_ids, self.item_ids = user_ids, item_ids
        self._user_index: pd.Index[int | str] | None = None
        user, item = edge_index[:, edge_index[0].argsort(stable=True)]
        degree = torch.bincount(user, minlength=num_users)
        self.register_buffer("seen_ptr", torch.cat([degree.new_zeros(1), degree.cumsum(0)]), False)
        self.register_buffer("seen_item", item, False)

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
        start = self.seen_ptr[user]
        count = self.seen_ptr[user + 1] - start
        row = torch.arange(user.numel(), device=user.device).repeat_interleave(count)
        first = torch.cat([count.new_zeros(1), count.cumsum(0)[:-1]])
        within = torch.arange(row.numel(), device=user.device) - first[row]
        return row, self.seen_item[start[row] + within]

    def block_size(self) -> int:
        """Users whose scores fit into memory at once."""
        return max(1, BLOCK_ENTRIES // max(1, self.num_items))

    def recommend(
        self,
        user: Hashable | Iterable[Hashable] | None = None,
        k: int = 20,
        exclude_seen: bool = True,
    ) -> pd.DataFrame:
        """The best items for some users.

        Args:
            user (id or iterable of ids, optional): In the owner's ids. (default: every user)
            k (int, optional): Number of items. (default: ``20``)
            exclude_seen (bool, optional): Whether to leave out the user's training items.
                (default: ``True``)

        Returns:
            Table with the columns ``user``, ``item`` (the owner's ids), ``rank`` (from 1) and
            ``score``. A user who has fewer than ``k`` items left gets fewer rows.

        Raises:
            KeyError: If a user is unknown.
            ValueError: If ``k`` is not positive, or scores are NaN.
        """
        if k < 1:
            raise ValueError(f"'k' must be at least 1, got {k}.")
        position = self._positions(user)
        mode = self.training
        self.eval()
        try:
            with torch.no_grad():
                tables = [
                    self._top(block, k, exclude_seen, scorer)
                    for scorer in [self.scorer()]
                    for block in position.split(self.block_size())
                ]
        finally:
            self.train(mode)
        table = pd.concat(tables, ignore_index=True)
        for side, ids in (("user", self.user_ids), ("item", self.item_ids)):
            if ids is not None:
                table[side] = pd.Series(ids).take(table[side].to_numpy()).array
        return table

    def _top(self, user: Tensor, k: int, exclude_seen: bool, scorer: Scorer) -> pd.DataFrame:
        scores = scorer(user).float()
        if exclude_seen:  # in a copy: the tensor may be the ranker's own
            scores = scores.index_put(self.seen(user), scores.new_tensor(-torch.inf))
        best, item = scores.topk(min(k, self.num_items))
        if best.isnan().any():
            raise ValueError("Scores are NaN; the model has diverged or was never trained.")
        row, column = (best > -torch.inf).nonzero(as_tuple=True)
        columns = {
            "user": user[row],
            "item": item[row, column],
            "rank": column + 1,
            "score": best[row, column],
        }
        return pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})

    def _positions(self, user: Hashable | Iterable[Hashable] | None) -> Tensor:
        device = self.seen_ptr.device
        if user is None:
            return torch.arange(self.num_users, device=device)
        if isinstance(user, (Tensor, np.ndarray)):
            user = np.atleast_1d(user).tolist()
        single = isinstance(user, str) or not isinstance(user, Iterable)
        asked: list[Any] = [user] if single else list(user)  # type: ignore[arg-type]
        if self._user_index is None:
            ids = range(self.num_users) if self.user_ids is None else self.user_ids
            self._user_index = pd.Index(list(ids), dtype=object)
        position = self._user_index.get_indexer(pd.Index(asked, dtype=object))
        if (position < 0).any():
            unknown = [asked[at] for at in (position < 0).nonzero()[0][:3]]
            other = str(unknown[0]) if isinstance(unknown[0], int) else None
            text = other in self._user_index and f" Its ids are text: did you mean {other!r}?"
            raise KeyError(
                f"Unknown user {', '.join(map(repr, unknown))}; users are given by the "
                f"ids of the training data.{text or ''}"
            )
        return torch.as_tensor(position, dtype=torch.long, device=device)


class DotProductRanker(Ranker):
    """Base class of rankers whose scores are dot products of embeddings; see :class:`Ranker`."""

    def embed(self) -> tuple[Tensor, Tensor]:
        r"""Final embeddings of users :math:`(U, d)` and items :math:`(I, d)`."""
        raise NotImplementedError

    def score(self, user: Tensor) -> Tensor:
        r"""Dot products of users with all items, shape :math:`(B, I)`."""
        return self.scorer()(user)

    def scorer(self) -> Scorer:
        """Embeds once and scores any number of blocks of users."""
        users, items = self.embed()
        return lambda user: users[user] @ items.t()
