"""Names and hyper-parameters of the published models, and that each of them learns."""

import csv
import logging

import pytest
import torch

import irllrec_pyg.published as published
from irllrec_pyg import IRLLRecDataset, build_model, triplet_loader
from irllrec_pyg.config import read_scalar
from irllrec_pyg.published import (
    aliases,
    load_published,
    model_config,
    model_names,
    published_grid,
    published_settings,
    published_values,
    split_name,
)
from irllrec_pyg.ranking import evaluate

from .conftest import shared_path
from .test_composition import Popularity

BASES = ["gccf", "lightgcn", "sgl", "simgcl", "dccf", "autocf", "bigcf"]
INTENTS = ["lightgcn_int", "sgl_int", "simgcl_int", "dccf_int", "bigcf_int"]
UNPUBLISHED = ["gccf_int", "autocf_int", "alpharec_plus", "alpharec_gene", "alpharec_int"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return IRLLRecDataset(str(tmp_path_factory.mktemp("data")), name="sample")[0]


@pytest.fixture(scope="module")
def popularity(data):
    ranker = Popularity(data["user", "rates", "item"].edge_index, 600, 360)
    return evaluate(ranker, data, k=[20], metrics=["recall"])["recall@20"]


def train(model, data, epochs, num_negatives):
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=0.01)
    loader = triplet_loader(data, batch_size=512, num_negatives=num_negatives)
    for _ in range(epochs):
        model.begin_epoch()
        for batch in loader:
            optimizer.zero_grad()
            model.losses_from_batch(batch)["total"].backward()
            optimizer.step()
    return evaluate(model.eval(), data, k=[20], metrics=["recall"])["recall@20"]


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, None) for name in [*model_names(), *UNPUBLISHED]]
    + [(name, "as_in_paper") for name in ["gccf_plus", *INTENTS]],
)
def test_every_name_learns(name, mode, data, popularity):
    torch.manual_seed(0)
    options = {"mode": mode} if mode else {}
    if name.startswith("dccf"):  # weights that suit a hundred thousand interactions overfit here
        options["reg_weight"] = 0.01
    if name.endswith("int"):
        options["intent_num"] = 32
    model = build_model(name, data, "amazon", **options)
    epochs = 10 if name.endswith("gene") else 4
    recall = train(model, data, epochs, 16 if name.startswith("alpharec") else 1)
    assert recall > 1.05 * popularity > 0.13


def test_all_published_names_are_there():
    assert set(model_names()) == {"alpharec", *INTENTS} | {
        f"{base}{variant}" for base in BASES for variant in ("", "_plus", "_gene")
    }


def test_configurations_equal_the_published_ones():
    table, sources = {}, {}
    with shared_path("published/hyperparameters.csv").open() as file:
        for row in csv.DictReader(file):
            key = row["model"], row["dataset"], row["parameter"]
            if sources.get(key[:2]) != "IRLLRec" or row["source"] == "IRLLRec":
                table[key] = read_scalar(row["value"])
                sources[key[:2]] = row["source"]
    assert len({model for model, _, _ in table}) == 27
    loaded = {key: published_values(*key) for key in {key[:2] for key in table}}
    for (model, dataset, parameter), value in table.items():
        assert loaded[model, dataset][parameter] == value, (model, dataset)


@pytest.mark.parametrize("name", [*model_names(), *UNPUBLISHED])
def test_every_published_value_reaches_the_setting_that_it_names(name):
    """A value changed under its published name changes one setting, and the one of its alias."""
    values, known = published_values(name, "amazon"), published.aliases(name)
    plain = published_settings(name, "amazon")
    unread = {key for key in values if key not in known}
    assert unread <= {"lm_model", "keep_rate", "cl_temperature", "intent_num"}
    config = model_config(name, plain)
    for key in set(values) - unread:
        value = plain[known[key]]
        if known[key].startswith("training.") or isinstance(value, str):
            continue
        other = value * 2 if isinstance(value, int) else value / 2 or 0.5  # heads divide widths
        changed = model_config(name, {**plain, **published.rename(name, {key: other})})
        found = {
            path
            for path, (before, after) in flat(config.to_dict(), changed.to_dict()).items()
            if before != after
        }
        assert found == {known[key]}, key


def flat(first, second, prefix=""):
    """Values of two trees by path, side by side."""
    found = {}
    for key in first:
        path = f"{prefix}{key}"
        if isinstance(first[key], dict):
            found |= flat(first[key], second[key], f"{path}.")
        else:
            found[path] = first[key], second[key]
    return found


@pytest.mark.parametrize(
    ("model", "dataset"),
    [
        ("gccf", "movie"),
        ("autocf_plus", "movie"),
        ("alpharec", "movie"),
        ("sgl_int", "steam"),
        ("lightgcn", "sample"),
        ("lightgcn", None),
    ],
)
def test_a_data_set_without_configuration_takes_amazons_and_says_so(model, dataset, caplog):
    with caplog.at_level(logging.INFO):
        assert published_values(model, dataset) == published_values(model, "amazon")
    assert f"{model} has no published hyper-parameters for {dataset}" in caplog.text


@pytest.mark.parametrize("model", ["lightgcn", "lightgcn_plus", "lightgcn_gene", "lightgcn_int"])
def test_movielens_has_settings_for_a_small_data_set(model, caplog):
    with caplog.at_level(logging.INFO):
        own, amazon = (published_values(model, name) for name in ("movielens", "amazon"))
    assert not caplog.text
    changed = {key: own[key] for key in amazon if own[key] != amazon[key]}
    weight = {"kd_int_weight": 0.005} if model == "lightgcn_int" else {}
    assert changed == {"batch_size": 1024, "patience": 20, **weight}
    assert list(own) == list(amazon)


def test_a_published_configuration_says_nothing(caplog):
    with caplog.at_level(logging.INFO):
        published_settings("sgl_int", "movie")
    assert not caplog.text


def test_variants_that_nobody_published_borrow_and_say_so(caplog):
    with caplog.at_level(logging.INFO):
        found = published_values("autocf_int", "yelp")
    assert (
        "autocf_int was never published; hyper-parameters are those of autocf_plus" in caplog.text
    )
    own = published_values("autocf_plus", "yelp")
    lent = published_values("lightgcn_int", "yelp")
    assert all(found[key] == value for key, value in own.items())
    assert found["kd_int_weight"] == lent["kd_int_weight"] == 0.01
    assert "layer_num" not in found  # LightGCN's own
    settings = published_settings("autocf_int", "yelp")
    assert settings["heads.intent.translation.weight"] == 5e-4  # as in the paper
    with pytest.raises(ValueError, match="never published"):
        published_settings("autocf_int", mode="as_published")


def test_modes_differ_where_the_published_code_differs_from_the_papers(tiny_data):
    def intent(name, **options):
        return build_model(name, tiny_data, "amazon", **options).heads["intent"].config

    for name in INTENTS:
        code, paper = intent(name), intent(name, mode="as_in_paper")
        assert (code.translation.weight > 0) == (name == "lightgcn_int")
        assert paper.translation.weight > 0 < paper.matching.weight
        assert (paper.view, paper.shift, paper.pairwise.negatives) == (None, 0, True)
        assert (paper.translation.noise, paper.translation.nodes) == ("additive", "batch")
        assert paper.matching.target == "similarities"
    code = intent("lightgcn_int")
    assert (code.translation.noise, code.translation.nodes) == ("multiplicative", "all")
    assert code.matching.target == "predictions"
    assert code.translation.weight == 1e-7
    assert intent("lightgcn_int", mode="as_in_paper").translation.weight == 5e-4
    assert intent("lightgcn_int", mode="as_in_paper").matching.weight == 1e-4
    given = intent("lightgcn_int", mode="as_in_paper", kd_int_weight_2=0.3)
    assert given.translation.weight == 0.3
    assert intent("simgcl_int", mode="as_in_paper").translation.weight == 5e-4  # its own
    assert (intent("sgl_int").view, intent("bigcf_int").shift) == (1, 1)
    assert not intent("simgcl_int").pairwise.negatives
    for name, mode, loops in (
        ("gccf", None, True),
        ("gccf_plus", None, False),
        ("gccf_gene", None, False),
        ("gccf_plus", "as_in_paper", True),
        ("gccf_int", None, True),
    ):
        assert build_model(name, tiny_data, mode=mode).backbone.self_loops == loops
    for name in ("autocf_plus", "autocf_int"):
        assert not build_model(name, tiny_data).heads["profile"].negatives


def test_any_backbone_goes_with_any_heads(tiny_data):
    model = build_model("gnn+profile+intent", tiny_data, settings={"backbone.gnn": "GCN"})
    assert type(model.backbone.network).__name__ == "GCN"
    assert list(model.heads.keys()) == ["profile", "intent"]
    assert model.reg_weight == 1e-6
    assert split_name("gccf_int") == ("gccf", ("profile", "intent"))


def test_alpharec_asks_for_many_negatives():
    assert published_settings("alpharec")["training.num_negatives"] == 256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "lightgnc"}, "Unknown model 'lightgnc'; did you mean 'lightgcn'"),
        ({"name": "lightgcn_best"}, "Unknown model 'lightgcn_best'"),
        ({"name": "lightgcn+best"}, "Unknown head 'best'"),
        ({"name": "best+intent"}, "Unknown backbone 'best'"),
        ({"name": "sgl", "layers": 2}, "sgl: Unknown hyper-parameter 'layers'"),
        ({"name": "sgl", "layer_num": -1}, "backbone 'sgl': 'num_layers' must be at least 0"),
        ({"name": "sgl", "mode": "as_dreamt"}, "'mode' must be"),
        ({"name": "alpharec", "lm_model": "bert"}, "Unknown hyper-parameter 'lm_model'"),
        ({"name": "lightgcn", "intent_num": 4}, "Unknown hyper-parameter 'intent_num'"),
        ({"name": "lightgcn", "kd_weight": 4}, "Unknown hyper-parameter 'kd_weight'"),
        ({"name": "sgl", "patience": 4}, "'patience' is of training; pass it to 'fit'"),
        ({"name": "sgl", "settings": {"backbone.size": 4}}, "Unknown field 'size'"),
        ({"name": "sgl", "settings": {"heads.profile.weight": 4}}, "sgl: Unknown head 'profile'"),
        (
            {"name": "sgl_plus", "settings": {"heads.profile.weight": -4}},
            "'weight' must be at least 0",
        ),
    ],
)
def test_what_is_unknown_is_named(tiny_data, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model(data=tiny_data, **arguments)


def test_published_weights_must_fit(tiny_data):
    state = {"user_embeds": torch.randn(12, 4), "item_embeds": torch.randn(9, 4)}
    model = load_published("lightgcn", state, tiny_data)
    assert torch.equal(model.backbone.embedding[12:], state["item_embeds"])
    with pytest.raises(ValueError, match=r"missing \['mlp.0.bias'"):
        load_published("lightgcn_plus", state, tiny_data)
    with pytest.raises(ValueError, match=r"unknown \['gate'\]"):
        load_published("lightgcn", {**state, "gate": torch.ones(1)}, tiny_data)
    state["item_embeds"] = torch.randn(8, 4)
    with pytest.raises(ValueError, match=r"embedding has shape \(20, 4\); .* wants \(21, 4\)"):
        load_published("lightgcn", state, tiny_data)


def test_a_grid_of_published_values_holds_each_models_own():
    for name in model_names():
        known, found = aliases(name), published_grid(name)
        for alias, value in published_values(name, "amazon").items():
            if alias in known:
                assert value in found[known[alias]], (name, alias)
