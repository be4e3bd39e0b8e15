r"""Writing a data set in the published layout, which :class:`~.IRLLRecDataset` reads again."""

import json
import os
import pickle
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE, PAIRS
from ..files import atomic_path, sync
from ..ids import plain_id
from .formats import EMBEDDINGS, IDS, MATRICES, PROFILES, check_ids

# The readers of the published layout go back to Python 3.8; protocol 5 has another form of arrays.
_PROTOCOL = 4


def write_published(
    data: HeteroData,
    folder: str | os.PathLike[str],
    profiles: tuple[Mapping[int, Any], Mapping[int, Any]] | None = None,
) -> Path:
    r"""Writes a graph in the published layout: matrices, ids, and the embeddings that it has.

    All files are complete on the disk before the first of them takes its name, and
    ``trn_mat.pkl``, without which nothing is read, is there last; a failure before that leaves the
    folder as it was. Embeddings and ids that an earlier data set left there are removed.

    .. code-block:: python

        data = from_interactions(df, user="customer", item="isbn")
        write_published(data, "root/mine/raw")
        IRLLRecDataset("root", "mine")[0]["item"].raw_id  # the owner's ISBNs

    Args:
        data (HeteroData): A graph as :func:`~irllrec_pyg.datasets.from_interactions` or
            :class:`~irllrec_pyg.datasets.IRLLRecDataset` gives it.
        folder (str or os.PathLike): Folder to write to, made where it is missing.
        profiles (tuple, optional): Texts of the users and of the items by node, each as
            :func:`~irllrec_pyg.datasets.read_profiles` gives them. (default: ``None``)

    Returns:
        The folder.

    Raises:
        ValueError: For ids that are no integers or strings, not one a node, or repeated.
        OSError: Where a file cannot be written, for want of space or permission; names it.
    """
    target = Path(folder)
    files = _files(data)
    for name, table in zip(PROFILES, profiles or (), strict=profiles is not None):
        files[name] = pickle.dumps(dict(table), _PROTOCOL)
    with ExitStack() as stack:
        for name, content in files.items():
            temporary = stack.enter_context(atomic_path(target / name))
            if isinstance(content, bytes):
                temporary.write_bytes(content)
            else:
                with open(temporary, "wb") as file:
                    pickle.dump(content, file, _PROTOCOL)
            sync(temporary)
        # Names are given in the reverse order. A process that is killed meanwhile leaves a folder
        # that is refused, instead of old and new files together.
        optional = {IDS, *(name for pair in EMBEDDINGS.values() for name in pair)}
        for stale in (MATRICES[0], *(optional - files.keys())):
            (target / stale).unlink(missing_ok=True)
    return target


def _files(data: HeteroData) -> dict[str, Any]:
    sizes = {side: int(data[side].num_nodes) for side in ("user", "item")}
    files: dict[str, Any] = {}
    for name, field in zip(MATRICES, PAIRS.values(), strict=True):
        pairs = data[EDGE_TYPE].get(field)
        user, item = np.zeros((2, 0), np.int64) if pairs is None else pairs.cpu().numpy()
        files[name] = coo_matrix((np.ones(len(user)), (user, item)), tuple(sizes.values()))
    ids = {}
    for side, size in sizes.items():
        if (raw := data[side].get("raw_id")) is not None:
            where = f"data[{side!r}].raw_id"
            ids[side] = [plain_id(value, where) for value in raw]
            check_ids(ids[side], size, where)
    if ids:
        # Escaped: an id may hold line breaks and halves of characters.
        files[IDS] = (json.dumps(ids, indent=0) + "\n").encode()
    for field, names in EMBEDDINGS.items():
        for side, name in zip(sizes, names, strict=True):
            if (vectors := data[side].get(field)) is not None:
                files[name] = vectors.detach().cpu().numpy()
    return files
