"""Which runs the command that trains and compares is asked for, and what their rows are called."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import run
import run_arguments as asked

from irllrec_pyg.training import TrainingConfig


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
