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
from irllrec_pyg.training import TrainingConfig


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


def test_ranking_without_validation_items_is_another_row():
    args = asked.parse(["--model", "ease", "lightgcn", "--exclude-validation"])
    assert [asked.label(args, name) for name in args.model] == [
        "ease-exclude_validation",
        "lightgcn-exclude_validation",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "lightgnc", "ease"], "Unknown model 'lightgnc'; did you mean 'lightgcn'"),
        (["--model", "gnn+text"], "Unknown head 'text'"),
        (
            ["--model", "sgl", "--backbone.noise", "1"],
            "no chosen model has the setting backbone.no",
        ),
        (["--model", "sgl", "--layer-num", "-1"], "'num_layers' must be at least 0, got -1"),
        (["--model", "sgl", "--layer-num", "two"], "must be a whole number, got 'two'"),
        (["--model", "sgl", "--lr", "0"], "'lr' must be greater than 0, got 0"),
        (
            ["--model", "lightgcn", "--kd-weight", "1"],
            "no chosen model has the setting heads.profile.w",
        ),
        (
            ["--dataset", "amazon", "amzon"],
            "unknown data set amzon; there are sample, movie, amazon, yelp, steam, "
            "movielens, and no",
        ),
        (
            ["--model", "lightgcn", "sgl", "--intent-num", "8"],
            "no chosen model has the setting intent_num",
        ),
        (["--model", "alpharec", "--lm-model", "bert"], "unrecognized arguments: --lm-model"),
        (["--model", "ease", "--compare", "lightgcn"], "--compare must name a row: ease"),
    ],
)
def test_a_command_that_cannot_be_meant_is_refused(capsys, options, message):
    with pytest.raises(SystemExit, match="2"):
        run.main(options)
    assert message in capsys.readouterr().err


def test_options_change_the_model_and_its_row():
    args = asked.parse(
        [
            *("--model", "sgl_int", "gccf", "--mode", "as_in_paper"),
            *("--backbone.self-loops", "false", "--num-negatives", "4"),
        ]
    )
    assert [asked.label(args, name) for name in args.model] == [
        "sgl_int-num_negatives=4-as_in_paper",
        "gccf-self_loops=False-num_negatives=4-as_in_paper",
    ]
    sgl, gccf = (asked.describe(args, name, "sample", 7, asked.FULL) for name in args.model)
    assert sgl.model.heads["intent"]["matching"]["target"] == "similarities"
    assert sgl.model.heads["intent"]["translation"]["weight"] > 0
    assert gccf.model.backbone["self_loops"] is False
    assert (sgl.training.num_negatives, sgl.training.seed) == (4, 7)
    both = asked.parse(["--model", "lightgcn", "lightgcn_int", "--intent-num", "8"])
    assert [asked.label(both, name) for name in both.model] == [
        "lightgcn",
        "lightgcn_int-intent.num_intents=8",
    ]


def test_a_setting_has_one_flag_by_its_own_name_and_by_its_published_one():
    own = asked.parse(["--model", "lightgcn_int", "--heads.intent.translation.weight", "1e-3"])
    published = asked.parse(["--model", "lightgcn_int", "--kd-int-weight-2", "1e-3"])
    assert own.given == published.given == {"heads.intent.translation.weight": 1e-3}


def test_a_published_name_reaches_the_setting_that_each_model_has_for_it():
    args = asked.parse(["--model", "lightgcn_int", "dccf", "bigcf_int", "--intent-num", "8"])
    models = {name: asked.describe(args, name, "movie", 0, asked.FULL).model for name in args.model}
    assert models["dccf"].backbone["num_intents"] == 8
    assert models["bigcf_int"].backbone["num_intents"] == 8
    assert models["lightgcn_int"].heads["intent"]["num_intents"] == 8
    assert [asked.label(args, name) for name in args.model] == [
        "lightgcn_int-intent.num_intents=8",
        "dccf-num_intents=8",
        "bigcf_int-num_intents=8",
    ]


@pytest.mark.parametrize("path", asked.settings())
def test_every_flag_is_taken_and_every_setting_has_a_row_of_its_own(path):
    owner, info = next(iter(asked.settings()[path].items()))
    model = owner if path.startswith("backbone.") else "lightgcn"
    model += f"+{path.split('.')[1]}" if path.startswith("heads.") else ""
    loss = ["--loss", owner] if path.startswith("ranking_loss.") else []
    value = ((info.json_schema_extra or {}).get("search") or [info.default])[-1]
    flag = f"--{path.replace('_', '-')}"
    args = asked.parse(["--model", model, *loss, flag, json.dumps(value)])
    found = asked.describe(args, model, "movie", 0, asked.FULL).to_dict()
    found = {**found["model"], **found}
    for part in path.split("."):
        found = found[part]
    assert json.loads(json.dumps(found)) == json.loads(json.dumps(value))
    others = [asked.short(other) for other in asked.settings() if other != path]
    assert asked.short(path) not in others
    if path.startswith("data."):  # other data, other folder
        assert asked.folder_of(args, "shop") != "shop"
        return
    free = path.removeprefix("training.") in TrainingConfig.FREE
    plain = model + (f"+{owner}" if loss else "")
    assert (asked.label(args, model) == plain) == free  # those rows may go on elsewhere, or longer


def test_the_name_of_a_row_can_be_the_name_of_a_folder(capsys):
    assert asked.word([10, 5]) == "10,5"
    assert [asked.word(value) for value in (None, True, 1e-7, "GAT")] == [
        "null",
        "True",
        "1e-07",
        "GAT",
    ]
    for options in (["--precision", "a/b"], ["--backbone.gnn", "../GAT"]):
        with pytest.raises(SystemExit):
            asked.parse(["--model", "gnn", *options])
        assert "use a plain value" in capsys.readouterr().err
    args = asked.parse(["--model", "lightgcn", "lightgcn", "--precision", "32-true", "32-true"])
    assert (args.model, args.precision) == (["lightgcn"], ["32-true"])  # no seed counts twice
    for option in ("--seeds", "--k", "--threads"):
        with pytest.raises(SystemExit):
            asked.parse([option, "0"])


def test_the_help_says_what_every_setting_is_and_its_default(capsys):
    with pytest.raises(SystemExit):
        run.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--backbone.num-layers" in text
    assert "number of propagations, at least 0 and at most 100 for lightgcn, " in text
    assert "(default: 3 for lightgcn, bigcf, sgl, simgcl; 2 for alpharec, " in text
    assert "--heads.profile.weight" in text
    assert "learning rate of Adam, above 0 and at most 10 (default: 0.001)" in text


def test_without_arguments_closed_form_models_stand_beside_the_others():
    args = asked.parse([])
    assert [name for name in args.model if asked.is_linear(name)] == [
        *("popularity", "item-knn", "ease", "low-pass-svd")
    ]
    assert [name for name in args.model if not asked.is_linear(name)] == [
        "lightgcn",
        "lightgcn_int",
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
