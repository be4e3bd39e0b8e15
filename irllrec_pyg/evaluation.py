"""All-ranking evaluation in blocks of users, on :mod:`torch_geometric.metrics`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.metrics import (
    LinkPredAveragePopularity,
    LinkPredCoverage,
    LinkPredF1,
    LinkPredHitRatio,
    LinkPredMAP,
    LinkPredMRR,
    LinkPredNDCG,
    LinkPredPrecision,
    LinkPredRecall,
)

from .nn.graph import EDGE_TYPE
from .nn.ranker import Ranker
from .topk import Blocks

SPLITS = {"val": "val_edge_label_index", "test": "edge_label_index"}

CPU_BLOCK = 128  # users whose scores stay in the cache
CHUNK = 8192  # users whose masks and metrics are computed at once: a call costs more than a block

# Averages over users, which compare a user's list with the user's relevant items.
USER_METRICS: dict[str, Callable[[int], Any]] = {
    "recall": LinkPredRecall,
    "precision": LinkPredPrecision,
    "f1": LinkPredF1,
    "ndcg": LinkPredNDCG,
    "map": LinkPredMAP,
    "mrr": LinkPredMRR,
    "hit": LinkPredHitRatio,
}
# Properties of all lists together.
LIST_METRICS: dict[str, Callable[[int, Ranker], Any]] = {
    "coverage": lambda k, ranker: LinkPredCoverage(k, ranker.num_items),
    "popularity": lambda k, ranker: LinkPredAveragePopularity(
        k, torch.bincount(ranker.seen_item, minlength=ranker.num_items)
    ),
}


def evaluate(
    ranker: Ranker,
    data: HeteroData | Tensor,
    split: str = "test",
    *,
    k: int | Sequence[int] = (5, 10, 20),
    metrics: str | Sequence[str] = ("recall", "ndcg"),
    exclude_validation: bool = False,
    exclude: Tensor | None = None,
    block_size: int | None = None,
) -> dict[str, float]:
    r"""Ranks all items for each user and averages metrics over the users.

    A user's training items are never ranked; users without a relevant item are left out. With
    :math:`\mathcal{R}_u` the relevant items of a user and :math:`i_1, i_2, \ldots` the list,

    .. math::
        \mathrm{recall@}k = \frac{|\{i_1, \ldots, i_k\} \cap \mathcal{R}_u|}{|\mathcal{R}_u|},
        \qquad
        \mathrm{ndcg@}k = \frac{\sum_{j \le k, \, i_j \in \mathcal{R}_u} 1 / \log_2 (j + 1)}
        {\sum_{j \le \min(k, |\mathcal{R}_u|)} 1 / \log_2 (j + 1)}

    Only one block of users is scored at a time, on the ranker's device and without autocast.

    Args:
        ranker (Ranker): What ranks.
        data (HeteroData or Tensor): Data set, or relevant pairs, user ids over item ids, int64 of
            shape :math:`(2, M)`.
        split (str, optional): ``"val"`` or ``"test"`` of a data set. (default: ``"test"``)
        k (int or sequence of int, optional): Lengths of the lists. (default: ``(5, 10, 20)``)
        metrics (str or sequence of str, optional): ``recall``, ``precision``, ``f1``, ``ndcg``,
            ``map``, ``mrr``, ``hit`` (averages over users), ``coverage`` (share of items in any
            list) and ``popularity`` (mean number of training interactions of listed items).
            (default: ``("recall", "ndcg")``)
        exclude_validation (bool, optional): If set, validation items are not ranked either; the
            papers rank them at test. (default: ``False``)
        exclude (Tensor, optional): Further pairs that are not ranked, of shape :math:`(2, M')`.
            (default: ``None``)
        block_size (int, optional): Users in a block.
            (default: as many as score into 64 MB, at most 128 on the CPU)

    Returns:
        Values by name, such as ``{"recall@20": 0.14, "ndcg@20": 0.09}``.

    Raises:
        ValueError: If an argument is unknown, no user has a relevant item, or scores are NaN.
    """
    k, metrics = as_tuple(k), as_tuple(metrics)
    users, lists = _run(ranker, data, split, k, metrics, exclude_validation, exclude, block_size)
    return {
        name: lists[name] if name in lists else float(users[name].mean())
        for name in _names(metrics, k)
    }


def evaluate_users(
    ranker: Ranker,
    data: HeteroData | Tensor,
    split: str = "test",
    *,
    k: int | Sequence[int] = (5, 10, 20),
    metrics: str | Sequence[str] = ("recall", "ndcg"),
    exclude_validation: bool = False,
    exclude: Tensor | None = None,
    block_size: int | None = None,
) -> pd.DataFrame:
    """The values of each user that :func:`evaluate` averages, for paired tests.

    Args:
        ranker, data, split, k, metrics, exclude_validation, exclude, block_size: As in
            :func:`evaluate`; ``metrics`` must be averages over users.

    Returns:
        Table with the column ``user`` (the owner's id) and one column for each metric; one row for
        each user who has a relevant item.
    """
    k, metrics = as_tuple(k), as_tuple(metrics)
    if wrong := [name for name in metrics if name in LIST_METRICS]:
        raise ValueError(f"{', '.join(wrong)} has no value for a single user.")
    users, _ = _run(ranker, data, split, k, metrics, exclude_validation, exclude, block_size)
    if ranker.user_ids is not None:
        users["user"] = pd.Series(list(ranker.user_ids)).take(users["user"].to_numpy()).array
    return users[["user", *_names(metrics, k)]]


def as_tuple(value: Any) -> tuple[Any, ...]:
    """What an argument lists; one value alone stands for a list of it."""
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)


def _names(metrics: Sequence[str], k: Sequence[int]) -> list[str]:
    return list(dict.fromkeys(f"{metric}@{top}" for metric in metrics for top in k))


@torch.no_grad()
def _run(
    ranker: Ranker,
    data: HeteroData | Tensor,
    split: str,
    k: Sequence[int],
    metrics: Sequence[str],
    exclude_validation: bool,
    exclude: Tensor | None,
    block_size: int | None,
) -> tuple[pd.DataFrame, dict[str, float]]:
    _check_arguments(k, metrics, block_size)
    device = ranker.seen_ptr.device
    relevant = _pairs(_labels(data, split, exclude_validation), ranker)
    if relevant.numel() == 0:
        raise ValueError("No user has a relevant item: there are no pairs to evaluate on.")
    masked = [
        pairs
        for pairs in (exclude, _labels(data, "val", False) if exclude_validation else None)
        if pairs is not None
    ]
    hidden = None
    if masked:
        hidden = _pairs(torch.cat([pairs.to(device) for pairs in masked], 1), ranker)
    per_user = {
        f"{metric}@{top}": USER_METRICS[metric](top).to(device)
        for metric in metrics
        if metric in USER_METRICS
        for top in k
    }
    overall = {
        f"{metric}@{top}": LIST_METRICS[metric](top, ranker).to(device)
        for metric in metrics
        if metric in LIST_METRICS
        for top in k
    }
    for metric in overall.values():
        metric.sync_on_compute = False  # every process ranks for all users
    values: dict[str, list[Tensor]] = {name: [] for name in per_user}
    users: list[Tensor] = []

    mode = ranker.training
    ranker.eval()
    try:
        with torch.autocast(device.type, enabled=False):
            for user, listed, hits in _chunks(ranker, relevant, hidden, max(k), block_size):
                users.append(user)
                for name, metric in per_user.items():
                    values[name].append(metric._compute(hits))
                if overall:
                    _update_lists(overall, listed, ranker.num_items)
    finally:
        ranker.train(mode)
    table = pd.DataFrame(
        {
            "user": torch.cat(users).cpu().numpy(),
            **{name: torch.cat(parts).double().cpu().numpy() for name, parts in values.items()},
        }
    )
    return table, {name: float(metric.compute()) for name, metric in overall.items()}


def _chunks(
    ranker: Ranker, relevant: Tensor, hidden: Tensor | None, top: int, block_size: int | None
) -> Iterator[tuple[Tensor, Tensor, "_Hits"]]:
    """Users of a chunk, which is some blocks, their lists, and what is relevant in these.

    A list that is shorter than ``top``, since the user has fewer items left, ends with the item
    ``num_items``, which does not exist.
    """
    num_items, device = ranker.num_items, relevant.device
    user, row, count = relevant[0].unique_consecutive(return_inverse=True, return_counts=True)
    start = torch.cat([count.new_zeros(1), count.cumsum(0)])
    most = ranker.block_size()
    size = block_size or (min(most, CPU_BLOCK) if device.type == "cpu" else most)
    if hidden is not None:
        hidden_ptr = torch.searchsorted(
            hidden[0].contiguous(), torch.arange(ranker.num_users + 1, device=device)
        )
    blocks = Blocks(ranker, min(size, user.numel()), min(top, num_items))
    bounds = [*range(0, user.numel(), size * max(1, CHUNK // size)), user.numel()]
    for (first, last), (begin, end) in zip(
        pairwise(bounds), pairwise(start[bounds].tolist()), strict=True
    ):
        chunk = user[first:last]
        masked = [ranker.seen(chunk)]
        if hidden is not None:
            hidden_row, position = _ranges(hidden_ptr[chunk], hidden_ptr[chunk + 1])
            masked.append((hidden_row, hidden[1, position]))
        wanted = row[begin:end] - first, relevant[1, begin:end]
        best, item, hit = blocks.rank(chunk, masked, wanted)
        if best[:, 0].isnan().any():  # NaN ranks first
            raise ValueError(
                f"{type(ranker).__name__} gave scores that are not a number; if it is "
                "being trained, it has diverged: try a smaller learning rate."
            )
        missing = best == -torch.inf
        yield (
            chunk,
            item.masked_fill_(missing, num_items),
            _Hits(hit.masked_fill_(missing, False), count[first:last]),
        )


@dataclass
class _Hits:
    """What the metrics ask of PyG's ``LinkPredMetricData``, which would sort and search for it.

    Args:
        pred_rel_mat (Tensor): Whether each listed item is relevant, of shape :math:`(B, k)`.
        label_count (Tensor): Relevant items of each user, of shape :math:`(B,)`.
    """

    pred_rel_mat: Tensor
    label_count: Tensor

    @property
    def label_weight_sum(self) -> Tensor:
        return self.label_count


def _ranges(start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """Row and position of every position in the ranges ``start[i] .. stop[i]``."""
    count = stop - start
    row = torch.arange(count.numel(), device=count.device).repeat_interleave(count)
    within = torch.arange(row.numel(), device=row.device) - (count.cumsum(0) - count)[row]
    return row, start[row] + within


def _update_lists(metrics: dict[str, Any], listed: Tensor, num_items: int) -> None:
    # Lists of one length at a time, so that no item stands in for a missing one.
    length = (listed < num_items).sum(1)
    for size in length.unique().tolist():
        part = listed[length == size][:, :size]
        for metric in metrics.values() if size else ():
            metric.update(part, part.new_empty(2, 0))


def _check_arguments(k: Sequence[int], metrics: Sequence[str], block_size: int | None) -> None:
    if not k or not all(isinstance(top, int) and top > 0 for top in k):
        raise ValueError(f"'k' must hold positive integers, got {list(k)}.")
    known = [*USER_METRICS, *LIST_METRICS]
    if not metrics or set(metrics) - set(known):
        raise ValueError(f"'metrics' must be names among {', '.join(known)}, got {metrics!r}.")
    if block_size is not None and block_size < 1:
        raise ValueError(f"'block_size' must be at least 1, got {block_size}.")


def _labels(data: HeteroData | Tensor, split: str, exclude_validation: bool) -> Tensor:
    if split not in SPLITS:
        raise ValueError(f"'split' must be 'val' or 'test', got {split!r}.")
    if isinstance(data, Tensor):
        if exclude_validation:
            raise ValueError("'exclude_validation' needs a data set; give pairs as 'exclude'.")
        return data
    if split == "val" and exclude_validation:
        raise ValueError("'exclude_validation' would leave nothing of split 'val' to rank.")
    if SPLITS[split] not in data[EDGE_TYPE]:
        raise ValueError(
            f"The data set has no {split} interactions: data{list(EDGE_TYPE)} has no "
            f"'{SPLITS[split]}'."
        )
    labels: Tensor = data[EDGE_TYPE][SPLITS[split]]
    return labels


def _pairs(pairs: Tensor, ranker: Ranker) -> Tensor:
    """Checks pairs of user and item, sorts them, drops duplicates."""
    if pairs.dim() != 2 or pairs.size(0) != 2 or pairs.dtype != torch.long:
        raise ValueError(
            f"Pairs must be int64 of shape (2, M), got {pairs.dtype} of shape {tuple(pairs.shape)}."
        )
    for ids, count, side in zip(
        pairs, (ranker.num_users, ranker.num_items), ("user", "item"), strict=True
    ):
        if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= count):
            raise ValueError(
                f"Pairs name {side} {int(ids.min())} to {int(ids.max())}; the ranker "
                f"knows {side} 0 to {count - 1}."
            )
    flat = (pairs[0] * ranker.num_items + pairs[1]).unique().to(ranker.seen_ptr.device)
    return torch.stack([flat // ranker.num_items, flat % ranker.num_items])
