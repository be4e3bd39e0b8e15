"""People whom a ranker was not built with, given by what they have."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..sparse import CSR, pointers, ranges
from .ranker import Ranker, Similarity
from .topk import Scorer

History = Sequence[Hashable] | Sequence[Sequence[Hashable]] | pd.DataFrame


@dataclass
class Histories:
    r"""Histories of people, one after the other.

    Args:
        labels (list): What answers call the people.
        pairs (CSR): The items of each, ascending.
        weight (Tensor): The weight of each of these, float32 of shape :math:`(M,)`.
    """

    labels: list[Any]
    pairs: CSR
    weight: Tensor

    def rows(self, person: Tensor, num_items: int) -> Tensor:
        r"""Some histories as rows of weights, sparse CSR of shape :math:`(B, I)`."""
        start, stop = self.pairs.ptr[person], self.pairs.ptr[person + 1]
        row, place = ranges(start, stop)
        ptr = pointers(row, person.numel())
        return torch.sparse_csr_tensor(
            ptr,
            self.pairs.col[place],
            self.weight[place],
            size=(person.numel(), num_items),
            check_invariants=False,
        )


def read_histories(ranker: Ranker, history: Any, weights: Any = None) -> Histories:
    """Reads the histories of one person, of several, or of a table.

    An item that a history holds twice counts once, and with weights by their sum.

    Args:
        ranker (Ranker): Whose items they are.
        history (sequence, sequence of sequences or DataFrame): Items of one person; of several,
            who are called 0, 1, ...; or a table with the columns ``user``, ``item`` and perhaps
            ``weight``.
        weights (sequence or sequence of sequences, optional): A positive number for each item,
            shaped like the history. (default: all count the same)

    Raises:
        KeyError: If an item is unknown.
        TypeError: If something is no history.
        ValueError: If a history is empty, or the weights do not fit or are not positive.
    """
    labels: list[Any]
    if isinstance(history, pd.DataFrame):
        labels, lists, numbers = _from_table(history, weights)
    else:
        labels, lists, numbers = _from_lists(history, weights)
    alone = len(labels) == 1 and not isinstance(history, pd.DataFrame)
    names = ["The history" if alone else f"The history of user {label!r}" for label in labels]
    for name, items in zip(names, lists, strict=True):
        if not items:
            raise ValueError(
                f"{name} is empty; give it an item, or recommend to "
                "everybody alike with 'popularity'."
            )
    row = torch.arange(len(lists)).repeat_interleave(torch.tensor([len(items) for items in lists]))
    given = [item for items in lists for item in items]
    device = ranker.seen_ptr.device
    item = ranker.positions(given, "item")
    weight = torch.ones(len(given), dtype=torch.float64)
    if numbers is not None:
        weight = _read_weights(numbers, lists, names)
    key, inverse = (row.to(device) * ranker.num_items + item).unique(return_inverse=True)
    total = torch.zeros(key.numel(), dtype=torch.float64, device=device)
    total.index_add_(0, inverse, weight.to(device))
    if numbers is None:
        total.fill_(1.0)
    pairs = CSR(pointers(key // ranker.num_items, len(lists)), key % ranker.num_items)
    return Histories(labels, pairs, total.float())


def _from_table(
    table: pd.DataFrame, weights: Any
) -> tuple[list[Any], list[list[Any]], list[list[Any]] | None]:
    if weights is not None:
        raise ValueError("A table of histories has its weights in a column 'weight'.")
    for column in ("user", "item"):
        if column not in table:
            raise ValueError(
                f"A table of histories needs a column {column!r}; its columns are "
                f"{', '.join(map(str, table.columns)) or 'none'}."
            )
    if table.empty:
        raise ValueError("The table of histories has no row.")
    if table["user"].isna().any():
        row = int(np.flatnonzero(table["user"].isna())[0])
        raise ValueError(f"The table of histories has no user in row {row}.")
    place, labels = pd.factorize(table["user"])
    lists: list[list[Any]] = [[] for _ in labels]
    numbers: list[list[Any]] | None = [[] for _ in labels] if "weight" in table else None
    for at, item in zip(place, table["item"].tolist(), strict=True):
        lists[at].append(item)
    if numbers is not None:
        for at, weight in zip(place, table["weight"].tolist(), strict=True):
            numbers[at].append(weight)
    return list(labels.tolist()), lists, numbers


def _from_lists(
    history: Any, weights: Any
) -> tuple[list[Any], list[list[Any]], list[list[Any]] | None]:
    outer = _listed(history, "history")
    nested = [not isinstance(one, (str, bytes)) and isinstance(one, Iterable) for one in outer]
    if any(nested) and not all(nested):
        raise TypeError("'history' must be item ids, or lists of item ids; it holds both.")
    several = bool(outer) and all(nested)
    lists = [_listed(one, "history") for one in outer] if several else [outer]
    numbers = None
    if weights is not None:
        own = _listed(weights, "weights")
        inner = [not isinstance(one, (str, bytes)) and isinstance(one, Iterable) for one in own]
        if inner and (any(inner) != several or all(inner) != several):
            raise ValueError("'weights' must be shaped like 'history'.")
        numbers = [_listed(one, "weights") for one in own] if several else [own]
        if len(numbers) != len(lists):
            raise ValueError(f"'weights' are of {len(numbers)} people for {len(lists)} histories.")
    return list(range(len(lists))), lists, numbers


def _listed(value: Any, name: str) -> list[Any]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"'{name}' must be a list, got {value!r}.")
    if isinstance(value, (Tensor, np.ndarray, pd.Series, pd.Index)):
        return list(value.tolist())
    return list(value)


def _read_weights(numbers: list[list[Any]], lists: list[list[Any]], names: list[str]) -> Tensor:
    for name, items, own in zip(names, lists, numbers, strict=True):
        if len(items) != len(own):
            raise ValueError(f"{name} has {len(own)} weights for {len(items)} items.")
        for item, weight in zip(items, own, strict=True):
            is_number = isinstance(weight, (int, float, np.number)) and not isinstance(weight, bool)
            if not is_number or not 0 < weight < float("inf"):
                raise ValueError(
                    f"{name}: the weight of item {item!r} must be a positive number, got "
                    f"{weight!r}; leave out what somebody dislikes."
                )
    return torch.tensor([float(weight) for own in numbers for weight in own], dtype=torch.float64)


class HistoryRanker(Ranker):
    """Ranks for people by their histories, which are their training interactions here.

    Args:
        ranker (Ranker): The model.
        histories (Histories): The people.

    Raises:
        NotImplementedError: If the model cannot rank by histories.
    """

    def __init__(self, ranker: Ranker, histories: Histories) -> None:
        pairs = torch.stack([histories.pairs.rows(), histories.pairs.col])
        # The ids were checked when the model was built: that takes long for many items.
        super().__init__(pairs, len(histories.labels), ranker.num_items, histories.labels)
        self.item_ids, self.item_table = ranker.item_ids, ranker.item_table
        self.share_index(ranker)
        self.ranker, self.histories = ranker, histories
        self.train(ranker.training)

    def scorer(self) -> Scorer:
        """Prepares once and scores any number of blocks of people."""
        score_rows = self.ranker.history_scorer()
        return lambda user: score_rows(self.histories.rows(user, self.num_items))

    def score(self, user: Tensor) -> Tensor:
        r"""Scores of all items, shape :math:`(B, I)`."""
        return self.scorer()(user)

    def item_similarity(self) -> Similarity:
        """That of the model."""
        return self.ranker.item_similarity()
