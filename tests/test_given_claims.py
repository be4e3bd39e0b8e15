"""What is told of the papers' splits is what was measured on them."""

import csv
import json
import re
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
TOLD = (RESULTS / "README.md").read_text(encoding="utf-8").split("## The papers' splits without")[1]
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|").split("|")]
    for line in TOLD.split("\n## ")[0].splitlines()
    if re.match(r"\| `\w+` \|", line)
]


def measured():
    with (RESULTS / "given" / "summary.csv").open(newline="") as file:
        found = {
            (row["data"], row["model"], row["metric"]): float(row["mean"])
            for row in csv.DictReader(file)
        }
    for path in [*RESULTS.glob("*/results.json"), *RESULTS.glob("baselines/*/results.json")]:
        for row in json.loads(path.read_text()):
            if row["model"] == "ease":
                found |= {(row["dataset"], "ease", name): v for name, v in row["test"].items()}
    return found


def test_every_set_and_metric_is_told():
    told = {(row[0], row[1]) for row in ROWS}
    sets = {data for data, model, _ in measured() if model == "linear-rerank"}
    names = [f"{metric}@{top}" for metric in ("recall", "ndcg") for top in (5, 10, 20)]
    assert told == {(data, name) for data in sets for name in names}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row[:2]))
def test_the_table_is_what_was_measured(row):
    data, metric, *means, change = row
    found = [measured()[data, model, metric] for model in ("ease", "linear", "linear-rerank")]
    assert [float(mean) for mean in means] == pytest.approx(found, abs=5e-5)
    assert float(change.removesuffix(" %")) == pytest.approx(
        100 * (found[2] / found[1] - 1), abs=0.05
    )


def test_the_page_of_models_tells_the_same():
    page = (RESULTS.parents[1] / "docs" / "models" / "closed-forms.md").read_text(encoding="utf-8")
    change = {row[0]: row[5] for row in ROWS if row[1] == "ndcg@20"}
    told = f"{change['amazon']}, {change['yelp']} and {change['movie']} of ndcg@20"
    assert told in " ".join(page.split())
