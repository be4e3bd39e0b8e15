"""The tables of a study as rows."""

import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..config import ConfigError, read_yaml
from ..study.config import FIRST
from ..study.page import WHERE
from ..study.summary import BEST, QUESTIONS
from ..tensor_file import CheckpointError
from .reading import COMPARISONS, NAN, PLAN, Comparison, Row, Source, Value

TEXTS = ("data", "setting", "model", "text", "metric", "commit")
NUMBERS = ("mean", "low", "high")
OF_PAIRS = ("difference", "low", "high", "reference", "p", "p_holm")
NAMES_OF_PAIRS = (
    "data", "setting", "question", "model", "text", "against", "against_text", "metric", "verdict"
)  # fmt: skip
BEST_WORDS = "the best with texts, the best without, by validation"
TEST = (
    "each arm against the same model without texts, by the first metric alone: two-sided, users "
    "and splits as random effects (clusters in two directions, Cameron, Gelbach and Miller 2011), "
    "corrected by Holm over all first metrics of the study"
)


def read_study(file: Path) -> list[Source]:
    """Reads a study's ``summary.csv`` and, where they lie beside it, its comparisons and rules.

    Raises:
        CheckpointError: If a file is damaged; file and column are named.
    """
    table = _table(file, TEXTS, NUMBERS)
    if table.empty:
        raise ConfigError(f"{file} has no rows.")
    beside = file.with_name(COMPARISONS)
    pairs = _table(beside, NAMES_OF_PAIRS, OF_PAIRS) if beside.exists() else None
    origin = _origin(file)
    found = []
    for (data, setting), own in table.groupby(["data", "setting"], sort=False):
        first = FIRST.get(str(setting), "")
        known = pairs if pairs is None else pairs.query("data == @data and setting == @setting")
        compared = [] if known is None else _comparisons(known, first)
        source = Source(
            data=str(data),
            setting=_words(str(setting)),
            hash=f"{file.resolve()} {setting}",
            rows=_rows(own, origin),
            path=file,
            first=first,
            comparisons=compared,
            test=TEST if compared else "",
        )
        found.append(source)
    return found


def _words(setting: str) -> str:
    return f"{setting}: {WHERE[setting]}" if setting in WHERE else setting


def _key(model: Any, text: Any) -> str:
    return f"{model}, {text}"


def _rows(table: pd.DataFrame, origin: Mapping[str, str]) -> list[Row]:
    rows = []
    for (model, text), own in table.groupby(["model", "text"], sort=False):
        values = {
            str(row["metric"]): Value(row["mean"], row["low"], row["high"])
            for row in own.to_dict("records")
        }
        one = own.iloc[0]
        splits, seeds = (str(one.get(name, "?")) for name in ("splits", "seeds"))
        rows.append(
            Row(
                key=_key(model, text),
                name=str(model),
                model=str(model),
                text=str(text),
                values=values,
                repeats=f"splits {splits}, seeds {seeds}",
                origin=[{**origin, "commit": str(one["commit"]) or "not known"}],
            )
        )
    return rows


def _comparisons(table: pd.DataFrame, first: str) -> list[Comparison]:
    """Those by the first metric; an arm's mark is that of the comparison with no text."""
    found = []
    for row in table[table["metric"] == first].to_dict("records"):
        asked = QUESTIONS.get((row["text"], row["against_text"]), row["question"])
        same = row["model"] == row["against"] and row["question"] == asked
        found.append(
            Comparison(
                row=_key(row["model"], row["text"]),
                against=_key(row["against"], row["against_text"]),
                metric=row["metric"],
                difference=row["difference"],
                low=row["low"],
                high=row["high"],
                reference=row["reference"],
                p=row["p"],
                corrected=row["p_holm"],
                verdict=row["verdict"],
                question=BEST_WORDS if row["question"] == BEST else row["question"],
                marked=same and row["against_text"] == "none",
            )
        )
    return found


def _table(file: Path, texts: tuple[str, ...], values: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, pd.errors.ParserError) as error:  # also no text, and no columns
        raise CheckpointError(f"{file} is damaged ({error}).") from None
    for name in (*texts, *values):
        if name not in table:
            raise CheckpointError(
                f"{file} has no column {name!r}; 'irllrec study' writes {', '.join(texts)}, …"
            )
    for name in values:
        column = table[name]
        table[name] = pd.to_numeric(column.replace("", NAN), errors="coerce")
        wrong = table[name].isna() & ~column.str.lower().isin(["", "nan"])
        if wrong.any():
            at = int(wrong.to_numpy().argmax())
            raise CheckpointError(
                f"{file}, line {at + 2}: {name!r} must be a number, got {column.iloc[at]!r}."
            )
    return table


def _origin(file: Path) -> dict[str, str]:
    """What holds for all arms: the command, the rules and the files."""
    found = {}
    plan = file.with_name(PLAN)
    if plan.exists():
        content = read_yaml(plan)
        rules, arms = content.get("rules"), content.get("arms")
        if isinstance(rules, dict) and isinstance(arms, list):
            found["again by"] = _command(rules, arms)
        found[f"hash of {PLAN}"] = _digest(plan)
    return {**found, f"hash of {file.name}": _digest(file)}


def _command(rules: Mapping[str, Any], arms: list[Any]) -> str:
    """The command that makes every arm; where its tables lie, the study does not know."""
    parts = ["irllrec study --root TABLES --out ANOTHER"]
    for option, at in (("dataset", 0), ("setting", 1), ("model", 2), ("text", 3)):
        names = dict.fromkeys(str(arm[at]) for arm in arms if len(arm) > at)
        parts.append(f"--{option} {shlex.join(names)}")
    for name, value in rules.items():
        if value is not None:
            given = map(str, value) if isinstance(value, list) else [str(value)]
            parts.append(f"--{name.replace('_', '-')} {shlex.join(given)}")
    return " ".join(parts)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
