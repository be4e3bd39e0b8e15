"""Rows that may be compared, with what the comparison says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ..config import ConfigError, unknown_name
from ..study.config import TUNED_BY
from ..study.statistics import crossed_mean
from .apart import apart
from .charts import Chart
from .comparing import GROUP_METRIC, TEST, by_degree, by_history, compared, curves
from .reading import NAN, Comparison, Row, Source, Value, read


@dataclass
class Board:
    """A table: rows that were ranked on the same held-out pairs.

    Args:
        data, setting (str): The data set, and how it was split.
        rows (list of Row): Baselines first.
        metrics (list of str): The columns, the first one first.
        comparisons (list of Comparison): Of rows.
        test (str): The test behind them, or why there is none.
        charts (list of Chart): Pictures of lines.
        pictures (list): Pairs of a title and an image as ``data:`` address.
    """

    data: str
    setting: str
    rows: list[Row]
    metrics: list[str]
    comparisons: list[Comparison]
    test: str
    charts: list[Chart] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def first(self) -> str:
        """The metric that is looked at first."""
        return self.metrics[0]

    def place(self, row: Row, metric: str) -> int:
        """1 for the best value of a column, 2 for the second best, else 0; equal ones share.

        Lists of more popular items are neither better nor worse: in such a column all are 0.
        """
        if metric.startswith("popularity@"):
            return 0
        value = shown(row, metric)
        seen = {shown(other, metric) for other in self.rows} - {""}
        order = sorted(seen, key=float, reverse=True)[:2]
        return order.index(value) + 1 if value in order else 0

    def found(self, row: Row, metric: str) -> Comparison | None:
        """The comparison that is marked beside a value."""
        for one in self.comparisons:
            if one.marked and (one.row, one.metric) == (row.key, metric):
                return one
        return None

    def words(self, key: str) -> str:
        """A row in words."""
        row = next((row for row in self.rows if row.key == key), None)
        if row is None:
            return key
        return f"{row.name}, {row.text}" if self.has_texts else row.name

    @property
    def has_texts(self) -> bool:
        """Whether a name alone does not tell rows apart."""
        return len({row.name for row in self.rows}) < len(self.rows)


@dataclass
class Report:
    """Everything that is shown."""

    title: str
    boards: list[Board]


def shown(row: Row, metric: str) -> str:
    """A value as tables have it; empty where there is none."""
    value = row.values.get(metric, Value(NAN)).mean
    return f"{value:.4f}" if np.isfinite(value) else ""


def build(
    paths: Sequence[str | Path],
    *,
    title: str = "",
    metrics: Sequence[str] | None = None,
    first: str | None = None,
    against: str | None = None,
    intents: bool = False,
) -> Report:
    """Reads runs and studies and compares what may be compared.

    Runs of the same data and split share a table; those that differ by seed alone share a row.

    Args:
        paths (sequence of str or Path): Folders of runs or studies, or ``summary.csv`` of these.
        title (str, optional): Of the page. (default: the data sets)
        metrics (sequence of str, optional): The columns. (default: all of them)
        first (str, optional): The metric that is looked at first. (default: the study's, else
            ``"ndcg@20"`` where there is one)
        against (str, optional): Name of the run with which the others are compared.
            (default: the baseline that is best by the first metric)
        intents (bool, optional): Whether to draw the intents of runs that have some, which opens
            their data sets. (default: ``False``)

    Raises:
        ConfigError: If there is nothing to compare, or a name is unknown.
        CheckpointError: If a file is damaged.
    """
    groups: dict[tuple[str, str, str], list[Source]] = {}
    for path in dict.fromkeys(Path(path).resolve() for path in paths):
        original = next(str(one) for one in paths if Path(one).resolve() == path)
        for source in read(original):
            groups.setdefault((source.data, source.hash, source.setting), []).append(source)
    known = dict.fromkeys(
        name for sources in groups.values() for one in sources for row in one.rows
        for name in row.values
    )  # fmt: skip
    for name in [*(metrics or []), *([first] if first else [])]:
        if name not in known:
            raise ConfigError(unknown_name("metric", name, list(known)))
    boards = [_board(sources, metrics, first, against) for sources in groups.values()]
    _set_apart(boards, list(groups.values()))
    if against is not None:
        names = [row.name for board in boards for row in board.rows]
        if against not in names:
            raise ConfigError(unknown_name("row", against, list(dict.fromkeys(names))))
    if intents:
        from .intents import intent_maps

        for board, sources in zip(boards, groups.values(), strict=True):
            board.pictures = intent_maps(source.path for source in sources)
    data = ", ".join(dict.fromkeys(board.data for board in boards))
    return Report(title or f"Recommendation on {data}", boards)


def _board(
    sources: list[Source], metrics: Sequence[str] | None, first: str | None, against: str | None
) -> Board:
    rows = _merged([row for source in sources for row in source.rows])
    rows.sort(key=lambda row: not row.is_baseline)
    names = list(dict.fromkeys(n for row in rows for n in row.values))
    columns = [n for n in names if GROUP_METRIC not in n and (metrics is None or n in metrics)]
    if len(rows) > 1 and not any(all(n in row.values for row in rows) for n in columns):
        raise ConfigError(
            f"{rows[0].name} and {rows[-1].name} have no metric in common: the first has "
            f"{', '.join(rows[0].values)}, the other {', '.join(rows[-1].values)}; give the runs "
            "the same --k and --metrics."
        )
    leading = _first(columns, first, [source.first for source in sources if source.first], rows)
    columns.sort(key=lambda name: name != leading)
    known = [one for source in sources for one in source.comparisons]
    test = next((source.test for source in sources if source.test), "")
    board = Board(sources[0].data, sources[0].setting, rows, columns, known, test)
    reference = _reference(board, against)
    if not known and reference is not None:
        board.comparisons = compared(board, reference)
        words = TEST.format(against=board.words(reference.key))
        board.test = words if board.comparisons else ""
        board.charts += by_history(board, reference)
    board.charts += [*by_degree(board), *curves(board)]
    return board


def _first(columns: list[str], wanted: str | None, known: list[str], rows: list[Row]) -> str:
    """The metric that is looked at first: one that every row has."""
    everywhere = [name for name in columns if all(name in row.values for row in rows)]
    for name in (wanted, *(known if len(set(known)) == 1 else []), TUNED_BY, *everywhere):
        if name in everywhere:
            return str(name)
    return columns[0]


def _merged(rows: list[Row]) -> list[Row]:
    """Rows with one name each; those of the same key become one, the mean of its seeds."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        same = groups.get(row.key, [])
        if row.origin and row.origin[0].get("seed") in [one.origin[0].get("seed") for one in same]:
            row.key += f" again {len(groups)}"  # the same run twice is no mean over seeds
        groups.setdefault(row.key, []).append(row)
    found = []
    for own in groups.values():
        one = own[0]
        if len(own) > 1:
            shared = [name for name in one.values if all(name in row.values for row in own)]
            one.values = {
                name: Value(float(np.mean([row.values[name].mean for row in own])))
                for name in shared
            }
            one.origin = [origin for row in own for origin in row.origin]
            one.repeats = f"mean of {len(own)} seeds"
            tables = [row.users for row in own if row.users is not None]
            one.users = _averaged(tables) if len(tables) == len(own) else None
            one.curves = [curve for row in own for curve in row.curves]
        found.append(one)
    for one in found:
        if one.users is not None:
            for name in [name for name in one.values if name in one.users]:
                zero = np.zeros(len(one.users))
                about = crossed_mean(one.users["user"], zero, one.users[name])
                one.values[name] = Value(one.values[name].mean, about.low, about.high)
    return _named_apart(found)


def _averaged(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables).groupby("user", sort=False).mean().reset_index()


def _named_apart(rows: list[Row]) -> list[Row]:
    """Gives runs whose folders have the same name the settings in which they differ as well."""
    for row in rows:
        same = [other for other in rows if (other.name, other.text) == (row.name, row.text)]
        if len(same) > 1:
            words = apart([{"model": other.model, **other.settings} for other in same])
            for other, said in zip(same, words, strict=True):
                other.name = f"{other.name} ({said})"
    return rows


def _set_apart(boards: list[Board], groups: list[list[Source]]) -> None:
    """Says of tables with one heading, whose held-out pairs differ, in which settings of the data
    they do.
    """
    headings: dict[tuple[str, str], list[int]] = {}
    for at, board in enumerate(boards):
        headings.setdefault((board.data, board.setting), []).append(at)
    for places in headings.values():
        if len(places) > 1:
            words = apart([groups[at][0].settings for at in places])
            for at, said in zip(places, words, strict=True):
                head, comma, rest = boards[at].setting.partition(", ")
                boards[at].setting = f"{head}, {said}{comma}{rest}"


def _reference(board: Board, against: str | None) -> Row | None:
    """What the others are compared with."""
    if against is not None:
        return next((row for row in board.rows if row.name == against), None)
    with_users = [row for row in board.rows if row.users is not None]
    candidates = [row for row in with_users if row.is_baseline] or with_users[:1]
    return max(candidates, key=lambda row: row.values[board.first].mean, default=None)
