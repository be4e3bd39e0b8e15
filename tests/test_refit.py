"""What was chosen on held-out interactions, trained on all of them."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg import RunConfig, TableDataset, load_folder, run
from irllrec_pyg.cli import main
from irllrec_pyg.config import ConfigError
from irllrec_pyg.linear import GFCF, IALS, Popularity, build_linear
from irllrec_pyg.ranking import Blend
from irllrec_pyg.refit import refitted
from irllrec_pyg.study.tuned import search
from irllrec_pyg.tensor_file import CheckpointError

pytest.importorskip("optuna")
PAIRS = {(f"u{user}", f"i{(user + step) % 12}") for user in range(30) for step in range(6)}


def write(folder):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [*sorted(PAIRS), ("rare", "i0"), ("rare", "i1")]
    table = pd.DataFrame(rows, columns=["user", "item"])
    table.sample(frac=1, random_state=rng).to_csv(folder / "interactions.csv", index=False)
    items = [f"i{item}" for item in range(13)]  # nobody has touched the last one
    pd.DataFrame({"item": items, "title": "a thing"}).to_csv(folder / "items.csv", index=False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a data set and the runs of an ensemble and of a graph model."""
    place = tmp_path_factory.mktemp("refit")
    write(place / "data")
    quick = {"ranker.trials": 2, "data.encoder": None}
    run(RunConfig.of("tale", "data", quick, place), place / "tale", progress=False)
    epochs = {"training.epochs": 4, "training.batch_size": 64, "data.encoder": None}
    run(RunConfig.of("lightgcn", "data", epochs, place), place / "graph", progress=False)
    return place


def test_an_ensemble_has_what_was_chosen_and_every_interaction(runs):
    chosen = json.loads((runs / "tale" / "result.json").read_text())["model"]
    model, result = run(refitted(runs / "tale"), runs / "tale-all", progress=False)
    data = TableDataset(runs, "data", encoder=None, shares=(1, 0, 0))[0]
    ease, ials, gfcf, popularity = (
        {key: value for key, value in part.items() if key != "name"} for part in chosen["parts"]
    )
    by_hand = Blend(
        *(build_linear("ease", data, **ease), IALS(data, ials)),
        *(GFCF(data, gfcf), Popularity(data, popularity)),
        weights=chosen["weights"],
    )
    everyone = torch.arange(30)
    torch.testing.assert_close(model.score(everyone), by_hand.score(everyone))
    assert len(model.seen_item) == len(PAIRS)
    assert (result.test, result.validation) == ({}, {})
    again = RunConfig.load(runs / "tale-all" / "config.yaml")  # one file repeats it
    torch.testing.assert_close(run(again)[0].score(everyone), by_hand.score(everyone))


def test_a_graph_model_is_trained_as_long_as_was_best(runs):
    best = json.loads((runs / "graph" / "result.json").read_text())["best_epoch"]
    model, result = run(refitted(runs / "graph"), runs / "graph-all", progress=False)
    assert result.epochs == best
    assert len(model.seen_item) == len(PAIRS)
    assert not (runs / "graph-all" / "users.npz").exists()
    listed = load_folder(runs / "graph-all").recommend("u3", k=12)["item"]
    assert set(listed) == {f"i{item}" for item in (0, 1, 2, 9, 10, 11)}  # what u3 has is training


def test_the_command_takes_everybody(runs, capsys):
    ask = ["refit", str(runs / "tale"), "--quiet", "--k-core", "0", "--out", str(runs / "a night")]
    assert main(ask) == 0
    out = capsys.readouterr().out
    assert f"data: 31 users, 13 items, {len(PAIRS) + 2} interactions.\n" in out
    assert "nothing is held out" in out
    assert f"irllrec recommend '{runs}/a night' --all" in out  # as a shell takes it
    model = load_folder(runs / "a night")
    assert {"rare", "u3"} <= set(model.user_ids)
    assert "i12" in model.item_ids
    assert main(ask) == 0
    assert "night held this run already; nothing was trained." in capsys.readouterr().out
    assert main(["report", str(runs / "a night"), "--format", "md"]) == 2
    assert "nothing to report" in capsys.readouterr().err
    assert main(["evaluate", str(runs / "a night"), "--baselines"]) == 2
    assert "night: its data set holds nothing out for test" in capsys.readouterr().err


def test_a_finished_run_does_not_stand_for_tables_that_changed(runs, tmp_path, capsys):
    write(tmp_path / "data")
    ask = ["train", "--data", str(tmp_path / "data"), "--model", "popularity", "--encoder", "none"]
    ask += ["--quiet", "--out", str(tmp_path / "run")]
    assert main(ask) == main(ask) == 0
    with (tmp_path / "data" / "interactions.csv").open("a") as file:
        file.writelines(f"new,i{item}\n" for item in range(6))
    assert main(ask) == 2
    assert "'data' has changed since. Take another folder." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "message"),
    [("tale-rerank", "learn from validation"), ("lightgcn", "keeps no number of epochs")],
)
def test_what_needs_held_out_interactions_is_refused(tmp_path, model, message):
    RunConfig.of(model, "data", {"ranker.trials": 1}, tmp_path).save(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match="is not finished"):
        refitted(tmp_path)
    (tmp_path / "result.json").write_text('{"test": {}, "search": {}}')
    with pytest.raises(ConfigError, match=message):
        refitted(tmp_path)


def test_settings_of_an_ensemble_are_those_of_its_parts(runs):
    data = TableDataset(runs, "data", encoder=None)[0]
    given = {"ease.reg": 7.0, "weights.ease": 0.5, "weights.popularity": 0.25}
    found = search("tale", data, settings=given, trials=0).ranker
    assert found.rankers()[0].config.reg == 7.0
    assert found.shares == pytest.approx([0.5 / 2.75, 1 / 2.75, 1 / 2.75, 0.25 / 2.75])
    for path in ("knn.reg", "weights.knn", "ease", "weights"):
        with pytest.raises(ConfigError, match=f"Unknown setting '{path}'"):
            search("tale", data, settings={path: 1.0}, trials=0)


@pytest.mark.parametrize(
    ("run_name", "field", "value"),
    [
        *[("graph", "best_epoch", value) for value in (None, 0, "3", 1.5, True)],
        *[("tale", "search", value) for value in ([1], "x", {"ease": {}}, {"ease": 3})],
    ],
)
def test_a_damaged_result_is_named(runs, tmp_path, run_name, field, value):
    for name in ("config.yaml", "result.json"):
        (tmp_path / name).write_text((runs / run_name / name).read_text())
    result = json.loads((tmp_path / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({**result, field: value}))
    with pytest.raises(CheckpointError, match=rf"result\.json is damaged \('{field}' is"):
        refitted(tmp_path)
