"""The choice of settings: grids that widen, bounds, interruptions, and the committed table."""

import json
from pathlib import Path
from typing import ClassVar

import pytest

from irllrec_pyg import registry
from irllrec_pyg.config import Config, field
from irllrec_pyg.datasets import IRLLRecDataset
from irllrec_pyg.linear import (
    EASE,
    ItemKNN,
    LinearModel,
    LowPassSVD,
    Popularity,
    build_linear,
    choose,
    choose_settings,
    chosen,
)
from irllrec_pyg.ranking import evaluate

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "baselines"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return IRLLRecDataset(tmp_path_factory.mktemp("data"), "sample")[0]


class Curve(LinearModel):
    """A model whose metric is a given function of its only setting."""

    class Config(Config):
        size: int = field(8, ge=1, search=(4, 16), help="what the metric depends on")

    bound = 10**9
    built: ClassVar[list] = []

    def __init__(self, data, config=None, **settings):
        super().__init__(data, config, **settings)
        self.built.append(self.size)

    @classmethod
    def limits(cls, data):
        return {"size": cls.bound}


@pytest.fixture
def curve(monkeypatch, tiny_data):
    """Chooses for a function of the setting; returns the choice."""
    monkeypatch.setitem(registry._classes["linear"], "curve", Curve)
    monkeypatch.setattr(Curve, "built", [])

    def run(function, bound=10**9, **arguments):
        monkeypatch.setattr(Curve, "bound", bound)
        monkeypatch.setattr(
            choose, "evaluate", lambda model, *_, **__: {"recall@20": function(model.size)}
        )
        return choose_settings("curve", tiny_data, **arguments)

    return run


@pytest.mark.parametrize("peak", [1, 2, 4, 8, 16, 64, 512])
def test_the_grid_widens_until_the_best_lies_inside(curve, peak):
    choice = curve(lambda size: -abs(size - peak))
    assert choice.settings == {"size": peak}
    sizes = [row["size"] for row in choice.tried]
    assert sizes == sorted(sizes)
    assert {4, 8, 16} <= set(sizes)
    if peak == 1:  # the least value that the configuration takes
        assert sizes[0] == 1
        assert choice.note == "size = 1 is as far as this data set goes"
    else:
        assert sizes[0] < peak < sizes[-1]
        assert choice.note == "inside the grid"
    assert sorted(Curve.built) == sizes  # each value is computed once


def test_a_bound_of_the_data_ends_the_grid(curve):
    choice = curve(float, bound=50)
    assert [row["size"] for row in choice.tried] == [4, 8, 16, 32, 50]
    assert choice.settings == {"size": 50}
    assert choice.note == "size = 50 is as far as this data set goes"
    assert curve(float, bound=3).settings == {"size": 3}


def test_a_metric_that_stays_the_same_ends_the_grid(curve):
    assert curve(lambda size: 0.5).settings == {"size": 8}
    choice = curve(lambda size: min(size, 100))
    assert choice.settings == {"size": 128}
    assert choice.tried[-1]["size"] == 256


def test_an_interrupted_choice_goes_on(curve):
    rows = []

    def function(size):
        return -abs(size - 64)

    def stop(row):
        rows.append(row)
        if len(rows) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        curve(function, report=stop)
    Curve.built.clear()
    again = curve(function, tried=rows, report=rows.append)
    assert not {row["size"] for row in rows[:3]} & set(Curve.built)
    assert sorted(rows, key=lambda row: row["size"]) == again.tried
    assert again == curve(function)


@pytest.mark.parametrize(
    ("cls", "setting"), [(EASE, "reg"), (LowPassSVD, "rank"), (ItemKNN, "num_neighbors")]
)
def test_the_best_on_the_validation_items_is_chosen(sample, cls, setting):
    choice = choose_settings(cls.registered_name, sample)
    for row in choice.tried[::3]:  # models that are built on their own
        model = cls(sample, **{setting: row[setting]})
        found = evaluate(model, sample, "val", k=20)["recall@20"]
        assert row["recall@20"] == pytest.approx(found, abs=2e-3)
    best = max(choice.tried, key=lambda row: row["recall@20"])
    assert choice.settings == {setting: best[setting]}
    assert choice.settings == chosen()["sample"][cls.registered_name]


def test_nothing_is_chosen_where_there_is_no_setting(tiny_data):
    assert choose_settings("popularity", tiny_data) == ({}, [], "nothing to choose")


def test_chosen_settings_are_taken_by_the_name_of_the_data_set(tiny_data, monkeypatch):
    monkeypatch.setattr(choose, "chosen", lambda: {"shop": {"ease": {"reg": 7.0}}})
    assert build_linear("ease", tiny_data).reg == 50.0
    assert build_linear("ease", tiny_data, "shop").reg == 7.0
    assert build_linear("ease", tiny_data, "shop", reg=3.0).reg == 3.0
    tiny_data.name = "shop"
    assert build_linear("ease", tiny_data).reg == 7.0
    assert isinstance(build_linear("popularity", tiny_data), Popularity)


FILES = sorted(RESULTS.glob("*/*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_committed_setting_is_the_best_of_a_grid_that_goes_on_at_both_sides(path):
    found = json.loads(path.read_text())
    setting, (value,) = next(iter(found["settings"])), found["settings"].values()
    assert chosen()[path.parent.name][path.stem] == found["settings"]
    tried = {row[setting]: row["recall@20"] for row in found["tried"]}
    assert tried[value] == max(tried.values())
    if "as far as" not in found["note"]:
        assert min(tried) < value < max(tried)


def test_no_setting_stands_in_the_table_without_its_grid():
    table = chosen()
    trained = {"item-knn", "ease", "low-pass-svd"}
    assert set(table) == {"sample", "amazon", "yelp", "movie"}
    assert set(table["sample"]) == {*trained, "text-knn"}
    assert all(set(table[name]) == trained for name in ("amazon", "yelp", "movie"))
    assert {(path.parent.name, path.stem) for path in FILES} == {
        (dataset, model) for dataset, models in table.items() for model in models
    }
