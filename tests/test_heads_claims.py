"""What is told of the papers' heads is what the study of them measured."""

import csv
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
TOLD = (RESULTS / "README.md").read_text(encoding="utf-8").split("<!-- heads -->")[1]
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|").split("|")]
    for line in TOLD.split("<!-- end -->")[0].splitlines()
    if line.startswith("| `")
]
ARMS = {"none (the base alone)": "", "RLMRec-Con": "+con", "RLMRec-Gen": "+gen"}
ARMS |= {"IRLLRec": "+irllrec", "IRLLRec without matching": "+irllrec-matching"}
ARMS |= {f"IRLLRec without {x} alignment": f"+irllrec-{x}" for x in ("pairwise", "translation")}


def measured():
    with (RESULTS / "heads" / "summary.csv").open(newline="") as file:
        return {
            (row["model"], row["text"], row["metric"]): float(row["mean"])
            for row in csv.DictReader(file)
        }


def arm(row):
    head = row[1].removesuffix(", texts permuted")
    text = "permuted" if head != row[1] else "real" if ARMS[head] else "none"
    return row[0] + ARMS[head], text


def test_every_arm_is_told():
    assert {arm(row) for row in ROWS} == {(model, text) for model, text, _ in measured()}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row[:2]))
def test_the_table_is_what_was_measured(row):
    for metric, mean, change in (("ndcg@20", *row[2:4]), ("recall@20", *row[4:6])):
        found, base = measured()[(*arm(row), metric)], measured()[row[0], "none", metric]
        assert float(mean) == pytest.approx(found, abs=5e-5)
        if change != "–":
            expected = 100 * (found / base - 1)
            assert float(change.removesuffix(" %")) == pytest.approx(expected, abs=0.051)


def test_no_head_brings_the_weak_base_up_to_the_strong_one():
    best = max(
        v for (m, _, metric), v in measured().items() if (m[:4], metric) == ("weak", "ndcg@20")
    )
    assert best < measured()["strong", "none", "ndcg@20"]
