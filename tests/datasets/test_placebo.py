r"""Placebos of texts, and random interactions."""

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg.datasets import from_interactions
from irllrec_pyg.datasets.placebo import NoiseTexts, PermuteTexts, RandomInteractions
from irllrec_pyg.edges import EDGE_TYPE, REVERSE_TYPE, known_pairs


def keys(edge_index):
    return set(map(tuple, edge_index.t().tolist()))


def test_texts_change_hands_within_a_side_and_stay_together(tiny_data):
    before = {side: tiny_data[side].x.clone() for side in ("user", "item")}
    placebo = PermuteTexts(seed=3)(tiny_data)
    for side in ("user", "item"):
        old, new = tiny_data[side], placebo[side]
        assert torch.equal(old.x, before[side])  # the data set is as it was
        rows = [old.x.tolist().index(row) for row in new.x.tolist()]
        assert sorted(rows) == list(range(len(rows))) != rows
        assert torch.equal(new.intent, old.intent[rows])
    assert torch.equal(PermuteTexts(3)(tiny_data)["item"].x, placebo["item"].x)
    assert not torch.equal(PermuteTexts(4)(tiny_data)["item"].x, placebo["item"].x)


def test_texts_of_items_alone_change_hands_as_with_those_of_users(tiny_data):
    whole = PermuteTexts(3)(tiny_data)["item"].x
    del tiny_data["user"].x
    assert torch.equal(PermuteTexts(3)(tiny_data)["item"].x, whole)


def test_noise_has_the_mean_and_covariance_of_each_side(tiny_data):
    rng = np.random.default_rng(0)
    many = 20_000
    for side, shift in (("user", 1.0), ("item", -2.0)):
        mixing = rng.standard_normal((3, 3))
        x = rng.standard_normal((many, 3)) ** 3 @ mixing + shift
        tiny_data[side].x = torch.tensor(x, dtype=torch.float32)
        tiny_data[side].num_nodes = many
        del tiny_data[side].intent
    noise = NoiseTexts(seed=1)(tiny_data)
    for side in ("user", "item"):
        real, made = tiny_data[side].x.numpy(), noise[side].x.numpy()
        scale = np.abs(np.cov(real.T)).max()
        np.testing.assert_allclose(made.mean(0), real.mean(0), atol=0.05 * scale**0.5)
        np.testing.assert_allclose(np.cov(made.T), np.cov(real.T), atol=0.05 * scale)
        assert np.abs(np.corrcoef(made[:, 0], real[:, 0])[0, 1]) < 0.03
    assert noise["item"].x.dtype == torch.float32


@pytest.mark.parametrize("share", [0.0, 0.05, 0.25])
def test_random_interactions_are_new_ones(tiny_data, share):
    before = tiny_data[EDGE_TYPE].edge_index.clone()
    known = keys(known_pairs(tiny_data))
    noisy = RandomInteractions(share, seed=1)(tiny_data)
    assert torch.equal(tiny_data[EDGE_TYPE].edge_index, before)
    after = noisy[EDGE_TYPE].edge_index
    assert after.size(1) == len(keys(after)) == before.size(1) + round(share * before.size(1))
    assert keys(before) <= keys(after)
    assert not (keys(after) - keys(before)) & known
    assert torch.equal(noisy[REVERSE_TYPE].edge_index, after.flip([0]))
    again = RandomInteractions(share, seed=1)(tiny_data)
    assert torch.equal(again[EDGE_TYPE].edge_index, after)


def test_random_interactions_leave_held_out_nodes_alone_and_say_where_none_is_free():
    rows = [(user, item) for user in range(20) for item in range(20) if (user + item) % 3]
    table = pd.DataFrame(rows, columns=["u", "i"])
    data = from_interactions(table, "u", "i", kind="cold-items")
    warm = int((data["item"].split == 0).sum())
    free = 20 * warm - data[EDGE_TYPE].edge_index.size(1)
    share = free / data[EDGE_TYPE].edge_index.size(1)
    full = RandomInteractions(share, seed=0)(data)
    assert full[EDGE_TYPE].edge_index.size(1) == 20 * warm
    assert (data["item"].split[full[EDGE_TYPE].edge_index[1]] == 0).all()
    with pytest.raises(ValueError, match=f"asks for .* random interactions, and {free} pairs are"):
        RandomInteractions(2 * share + 0.1, 0)(data)
    with pytest.raises(ValueError, match="'share' must be at least 0, got -1"):
        RandomInteractions(-1, 0)
