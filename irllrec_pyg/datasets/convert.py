r"""Data sets from one form into another, with the owner's ids: tables, and the published layout."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE, PAIRS
from ..files import atomic_path, write_text
from .formats import Interactions, build_data, unique_pairs
from .safe_pickle import DataFileError
from .tables import KINDS, find_table, read_table

#: Names of the splits in a column ``split`` of a table of interactions.
SPLITS = ("train", "val", "test")
PROFILE = "profile"
#: Beside tables that were converted: what their columns were called, for tables that come later.
COLUMNS_FILE = "columns.json"


class LeftOut(NamedTuple):
    r"""Rows of a table that a copy does not have.

    Args:
        without_id (int): Those with an empty id.
        repeated (int): Those whose id stands in a row before.
    """

    without_id: int = 0
    repeated: int = 0

    def __str__(self) -> str:
        said = ((self.without_id, "without an id"), (self.repeated, "whose id is there already"))
        return " and ".join(f"{count} row{'s' * (count > 1)} {why}" for count, why in said if count)


def clean_table(
    path: Path, columns: Mapping[str, str], once: str | None = None, option: str | None = None
) -> tuple[pd.DataFrame, LeftOut]:
    r"""A table whose columns have their names and no empty id, and how many rows are left out.

    Args:
        path (Path): The file.
        columns (mapping): Its name for each of ``user``, ``item`` and ``time`` that it must have;
            an empty time is no fault.
        once (str, optional): A column of ids of which the first row alone is kept.
            (default: none)
        option (str, optional): The option by which a missing column is named. (default: the
            column's own, such as ``--user``)

    Raises:
        DataFileError: If a column is missing or no row is left; names file and column.
    """
    if not path.name.endswith(KINDS):
        raise DataFileError(f"{path} must end in one of {', '.join(KINDS)}.")
    table = read_table(path)
    if len({*columns.values()}) < len(columns):
        named = ", ".join(f"--{name} {own}" for name, own in columns.items())
        raise DataFileError(f"{path}: each of {named} must be a column of its own.")
    for name, own in columns.items():
        if own not in table:
            raise DataFileError(
                f"{path} has no column {own!r}; its columns are {', '.join(table.columns)}. Name "
                f"the right one: {option or f'--{name}'} COLUMN."
            )
    names = {own: name for name, own in columns.items()}
    taken = [name for name in names.values() if name in table and name not in names]
    table = table.drop(columns=taken).rename(columns=names)
    sides = [name for name in columns if name in ("user", "item")]
    full = (table[sides].apply(lambda ids: ids.str.strip()) != "").all(axis=1)
    if not full.any():
        raise DataFileError(f"{path}: every row has an empty {' or '.join(sides)}.")
    table = table[full]
    again = table.duplicated(once) if once else pd.Series(False, index=table.index)
    return table[~again], LeftOut(int((~full).sum()), int(again.sum()))


def write_columns(folder: Path, columns: Mapping[str, str]) -> None:
    r"""Writes what ``user``, ``item`` and ``time`` were called in the file that was converted."""
    write_text(folder / COLUMNS_FILE, json.dumps(dict(columns), ensure_ascii=False))


def item_column(folder: Path, table: pd.DataFrame) -> str:
    r"""The column of items' ids in a table that belongs to a folder of tables: called as in the
    file of which the folder was made, else ``item``.

    Raises:
        DataFileError: If what the folder knows of it is damaged.
    """
    file = folder / COLUMNS_FILE
    try:
        name = json.loads(file.read_text(encoding="utf-8"))["item"] if file.exists() else "item"
        if not isinstance(name, str):
            raise ValueError(f"'item' is {str(name)[:50]}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataFileError(f"{file} is damaged ({error!r}); delete it.") from None
    return name if name in table else "item"


def write_table(table: pd.DataFrame, path: Path) -> None:
    r"""Writes a table as CSV, completely or not at all."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def clean_folder(source: Path, out: Path) -> dict[str, LeftOut]:
    r"""Writes the tables of a folder without rows that have no id, and items once.

    Args:
        source (Path): The folder.
        out (Path): Where the copy goes.

    Returns:
        How many rows are left out of each file.
    """
    left_out = {}
    for stem, once in (("users", "user"), ("items", "item"), ("interactions", None)):
        if (path := find_table(source, stem)) is None:
            continue
        wanted = [once] if once else ["user", "item"]
        table, left_out[path.name] = clean_table(path, {side: side for side in wanted}, once)
        write_table(table, out / f"{stem}.csv")
    return left_out


def graph_tables(
    data: HeteroData, profiles: Mapping[str, Mapping[int, Mapping[str, str]]]
) -> dict[str, pd.DataFrame]:
    r"""The tables of a graph, by the stem of their file: interactions with their split, items and
    users where there are texts of them.

    Args:
        data (HeteroData): The graph.
        profiles (mapping): Texts by side and node, as
            :func:`~irllrec_pyg.datasets.read_profiles` gives them, where there are any.
    """
    ids = {
        side: np.array(data[side].get("raw_id", range(data[side].num_nodes)), dtype=object)
        for side in ("user", "item")
    }
    parts = []
    for split, field in zip(SPLITS, PAIRS.values(), strict=True):
        user, item = data[EDGE_TYPE].get(field, torch.zeros(2, 0).long()).numpy()
        parts.append(
            pd.DataFrame({"user": ids["user"][user], "item": ids["item"][item], "split": split})
        )
    tables = {"interactions": pd.concat(parts, ignore_index=True)}
    for side, texts in profiles.items():
        words = [texts.get(node, {}).get(PROFILE, "") for node in range(len(ids[side]))]
        tables[f"{side}s"] = pd.DataFrame({side: ids[side], "text": words})
    return tables


def with_given_split(table: pd.DataFrame, name: str) -> HeteroData:
    r"""The graph of a table of interactions with a column ``split``, without texts.

    Args:
        table (DataFrame): With columns ``user``, ``item`` and ``split``: train, val or test.
        name (str): Name of the data set.

    Raises:
        DataFileError: For another split; names the row.
    """
    wrong = ~table["split"].isin(SPLITS)
    if wrong.any():
        row = table.index[wrong][0]
        raise DataFileError(
            f"interactions, {table.index.name} {row}: 'split' must be one of {', '.join(SPLITS)}, "
            f"got {table['split'][row]!r} ({int(wrong.sum())} such rows)."
        )
    ids = {side: sorted(table[side].unique()) for side in ("user", "item")}
    codes = {
        side: pd.Index(known).get_indexer(pd.Index(table[side])) for side, known in ids.items()
    }
    parts: list[Any] = []
    for split in SPLITS:
        rows = (table["split"] == split).to_numpy()
        pairs = unique_pairs(codes["user"][rows], codes["item"][rows], len(ids["item"]))
        parts.append(torch.from_numpy(pairs))
    if not parts[0].numel():
        raise DataFileError("interactions: no row has the split 'train'.")
    sizes = len(ids["user"]), len(ids["item"])
    data = build_data(Interactions(*sizes, (parts[0], parts[1], parts[2])), name)
    for side, known in ids.items():
        data[side].raw_id = known
    return data
