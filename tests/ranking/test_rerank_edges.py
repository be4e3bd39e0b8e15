"""Trees over a blend, where there is little to rank or to learn from, or something is missing."""

import sys

import pytest
import torch

from irllrec_pyg.checkpoint import CheckpointError, load_ranker, save_ranker
from irllrec_pyg.edges import EDGE_TYPE
from irllrec_pyg.linear import EASE, Popularity
from irllrec_pyg.ranker_file import KIND
from irllrec_pyg.ranking import Blend, Rerank
from irllrec_pyg.ranking.forest import INNER, LEAVES, Forest
from irllrec_pyg.study.arms import Arm, read_candidate
from irllrec_pyg.study.tuned import tuned
from irllrec_pyg.study.work import Work
from irllrec_pyg.tensor_file import read_tensors, write_tensors

from .test_forest import random_forest
from .test_rerank import EVERYONE, Table, forests

TOUCHED = torch.tensor([0, *range(3, 9)])  # others are new
LEARN = {"rounds": 4, "rate": 0.3, "least": 1}


def stump(feature, threshold, left, right, width):
    """One tree with one split."""
    value = torch.full((1, LEAVES), float(right), dtype=torch.float64)
    value[:, : LEAVES // 2] = left
    threshold_of_all = torch.full((1, INNER), torch.inf, dtype=torch.float64)
    threshold_of_all[:, 0] = threshold
    at = torch.zeros(1, INNER, dtype=torch.long)
    at[:, 0] = feature
    at[:, 1:], threshold_of_all[:, 2] = feature, -torch.inf
    return Forest(at, threshold_of_all, value, width=width)


@pytest.mark.parametrize("depth", [3, 9, 100])
def test_the_first_items_stay_before_the_others_and_these_where_they_were(tiny_data, depth):
    flat = Table(tiny_data, torch.zeros(12, 9))  # ties everywhere
    for ranker in (flat, EASE(tiny_data, reg=1.0), Popularity(tiny_data)):
        trees = [random_forest(width=5, seed=seed) for seed in range(4)]
        model, blend = Rerank(ranker, trees=trees, depth=depth), Blend(ranker)
        length = min(depth, 9)
        before, value = blend.topk(EVERYONE, 9, "train", TOUCHED)
        after, own = model.topk(EVERYONE, 9, "train", TOUCHED)
        torch.testing.assert_close(own, value, atol=1e-4, rtol=0)
        for one, two in zip(before.tolist(), after.tolist(), strict=True):
            assert set(one[:length]) == set(two[:length])
            assert one[length:] == two[length:]
        assert depth == 3 or not torch.equal(before, after)


def test_flat_scores_take_the_order_of_the_trees(tiny_data):
    flat = Table(tiny_data, torch.zeros(12, 9))
    degree = torch.bincount(tiny_data[EDGE_TYPE].edge_index[1], minlength=9)
    middle = float(degree.float().median())
    trees = [stump(4, middle, left=1.0, right=0.0, width=5) for _ in range(4)]
    listed = Rerank(flat, trees=trees).topk(EVERYONE, 9, "train", TOUCHED)[0]
    for row in listed.tolist():
        large = [bool(degree[item] > middle) for item in row if item >= 0]
        assert large == sorted(large)


class Trained(Table):
    """As a graph model in training: scores have gradients, and are others while it trains."""

    def __init__(self, data, table):
        super().__init__(data, table)
        self.weight = torch.nn.Parameter(torch.ones(()))

    def score(self, user):
        return self.table[user] * self.weight * (float("nan") if self.training else 1.0)


def test_parts_that_were_trained_teach_and_rank(tiny_data):
    pytest.importorskip("lightgbm")
    table = torch.rand(12, 9, generator=torch.Generator().manual_seed(0))
    model = Rerank(Trained(tiny_data, table).train(), **LEARN).learn(tiny_data)
    other = Rerank(Table(tiny_data, table), **LEARN).learn(tiny_data)
    assert torch.equal(model.topk(EVERYONE, 3)[0], other.topk(EVERYONE, 3)[0])
    again = Rerank(Trained(tiny_data, table).eval(), trees=[random_forest(width=5)] * 4).eval()
    assert again.score(EVERYONE).isfinite().all()  # with gradients


@pytest.mark.parametrize("users", [[1, 5, 9], [2]])
def test_groups_may_have_nobody(tiny_data, users):
    pytest.importorskip("lightgbm")
    row, item = tiny_data[EDGE_TYPE].val_edge_label_index
    kept = torch.isin(row, torch.tensor(users))
    tiny_data[EDGE_TYPE].val_edge_label_index = torch.stack([row, item])[:, kept]
    assert kept.any()
    model = Rerank(EASE(tiny_data), Popularity(tiny_data), **LEARN).learn(tiny_data)
    assert len(model.trees) == 0  # nobody to learn from for the only group that is measured


def test_trees_are_measured_as_they_list(tiny_data, monkeypatch):
    """What there is no room for stays behind, whatever the trees say of it."""
    model = Rerank(Popularity(tiny_data), rounds=2)
    first = stump(1, -1e8, left=10.0, right=0.0, width=5)  # what is not listed
    second = stump(1, 0.5, left=1.0, right=0.0, width=5)
    tensors = zip(first.buffers(), second.buffers(), strict=True)
    trees = Forest(*(torch.cat(pair) for pair in tensors), width=5)
    monkeypatch.setattr(Rerank, "_grow", lambda *_: trees)
    x = torch.zeros(8, 6, 5)
    x[:, 0, 1], x[:, 2:, :2] = 1.0, -1e9  # two items; the second is relevant
    relevant = torch.zeros(8, 6, dtype=torch.bool)
    relevant[:, 1] = True
    found = model._best(x, relevant, torch.ones(8).long(), torch.arange(8) % 4)
    assert [len(own) for own in found] == [2] * 4


def test_new_items_are_added_to_a_saved_one(tiny_data, tmp_path):
    model = Rerank(EASE(tiny_data, reg=1.0), Popularity(tiny_data), trees=forests())
    save_ranker(model, tmp_path / "m.safetensors")
    loaded = load_ranker(tmp_path / "m.safetensors")
    loaded.grow([100, 101], None)
    assert loaded.score(EVERYONE).shape == (12, 11)
    assert torch.equal(loaded.with_parts(loaded.rankers()).score(EVERYONE), loaded.score(EVERYONE))


def test_more_trees_than_the_settings_allow_are_refused(tiny_data, tmp_path):
    path = tmp_path / "m.safetensors"
    save_ranker(Rerank(EASE(tiny_data), Popularity(tiny_data), trees=forests()), path)
    tensors, metadata = read_tensors(path, KIND)
    for name in [name for name in tensors if name.startswith("trees.2.")]:
        tensors[name] = tensors[name].repeat(50, 1)
    write_tensors(path, tensors, metadata, KIND)
    with pytest.raises(CheckpointError, match="350 trees, more than 'rounds' 300"):
        load_ranker(path)


def test_what_cannot_be_learnt_is_said_before_anything_is_searched(
    tiny_data, tmp_path, monkeypatch
):
    candidate = read_candidate("mine", {"rerank": ["ease", "popularity"]})
    mixed = read_candidate("mixed", {"blend": ["mine", "ials"]}, {"mine": candidate})
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    for one in (candidate, mixed):
        with pytest.raises(ImportError, match=r"irllrec_pyg\[rerank\]"):
            tuned(one, tiny_data, folder=tmp_path / "search", progress=False)
    tiny_data["user"].split = torch.zeros(12, dtype=torch.long)
    with pytest.raises(ValueError, match="no scores of their own"):
        tuned(candidate, tiny_data, folder=tmp_path / "search", progress=False)
    assert not (tmp_path / "search").exists()


def test_a_part_of_a_studys_blend_has_its_trees(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(Rerank, "learn", lambda self, data: self)
    monkeypatch.setattr(Work, "_chosen", lambda self, arm: {})
    inner = read_candidate("mine", {"rerank": ["ease", "popularity"]})
    mixed = read_candidate("mixed", {"blend": ["mine", "popularity"]}, {"mine": inner})
    work = Work(units=None, inputs=None, rules=None)
    arm = Arm("tiny", "warm", "mixed", "none", mixed)
    found = work._ranker(arm, tiny_data, {}, 0, tmp_path)
    assert [type(part) for part in found.rankers()] == [Rerank, Popularity]
