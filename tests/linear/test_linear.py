r"""Baselines against naive loops on tiny data."""

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg.config import ConfigError
from irllrec_pyg.datasets import from_interactions
from irllrec_pyg.linear import (
    EASE,
    ItemKNN,
    LinearFilter,
    LowPassSVD,
    Popularity,
    TextKNN,
    TextProfile,
    build_linear,
)
from irllrec_pyg.nn import MissingTextError
from irllrec_pyg.ranking import evaluate
from irllrec_pyg.registry import lookup, names

from ..conftest import NUM_ITEMS, NUM_USERS

SMALL = {name: {"rank": 4} for name in ("low-pass-svd", "gf-cf", "low-rank-ease")} | {
    name: {"dim": 4} for name in ("ials", "text-ridge", "text-ials")
}

TEXTS = {
    *("text-knn", "text-profile", "text-mean", "text-ridge", "bilinear-text"),
    *("l3ae", "collective-ease", "additive-ease", "text-ials", "text-popularity"),
}


def matrix(data):
    out = np.zeros((data["user"].num_nodes, data["item"].num_nodes))
    out[tuple(data["user", "rates", "item"].edge_index.numpy())] = 1
    return out


def scores(ranker):
    return ranker.score(torch.arange(ranker.num_users)).numpy()


def cosine(x, y):
    return x @ y / np.sqrt((x @ x) * (y @ y)) if x.any() and y.any() else 0.0


def neighbour_scores(history, similarity, kept):
    """Each candidate's neighbours, then each user's items among them."""
    users, items = history.shape
    out = np.zeros((users, items))
    for i in range(items):
        others = sorted((j for j in range(items) if j != i), key=lambda j: -similarity[i, j])
        for j in others[:kept]:
            for u in range(users):
                out[u, i] += history[u, j] * max(similarity[i, j], 0)
    return out


def test_popularity_counts(tiny_data):
    expected = np.tile(matrix(tiny_data).sum(0), (NUM_USERS, 1))
    np.testing.assert_array_equal(scores(Popularity(tiny_data)), expected)


def test_item_knn_sums_cosines(tiny_data):
    r = matrix(tiny_data)
    similarity = np.array(
        [[cosine(r[:, i], r[:, j]) for j in range(NUM_ITEMS)] for i in range(NUM_ITEMS)]
    )
    np.testing.assert_allclose(
        scores(ItemKNN(tiny_data)), neighbour_scores(r, similarity, NUM_ITEMS), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("kept", [1, 3])
def test_item_knn_keeps_the_most_similar_of_each_candidate(tiny_data, kept):
    r = matrix(tiny_data)
    ranker = ItemKNN(tiny_data, num_neighbors=kept)
    for i in range(NUM_ITEMS):
        own = slice(ranker.ptr[i], ranker.ptr[i + 1])
        found = ranker.similarity[own].sort(descending=True).values.numpy()
        best = sorted((cosine(r[:, i], r[:, j]) for j in range(NUM_ITEMS) if j != i), reverse=True)
        best = [value for value in best[:kept] if value > 0]
        assert i not in ranker.neighbor[own]
        np.testing.assert_allclose(found, best, rtol=1e-5)


@pytest.mark.parametrize("kept", [1, 3, 50])
def test_text_knn_sums_cosines_of_texts(tiny_data, kept):
    x = tiny_data["item"].x.double().numpy()
    similarity = np.array([[cosine(a, b) for b in x] for a in x])
    np.testing.assert_allclose(
        scores(TextKNN(tiny_data, num_neighbors=kept)),
        neighbour_scores(matrix(tiny_data), similarity, kept),
        rtol=1e-4,
        atol=1e-5,
    )


def test_text_profile_is_the_cosine_of_user_and_item(tiny_data):
    users, items = tiny_data["user"].x.numpy(), tiny_data["item"].x.numpy()
    expected = [[cosine(user, item) for item in items] for user in users]
    np.testing.assert_allclose(scores(TextProfile(tiny_data)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reg", [0.5, 50.0])
def test_ease_solves_each_items_regression(tiny_data, reg):
    # The defining problem: regress item i's column on the other columns with a ridge of `reg`.
    r = matrix(tiny_data)
    weight = np.zeros((NUM_ITEMS, NUM_ITEMS))
    for i in range(NUM_ITEMS):
        others = [j for j in range(NUM_ITEMS) if j != i]
        a = r[:, others]
        weight[others, i] = np.linalg.solve(a.T @ a + reg * np.eye(len(others)), a.T @ r[:, i])
    np.testing.assert_allclose(scores(EASE(tiny_data, reg=reg)), r @ weight, rtol=1e-4, atol=1e-6)


def normalized(r):
    users, items = r.sum(1), r.sum(0)
    return np.array(
        [
            [r[u, i] / np.sqrt(users[u] * items[i]) if r[u, i] else 0.0 for i in range(r.shape[1])]
            for u in range(r.shape[0])
        ]
    )


def test_linear_filter_is_its_formula(tiny_data):
    r = matrix(tiny_data)
    n, root = normalized(r), np.sqrt(np.maximum(r.sum(0), 1))
    expected = (r / root) @ (n.T @ n) * root
    np.testing.assert_allclose(scores(LinearFilter(tiny_data)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_low_pass_svd_projects_on_singular_vectors(tiny_data, rank):
    r = matrix(tiny_data)
    v = np.linalg.svd(normalized(r))[2][:rank].T
    root = np.sqrt(np.maximum(r.sum(0), 1))
    expected = (r / root) @ (v @ v.T) * root
    found = scores(LowPassSVD(tiny_data, rank=rank))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", names("linear"))
def test_ranks_in_the_owners_ids_and_in_blocks(tiny_data, name, monkeypatch):
    tiny_data["user"].raw_id = [f"u{at}" for at in range(NUM_USERS)]
    ranker = build_linear(name, tiny_data, **SMALL.get(name, {}))
    whole = ranker.recommend(k=3)
    assert whole["user"].iloc[0] == "u0"
    assert np.isfinite(whole["score"]).all()
    monkeypatch.setattr(type(ranker), "block_size", lambda self: 5)
    blocks = ranker.recommend(k=3)
    np.testing.assert_allclose(whole["score"], blocks["score"], rtol=1e-5)
    assert set(evaluate(ranker, tiny_data, k=(2,))) == {"recall@2", "ndcg@2"}


@pytest.mark.parametrize("name", names("linear"))
def test_takes_items_without_a_training_interaction(tiny_data, name):
    edges = tiny_data["user", "rates", "item"].edge_index
    tiny_data["user", "rates", "item"].edge_index = edges[:, (edges[1] != 4) & (edges[0] != 2)]
    ranker = build_linear(name, tiny_data, **SMALL.get(name, {}))
    assert np.isfinite(scores(ranker)).all()
    if name not in ("text-profile", "popularity", "text-popularity"):
        assert scores(ranker)[2].std() < 1e-6
    if name not in TEXTS:  # nothing is known of item 4, and singular vectors round
        assert np.abs(scores(ranker)[:, 4]).max() < 1e-6


LEARNS = {"low-pass-svd", "gf-cf", "low-rank-ease", "text-ials", "text-ridge", "text-popularity"}


@pytest.mark.parametrize("name", names("linear"))
def test_says_so_where_there_is_nothing_to_learn_from(tiny_data, name):
    edges = tiny_data["user", "rates", "item"]
    edges.edge_index = edges.edge_index[:, :0]
    if name in LEARNS:
        with pytest.raises(ValueError, match="training interaction"):
            build_linear(name, tiny_data, **SMALL.get(name, {}))
    else:
        assert np.isfinite(scores(build_linear(name, tiny_data, **SMALL.get(name, {})))).all()


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("name", names("linear"))
def test_warns_of_nothing(tiny_data, name):
    scores(build_linear(name, tiny_data, **SMALL.get(name, {})))


@pytest.mark.parametrize("name", names("linear"))
def test_follows_its_device(tiny_data, name):
    ranker = build_linear(name, tiny_data, **SMALL.get(name, {})).to("meta")
    assert all(buffer.is_meta for buffer in ranker.buffers())


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_missing_text_is_named(tiny_data, name):
    table = pd.DataFrame({"user": [0, 0, 1, 1], "item": [0, 1, 1, 2]})
    with pytest.raises(MissingTextError, match="from_interactions"):
        build_linear(name, from_interactions(table, "user", "item"))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("item-knn", {"num_neighbors": 0}, "num_neighbors"),
        ("ease", {"reg": 0.0}, "reg"),
        ("low-pass-svd", {"rank": NUM_ITEMS}, "rank"),
        ("svd", {}, "Unknown linear 'svd'"),
    ],
)
def test_wrong_arguments_are_named(tiny_data, name, settings, message):
    with pytest.raises(ValueError, match=message):
        build_linear(name, tiny_data, **settings)


@pytest.mark.parametrize("name", names("linear"))
def test_is_rebuilt_from_its_description(tiny_data, name):
    ranker = build_linear(name, tiny_data, **SMALL.get(name, {}))
    settings = dict(ranker.description)
    again = lookup("linear", settings.pop("name"))(tiny_data, settings)
    assert again.config == ranker.config
    np.testing.assert_array_equal(scores(again), scores(ranker))
    with pytest.raises(ConfigError, match="Unknown field 'depth'"):
        build_linear(name, tiny_data, depth=3)
    with pytest.raises(TypeError):
        type(ranker)(tiny_data, {}, 5)


@pytest.mark.parametrize(
    ("cls", "setting", "values"),
    [
        (ItemKNN, "num_neighbors", (1, 3, 8)),
        (TextKNN, "num_neighbors", (1, 3, 8)),
        (LowPassSVD, "rank", (1, 3, 8)),
    ],
)
def test_a_truncated_model_is_the_one_that_is_built_smaller(tiny_data, cls, setting, values):
    largest = cls(tiny_data, **{setting: values[-1]})
    before = scores(largest)
    for value in values:
        smaller = largest.truncated(**{setting: value})
        assert getattr(smaller, setting) == value
        expected = scores(cls(tiny_data, **{setting: value}))
        np.testing.assert_allclose(scores(smaller), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(scores(largest), before)


@pytest.mark.parametrize("name", names("linear"))
def test_recommends_nothing_that_the_data_set_knows_of(tiny_data, name):
    edges = tiny_data["user", "rates", "item"]
    splits = edges.edge_index, edges.val_edge_label_index, edges.edge_label_index
    known = {pair for split in splits for pair in zip(*split.tolist(), strict=True)}
    table = build_linear(name, tiny_data, **SMALL.get(name, {})).recommend(k=9)
    offered = set(zip(table["user"], table["item"], strict=True))
    assert offered == {(u, i) for u in range(NUM_USERS) for i in range(NUM_ITEMS)} - known
