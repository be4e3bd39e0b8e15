"""Whatever scores items for users: models, trained embeddings, closed-form models."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE, check_data, check_pairs, known_pairs
from ..ids import distinct_ids
from ..sparse import CSR
from .topk import DotProducts, Scorer, ranked_lists

Exclude = Literal["known", "train"] | Tensor | None

# Scores that may exist at once while ranking: 64 MB in float32.
BLOCK_ENTRIES = 1 << 24


def ranker_arguments(data: HeteroData) -> dict[str, Any]:
    """What :class:`Ranker` is built with, taken from a data set's graph.

    Raises:
        TypeError, ValueError: If it is no such graph; see
            :func:`irllrec_pyg.edges.check_data`.
    """
    check_data(data)
    return {
        "edge_index": data[EDGE_TYPE].edge_index,
        "num_users": data["user"].num_nodes,
        "num_items": data["item"].num_nodes,
        "user_ids": data["user"].get("raw_id"),
        "item_ids": data["item"].get("raw_id"),
        "known": known_pairs(data),
    }


class Ranker(torch.nn.Module):
    r"""Base class of everything that ranks items for users.

    A subclass implements :meth:`score`, and :meth:`scorer` where many blocks of users can share
    work.

    Args:
        edge_index (Tensor): Training interactions, user ids over item ids, int64 of shape
            :math:`(2, E)`.
        num_users (int): Number of users.
        num_items (int): Number of items.
        user_ids (sequence, optional): The owner's id of each user. (default: ``0 .. U-1``)
        item_ids (sequence, optional): The owner's id of each item. (default: ``0 .. I-1``)
        known (Tensor, optional): All interactions that the data set knows of, those for validation
            and test included, int64 of shape :math:`(2, M)`; :meth:`recommend` leaves them out.
            (default: the training interactions)
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
        self._index: dict[str, pd.Index[int | str]] = {}
        pairs = self.check_pairs(edge_index, "edge_index")
        self.register_buffer("seen_ptr", pairs.ptr, False)
        self.register_buffer("seen_item", pairs.col, False)
        if known is not None:
            known = known.to(edge_index.device)
            self.check_pairs(known, "known")
            pairs = self.check_pairs(torch.cat([edge_index, known], 1), "known")
        self.register_buffer("known_ptr", pairs.ptr, False)
        self.register_buffer("known_item", pairs.col, False)

    def score(self, user: Tensor) -> Tensor:
        """Scores of all items.

        Args:
            user (Tensor): User positions, int64 of shape :math:`(B,)`.

        Returns:
            Tensor of shape :math:`(B, I)`; nothing is masked.
        """
        raise NotImplementedError

    def score_history(self, history: Tensor) -> Tensor:
        r"""Scores of all items for users whom the ranker need not know, by their interactions.

        Args:
            history (Tensor): One at the items of each user, else zero; dense or sparse, of shape
                :math:`(B, I)`.

        Returns:
            Tensor of shape :math:`(B, I)`; nothing is masked.

        Raises:
            NotImplementedError: If the ranker knows users by embeddings of their own alone.
            ValueError: If the history has another shape.
        """
        raise NotImplementedError(
            f"{type(self).__name__} scores the users that it was built with alone; closed-form "
            "models such as 'ease' and 'bilinear-text' score histories of others."
        )

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
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise ValueError(f"'k' must be a whole number, at least 1, got {k!r}.")
        user = self._check_positions(user, self.num_users, "user")
        if candidates is not None:
            candidates = self.check_items(candidates)
        hidden = self.hidden_items(exclude)
        with self.ranking():
            lists = list(ranked_lists(self, user, k, hidden, candidates, block_size))
        _, item, score = (torch.cat(parts) for parts in zip(*lists, strict=True))
        return item, score

    def recommend(
        self,
        user: Hashable | Iterable[Hashable] | None = None,
        k: int = 20,
        exclude: Exclude = "known",
        candidates: Iterable[Hashable] | None = None,
    ) -> pd.DataFrame:
        """The best items for some users.

        Args:
            user (id or iterable of ids, optional): In the owner's ids. (default: every user)
            k (int, optional): Number of items. (default: ``20``)
            exclude (str or Tensor, optional): What is left out, as in :meth:`topk`; by default
                everything that the data set knows of the user. (default: ``"known"``)
            candidates (iterable of ids, optional): The items to choose from, in the owner's ids.
                (default: all items)

        Returns:
            Table with the columns ``user``, ``item`` (the owner's ids), ``rank`` (from 1) and
            ``score``. A user who has fewer than ``k`` items left gets fewer rows.

        Raises:
            KeyError: If a user or a candidate is unknown.
            TypeError: If what is given for an id cannot be one, such as a mask's ``True``.
            ValueError: If ``k`` is not positive, ``exclude`` is unknown, or scores are NaN.
        """
        position = self._positions(user, "user")
        items = None if candidates is None else self._positions(candidates, "item")
        listed, score = self.topk(position, k, exclude, items)
        row, column = (listed >= 0).nonzero(as_tuple=True)
        columns = {
            "user": position[row],
            "item": listed[row, column],
            "rank": column + 1,
            "score": score[row, column].float(),
        }
        table = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
        for side, ids in (("user", self.user_ids), ("item", self.item_ids)):
            if ids is not None:
                table[side] = pd.Series(ids).take(table[side].to_numpy()).array
        return table

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

    def _positions(self, asked: Hashable | Iterable[Hashable] | None, side: str) -> Tensor:
        """Positions of users or items that are given by the owner's ids."""
        device = self.seen_ptr.device
        count, ids = getattr(self, f"num_{side}s"), getattr(self, f"{side}_ids")
        if asked is None:
            return torch.arange(count, device=device)
        if isinstance(asked, (Tensor, np.ndarray)):
            asked = np.atleast_1d(asked).tolist()
        single = isinstance(asked, (str, bytes)) or not isinstance(asked, Iterable)
        wanted: list[Any] = [asked] if single else list(asked)  # type: ignore[arg-type]
        for value in wanted:  # a mask's True equals the id 1
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, Hashable):
                raise TypeError(f"'{side}' must be an id or a list of ids, got {value!r} in it.")
        if side not in self._index:
            self._index[side] = pd.Index(list(range(count) if ids is None else ids), dtype=object)
        position = self._index[side].get_indexer(pd.Index(wanted, dtype=object))
        if (position < 0).any():
            unknown = [wanted[at] for at in (position < 0).nonzero()[0][:3]]
            text = isinstance(unknown[0], int) and str(unknown[0]) in self._index[side]
            hint = f" Its ids are text: did you mean {str(unknown[0])!r}?" if text else ""
            raise KeyError(
                f"Unknown {side} {', '.join(map(repr, unknown))}; {side}s are given by the "
                f"ids of the training data.{hint}"
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
        return DotProducts(*self.embed())
