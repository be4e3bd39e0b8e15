"""All-ranking evaluation in blocks of users."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..sparse import CSR, pointers
from .labels import labels_of
from .metrics import LIST_METRICS, USER_METRICS
from .ranker import Ranker
from .topk import ranked_lists

COMPARISONS = 1 << 22  # of listed with relevant items at once: 32 MB


def evaluate(
    ranker: Ranker,
    data: HeteroData | Tensor,
    split: str = "test",
    *,
    k: int | Sequence[int] = (5, 10, 20),
    metrics: str | Sequence[str] = ("recall", "ndcg"),
    exclude_validation: bool = False,
    exclude: Tensor | None = None,
    candidates: Tensor | None = None,
    block_size: int | None = None,
) -> dict[str, float]:
    r"""Ranks all items, or some, for each user and averages metrics over the users.

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
            ``map``, ``mrr``, ``hit`` (averages over users), ``coverage`` (share of ranked items in
            any list) and ``popularity`` (mean number of training interactions of listed items).
            (default: ``("recall", "ndcg")``)
        exclude_validation (bool, optional): If set, validation items are not ranked either; the
            papers rank them at test. (default: ``False``)
        exclude (Tensor, optional): Further pairs that are not ranked, of shape :math:`(2, M')`.
            (default: ``None``)
        candidates (Tensor, optional): Positions of the items that are ranked, among themselves,
            int64 of shape :math:`(C,)`, such as items that nobody has touched in training. Other
            relevant items are left out, and users who have none among these.
            (default: all items)
        block_size (int, optional): Users in a block.
            (default: as many as score into 64 MB, at most 128 on the CPU)

    Returns:
        Values by name, such as ``{"recall@20": 0.14, "ndcg@20": 0.09}``.

    Raises:
        TypeError: If ``data`` is a data set and not its graph.
        ValueError: If an argument is unknown, no user has a relevant item, scores are NaN, or the
            graph is not the one that the ranker was built with, or has labels of PyG's
            ``RandomLinkSplit``, among which are negatives.
    """
    k, metrics = as_tuple(k), as_tuple(metrics)
    users, lists = _run(
        ranker, data, split, k, metrics, exclude_validation, exclude, candidates, block_size
    )
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
    candidates: Tensor | None = None,
    block_size: int | None = None,
) -> pd.DataFrame:
    """The values of each user that :func:`evaluate` averages, for paired tests.

    Args:
        ranker, data, split, k, metrics, exclude_validation, exclude, candidates, block_size: As
            in :func:`evaluate`; ``metrics`` must be averages over users.

    Returns:
        Table with the column ``user`` (the owner's id) and one column for each metric; one row for
        each user who has a relevant item.
    """
    k, metrics = as_tuple(k), as_tuple(metrics)
    if wrong := [name for name in metrics if name in LIST_METRICS]:
        raise ValueError(f"{', '.join(wrong)} has no value for a single user.")
    users, _ = _run(
        ranker, data, split, k, metrics, exclude_validation, exclude, candidates, block_size
    )
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
    candidates: Tensor | None,
    block_size: int | None,
) -> tuple[pd.DataFrame, dict[str, float]]:
    _check_arguments(k, metrics, block_size)
    labels = labels_of(ranker, data, split, exclude_validation).to(ranker.seen_ptr.device)
    relevant = ranker.check_pairs(labels, "data")
    if candidates is not None:
        candidates = ranker.check_items(candidates).unique()
        ranked = torch.isin(relevant.col, candidates)
        rows = relevant.rows()[ranked]
        relevant = CSR(pointers(rows, ranker.num_users), relevant.col[ranked])
    count = relevant.ptr.diff()
    user = count.nonzero().flatten()
    if user.numel() == 0:
        among = "" if candidates is None else " among the candidates"
        raise ValueError(f"No user has a relevant item{among}: there are no pairs to evaluate on.")
    hidden = ranker.hidden_items("train")
    further = [] if exclude is None else [exclude]
    if exclude_validation:
        further.append(labels_of(ranker, data, "val", False))
    if further and hidden is not None:
        pairs = [torch.stack([hidden.rows(), hidden.col]), *further]
        hidden = ranker.check_pairs(
            torch.cat([part.to(hidden.col.device) for part in pairs], 1), "exclude"
        )
    per_user = [name for name in metrics if name in USER_METRICS]
    values: dict[str, list[Tensor]] = {name: [] for name in _names(per_user, k)}
    popularity = torch.bincount(ranker.seen_item, minlength=ranker.num_items)
    overall = {
        (metric, top): LIST_METRICS[metric](popularity, candidates)
        for metric in metrics
        if metric in LIST_METRICS
        for top in k
    }
    with ranker.ranking():
        for chunk, item, _ in ranked_lists(ranker, user, max(k), hidden, candidates, block_size):
            hit = hits(relevant, chunk, item)
            for name in per_user:
                for top in dict.fromkeys(k):
                    value = USER_METRICS[name](hit[:, :top], count[chunk])
                    values[f"{name}@{top}"].append(value)
            for (_, top), metric in overall.items():
                metric.update(item[:, :top])
    table = pd.DataFrame(
        {
            "user": user.cpu().numpy(),
            **{name: torch.cat(parts).cpu().numpy() for name, parts in values.items()},
        }
    )
    return table, {f"{name}@{top}": metric.compute() for (name, top), metric in overall.items()}


def hits(relevant: CSR, user: Tensor, item: Tensor) -> Tensor:
    """Which listed items are relevant.

    Args:
        relevant (CSR): The relevant items of each user.
        user (Tensor): User positions, int64 of shape :math:`(B,)`.
        item (Tensor): Their lists, int64 of shape :math:`(B, k)`.

    Returns:
        One where an item of a list is relevant, zero elsewhere, float64 of shape :math:`(B, k)`.
    """
    hit = torch.zeros_like(item, dtype=torch.double)
    row, wanted = relevant.of(user)
    # Each relevant item is looked for in its user's list: they are fewer than the listed ones.
    size = max(1, COMPARISONS // item.size(1))
    for rows, items in zip(row.split(size), wanted.split(size), strict=True):
        at, place = (item[rows] == items.view(-1, 1)).nonzero(as_tuple=True)
        hit[rows[at], place] = 1.0
    return hit


def _check_arguments(k: Sequence[int], metrics: Sequence[str], block_size: int | None) -> None:
    if not k or not all(type(top) is int and top > 0 for top in k):
        raise ValueError(f"'k' must hold positive integers, got {list(k)}.")
    known = [*USER_METRICS, *LIST_METRICS]
    if not metrics or set(metrics) - set(known):
        raise ValueError(f"'metrics' must be names among {', '.join(known)}, got {metrics!r}.")
    if block_size is not None and block_size < 1:
        raise ValueError(f"'block_size' must be at least 1, got {block_size}.")
