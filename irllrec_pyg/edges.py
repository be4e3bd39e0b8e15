"""What a data set is to the whole package: two edge types, the splits, and their checks."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Dataset, HeteroData

EDGE_TYPE = ("user", "rates", "item")
REVERSE_TYPE = ("item", "rated_by", "user")
#: Where the pairs of each split are, at the edge type.
PAIRS = {"training": "edge_index", "validation": "val_edge_label_index", "test": "edge_label_index"}
#: What is known of held-out users when they are ranked.
HISTORY = "history_edge_index"
#: Those that can be ranked, by the names that ``evaluate`` knows them by.
SPLITS = {"val": PAIRS["validation"], "test": PAIRS["test"]}


def check_data(data: Any) -> HeteroData:
    """Returns a data set's graph as it is, and says what to pass where it is something else.

    Raises:
        TypeError: If it is no :class:`torch_geometric.data.HeteroData`.
        ValueError: If it has no users, no items or no place for training interactions.
    """
    if not isinstance(data, HeteroData):
        hint = "pass its graph, 'dataset[0]'" if isinstance(data, Dataset) else "pass a graph"
        raise TypeError(f"'data' must be a HeteroData, got {type(data).__name__}; {hint}.")
    if EDGE_TYPE not in data.edge_types or "edge_index" not in data[EDGE_TYPE]:
        raise ValueError(
            f"'data' must have training interactions in data{list(EDGE_TYPE)}.edge_index, got the "
            f"edge types {data.edge_types}; 'from_interactions' makes such a graph of a table."
        )
    for side in ("user", "item"):
        if not data[side].num_nodes:
            raise ValueError(
                f"data['{side}'].num_nodes must be at least 1, got {data[side].num_nodes}."
            )
    return data


def check_pairs(pairs: Any, num_users: int, num_items: int, name: str) -> None:
    r"""Checks pairs of user and item.

    Args:
        pairs (Tensor): User ids over item ids, int64 of shape :math:`(2, M)`.
        num_users (int): Number of users.
        num_items (int): Number of items.
        name (str): What messages call the pairs.

    Raises:
        ValueError: If they are no such pairs, or name a user or an item that does not exist.
    """
    if not isinstance(pairs, Tensor):
        raise ValueError(f"{name!r} must be a tensor, got {type(pairs).__name__}.")
    if pairs.dim() != 2 or pairs.size(0) != 2 or pairs.dtype != torch.long:
        raise ValueError(
            f"{name!r} must be int64 of shape (2, M), users over items, got {pairs.dtype} of shape "
            f"{tuple(pairs.shape)}."
        )
    for ids, count, side in zip(pairs, (num_users, num_items), ("user", "item"), strict=True):
        if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= count):
            column = int(((ids < 0) | (ids >= count)).nonzero()[0])
            raise ValueError(
                f"{name!r} must hold {side}s from 0 to {count - 1}, got {side} "
                f"{int(ids[column])} in column {column}."
            )


def known_pairs(data: HeteroData) -> Tensor:
    r"""Every interaction that a data set knows of: training, validation, test, histories.

    Args:
        data (HeteroData): A data set's graph.

    Returns:
        User ids over item ids, int64 of shape :math:`(2, M)`, in no particular order.
    """
    edges = data[EDGE_TYPE]
    parts = [edges.edge_index]
    for name in (*SPLITS.values(), HISTORY, "pos_edge_label_index"):
        if name in edges:
            labels = edges[name]
            if name == "edge_label_index" and "edge_label" in edges:
                labels = labels[:, edges.edge_label > 0]  # PyG's splits draw negatives as well
            parts.append(labels.to(edges.edge_index.device))
    return torch.cat(parts, dim=1)
