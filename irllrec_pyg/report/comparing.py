"""What the rows of a table say against each other: tests and pictures."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..study.config import StudyConfig
from ..study.measure import quantile_groups
from ..study.statistics import crossed_mean, holm, verdict
from .charts import Chart, Series
from .reading import NAN, Comparison, Row

if TYPE_CHECKING:
    from .boards import Board

MARGIN = StudyConfig().margin
GROUPS = StudyConfig().groups
GROUP_METRIC = "recall@20 items "  # of a study; by degree of items
TEST = (
    "each row against {against}: two-sided, over the same users with users as a random effect, "
    "values averaged over seeds, corrected by Holm over all rows and metrics of this table"
)


def _both(ours: Row, theirs: Row) -> pd.DataFrame | None:
    """The users that two rows share; the second one's metrics end with a space."""
    if ours.users is None or theirs.users is None or ours is theirs:
        return None
    others = theirs.users.rename(columns=lambda name: name if name == "user" else f"{name} ")
    both = ours.users.merge(others, on="user")
    return both if len(both) > 1 else None


def compared(board: "Board", reference: Row) -> list[Comparison]:
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


def by_history(board: "Board", reference: Row) -> list[Chart]:
    """The difference in groups of users by the length of their history."""
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


def by_degree(board: "Board") -> list[Chart]:
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


def curves(board: "Board") -> list[Chart]:
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
