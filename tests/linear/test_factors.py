r"""Models of factors: gradients that vanish, naive solves, texts in the place of histories."""

import numpy as np
import pytest
import torch

from irllrec_pyg.linear import GFCF, IALS, BilinearText, TextMean, TextPopularity, TextRidge, ials

from ..conftest import NUM_ITEMS, NUM_USERS
from .test_autoencoders import cold_data, texts  # noqa: F401 - a fixture
from .test_linear import matrix, normalized, scores


def test_text_mean_averages_cosines_with_the_users_items(cold_data):  # noqa: F811
    r, x = matrix(cold_data), texts(cold_data)
    expected = [
        [np.mean([x[j] @ x[i] for j in range(NUM_ITEMS) if r[u, j]]) for i in range(NUM_ITEMS)]
        for u in range(NUM_USERS)
    ]
    np.testing.assert_allclose(scores(TextMean(cold_data)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reg", [0.1, 5.0])
def test_text_popularity_counts_known_items_and_expects_of_new_ones(cold_data, reg):  # noqa: F811
    count = matrix(cold_data).sum(0)
    x = np.concatenate([texts(cold_data), np.ones((NUM_ITEMS, 1))], 1)  # the last has no ridge
    ridge = np.diag([reg] * (x.shape[1] - 1) + [0.0])
    a, y = x[count > 0], np.log1p(count[count > 0])
    expected = np.where(count > 0, np.log1p(count), x @ np.linalg.solve(a.T @ a + ridge, a.T @ y))
    found = scores(TextPopularity(cold_data, reg=reg))
    assert (count == 0).any()
    np.testing.assert_allclose(found, np.tile(expected, (NUM_USERS, 1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [2, 6])
@pytest.mark.parametrize("reg", [0.1, 50.0])
def test_the_bilinear_model_has_no_gradient(cold_data, width, reg):  # noqa: F811
    cold_data["item"].x = cold_data["item"].x[:, :width]
    r, x = torch.from_numpy(matrix(cold_data)), torch.from_numpy(texts(cold_data))
    model = BilinearText(cold_data, reg=reg)
    inner = torch.linalg.lstsq(x, model.encoder.double()).solution.requires_grad_()
    expected = r @ x @ inner @ x.t()
    np.testing.assert_allclose(scores(model), expected.detach(), rtol=1e-3, atol=1e-5)
    ((r - expected).square().sum() + reg * inner.square().sum()).backward()
    assert inner.grad.abs().max() < 1e-3
    assert inner.detach().abs().max() > 1e-3


def test_the_bilinear_model_takes_more_text_than_items(tiny_data):
    tiny_data["item"].x = torch.randn(NUM_ITEMS, 40)
    r, x = torch.from_numpy(matrix(tiny_data)), torch.from_numpy(texts(tiny_data))
    # The least M is of the form F'NF; N by a linear system over Kronecker products.
    gram, inner = r.t() @ r, x @ x.t()
    system = torch.kron(inner.contiguous(), (gram @ inner).contiguous()) + 7.0 * torch.eye(81)
    solved = torch.linalg.solve(system, gram.t().reshape(-1)).view(NUM_ITEMS, NUM_ITEMS).t()
    expected = r @ inner @ solved @ inner
    np.testing.assert_allclose(
        scores(BilinearText(tiny_data, reg=7.0)), expected, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_gf_cf_is_its_formula(tiny_data, weight):
    r = matrix(tiny_data)
    n, root = normalized(r), np.sqrt(np.maximum(r.sum(0), 1))
    v = np.linalg.svd(n)[2][:3].T
    expected = r @ (n.T @ n) + weight * ((r / root) @ (v @ v.T) * root)
    found = scores(GFCF(tiny_data, rank=3, low_pass_weight=weight))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_gf_cf_takes_other_exponents_of_degrees(tiny_data):
    r = matrix(tiny_data)
    users, items = np.maximum(r.sum(1), 1), np.maximum(r.sum(0), 1)
    expected = np.zeros(r.shape)
    for u in range(NUM_USERS):
        for i in range(NUM_ITEMS):
            for j in range(NUM_ITEMS):
                for v in range(NUM_USERS):
                    path = r[u, j] * r[v, j] * r[v, i]
                    expected[u, i] += path * items[j] ** -0.2 * users[v] ** -0.7 * items[i] ** -0.1
    found = GFCF(
        tiny_data,
        rank=3,
        low_pass_weight=0.0,
        history_exponent=0.2,
        user_exponent=0.7,
        item_exponent=0.1,
    )
    np.testing.assert_allclose(scores(found), expected, rtol=1e-4, atol=1e-5)


def objective(r, users, items, config):
    """The loss of iALS, pair by pair."""
    alpha, total = config.unobserved, 0.0
    for u, user in enumerate(users):
        for i, item in enumerate(items):
            y = user @ item
            total = total + alpha * y * y + (r[u, i] * (y - 1) ** 2)
    for rows, count, other in ((users, r.sum(1), len(items)), (items, r.sum(0), len(users))):
        for row, number in zip(rows, count, strict=True):
            total = total + config.reg * (number + alpha * other) ** config.exponent * row @ row
    return total


@pytest.mark.parametrize("dim", [2, 5, 20])  # fewer factors than entries, and more
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_a_step_of_ials_ends_where_the_gradient_is_zero(cold_data, dim, exponent, monkeypatch):  # noqa: F811
    monkeypatch.setattr(ials, "ENTRIES", 30)
    r = torch.from_numpy(matrix(cold_data))
    model = IALS(cold_data, dim=dim, reg=0.05, unobserved=0.2, exponent=exponent, num_steps=2)
    users = model.users.double().requires_grad_()
    items = model.items.double()
    objective(r, users, items, model.config).backward()
    assert users.grad.abs().max() < 1e-4
    assert users.detach().abs().max() > 1e-2
    assert model.items[4].eq(0).all()


def test_every_step_of_ials_lowers_the_loss(tiny_data):
    r, losses = torch.from_numpy(matrix(tiny_data)), []
    for steps in (1, 2, 4, 16):
        model = IALS(tiny_data, dim=3, reg=0.01, num_steps=steps)
        losses.append(float(objective(r, model.users.double(), model.items.double(), model.config)))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.95 * losses[0]
    assert torch.equal(model.users, IALS(tiny_data, dim=3, reg=0.01).users)
    assert not torch.equal(model.users, IALS(tiny_data, dim=3, reg=0.01, seed=1).users)


def test_a_ridge_that_leaves_nothing_of_the_factors_is_taken(tiny_data):
    model = IALS(tiny_data, dim=40, reg=1e3, unobserved=1.0, num_steps=30)
    assert scores(model).max() < 1e-6


def test_text_ridge_predicts_the_factors_of_cold_items(cold_data):  # noqa: F811
    settings = {"dim": 3, "reg": 0.01, "num_steps": 4}
    base = IALS(cold_data, **settings)
    model = TextRidge(cold_data, text_reg=0.5, text_weight=0.25, **settings)
    warm = matrix(cold_data).sum(0) > 0
    x = texts(cold_data)
    ones = np.concatenate([x, np.ones((NUM_ITEMS, 1))], 1)  # the last column has no ridge
    a, y = ones[warm], base.items.double().numpy()[warm]
    ridge = np.diag([0.5] * x.shape[1] + [0.0])
    predicted = ones @ np.linalg.solve(a.T @ a + ridge, a.T @ y)
    expected = np.where(warm[:, None], 0.75 * base.items.numpy() + 0.25 * predicted, predicted)
    np.testing.assert_allclose(model.items.numpy(), expected, rtol=1e-3, atol=1e-5)
    assert torch.equal(model.users, base.users)
    np.testing.assert_allclose(scores(model), base.users.numpy() @ expected.T, rtol=1e-3, atol=1e-5)
