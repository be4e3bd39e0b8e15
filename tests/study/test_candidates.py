"""Models of a study: what is searched of them, and what they are without texts."""

from pathlib import Path

import pytest

from irllrec_pyg.config import ConfigError
from irllrec_pyg.datasets import IRLLRecDataset
from irllrec_pyg.linear import EASE, ItemKNN
from irllrec_pyg.registry import names
from irllrec_pyg.study.arms import all_arms, named, read_arms, read_candidate
from irllrec_pyg.study.ranges import Range


@pytest.mark.parametrize("name", names("linear"))
def test_every_closed_form_model_can_be_named(name, tiny_data, tmp_path):
    candidate = named(name)
    assert candidate.takes_text is (name in WITH_TEXT)
    (first,), ranges = candidate.starts(tiny_data), candidate.ranges(tiny_data)
    assert list(first) == list(ranges)
    assert candidate.fit(tiny_data, first, 0, tmp_path).num_items == 9
    textless = candidate.textless(named)
    assert (textless is candidate) is not candidate.takes_text


WITH_TEXT = [name for name in names("linear") if "text" in name]
WITH_TEXT += ["l3ae", "collective-ease", "additive-ease"]


def test_ranges_are_declared_or_given(tiny_data):
    assert named("ease").ranges(tiny_data)["reg"].low == 25.0
    assert named("item-knn").ranges(tiny_data)["num_neighbors"].most == 8
    given = read_candidate("mine", {"model": "ease", "search": {"reg": [1.0, 2.0]}})
    assert given.ranges(tiny_data) == {"reg": Range(1.0, 2.0)}
    kept = read_candidate("mine", {"model": "ease", "search": {"reg": None}})
    assert kept.ranges(tiny_data) == named("ease").ranges(tiny_data)
    fixed = read_candidate("mine", {"model": "ease", "settings": {"reg": 7.0}})
    assert fixed.ranges(tiny_data) == {}
    with pytest.raises(ConfigError, match="mine: Unknown range 'rag'; did you mean 'reg'"):
        read_candidate("mine", {"model": "ease", "search": {"rag": None}}).ranges(tiny_data)


def test_a_given_range_keeps_the_bounds_of_the_setting(tiny_data):
    path = "ranking_loss.popularity"
    row = {"model": "lightgcn", "settings": {"ranking_loss.name": "softmax"}}
    own = read_candidate("x", {**row, "search": {path: [0.0, 1.0]}}).ranges(tiny_data)[path]
    assert (own.low, own.high, own.least, own.most) == (0.0, 1.0, 0.0, 1.0)


def test_a_fixed_size_that_a_tiny_graph_has_no_room_for(tiny_data):
    assert not read_candidate("x", {"model": "gf-cf", "settings": {"rank": 256}}).takes_text


def test_the_form_without_texts_is_named_or_made_by_settings(tiny_data):
    row = {"model": "text-knn", "without_text": "ease", "splits": 2}
    other = read_candidate("mine", row).textless(named)
    assert (other.name, other.model, other.splits) == ("ease", "ease", 2)
    zero = {"model": "text-knn", "without_text": {"num_neighbors": 1}}
    found = read_candidate("mine", zero).textless(named)
    assert (found.name, found.settings) == ("mine", {"num_neighbors": 1})


@pytest.mark.parametrize("model", ["lightgcn_plus", "lightgcn_gene", "lightgcn_int", "sgl_plus"])
def test_a_graph_model_without_texts_keeps_everything_else(model, tiny_data):
    candidate = named(model, settings={"training.lr": 0.01})
    textless = candidate.textless(named)
    assert candidate.takes_text
    assert not textless.takes_text
    assert textless.model == model.split("_")[0]
    own, left = candidate.all_settings(tiny_data, {}), textless.all_settings(tiny_data, {})
    assert left == {path: v for path, v in own.items() if not path.startswith("heads.")}
    assert len(left) < len(own)
    searched = candidate.ranges(tiny_data)
    assert textless.ranges(tiny_data) == {
        path: found for path, found in searched.items() if not path.startswith("heads.")
    }
    assert any(path.startswith("heads.") for path in searched)
    assert "training.lr" not in searched


def test_a_backbone_of_texts_has_no_form_without(tiny_data):
    assert named("alpharec").textless(named) is None
    assert named("lightgcn").textless(named) == named("lightgcn")


def test_the_first_settings_of_a_graph_model_are_its_published_ones(published_folder):
    data = IRLLRecDataset(published_folder.parents[1], "tiny")[0]
    (first,) = named("lightgcn_plus").starts(data)
    assert first["heads.profile.weight"] == 0.01
    assert first["training.lr"] == 0.001


def test_a_blend_begins_with_each_part_alone(tiny_data):
    mixed = read_candidate("mixed", {"blend": ["ease", "item-knn"]})
    weights = [tuple(start.values()) for start in mixed.starts(tiny_data)]
    assert list(mixed.starts(tiny_data)[0]) == ["weights.ease", "weights.item-knn"]
    assert weights == [(1.0, 1.0), (1.0, 0.01), (0.01, 1.0)]
    alone = mixed.blend([EASE(tiny_data), ItemKNN(tiny_data)], mixed.starts(tiny_data)[1])
    assert alone.config.weights == (1.0, 0.0)


def test_a_graph_model_is_trained_from_its_seed(tiny_data, tmp_path):
    candidate = named("lightgcn", settings={"training.epochs": 2, "ranking_loss.name": "softmax"})
    assert "ranking_loss.temperature" in candidate.ranges(tiny_data)
    runs = [
        candidate.fit(tiny_data, {}, seed, tmp_path / f"{i}") for i, seed in enumerate((0, 0, 1))
    ]
    first, again, other = (run.embed()[0] for run in runs)
    assert first.equal(again)
    assert not first.equal(other)


def test_the_file_of_heads_differs_in_what_it_says(tiny_data):
    file = Path(__file__).parents[2] / "benchmarks" / "heads.yaml"
    known = read_arms(str(file))
    arms = all_arms(["shop"], ["warm"], ["none", "real"], list(known), known.__getitem__)
    units = {arm.model: arm.unit for arm in arms if arm.text == "none"}
    for name, candidate in known.items():
        base, _, head = name.partition("-")
        assert units[name] == f"shop/warm/{base}/none"
        searched = candidate.ranges(tiny_data)
        for part in ("pairwise", "translation", "matching"):
            path = f"heads.intent.{part}.weight"
            gone = head == f"int-no-{part}"
            assert (path in searched) is (head.startswith("int") and not gone)
            assert (candidate.settings.get(path) == 0.0) is gone
        base_settings = known[base].settings.items()
        assert base_settings <= candidate.settings.items()


def test_a_name_that_is_wrong(tiny_data):
    with pytest.raises(ConfigError, match="Unknown model 'eas'; did you mean 'ease'"):
        named("eas")
    with pytest.raises(ConfigError, match="mine: Unknown field 'modell'; did you mean 'model'"):
        read_candidate("mine", {"modell": "ease"})
    assert isinstance(named("ease").fit(tiny_data, {"reg": 3.0}, 0, None), EASE)


@pytest.mark.parametrize(
    ("name", "row", "says"),
    [
        ("mine", "ease", "must be described by fields"),
        ("mine", [1], "must be described by fields"),
        ("a/../b", {"model": "ease"}, "without '/'"),
        (3, {"model": "ease"}, "must be text"),
        ("mine", {"model": 3}, "'model' must be a name"),
        ("ease", {"settings": [1]}, "'settings' must be settings by path"),
        ("ease", {"search": "hi"}, "'search' must be ranges by path"),
        ("ease", {"splits": -1}, "'splits' must be a whole number from 1 on"),
        ("ease", {"seeds": "x"}, "'seeds' must be a whole number from 1 on"),
        ("ease", {"search": {"reg": "hi"}}, "A range must be two numbers"),
        ("ease", {"search": {"reg": []}}, "A range must be two numbers"),
        ("ease", {"search": {"reg": [float("nan"), 1.0]}}, "A range must be finite"),
        ("ease", {"search": {"reg": {"low": "a", "high": "b"}}}, "A range must be finite"),
        ("mine", {"blend": [1, 2]}, "'blend' must be names"),
    ],
)
def test_nonsense_in_a_file_of_arms_is_refused(name, row, says):
    with pytest.raises(ConfigError, match=says):
        read_candidate(name, row)


@pytest.mark.parametrize("other", ["l3ae", "text-mean"])
def test_a_form_without_texts_needs_none(other):
    candidate = read_candidate("l3ae", {"without_text": other})
    with pytest.raises(ConfigError, match=f"l3ae: 'without_text' names '{other}', which needs"):
        candidate.textless(named)
