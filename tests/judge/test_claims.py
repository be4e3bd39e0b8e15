"""What is told of ``irllrec texts judge`` is what it measured, and what the study did."""

import csv
import re
from pathlib import Path

import pytest

pytest.importorskip("openai")

from irllrec_pyg.judge.report import FIRST, verdict
from irllrec_pyg.judge.statistics import Comparison

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
TOLD = (RESULTS / "README.md").read_text(encoding="utf-8").split("### What the judge said")[1]
TOLD = TOLD.split("\n## ")[0]
FILES = sorted((RESULTS / "judge").glob("*.csv"))


def comparisons(path):
    """The rows of a file by the first metric."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = Comparison.__annotations__
    found = [
        Comparison(**{n: float(v or "nan") if kinds[n] is float else v for n, v in row.items()})
        for row in rows
    ]
    return [row for row in found if row.metric == FIRST]


def percents(text):
    return [float(number) for number in re.findall(r"[-+]\d+\.\d", text)]


def cells():
    """Rows of the table as dictionaries."""
    header, _, *rows = [
        [cell.strip().strip("`") for cell in line.strip("|\n").split("|")]
        for line in TOLD.splitlines()
        if line.startswith("|")
    ]
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_there_is_a_file_for_each_data_set_of_the_table():
    assert {row["data set"] for row in cells()} == {path.stem.split("-")[0] for path in FILES}
    assert len(FILES) >= 4


@pytest.mark.parametrize("row", cells(), ids=lambda row: f"{row['data set']} {row['text']}")
def test_the_table_is_what_was_measured(row):
    path = RESULTS / "judge" / f"{row['data set']}-{row['encoder']}.csv"
    own = [found for found in comparisons(path) if found.text == row["text"]]
    for column, judgement, against in (
        ("added to interactions", "adds", "interactions"),
        ("than permuted", "adds", "permuted"),
        ("than titles", "adds", "titles"),
    ):
        if row[column] != "–":
            (found,) = [r for r in own if (r.judgement, r.against) == (judgement, against)]
            expected = [found.change, found.change_low, found.change_high]
            assert percents(row[column]) == pytest.approx(expected, abs=0.051)
    if row["L3AE and ensemble in the study"] != "–":
        with (RESULTS / "texts" / "comparisons.csv").open(newline="") as file:
            study = {
                r["model"]: 100 * float(r["difference"]) / float(r["reference"])
                for r in csv.DictReader(file)
                if (r["data"], r["setting"], r["metric"]) == (row["data set"], "warm", FIRST)
                and r["question"] == "does the text help?"
            }
        measured = [study.get("l3ae"), study.get("tale")]
        expected = [value for value in measured if value is not None]
        assert expected
        assert percents(row["L3AE and ensemble in the study"]) == pytest.approx(expected, abs=0.051)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_verdicts_are_quoted_as_they_were(path):
    assert f"- `{path.stem}`: {verdict(comparisons(path))[0]}\n" in TOLD
