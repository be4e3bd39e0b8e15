"""The command that trains and compares, on the sample set and on made-up values."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import run
import significance


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Baselines and a model of two seeds, and the same model with the softmax."""
    root = tmp_path_factory.mktemp("run")
    common = ["--root", str(root / "data"), "--epochs", "2", "--k", "10", "20"]
    assert run.main(["--model", "lightgcn", "item-knn", "popularity", "--seeds", "2", "--compare",
                     "lightgcn", "--out", str(root / "all"), *common]) == 0
    assert run.main(["--model", "lightgcn", "--loss", "softmax", "--embedding-size", "16",
                     "--out", str(root / "softmax"), *common]) == 0
    return root


def results(folder):
    return json.loads((folder / "sample" / "results.json").read_text())


def test_baselines_come_first_with_their_settings(folder):
    found = results(folder / "all")
    assert [(row["model"], row["seed"]) for row in found] == [
        ("item-knn", None), ("popularity", None), ("lightgcn", 2023), ("lightgcn", 2024)]
    assert found[0]["hyperparameters"]["num_neighbors"] in (20, 50, 100, 200)
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
    row, = results(folder / "softmax")
    assert row["model"] == "lightgcn+softmax-16"
    assert row["hyperparameters"]["softmax_temperature"] == 0.15
    assert row["hyperparameters"]["embedding_size"] == 16
    assert "loss_softmax" in row["history"]


@pytest.mark.parametrize(("options", "message"), [
    (["--model", "lightgnc", "ease"], "unknown model lightgnc"),
    (["--model", "lightgcn", "--kd-weight", "1"], "no chosen model has the hyper-parameter kd_we"),
    (["--model", "lightgcn", "sgl", "--intent-num", "8"], "no chosen model has the hyper-paramet"),
    (["--model", "alpharec", "--lm-model", "bert"], "unrecognized arguments: --lm-model"),
    (["--model", "ease", "--compare", "lightgcn"], "--compare must name a row: ease"),
])
def test_a_command_that_cannot_be_meant_is_refused(capsys, options, message):
    with pytest.raises(SystemExit, match="2"):
        run.main(options)
    assert message in capsys.readouterr().err


def test_options_change_the_model_and_its_row(tmp_path):
    args = run.parse(["--model", "sgl_int", "gccf", "--mode", "as_in_paper", "--no-self-loops",
                      "--num-negatives", "4"])
    assert [run.label(args, name) for name in args.model] == [
        "sgl_int-as_in_paper-num_negatives=4", "gccf-as_in_paper-num_negatives=4-self_loops=False"]
    dataset = run.load(run.parse(["--root", str(tmp_path)]), "sample")
    intent = run.build(args, "sgl_int", dataset).heads[1]
    assert intent.mode == "as_in_paper"
    assert intent.translation_weight > 0
    assert run.build(args, "gccf", dataset).backbone.self_loops is False
    both = run.parse(["--model", "lightgcn", "lightgcn_int", "--intent-num", "8"])
    assert [run.label(both, name) for name in both.model] == [
        "lightgcn", "lightgcn_int-intent_num=8"]


def tables(shift, seeds, noise=0.1):
    rng = np.random.default_rng(7)
    base = rng.random(40)
    return [pd.DataFrame({"user": np.arange(40), "recall@20": base + shift
                          + noise * rng.standard_normal(40)}) for _ in range(seeds)]


def test_comparison_is_that_of_scipy_on_pairs():
    users = {"a": tables(0.0, 3), "b": tables(0.05, 3, noise=0.2), "c": tables(0.02, 1)}
    table = significance.compare(users, "a").set_index("model")
    assert list(table.index) == ["b", "c"]
    mean = {name: sum(one["recall@20"] for one in part) / len(part)
            for name, part in users.items()}
    for name in ("b", "c"):
        difference = mean[name] - mean["a"]
        t = difference.mean() / (difference.std(ddof=1) / np.sqrt(40))
        row = table.loc[name]
        assert row["difference"] == pytest.approx(difference.mean())
        assert row["relative"] == pytest.approx(difference.mean() / mean["a"].mean())
        assert row["p users, t"] == pytest.approx(2 * stats.t.sf(abs(t), 39))
        half = stats.t.ppf(0.975, 39) * difference.std(ddof=1) / np.sqrt(40)
        assert (row["low"], row["high"]) == pytest.approx(
            (difference.mean() - half, difference.mean() + half))
    seeds = [b["recall@20"].mean() - a["recall@20"].mean()
             for a, b in zip(users["a"], users["b"], strict=True)]
    assert table.loc["b", "p seeds, t"] == pytest.approx(stats.ttest_1samp(seeds, 0).pvalue)
    assert np.isnan(table.loc["c", "p seeds, t"])
    assert "| c | recall@20 |" in significance.markdown(table.reset_index())


def test_comparison_with_itself_and_with_nobody():
    users = {"a": tables(0.0, 2), "b": tables(0.0, 2)}
    assert significance.compare(users, "a")["p users, t"].tolist() == [1.0]
    with pytest.raises(ValueError, match="no row 'x'"):
        significance.compare(users, "x")
