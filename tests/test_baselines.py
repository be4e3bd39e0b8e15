r"""Baselines against naive loops on tiny data, and against figures measured on the real splits."""

import csv
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from irllrec_pyg.baselines import (
    BASELINES,
    EASE,
    GRIDS,
    ItemKNN,
    LinearFilter,
    LowPassSVD,
    Popularity,
    TextKNN,
    TextProfile,
    build_baseline,
    choose_settings,
)
from irllrec_pyg.checkpoint import load_ranker, save_ranker
from irllrec_pyg.datasets import IRLLRecDataset, from_interactions
from irllrec_pyg.nn import MissingTextError
from irllrec_pyg.ranking import evaluate

from .conftest import NUM_ITEMS, NUM_USERS, shared_path

SMALL = {"low-pass-svd": {"rank": 4}}


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
    ranker = ItemKNN(tiny_data, kept)
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
        scores(TextKNN(tiny_data, kept)),
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
    np.testing.assert_allclose(scores(EASE(tiny_data, reg)), r @ weight, rtol=1e-4, atol=1e-6)


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
    np.testing.assert_allclose(scores(LowPassSVD(tiny_data, rank)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", BASELINES)
def test_ranks_in_the_owners_ids_and_in_blocks(tiny_data, name, monkeypatch):
    tiny_data["user"].raw_id = [f"u{at}" for at in range(NUM_USERS)]
    ranker = build_baseline(name, tiny_data, **SMALL.get(name, {}))
    whole = ranker.recommend(k=3)
    assert whole["user"].iloc[0] == "u0"
    assert np.isfinite(whole["score"]).all()
    monkeypatch.setattr(type(ranker), "block_size", lambda self: 5)
    blocks = ranker.recommend(k=3)
    np.testing.assert_allclose(whole["score"], blocks["score"], rtol=1e-5)
    assert set(evaluate(ranker, tiny_data, k=(2,))) == {"recall@2", "ndcg@2"}


@pytest.mark.parametrize("name", BASELINES)
def test_takes_items_without_a_training_interaction(tiny_data, name):
    edges = tiny_data["user", "rates", "item"].edge_index
    tiny_data["user", "rates", "item"].edge_index = edges[:, (edges[1] != 4) & (edges[0] != 2)]
    ranker = build_baseline(name, tiny_data, **SMALL.get(name, {}))
    assert np.isfinite(scores(ranker)).all()
    if name != "text-profile":
        assert scores(ranker)[2].std() < 1e-6 or name == "popularity"


@pytest.mark.parametrize("name", BASELINES)
def test_follows_its_device(tiny_data, name):
    ranker = build_baseline(name, tiny_data, **SMALL.get(name, {})).to("meta")
    assert all(buffer.is_meta for buffer in ranker.buffers())


@pytest.mark.parametrize("name", ["popularity", "low-pass-svd", "text-profile"])
def test_those_with_embeddings_are_saved_like_models(tiny_data, tmp_path, name):
    ranker = build_baseline(name, tiny_data, **SMALL.get(name, {}))
    save_ranker(ranker, tmp_path / "ranker.safetensors")
    torch.testing.assert_close(
        load_ranker(tmp_path / "ranker.safetensors").score(torch.arange(NUM_USERS)),
        ranker.score(torch.arange(NUM_USERS)),
    )


@pytest.mark.parametrize("name", ["text-knn", "text-profile"])
def test_a_missing_text_is_named(tiny_data, name):
    table = pd.DataFrame({"user": [0, 0, 1, 1], "item": [0, 1, 1, 2]})
    with pytest.raises(MissingTextError, match="from_interactions"):
        build_baseline(name, from_interactions(table, "user", "item"))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("item-knn", {"num_neighbors": 0}, "num_neighbors"),
        ("ease", {"reg": 0.0}, "reg"),
        ("low-pass-svd", {"rank": NUM_ITEMS}, "rank"),
        ("svd", {}, "Unknown baseline 'svd'"),
    ],
)
def test_wrong_arguments_are_named(tiny_data, name, settings, message):
    with pytest.raises(ValueError, match=message):
        build_baseline(name, tiny_data, **settings)


def test_settings_are_chosen_on_validation_items(tiny_data, monkeypatch):
    monkeypatch.setitem(GRIDS, "ease", {"reg": (0.1, 10.0, 1000.0)})
    values = {
        reg: evaluate(EASE(tiny_data, reg), tiny_data, "val", k=(3,))["recall@3"]
        for reg in GRIDS["ease"]["reg"]
    }
    assert choose_settings("ease", tiny_data, "recall@3") == {"reg": max(values, key=values.get)}
    assert choose_settings("popularity", tiny_data) == {}


def test_a_rank_is_chosen_that_the_data_has(tiny_data, monkeypatch):
    assert NUM_ITEMS == 9 < min(GRIDS["low-pass-svd"]["rank"])
    assert choose_settings("low-pass-svd", tiny_data) == {"rank": 4}
    monkeypatch.setitem(GRIDS, "low-pass-svd", {"rank": (1, 3, 8, 9)})
    values = {
        rank: evaluate(LowPassSVD(tiny_data, rank), tiny_data, "val", k=(3,))["recall@3"]
        for rank in (1, 3, 8)
    }
    assert choose_settings("low-pass-svd", tiny_data, "recall@3") == {
        "rank": max(values, key=values.get)
    }
    table = pd.DataFrame({"user": [0, 0, 0, 0, 0, 1, 1, 1, 1, 1], "item": [0, 1, 2, 3, 4] * 2})
    two = from_interactions(table, "user", "item")
    settings = choose_settings("low-pass-svd", two)
    assert settings == {"rank": 1}
    assert np.isfinite(scores(build_baseline("low-pass-svd", two, **settings))).all()


def measured(dataset, method):
    with shared_path("published/baselines_measured.csv").open() as file:
        for row in csv.DictReader(file):
            if (
                row["dataset"] == dataset
                and row["method"] == method
                and ("200 neighbours" not in row["setting"])
            ):
                return float(row["recall@20"]), float(row["ndcg@20"])
    raise AssertionError(f"no {method} on {dataset}")


REAL = {
    "popularity": "popularity",
    "item-knn": "item-kNN",
    "ease": "EASE",
    "linear-filter": "one-step linear filter",
    "low-pass-svd": "low-pass SVD",
}
SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("amazon", "popularity"),
        ("amazon", "item-knn"),
        *[
            pytest.param(dataset, name, marks=SLOW)
            for dataset, name in (
                ("amazon", "linear-filter"),
                ("amazon", "low-pass-svd"),
                ("amazon", "ease"),
                ("yelp", "popularity"),
                ("yelp", "item-knn"),
                ("yelp", "ease"),
                ("movie", "popularity"),
                ("movie", "item-knn"),
                ("movie", "ease"),
                ("movie", "linear-filter"),
                ("movie", "low-pass-svd"),
            )
        ],
    ],
)
def test_real_splits_give_the_measured_figures(dataset, name, tmp_path):
    (tmp_path / dataset).mkdir()
    (tmp_path / dataset / "raw").symlink_to(shared_path(f"data/{dataset}"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        data = IRLLRecDataset(tmp_path, dataset)[0]
    found = evaluate(build_baseline(name, data), data, k=(20,))
    assert (found["recall@20"], found["ndcg@20"]) == pytest.approx(
        measured(dataset, REAL[name]), rel=0.02
    )
