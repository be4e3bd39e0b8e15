"""The training interactions as the loader needs them: checked, sorted, on one device."""

import operator
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE, check_data, check_pairs
from ..sparse import pointers
from .draws import uniform_below


def as_int(value: Any, name: str, low: int | None = None) -> int:
    r"""Reads an argument that must be a whole number of at least ``low``."""
    wanted = "a whole number" + ("" if low is None else f" of at least {low}")
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"'{name}' must be {wanted}, got {value!r}.") from None
    if low is not None and number < low:
        raise ValueError(f"'{name}' must be {wanted}, got {number}.")
    return number


class InteractionIndex:
    r"""The interactions ``data['user', 'rates', 'item'].edge_index`` of a training graph.

    Args:
        data (torch_geometric.data.HeteroData): The graph. Only ``num_nodes`` of both node
            types, ``edge_index`` and, for messages, ``data['user'].raw_id`` are read.
        device (torch.device or str, optional): Where to keep the tensors.
            (default: the device of ``edge_index``)

    Raises:
        ValueError: If the graph is empty, has an interaction twice or out of range, or has a
            user who interacted with every item.
    """

    def __init__(self, data: HeteroData, device: torch.device | str | None = None) -> None:
        check_data(data)
        self.num_users, self.num_items = int(data["user"].num_nodes), int(data["item"].num_nodes)
        edge_index = data[EDGE_TYPE].edge_index
        check_pairs(edge_index, self.num_users, self.num_items, "edge_index")
        if edge_index.size(1) == 0:
            raise ValueError("'edge_index' must hold interactions to draw triplets from, got none.")
        if device is not None:
            edge_index = edge_index.to(device)

        self.edge_index: Tensor = edge_index.contiguous()
        self.user: Tensor = self.edge_index[0]
        self.item: Tensor = self.edge_index[1]
        pair = self.user * self.num_items + self.item
        # Published and processed graphs are sorted; then no order has to be kept.
        self.edge_by_user: Tensor | None = None
        if not bool((pair[1:] > pair[:-1]).all()):
            pair, self.edge_by_user = torch.sort(pair)
            repeated = (pair[1:] == pair[:-1]).nonzero()
            if repeated.numel() > 0:
                user, item = divmod(int(pair[repeated[0, 0]]), self.num_items)
                raise ValueError(
                    f"'edge_index' holds the interaction of user {user} with item {item} more than "
                    "once; merge duplicates, for example with torch_geometric.utils.coalesce."
                )
        self.item_by_user = pair % self.num_items
        by_user = pair // self.num_items
        self.user_pointer = pointers(by_user, self.num_users)
        self.user_degree = self.user_pointer.diff()
        self.item_degree = torch.bincount(self.item, minlength=self.num_items)
        self.num_negatives_of_user = self.num_items - self.user_degree
        self._check_nobody_has_everything(data)

        # For the k-th (k = 0, 1, ...) item i_k of a user, i_k - k items before it are not the
        # user's. That never falls within a user, so user * stride + i_k - k is sorted as a whole.
        self._stride = self.num_items + 1
        position = torch.arange(pair.numel(), device=pair.device) - self.user_pointer[by_user]
        self._gap_key = by_user * self._stride + self.item_by_user - position

    def __len__(self) -> int:
        return self.user.numel()

    @property
    def device(self) -> torch.device:
        r"""Where the tensors are."""
        return self.user.device

    def negative_items(self, user: Tensor, key: int, counter: Tensor) -> Tensor:
        r"""One item a user that the user has no training interaction with, uniform over them.

        Exact, with no rejection and hence no loop: the user's number of such items is known.

        Args:
            user (torch.Tensor): Users, of any shape.
            key (int): The random stream, see :meth:`~irllrec_pyg.loader.draws.stream_key`.
            counter (torch.Tensor): Which numbers of the stream, broadcast against ``user``.
        """
        return self.nth_negative_item(
            user, uniform_below(key, counter, self.num_negatives_of_user[user])
        )

    def nth_negative_item(self, user: Tensor, n: Tensor) -> Tensor:
        r"""The ``n``-th item, counted from 0, that the user has no training interaction with.

        Args:
            user (torch.Tensor): Users, of any shape.
            n (torch.Tensor): Numbers below those of the users' negative items, broadcast against
                ``user``.
        """
        # It comes after those of the user's items i_k that have i_k - k <= n, and so is n moved
        # up by one for each of them.
        items_before = torch.searchsorted(self._gap_key, user * self._stride + n, right=True)
        return n + items_before - self.user_pointer[user]

    def to_data(self) -> HeteroData:
        r"""The interactions and the numbers of nodes as a graph, without anything else."""
        data = HeteroData()
        data["user"].num_nodes, data["item"].num_nodes = self.num_users, self.num_items
        data[EDGE_TYPE].edge_index = self.edge_index
        return data

    def _check_nobody_has_everything(self, data: HeteroData) -> None:
        full = (self.num_negatives_of_user == 0).nonzero().flatten()
        if full.numel() == 0:
            return
        first = int(full[0])
        raw_id = data["user"].get("raw_id")
        name = "" if raw_id is None else f" (id {raw_id[first]!r})"
        others = "" if full.numel() == 1 else f", and so have {full.numel() - 1} other users"
        raise ValueError(
            f"User {first}{name} has a training interaction with every one of the "
            f"{self.num_items} items{others}: there is no negative to draw. Leave such users "
            f"out of the training interactions."
        )
