r"""Splits against plain loops."""

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg.datasets import from_interactions
from irllrec_pyg.edges import EDGE_TYPE, known_pairs

SPLITS = ("edge_index", "val_edge_label_index", "edge_label_index")


@pytest.fixture(scope="module")
def table():
    r"""60 users with 5 to 20 of 50 items, of which some are far more popular than others."""
    rng = np.random.default_rng(0)
    popularity = 1 / np.arange(1, 51)
    rows = [
        (user, int(item))
        for user in range(60)
        for item in rng.choice(
            50, rng.integers(5, 21), replace=False, p=popularity / popularity.sum()
        )
    ]
    rows += [(item, item) for item in range(50)]  # everybody and everything is there
    return pd.DataFrame(rows, columns=["u", "i"]).drop_duplicates()


def pairs(data, key):
    return set(map(tuple, data[EDGE_TYPE][key].t().tolist()))


@pytest.mark.parametrize("shares", [(0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (0.7, 0, 0.3)])
def test_cold_items_have_all_their_interactions_in_one_split(table, shares):
    data = from_interactions(table, "u", "i", split=shares, kind="cold-items", seed=1)
    cold = data["item"].split.tolist()
    assert data["item"].split.dtype == torch.int8
    expected = [set(), set(), set()]
    for user, item in zip(table.u, table.i, strict=True):
        expected[cold[item]].add((user, item))
    assert [pairs(data, key) for key in SPLITS] == expected
    for part, share in enumerate(shares):
        assert cold.count(part) == pytest.approx(share * 50, abs=0.51)


@pytest.mark.parametrize("side", ["item", "user"])
@pytest.mark.parametrize("seed", range(3))
def test_of_ten_nodes_of_neighbouring_degree_the_shares_are_held_out(side, seed):
    rows = [(partner, node) for node in range(40) for partner in range(node + 1)]
    table = pd.DataFrame(rows, columns=["u", "i"] if side == "item" else ["i", "u"])
    cold = from_interactions(table, "u", "i", kind=f"cold-{side}s", seed=seed)[side].split.tolist()
    for start in range(0, 40, 10):  # node n has n + 1 interactions
        block = cold[start : start + 10]
        assert [block.count(part) for part in range(3)] == [6, 2, 2]
    assert cold[:10] != cold[10:20]


def test_half_of_a_cold_users_interactions_are_known(table):
    data = from_interactions(table, "u", "i", kind="cold-users", seed=2)
    cold = data["user"].split.tolist()
    train, val, test = (pairs(data, key) for key in SPLITS)
    history = pairs(data, "history_edge_index")
    for user in range(60):
        own = {(u, i) for u, i in zip(table.u, table.i, strict=True) if u == user}
        if cold[user] == 0:
            assert own <= train
            continue
        labels = (val, test)[cold[user] - 1]
        known, wanted = own & history, own & labels
        assert known | wanted == own
        assert not known & wanted
        assert len(known) == (len(own) + 1) // 2
        assert not own & (train | (val, test)[2 - cold[user]])
    assert set(map(tuple, known_pairs(data).t().tolist())) == train | val | test | history
    assert cold.count(1) == cold.count(2) == 12


@pytest.mark.parametrize("kind", ["cold-items", "cold-users"])
def test_cold_splits_are_drawn_by_seed_alone(table, kind):
    one, other, redrawn = (
        from_interactions(rows, "u", "i", kind=kind, seed=seed)
        for rows, seed in ((table, 1), (table.sample(frac=1, random_state=5), 1), (table, 2))
    )
    for key in SPLITS:
        assert pairs(one, key) == pairs(other, key) != pairs(redrawn, key)


def test_too_few_nodes_are_said(table):
    few = table[table.i < 4]
    message = (
        r"'split' cannot be 'cold-items' with the shares \(0\.9, 0\.05, 0\.05\): of 4 items, 0"
    )
    with pytest.raises(ValueError, match=message):
        from_interactions(few, "u", "i", split=(0.9, 0.05, 0.05), kind="cold-items")
