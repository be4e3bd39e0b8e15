"""Names and hyper-parameters of the published models, and that each of them learns."""

import csv
import logging

import pytest
import torch
import yaml

import irllrec_pyg.published as published
from irllrec_pyg import IRLLRecDataset, build_model, triplet_loader
from irllrec_pyg.evaluation import evaluate
from irllrec_pyg.published import load_hyperparameters, load_published, model_names

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
                table[key] = yaml.safe_load(row["value"])
                sources[key[:2]] = row["source"]
    assert len({model for model, _, _ in table}) == 27
    loaded = {key: load_hyperparameters(*key) for key in {key[:2] for key in table}}
    for (model, dataset, parameter), value in table.items():
        ours = loaded[model, dataset][parameter]
        assert ours == (float(value) if isinstance(ours, float) else value), (model, dataset)


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
        assert load_hyperparameters(model, dataset) == load_hyperparameters(model, "amazon")
    assert f"{model} has no published hyper-parameters for {dataset}" in caplog.text


@pytest.mark.parametrize("model", ["lightgcn", "lightgcn_plus", "lightgcn_gene", "lightgcn_int"])
def test_movielens_has_settings_for_a_small_data_set(model, caplog):
    with caplog.at_level(logging.INFO):
        own, amazon = (load_hyperparameters(model, name) for name in ("movielens", "amazon"))
    assert not caplog.text
    changed = {key: own[key] for key in amazon if own[key] != amazon[key]}
    weight = {"kd_int_weight": 0.005} if model == "lightgcn_int" else {}
    assert changed == {"batch_size": 1024, "patience": 20, **weight}
    assert list(own) == list(amazon)


def test_a_published_configuration_says_nothing(caplog):
    with caplog.at_level(logging.INFO):
        load_hyperparameters("sgl_int", "movie")
    assert not caplog.text


def test_variants_that_nobody_published_borrow_and_say_so(caplog):
    with caplog.at_level(logging.INFO):
        found = load_hyperparameters("autocf_int", "yelp")
    assert (
        "autocf_int was never published; hyper-parameters are those of autocf_plus" in caplog.text
    )
    own = load_hyperparameters("autocf_plus", "yelp")
    lent = load_hyperparameters("lightgcn_int", "yelp", "as_in_paper")
    assert all(found[key] == value for key, value in own.items() if key != "mode")
    assert found["kd_int_weight"] == lent["kd_int_weight"] == 0.01
    assert found["mode"] == "as_in_paper"
    assert "layer_num" not in found  # LightGCN's own
    with pytest.raises(ValueError, match="never published"):
        load_hyperparameters("autocf_int", mode="as_published")


def test_modes_differ_where_the_published_code_differs_from_the_papers(tiny_data):
    def intent(name, **options):
        return list(build_model(name, tiny_data, "amazon", **options).heads)[1]

    for name in INTENTS:
        code, paper = intent(name), intent(name, mode="as_in_paper")
        assert (code.translation is not None) == (name == "lightgcn_int")
        assert paper.translation.weight > 0 < paper.matching.weight
        assert (paper.view, paper.shift, paper.pairwise.negatives) == (None, 0, True)
        assert (paper.intents is None) == (name in ("dccf_int", "bigcf_int"))
    assert intent("lightgcn_int").translation.weight == 1e-7
    assert intent("lightgcn_int", mode="as_in_paper").translation.weight == 5e-4
    assert intent("lightgcn_int", mode="as_in_paper").matching.weight == 1e-4
    assert intent("lightgcn_int", mode="as_in_paper", kd_int_weight_2=0.3).translation.weight == 0.3
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
        options = {"mode": mode} if mode else {}
        assert build_model(name, tiny_data, **options).backbone.self_loops == loops
    assert not next(iter(build_model("autocf_plus", tiny_data).heads)).negatives


class Reading(dict):
    """Notes which of its values are asked for."""

    def __init__(self, values):
        super().__init__(values)
        self.read = set()

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)


@pytest.mark.parametrize("name", [*model_names(), *UNPUBLISHED])
def test_exactly_what_is_read_can_be_set(name, tiny_data):
    hparams = Reading(load_hyperparameters(name))
    backbone, variant = published.split_name(name)
    built = published.BACKBONES[backbone](tiny_data, hparams)
    published.VARIANTS[variant](tiny_data, built, hparams)
    # The mode is read where hyper-parameters are loaded, the weight by every recommender.
    assert set(hparams) - published.unread(name) == (
        hparams.read | {"mode", "reg_weight"} | set(published.TRAINING) & set(hparams)
    )


def test_alpharec_asks_for_many_negatives():
    assert load_hyperparameters("alpharec")["num_negatives"] == 256
    assert "num_negatives" in published.TRAINING


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "lightgnc"}, "Unknown model 'lightgnc'"),
        ({"name": "lightgcn_best"}, "Unknown model 'lightgcn_best'"),
        ({"name": "sgl", "layers": 2}, "sgl has no hyper-parameter layers"),
        ({"name": "sgl", "mode": "as_dreamt"}, "'mode' must be"),
        ({"name": "alpharec", "lm_model": "bert"}, "alpharec has no hyper-parameter lm_model"),
        ({"name": "lightgcn", "intent_num": 4}, "lightgcn has no hyper-parameter intent_num"),
        ({"name": "sgl", "patience": 4}, "patience is of training; pass it to 'fit'"),
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
