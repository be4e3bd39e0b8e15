"""A whole study of a small folder of tables."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from irllrec_pyg.cli import main
from irllrec_pyg.config import read_yaml
from irllrec_pyg.ranking import evaluate_users
from irllrec_pyg.study.arms import named
from irllrec_pyg.study.candidates import LinearCandidate
from irllrec_pyg.study.config import StudyConfig
from irllrec_pyg.study.inputs import Inputs
from irllrec_pyg.study.statistics import VERDICTS
from irllrec_pyg.study.tuning import open_journal

SMALL = ["--trials", "2", "--splits", "2", "--seeds", "1", "--k-core", "2"]


def study(root, out, *more):
    command = ["study", "--dataset", "shop", "--root", str(root), "--out", str(out)]
    log = logging.getLogger("irllrec_pyg")
    before = log.level
    code = main([*command, *SMALL, *more])
    assert log.level == before  # a command says less only while it runs
    return code


@pytest.fixture(scope="module")
def out(tables, tmp_path_factory):
    """The folder of a study of two closed-form models, warm and with cold items."""
    folder = tmp_path_factory.mktemp("study")
    arms = folder / "arms.yaml"
    arms.write_text("ease:\nl3ae:\n  without_text: ease\n")
    texts = ["--text", "none", "real", "permuted"]
    settings = ["--setting", "warm", "cold_items"]
    assert study(tables, folder / "out", "--arms", str(arms), *texts, *settings) == 0
    return folder / "out"


def test_the_summary_has_every_arm(out):
    table = pd.read_csv(out / "summary.csv")
    columns = "data setting model text metric mean low high splits seeds commit"
    assert list(table) == columns.split()
    arms = set(map(tuple, table[["setting", "model", "text"]].drop_duplicates().to_numpy()))
    texts = ["none", "real", "permuted"]
    assert arms == {
        (setting, model, text)
        for setting in ("warm", "cold_items")
        for model, own in (("ease", ["none"]), ("l3ae", texts))
        for text in own
    }
    assert set(table["splits"]) == {2}
    assert {"recall@20", "recall@20 full", "coverage@20"} <= set(
        table[table["setting"] == "cold_items"]["metric"]
    )
    assert (table["low"] <= table["mean"]).all()
    assert (table["mean"] <= table["high"]).all()


def test_a_reported_row_is_what_the_model_gets_with_the_settings_of_its_arm(out, tables):
    row = json.loads((out / "units/shop/warm/l3ae/real/split-2_seed-0.json").read_text())
    data = Inputs(tables, StudyConfig(k_core=2)).graph("shop", "warm", 2, "real")
    model = named("l3ae").fit(data, row["settings"], 0, out)
    users = evaluate_users(model, data)
    assert row["metrics"]["ndcg@20"] == pytest.approx(users["ndcg@20"].mean())
    kept = pd.read_parquet(out / "units/shop/warm/l3ae/real/split-2_seed-0.parquet")
    assert kept["recall@5"].tolist() == pytest.approx(users["recall@5"].tolist())
    assert row["characters"] > 0
    assert row["encoder"] == "wordllama"
    assert {"train", "test", "x"} <= set(row["data_hash"])
    tuning = json.loads((out / "units/shop/warm/l3ae/real/tuning.json").read_text())
    assert tuning["settings"] == row["settings"]
    assert [one["value"] for one in tuning["tried"]].index(tuning["value"]) < 2
    assert tuning["split"] == 0


def test_texts_help_where_they_say_what_users_like(out):
    table = pd.read_csv(out / "summary.csv").set_index(["setting", "text", "metric", "model"])[
        "mean"
    ]
    cold = {
        text: table["cold_items", text, "ndcg@5", "l3ae"] for text in ("none", "permuted", "real")
    }
    assert cold["real"] > max(cold["none"], cold["permuted"]) + 0.1


def test_the_page_says_what_was_asked_and_what_came_out(out):
    text = (out / "README.md").read_text()
    asked = (out / "asked.md").read_text()
    assert text.startswith(asked)
    for words in (
        "is **ndcg@20**",
        "is **recall@20**",
        "2 trials",
        "splits 1 to 2",
        "not among them",
    ):
        assert words in asked
    assert "does the text help? | l3ae, real | l3ae, none" in text
    compared = pd.read_csv(out / "comparisons.csv")
    assert set(compared[compared["first"]]["verdict"]) <= set(VERDICTS)
    assert compared[~compared["first"]]["p_holm"].isna().all()
    for picture in ("gain.png", "cost.png"):
        assert (out / picture).stat().st_size > 10_000
        assert f"]({picture})" in text


def test_a_second_start_does_nothing_and_other_rules_are_refused(out, tables, capsys):
    before = {path: path.stat().st_mtime_ns for path in (out / "units").rglob("*.json")}
    assert study(tables, out, "--model", "ease", "--setting", "warm") == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "units").rglob("*.json")} == before
    arms = out / "other.yaml"
    arms.write_text("ease:\n  settings: {reg: 3.0}\n")
    for more, said in (
        (["--trials", "3"], "holds a study with trials = 2, got 3; take another folder"),
        (["--arms", str(arms)], "holds a study in which 'ease' is"),
        (["--model", "eas"], "Unknown model 'eas'; did you mean 'ease'"),
    ):
        assert study(tables, out, *more) == 2
        assert said in capsys.readouterr().err
    assert main(["study", "--out", str(out / "new"), "--page"]) == 2
    assert "new holds no study" in capsys.readouterr().err
    assert main(["study", "--out", str(out / "new")]) == 2
    assert "name data sets by --dataset" in capsys.readouterr().err


def test_graph_models_and_blends_are_arms_like_others(tables, tmp_path):
    arms = tmp_path / "arms.yaml"
    arms.write_text(
        "graph:\n  model: lightgcn_plus\n"
        "  settings: {training.epochs: 2, training.batch_size: 256, backbone.num_layers: 1}\n"
        "  search: {heads.profile.weight: null}\n"
        "  splits: 1\n"
        "both:\n  blend: [ease, graph]\n"
    )
    more = ["--arms", str(arms), "--text", "real", "--setting", "cold_users"]
    assert study(tables, tmp_path / "out", *more) == 0
    table = pd.read_csv(tmp_path / "out" / "summary.csv")
    assert set(table["splits"]) == {1}
    assert len(table[["setting", "model", "text"]].drop_duplicates()) == 2
    units = tmp_path / "out" / "units" / "shop" / "cold_users"
    tuned = json.loads((units / "both" / "real" / "tuning.json").read_text())
    assert set(tuned["settings"]) == {"weights.ease", "weights.graph"}
    assert (units / "ease" / "none" / "tuning.json").exists()
    assert set(json.loads((units / "graph" / "real" / "tuning.json").read_text())["settings"]) == {
        "heads.profile.weight"
    }
    models = read_yaml(tmp_path / "out" / "study.yaml")["models"]
    assert models["both"]["parts"]["graph"]["model"] == "lightgcn_plus"


def test_learnt_weights_are_the_second_that_a_blend_tries(tables, tmp_path, monkeypatch):
    monkeypatch.setattr("irllrec_pyg.study.candidates.learn_weights", lambda *_: [0.25, 1.0])
    arms = tmp_path / "arms.yaml"
    arms.write_text("both:\n  blend: [ease, popularity]\n")
    more = ["--arms", str(arms), "--text", "none", "--setting", "warm", "--trials", "2"]
    assert study(tables, tmp_path / "out", *more) == 0
    tried = open_journal(tmp_path / "out" / "tuning" / "shop.warm.both.none.log").trials
    assert [json.loads(trial.user_attrs["settings"]) for trial in tried] == [
        {"weights.ease": 1.0, "weights.popularity": 1.0},
        {"weights.ease": 0.25, "weights.popularity": 1.0},
    ]


def test_what_cannot_be_done_is_said_and_does_not_stop_the_others(tables, tmp_path):
    folder = tmp_path / "tables" / "shop"
    folder.mkdir(parents=True)
    shutil.copy(tables / "shop" / "interactions.csv.gz", folder)  # and no texts
    more = ["--model", "text-knn", "ease", "--text", "none", "real", "--setting", "warm"]
    assert study(tmp_path / "tables", tmp_path / "out", *more) == 0
    text = (tmp_path / "out" / "README.md").read_text()
    assert "- shop, warm, text-knn, real: ValueError: shop has no texts of items." in text
    assert "| ease | none |" in text


def test_a_folder_of_which_nothing_is_left_is_refused_before_rules_are_frozen(
    tables, tmp_path, capsys
):
    out = tmp_path / "out"
    assert study(tables, out, "--model", "ease", "--k-core", "30") == 2
    said = capsys.readouterr().err
    assert "with 'k_core' 30; " in said
    most = int(said.rpartition("'k_core' 30; ")[2].split()[0])
    assert study(tmp_path, out, "--model", "ease") == 2
    assert "There is no folder" in capsys.readouterr().err
    assert not (out / "study.yaml").exists()
    more = ["--setting", "warm", "--k-core"]
    assert study(tables, out, "--model", "popularity", *more, str(most + 1)) == 2
    assert study(tables, out, "--model", "popularity", *more, str(most)) == 0


def test_an_arm_that_fails_is_on_a_page_without_results(tables, tmp_path):
    more = ["--model", "text-mean", "--setting", "warm", "--text", "views"]
    assert study(tables, tmp_path, *more) == 0
    text = (tmp_path / "README.md").read_text()
    assert "- shop, warm, text-mean, views: ValueError: Several views need columns" in text


def test_tables_that_change_under_a_study_are_noticed(tables, tmp_path, capsys):
    shutil.copytree(tables / "shop", tmp_path / "shop", ignore=shutil.ignore_patterns("processed"))
    more = ["--model", "popularity", "--setting", "warm"]
    assert study(tmp_path, tmp_path / "out", *more) == 0
    file = tmp_path / "shop" / "items.csv.gz"
    pd.read_csv(file).iloc[1:].to_csv(file, index=False)
    assert study(tmp_path, tmp_path / "out", *more) == 2
    assert "items.csv.gz changed after the study in" in capsys.readouterr().err


def test_a_damaged_piece_is_named_and_made_again(tables, tmp_path, capsys):
    more = ["--model", "popularity", "--setting", "warm"]
    assert study(tables, tmp_path, *more) == 0
    whole = pd.read_csv(tmp_path / "summary.csv")
    file = tmp_path / "units/shop/warm/popularity/none/split-1_seed-0.json"
    file.write_text(file.read_text()[:40])
    assert main(["study", "--out", str(tmp_path), "--page"]) == 0
    assert "split-1_seed-0.json is damaged" in (tmp_path / "README.md").read_text()
    assert set(pd.read_csv(tmp_path / "summary.csv")["splits"]) == {1}
    capsys.readouterr()
    assert study(tables, tmp_path, *more) == 0
    assert "split-1_seed-0.json is damaged" in capsys.readouterr().err
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "summary.csv"), whole)
    assert "is damaged" not in (tmp_path / "README.md").read_text()


class Killed(BaseException):
    """What a killed process is to a study."""


def test_a_study_that_is_killed_again_and_again_ends_as_another_one(tables, tmp_path, monkeypatch):
    fit, calls = LinearCandidate.fit, []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) % 3 == 0:
            raise Killed
        return fit(*arguments)

    more = ["--model", "text-knn", "--setting", "warm", "--text", "real"]
    with monkeypatch.context() as patch:
        patch.setattr(LinearCandidate, "fit", killed)
        for _ in range(1, 4):  # 2 trials and 2 reported runs, every third fit is a kill
            try:
                study(tables, tmp_path / "one", *more)
            except Killed:
                continue
            break
    assert len(calls) == 2 + 1 + 2
    assert study(tables, tmp_path / "other", *more) == 0
    one, other = (
        pd.read_csv(tmp_path / name / "summary.csv").drop(columns="commit")
        for name in ("one", "other")
    )
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.slow
def test_a_process_that_was_killed_leaves_a_study_that_goes_on(tables, tmp_path):
    command = [sys.executable, "-m", "irllrec_pyg.cli", "study", "--dataset", "shop", *SMALL]
    command += ["--root", str(tables), "--model", "ease", "--setting", "warm"]
    command += ["--trials", "12", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    journal = tmp_path / "out" / "tuning" / "shop.warm.ease.none.log"
    while process.poll() is None and not (journal.exists() and journal.stat().st_size > 2000):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not list(Path(tmp_path / "out" / "units").rglob("split-*.json"))
    more = ["--model", "ease", "--setting", "warm", "--trials", "12"]
    assert study(tables, tmp_path / "out", *more) == 0
    assert study(tables, tmp_path / "other", *more) == 0
    one, other = (
        json.loads((tmp_path / name / "units/shop/warm/ease/none/tuning.json").read_text())
        for name in ("out", "other")
    )
    assert [row["settings"] for row in one["tried"]] == [row["settings"] for row in other["tried"]]
    assert one["value"] == other["value"]


@pytest.mark.parametrize("content", ["rules: 3\n", "other: 3\n"])
def test_a_plan_that_is_none_is_refused(tables, tmp_path, content, capsys):
    (tmp_path / "study.yaml").write_text(content)
    assert study(tables, tmp_path, "--model", "ease") == 2
    assert "study.yaml is no study's" in capsys.readouterr().err


def test_a_study_in_the_place_of_a_file_is_refused(tables, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert study(tables, tmp_path / "file", "--model", "ease") == 2
    assert "Not a directory" in capsys.readouterr().err
