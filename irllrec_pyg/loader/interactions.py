"""The training interactions as the loader needs them: checked, sorted, on one device."""

import operator
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from .draws import uniform_below

USER_TO_ITEM = ("user", "rates", "item")
ITEM_TO_USER = ("item", "rated_by", "user")


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


def segment_pointer(index: Tensor, num_segments: int) -> Tensor:
    r"""Where each segment of a sorted ``index`` starts, and in the end its length."""
    pointer = index.new_zeros(num_segments + 1)
    torch.cumsum(torch.bincount(index, minlength=num_segments), dim=0, out=pointer[1:])
    return pointer


class Interactions:
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
        if not isinstance(data, HeteroData):
            raise TypeError(f"'data' must be a HeteroData, got {type(data).__name__}.")
        if USER_TO_ITEM not in data.edge_types or "edge_index" not in data[USER_TO_ITEM]:
            raise ValueError(
                f"'data' must have an 'edge_index' for the edge type {USER_TO_ITEM}, got the edge "
                f"types {data.edge_types}."
            )
        self.num_users = _num_nodes(data, "user")
        self.num_items = _num_nodes(data, "item")
        edge_index = data[USER_TO_ITEM].edge_index
        _check_edge_index(edge_index, self.num_users, self.num_items)
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
                    f"'edge_index' of {USER_TO_ITEM} holds the interaction of user {user} with "
                    f"item {item} more than once; merge duplicates, for example with "
                    f"torch_geometric.utils.coalesce."
                )
        self.item_by_user = pair % self.num_items
        self.user_pointer = segment_pointer(pair // self.num_items, self.num_users)
        self.user_degree = self.user_pointer.diff()
        self.item_degree = torch.bincount(self.item, minlength=self.num_items)
        self.num_negatives_of_user = self.num_items - self.user_degree
        self._check_nobody_has_everything(data)

        # For the k-th (k = 0, 1, ...) item i_k of a user, i_k - k items before it are not the
        # user's. That never falls within a user, so user * stride + i_k - k is sorted as a whole.
        self._stride = self.num_items + 1
        by_user = pair // self.num_items
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


def _num_nodes(data: HeteroData, node_type: str) -> int:
    num_nodes = data[node_type].num_nodes if node_type in data.node_types else None
    if num_nodes is None:
        raise ValueError(f"data[{node_type!r}].num_nodes must be set, got None.")
    if num_nodes < 1:
        raise ValueError(f"data[{node_type!r}].num_nodes must be at least 1, got {num_nodes}.")
    return int(num_nodes)


def _check_edge_index(edge_index: Any, num_users: int, num_items: int) -> None:
    name = f"'edge_index' of {USER_TO_ITEM}"
    if not isinstance(edge_index, Tensor) or edge_index.dim() != 2 or edge_index.size(0) != 2:
        got = list(edge_index.shape) if isinstance(edge_index, Tensor) else type(edge_index)
        raise ValueError(f"{name} must be a tensor of shape [2, num_edges], got {got}.")
    if edge_index.dtype != torch.long:
        raise ValueError(f"{name} must hold 64-bit integers, got {edge_index.dtype}.")
    if edge_index.size(1) == 0:
        raise ValueError(f"{name} must hold interactions to draw triplets from, got none.")
    for row, (node_type, num_nodes) in enumerate([("user", num_users), ("item", num_items)]):
        wrong = ((edge_index[row] < 0) | (edge_index[row] >= num_nodes)).nonzero()
        if wrong.numel() > 0:
            column = int(wrong[0, 0])
            raise ValueError(
                f"{name} holds {node_type} {int(edge_index[row, column])} in column {column}, "
                f"but 'data' has the {num_nodes} {node_type}s 0 to {num_nodes - 1}."
            )
