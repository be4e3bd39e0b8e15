r"""The graph of a user's own table of interactions."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from .formats import (
    EMBEDDINGS,
    MEAN_OF_ITEMS,
    Interactions,
    build_data,
    check_finite,
    plain_id,
    unique_pairs,
)
from .times import time_order

#: A vector for each of the owner's ids: a dictionary, or a table indexed by id.
Vectors = Mapping[Any, Any] | pd.DataFrame
#: Those of the users, who may have none, and those of the items.
Pair = tuple[Vectors | None, Vectors]


def from_interactions(
    df: pd.DataFrame,
    user: str,
    item: str,
    time: str | None = None,
    x: Pair | None = None,
    intent: Pair | None = None,
    split: Sequence[float] = (0.6, 0.2, 0.2),
    seed: int = 0,
    name: str = "table",
    time_split: Literal["user", "global"] = "user",
) -> HeteroData:
    r"""Makes of a table with one row an interaction the graph that
    :class:`~irllrec_pyg.datasets.IRLLRecDataset` gives for the published data sets.

    Each user's interactions are split on their own: in the order of ``time`` (oldest in
    training, newest in test) where it is given, else at random. The sizes of a user's splits are
    the shares rounded up or down at random, so that the shares hold overall; a user's training
    split is never empty, and rows of one time keep the order of the table.

    With ``time_split="global"`` two moments split the interactions of all users: whatever
    happened until the first one is training, until the second one validation, later test. The
    interactions of one moment are never torn apart: those of the cut-off itself belong to the
    earlier split, which is therefore at least as large as its share. Users and items that first
    appear after the cut-off stay nodes without a training interaction: nothing is learned of them
    beyond their texts, and they count in the metrics.

    Duplicate rows count once, at their earliest time. The owner's ids stay in
    ``data["user"].raw_id`` and ``data["item"].raw_id``, position by position, unless they are just
    0, 1, 2, …

    .. code-block:: python

        data = from_interactions(df, user="customer", item="isbn", x=(user_vectors, item_vectors))

    Args:
        df (pandas.DataFrame): The table. Its ids are integers or strings.
        user (str): Its column of user ids.
        item (str): Its column of item ids.
        time (str, optional): Its column to order interactions by: numbers, dates, or text that
            holds numbers or ISO 8601 dates. (default: ``None``)
        x (tuple, optional): Profile embeddings of the users and of the items, each a dictionary
            from id to vector or a :class:`pandas.DataFrame` indexed by id; ``(None, items)`` where
            only the items have texts. They become float32 of shapes :math:`(|\mathcal{U}|, T)` and
            :math:`(|\mathcal{I}|, T)`. Ids without an interaction become nodes too.
            (default: ``None``)
        intent (tuple, optional): Intent embeddings in the same form. (default: ``None``)
        split (sequence of float, optional): Shares of training, validation and test.
            (default: ``(0.6, 0.2, 0.2)``)
        seed (int, optional): Seed of the splits. (default: ``0``)
        name (str, optional): Name of the data set in messages and results. (default: ``"table"``)
        time_split (str, optional): ``"user"`` splits each user's interactions on their own,
            ``"global"`` those of all users at the same two moments. (default: ``"user"``)

    Raises:
        ValueError: For missing columns, ids or times, times that cannot be read, ids that are
            neither integers nor strings, shares that do not sum to 1, ids without a vector, or
            vectors that cannot be used.
    """
    columns = [column for column in (user, item, time) if column is not None]
    absent = [column for column in columns if column not in df.columns]
    if absent:
        raise ValueError(f"df has no column {absent[0]!r}; its columns are {list(df.columns)}")
    if len(df) == 0:
        raise ValueError("df has no row: there is nothing to learn from")
    for column in columns:
        empty = np.flatnonzero(df[column].isna().to_numpy())
        if len(empty):
            raise ValueError(
                f"df, row {df.index[empty[0]]}: column {column!r} is empty ({len(empty)} such "
                f"rows). Drop them: df.dropna(subset=[{column!r}])"
            )
    shares = np.asarray(split, dtype=np.float64)
    if shares.shape != (3,) or (shares < 0).any() or shares[0] == 0 or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(
            "'split' must be the shares of training, validation and test, none negative, the first "
            f"not 0, with sum 1, got {tuple(split)}"
        )
    if time_split not in ("user", "global") or (time_split == "global" and time is None):
        raise ValueError(
            "'time_split' must be 'user' or 'global', the latter with a column 'time', got "
            f"{time_split!r} and time={time!r}"
        )
    fields = {"x": x, "intent": intent}
    for field, vectors in fields.items():
        pair = isinstance(vectors, (tuple, list)) and len(vectors) == 2
        if vectors is not None and not (
            pair
            and isinstance(vectors[0], (Mapping, pd.DataFrame, type(None)))
            and isinstance(vectors[1], (Mapping, pd.DataFrame))
        ):
            raise ValueError(
                f"{field} must be a pair: (that of the users, that of the items), each a "
                "dictionary or a DataFrame by id, the first one None where users have no texts"
            )

    ids: list[list[int | str]] = []
    codes: list[NDArray[np.int64]] = []
    for side, column in enumerate((user, item)):
        rows = [plain_id(value, f"column {column!r}") for value in df[column].tolist()]
        known = dict.fromkeys(rows)
        for given in fields.values():
            keys = _keys(given[side]) if given is not None else []
            known.update(dict.fromkeys(plain_id(key, f"column {column!r}") for key in keys))
        ids.append(_ordered(known))
        position = {value: index for index, value in enumerate(ids[side])}
        codes.append(np.array([position[value] for value in rows], dtype=np.int64))

    when = None if time is None else time_order(df[time], time)
    num_items = len(ids[1])
    splits = _split(codes[0], codes[1], num_items, when, shares, seed, time_split == "global")
    data = build_data(Interactions(len(ids[0]), num_items, splits), name)
    for side, (kind, values) in enumerate(zip(("user", "item"), ids, strict=True)):
        if values != list(range(len(values))):
            data[kind].raw_id = values
        for field, given in fields.items():
            if given is not None and (part := given[side]) is not None:
                data[kind][field] = _stack(part, values, f"{field}, {kind}")
    missing = {}
    for field in EMBEDDINGS:
        if (own := fields[field]) is None:
            missing[field] = (
                f"Data set '{name}' has no '{field}' embeddings: pass {field}=(of the users, of "
                "the items) to from_interactions."
            )
        elif own[0] is None:
            missing[field] = (
                f"Data set '{name}' has no '{field}' embeddings of users. "
                f"{MEAN_OF_ITEMS} Pass {field}=(of the users, of the items) to from_interactions "
                "where users have texts of their own."
            )
    if missing:
        data.missing = missing
    return data


def _keys(vectors: Vectors | None) -> list[Any]:
    if vectors is None:
        return []
    return list(vectors.index if isinstance(vectors, pd.DataFrame) else vectors)


def _ordered(known: dict[int | str, None]) -> list[int | str]:
    # Integers first, then strings, each sorted: independent of the order of the rows.
    return sorted(known, key=lambda value: (isinstance(value, str), value))


def _split(
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    num_items: int,
    when: NDArray[Any] | None,
    shares: NDArray[np.float64],
    seed: int,
    whole: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    # The first row of a pair in this order is the one that counts.
    order = np.arange(len(user)) if when is None else np.argsort(when, kind="stable")
    key, first = np.unique(user[order] * num_items + item[order], return_index=True)
    owner = key // num_items
    if whole and when is not None:
        moment = when[order][first]
        last = np.ceil(np.cumsum(shares)[:2] * len(key) - 1e-6).astype(np.int64) - 1
        part = (moment[:, None] > np.sort(moment)[last.clip(0, len(key) - 1)]).sum(axis=1)
        return _parts(owner, key % num_items, part, num_items)
    rank = rng.permutation(len(key)) if when is None else first
    place = np.lexsort((rank, owner))  # by user, then by time or at random
    key, owner = key[place], owner[place]

    count = np.bincount(owner)
    position = np.arange(len(key)) - (np.cumsum(count) - count)[owner]
    rest = shares[1] + shares[2]
    num_train = np.floor(count * shares[0] + rng.random(len(count))).astype(np.int64)
    num_train = np.clip(num_train, np.minimum(count, 1), count)
    left = count - num_train
    num_val = np.floor(left * (shares[1] / rest if rest else 0) + rng.random(len(count)))
    num_val = np.minimum(num_val.astype(np.int64), left)

    part = (position >= num_train[owner]).astype(np.int64)
    part += position >= (num_train + num_val)[owner]
    return _parts(owner, key % num_items, part, num_items)


def _parts(
    user: NDArray[np.int64], item: NDArray[np.int64], part: NDArray[np.int64], num_items: int
) -> tuple[Tensor, Tensor, Tensor]:
    train, val, test = (
        torch.from_numpy(unique_pairs(user[part == p], item[part == p], num_items))
        for p in range(3)
    )
    return train, val, test


def _stack(vectors: Vectors, ids: list[int | str], where: str) -> Tensor:
    r"""Puts the vectors of ``ids`` into one float32 matrix."""
    keys = [plain_id(key, where) for key in _keys(vectors)]
    position = {key: index for index, key in enumerate(keys)}
    if len(position) < len(keys):
        twice = next(key for index, key in enumerate(keys) if position[key] != index)
        raise ValueError(f"{where} {twice!r} has more than one vector")
    absent = [value for value in ids if value not in position]
    if absent:
        more = ", …" if len(absent) > 5 else ""
        raise ValueError(
            f"{where}: no vector for {len(absent)} ids: "
            f"{', '.join(repr(value) for value in absent[:5])}{more}. Every {where.split()[-1]} "
            "of the table and of the other embeddings needs one"
        )
    if isinstance(vectors, pd.DataFrame):
        matrix = vectors.to_numpy()
    else:
        rows = [np.asarray(row) for row in vectors.values()]
        for key, row in zip(keys, rows, strict=True):
            if row.ndim != 1 or row.shape != rows[0].shape:
                raise ValueError(
                    f"{where} {key!r} has a vector of shape {row.shape}, the first one has "
                    f"{rows[0].shape}; all must be vectors of one width"
                )
        matrix = np.stack(rows)
    if matrix.dtype.kind not in "iuf" or matrix.shape[1] == 0:
        raise ValueError(
            f"{where}: expected vectors of floats, found {matrix.dtype} {matrix.shape[1]} wide"
        )
    matrix = matrix[[position[value] for value in ids]].astype(np.float32)
    check_finite(matrix, where, ids)
    return torch.from_numpy(matrix)
