"""What a ranker is worth on held-out pairs, user by user."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE, SPLITS
from ..ranking import USER_METRICS, Blend, DotProductRanker, Ranker
from ..ranking.evaluate import hits
from ..ranking.topk import Scorer
from .config import LENGTHS

METRICS = ("recall", "ndcg")
PHASES = {"val": 1, "test": 2}  # of cold nodes, as data sets mark them
FULL = " full"  # after a metric: cold items among all items


class Measured(NamedTuple):
    """What lists are worth.

    Args:
        users (DataFrame): One row a user: ``user`` (id), ``history``, ``history_group``, metrics
            such as ``recall@20``, and ``recall@20 items 1``, ...: of the relevant items of a group
            by degree alone, NaN for users who have none there.
        lists (dict): What belongs to all lists together: ``coverage@20``, ...
    """

    users: pd.DataFrame
    lists: dict[str, float]

    def means(self) -> dict[str, float]:
        """Every metric, averaged over users."""
        names = [name for name in map(str, self.users) if "@" in name]
        return {**{name: float(self.users[name].mean()) for name in names}, **self.lists}


def measure(
    ranker: Ranker, data: HeteroData, setting: str, phase: str, groups: int = 4
) -> Measured:
    """Ranks by the rules of a setting.

    - ``warm``: all items but the user's training items.
    - ``cold_items``: the cold items of the phase among themselves, and, as metrics with ``full``
      after their names, among all items.
    - ``cold_users``: users without training interactions, ranked by the histories that the data
      set keeps for them; their other items are looked for among all. A model whose scores are dot
      products of embeddings takes the mean of the history's items for the user.

    Args:
        ranker (Ranker): What ranks.
        data (HeteroData): The graph that it was built with.
        setting (str): One of the three.
        phase (str): ``"val"`` or ``"test"``.
        groups (int, optional): Groups by degree of items and by history of users.
            (default: ``4``)

    Raises:
        ValueError: If a model cannot rank for cold users.
    """
    pairs = data[EDGE_TYPE][SPLITS[phase]]
    if setting == "cold_users":
        ranker = folded(ranker, data[EDGE_TYPE].history_edge_index)
    if setting != "cold_items":
        return _measure(ranker, data, pairs, None, groups)
    cold = (data["item"].split == PHASES[phase]).nonzero().flatten()
    among = _measure(ranker, data, pairs, cold, groups)
    full = _measure(ranker, data, pairs, None, groups)
    renamed = {
        name: f"{name}{FULL}"
        for name in map(str, full.users)
        if "@" in name and "items" not in name
    }
    users = among.users.merge(full.users[["user", *renamed]].rename(columns=renamed), on="user")
    return Measured(users, {**among.lists, **{f"{k}{FULL}": v for k, v in full.lists.items()}})


def _measure(
    ranker: Ranker, data: HeteroData, pairs: Tensor, candidates: Tensor | None, groups: int
) -> Measured:
    longest, num_items = max(LENGTHS), ranker.num_items
    relevant = ranker.check_pairs(pairs.to(ranker.seen_ptr.device), "data")
    users, row = relevant.rows().unique(return_inverse=True)
    item, count = relevant.col, relevant.ptr.diff()[users]
    listed, _ = ranker.topk(users, longest, exclude="train", candidates=candidates)
    hit = hits(relevant, users, listed)
    history = ranker.seen_ptr.diff()[users]
    table = {
        "user": users.cpu().numpy(),
        "history": history.cpu().numpy(),
        "history_group": quantile_groups(history.cpu().numpy(), groups),
    }
    for name in METRICS:
        for top in LENGTHS:
            table[f"{name}@{top}"] = USER_METRICS[name](hit[:, :top], count).cpu().numpy()
    # Cold items have no training interactions; what they will have tells them apart.
    counted = data[EDGE_TYPE].edge_index if candidates is None else pairs
    degree = torch.bincount(counted[1].cpu(), minlength=num_items)
    part = torch.as_tensor(quantile_groups(degree[item.cpu()].numpy(), groups))
    group_of = torch.zeros(num_items, dtype=torch.long)
    group_of[item.cpu()] = part
    for group in range(1, groups + 1):
        wanted = torch.bincount(row.cpu()[part == group], minlength=len(users)).double()
        found = (hit.cpu() * (group_of[listed.cpu()] == group)).sum(1)
        table[f"recall@{longest} items {group}"] = (found / wanted).numpy()  # 0 / 0 is NaN
    total = num_items if candidates is None else len(candidates)
    lists = {
        f"coverage@{top}": float((listed[:, :top].unique() >= 0).sum() / total) for top in LENGTHS
    }
    frame = pd.DataFrame(table)
    if ranker.user_ids is not None:
        frame["user"] = pd.Series(list(ranker.user_ids)).take(frame["user"].to_numpy()).array
    return Measured(frame, lists)


def quantile_groups(values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Groups 1, 2, ... of about the same size by ascending value; equal values share a group."""
    place = np.searchsorted(np.sort(values), values, side="left") / max(1, len(values))
    return np.floor(place * count).astype(np.int64) + 1


def folded(ranker: Ranker, history: Tensor) -> Ranker:
    """A ranker for users by histories that it was not built with; every part of a blend."""
    if isinstance(ranker, Blend):
        return ranker.with_parts([folded(part, history) for part in ranker.rankers()])
    return FoldedIn(ranker, history)


class FoldedIn(Ranker):
    """Ranks for users by a history that the model was not built with.

    Args:
        ranker (Ranker): The model.
        history (Tensor): Pairs of shape ``(2, M)``.

    Raises:
        ValueError: If the model can neither score histories nor has embeddings of items.
    """

    def __init__(self, ranker: Ranker, history: Tensor) -> None:
        super().__init__(
            history.to(ranker.seen_ptr.device),
            ranker.num_users,
            ranker.num_items,
            ranker.user_ids,
            ranker.item_ids,
        )
        own = ranker.takes_history
        if not own and not isinstance(ranker, DotProductRanker):
            raise ValueError(f"{type(ranker).__name__} cannot rank for users by a history.")
        self.score_of = ranker.history_scorer() if own else _mean_of_items(ranker)

    def score(self, user: Tensor) -> Tensor:
        """Scores of all items, shape ``(B, I)``."""
        row, item = self.seen(user)
        history = torch.zeros(user.numel(), self.num_items, device=user.device)
        history[row, item] = 1.0
        return self.score_of(history)


def _mean_of_items(ranker: Ranker) -> Scorer:
    """Scores histories by the mean of the embeddings of their items."""
    with torch.no_grad():
        embeddings = ranker.embed()
    assert embeddings is not None
    items = embeddings[1]
    return lambda history: (history / history.sum(1, keepdim=True)) @ items @ items.t()
