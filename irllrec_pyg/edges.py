"""What a data set is to the whole package: two edge types, the splits, and their checks."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Dataset, HeteroData

EDGE_TYPE = ("user", "rates", "item")
REVERSE_TYPE = ("item", "rated_by", "user")
SPLITS = {"val": "val_edge_label_index", "test": "edge_label_index"}


def check_data(data: Any) -> HeteroData:
    """Returns a data set's graph as it is, and says what to pass where it is something else.

    Raises:
        TypeError: If it is no :class:`torch_geometric.data.HeteroData`.
        ValueError: If it lacks users, items or training interactions.
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
        if data[side].num_nodes is None:
            raise ValueError(f"data['{side}'].num_nodes must be set, got None.")
    return data


def known_pairs(data: HeteroData) -> Tensor:
    r"""Every interaction that a data set knows of: training, validation and test.

    Args:
        data (HeteroData): A data set's graph.

    Returns:
        User ids over item ids, int64 of shape :math:`(2, M)`, in no particular order.
    """
    edges = data[EDGE_TYPE]
    parts = [edges.edge_index]
    for name in (*SPLITS.values(), "pos_edge_label_index"):
        if name in edges:
            labels = edges[name]
            if name == "edge_label_index" and "edge_label" in edges:
                labels = labels[:, edges.edge_label > 0]  # PyG's splits draw negatives as well
            parts.append(labels.to(edges.edge_index.device))
    return torch.cat(parts, dim=1)
