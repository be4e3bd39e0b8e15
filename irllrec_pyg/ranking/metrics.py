r"""Metrics of ranked lists.

Those of users take hits of shape :math:`(B, k)`, one where the item at a place of the list is
relevant and zero elsewhere, and the number of relevant items of each user, at least one, of shape
:math:`(B,)`; they return values of shape :math:`(B,)`. A list that is shorter than :math:`k` ends
with zeros.
"""

from collections.abc import Callable

import torch
from torch import Tensor

UserMetric = Callable[[Tensor, Tensor], Tensor]


def _places(hit: Tensor) -> Tensor:
    return torch.arange(1, hit.size(1) + 1, dtype=hit.dtype, device=hit.device)


def _ndcg(hit: Tensor, relevant: Tensor) -> Tensor:
    gain = 1 / (_places(hit) + 1).log2()
    return hit @ gain / gain.cumsum(0)[relevant.clamp(max=hit.size(1)) - 1]


def _average_precision(hit: Tensor, relevant: Tensor) -> Tensor:
    return (hit * hit.cumsum(1) / _places(hit)).sum(1) / relevant.clamp(max=hit.size(1))


#: Averages over users, which compare a user's list with the user's relevant items.
USER_METRICS: dict[str, UserMetric] = {
    "recall": lambda hit, relevant: hit.sum(1) / relevant,
    "precision": lambda hit, relevant: hit.mean(1),
    "f1": lambda hit, relevant: 2 * hit.sum(1) / (hit.size(1) + relevant),
    "ndcg": _ndcg,
    "map": _average_precision,
    "mrr": lambda hit, relevant: (hit / _places(hit)).amax(1),
    "hit": lambda hit, relevant: hit.amax(1),
}


class Coverage:
    """The share of the ranked items that stand in any list.

    Args:
        count (Tensor): Training interactions of each item, shape :math:`(I,)`.
        candidates (Tensor, optional): Items that are ranked, each once. (default: all)
    """

    def __init__(self, count: Tensor, candidates: Tensor | None = None) -> None:
        self.num_ranked = len(count) if candidates is None else len(candidates)
        # The last place stands for what is missing in short lists, which is number -1.
        self.listed = torch.zeros(len(count) + 1, dtype=torch.bool, device=count.device)

    def update(self, item: Tensor) -> None:
        """Takes lists of shape :math:`(B, k)`, filled up with ``-1``."""
        self.listed[item] = True

    def compute(self) -> float:
        """The value over all lists so far."""
        return float(self.listed[:-1].double().sum() / self.num_ranked)


class Popularity:
    """The mean number of training interactions of a list's items, averaged over the lists.

    Args:
        count, candidates: As of :class:`Coverage`.
    """

    def __init__(self, count: Tensor, candidates: Tensor | None = None) -> None:
        self.count = torch.cat([count, count.new_zeros(1)])
        self.means: list[Tensor] = []

    def update(self, item: Tensor) -> None:
        """Takes lists of shape :math:`(B, k)`, filled up with ``-1``."""
        self.means.append(self.count[item].double().sum(1) / (item >= 0).sum(1))  # NaN if empty

    def compute(self) -> float:
        """The value over all lists so far; empty ones do not count."""
        return float(torch.cat(self.means).nanmean())


#: Properties of all lists together.
LIST_METRICS: dict[str, type[Coverage] | type[Popularity]] = {
    "coverage": Coverage,
    "popularity": Popularity,
}
