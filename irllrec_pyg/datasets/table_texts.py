r"""What is embedded of tables of items and users: which columns, and what has no text."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from .safe_pickle import DataFileError
from .tables import place, read_table


def rows_by_position(path: Path, key: str, ids: list[str], warn: bool = True) -> pd.DataFrame:
    r"""The rows of a table of items or users by position, empty where there is none.

    Args:
        path (Path): The table.
        key (str): Its column of ids; of an id's rows the first counts.
        ids (list of str): The ids, by position.
        warn (bool, optional): Whether to warn of ids with several rows. (default: ``True``)
    """
    table = read_table(path, [key])
    twice = table[key].duplicated()
    if warn and twice.any():
        row = table.index[twice][0]
        warnings.warn(
            f"{place(path, table, row)}: the {key} {table[key][row]!r} is there already "
            f"({int(twice.sum())} such rows). The first row of each counts.",
            stacklevel=2,
        )
    return table[~twice].set_index(key).reindex(ids, fill_value="").reset_index()


def user_texts(path: Path, ids: list[str]) -> list[str]:
    r"""The texts of users by position, with a warning of what they may tell.

    Raises:
        DataFileError: If the table has no column of texts.
    """
    users = rows_by_position(path, "user", ids)
    if "text" not in users:
        raise DataFileError(f"{path} has no column 'text'.")
    warnings.warn(
        f"{path}: texts of users may tell of held-out interactions, unless they were written from "
        "the training interactions of this very split. Results with them are marked "
        "(data['user'].x_may_leak).",
        stacklevel=2,
    )
    return joined(users, ["text"])


def listed(columns: str | Iterable[str] | None) -> list[str]:
    r"""Names of columns as a list."""
    return [columns] if isinstance(columns, str) else list(columns or ())


def joined(table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    r"""The texts of columns, joined by ". "; ``""`` where all are empty."""
    parts = [table[column].str.strip().tolist() for column in columns]
    if not parts:
        return [""] * len(table)
    return [". ".join(filter(None, row)) for row in zip(*parts, strict=True)]


class ItemTexts:
    r"""The texts of items by field.

    Args:
        table (DataFrame): The rows of the items, by position.
        source (Path or str): The table's file, or the folder where there is none.
        columns (mapping of str to list of str): The columns that were asked for, by field; none
            is ``text``, else ``title``, for ``x``.
    """

    def __init__(
        self, table: pd.DataFrame, source: Path | str, columns: Mapping[str, list[str]]
    ) -> None:
        self.table, self.source, self._asked = table, source, columns

    def columns(self, field: str) -> list[str]:
        r"""The columns that make up a field.

        Raises:
            DataFileError: If one is missing.
        """
        asked = self._asked[field]
        for column in asked:
            if column not in self.table:
                raise DataFileError(
                    f"{self.source} has no column {column!r} to embed; its columns are "
                    f"{', '.join(self.table.columns)}."
                )
        if not asked and field == "x":
            return [column for column in ("text", "title") if column in self.table][:1]
        return asked

    def texts(self, field: str) -> list[str]:
        r"""The texts of a field, by position; ``""`` for items without one."""
        return joined(self.table, self.columns(field))

    def why_none(self, field: str) -> str | None:
        r"""Why a field has no text at all, and what to do; ``None`` where it has one."""
        if field == "intent" and not self._asked["intent"]:
            return (
                "pass intent='COLUMN' to TableDataset, or --intent COLUMN to a command, a column "
                "of items with such texts."
            )
        if isinstance(self.source, str):
            return f"put a table items.csv with the columns item and text into {self.source}."
        if any(self.texts(field)):
            return None
        if not self.columns(field):
            return f"{self.source} has no column 'text' or 'title'; name columns by text='COLUMN'."
        return (
            f"{self.source} has no text for any item of the interactions, such as "
            f"{self.table['item'][0]!r}, in {' or '.join(self.columns(field))}. "
            "Are the ids written in the same way?"
        )

    def fill(self, vectors: Tensor, field: str, warn: bool = True) -> Tensor:
        r"""Vectors with the mean of the others' for items without a text, and a warning."""
        empty = torch.tensor([not text for text in self.texts(field)])
        if not empty.any():
            return vectors
        if warn:
            first = self.table["item"][int(empty.nonzero()[0])]
            warnings.warn(
                f"{self.source}: {int(empty.sum())} of {len(empty)} items have no text, or no row "
                f"at all, such as {first!r}. They get the mean of the others' vectors.",
                stacklevel=2,
            )
        return torch.where(empty[:, None], vectors[~empty].mean(dim=0), vectors)
