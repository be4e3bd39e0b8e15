"""Values of users, held to naive loops over plain lists."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg.datasets import from_interactions
from irllrec_pyg.edges import EDGE_TYPE
from irllrec_pyg.linear import EASE, LowPassSVD
from irllrec_pyg.ranking import Ranker, evaluate, evaluate_users
from irllrec_pyg.study.measure import FoldedIn, measure, quantile_groups


class Fixed(Ranker):
    """Scores that are given."""

    def __init__(self, data, scores):
        super().__init__(data[EDGE_TYPE].edge_index, *scores.shape)
        self.scores = scores

    def score(self, user):
        return self.scores[user]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    pairs = np.argwhere(rng.random((40, 30)) < np.linspace(0.1, 0.6, 30))
    return from_interactions(pd.DataFrame(pairs, columns=["user", "item"]), "user", "item")


@pytest.fixture
def ranker(data):
    return Fixed(data, torch.rand(40, 30, generator=torch.Generator().manual_seed(0)))


def sets(pairs):
    found = {}
    for user, item in pairs.t().tolist():
        found.setdefault(user, set()).add(item)
    return found


def hold_out(data, side, nodes):
    """Holds whole nodes out for test, and some more for validation."""
    pairs = torch.cat([data[EDGE_TYPE][name] for name in ("edge_index", "edge_label_index")], 1)
    split = torch.zeros(data[side].num_nodes, dtype=torch.int8)
    split[nodes] = 2
    split[[node - 1 for node in nodes]] = 1
    own = split[pairs[0 if side == "user" else 1]]
    data[side].split = split
    data[EDGE_TYPE].edge_index = pairs[:, own == 0]
    data[EDGE_TYPE].val_edge_label_index = pairs[:, own == 1]
    data[EDGE_TYPE].edge_label_index = pairs[:, own == 2]
    return data


def naive(ranker, data, candidates, top=20):
    """Recall of each user, and of the listed items all."""
    seen, wanted = sets(data[EDGE_TYPE].edge_index), sets(data[EDGE_TYPE].edge_label_index)
    recall, listed = {}, set()
    for user, items in wanted.items():
        allowed = [item for item in candidates if item not in seen.get(user, set())]
        best = sorted(allowed, key=lambda item: -float(ranker.scores[user, item]))[:top]
        recall[user] = len(set(best) & items) / len(items)
        listed |= set(best)
    return recall, listed


def test_warm_values_are_those_of_evaluate(data, ranker):
    found = measure(ranker, data, "warm", "test")
    names = [f"{name}@{top}" for name in ("recall", "ndcg") for top in (5, 10, 20)]
    pd.testing.assert_frame_equal(found.users[["user", *names]], evaluate_users(ranker, data))
    coverage = evaluate(ranker, data, metrics="coverage", k=5)["coverage@5"]
    assert found.lists["coverage@5"] == pytest.approx(coverage)
    value = measure(ranker, data, "warm", "val").means()["ndcg@20"]
    assert value == pytest.approx(evaluate(ranker, data, "val", k=20)["ndcg@20"])


def test_cold_items_are_ranked_among_themselves_and_among_all(data, ranker):
    data = hold_out(data, "item", [3, 7, 12, 17, 22, 27])
    ranker = Fixed(data, ranker.scores)
    found = measure(ranker, data, "cold_items", "test").users.set_index("user")
    for candidates, name in (([3, 7, 12, 17, 22, 27], "recall@5"), (range(30), "recall@5 full")):
        recall, _ = naive(ranker, data, candidates, 5)
        assert found[name].to_dict() == pytest.approx(recall)
    assert (found["recall@20"] == 1).all()  # there are six of them


def test_recall_by_degree_of_items_is_of_the_group_alone(data, ranker):
    found = measure(ranker, data, "warm", "test", groups=3).users.set_index("user")
    degree = data[EDGE_TYPE].edge_index[1].bincount(minlength=30)
    pairs = data[EDGE_TYPE].edge_label_index
    order = sorted(degree[pairs[1]].tolist())
    group = {
        item: 1 + 3 * order.index(degree[item]) // len(order) for item in set(pairs[1].tolist())
    }
    assert sorted(set(group.values())) == [1, 2, 3]
    seen, wanted = sets(data[EDGE_TYPE].edge_index), sets(pairs)
    for user, items in wanted.items():
        best = sorted(
            set(range(30)) - seen[user], key=lambda item: -float(ranker.scores[user, item])
        )
        for part in (1, 2, 3):
            own = {item for item in items if group[item] == part}
            value = len(own & set(best[:20])) / len(own) if own else math.nan
            assert found.at[user, f"recall@20 items {part}"] == pytest.approx(value, nan_ok=True)


def test_groups_are_of_one_size_and_keep_equal_values_together():
    assert quantile_groups(np.arange(8)[::-1], 4).tolist() == [4, 4, 3, 3, 2, 2, 1, 1]
    assert quantile_groups(np.array([1, 1, 1, 1, 2, 2, 3, 9]), 4).tolist() == [1] * 4 + [3, 3, 4, 4]


@pytest.mark.parametrize("build", [EASE, lambda data: LowPassSVD(data, rank=5)])
def test_cold_users_are_ranked_by_their_histories(data, build):
    """With the history that it was trained on, a user gets the scores that the model gives."""
    model = build(data)
    if not hasattr(model, "score_history"):
        pytest.skip("needs models that score histories")
    folded = FoldedIn(model, data[EDGE_TYPE].edge_index)
    users = torch.arange(40)
    assert torch.allclose(folded.score(users), model.score(users), atol=1e-4)


def test_a_model_that_cannot_rank_by_a_history_is_named(data, ranker):
    with pytest.raises(ValueError, match="Fixed cannot rank for users by a history"):
        FoldedIn(ranker, data[EDGE_TYPE].edge_index)
