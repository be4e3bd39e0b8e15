"""What is told of narrow texts is what the study of them measured."""

import csv
import re
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
TOLD = (RESULTS / "README.md").read_text(encoding="utf-8").split("<!-- narrow -->")[1]
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|").split("|")]
    for line in TOLD.split("<!-- end -->")[0].splitlines()
    if line.startswith("| `")
]


def read(name):
    with (RESULTS / "narrow" / name).open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["metric"] == "ndcg@20"]


def test_every_set_is_told():
    assert [row[0] for row in ROWS]
    assert {row[0] for row in ROWS} == {
        row["data"] for row in read("comparisons.csv") if row["text"] == "narrow"
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_table_is_what_was_measured(row):
    data, *means, change, narrow_seconds, seconds = row
    measured = {r["text"]: float(r["mean"]) for r in read("summary.csv") if r["data"] == data}
    expected = [measured[text] for text in ("none", "narrow", "real")]
    assert [float(mean) for mean in means] == pytest.approx(expected, abs=5e-5)
    (found,) = [
        r
        for r in read("comparisons.csv")
        if (r["data"], r["text"], r["against_text"]) == (data, "narrow", "real")
    ]
    expected = [
        100 * float(found[name]) / float(found["reference"])
        for name in ("difference", "low", "high")
    ]
    percents = [float(number) for number in re.findall(r"[-+]\d+\.\d", change)]
    assert percents == pytest.approx(expected, abs=0.051)
    expected = [float(found["fit_seconds"]), float(found["against_fit_seconds"])]
    assert [float(narrow_seconds), float(seconds)] == pytest.approx(expected, abs=0.051)
