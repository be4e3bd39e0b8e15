"""What lists are compared with, and whether it belongs to the ranker."""

from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE, SPLITS, check_data
from ..sparse import CSR
from .ranker import Ranker


def labels_of(
    ranker: Ranker, data: HeteroData | Tensor, split: str, exclude_validation: bool
) -> Tensor:
    r"""The pairs that lists are compared with.

    Args:
        ranker (Ranker): What ranks.
        data (HeteroData or Tensor): Data set, or the pairs themselves.
        split (str): ``"val"`` or ``"test"`` of a data set.
        exclude_validation (bool): Whether validation items will be left out.

    Returns:
        User ids over item ids, int64 of shape :math:`(2, M)`.

    Raises:
        TypeError, ValueError: If there are none, or the data set is not the ranker's.
    """
    if split not in SPLITS:
        raise ValueError(f"'split' must be 'val' or 'test', got {split!r}.")
    if isinstance(data, Tensor):
        if exclude_validation:
            raise ValueError("'exclude_validation' needs a data set; give pairs as 'exclude'.")
        return data
    check_data(data)
    if split == "val" and exclude_validation:
        raise ValueError("'exclude_validation' would leave nothing of split 'val' to rank.")
    edges, name = data[EDGE_TYPE], SPLITS[split]
    if name not in edges:
        raise ValueError(
            f"The data set has no {split} interactions: data{list(EDGE_TYPE)} has no {name!r}."
        )
    labels: Tensor = edges[name]
    if "pos_edge_label_index" in edges:
        raise ValueError(
            f"data{list(EDGE_TYPE)} has a 'pos_edge_label_index', as PyG's RandomLinkSplit writes "
            "it, beside the interactions of another split. Pass those to evaluate on, "
            "'evaluate(ranker, pos_edge_label_index)', or split with 'from_interactions'."
        )
    if "edge_label" in edges:
        raise ValueError(
            f"data{list(EDGE_TYPE)} has an 'edge_label', as PyG's RandomLinkSplit writes it; then "
            "'edge_label_index' holds pairs that it drew as negatives. Pass the interactions "
            "themselves, 'evaluate(ranker, edge_label_index[:, edge_label == 1])', or split with "
            "'from_interactions'."
        )
    _check_once(ranker, data, labels, split)
    return labels


# What was checked last for a ranker; training evaluates on the same tensors again and again.
_checked: WeakKeyDictionary[Ranker, dict[str, tuple[Any, ...]]] = WeakKeyDictionary()


def _check_once(ranker: Ranker, data: HeteroData, labels: Tensor, split: str) -> None:
    tensors = data[EDGE_TYPE].edge_index, labels, ranker.seen_item
    countable = not any(tensor.is_inference() for tensor in tensors)  # changes made in place
    last = _checked.setdefault(ranker, {}).get(split, ())
    if countable and len(last) == len(tensors):
        pairs = zip(last, tensors, strict=True)
        if all(kept() is tensor and at == tensor._version for (kept, at), tensor in pairs):
            return
    check_labels(ranker, data, labels, split)
    if countable:
        _checked[ranker][split] = tuple((ref(tensor), tensor._version) for tensor in tensors)


def check_graph(ranker: Ranker, data: HeteroData) -> None:
    """Checks that a ranker was built with the users, items and training interactions of a graph.

    Raises:
        TypeError, ValueError: If it was not, or ``data`` is no graph of a data set.
    """
    check_data(data)
    kind = type(ranker).__name__
    sizes = data["user"].num_nodes, data["item"].num_nodes
    if sizes != (ranker.num_users, ranker.num_items):
        raise ValueError(
            f"The {kind} was built for {ranker.num_users} users and {ranker.num_items} items, and "
            f"'data' has {sizes[0]} and {sizes[1]}; pass the data set that it was built with."
        )
    user, item = data[EDGE_TYPE].edge_index.to(ranker.seen_ptr.device)
    theirs = CSR.from_pairs(user, item, *sizes)
    same_degrees = torch.equal(theirs.ptr, ranker.seen_ptr)
    if not same_degrees or not torch.equal(theirs.col, ranker.seen_item):
        raise ValueError(
            f"The {kind} knows other training interactions than 'data' has, such as those of "
            "another split; pass the data set that it was built with, or the relevant pairs "
            "themselves to 'evaluate'."
        )


def check_labels(ranker: Ranker, data: HeteroData, labels: Tensor, split: str) -> None:
    """Checks a graph by :func:`check_graph`, and that its labels are not its training pairs.

    Raises:
        TypeError, ValueError: If something is wrong.
    """
    check_graph(ranker, data)
    own = labels.to(ranker.seen_ptr.device)
    again = int(CSR(ranker.seen_ptr, ranker.seen_item).contains(own[0], own[1]).sum())
    if again > own.size(1) / 2:
        raise ValueError(
            f"{again} of the {own.size(1)} {split} interactions in data{list(EDGE_TYPE)}."
            f"{SPLITS[split]} are training interactions, which are never ranked; split them with "
            "'from_interactions', or pass the relevant pairs themselves, 'evaluate(ranker, pairs)'."
        )
