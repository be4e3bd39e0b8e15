"""Learnt weights against a naive loss, user by user, and against what must count for nothing."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_softmax

from irllrec_pyg.datasets import from_interactions
from irllrec_pyg.edges import EDGE_TYPE
from irllrec_pyg.linear import EASE, ItemKNN, LowPassSVD
from irllrec_pyg.ranking import Blend, Ranker, learn_weights, weights
from irllrec_pyg.ranking.ranker import ranker_arguments

from .test_blend import history_of


class Fixed(Ranker):
    """Scores that are given; none: that say nothing."""

    def __init__(self, data, scores=None):
        super().__init__(**ranker_arguments(data))
        noise = torch.Generator().manual_seed(0)
        shape = self.num_users, self.num_items
        self.scores = torch.randn(shape, generator=noise) if scores is None else scores

    def score(self, user):
        return self.scores[user]


@pytest.fixture
def data():
    """Sixty users, each of whom likes most of every third item."""
    rng = np.random.default_rng(0)
    alike = np.arange(60)[:, None] % 3 == np.arange(30) % 3
    pairs = np.argwhere(rng.random((60, 30)) < np.where(alike, 0.8, 0.1))
    return from_interactions(pd.DataFrame(pairs, columns=["user", "item"]), "user", "item")


def naive_loss(w, parts, history, held_out, depth):
    """The formula, user by user, in float64."""
    losses = []
    for u in range(len(history)):
        listed = (history[u] == 0) & (history.sum(0) > 0)
        scale = [p[u][history[u] == 0] for p in parts]
        z = np.stack(
            [(p[u] - own.mean()) / (own.std() or 1) for p, own in zip(parts, scale, strict=True)]
        )
        candidates = set()
        for own in z:
            candidates |= set(sorted(np.flatnonzero(listed), key=lambda i: -own[i])[:depth])
        order = sorted(candidates)
        chance = log_softmax(w @ z[:, order])
        hits = [at for at, item in enumerate(order) if held_out[u, item]]
        if hits:
            losses.append(-np.mean(chance[hits]))
    return np.mean(losses) + 1e-3 * (w**2).sum()


def test_no_other_weights_have_a_smaller_loss(tiny_data, monkeypatch):
    monkeypatch.setattr(weights, "DEPTH", 3)
    blend = Blend(EASE(tiny_data, reg=1.0), LowPassSVD(tiny_data, rank=2), ItemKNN(tiny_data))
    found = np.array(learn_weights(blend, tiny_data))
    assert found.max() == 1
    assert found.min() >= 0
    held_out = np.zeros((12, 9), dtype=bool)
    held_out[tuple(tiny_data[EDGE_TYPE].val_edge_label_index.numpy())] = True
    parts = [part.score(torch.arange(12)).double().numpy() for part in blend.rankers()]
    own = parts, history_of(tiny_data).numpy(), held_out, 3
    best = min(naive_loss(scale * found, *own) for scale in np.geomspace(0.01, 30, 2000))
    rng = np.random.default_rng(0)
    others = rng.uniform(size=(500, 3)) * np.geomspace(0.01, 10, 500)[:, None]
    assert best <= min(naive_loss(w, *own) for w in others) + 1e-6
    assert best < naive_loss(np.zeros(3), *own) - 1e-3


def test_a_part_that_says_nothing_gets_little_weight(data):
    found = learn_weights(Blend(EASE(data), Fixed(data)), data)
    assert found[0] == 1
    assert found[1] < 0.1


def test_new_items_are_told_from_each_other_where_the_data_set_holds_some_out(data):
    """Two parts, one of which knows the known items, the other the new ones."""
    edges, known = data[EDGE_TYPE], torch.arange(30) < 24
    truth = torch.zeros(60, 30)
    for name in ("edge_index", "val_edge_label_index", "edge_label_index"):
        truth[tuple(edges[name])] = 1
    pairs = torch.cat([edges.edge_index, edges.val_edge_label_index], 1)
    edges.edge_index = pairs[:, known[pairs[1]]]
    edges.val_edge_label_index = pairs[:, ~known[pairs[1]]]
    noise = Fixed(data).scores
    parts = [Fixed(data, torch.where(of, truth + 0.1 * noise, noise)) for of in (known, ~known)]
    data["item"].split = (~known).to(torch.int8)
    assert learn_weights(Blend(*parts), data)[1] == 1
    assert learn_weights(Blend(*parts), data)[0] < 0.1


def test_without_validation_there_is_nothing_to_learn_from(tiny_data):
    data = tiny_data.clone()
    data[EDGE_TYPE].val_edge_label_index = torch.empty(2, 0, dtype=torch.int64)
    with pytest.raises(ValueError, match="no validation interactions"):
        learn_weights(Blend(EASE(data), ItemKNN(data)), data)


def test_weights_are_learnt_where_gradients_are_off(data):
    blend = Blend(EASE(data), LowPassSVD(data, rank=2), ItemKNN(data))
    expected = learn_weights(blend, data)
    with torch.no_grad():
        assert learn_weights(blend, data) == expected
    with torch.inference_mode():
        assert learn_weights(blend, data) == expected


def test_of_many_parts_there_are_fewer_users(data, monkeypatch):
    monkeypatch.setattr(weights, "DEPTH", 3)
    blend = Blend(EASE(data), LowPassSVD(data, rank=2), ItemKNN(data))
    assert 20 < len(weights._lessons(blend, data)[0]) <= 60
    monkeypatch.setattr(weights, "CELLS", 20 * 3 * 3 * 3)
    assert len(weights._lessons(blend, data)[0]) <= 20
