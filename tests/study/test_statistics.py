"""Intervals, held to simulations whose truth is known, and to scipy where it has the same thing."""

import numpy as np
import pytest
from scipy import stats

from irllrec_pyg.study.statistics import GAIN, LOSS, OPEN, SAME, crossed_mean, verdict


def simulated(rng, users, splits, of_user, of_split, rest, missing):
    """Values about a mean of 0.3 with effects of users and of splits, some pairs missing."""
    value = 0.3 + rng.normal(0, of_user, (users, 1)) + rng.normal(0, of_split, (1, splits))
    value = value + rng.normal(0, rest, (users, splits))
    user, split = np.nonzero(rng.random((users, splits)) >= missing)
    return user, split, value[user, split]


@pytest.mark.parametrize(
    ("splits", "of_user", "of_split", "missing"),
    [
        (5, 1.0, 0.1, 0.1),
        (5, 1.0, 0.5, 0.1),
        (3, 1.0, 0.1, 0.0),
        (5, 0.3, 0.03, 0.3),
        (1, 1.0, 0.0, 0),
    ],
)
def test_an_interval_holds_the_truth_in_95_of_100_studies(splits, of_user, of_split, missing):
    rng = np.random.default_rng(0)
    found = [
        crossed_mean(*simulated(rng, 200, splits, of_user, of_split, 1.0, missing))
        for _ in range(400)
    ]
    share = np.mean([one.low <= 0.3 <= one.high for one in found])
    assert 0.92 <= share <= 0.99


def test_users_of_one_split_alone():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(300):
        split = np.arange(250) % 5
        value = rng.normal(0, 0.1, 5)[split] + rng.normal(0, 1, 250)
        found = crossed_mean(np.arange(250), split, value)
        hits += found.low <= 0 <= found.high
    assert 0.92 <= hits / 300 <= 0.99


def test_an_interval_over_users_alone_is_that_of_a_t_test():
    value = np.random.default_rng(0).normal(0.1, 1, 50)
    test = stats.ttest_1samp(value, 0)
    low, high = test.confidence_interval(0.95)
    assert crossed_mean(np.arange(50), np.zeros(50), value) == pytest.approx(
        (value.mean(), low, high, test.pvalue)
    )


def test_splits_that_differ_make_an_interval_wider_than_users_alone():
    rng = np.random.default_rng(0)
    user, split, value = simulated(rng, 500, 5, 0.1, 0.5, 0.1, 0)
    crossed = crossed_mean(user, split, value)
    means = [value[split == one].mean() for one in range(5)]
    low, high = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert (crossed.low, crossed.high) == pytest.approx((low, high), rel=0.02)


def test_names_stand_for_users_and_equal_values_need_no_test():
    one = crossed_mean(["b", "a", "b", "a"], [1, 1, 2, 2], [1.0, 2.0, 3.0, 5.0])
    assert one == crossed_mean([0, 1, 0, 1], ["x", "x", "y", "y"], [1.0, 2.0, 3.0, 5.0])
    assert crossed_mean([0, 1], [0, 0], [0.0, 0.0]) == (0, 0, 0, 1)
    assert crossed_mean([0, 1], [0, 0], [0.5, 0.5]) == (0.5, 0.5, 0.5, 0)


@pytest.mark.parametrize(
    ("low", "high", "p", "word"),
    [
        (0.02, 0.04, 0.001, GAIN),
        (-0.04, -0.02, 0.001, LOSS),
        (0.02, 0.04, 0.2, OPEN),  # not after the correction
        (-0.009, 0.002, 0.6, SAME),
        (0.001, 0.009, 0.001, SAME),  # surely there, and too small to matter
        (-0.02, 0.03, 0.6, OPEN),
        (0.0, 0.0, 1.0, OPEN),  # both find everything
    ],
)
def test_the_words(low, high, p, word):
    assert verdict(low, high, 1.0, p, 0.01) == word
