r"""Factors drawn to texts, against the same steps row by row with NumPy."""

import numpy as np
import pytest
import torch

from irllrec_pyg.linear import IALS, TextIALS, ials

from ..conftest import NUM_ITEMS
from .test_autoencoders import cold_data, texts  # noqa: F401 - a fixture
from .test_linear import matrix, scores

SETTINGS = {"reg": 0.05, "unobserved": 0.2}


def solved_rows(observed, other, config, prior):
    """The best rows for the other side's factors, each by its own linear system."""
    rows = []
    for row, towards in zip(observed, prior, strict=True):
        ridge = config.reg * (row.sum() + config.unobserved * len(other)) ** config.exponent
        matrix = config.unobserved * other.T @ other + ridge * np.eye(other.shape[1])
        for entry, factors in zip(row, other, strict=True):
            matrix += entry * np.outer(factors, factors)
        rows.append(np.linalg.solve(matrix, row @ other + ridge * towards))
    return np.array(rows)


def regressed(x, y, warm, reg):
    """A ridge on the texts of the warm items beside a constant without one, at all items."""
    ones = np.concatenate([x, np.ones((len(x), 1))], 1)
    ridge = np.diag([reg] * x.shape[1] + [0.0])
    return ones @ np.linalg.solve(ones[warm].T @ ones[warm] + ridge, ones[warm].T @ y[warm])


@pytest.mark.parametrize("dim", [2, 9])  # fewer factors than entries, and more
@pytest.mark.parametrize("weight", [0.0, 0.6, 1.0])
def test_steps_are_those_of_a_naive_loop(cold_data, dim, weight, monkeypatch):  # noqa: F811
    monkeypatch.setattr(ials, "ENTRIES", 30)
    model = TextIALS(
        cold_data, dim=dim, text_weight=weight, text_reg=0.3, num_steps=3, exponent=0.5, **SETTINGS
    )
    r, x = matrix(cold_data), texts(cold_data)
    warm = r.sum(0) > 0
    users, prior = model.first_users().double().numpy(), np.zeros((NUM_ITEMS, dim))
    for _ in range(3):
        items = solved_rows(r.T, users, model.config, prior) * warm[:, None]
        users = solved_rows(r, items, model.config, np.zeros_like(users))
        mapped = regressed(x, items, warm, 0.3)
        prior = weight * mapped
    items = np.where(warm[:, None], items, mapped)
    assert not warm.all()
    assert np.abs(items[~warm]).max() > 1e-3
    np.testing.assert_allclose(scores(model), users @ items.T, rtol=1e-3, atol=1e-4)


def test_without_weight_known_items_are_those_of_ials(cold_data):  # noqa: F811
    base = IALS(cold_data, dim=3, num_steps=3, **SETTINGS)
    model = TextIALS(cold_data, dim=3, num_steps=3, text_weight=0.0, **SETTINGS)
    warm = torch.from_numpy(matrix(cold_data).sum(0) > 0)
    torch.testing.assert_close(model.items[warm], base.items[warm])
    torch.testing.assert_close(model.users, base.users)


def test_a_history_is_encoded_as_training_users_are(cold_data):  # noqa: F811
    model = TextIALS(cold_data, dim=3, num_steps=3, **SETTINGS)
    history = torch.from_numpy(matrix(cold_data))
    np.testing.assert_allclose(model.score_history(history), scores(model), rtol=1e-3, atol=1e-5)
