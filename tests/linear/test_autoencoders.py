r"""Linear autoencoders against regressions that are solved item by item."""

import numpy as np
import pytest
import torch

from irllrec_pyg.linear import (
    EASE,
    EDLAE,
    L3AE,
    RDLAE,
    AdditiveEASE,
    CollectiveEASE,
    LowRankEASE,
    build_linear,
    item_weights,
)

from ..conftest import NUM_ITEMS
from .test_linear import matrix, scores


def texts(data):
    """The items' texts, centred and of unit length."""
    x = data["item"].x.double().numpy()
    x = x - x.mean(0)
    return np.array([row / np.sqrt(row @ row) for row in x])


def regressions(rows, ridge, target=None):
    """Regresses each column on the others, with a ridge towards ``target``."""
    size = rows.shape[1]
    ridge = np.broadcast_to(ridge, size)
    weight = np.zeros((size, size))
    for i in range(size):
        others = [j for j in range(size) if j != i]
        a, own = rows[:, others], ridge[others]
        wanted = a.T @ rows[:, i]
        if target is not None:
            wanted = wanted + own * target[others, i]
        weight[others, i] = np.linalg.solve(a.T @ a + np.diag(own), wanted)
    return weight


def close(model, weight):
    np.testing.assert_allclose(model.weight.numpy(), weight, rtol=1e-4, atol=1e-6)


@pytest.fixture
def cold_data(tiny_data):
    """Nobody has item 4."""
    edges = tiny_data["user", "rates", "item"]
    edges.edge_index = edges.edge_index[:, edges.edge_index[1] != 4]
    return tiny_data


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_edlae_is_a_regression_whose_ridge_grows_with_the_count(cold_data, dropout):
    r = matrix(cold_data)
    ridge = 3.0 + dropout / (1 - dropout) * r.sum(0)
    close(EDLAE(cold_data, reg=3.0, dropout=dropout), regressions(r, ridge))


def test_edlae_is_what_training_on_dropped_histories_tends_to(tiny_data):
    """The expected loss over random dropouts, by drawing them."""
    r, dropout, rng = matrix(tiny_data), 0.3, np.random.default_rng(0)
    gram, cross = np.zeros((NUM_ITEMS, NUM_ITEMS)), np.zeros((NUM_ITEMS, NUM_ITEMS))
    for _ in range(draws := 20_000):
        kept = r * (rng.random(r.shape) >= dropout) / (1 - dropout)
        gram += kept.T @ kept / draws
        cross += kept.T @ r / draws
    weight = np.zeros_like(gram)
    for i in range(NUM_ITEMS):
        others = [j for j in range(NUM_ITEMS) if j != i]
        left = gram[np.ix_(others, others)] + 3.0 * np.eye(len(others))
        weight[others, i] = np.linalg.solve(left, cross[others, i])
    found = EDLAE(tiny_data, reg=3.0, dropout=dropout).weight.numpy()
    np.testing.assert_allclose(found, weight, atol=5e-3)


@pytest.mark.parametrize("relaxation", [0.0, 0.2, 1.0])
def test_rdlae_bounds_the_weight_of_an_item_for_itself(cold_data, relaxation):
    r = matrix(cold_data)
    ridge = 1.5 + 0.25 / 0.75 * r.sum(0)
    weight = np.linalg.solve(r.T @ r + np.diag(ridge), r.T @ r)
    for i in range(NUM_ITEMS):
        if weight[i, i] > relaxation:  # then the bound holds exactly, and the others are solved for
            others = [j for j in range(NUM_ITEMS) if j != i]
            a = r[:, others]
            left = a.T @ a + np.diag(ridge[others])
            weight[others, i] = np.linalg.solve(left, a.T @ r[:, i] * (1 - relaxation))
            weight[i, i] = relaxation
    model = RDLAE(cold_data, reg=1.5, dropout=0.25, relaxation=relaxation)
    close(model, weight)
    assert (np.diag(weight) > 0.1).any() == (relaxation > 0)


@pytest.mark.parametrize("text_weight", [0.0, 0.7, 2.5])
def test_l3ae_is_a_ridge_towards_the_weights_of_the_texts(cold_data, text_weight):
    prior = regressions(texts(cold_data).T, 0.8)
    expected = regressions(matrix(cold_data), 5.0, text_weight * prior)
    close(L3AE(cold_data, reg=5.0, text_weight=text_weight, text_reg=0.8), expected)
    assert (expected[:, 4] != 0).any() == (text_weight > 0)  # the item that nobody has


def test_l3ae_has_no_gradient_where_the_papers_loss_is_least(cold_data):
    r, reg, pull = torch.from_numpy(matrix(cold_data)), 2.0, 3.0
    prior = torch.from_numpy(regressions(texts(cold_data).T, 0.8))
    model = L3AE(cold_data, reg=reg + pull, text_weight=pull / (reg + pull), text_reg=0.8)
    weight = model.weight.double().requires_grad_()
    loss = (r - r @ weight).square().sum() + reg * weight.square().sum()
    (loss + pull * (weight - prior).square().sum()).backward()
    off = ~torch.eye(NUM_ITEMS, dtype=torch.bool)
    assert weight.grad[off].abs().max() < 1e-4
    assert weight.detach().diagonal().eq(0).all()


def test_l3ae_without_a_prior_is_ease(tiny_data):
    close(L3AE(tiny_data, reg=20.0, text_weight=0.0), EASE(tiny_data, reg=20.0).weight.numpy())


@pytest.mark.parametrize("wide", [False, True])
def test_a_text_wider_than_the_catalogue_is_taken(tiny_data, wide):
    tiny_data["item"].x = torch.randn(NUM_ITEMS, 30 if wide else 2)
    prior = regressions(texts(tiny_data).T, 2.0)
    close(L3AE(tiny_data, reg=5.0, text_reg=2.0), regressions(matrix(tiny_data), 5.0, prior))


def test_collective_ease_takes_texts_for_users(cold_data):
    rows = np.concatenate([matrix(cold_data), np.sqrt(2.5) * texts(cold_data).T])
    close(CollectiveEASE(cold_data, reg=4.0, text_weight=2.5), regressions(rows, 4.0))


def test_additive_ease_is_the_sum_of_two(cold_data):
    expected = 0.7 * regressions(matrix(cold_data), 4.0)
    expected += 0.3 * regressions(texts(cold_data).T, 1.5)
    close(AdditiveEASE(cold_data, reg=4.0, text_weight=0.3, text_reg=1.5), expected)


@pytest.mark.parametrize("rank", [1, 4, 8])
def test_low_rank_ease_inverts_a_matrix_of_low_rank_and_a_diagonal(cold_data, rank):
    r = matrix(cold_data)
    _, s, v = np.linalg.svd(r, full_matrices=False)
    gram = v[:rank].T @ np.diag(s[:rank] ** 2) @ v[:rank]
    gram += np.diag(np.diag(r.T @ r - gram)) + 3.0 * np.eye(NUM_ITEMS)
    inverse = np.linalg.inv(gram)
    weight = -inverse / np.diag(inverse)
    np.fill_diagonal(weight, 0)
    model = LowRankEASE(cold_data, rank=rank, reg=3.0)
    found = (model.encoder @ model.items.t()).numpy()
    np.fill_diagonal(found, 0)
    np.testing.assert_allclose(found, weight, rtol=1e-3, atol=1e-5)
    if rank == 8:  # of nine items one is cold: these are all singular vectors
        is_new = r == 0
        ease = scores(EASE(cold_data, reg=3.0))
        np.testing.assert_allclose(scores(model)[is_new], ease[is_new], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["ease", "edlae", "rdlae", "l3ae", "collective-ease"])
def test_a_catalogue_that_does_not_fit_names_the_models_that_do(tiny_data, name, monkeypatch):
    free = type("Memory", (), {"available": 12 * NUM_ITEMS**2})
    monkeypatch.setattr(item_weights.psutil, "virtual_memory", lambda: free)
    build_linear(name, tiny_data)  # just fits
    free.available -= 1
    with pytest.raises(MemoryError, match=r"needs 0.0 GB .* between 9 items.*'low-rank-ease'"):
        build_linear(name, tiny_data)


@pytest.mark.parametrize("rows", [1, 2, 9, 1000])
def test_the_gram_matrix_is_made_in_blocks(tiny_data, rows, monkeypatch):
    monkeypatch.setattr(item_weights, "ROWS", rows * NUM_ITEMS)
    r = matrix(tiny_data)
    np.testing.assert_array_equal(EASE(tiny_data).gram().numpy(), r.T @ r)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_texts_that_are_no_numbers_are_named(tiny_data, broken):
    tiny_data["item"].x[3, 0] = broken
    for name in ("l3ae", "text-mean"):
        with pytest.raises(ValueError, match=r"\['item'\]\.x of item 3 is NaN"):
            build_linear(name, tiny_data)
