"""Tests of models against each other, held to naive loops and to values worked out by hand."""

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.integrate import trapezoid

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import significance


def naive_holm(pvalues):
    """Step by step: a p-value is multiplied by how many are not smaller before its turn."""
    result = [math.nan] * len(pvalues)
    left = [at for at, value in enumerate(pvalues) if not math.isnan(value)]
    largest = 0.0
    while left:
        smallest = min(left, key=lambda at: pvalues[at])
        largest = max(largest, min(1.0, len(left) * pvalues[smallest]))
        result[smallest] = largest
        left.remove(smallest)
    return result


def naive_welch(ours, theirs):
    """The formula of the paper, written out; the tail by quadrature of the density."""

    def parts(values):
        mean = sum(values) / len(values)
        return mean, sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)

    (mean_a, a), (mean_b, b) = parts(ours), parts(theirs)
    t = abs(mean_a - mean_b) / math.sqrt(a + b)
    freedom = (a + b) ** 2 / (a**2 / (len(ours) - 1) + b**2 / (len(theirs) - 1))
    density = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    density /= math.sqrt(freedom * math.pi)
    x = np.linspace(0, t, 200_001)
    inside = trapezoid(density * (1 + x**2 / freedom) ** (-(freedom + 1) / 2), x)
    return 1 - 2 * inside


def tables(shift, seeds, noise=0.1, offset=7, users=40):
    """Made-up tables of ``evaluate_users``, one a seed."""
    base = np.random.default_rng(7).random(users)
    rng = np.random.default_rng(offset)
    return [
        pd.DataFrame(
            {
                "user": np.arange(users),
                "recall@20": base + shift + noise * rng.standard_normal(users),
            }
        )
        for _ in range(seeds)
    ]


def test_holm_by_hand():
    # 0.01 * 4; 0.03 * 3 would be 0.09; 0.04 * 2 = 0.08 may not be smaller; 0.5 * 1
    found = significance.holm([0.03, 0.01, 0.5, 0.04])
    assert found == pytest.approx([0.09, 0.04, 0.5, 0.09])
    assert significance.holm([0.9, 0.8]) == pytest.approx([1, 1])
    assert significance.holm([]).shape == (0,)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("missing", [0, 3])
def test_holm_is_the_naive_loop(seed, missing):
    rng = np.random.default_rng(seed)
    raw = rng.random(12) ** 3
    raw[4] = raw[9]  # a tie
    raw[rng.permutation(12)[:missing]] = np.nan
    found = significance.holm(raw)
    assert found == pytest.approx(naive_holm(raw.tolist()), nan_ok=True)
    made, order = ~np.isnan(raw), np.argsort(raw)[: 12 - missing]
    assert (np.isnan(found) == ~made).all()
    assert (found[made] >= raw[made]).all()
    assert (found[made] <= 1).all()
    assert (np.diff(found[order]) >= 0).all()


def test_holm_is_that_of_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    raw = np.random.default_rng(3).random(30) ** 4
    assert significance.holm(raw) == pytest.approx(multitest.multipletests(raw, method="holm")[1])


@pytest.mark.parametrize(("ours", "theirs"), [(5, 5), (2, 7)])
def test_welch_is_the_formula(ours, theirs):
    rng = np.random.default_rng(ours)
    a, b = rng.normal(0.31, 0.002, ours), rng.normal(0.313, 0.006, theirs)
    assert significance.welch(a, b) == pytest.approx(naive_welch(a.tolist(), b.tolist()), abs=1e-6)


def test_the_order_of_seeds_says_nothing():
    # Runs with the same seed are no pairs: shuffling one side changes no answer.
    users = {"a": tables(0.0, 5), "b": tables(0.01, 5, offset=8)}
    p = significance.compare(users, "a")["p seeds, Welch"].item()
    assert p == pytest.approx(
        stats.ttest_ind(
            *([table["recall@20"].mean() for table in users[name]] for name in "ab"),
            equal_var=False,
        ).pvalue
    )
    again = significance.compare({**users, "b": users["b"][::-1]}, "a")
    assert again["p seeds, Welch"].item() == pytest.approx(p)


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (1, 3), (3, 1)])
def test_one_seed_gives_no_test_over_seeds(ours, theirs):
    table = significance.compare({"a": tables(0, theirs), "b": tables(0.1, ours, offset=9)}, "a")
    assert np.isnan(table["p seeds, Welch"].item())
    assert table["p users, t"].item() < 0.05
    line = significance.markdown(table).splitlines()[-1]
    assert line.endswith("| – |")


def test_seeds_may_differ_in_number():
    table = significance.compare({"a": tables(0, 3), "b": tables(0.1, 2, offset=9)}, "a")
    assert 0 < table["p seeds, Welch"].item() < 1


def test_equal_values_do_not_differ():
    table = significance.compare({"a": tables(0.0, 2), "b": tables(0.0, 2)}, "a")
    assert table[["p users, t", "p users, Wilcoxon"]].to_numpy().tolist() == [[1.0, 1.0]]
    assert significance.welch([0.3, 0.3], [0.3, 0.3]) == 1


def test_users_are_pairs_and_must_be_the_same():
    # Far more spread between users than between models: only pairs can see the difference.
    users = {"a": tables(0, 1, noise=0.001), "b": tables(0.002, 1, noise=0.001, offset=9)}
    table = significance.compare(users, "a")
    difference = users["b"][0]["recall@20"] - users["a"][0]["recall@20"]
    t = difference.mean() / (difference.std(ddof=1) / math.sqrt(len(difference)))
    assert table["p users, t"].item() == pytest.approx(2 * stats.t.sf(abs(t), len(difference) - 1))
    assert table["p users, t"].item() < 1e-4
    users["b"][0]["user"] += 1
    with pytest.raises(ValueError, match="'b' was evaluated on other users than 'a'"):
        significance.compare(users, "a")


def test_p_values_stand_beside_those_corrected_over_their_column():
    table = pd.DataFrame(
        {
            "model": list("bcd"),
            "against": "a",
            "metric": "recall@20",
            "difference": 0.1,
            "relative": 0.1,
            "low": 0.0,
            "high": 0.2,
            "p users, t": [0.02, 0.01, 0.5],
            "p users, Wilcoxon": [0.2, 0.2, 0.2],
            "p seeds, Welch": [0.04, None, None],
        }
    )
    cells = [line.split(" | ")[4:] for line in significance.markdown(table).splitlines()[2:]]
    assert cells == [
        ["0.02 (0.04)", "0.2 (0.6)", "0.04 (0.04) |"],
        ["0.01 (0.03)", "0.2 (0.6)", "– |"],
        ["0.5 (0.5)", "0.2 (0.6)", "– |"],
    ]
    # Rows that were stored before there was such a test stay readable.
    assert significance.markdown(table.drop(columns="p seeds, Welch")).count("| – |") == 3
