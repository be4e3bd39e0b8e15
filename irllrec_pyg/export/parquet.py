"""Tables of Parquet: ids with vectors, and lists."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor
from tqdm import tqdm

from ..linear.item_weights import ItemWeights
from ..ranking import Ranker
from ..ranking.positions import Exclude, check_length
from .folder import embeddings

BLOCK = 1024  # users whose lists are made and written at once


def write(
    ranker: Ranker, folder: Path, k: int = 20, exclude: Exclude = "known", weights: int = 100
) -> dict[str, Any]:
    """Writes ``users.parquet``, ``items.parquet`` and ``lists.parquet``, and of models with weights
    between items ``weights.parquet``.

    - ``users``, ``items``: ``user`` or ``item``, the owner's id, in the model's order, and
      ``vector``, where scores are dot products of vectors; beside the items the other columns of
      their table.
    - ``lists``: ``user``, ``item``, ``rank`` from 1 and ``score``, as :meth:`Ranker.recommend`.
    - ``weights``: ``item``, ``listed`` and ``weight``: what having one item adds to the score of
      the other; of each item the greatest by size.

    Args:
        ranker (Ranker): The model.
        folder (Path): Where they go.
        k (int, optional): Length of the lists. (default: ``20``)
        exclude (str or Tensor, optional): What is left out of them. (default: ``"known"``)
        weights (int, optional): How many of an item's weights are written. (default: ``100``)
    """
    check_length(k)
    vectors = embeddings(ranker)
    for at, side in enumerate(("user", "item")):
        columns = {side: _ids(ranker, side)}
        if side == "item" and ranker.item_table is not None:
            columns |= _columns(ranker, ranker.item_table)
        if vectors is not None:
            columns["vector"] = _vectors(vectors[at])
        pq.write_table(pa.table(columns), folder / f"{side}s.parquet")
    _write_lists(ranker, folder / "lists.parquet", k, exclude)
    if isinstance(ranker, ItemWeights):
        _write_weights(ranker, folder / "weights.parquet", min(weights, ranker.num_items))
    return {"k": k, "width": None if vectors is None else vectors[0].size(1)}


def _ids(ranker: Ranker, side: str) -> pa.Array:
    ids = list(ranker.ids(side))
    return pa.array(ids, _id_type(ranker, side))


def _id_type(ranker: Ranker, side: str) -> pa.DataType:
    kinds = {isinstance(value, str) for value in ranker.ids(side)}
    if len(kinds) > 1:
        raise ValueError(
            f"The ids of {side}s are numbers and texts; a column of Parquet holds one of them."
        )
    return pa.string() if True in kinds else pa.int64()


def _columns(ranker: Ranker, table: pd.DataFrame) -> dict[str, pa.Array]:
    rows = table.reindex(list(ranker.ids("item"))).drop(columns="item", errors="ignore")
    columns = {}
    for name in rows:
        try:
            columns[str(name)] = pa.array(rows[name], from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(
                f"Column {name!r} of the items' table has values of several kinds ({error}); a "
                "column of Parquet holds one: make them texts, or leave it out."
            ) from None
    return columns


def _vectors(rows: Tensor) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.flatten().numpy()), rows.size(1))


def _write_lists(ranker: Ranker, path: Path, k: int, exclude: Exclude) -> None:
    schema = pa.schema(
        [
            ("user", _id_type(ranker, "user")),
            ("item", _id_type(ranker, "item")),
            ("rank", pa.int32()),
            ("score", pa.float32()),
        ]
    )
    ids = list(ranker.ids("user"))
    blocks = [ids[at : at + BLOCK] for at in range(0, len(ids), BLOCK)]
    with pq.ParquetWriter(path, schema) as file:
        for users in tqdm(blocks, unit="block of users", disable=len(blocks) < 2):
            lists = ranker.recommend(users, k, exclude)
            file.write_table(pa.Table.from_pandas(lists, schema, preserve_index=False))


def _write_weights(ranker: ItemWeights, path: Path, count: int) -> None:
    ids = _ids(ranker, "item")
    schema = pa.schema([("item", ids.type), ("listed", ids.type), ("weight", pa.float32())])
    with pq.ParquetWriter(path, schema) as file:
        for item in torch.arange(ranker.num_items).split(BLOCK):
            rows = ranker.weight[item].cpu().float()
            listed = rows.abs().topk(count, dim=1).indices
            columns = [
                ids.take(pa.array(item.repeat_interleave(count).numpy())),
                ids.take(pa.array(listed.flatten().numpy())),
                pa.array(rows.gather(1, listed).flatten().numpy()),
            ]
            file.write_table(pa.table(columns, schema))
