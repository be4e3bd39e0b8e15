"""The table of the items that rules and explanations read."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

#: What stands for "no value" in columns of numbers and truths.
EMPTY = ("", "nan", "na", "n/a", "none", "null")


def by_id(table: pd.DataFrame, ids: Sequence[int | str]) -> pd.DataFrame:
    """A table with a column ``item`` as one that is indexed by the owner's ids.

    Args:
        table (DataFrame): A row for each item; of an item's rows the first counts, and items that
            are not among the ids are left out.
        ids (sequence): The owner's ids. Those of the table may be their text.

    Returns:
        The table, in its order, with columns of text as numbers or truths where they hold such.
    """
    known = {str(value): value for value in ids}
    rows = table.assign(item=table["item"].astype(str)).drop_duplicates("item").set_index("item")
    rows = rows[rows.index.isin(list(known))].copy()
    for name in rows:
        if all(isinstance(value, str) for value in rows[name]):
            rows[name] = typed(rows[name])
    return rows.set_axis(rows.index.map(known.get).rename("item"))


def typed(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column of text as numbers or truths where every value is one or none; ``007`` is text."""
    words = column.str.strip().str.lower()
    full = column[~words.isin(EMPTY)]
    words = words[full.index]
    if len(full) and words.isin(["true", "false"]).all():
        typed: pd.Series[Any] = words.eq("true").reindex(column.index, fill_value=False)
        return typed
    numbers = pd.to_numeric(full, errors="coerce")
    if len(full) and numbers.notna().all() and not full.str.match(r"\s*[+-]?0\d").any():
        return numbers.reindex(column.index)
    return column
