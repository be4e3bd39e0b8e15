"""What stands beside results: commit, data, values of each user, best rows, pictures."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import report
import run
import speed_report

import irllrec_pyg
from irllrec_pyg import IRLLRecDataset, provenance


@pytest.fixture
def data(tmp_path):
    return IRLLRecDataset(tmp_path, "sample")[0]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A baseline and a model of two seeds, compared."""
    root = tmp_path_factory.mktemp("rows")
    command = "--model popularity lightgcn --seeds 2 --epochs 2 --k 10 20 --compare lightgcn"
    assert run.main([*command.split(), "--root", str(root / "data"), "--out", str(root)]) == 0
    folder = root / "sample"
    return folder, json.loads((folder / "results.json").read_text())


def test_each_row_says_what_it_comes_from(results):
    folder, rows = results
    assert len(rows) == 3
    expected = provenance.provenance(IRLLRecDataset(folder.parent / "data", "sample")[0])
    assert set(expected) == {"commit", "dirty", "data"}
    for row in rows:
        assert {key: row[key] for key in expected} == expected
        assert set(row["data"]) == {"train", "val", "test", "x", "intent"}


def test_each_row_refers_to_the_values_of_its_users(results):
    folder, rows = results
    assert len({row["users"]["file"] for row in rows}) == 3
    for row in rows:
        file = folder / row["users"]["file"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == row["users"]["sha256"]
        with np.load(file, allow_pickle=False) as values:
            assert set(values) == {"user", *row["test"]}
            for metric, mean in row["test"].items():
                assert values[metric].dtype == np.float32
                assert values[metric].mean() == pytest.approx(mean, rel=1e-5)


def test_comparisons_hold_corrected_p_values(results):
    folder, rows = results
    (recall, ndcg) = rows[0]["comparison"]
    assert (recall["metric"], ndcg["metric"]) == ("recall@20", "ndcg@20")
    assert recall["p seeds, Welch"] is None  # a baseline has no seeds
    smaller, larger = sorted((recall, ndcg), key=lambda row: row["p users, t"])
    text = (folder / "results.md").read_text()
    assert f"| {smaller['p users, t']:.2g} ({2 * smaller['p users, t']:.2g}) |" in text
    assert f"| {larger['p users, t']:.2g} (" in text


def test_the_commit_is_that_of_the_checkout_and_null_elsewhere(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("needs git")
    assert provenance.checkout(tmp_path) == {"commit": None, "dirty": None}
    root = tmp_path / "clone"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(irllrec_pyg.__file__).parent, root / "irllrec_pyg", ignore=ignore)
    (root / "setup.cfg").write_text("")

    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        command = ["git", "-C", str(root), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    assert provenance.checkout(root) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (root / "notes.txt").write_text("no code")
    assert provenance.checkout(root)["dirty"] is False
    (root / "irllrec_pyg" / "new.py").write_text("")
    assert provenance.checkout(root)["dirty"] is True
    git("add", ".")
    git("commit", "-m", "more")
    assert provenance.checkout(root)["dirty"] is False
    # The package that is imported is another one than the checkout's.
    (root / "irllrec_pyg" / "files.py").write_text("")
    git("commit", "-am", "other")
    assert provenance.checkout(root)["dirty"] is True
    # A copy inside somebody else's repository has no commit of its own.
    (root / "copy").mkdir()
    (root / "copy" / "setup.cfg").write_text("")
    assert provenance.checkout(root / "copy")["commit"] is None


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("train", lambda data: data["user", "rates", "item"].edge_index[1, :1].add_(1)),
        ("val", lambda data: data["user", "rates", "item"].val_edge_label_index[0, :1].add_(1)),
        ("test", lambda data: data["user", "rates", "item"].edge_label_index[1, 3:4].add_(1)),
        ("x", lambda data: data["item"].x[5, :3].add_(1)),
        ("intent", lambda data: data["user"].intent[0, :1].add_(1)),
    ],
)
def test_the_hash_shows_which_part_of_the_data_is_another(data, part, change):
    before = provenance.hashes(data)
    change(data)
    after = provenance.hashes(data)
    assert [name for name in before if before[name] != after[name]] == [part]


def test_the_order_of_pairs_is_no_part_of_the_data(data):
    before = provenance.hashes(data)
    rates = data["user", "rates", "item"]
    rates.edge_index = rates.edge_index[:, torch.randperm(rates.edge_index.size(1))]
    assert provenance.hashes(data) == before
    rates.edge_index = rates.edge_index.flip(0)
    assert provenance.hashes(data)["train"] != before["train"]


def test_a_finished_run_keeps_the_commit_that_made_it(data, tmp_path):
    first = provenance.provenance(data, tmp_path)
    file = tmp_path / "provenance.json"
    file.write_text(json.dumps({**first, "commit": "0" * 40}))
    assert provenance.provenance(data, tmp_path)["commit"] == "0" * 40
    data["item"].x[0, 0] += 1  # other data: another run
    assert provenance.provenance(data, tmp_path)["commit"] == first["commit"]


def test_ids_of_users_need_no_pickle(tmp_path):
    table = pd.DataFrame({"user": ["007", "é"], "recall@20": [0.5, 1.0]})
    found = provenance.write_users(table, tmp_path / "a" / "users.npz", tmp_path)
    assert found["file"] == "a/users.npz"
    with np.load(tmp_path / "a" / "users.npz", allow_pickle=False) as values:
        assert values["user"].tolist() == ["007", "é"]
        assert values["recall@20"].tolist() == [0.5, 1.0]
    assert provenance.write_users(table, tmp_path / "b.npz", tmp_path)["sha256"] == found["sha256"]


def row(model, **test):
    return {"model": model, "test": {name.replace("_", "@"): x for name, x in test.items()}}


def test_the_report_says_by_which_metrics_another_row_is_best():
    rows = [
        row("ease", recall_5=0.2, recall_20=0.3, ndcg_20=0.25, coverage_20=0.9),
        row("a", recall_5=0.1, recall_20=0.3, ndcg_20=0.2, coverage_20=0.1),
        row("a", recall_5=0.1, recall_20=0.4, ndcg_20=0.2, coverage_20=0.1),
    ]
    assert report.best_rows(rows) == (
        "The first metric is recall@20: by it a is best; by recall@5, ndcg@20 ease is."
    )
    rows[1]["test"]["mrr@20"] = rows[2]["test"]["mrr@20"] = 0.5  # ease has none
    assert "mrr" not in report.best_rows(rows)
    assert report.best_rows(rows[1:]) == ""  # one row is best at everything
    rows[0]["test"].update({"recall@5": 0.0, "ndcg@20": 0.0})
    assert report.best_rows(rows).endswith("by it a is best, as by every other metric here.")


def test_without_matplotlib_only_the_picture_is_missing(monkeypatch, tmp_path, capsys, results):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # its import fails
    report.write(results[1], tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"results.json", "results.md"}
    printed = capsys.readouterr().out
    assert printed.count("pip install matplotlib") == 1
    assert "curves.png" not in printed

    monkeypatch.setattr(speed_report, "limit", lambda *arguments: 0.1)
    ours = dict.fromkeys(("epoch", "evaluation", "sampling", "forward", "backward"), 1.0)
    ours |= {"optimiser": 1.0, "peak": 2e9, "imports": 1e9, "triplets": 10.0}
    work = {"model": "lightgcn", "dataset": "sample", "precision": "32-true", "ours": ours}
    machine = speed_report.machine("cpu", 1)
    circumstances = {"device": "cpu", "threads": 1, "clock": "cpu", "machine": machine}
    rates = {"float32": 1e9}
    speed_report.write_speed(
        tmp_path,
        "cpu",
        {**circumstances, "command": "c"},
        [{**work, "rates": rates, "work": {}, "steps": 1}],
    )
    text = (tmp_path / "speed-cpu.md").read_text()
    assert "| lightgcn | 32-true |" in text
    assert ".png" not in text
    assert not list(tmp_path.glob("*.png"))
    assert "pip install matplotlib" in capsys.readouterr().out


def test_the_reports_are_imported_without_matplotlib():
    code = (
        "import sys, torchmetrics; "  # which imports it where it is there
        "sys.modules['matplotlib'] = sys.modules['matplotlib.pyplot'] = None; "
        "import report, run, speed_report"
    )
    folder = Path(report.__file__).parent
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=folder)
    assert done.returncode == 0
