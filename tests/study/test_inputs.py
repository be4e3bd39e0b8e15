"""Graphs of the arms: what each kind of text puts in the texts' place."""

import shutil

import pandas as pd
import pytest
import torch

from irllrec_pyg.edges import EDGE_TYPE, known_pairs
from irllrec_pyg.study.config import StudyConfig
from irllrec_pyg.study.inputs import Inputs


@pytest.fixture(scope="module")
def inputs(tables):
    return Inputs(tables, StudyConfig(k_core=2))


def test_arms_of_one_split_differ_in_texts_alone(inputs):
    kinds = ("none", "real", "titles", "permuted", "noise")
    graphs = {text: inputs.graph("shop", "warm", 1, text) for text in kinds}
    pairs = graphs["real"][EDGE_TYPE]
    for graph in graphs.values():
        for name in ("edge_index", "val_edge_label_index", "edge_label_index"):
            assert torch.equal(graph[EDGE_TYPE][name], pairs[name])
    x = {text: graph["item"].x for text, graph in graphs.items() if text != "none"}
    assert "x" not in graphs["none"]["item"]
    assert "intent" not in graphs["none"]["item"]
    assert not torch.equal(x["permuted"], x["real"])
    assert torch.equal(x["permuted"].sort(0).values, x["real"].sort(0).values)
    assert not torch.allclose(x["titles"], x["real"])
    assert x["noise"].shape == x["real"].shape
    assert torch.equal(graphs["permuted"]["item"].intent, x["permuted"])


def test_placebos_are_drawn_anew_with_each_split_and_are_the_same_again(inputs):
    first, again, other = (inputs.graph("shop", "warm", at, "permuted") for at in (1, 1, 2))
    assert torch.equal(first["item"].x, again["item"].x)
    assert not torch.equal(first["item"].x, other["item"].x)
    real = inputs.graph("shop", "warm", 1, "real")["item"].x
    assert not torch.equal(first["item"].x, real)  # and the kept graph stays as it was


def test_random_interactions_are_added_to_training(inputs):
    warm, noisy = (inputs.graph("shop", setting, 1, "none") for setting in ("warm", "noisy_25"))
    train, more = warm[EDGE_TYPE].edge_index, noisy[EDGE_TYPE].edge_index
    assert more.size(1) == train.size(1) + round(0.25 * train.size(1))
    assert torch.equal(noisy[EDGE_TYPE].edge_label_index, warm[EDGE_TYPE].edge_label_index)
    known, all_pairs = (set(map(tuple, known_pairs(one).t().tolist())) for one in (warm, noisy))
    assert len(all_pairs - known) == round(0.25 * train.size(1))


def test_views_are_the_columns_side_by_side_and_narrow_texts_their_components(tables):
    rules = StudyConfig(k_core=2, views=("title", "text"), narrow=3)
    inputs = Inputs(tables, rules)
    kinds = ("titles", "real", "views", "narrow")
    x = {text: inputs.graph("shop", "warm", 1, text)["item"].x for text in kinds}
    assert torch.equal(x["views"], torch.cat([x["titles"], x["real"]], dim=1))
    known = {
        text: inputs.origin(inputs.graph("shop", "warm", 1, text), "shop", "warm", 1, text)
        for text in kinds
    }
    assert known["views"]["characters"] == sum(known[t]["characters"] for t in ("titles", "real"))
    assert (known["views"]["width"], known["narrow"]["width"]) == (512, 3)
    centred = (x["real"] - x["real"].mean(0)).double()
    best = torch.linalg.svdvals(centred)[:3]
    torch.testing.assert_close(torch.linalg.svdvals(x["narrow"].double()), best)
    for rules, text, says in (
        ({}, "views", "Several views need columns"),
        ({"narrow": 256}, "narrow", "are 256 wide: --narrow must be below"),
    ):
        with pytest.raises(ValueError, match=says):
            Inputs(tables, StudyConfig(k_core=2, **rules)).graph("shop", "warm", 1, text)


def test_titles_that_are_the_texts_are_no_arm(tables, tmp_path):

    shutil.copytree(tables / "shop", tmp_path / "shop", ignore=shutil.ignore_patterns("processed"))

    file = tmp_path / "shop" / "items.csv.gz"
    pd.read_csv(file)[["item", "title"]].to_csv(file, index=False)
    with pytest.raises(ValueError, match="The texts of shop are its titles"):
        Inputs(tmp_path, StudyConfig(k_core=2)).graph("shop", "warm", 0, "titles")


def test_a_published_data_set_keeps_its_split(published_folder):
    inputs = Inputs(published_folder.parents[1], StudyConfig())
    real, permuted = (inputs.graph("tiny", "given", 0, text) for text in ("real", "permuted"))
    assert torch.equal(real[EDGE_TYPE].edge_index, permuted[EDGE_TYPE].edge_index)
    for side in ("user", "item"):
        for field in ("x", "intent"):
            assert not torch.equal(real[side][field], permuted[side][field])
    assert inputs.origin(real, "tiny", "given", 0, "real")["characters"] == 0
    with pytest.raises(ValueError, match="tiny has embeddings, and no columns of texts"):
        inputs.graph("tiny", "given", 0, "titles")


def test_a_folder_of_tables_comes_with_no_split(inputs):
    with pytest.raises(ValueError, match="shop is a folder of tables, which comes with no split"):
        inputs.graph("shop", "given", 0, "real")
