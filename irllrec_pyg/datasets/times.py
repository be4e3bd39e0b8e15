r"""The order in time of a column of numbers or dates, however they are written."""

import re
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
_ISO = re.compile(
    r"\s*\d{4}-\d{2}-\d{2}"
    r"([T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?(?P<zone>Z|[+-]\d{2}(:?\d{2})?)?)?\s*"
)


def time_order(column: "pd.Series[Any]", name: str, file: Path | None = None) -> NDArray[np.int64]:
    r"""Numbers the distinct times of a column in their order.

    Numbers are compared as numbers, also where they are text. Dates may be those of Python, NumPy
    or pandas, or text in ISO 8601 (``2023-01-05``, ``2023-01-05T18:30:00+01:00``); with time zones
    they are compared as moments. Any other text has more than one reading (``05.01.2023``) and is
    refused.

    Args:
        column (pandas.Series): One time a row, none of them missing.
        name (str): Name of the column, for messages.
        file (Path, optional): The file that it is of, for messages. (default: a table ``df``)

    Shapes:
        - **output:** int64 of shape :math:`(E)`, from 0 at the earliest time.

    Raises:
        ValueError: For a time that cannot be read, or that is of another kind than the first one;
            names the row and says what to do.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype.kind in "iufM":
        return _ranks(column.to_numpy())
    values = column.tolist()
    kinds = [time_kind(value) for value in values]
    for row, kind in enumerate(kinds):
        if kind is None or kind != kinds[0]:
            what = "must be a number, a date or an ISO 8601 text"
            if kind is not None:
                first = f"{_counted(column)} {column.index[0]} ({values[0]!r})"
                what = f"must be a {kinds[0]} like {first}"
            raise _error(column, row, name, what, file)
    if kinds[0] == "number":
        return _ranks([_number(value) for value in values])
    moments = pd.to_datetime(
        column.astype(object).map(_plain_text), format="ISO8601", utc=True, errors="coerce"
    )
    if moments.isna().any():
        row = int(np.flatnonzero(moments.isna())[0])
        raise _error(column, row, name, "must be a day and hour that exist", file)
    return _ranks(moments.to_numpy())


def time_kind(value: object) -> str | None:
    r"""What a time is, in words, or nothing where it cannot be read as one."""
    if isinstance(value, str):
        if _NUMBER.fullmatch(value):
            return "number"
        found = _ISO.fullmatch(value)
        return found and ("date with a time zone" if found["zone"] else "date without a time zone")
    if isinstance(value, date):  # of which datetime and pandas.Timestamp are kinds
        zone = isinstance(value, datetime) and value.tzinfo is not None
        return "date with a time zone" if zone else "date without a time zone"
    if isinstance(value, np.datetime64):
        return "date without a time zone"
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return None
    return "number"


def _number(value: Any) -> int | float:
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"\s*[+-]?\d+\s*", value) else float(value)
    return value.item() if isinstance(value, np.generic) else value  # type: ignore[no-any-return]


def _plain_text(value: Any) -> Any:
    return value.strip().replace(",", ".") if isinstance(value, str) else pd.Timestamp(value)


def _ranks(values: Any) -> NDArray[np.int64]:
    if isinstance(values, list):
        values = np.array(values, object)  # Python's numbers, which are compared exactly
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _counted(column: "pd.Series[Any]") -> str:
    """What the index counts: rows of a table in memory, or lines of a file."""
    return "line" if column.index.name == "line" else "row"


def _error(
    column: "pd.Series[Any]", row: int, name: str, what: str, file: Path | None
) -> ValueError:
    mend = (
        f"Convert the column first: df[{name!r}] = pd.to_datetime(df[{name!r}], format=…), for "
        "example format='%d.%m.%Y'"
        if file is None
        else "Write all times alike, as numbers or as dates such as 2024-01-31; 'irllrec data "
        f"check {file.parent}' names them"
    )
    return ValueError(
        f"{file or 'df'}, {_counted(column)} {column.index[row]}: column {name!r} {what}, got "
        f"{column.iloc[row]!r}. {mend}"
    )
