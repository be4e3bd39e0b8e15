r"""Everything that is wrong with a folder of tables, with file, row and what to do."""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from .safe_pickle import DataFileError
from .tables import KINDS, find_table, k_core, largest_core, read_table
from .times import time_kind

SHOWN = 3  # rows that a message names
_MANGLED = re.compile(r"\d\.?\d*[eE]\+\d+")


class Problem(NamedTuple):
    r"""Something that is wrong, or may be.

    Args:
        file (str): Where.
        text (str): What is wrong.
        mend (str): What to do.
        at (int, optional): Where the first such row stands.
        fatal (bool): Whether the data set cannot be read before it is mended.
        counted (str): What ``at`` counts: ``"line"`` of the file, the head being line 1, or
            ``"row"`` of Parquet, from 1.
    """

    file: str
    text: str
    mend: str
    at: int | None = None
    fatal: bool = False
    counted: str = "line"

    def __str__(self) -> str:
        where = self.file if self.at is None else f"{self.file}, {self.counted} {self.at}"
        return f"{'error' if self.fatal else 'note'}: {where}: {self.text}. {self.mend}."


def check_tables(folder: str | os.PathLike[str], core: int = 5) -> list[Problem]:
    r"""Looks for every problem of a folder that :class:`~irllrec_pyg.datasets.TableDataset` reads.

    Args:
        folder (str or os.PathLike): The folder.
        core (int, optional): The ``k_core`` that the data set will have. (default: ``5``)

    Returns:
        The problems, those of the interactions first.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    place = Path(folder)
    if not place.is_dir():
        raise FileNotFoundError(
            f"{place} is no folder of tables. Make one of a table: irllrec data convert TABLE "
            "FOLDER --user COLUMN --item COLUMN."
        )
    found: list[Problem] = []
    pairs = _table(place, "interactions", ["user", "item"], found)
    if pairs is not None:
        found += _ids(pairs, "user") + _ids(pairs, "item")
        found += _repeated(pairs, ["user", "item"], "A pair counts once")
        found += _times(pairs)
        found += _core(pairs, core)
    items = _table(place, "items", ["item"], found)
    if items is not None:
        found += _ids(items, "item")
        found += _repeated(items, ["item"], "The first row of each counts")
        found += _texts(items)
        found += _commas(items)
        if pairs is not None:
            found += _partners(pairs, items)
    if (path := find_table(place, "users")) is not None:
        mend = "They may tell of held-out interactions; --user-text reads them all the same"
        found.append(Problem(str(path), "texts of users are left out", mend))
    return found


def _table(
    folder: Path, stem: str, columns: Sequence[str], found: list[Problem]
) -> pd.DataFrame | None:
    """A table with the columns, or nothing and why."""
    try:
        path = find_table(folder, stem)
        if path is None:
            needed = stem == "interactions"
            there = sorted(file.name for kind in KINDS for file in folder.glob(f"*{kind}"))
            hint = "" if needed else "; without it models work without texts"
            if needed and there:
                hint = f", or make a folder of the table that is one ({', '.join(there[:SHOWN])}): "
                hint += "irllrec data convert TABLE FOLDER --user COLUMN --item COLUMN"
            found.append(
                Problem(
                    str(folder / f"{stem}.csv"),
                    f"there is no table {stem}.csv, .csv.gz, .tsv or .parquet",
                    f"Put one there, with the column{'s' * (len(columns) > 1)} "
                    f"{' and '.join(columns)}{hint}",
                    fatal=needed,
                )
            )
            return None
        table = read_table(path)
    except DataFileError as error:
        text = str(error).rstrip(".")
        found.append(Problem(str(folder), text, "Mend the file", fatal=True))
        return None
    table.attrs["path"] = path
    for column in columns:
        if column not in table:
            text = f"there is no column {column!r}; there are {', '.join(map(str, table.columns))}"
            copy = f"irllrec data convert {path} FOLDER --{column} ITS_NAME"
            if stem == "items":
                pairs = find_table(folder, "interactions") or "TABLE"
                copy = f"irllrec data convert {pairs} FOLDER --items {path} --items-id ITS_NAME"
            mend = f"Rename it, or write a copy: {copy}"
            found.append(Problem(str(path), text, mend, fatal=True))
    return table if all(column in table for column in columns) else None


def _problem(
    table: pd.DataFrame, rows: "pd.Series[bool]", text: str, mend: str, fatal: bool = False
) -> list[Problem]:
    """One problem of all rows that a mask names, or none."""
    at = table.index[rows].tolist()
    if not at:
        return []
    counted = str(table.index.name)
    others = ", ".join(map(str, at[1:SHOWN])) + (", …" if len(at) > SHOWN else "")
    several = f"{counted}s" if len(at) > 2 else counted
    more = f" ({len(at)} such rows, also {several} {others})" if len(at) > 1 else ""
    return [Problem(str(table.attrs["path"]), text + more, mend, at[0], fatal, counted)]


def _ids(table: pd.DataFrame, column: str) -> list[Problem]:
    ids = table[column]
    copy = f"irllrec data convert {table.attrs['path'].parent} FOLDER --to tables"
    found = _problem(
        table,
        ids.str.strip() == "",
        f"column {column!r} is empty",
        f"Fill it in, or write a copy without such rows: {copy}",
        fatal=True,
    )
    for rows, text, mend in (
        (ids != ids.str.strip(), "has a space at its end", "with it and without it are two ids"),
        (
            ids.map(lambda value: _MANGLED.fullmatch(value) is not None),
            "looks like a number that a spreadsheet has rounded",
            "Export the column as text",
        ),
        (ids.str.contains("\ufffd"), "has lost a character", "Export the table in UTF-8"),
        (
            ids.map(lambda value: unicodedata.normalize("NFC", value) != value),
            "writes an accent as a character of its own",
            "Written with and without, 'é' is two ids: bring them to one form (NFC)",
        ),
    ):
        found += _problem(table, rows & (ids.str.strip() != ""), f"a {column} {text}", mend)
    return found


def _repeated(table: pd.DataFrame, columns: list[str], mend: str) -> list[Problem]:
    full = (table[columns] != "").all(axis=1)
    rows = table.duplicated(columns) & full
    if not rows.any():
        return []
    first = table.loc[rows, columns].iloc[0].tolist()
    return _problem(table, rows, f"{' and '.join(map(repr, first))} is there already", mend)


def _times(pairs: pd.DataFrame) -> list[Problem]:
    if "time" not in pairs:
        mend = "Splits are drawn at random then; those by time need one"
        return [Problem(str(pairs.attrs["path"]), "there is no column 'time'", mend)]
    kinds = pairs["time"].map(time_kind)
    usual = kinds.dropna().mode()
    full = (pairs[["user", "item"]] != "").all(axis=1)
    wrong = full & (kinds != (usual.iloc[0] if len(usual) else None))
    if not wrong.any():
        return []
    value = pairs.loc[wrong, "time"].iloc[0]
    wanted = f"{usual.iloc[0]} as others are" if len(usual) else "number or ISO 8601 date"
    return _problem(
        pairs,
        wrong,
        f"the time {value!r} is no {wanted}",
        "Only splits by time read it: write numbers, or dates as 2024-01-31 or 2024-01-31T18:30",
    )


def _core(pairs: pd.DataFrame, core: int) -> list[Problem]:
    user, item = pairs["user"].to_numpy(), pairs["item"].to_numpy()
    left = k_core(user, item, core)
    file = str(pairs.attrs["path"])
    if left.any():
        lost = len(left) - int(left.sum())
        if lost <= len(left) / 2:
            return []
        text = f"{lost} of {len(left)} interactions are not in the {core}-core"
        return [Problem(file, text, "Rare users and items are left out; see --k-core")]
    works = largest_core(user, item, core)
    text = f"no user and item has {core} interactions"
    return [Problem(file, text, f"Train with --k-core {works}", fatal=True)]


def _texts(items: pd.DataFrame) -> list[Problem]:
    columns = [column for column in ("text", "title") if column in items]
    if not columns:
        others = [column for column in map(str, items.columns) if column != "item"]
        mend = "Add one, or name columns: --text " + (",".join(others) or "COLUMN")
        return [Problem(str(items.attrs["path"]), "there is no column 'text' or 'title'", mend)]
    return _problem(
        items,
        (items[columns[0]].str.strip() == "") & (items["item"] != ""),
        f"column {columns[0]!r} is empty",
        "Such items get the mean of the others' vectors, which says nothing about them",
    )


def _commas(items: pd.DataFrame) -> list[Problem]:
    found: list[Problem] = []
    for column in items.columns.difference(["item", "title", "text"], sort=False):
        values = items[column].str.strip()
        rows = values.str.fullmatch(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+")
        if rows.sum() > (values != "").sum() / 2:
            text = f"column {column!r} has numbers with a decimal comma"
            mend = "They stay text, which no filter compares with numbers: write 12.50 for 12,50"
            found += _problem(items, rows, text, mend)
    return found


def _partners(pairs: pd.DataFrame, items: pd.DataFrame) -> list[Problem]:
    known = set(items["item"])
    rows = ~pairs["item"].isin(known) & (pairs["item"] != "")
    if not rows.any():
        return []
    first = pairs.loc[rows, "item"].iloc[0]
    plain = {_plain(value): value for value in known}
    alike = plain.get(_plain(first))
    hint = f"; {alike!r} has one: write ids in one way" if alike else ""
    return _problem(
        pairs,
        rows,
        f"the item {first!r} has no row in {items.attrs['path'].name}",
        f"It is without a text{hint}",
    )


def _plain(value: str) -> str:
    return unicodedata.normalize("NFC", value.strip()).casefold().lstrip("0")
