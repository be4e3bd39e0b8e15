"""What a newcomer meets between tables and a run: help, folders in use, splits of cold items."""

import json
import shutil

import pytest

from irllrec_pyg.cli import main
from irllrec_pyg.training.lock import only_run


def said(capsys):
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_help_is_short_and_says_how_to_see_a_models_settings(capsys):
    shown = {}
    for name, model in (("short", []), ("graph", ["lightgcn"]), ("closed", ["gf-cf"])):
        with pytest.raises(SystemExit, match="0"):
            main(["train", *(part for one in model for part in ("--model", one)), "--help"])
        shown[name] = capsys.readouterr().out.split("options:")[1]
    assert "irllrec train --model NAME --help" in shown["short"]
    assert "--split" in shown["short"]
    assert len(shown["short"].splitlines()) < 100
    assert not {"--lr", "--linear.reg", "--keep-rate"} & set(
        shown["short"].replace(",", " ").split()
    )
    assert "--lr" in shown["graph"]
    assert "--keep-rate" in shown["graph"]
    assert "--heads.intent" not in shown["graph"]
    assert "--linear.rank" in shown["closed"]
    assert "--linear.reg " not in shown["closed"]


def test_help_of_a_model_that_is_none(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--model", "eas", "--help"])
    assert "did you mean 'ease'?" in said(capsys)


def test_a_second_run_in_a_folder_is_refused(shop, tmp_path, capsys):
    ask = ["train", "--data", str(shop), "--model", "popularity", "--encoder", "none", "--quiet"]
    ask += ["--out", str(tmp_path)]
    with only_run(tmp_path):
        assert main(ask) == 2
    assert "Another run is in the folder" in said(capsys)
    assert not (tmp_path / "config.yaml").exists()
    assert main(ask) == 0
    with only_run(tmp_path):  # a finished one is only told
        assert main(ask) == 0


@pytest.mark.parametrize("text", ["", "a: [", "data:\n  name: 3\n"])
def test_a_damaged_description_says_what_to_do(run_folder, tmp_path, text, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    (folder / "config.yaml").write_text(text)
    assert main(["evaluate", str(folder)]) == 2
    error = said(capsys)
    assert f"{folder}/config.yaml" in error
    assert "delete it and give the run's whole 'irllrec train' command again" in error


@pytest.mark.parametrize("model", ["popularity", "lightgcn"])
@pytest.mark.parametrize("kind", ["cold-items", "cold-users"])
def test_training_and_evaluating_rank_by_the_same_rule(shop, tmp_path, kind, model, capsys):
    run = str(tmp_path / "run")
    ask = ["--data", str(shop), "--split", kind, "--model", model, "--encoder", "none"]
    ask += ["--epochs", "1"] if model == "lightgcn" else []
    assert main(["train", *ask, "--out", run, "--k", "5", "--quiet"]) == 0
    trained = capsys.readouterr().out
    rule = {"cold-items": "Ranked among items without", "cold-users": "Ranked for users whom"}[kind]
    assert rule in trained
    assert rule in (tmp_path / "run" / "README.md").read_text()
    stored = json.loads((tmp_path / "run" / "result.json").read_text())["test"]
    assert main(["evaluate", run, "--k", "5", "--out", str(tmp_path / "rows.csv")]) == 0
    head, row = (tmp_path / "rows.csv").read_text().splitlines()
    found = dict(zip(head.split(","), row.split(","), strict=True))
    assert float(found["recall@5"]) == pytest.approx(stored["recall@5"])
    assert f"{stored['recall@5']:.4f}" in trained
