r"""Tables of text in files: finding them, reading them, and the core of their interactions."""

import csv
import gzip
import os
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .safe_pickle import DataFileError

_SEPARATORS = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}
KINDS = (*_SEPARATORS, ".parquet")
_DAMAGED = (pd.errors.ParserError, pd.errors.ParserWarning, gzip.BadGzipFile, zlib.error, EOFError)


def find_table(folder: str | os.PathLike[str], stem: str) -> Path | None:
    r"""The file of a table, such as ``interactions.csv.gz``, or ``None``.

    Raises:
        DataFileError: If there are several, or one of a kind that is not read.
    """
    found = sorted(path for path in Path(folder).glob(f"{stem}.*") if path.is_file())
    usable = [path for path in found if path.name.removeprefix(stem) in KINDS]
    if len(usable) > 1:
        raise DataFileError(
            f"{folder} holds {' and '.join(path.name for path in usable)}: keep one of them."
        )
    if found and not usable:
        raise DataFileError(f"{found[0]} must be one of {', '.join(KINDS)} to be read.")
    return usable[0] if usable else None


def read_table(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    r"""Reads a table as text, whatever it holds: the id ``007`` stays ``007``.

    Args:
        path (Path): A file as :func:`find_table` gives it.
        columns (sequence of str, optional): Those without which it is of no use. (default: none)

    Returns:
        A table of str; empty cells are ``""``. Its index tells where a row stands, and its index's
        name how that is counted: by the ``line`` of the file at which the row begins, the head
        being line 1, as an editor or a spreadsheet shows it; in Parquet, which has no lines, by the
        ``row``, from 1.

    Raises:
        DataFileError: For a damaged file, one without rows, or one of these columns missing or
            with an empty cell; names file, row and column.
        ImportError: For Parquet without a package that reads it; says which.
    """
    separator = next((sep for end, sep in _SEPARATORS.items() if path.name.endswith(end)), None)
    if separator is None:
        try:
            table = pd.read_parquet(path)
        except ImportError:
            raise ImportError(
                f"{path} needs pyarrow: pip install pyarrow, or write the table as .csv.gz"
            ) from None
        except (OSError, ValueError) as error:
            raise DataFileError(f"{path} is not a Parquet file ({error}).") from error
        table = table.reset_index(drop=True).map(as_text)
        table.index = pd.RangeIndex(1, len(table) + 1, name="row")
    else:
        table = read_delimited(path, separator, encoding="utf-8-sig")
        table.index = _lines(path, separator, len(table))
    table.columns = pd.Index([str(column).strip() for column in table.columns])
    if twice := list(table.columns[table.columns.duplicated()]):
        raise DataFileError(f"{path} has two columns {twice[0]!r}; give one of them another name.")
    for column in columns:
        if column not in table:
            raise DataFileError(
                f"{path} has no column {column!r}; its first row names the columns, separated by "
                f"{separator!r}: {', '.join(table.columns)}."
            )
        empty = table.index[table[column] == ""]
        if len(empty):
            raise DataFileError(
                f"{place(path, table, empty[0])}: column {column!r} is empty ({len(empty)} such "
                "rows). Fill it in, or leave out such rows."
            )
    return table


def read_delimited(path: Path, separator: str, **options: Any) -> pd.DataFrame:
    r"""Reads a table of text, indexed by the number of the row, from 1.

    Args:
        path (Path): The file.
        separator (str): What separates its columns.
        **options: Of :func:`pandas.read_csv`.

    Raises:
        DataFileError: For a file that is damaged, has no row, or rows longer than the first.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table: pd.DataFrame = pd.read_csv(
                path, sep=separator, dtype=str, keep_default_na=False, index_col=False, **options
            )
    except pd.errors.EmptyDataError:
        raise DataFileError(f"{path} is empty.") from None
    except UnicodeDecodeError as error:
        kind = "UTF-16" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else "CP1252"
        raise DataFileError(
            f"{path} must be in UTF-8, and is perhaps in {kind} ({error}). Save it as 'CSV UTF-8', "
            f"or convert it: iconv -f {kind} -t UTF-8 FILE > NEW."
        ) from error
    except _DAMAGED as error:
        _refuse_separator(path, _head(path, separator), separator)
        raise DataFileError(
            f"{path} is damaged or not a table: {_too_long(path, separator) or str(error).strip()}."
            f" Rows are as long as the first line, with {separator!r} between the columns, in "
            "UTF-8."
        ) from error
    _refuse_separator(path, list(map(str, table.columns)), separator)  # numbers, without a header
    if table.empty:
        raise DataFileError(f"{path} has no row.")
    table.index = pd.RangeIndex(1, len(table) + 1)
    return table


def _refuse_separator(path: Path, head: list[str], separator: str) -> None:
    found = [sign for sign in ";\t|" if sign in head[0]] if len(head) == 1 else []
    if found:
        read = f"pd.read_csv({path.name!r}, sep={found[0]!r}, dtype=str, keep_default_na=False)"
        raise DataFileError(
            f"{path} has {found[0]!r} between its columns, and must have {separator!r}: export it "
            f"with commas as .csv, or with tabs as .tsv, or in Python: {read}.to_csv('new.csv', "
            "index=False)."
        )


def _head(path: Path, separator: str) -> list[str]:
    """The first row, nothing where it cannot be read."""
    try:
        return next(_records(path, separator))[1]
    except (csv.Error, OSError, ValueError, StopIteration, *_DAMAGED):
        return []


def place(path: str | os.PathLike[str], table: pd.DataFrame, at: int) -> str:
    r"""Where a row of :func:`read_table` stands, for messages: ``interactions.csv, line 17``."""
    return f"{path}, {table.index.name} {at}"


def _lines(path: Path, separator: str, count: int) -> "pd.Index[Any]":
    """The lines of a file at which its ``count`` rows begin."""
    with _opened(path, "rb") as file:
        breaks, end = 0, b""
        while block := file.read(1 << 24):
            breaks, end = breaks + block.count(b"\n"), block[-1:]
    if breaks + (end != b"\n") == count + 1:
        return pd.RangeIndex(2, count + 2, name="line")
    # Some rows have several lines, or none: pandas does not tell which, and the csv module does.
    try:
        starts = [line for line, _ in _records(path, separator)]
    except csv.Error:  # such as of a cell that is longer than the module takes
        starts = []
    if len(starts) == count + 1:
        return pd.Index(starts[1:], name="line")
    return pd.RangeIndex(1, count + 1, name="row")


def _too_long(path: Path, separator: str) -> str:
    """The first row with more values than the head, in words; pandas does not count all lines."""
    try:
        rows = _records(path, separator)
        _, head = next(rows)
        for line, row in rows:
            if len(row) > len(head):
                return f"line {line} has {len(row)} values, and the first line {len(head)}"
    except (csv.Error, OSError, ValueError, StopIteration, *_DAMAGED):
        pass  # it is damaged otherwise, as pandas said
    return ""


def _records(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a file, the head first, each with the line at which it begins."""
    with _opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        reader, begin = csv.reader(file, delimiter=separator), 1
        for row in reader:
            if len(row) > 1 or "".join(row).strip():  # pandas leaves out lines of blanks
                yield begin, row
            begin = reader.line_num + 1


def _opened(path: Path, mode: str, **options: Any) -> Any:
    return (gzip.open if path.name.endswith(".gz") else open)(path, mode, **options)


def as_text(value: Any) -> str:
    r"""A cell as text: nothing where it is empty, a list's entries with commas between them."""
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(filter(None, map(as_text, value)))
    if pd.isna(value):
        return ""
    # What pandas makes of integers in a column with a gap.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def k_core(user: NDArray[Any], item: NDArray[Any], k: int) -> NDArray[np.bool_]:
    r"""Which interactions are left when users and items with fewer than ``k`` partners are left
    out until none remains.

    Args:
        user (numpy.ndarray): User of each interaction, of shape :math:`(E)`.
        item (numpy.ndarray): Its item, of shape :math:`(E)`.
        k (int): So many different partners.

    Shapes:
        - **output:** bool of shape :math:`(E)`.
    """
    pairs = pd.DataFrame({"user": pd.factorize(user)[0], "item": pd.factorize(item)[0]})
    kept = pairs.drop_duplicates()
    while len(kept):
        sides = [np.bincount(kept[side])[kept[side]] for side in kept]
        few = np.minimum(*sides) < k
        if not few.any():
            break
        kept = kept[~few]
    whole = pairs["user"].isin(kept["user"]) & pairs["item"].isin(kept["item"])
    return whole.to_numpy()


def largest_core(user: NDArray[Any], item: NDArray[Any], k: int) -> int:
    r"""The largest core, up to ``k``, that holds any interaction."""
    return next(core for core in range(k, -1, -1) if k_core(user, item, core).any())


def core_of(table: pd.DataFrame, k: int, path: Path) -> pd.DataFrame:
    r"""The rows of a table of interactions that are left in its core.

    Raises:
        DataFileError: If none is; says which core has some.
    """
    sides = table["user"].to_numpy(), table["item"].to_numpy()
    core = table[k_core(*sides, k)]
    if core.empty:
        raise DataFileError(
            f"{path}: nothing is left of {len(table)} interactions with 'k_core' {k}; "
            f"{largest_core(*sides, k)} is the largest that leaves some (--k-core)."
        )
    return core
