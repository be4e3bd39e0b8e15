"""Trees against a walk by hand, and against the library that grows them."""

import numpy as np
import pytest
import torch

from irllrec_pyg.ranking import forest
from irllrec_pyg.ranking.forest import Forest, grow


def random_forest(trees=7, width=5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return Forest(
        torch.randint(width, (trees, 15), generator=draw),
        torch.randn(trees, 15, generator=draw, dtype=torch.float64),
        torch.randn(trees, 16, generator=draw, dtype=torch.float64),
        width=width,
    )


def walk(trees, row):
    """The first child of node n is 2n + 1; the leaves follow the 15 inner nodes."""
    for feature, threshold, value in zip(
        trees.feature.tolist(), trees.threshold.tolist(), trees.value.tolist(), strict=True
    ):
        node = 0
        while node < 15:
            node = 2 * node + (1 if row[feature[node]] <= threshold[node] else 2)
        yield value[node - 15]


def test_a_forest_is_the_sum_of_its_leaves():
    trees, x = random_forest(), torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
    leaves = np.array([list(walk(trees, row)) for row in x.tolist()])
    np.testing.assert_allclose(trees(x), leaves.sum(1))
    steps = trees.steps(x, [0, 2, 2, 7])
    for at, count in enumerate((0, 2, 2, 7)):
        np.testing.assert_allclose(steps[at], leaves[:, :count].sum(1))
    assert torch.equal(trees.steps(x, [5, 100])[1], trees(x))  # there are no more
    assert Forest.empty(5)(x).tolist() == [0.0] * 40


def test_grown_trees_are_the_librarys(monkeypatch):
    pytest.importorskip("lightgbm")
    draw = np.random.default_rng(0)
    x = draw.normal(size=(120, 20, 6)).astype(np.float32)
    relevant = x[..., 2] + x[..., 3] * x[..., 1] + draw.normal(size=(120, 20)) > 2
    boosters, made = [], forest.from_booster
    monkeypatch.setattr(
        forest, "from_booster", lambda own, width: (boosters.append(own), made(own, width))[1]
    )
    trees = grow(x, relevant, 15, learning_rate=0.1, min_data_in_leaf=5, seed=3)
    flat = draw.normal(size=(500, 6)).astype(np.float32)
    assert len(trees) == 15
    np.testing.assert_allclose(trees(torch.from_numpy(flat)), boosters[0].predict(flat))
    again = grow(x, relevant, 15, learning_rate=0.1, min_data_in_leaf=5, seed=3)
    assert torch.equal(trees.value, again.value)


def test_lists_without_a_relevant_item_teach_nothing():
    x = np.zeros((3, 4, 2), dtype=np.float32)
    assert len(grow(x, np.zeros((3, 4), dtype=bool), 5)) == 0


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("feature", lambda t: t + 5, "features that are not among 5"),
        ("feature", lambda t: t - 1, "features that are not among 5"),
        ("feature", lambda t: t.int(), "'feature' of trees must be torch.int64"),
        ("threshold", lambda t: t[:, :14], r"of shape \(T, 15\), got"),
        ("threshold", lambda t: t.float(), "must be torch.float64"),
        ("value", lambda t: t[:6], "'value' is of another number of trees"),
        ("value", lambda t: t.flatten(), r"of shape \(T, 16\)"),
    ],
)
def test_damaged_trees_are_refused(name, change, message):
    tensors = dict(random_forest().named_buffers())
    tensors[name] = change(tensors[name])
    tensors["feature"][0, 0] = 0 if name != "feature" else tensors["feature"][0, 0]
    with pytest.raises(ValueError, match=message):
        Forest(**tensors, width=5)
