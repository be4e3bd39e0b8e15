r"""The graph of a user's own table of interactions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE
from ..edges import HISTORY as HISTORY_FIELD
from ..ids import plain_id
from .formats import MEAN_OF_ITEMS, Interactions, build_data, check_finite
from .splits import HISTORY, KINDS, Kind, check_shares, split_pairs
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
    kind: Kind | None = None,
) -> HeteroData:
    r"""Makes of a table with one row an interaction the graph that
    :class:`~irllrec_pyg.datasets.IRLLRecDataset` gives for the published data sets.

    Each user's interactions are split on their own: in the order of ``time`` (oldest in
    training, newest in test) where it is given, else at random. The sizes of a user's splits are
    the shares rounded up or down at random, so that the shares hold overall; a user's training
    split is never empty, and rows of one time keep the order of the table.

    Other splits are chosen by ``kind``. With ``"time-global"`` two moments split the interactions
    of all users: whatever happened until the first one is training, until the second one
    validation, later test. The interactions of one moment are never torn apart: those of the
    cut-off itself belong to the earlier split, which is therefore at least as large as its share.
    Users and items that first appear after the cut-off stay nodes without a training interaction:
    nothing is learned of them beyond their texts, and they count in the metrics.

    With ``"cold-items"`` and ``"cold-users"`` whole nodes are held out, see
    :func:`~.splits.split_pairs`: ``data["item"].split`` or ``data["user"].split`` (int8) is 1 for
    those of validation, 2 for those of test, and what is known of cold users when they are ranked
    is ``data["user", "rates", "item"].history_edge_index``.

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
        kind (str, optional): ``"random"``, ``"time"``, ``"time-global"``, ``"cold-items"`` or
            ``"cold-users"``. (default: ``"time"`` where ``time`` is given, else ``"random"``)

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
    shares = check_shares(split, "split")
    kind = kind or ("random" if time is None else "time")
    if kind not in KINDS or (kind.startswith("time") and time is None):
        raise ValueError(
            f"'kind' must be one of {', '.join(KINDS)}, those by time with a column 'time', got "
            f"{kind!r} and time={time!r}"
        )
    vectors = {field: _pair(given, field) for field, given in (("x", x), ("intent", intent))}

    ids: list[list[int | str]] = []
    codes: list[NDArray[np.int64]] = []
    for side, column in enumerate((user, item)):
        rows = [plain_id(value, f"column {column!r}") for value in df[column].tolist()]
        known = dict.fromkeys(rows)
        for pair in vectors.values():
            keys = [plain_id(key, f"column {column!r}") for key in _keys(pair[side])]
            known.update(dict.fromkeys(keys))
        ids.append(_ordered(known))
        position = {value: index for index, value in enumerate(ids[side])}
        codes.append(np.array([position[value] for value in rows], dtype=np.int64))

    when = None if time is None else time_order(df[time], time)
    data = make_graph(codes[0], codes[1], (ids[0], ids[1]), name, kind, shares, seed, when)
    missing = {}
    for field, pair in vectors.items():
        for store, part, values in zip(("user", "item"), pair, ids, strict=True):
            if part is not None:
                data[store][field] = _stack(part, values, f"{field}, {store}")
        if pair[0] is None:
            whose, mean = ("", "") if pair[1] is None else (" of users", f" {MEAN_OF_ITEMS}")
            missing[field] = (
                f"Data set '{name}' has no '{field}' embeddings{whose}: pass {field}=(of the "
                f"users, of the items) to from_interactions.{mean}"
            )
    if missing:
        data.missing = missing
    return data


def _pair(given: Any, field: str) -> tuple[Vectors | None, Vectors | None]:
    if given is None:
        return None, None
    kinds = (Mapping, pd.DataFrame)
    pair = tuple(given) if isinstance(given, (tuple, list)) else ()
    if len(pair) == 2 and isinstance(pair[0], (*kinds, type(None))) and isinstance(pair[1], kinds):
        return pair
    raise ValueError(
        f"{field} must be a pair: (that of the users, that of the items), each a dictionary or a "
        "DataFrame by id, the first one None where users have no texts"
    )


def _keys(vectors: Vectors | None) -> list[Any]:
    if vectors is None:
        return []
    return list(vectors.index if isinstance(vectors, pd.DataFrame) else vectors)


def _ordered(known: dict[int | str, None]) -> list[int | str]:
    # Integers first, then strings, each sorted: independent of the order of the rows.
    return sorted(known, key=lambda value: (isinstance(value, str), value))


def make_graph(
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    ids: tuple[list[int | str], list[int | str]],
    name: str,
    kind: Kind,
    shares: NDArray[np.float64],
    seed: int,
    when: NDArray[np.int64] | None = None,
) -> HeteroData:
    r"""The graph of interactions between numbered users and items, split, without embeddings.

    Args:
        user (numpy.ndarray): User of each interaction by position, int64 of shape :math:`(E)`.
        item (numpy.ndarray): Its item by position, int64 of shape :math:`(E)`.
        ids (tuple): The owner's ids of the users and of the items, by position.
        name (str): Name of the data set.
        kind (str): The split, see :func:`~.splits.split_pairs`.
        shares (numpy.ndarray): Of training, validation and test.
        seed (int): Seed of the split.
        when (numpy.ndarray, optional): Time of each interaction, int64 of shape :math:`(E)`. Those
            of one time and user stay in their order. (default: ``None``)
    """
    num_items = len(ids[1])
    # The first interaction of a pair in this order is the one that counts.
    order = np.arange(len(user)) if when is None else np.argsort(when, kind="stable")
    key, first = np.unique(user[order] * num_items + item[order], return_index=True)
    moments = (None, None) if when is None else (when[order][first], first)
    pairs = np.stack([key // num_items, key % num_items])
    split = split_pairs(pairs[0], pairs[1], kind, shares, seed, *moments)
    parts = [torch.from_numpy(pairs[:, split.part == part]) for part in range(HISTORY + 1)]
    data = build_data(Interactions(len(ids[0]), num_items, (parts[0], parts[1], parts[2])), name)
    if kind == "cold-users":
        data[EDGE_TYPE][HISTORY_FIELD] = parts[HISTORY]
    for side, values in zip(("user", "item"), ids, strict=True):
        if values != list(range(len(values))):
            data[side].raw_id = values
        if side in split.nodes:
            cold = np.zeros(len(values), np.int8)
            cold[: len(split.nodes[side])] = split.nodes[side]
            data[side].split = torch.from_numpy(cold)
    return data


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
