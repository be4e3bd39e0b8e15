"""What a report is made from: folders of runs and of studies, tables of a study."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ..config import ConfigError
from ..model_folder import CONFIG_FILE, RESULT_FILE

SUMMARY, COMPARISONS, PLAN = "summary.csv", "comparisons.csv", "study.yaml"
NAN = float("nan")


class Value(NamedTuple):
    """A metric's mean, with its 95 % interval where there is one."""

    mean: float
    low: float = NAN
    high: float = NAN


class Curve(NamedTuple):
    """One line of a picture.

    Args:
        kind (str): What is drawn, such as ``"validation recall@20 by epoch"``; lines of one kind
            share a picture.
        points (list): Pairs of x and y.
    """

    kind: str
    points: list[tuple[float, float]]


class Comparison(NamedTuple):
    """A difference of two rows by one metric, as :mod:`irllrec_pyg.study.statistics` gives it.

    Args:
        row, against (str): Keys of rows.
        metric (str): What is compared.
        difference, low, high (float): The mean difference and its 95 % interval.
        reference (float): The mean of ``against``.
        p, corrected (float): The p-value, and what Holm's correction makes of it.
        verdict (str): One of the study's verdicts, or nothing where none is given.
        question (str): What the comparison asks.
        marked (bool): Whether its verdict stands in the table of means.
    """

    row: str
    against: str
    metric: str
    difference: float
    low: float
    high: float
    reference: float
    p: float
    corrected: float
    verdict: str
    question: str = ""
    marked: bool = True


@dataclass
class Row:
    """One line of a table.

    Args:
        key (str): Names it among all rows of its table.
        name, model, text (str): What is shown of it; ``text`` is ``"none"`` for models that see no
            texts, which count as baselines.
        values (dict): Metrics by name.
        repeats (str): Over what the values are means.
        origin (list): How it was made, as pairs of a name and a value; one list a run.
        users (DataFrame, optional): Values by ``user``, with ``history`` where it is known.
        curves (list of Curve): What is drawn of it.
        settings (dict): Its settings by path, where they are known.
    """

    key: str
    name: str
    model: str
    text: str
    values: dict[str, Value]
    repeats: str = ""
    origin: list[dict[str, str]] = field(default_factory=list)
    users: pd.DataFrame | None = None
    curves: list[Curve] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def is_baseline(self) -> bool:
        """Whether the model sees no texts."""
        return self.text == "none"


@dataclass
class Source:
    """Rows that were ranked on the same held-out pairs.

    Args:
        data, setting (str): The data set, and how it was split.
        hash (str): What tells its held-out pairs from others', or nothing.
        rows (list of Row): The rows.
        first (str): The metric that is looked at first, or nothing.
        comparisons (list of Comparison): Those that were made already.
        test (str): The test behind them.
        path (Path): Where it was read.
        settings (dict): Of the data, by path, where they are known.
    """

    data: str
    setting: str
    hash: str
    rows: list[Row]
    path: Path
    first: str = ""
    comparisons: list[Comparison] = field(default_factory=list)
    test: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


def read(path: str | Path) -> list[Source]:
    """Reads a run, a study or a study's ``summary.csv``.

    Args:
        path (str or Path): A folder that ``irllrec train`` or ``irllrec study`` wrote, or the file.

    Raises:
        ConfigError: If it is none of these, or not finished; the message says what to do.
        CheckpointError: If a file is damaged; it is named.
    """
    from .runs import read_run
    from .studies import read_study

    place = Path(path)
    if place.is_file():
        if place.suffix != ".csv":
            raise ConfigError(f"{place} must be a folder, or a study's {SUMMARY}.")
        return read_study(place)
    if not place.is_dir():
        raise ConfigError(f"There is no folder {place}; 'irllrec train --out {place}' makes it.")
    if (place / SUMMARY).exists():
        return read_study(place / SUMMARY)
    if (place / PLAN).exists():
        raise ConfigError(
            f"{place} holds a study without a {SUMMARY}; 'irllrec study --out {place} --page' "
            "writes it from what is finished."
        )
    if (place / CONFIG_FILE).exists() and (place / RESULT_FILE).exists():
        return [read_run(place)]
    if (place / CONFIG_FILE).exists():
        raise ConfigError(
            f"{place} holds a run that is not finished: there is no {RESULT_FILE}; it goes on with "
            f"'irllrec train --config {place / CONFIG_FILE}'."
        )
    inside = sorted(file.parent for file in place.glob(f"*/{RESULT_FILE}"))
    hint = f"; its subfolders do: give {place}/*" if inside else ""
    raise ConfigError(
        f"{place} holds neither a run ({CONFIG_FILE}, {RESULT_FILE}) nor a study ({SUMMARY}){hint}."
    )


def numbers(values: Any, what: str) -> dict[str, float]:
    """Metrics by name, from a file.

    Raises:
        ValueError: If they are something else.
    """
    if not isinstance(values, Mapping) or not values:
        raise ValueError(f"{what} must be metrics by name")
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name!r} in {what} must be a number, got {value!r}")
    return {str(name): float(value) for name, value in values.items()}
