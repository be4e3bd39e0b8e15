"""Tables and the picture of the pages are what the committed results say."""

import csv
import importlib
import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
TEXTS = DOCS.parent / "benchmarks" / "results" / "texts"


def tool(name, monkeypatch):
    """A module of ``docs/tools``."""
    monkeypatch.syspath_prepend(str(DOCS / "tools"))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


def read(name):
    with (TEXTS / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_tables_are_those_of_the_results(monkeypatch):
    figures = tool("figures", monkeypatch)
    used = []
    for page in DOCS.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert figures.filled(text) == text, f"python docs/tools/figures.py changes {page.name}"
        used += [found[1] for found in figures.MARKS.findall(text)]
    assert sorted(used) == sorted(figures.TABLES)


def test_a_table_has_the_figures_of_its_file(monkeypatch):
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in tool("figures", monkeypatch).load().splitlines()
    ]
    with (DOCS.parent / "benchmarks/results/serve/load.csv").open(newline="") as file:
        measured = list(csv.DictReader(file))
    assert len(rows) == len(measured)
    for told, row in zip(rows, measured, strict=True):
        found = dict(zip(head, told, strict=True))
        assert found["items"].replace(",", "") == row["items"]
        assert row["lists"].startswith(found["lists"])
        for name in ("clients", "p50 ms", "p99 ms"):
            assert found[name] == row[name.replace(" ", "_")]
        assert found["answers a second"] == row["a_second"]


def test_the_picture_says_what_the_study_measured(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    tool("figures", monkeypatch)
    tool("picture", monkeypatch).draw(tmp_path / "gain.svg")
    drawn, committed = (
        re.findall(r">([^<>\n]+)</text>", (folder / "gain.svg").read_text(encoding="utf-8"))
        for folder in (tmp_path, DOCS)
    )
    assert drawn == committed
    gains = [
        f"{100 * float(row['difference']) / float(row['reference']):+.1f} %"
        for row in read("comparisons.csv")
        if (row["setting"], row["metric"], row["question"]) == ("warm", "ndcg@20", "best")
        and row["model"] == "tale"
    ]
    recalls = [
        f"{float(row['mean']):.2f}"
        for row in read("summary.csv")
        if (row["setting"], row["model"], row["metric"]) == ("cold_items", "tale", "recall@20")
    ]
    assert len(gains) == len(recalls) == 4
    assert set(gains) | set(recalls) <= set(committed)


@pytest.mark.parametrize(("setting", "metric"), [("warm", "ndcg@20"), ("cold_items", "recall@20")])
def test_the_model_to_begin_with_is_the_best_row_of_each_set(setting, metric):
    rows = [
        row
        for row in read("summary.csv")
        if (row["setting"], row["metric"]) == (setting, metric) and row["text"] != "permuted"
    ]
    sets = {row["data"] for row in rows if (row["model"], row["text"]) == ("tale", "real")}
    assert len(sets) == 4
    for data in sets:
        best = max((row for row in rows if row["data"] == data), key=lambda row: float(row["mean"]))
        assert (best["model"], best["text"]) == ("tale", "real")
