"""The table of the items that rules and explanations read."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

#: What stands for "no value" in columns of numbers and truths.
EMPTY = ("", "nan", "na", "n/a", "none", "null")
_NOTHING = {"number": float("nan"), "truth": False, "text": "", "other": None}
_MUST_BE = {"number": "a number", "truth": "true or false"}


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


def with_rows(table: pd.DataFrame, rows: Mapping[Any, Mapping[Any, Any]]) -> pd.DataFrame:
    """A table of items with other values, and with further rows; the old one stays as it was.

    A value that is of another kind than its column would make every condition on the column fail,
    and is refused; in a new row, a column without a value is empty.

    Args:
        table (DataFrame): A row an item, indexed by the owner's ids.
        rows (mapping): Values by column, by id; columns that the table does not have are left out.

    Raises:
        ValueError: If a value is of another kind than its column; names item and column.
    """
    new = [item for item in rows if item not in table.index]
    old = [item for item in rows if item in table.index]
    columns = {}
    for name in table:
        column, kind = table[name], _kind(table[name])
        changed = {
            item: _cell(rows[item][name], kind, name, item) for item in old if name in rows[item]
        }
        added = [_cell(rows[item].get(name), kind, name, item) for item in new]
        values = [*changed.values(), *added]
        if kind == "number" and any(isinstance(value, float) for value in values):
            column = column.astype(float)
        if changed:
            column = column.copy()
            column.loc[list(changed)] = list(changed.values())
        if new:
            more = pd.Series(added, pd.Index(new, dtype=table.index.dtype), column.dtype)
            column = pd.concat([column, more])
        columns[name] = column
    found = pd.DataFrame(columns)
    found.index.name = table.index.name
    return found


def _kind(column: "pd.Series[Any]") -> str:
    if pd.api.types.is_bool_dtype(column):
        return "truth"
    if pd.api.types.is_numeric_dtype(column):
        return "number"
    return "text" if pd.api.types.is_string_dtype(column) else "other"


def _cell(value: Any, kind: str, column: Hashable, item: Hashable) -> Any:
    """A value as the column has it; such as of a file may be text."""
    if kind == "other":
        return value
    word = value.strip().lower() if isinstance(value, str) else value
    if pd.isna(value) or (kind != "text" and word in EMPTY):
        return _NOTHING[kind]
    if kind == "text":
        return value if isinstance(value, str) else str(value)
    if kind == "truth":
        if isinstance(value, bool) or word in ("true", "false"):
            return word in (True, "true")
    elif not isinstance(value, bool):
        try:
            number = float(word)
            whole = number.is_integer() and abs(number) < 1 << 53
        except (TypeError, ValueError, OverflowError):
            pass
        else:
            return int(number) if whole else number
    raise ValueError(
        f"{str(column)!r} of item {item!r} must be {_MUST_BE[kind]}, as it is of other items, got "
        f"{value!r}."
    )
