"""The command that trains and compares, on the sample set and on made-up values."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import report
import run
import run_arguments as asked

from irllrec_pyg.runs import RunConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Baselines and a model of two seeds, and the same model with the softmax."""
    root = tmp_path_factory.mktemp("run")
    common = ["--root", str(root / "data"), "--epochs", "2", "--k", "10", "20"]
    assert (
        run.main(
            [
                "--model",
                "lightgcn",
                "item-knn",
                "popularity",
                "--seeds",
                "2",
                "--compare",
                "lightgcn",
                "--out",
                str(root / "all"),
                *common,
            ]
        )
        == 0
    )
    assert (
        run.main(
            [
                "--model",
                "lightgcn",
                "--loss",
                "softmax",
                "--embedding-size",
                "16",
                "--out",
                str(root / "softmax"),
                *common,
            ]
        )
        == 0
    )
    return root


def results(folder):
    return json.loads((folder / "sample" / "results.json").read_text())


def test_baselines_come_first_with_their_settings(folder):
    found = results(folder / "all")
    assert [(row["model"], row["seed"]) for row in found] == [
        ("item-knn", None),
        ("popularity", None),
        ("lightgcn", 2023),
        ("lightgcn", 2024),
    ]
    assert found[0]["hyperparameters"]["num_neighbors"] == 160  # as chosen
    assert all(set(row["test"]) == set(found[0]["test"]) for row in found)
    table = (folder / "all" / "sample" / "results.md").read_text()
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    kept = found[0]["hyperparameters"]["num_neighbors"]
    assert lines[1].startswith(f"| item-knn num_neighbors={kept} ")
    assert lines[3].startswith("| lightgcn ")


def test_rows_are_compared_with_the_reference(folder):
    table = (folder / "all" / "sample" / "results.md").read_text()
    assert "Against lightgcn" in table
    assert table.count("| popularity |") == 2  # recall and ndcg, at the longest list
    assert "recall@20" in table.split("Against")[1]


def test_the_softmax_is_another_row(folder):
    (row,) = results(folder / "softmax")
    assert row["model"] == "lightgcn+softmax-16"
    model = row["config"]["model"]
    assert model["ranking_loss"] == {"name": "softmax", "temperature": 0.15, "popularity": 0.0}
    assert model["backbone"]["embedding_size"] == 16
    assert row["config"]["training"]["epochs"] == 2
    assert "loss_softmax" in row["history"]


def test_earlier_rows_stay_until_their_model_is_run_again(folder, tmp_path):
    shutil.copytree(folder / "all", tmp_path / "all")
    common = ["--root", str(folder / "data"), "--out", str(tmp_path / "all"), "--epochs", "2"]
    before = results(tmp_path / "all")

    def rows():
        return [(row["model"], row["seed"]) for row in results(tmp_path / "all")]

    run.main(["--model", "ease", "popularity", "--compare", "ease", "--k", "5", *common])
    assert rows() == [
        ("item-knn", None),
        ("ease", None),
        ("popularity", None),
        ("lightgcn", 2023),
        ("lightgcn", 2024),
    ]
    after = results(tmp_path / "all")
    assert [after[0], *after[3:]] == [before[0], *before[2:]]
    text = (tmp_path / "all" / "sample" / "results.md").read_text()
    assert text.count("`python benchmarks/run.py ") == 2
    table, *comparisons = text.split("Against ")
    assert [part.split(",")[0] for part in comparisons] == ["lightgcn", "ease"]
    assert "| item-knn |" in comparisons[0]
    assert "| popularity |" not in comparisons[0]
    header, _, *lines = [line.split(" | ") for line in table.splitlines() if line[:1] == "|"]
    assert [name.strip() for name in header[2:8]] == [
        "recall@5",
        "recall@10",
        "recall@20",
        "ndcg@5",
        "ndcg@10",
        "ndcg@20",
    ]
    assert [line[2].strip() == "–" for line in lines] == [True, False, False, True]
    assert [line[3].strip() == "–" for line in lines] == [False, True, True, False]

    # One seed in place of two; a comparison with the two says nothing about it.
    run.main(["--model", "lightgcn", "--k", "10", "20", *common])
    assert rows() == [("item-knn", None), ("ease", None), ("popularity", None), ("lightgcn", 2023)]
    assert results(tmp_path / "all")[3]["test"] == before[2]["test"]
    text = (tmp_path / "all" / "sample" / "results.md").read_text()
    assert "Against lightgcn" not in text
    assert "Against ease" in text


def test_rows_are_merged_by_model():
    def row(model, seed, mark, **more):
        return {"model": model, "seed": seed, "mark": mark, **more}

    old = [
        row("ease", None, "old"),
        row("a", 1, "old", best_epoch=1),
        row("a", 2, "old", best_epoch=1),
        row("b", 1, "old", best_epoch=1, comparison=[{"model": "b", "against": "a"}]),
        row("c", 1, "old", best_epoch=1, comparison=[{"model": "c", "against": "b"}]),
    ]
    new = [row("a", 2, "new", best_epoch=1), row("popularity", None, "new")]
    assert [(r["model"], r["seed"], r["mark"]) for r in report.merge(new, old)] == [
        ("ease", None, "old"),
        ("popularity", None, "new"),
        ("b", 1, "old"),
        ("c", 1, "old"),
        ("a", 2, "new"),
    ]
    assert [r["model"] for r in report.merge(new, old) if "comparison" in r] == ["c"]


def test_damaged_results_are_named_before_anything_is_trained(tmp_path):
    (tmp_path / "out" / "sample").mkdir(parents=True)
    (tmp_path / "out" / "sample" / "results.json").write_text("[{")
    with pytest.raises(SystemExit, match=r"results\.json is damaged .*: move it away"):
        run.main(["--root", str(tmp_path), "--out", str(tmp_path / "out")])
    assert list((tmp_path / "out").rglob("*")) == [
        tmp_path / "out" / "sample",
        tmp_path / "out" / "sample" / "results.json",
    ]


def test_a_backbone_with_heads_that_nobody_published_runs(tmp_path):
    run.main(
        [
            *("--model", "gccf_int", "gnn+profile", "--backbone.gnn", "GCN", "--epochs", "1"),
            *("--root", str(tmp_path), "--out", str(tmp_path / "out"), "--k", "20"),
        ]
    )
    rows = results(tmp_path / "out")
    assert [row["model"] for row in rows] == ["gccf_int", "gnn+profile-gnn=GCN"]
    assert rows[0]["test"]["recall@20"] > 0
    saved = RunConfig.load(tmp_path / "out/sample/gccf_int/seed-2023/config.yaml")
    assert saved.to_dict() == rows[0]["config"]


def test_each_precision_is_a_row_that_can_be_compared(tmp_path):
    run.main(
        [
            "--model",
            "popularity",
            "lightgcn",
            "--precision",
            "32-true",
            "64-true",
            "--epochs",
            "1",
            "--root",
            str(tmp_path),
            "--out",
            str(tmp_path / "out"),
            "--compare",
            "lightgcn",
        ]
    )
    names = [row["model"] for row in results(tmp_path / "out")]
    assert names == ["popularity", "lightgcn", "lightgcn-64-true"]
    folders = {path.parent.name for path in (tmp_path / "out" / "sample").glob("*/seed-*")}
    assert folders == {"lightgcn", "lightgcn-64-true"}
    text = (tmp_path / "out" / "sample" / "results.md").read_text()
    assert "| lightgcn-64-true | recall@20 |" in text


def test_the_number_of_threads_is_left_as_it_was(tmp_path):
    before = torch.get_num_threads()
    options = ["--model", "popularity", "--root", str(tmp_path / "data"), "--out", str(tmp_path)]
    try:
        torch.set_num_threads(2)
        assert run.main(options) == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_is_made_of_tables_is_set_by_flags(tmp_path, capsys):
    pairs = [(f"u{user}", f"i{(user * step) % 11}") for user in range(12) for step in range(1, 8)]
    (tmp_path / "shop").mkdir()
    lines = [",".join(pair) for pair in [("user", "item"), *sorted(set(pairs))]]
    (tmp_path / "shop" / "interactions.csv").write_text("\n".join(lines))
    texts = [f"i{at},title {at},brand {at % 3}" for at in range(11)]
    (tmp_path / "shop" / "items.csv").write_text("\n".join(["item,title,brand", *texts]))
    common = ["--dataset", "shop", "--root", str(tmp_path), "--out", str(tmp_path / "runs")]
    flags = ["--k-core", "1", "--split", "cold-items", "--split-seed", "3", "--encoder", "words"]
    models = ["--model", "text-mean", "lightgcn", "--epochs", "1", "--threads", "1"]
    assert run.main([*common, *models, *flags, "--text", "title,brand", "--text-rank", "4"]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name == (
        "shop-encoder=words-k_core=1-seed=3-split=cold-items-text=title,brand-text_rank=4"
    )
    linear, trained = json.loads((folder / "results.json").read_text())
    assert [linear["model"], trained["model"]] == ["text-mean", "lightgcn"]
    assert linear["dataset"] == trained["dataset"] == folder.name
    data = trained["config"]["data"]
    found = [data[name] for name in ("k_core", "split", "seed", "encoder", "text", "text_rank")]
    assert found == [1, "cold-items", 3, "words", ["title", "brand"], 4]
    for flag, message in (
        ("--split=cold", "'split'"),
        ("--k-core=-1", "'k_core' must be at least"),
    ):
        with pytest.raises(SystemExit):
            asked.parse([*common, flag])
        assert message in capsys.readouterr().err
