"""Rows that may be compared, with what the comparison says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ..config import ConfigError, unknown_name
from ..study.config import TUNED_BY, StudyConfig
from ..study.statistics import crossed_mean, holm, verdict
from .charts import Chart, Series
from .reading import NAN, Comparison, Row, Source, Value, read

MARGIN = StudyConfig().margin
GROUPS = StudyConfig().groups
GROUP_METRIC = "recall@20 items "  # of a study; by degree of items
TEST = (
    "each row against {against}: two-sided, over the same users with users as a random effect, "
    "values averaged over seeds, corrected by Holm over all rows and metrics of this table"
)


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
        """1 for the best value of a column, 2 for the second best, else 0; equal ones share."""
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
    compared = [one for source in sources for one in source.comparisons]
    test = next((source.test for source in sources if source.test), "")
    board = Board(sources[0].data, sources[0].setting, rows, columns, compared, test)
    reference = _reference(board, against)
    if not compared and reference is not None:
        board.comparisons = _compared(board, reference)
        words = TEST.format(against=board.words(reference.key))
        board.test = words if board.comparisons else ""
        board.charts += _by_history(board, reference)
    board.charts += [*_by_degree(board), *_curves(board)]
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
    """Gives runs whose folders have the same name the names of the folders above as well."""
    for row in rows:
        same = [other for other in rows if (other.name, other.text) == (row.name, row.text)]
        if len(same) > 1:
            for at, other in enumerate(same, 1):
                other.name = f"{other.name} ({other.model}, {at})"
    return rows


def _reference(board: Board, against: str | None) -> Row | None:
    """What the others are compared with."""
    if against is not None:
        return next((row for row in board.rows if row.name == against), None)
    with_users = [row for row in board.rows if row.users is not None]
    candidates = [row for row in with_users if row.is_baseline] or with_users[:1]
    return max(candidates, key=lambda row: row.values[board.first].mean, default=None)


def _both(ours: Row, theirs: Row) -> pd.DataFrame | None:
    """The users that two rows share; the second one's metrics end with a space."""
    if ours.users is None or theirs.users is None or ours is theirs:
        return None
    others = theirs.users.rename(columns=lambda name: name if name == "user" else f"{name} ")
    both = ours.users.merge(others, on="user")
    return both if len(both) > 1 else None


def _compared(board: Board, reference: Row) -> list[Comparison]:
    """Every row against the reference by every metric that both have of each user."""
    found = []
    for row in board.rows:
        if (both := _both(row, reference)) is None:
            continue
        for metric in [name for name in board.metrics if {name, f"{name} "} <= set(both)]:
            change = both[metric] - both[f"{metric} "]
            one = crossed_mean(both["user"], np.zeros(len(both)), change)
            base = float(both[f"{metric} "].mean())
            found.append(
                Comparison(row.key, reference.key, metric, *one[:3], base, one.pvalue, NAN, "")
            )
    corrected = holm([one.p for one in found])
    return [
        one._replace(
            corrected=float(p), verdict=verdict(one.low, one.high, one.reference, p, MARGIN)
        )
        for one, p in zip(found, corrected, strict=True)
    ]


def _by_history(board: Board, reference: Row) -> list[Chart]:
    """The difference in groups of users by the length of their history."""
    from ..study.measure import quantile_groups

    series, labels = [], []
    for row in board.rows:
        both = _both(row, reference)
        columns = {board.first, f"{board.first} ", "history"}
        if both is None or not columns <= set(both) or both["history"].isna().any():
            continue
        group = quantile_groups(both["history"].to_numpy(np.int64), GROUPS)
        change = both[board.first] - both[f"{board.first} "]
        points = []
        for at in sorted(set(group.tolist())):
            own = group == at
            one = crossed_mean(both["user"][own], np.zeros(own.sum()), change[own])
            points.append((float(at), one.mean, one.low, one.high))
        least = both["history"].groupby(group).agg(["min", "max"])
        labels = [(float(at), f"{a:g} to {b:g}" if a < b else f"{a:g}")
                  for at, a, b in least.itertuples()]  # fmt: skip
        series.append(Series(board.words(row.key), points))
    title = f"Gain over {board.words(reference.key)} by history of the user"
    chart = Chart(title, "training interactions of the user", f"{board.first}, difference", series)
    chart.labels, chart.joined = labels, False
    return [chart] if series else []


def _by_degree(board: Board) -> list[Chart]:
    """What texts bring in groups of items by degree, of a study."""
    by_key = {(row.name, row.text): row for row in board.rows}
    series = []
    for row in board.rows:
        none = by_key.get((row.name, "none"))
        if none is None or row.is_baseline:
            continue
        names = [n for n in row.values if n.startswith(GROUP_METRIC) and n in none.values]
        points = []
        for name in names:
            gain = row.values[name].mean - none.values[name].mean
            points.append((float(name.rpartition(" ")[2]), gain, NAN, NAN))
        if points:
            series.append(Series(board.words(row.key), points))
    if not series:
        return []
    places = sorted({point[0] for one in series for point in one.points})
    title = "Gain over the same model without texts by degree of the item"
    y_label = f"{GROUP_METRIC.split()[0]}, difference of means"
    chart = Chart(title, "group of items by degree", y_label, series)
    ends = {places[0]: "fewest", places[-1]: "most"}
    chart.labels = [(at, ends.get(at, f"{at:g}")) for at in places]
    return [chart]


def _curves(board: Board) -> list[Chart]:
    """One picture for each kind of curve."""
    charts: dict[str, Chart] = {}
    for row in board.rows:
        for curve in row.curves:
            what, _, over = curve.kind.partition(" by ")
            title = f"{what[0].upper()}{what[1:]}"
            chart = charts.setdefault(curve.kind, Chart(title, over, what, []))
            points = [(x, y, NAN, NAN) for x, y in curve.points]
            chart.series.append(Series(board.words(row.key), points))
    return list(charts.values())
