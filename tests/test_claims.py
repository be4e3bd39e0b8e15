"""No figure without its source: tables are held to the committed results."""

import csv
import json
import re
from pathlib import Path
from statistics import mean, stdev

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
HOW_TO = ROOT / "docs" / "how-to"
DATASETS = ("amazon", "yelp", "movie", "movielens", "sample")
METRIC = re.compile(r"(recall|ndcg)@\d+")
NUMBER = re.compile(r"\d+\.\d+")


def tables(path):
    """Every Markdown table of a file, as one dictionary a row; a repeated header gets a number."""
    for block in re.findall(r"(?:^\|.*\n)+", path.read_text(), re.MULTILINE):
        header, _, *rows = [
            [cell.strip() for cell in line.strip().strip("|").split("|")]
            for line in block.splitlines()
        ]
        names = [
            f"{name} {header[:at].count(name)}".removesuffix(" 0") for at, name in enumerate(header)
        ]
        yield [dict(zip(names, row, strict=True)) for row in rows]


def committed(model, dataset):
    """What the committed runs of a model measured: one list a place where there are such runs."""
    for folder in (RESULTS, RESULTS / "baselines"):
        file = folder / dataset / "results.json"
        rows = json.loads(file.read_text()) if file.exists() else []
        runs = [row for row in rows if row["model"] == model]
        if runs:
            yield runs


def rounds_to(value, text):
    """Whether a number is the text's, to as many digits as it has."""
    digits = len(text.partition(".")[2])
    return abs(value - float(text)) <= 0.5 * 10**-digits + 1e-6


def says(cell, model, dataset, metric):
    """Whether a cell, ``mean`` or ``mean ± deviation``, is what some committed runs measured."""
    numbers = NUMBER.findall(cell)
    assert len(numbers) in (1, 2), cell
    for runs in committed(model, dataset):
        values = [run["test"][metric] for run in runs]
        found = [mean(values), *([stdev(values)] if len(values) > 1 else [])]
        if all(rounds_to(value, text) for value, text in zip(found, numbers, strict=False)):
            return len(numbers) <= len(found)
    return False


def model_of(cell):
    """The row of ``results.json`` that a first cell names."""
    return re.match(r"`?([\w+=.-]+)", cell)[1]


def cells(path):
    """Every cell of the tables of a file that holds a measured metric: model, data set, metric."""
    for rows in tables(path):
        for row in rows:
            for name, cell in row.items():
                dataset, _, metric = name.rpartition(" ")
                dataset = dataset or row.get("data set")
                if METRIC.fullmatch(metric) and dataset in DATASETS and cell != "–":
                    yield model_of(next(iter(row.values()))), dataset, metric, cell


DOCS = list(cells(HOW_TO / "which-model.md"))
REPORT = list(cells(RESULTS / "README.md"))


def test_there_are_figures_to_check():
    assert len(DOCS) > 20
    assert len(REPORT) > 60


@pytest.mark.parametrize(("model", "dataset", "metric", "cell"), DOCS)
def test_figures_of_the_pages(model, dataset, metric, cell):
    assert says(cell, model, dataset, metric)


@pytest.mark.parametrize(("model", "dataset", "metric", "cell"), REPORT)
def test_figures_of_the_results(model, dataset, metric, cell):
    assert says(cell, model, dataset, metric)


def test_a_wrong_figure_is_found():
    model, dataset, metric, cell = DOCS[0]
    assert says(cell, model, dataset, metric)
    assert not says(f"{float(cell) + 0.001:.3f}", model, dataset, metric)
    assert not says("0.1404 ± 0.0028", "lightgcn", "amazon", "recall@20")  # 0.0027
    assert not says("0.1600 ± 0.0010", "lightgcn+softmax", "amazon", "recall@20")  # one seed


def test_printed_values_and_gaps():
    with (ROOT / "benchmarks" / "published_results.csv").open() as file:
        printed = {(row["model"], row["dataset"]): row for row in csv.DictReader(file)}
    checked = 0
    for rows in tables(RESULTS / "README.md"):
        for row in rows if "printed" in rows[0] else ():
            for metric, suffix in (("recall@20", ""), ("ndcg@20", " 1")):
                value = float(printed[row["model"], row["data set"]][metric])
                assert rounds_to(value, row[f"printed{suffix}"])
                (runs,) = committed(row["model"], row["data set"])
                gap = 100 * (mean(run["test"][metric] for run in runs) / value - 1)
                assert f"{gap:+.1f}%" == row[f"gap{suffix}"].strip("*")
                checked += 1
    assert checked > 20
    best = max(float(row["recall@20"]) for (_, data), row in printed.items() if data == "amazon")
    assert "recall@20 0.159 at most" in (HOW_TO / "which-model.md").read_text()
    assert rounds_to(best, "0.159")


@pytest.mark.parametrize("dataset", ["amazon", "yelp", "movie", "sample"])
def test_which_row_is_best_is_read_off_the_results(dataset):
    table = next(rows for rows in tables(RESULTS / "README.md") if "best by recall@20" in rows[0])
    claim = next(row for row in table if row["folder"].startswith(f"[{dataset}]"))
    rows = json.loads((RESULTS / dataset / "results.json").read_text())
    means = {
        model: {
            metric: mean(row["test"][metric] for row in rows if row["model"] == model)
            for metric in rows[0]["test"]
        }
        for model in {row["model"] for row in rows}
    }
    best = {metric: max(means, key=lambda name: means[name][metric]) for metric in rows[0]["test"]}
    first = best.pop("recall@20")
    assert claim["best by recall@20"] == f"`{first}`"
    others = set(best.values())
    assert claim["best by other metrics"] == (
        "the same" if others == {first} else f"`{others.pop()}` by all five"
    )
    assert not others or others == {first}


def test_how_many_times_faster():
    rows = json.loads((RESULTS / "speed" / "speed-cpu.json").read_text())
    times = {
        (row["model"], row["precision"]): row["plain"]["epoch"] / row["ours"]["epoch"]
        for row in rows
    }
    evaluation = [row["plain"]["evaluation"] / row["ours"]["evaluation"] for row in rows]
    table = next(rows for rows in tables(HOW_TO / "scale.md") if "evaluation" in rows[0])
    checked = 0
    for row in table:
        precision = {"float32": "32-true"}.get(row[""], "bf16-mixed")
        for name, cell in row.items():
            if not name or not cell:
                continue
            found = [times.get((model.strip(), precision)) for model in name.split(",")]
            if name == "evaluation":
                found = evaluation
            numbers = re.findall(r"[\d.]+", cell)
            if " to " in cell:
                found = [min(found), max(found)]
            assert all(
                rounds_to(value, text) for value, text in zip(found, numbers, strict=True)
            ), (name, cell)
            checked += 1
    assert checked >= 9
    told = re.search(
        r"([\d.]+) to ([\d.]+) times less time .*?, evaluation (\d+) to (\d+) times",
        " ".join((ROOT / "README.md").read_text().split()),
    )
    base = [
        time
        for (model, precision), time in times.items()
        if (precision, "_" in model) == ("32-true", False)
    ]
    found = [min(base), max(base), min(evaluation), max(evaluation)]
    assert all(map(rounds_to, found, told.groups()))


def test_bfloat16_is_called_as_it_was_measured():
    text = " ".join((HOW_TO / "scale.md").read_text().split())
    numbers = re.search(
        r"recall@20 \+([\d.]+) %, ndcg@20 \+([\d.]+) %; over five seeds p = ([\d.]+) and ([\d.]+) "
        r"in Welch's test, over the users p = ([\d.]+) and ([\d.]+)\)",
        text,
    ).groups()
    rows = json.loads((RESULTS / "bfloat16" / "results.json").read_text())
    (tests,) = [row["comparison"] for row in rows if "comparison" in row]
    recall, ndcg = sorted(tests, key=lambda row: row["metric"], reverse=True)
    found = [100 * recall["relative"], 100 * ndcg["relative"]]
    for test in ("p seeds, Welch", "p users, t"):
        found += [recall[test], ndcg[test]]
    assert all(rounds_to(value, number) for value, number in zip(found, numbers, strict=True))


TEXTS = RESULTS / "texts"
KINDS = {"without texts": "none", "with texts": "real", "texts permuted": "permuted"}


def what_texts_bring(path):
    """Rows of the tables that say what the ensemble gains from texts."""
    return [row for rows in tables(path) for row in rows if set(KINDS) <= set(row)]


def read_csv(name):
    with (TEXTS / name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "path", [HOW_TO / "which-model.md", RESULTS / "README.md"], ids=["page", "results"]
)
def test_what_texts_bring_is_what_the_study_measured(path):
    means = {
        tuple(row[name] for name in ("data", "setting", "model", "text", "metric")): row["mean"]
        for row in read_csv("summary.csv")
    }
    gains = {
        (row["data"], row["setting"], row["metric"]): row
        for row in read_csv("comparisons.csv")
        if (row["model"], row["text"]) == ("tale", "real")
        and (row["against"], row["against_text"]) == ("tale", "none")
    }
    rows = what_texts_bring(path)
    assert len(rows) >= 4
    for row in rows:
        data, setting, metric = (row[name].strip("`") for name in ("data set", "setting", "metric"))
        for column, text in KINDS.items():
            if row[column] != "–":
                assert rounds_to(float(means[data, setting, "tale", text, metric]), row[column])
        gain = gains[data, setting, metric]
        percent = [
            100 * float(gain[name]) / float(gain["reference"])
            for name in ("difference", "low", "high")
        ]
        found = [float(number) for number in re.findall(r"-?\d+\.\d", row["change (95 %)"])]
        assert found == pytest.approx(percent, abs=0.05 + 1e-6), row


@pytest.mark.parametrize(
    "path", [HOW_TO / "which-model.md", RESULTS / "README.md"], ids=["page", "results"]
)
def test_new_items_are_ranked_as_the_study_measured(path):
    means = {
        (row["data"], row["model"], row["text"], row["metric"]): float(row["mean"])
        for row in read_csv("summary.csv")
        if row["setting"] == "cold_items"
    }
    rows = [row for rows in tables(path) for row in rows if "new items of" in row]
    assert len(rows) >= 4
    for row in rows:
        data, metric = row.pop("new items of").strip("`"), row.pop("metric")
        for name, cell in row.items():
            model = name.strip("`")
            text = "none" if model == "popularity" else "real"
            found = means.get((data, model, text, metric.replace(", all items", " full")))
            assert (found is None and cell == "–") or rounds_to(found, cell), (data, name, cell)
