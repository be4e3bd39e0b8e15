"""An index of faiss beside its ids."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np

from ..config import ConfigError
from ..ranking import ItemIndex, Ranker
from .folder import embeddings, write_ids


def write(ranker: Ranker, folder: Path, exact: bool = False, **settings: Any) -> dict[str, Any]:
    """Writes ``items.faiss``, ``items.json``, ``users.npy`` and ``users.json``.

    The index finds items by the greatest dot products with a user's vector, a row of ``users.npy``;
    what it returns are positions in ``items.json``. It knows nothing of what a user has seen: ask
    for as many items more.

    Args:
        ranker (Ranker): The model.
        folder (Path): Where they go.
        exact (bool, optional): Compare with all items, and not only those of the nearest cells.
            (default: ``False``)
        **settings: Those of :class:`ItemIndex.Config`.

    Raises:
        ConfigError: If scores are no dot products.
    """
    vectors = embeddings(ranker)
    if vectors is None:
        raise ConfigError(
            f"The scores of {type(ranker).__name__} are no dot products of vectors, which an index "
            "needs; export it to parquet, or one with weights between items to onnx."
        )
    users, items = vectors
    index = ItemIndex(items, **({"cells": 1} if exact else settings))
    inner = index._index
    if index.cells > 1:
        inner.nprobe = min(index.config.probes, index.cells)
    faiss.write_index(inner, str(folder / "items.faiss"))
    np.save(folder / "users.npy", users.numpy())
    for side in ("user", "item"):
        write_ids(ranker, side, folder / f"{side}s.json")
    return {"width": items.size(1), "cells": index.cells}
