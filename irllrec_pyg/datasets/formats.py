r"""The published layout of a data set: three interaction matrices, ids, four embedding files.

Every function here returns clean arrays or raises a :class:`~.safe_pickle.DataFileError` that
names the file and, where there is one, the row.
"""

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE, REVERSE_TYPE
from ..ids import repeated_id, too_large
from .safe_pickle import DataFileError, SparseEntries, safe_load

#: Interaction matrices: training, validation and test.
MATRICES = ("trn_mat.pkl", "val_mat.pkl", "tst_mat.pkl")
#: Field of a node store -> its user file and its item file.
EMBEDDINGS = {
    "x": ("usr_emb_np.pkl", "itm_emb_np.pkl"),
    "intent": ("user_intent_emb_3.pkl", "item_intent_emb_3.pkl"),
}
#: The owner's ids of users and items by position; absent where these are 0, 1, 2, …
IDS = "ids.json"
#: Profile texts of RLMRec's archive; read by :func:`read_profiles`, never needed for training.
PROFILES = ("usr_prf.pkl", "itm_prf.pkl")
#: What a data set with texts of items alone says.
MEAN_OF_ITEMS = "The mean of the embeddings of a user's training items stands for each."
#: So many users, and items, may be without any interaction: each takes memory in every model, and
#: without a bound a file of a few bytes could ask for all of it.
MAX_IDLE = 10_000_000


@dataclass(frozen=True)
class Interactions:
    r"""The three splits of a data set.

    Args:
        num_users (int): Number of users.
        num_items (int): Number of items.
        splits (tuple): Training, validation and test pairs, each int64 of shape :math:`(2, E)`,
            sorted by user and item, without duplicates.
    """

    num_users: int
    num_items: int
    splits: tuple[Tensor, Tensor, Tensor]


def unique_pairs(row: NDArray[Any], col: NDArray[Any], num_cols: int) -> NDArray[np.int64]:
    r"""Sorts pairs by row and column and merges duplicates; returns shape :math:`(2, E)`."""
    key = np.unique(row.astype(np.int64) * num_cols + col.astype(np.int64))
    return np.stack([key // num_cols, key % num_cols])


def _read_matrix(path: Path) -> SparseEntries:
    entries = safe_load(path)
    if not isinstance(entries, SparseEntries):
        raise DataFileError(
            f"{path} holds a {type(entries).__name__}, not a sparse matrix of users x items."
        )
    sides = (("user", entries.row), ("item", entries.col))
    for (side, index), size in zip(sides, entries.shape, strict=True):
        outside = np.flatnonzero((index < 0) | (index >= size))
        if len(outside):
            value = index[outside[0]]
            what = "is negative" if value < 0 else f"is out of range: the matrix has {size} {side}s"
            raise DataFileError(
                f"{path}, entry {outside[0]}: {side} id {value} {what} ({len(outside)} such "
                f"entries). Ids count from 0."
            )
    broken = np.flatnonzero(~np.isfinite(entries.value))
    if len(broken):
        at = broken[0]
        raise DataFileError(
            f"{path}, entry {at} (user {entries.row[at]}, item {entries.col[at]}): its value is "
            f"{entries.value[at]} ({len(broken)} such entries). Interactions are finite numbers."
        )
    return entries


def read_interactions(folder: str | os.PathLike[str]) -> Interactions:
    r"""Reads the three interaction matrices.

    Values other than zero count as one interaction, duplicates are merged. A pair that lies in two
    splits stays in both, as in the published code, with a warning that gives the count.

    Args:
        folder (str or os.PathLike): The folder that holds ``trn_mat.pkl``, ``val_mat.pkl`` and
            ``tst_mat.pkl``.

    Raises:
        DataFileError: For a damaged file, differing shapes, or unusable ids or values.
    """
    paths = [Path(folder) / name for name in MATRICES]
    matrices = [_read_matrix(path) for path in paths]
    num_users, num_items = matrices[0].shape
    for path, matrix in zip(paths[1:], matrices[1:], strict=True):
        if matrix.shape != matrices[0].shape:
            raise DataFileError(
                f"{path} is {matrix.shape[0]} x {matrix.shape[1]}, but {paths[0].name} is "
                f"{num_users} x {num_items}. All three are matrices of all users x all items."
            )
    entries = sum(len(matrix.value) for matrix in matrices)
    for side, size in (("user", num_users), ("item", num_items)):
        if size > entries + MAX_IDLE:
            raise DataFileError(
                f"{paths[0]} has {size:,} {side}s for {entries:,} interactions; at most "
                f"{MAX_IDLE:,} {side}s may be without one. Number them 0, 1, 2, … without gaps."
            )
    pairs = []
    for matrix in matrices:
        kept = matrix.value != 0
        pairs.append(unique_pairs(matrix.row[kept], matrix.col[kept], num_items))
    if pairs[0].shape[1] == 0:
        raise DataFileError(f"{paths[0]} has no interaction. Training needs at least one.")
    _warn_overlap(paths, pairs, num_items)
    train, val, test = (torch.from_numpy(pair) for pair in pairs)
    return Interactions(num_users, num_items, (train, val, test))


def _warn_overlap(paths: list[Path], pairs: list[NDArray[np.int64]], num_items: int) -> None:
    keys = [pair[0] * num_items + pair[1] for pair in pairs]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        count = len(np.intersect1d(keys[a], keys[b], assume_unique=True))
        if count:
            warnings.warn(
                f"{count} user-item pairs lie both in {paths[a].name} and in {paths[b].name} of "
                f"{paths[a].parent}. They stay in both, as in the published code.",
                stacklevel=2,
            )


def read_embedding(path: str | os.PathLike[str], num_rows: int, side: str) -> Tensor:
    r"""Reads one embedding file; the stored type is kept.

    Args:
        path (str or os.PathLike): The file.
        num_rows (int): How many rows it must have.
        side (str): ``"user"`` or ``"item"``, for messages.

    Shapes:
        - **output:** :math:`(\text{num\_rows}, T)`

    Raises:
        DataFileError: For a damaged file, another shape, another type than floats, NaN or infinity.
    """
    array = safe_load(path)
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        found = f"{array.dtype} array" if isinstance(array, np.ndarray) else type(array).__name__
        raise DataFileError(f"{path} holds a {found}, not a float array of one row a {side}.")
    if array.ndim != 2 or array.shape[1] == 0 or array.shape[0] != num_rows:
        raise DataFileError(
            f"{path} has shape {array.shape}, but the matrices have {num_rows} {side}s: "
            f"expected ({num_rows}, width). Were the user and the item file swapped, or does it "
            "belong to another data set?"
        )
    check_finite(array, f"{path}, row")
    # A copy: what was read is a read-only view of the file, perhaps in another byte order.
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))


def check_finite(array: NDArray[Any], where: str, ids: list[Any] | None = None) -> None:
    r"""Raises a :class:`DataFileError` that names the first row with NaN or infinity."""
    broken = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(broken):
        row = int(broken[0]) if ids is None else ids[broken[0]]
        raise DataFileError(
            f"{where} {row!r}: the embedding holds NaN or infinity ({len(broken)} such rows). "
            "Embed these texts again."
        )


def check_ids(ids: list[int | str], size: int, where: str) -> None:
    r"""Raises a :class:`DataFileError` unless there is one id a node, and no id twice."""
    if len(ids) != size:
        raise DataFileError(f"{where} must hold one id for each of {size} nodes, got {len(ids)}.")
    if (twice := repeated_id(ids)) is not None:
        raise DataFileError(f"{where} holds the id {twice!r} more than once.")


def read_ids(path: str | os.PathLike[str], sizes: Mapping[str, int]) -> dict[str, list[int | str]]:
    r"""Reads the owner's ids, which lie beside the matrices.

    The file is a JSON object with the keys ``"user"`` and ``"item"``, each a list with one
    integer or string a row or column of the matrices. A key may be absent: these ids are then
    0, 1, 2, …

    Args:
        path (str or os.PathLike): The file.
        sizes (mapping): How many users and items there are, by ``"user"`` and ``"item"``.

    Raises:
        DataFileError: For a damaged file, ids of another kind, missing or repeated ids.
    """
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataFileError(f"{path} is not a JSON file of ids ({str(error)[:200]}).") from error
    if not isinstance(table, dict) or not table.keys() <= sizes.keys():
        raise DataFileError(f"{path} must hold a JSON object with the keys 'user' and 'item'.")
    for side, ids in table.items():
        if not isinstance(ids, list):
            raise DataFileError(f"{path}: {side!r} must be a list, got {type(ids).__name__}.")
        for at, value in enumerate(ids):
            if type(value) not in (int, str) or too_large(value):
                raise DataFileError(
                    f"{path}: entry {at} of {side!r} must be an integer of 64 bits or a string, "
                    f"got {str(value)[:50]}."
                )
        check_ids(ids, sizes[side], f"{path}: {side!r}")
    return table


def read_profiles(path: str | os.PathLike[str]) -> dict[int, dict[str, str]]:
    r"""Reads the generated texts of RLMRec's archive (``usr_prf.pkl``, ``itm_prf.pkl``).

    Args:
        path (str or os.PathLike): The file.

    Returns:
        For each user or item its texts, keyed ``"profile"`` and ``"reasoning"``.

    Raises:
        DataFileError: For a damaged file or one that holds something else.
    """
    table = safe_load(path)
    if not isinstance(table, dict):
        raise DataFileError(f"{path} holds a {type(table).__name__}, not a table of texts.")
    for key, texts in table.items():
        if not (type(key) is int and isinstance(texts, dict)):
            raise DataFileError(f"{path}, id {key!r}: expected an integer and its texts.")
        if not all(isinstance(part, str) for pair in texts.items() for part in pair):
            raise DataFileError(f"{path}, id {key}: a field is not text.")
    return table


def build_data(interactions: Interactions, name: str) -> HeteroData:
    r"""Builds the graph that the whole package works on, without embeddings.

    Args:
        interactions (Interactions): The three splits.
        name (str): Name of the data set.
    """
    train, val, test = interactions.splits
    data = HeteroData()
    data.name = name
    data["user"].num_nodes = interactions.num_users
    data["item"].num_nodes = interactions.num_items
    rates = data[EDGE_TYPE]
    rates.edge_index, rates.val_edge_label_index, rates.edge_label_index = train, val, test
    data[REVERSE_TYPE].edge_index = train.flip([0])
    return data
