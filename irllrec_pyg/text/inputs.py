r"""The tables that ``irllrec texts`` is told of."""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any, cast

import pandas as pd
from torch_geometric.data import HeteroData

from ..datasets import IRLLRecDataset, TableDataset, from_interactions
from ..datasets.config import DataConfig
from ..datasets.tables import find_table, read_table
from ..ids import plain_id
from .source import TrainingTexts


def place_of(args: argparse.Namespace) -> Path | None:
    """The folder of the data set that the arguments name."""
    if args.data is not None:
        found = DataConfig.at(args.data)
        return Path(found.root, found.name)
    return None if args.root is None or args.name is None else Path(args.root, args.name)


def read(args: argparse.Namespace) -> tuple[HeteroData, TrainingTexts]:
    """The data set, and what of it prompts may see."""
    user, item = args.user_column or "user", args.item_column or "item"
    try:
        parts = [float(share) for share in (args.split or "3:1:1").split(":")]
        shares = [part / sum(parts) for part in parts]
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"--split must be shares such as 3:1:1, got {args.split!r}.") from None
    place, items, seed = place_of(args), args.items, args.seed or 0
    tables = place is not None and find_table(place, "interactions") is not None
    if items is None and place is not None and tables:
        items = find_table(place, "items")
    if items is None:
        raise ValueError("--items is needed: a table with a row an item.")
    if args.interactions is not None:
        pairs, name = _table(args.interactions, user, item), Path(args.interactions).stem
        data = from_interactions(
            pairs, user, item, args.time_column, split=shares, seed=seed, name=name
        )
    elif place is None:
        raise ValueError("Say which data: --data, or --interactions.")
    elif tables:
        tabled = TableDataset(place.parent, place.name, shares=shares, seed=seed, encoder=None)
        data = cast(HeteroData, tabled[0])
    else:
        with warnings.catch_warnings():
            # That it has no embeddings is why this command is run.
            warnings.simplefilter("ignore", UserWarning)
            data = cast(HeteroData, IRLLRecDataset(place.parent, place.name)[0])
    reviews = None if args.reviews is None else _table(args.reviews, user, item)
    outside: Any = "drop" if args.drop_outside_training else "error"
    columns = (item, user, args.review_column or "review")
    return data, TrainingTexts(data, _table(str(items), item), reviews, outside, *columns)


def _table(path: str, *ids: str) -> pd.DataFrame:
    """A CSV, TSV, JSON-lines or Parquet file, its ids as text: ``00001`` stays ``00001``."""
    if not path.endswith((".jsonl", ".ndjson")):
        return read_table(Path(path))
    try:
        with open(path, encoding="utf-8") as file:
            found = {line: json.loads(x) for line, x in enumerate(file, 1) if x.strip()}
        table = pd.DataFrame(list(found.values()), pd.Index(found, name="line"), dtype=object)
        for name in {*ids} & {*table}:
            table[name] = [str(plain_id(value, f"column {name!r}")) for value in table[name]]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None
    return table
