"""What evaluation refuses: labels, graphs and data sets that are not the ranker's."""

import sys

import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.transforms import RandomLinkSplit

from irllrec_pyg.datasets import IRLLRecDataset
from irllrec_pyg.linear import Popularity
from irllrec_pyg.nn import InteractionGraph, LightGCN
from irllrec_pyg.published import build_model
from irllrec_pyg.ranking import evaluate, evaluate_users
from irllrec_pyg.training import fit

from ..conftest import write_published_folder


def pyg_split(data):
    bare = HeteroData()
    for side in ("user", "item"):
        bare[side].num_nodes = data[side].num_nodes
    bare["user", "rates", "item"].edge_index = data["user", "rates", "item"].edge_index
    split = RandomLinkSplit(0.2, 0.2, edge_types=[("user", "rates", "item")])
    return split(bare)


def test_labels_of_pygs_split_are_refused_and_the_mend_works(tiny_data):
    torch.manual_seed(0)
    train, _, test = pyg_split(tiny_data)
    edges = test["user", "rates", "item"]
    assert (edges.edge_label == 0).any()
    ranker = Popularity(train)
    with pytest.raises(ValueError, match=r"edge_label_index\[:, edge_label == 1\]"):
        evaluate(ranker, test, k=3)
    positive = edges.edge_label_index[:, edges.edge_label == 1]
    assert 0 <= evaluate(ranker, positive, k=3)["recall@3"] <= 1
    # Training items are no negatives that PyG drew: all of them are known, nothing else.
    known = set(zip(*train["user", "rates", "item"].edge_index.tolist(), strict=True))
    table = ranker.recommend(k=9)
    assert set(zip(table["user"], table["item"], strict=True)).isdisjoint(known)
    assert len(table) == 12 * 9 - len(known)


def test_pygs_split_with_positives_apart_is_refused_too(tiny_data):
    torch.manual_seed(0)
    split = RandomLinkSplit(0.2, 0.2, edge_types=[("user", "rates", "item")], split_labels=True)
    _, _, test = split(tiny_data)  # whose own labels, of another split, stay where they were
    ranker = Popularity(test)
    with pytest.raises(ValueError, match=r"'evaluate\(ranker, pos_edge_label_index\)'"):
        evaluate(ranker, test, k=3)
    held_out = test["user", "rates", "item"].pos_edge_label_index
    assert 0 <= evaluate(ranker, held_out, k=3)["recall@3"] <= 1
    table = ranker.recommend(k=9)
    offered = set(zip(table["user"], table["item"], strict=True))
    assert offered.isdisjoint(zip(*held_out.tolist(), strict=True))


def test_another_data_set_is_refused(tiny_data, tmp_path):
    ranker = Popularity(tiny_data)
    write_published_folder(tmp_path / "other" / "raw", seed=1)
    other = IRLLRecDataset(tmp_path, "other")[0]
    with pytest.raises(ValueError, match="other training interactions than 'data' has"):
        evaluate(ranker, other)
    other["item"].num_nodes = 10
    with pytest.raises(ValueError, match="12 users and 9 items, and 'data' has 12 and 10"):
        evaluate(ranker, other)
    edges = tiny_data["user", "rates", "item"]
    before = evaluate(ranker, tiny_data)
    edges.edge_index = edges.edge_index.flip(1)  # only the order differs
    assert evaluate(ranker, tiny_data) == before
    edges.edge_index[1, 0] = (edges.edge_index[1, 0] + 1) % 9  # changed in place
    with pytest.raises(ValueError, match="other training interactions"):
        evaluate(ranker, tiny_data)


def test_training_pairs_as_labels_are_refused(tiny_data):
    edges = tiny_data["user", "rates", "item"]
    edges.edge_label_index = edges.edge_index
    with pytest.raises(ValueError, match=r"test interactions in .* are training interactions"):
        evaluate(Popularity(tiny_data), tiny_data)


def test_a_data_set_instead_of_its_graph_is_refused(published_folder):
    dataset = IRLLRecDataset(published_folder.parents[1], "tiny")
    ranker = Popularity(dataset[0])
    model = build_model("lightgcn", dataset[0], dataset="amazon")
    for call in (
        lambda: evaluate(ranker, dataset),
        lambda: evaluate_users(ranker, dataset, "val"),
        lambda: LightGCN(dataset),
        lambda: InteractionGraph.from_data(dataset),
        lambda: Popularity(dataset),
        lambda: fit(model, dataset, epochs=1),
    ):
        with pytest.raises(TypeError, match=r"pass .*'dataset\[0\]'"):
            call()


def test_a_split_is_checked_once_as_long_as_nothing_changes(tiny_data, monkeypatch):
    calls = []
    module = sys.modules["irllrec_pyg.ranking.labels"]
    monkeypatch.setattr(module, "check_graph", lambda *arguments: calls.append(arguments))
    ranker = Popularity(tiny_data)
    for _ in range(3):
        evaluate(ranker, tiny_data)
    evaluate(ranker, tiny_data, "val")
    assert len(calls) == 2
    evaluate(Popularity(tiny_data), tiny_data)
    assert len(calls) == 3
