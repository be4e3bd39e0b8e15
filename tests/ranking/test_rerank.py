"""Trees over a blend: what they may change, what they learn, and how they are kept."""

from itertools import chain

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg.checkpoint import CheckpointError, load_ranker, save_ranker
from irllrec_pyg.datasets.interactions import from_interactions
from irllrec_pyg.edges import EDGE_TYPE
from irllrec_pyg.linear import EASE, Popularity
from irllrec_pyg.ranker_file import KIND
from irllrec_pyg.ranking import Blend, Ranker, Rerank, evaluate
from irllrec_pyg.ranking.ranker import ranker_arguments
from irllrec_pyg.study.arms import read_candidate
from irllrec_pyg.study.candidates import RerankCandidate
from irllrec_pyg.tensor_file import read_tensors, write_tensors

from .test_forest import random_forest

EVERYONE = torch.arange(12)


def forests():
    """Those of the four groups of users, for two parts."""
    return [random_forest(width=7, seed=seed) for seed in range(4)]


@pytest.fixture
def parts(tiny_data):
    return EASE(tiny_data, reg=1.0), Popularity(tiny_data)


def test_only_the_first_items_change_places(tiny_data, parts):
    blend = Blend(*parts).score(EVERYONE)
    model = Rerank(*parts, trees=forests(), depth=3)
    found = model.score(EVERYONE)
    row, seen = model.seen(EVERYONE)
    new = torch.bincount(model.seen_item, minlength=9) == 0
    changed = 0
    for user in range(12):
        fixed = set(seen[row == user].tolist()) | set(new.nonzero().flatten().tolist())
        listed = sorted((i for i in range(9) if i not in fixed), key=lambda i: -blend[user, i])
        first, rest = listed[:3], listed[3:]
        torch.testing.assert_close(
            found[user, first].sort(descending=True).values, blend[user, first]
        )
        assert torch.equal(blend[user, [*rest, *fixed]], found[user, [*rest, *fixed]])
        changed += sorted(first, key=lambda i: -found[user, i]) != first
    assert changed > 3


@pytest.mark.parametrize("by_history", [False, True])
def test_the_order_is_that_of_the_trees(tiny_data, parts, by_history):
    history = torch.zeros(12, 9).index_put_(tuple(tiny_data[EDGE_TYPE].edge_index), torch.ones(()))
    degree = history.sum(0)

    def scores(ranker):
        return ranker.score_history(history) if by_history else ranker.score(EVERYONE)

    model = Rerank(*parts, trees=forests(), depth=9)
    blend, found, tables = scores(Blend(*parts)), scores(model), [scores(part) for part in parts]
    for user in range(12):
        listed = [i for i in range(9) if not history[user, i] and degree[i]]
        listed.sort(key=lambda i: -blend[user, i])
        rows = [[blend[user, i]] for i in listed]
        for table in tables:
            free = table[user][history[user] == 0]
            own = (table[user] - free.mean()) / free.std(correction=0)
            place = sorted(listed, key=lambda i: -own[i])  # ties: as in the blend
            for row, i in zip(rows, listed, strict=True):
                row += [own[i], place.index(i)]
        x = torch.tensor(
            [[*row, history[user].sum(), degree[i]] for row, i in zip(rows, listed, strict=True)]
        )
        own = model.trees if by_history else [model.trees[user % 4]]
        ranked = sum(trees(x) for trees in own).argsort(descending=True, stable=True)
        assert sorted(listed, key=lambda i: -found[user, i]) == [listed[i] for i in ranked]


def test_without_trees_it_is_the_blend(tiny_data, parts):
    model = Rerank(*parts, weights=(3, 1))
    assert torch.equal(model.score(EVERYONE), Blend(*parts, weights=(3, 1)).score(EVERYONE))


class Table(Ranker):
    """Scores from a table."""

    def __init__(self, data, table):
        super().__init__(**ranker_arguments(data))
        self.table = table

    def score(self, user):
        return self.table[user]


@pytest.fixture(scope="module")
def crossed():
    """Users with a short history like what one part says, the others what the other says."""
    draw = np.random.default_rng(0)
    users, items = 240, 30
    tables = torch.from_numpy(draw.normal(size=(2, users, items)))
    pairs = {"edge_index": [], "val_edge_label_index": [], "edge_label_index": []}
    for user in range(users):
        liked = torch.argsort(tables[user % 2, user], descending=True)[:4]
        liked = liked[torch.from_numpy(draw.permutation(4))].tolist()
        others = [int(item) for item in draw.permutation(items) if item not in liked]
        pairs["edge_index"] += [(user, item) for item in others[: 4 if user % 2 else 10]]
        pairs["val_edge_label_index"] += [(user, item) for item in liked[:2]]
        pairs["edge_label_index"] += [(user, item) for item in liked[2:]]
    every = pd.DataFrame(list(chain(*pairs.values())), columns=["user", "item"])
    data = from_interactions(every, "user", "item")  # of another split, which is replaced
    assert (data["user"].num_nodes, data["item"].num_nodes) == (users, items)
    for name, found in pairs.items():
        data[EDGE_TYPE][name] = torch.tensor(found).t().contiguous()
    return data, [Table(data, table) for table in tables]


def test_trees_learn_which_part_to_believe(crossed):
    pytest.importorskip("lightgbm")
    data, parts = crossed
    settings = {"least": 20, "rounds": 50, "rate": 0.2, "depth": 26}
    model = Rerank(*parts, **settings).learn(data)
    assert len(model.trees) == 4
    blend, found = (evaluate(r, data, k=5)["ndcg@5"] for r in (Blend(*parts), model))
    assert found > 1.3 * blend
    again = Rerank(*parts, **settings).learn(data)
    assert torch.equal(again.trees[0].value, model.trees[0].value)


def test_where_nothing_can_be_learnt_there_are_no_trees(crossed):
    pytest.importorskip("lightgbm")
    data, parts = crossed
    perfect = Table(data, torch.zeros(parts[0].table.shape, dtype=torch.float64))
    perfect.table[tuple(data[EDGE_TYPE].val_edge_label_index)] = 1.0
    assert len(Rerank(perfect, rounds=25, least=20).learn(data).trees) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["user"].update(split=torch.ones(12)), "no scores of their own"),
        (
            lambda d: d[EDGE_TYPE].update(val_edge_label_index=torch.empty(2, 0).long()),
            "no validation interactions",
        ),
    ],
)
def test_what_cannot_teach_is_refused(tiny_data, parts, change, message):
    change(tiny_data)
    with pytest.raises(ValueError, match=message):
        Rerank(*parts).learn(tiny_data)


def test_trees_are_kept_with_the_model(tiny_data, parts, tmp_path):
    model = Rerank(*parts, trees=forests(), depth=4, weights=(2, 1))
    save_ranker(model, tmp_path / "m.safetensors")
    loaded = load_ranker(tmp_path / "m.safetensors")
    assert type(loaded) is Rerank
    assert loaded.config == model.config
    assert torch.equal(loaded.score(EVERYONE), model.score(EVERYONE))
    nested = Blend(model, parts[0])
    save_ranker(nested, tmp_path / "n.safetensors")
    loaded = load_ranker(tmp_path / "n.safetensors")
    assert torch.equal(loaded.score(EVERYONE), nested.score(EVERYONE))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("trees.1.value"),
        lambda tensors: [tensors.pop(f"trees.3.{n}") for n in ("feature", "threshold", "value")],
        lambda tensors: tensors["trees.0.feature"].fill_(7),
        lambda tensors: tensors.update({"trees.more": torch.ones(1)}),
        lambda tensors: tensors["trees.3.threshold"].fill_(float("nan")),
    ],
)
def test_damaged_trees_of_a_file_are_refused(tiny_data, parts, tmp_path, change):
    path = tmp_path / "m.safetensors"
    save_ranker(Rerank(*parts, trees=forests()), path)
    tensors, metadata = read_tensors(path, KIND)
    change(tensors)
    write_tensors(path, tensors, metadata, KIND)
    with pytest.raises(CheckpointError, match=r"m\.safetensors"):
        load_ranker(path)


def test_a_study_names_them():
    found = read_candidate("x", {"rerank": ["ease", "popularity"]})
    assert type(found) is RerankCandidate
    assert [part.name for part in found.parts] == ["ease", "popularity"]
