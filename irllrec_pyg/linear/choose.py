"""Chooses the settings of closed-form models on the validation split, by grids that widen."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple, cast

from torch_geometric.data import HeteroData

from ..config import bounds_of, read_yaml
from ..ranking import evaluate
from ..registry import lookup
from .base import LinearModel

FACTOR = 2  # from one value of a grid to the next


class Choice(NamedTuple):
    """What was chosen, and why.

    Args:
        settings (dict): The best settings.
        tried (list of dict): Every setting that was tried, with the value of the metric, ascending.
        note (str): Where the best one lies in the grid.
    """

    settings: dict[str, Any]
    tried: list[dict[str, Any]]
    note: str


def choose_settings(
    name: str,
    data: HeteroData,
    monitor: str = "recall@20",
    tried: Iterable[Mapping[str, Any]] = (),
    report: Callable[[dict[str, Any]], None] | None = None,
) -> Choice:
    """The setting of a closed-form model that ranks the validation items best.

    The grid begins as the search space that the model's configuration declares, each value twice
    the one before. It widens by a further value at an end as long as the best one stands there,
    until a bound of the data or the configuration is reached. Of a model with several settings to
    search, the first is chosen and the others keep their defaults.

    Args:
        name (str): Registered name, such as ``"ease"``.
        data (HeteroData): Data set with validation interactions.
        monitor (str, optional): Metric, greater is better. (default: ``"recall@20"``)
        tried (iterable of mapping, optional): Rows of an earlier, interrupted choice.
        report (callable, optional): Is called with each new row.

    Raises:
        ConfigError: If there is no such model.
        ValueError: If the data set has no validation interactions, or the metric is unknown.
    """
    cls = cast("type[LinearModel]", lookup("linear", name))
    fields: dict[str, Any] = {
        field: extra["search"]
        for field, info in cls.Config.model_fields.items()
        if isinstance(extra := info.json_schema_extra, dict) and "search" in extra
    }
    if not fields:
        return Choice({}, [], "nothing to choose")
    field, (first, last) = next(iter(fields.items()))
    low, high = _bounds(cls, data, field)
    values = {row[field]: row[monitor] for row in tried}
    grid = [min(max(first, low), high)]
    while grid[-1] < min(last, high):
        grid.append(min(grid[-1] * FACTOR, high))
    metric, top = monitor.split("@")
    largest: LinearModel | None = None
    while True:
        for value in sorted(set(grid) - set(values), reverse=True):  # small ones lie in great ones
            if largest is None or getattr(largest.config, field) < value:
                model = cls(data, **{field: value})
                largest = model if cls.is_nested else None
            else:
                model = largest.truncated(**{field: value})
            found = evaluate(model, data, "val", k=int(top), metrics=metric)[monitor]
            values[value] = found
            if report is not None:
                report({field: value, monitor: found})
        best = _best(grid, values)
        if best == grid[0] and best > low:
            grid.insert(0, max(type(best)(best / FACTOR), low))
        elif best == grid[-1] and best < high:
            grid.append(min(best * FACTOR, high))
        else:
            break
    inside = grid[0] < best < grid[-1]
    note = "inside the grid" if inside else f"{field} = {best} is as far as this data set goes"
    rows = [{field: value, monitor: values[value]} for value in sorted(values)]
    return Choice({field: best}, rows, note)


@cache
def chosen() -> dict[str, dict[str, dict[str, Any]]]:
    """Settings that were chosen, by data set and model; ``benchmarks/choose_baselines.py`` writes
    them.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, settings in read_yaml(str(resources.files(__package__) / "chosen.yaml")).items():
        for setting, values in settings.items():
            for dataset, value in values.items():
                found.setdefault(dataset, {}).setdefault(name, {})[setting] = value
    return found


def build_linear(
    name: str, data: HeteroData, dataset: str | None = None, **settings: Any
) -> LinearModel:
    """Builds a closed-form model by name.

    Args:
        name (str): Such as ``ease``, ``l3ae`` or ``gf-cf``: a registered name,
            ``irllrec_pyg.registry.names("linear")``.
        data (HeteroData): Data set.
        dataset (str, optional): Whose chosen settings to take, if there are any.
            (default: ``data.name``)
        **settings: Settings that take the place of the chosen ones.

    Raises:
        ConfigError: If there is no such model, or a setting is unknown or wrong.
        MissingTextError: If it needs texts that the data set lacks.
    """
    cls = cast("type[LinearModel]", lookup("linear", name))
    own = data.get("name") if dataset is None and isinstance(data, HeteroData) else dataset
    return cls(data, chosen().get(str(own), {}).get(name), **settings)


def _bounds(cls: type[LinearModel], data: HeteroData, field: str) -> tuple[Any, Any]:
    bounds = bounds_of(cls.Config.model_fields[field])
    high = min(bounds.get("le", float("inf")), cls.limits(data).get(field, float("inf")))
    return bounds.get("ge", 0), high


def _best(grid: list[Any], values: Mapping[Any, float]) -> Any:
    """The best value; among equal ones one that is no end of the grid."""
    most = max(values[value] for value in grid)
    equal = [value for value in grid if values[value] == most]
    return next((value for value in equal if grid[0] < value < grid[-1]), equal[0])
