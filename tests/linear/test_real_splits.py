r"""Closed-form models against figures that were measured on the published splits."""

import csv
import re
import warnings

import pytest

from irllrec_pyg.datasets import IRLLRecDataset
from irllrec_pyg.linear import build_linear
from irllrec_pyg.ranking import evaluate

from ..conftest import shared_path


def measured(dataset, method):
    """The measured recall and ndcg at 20, and the number in the setting that gave them."""
    with shared_path("published/baselines_measured.csv").open() as file:
        for row in csv.DictReader(file):
            if (row["dataset"], row["method"]) == (dataset, method) and (
                "200 neighbours" not in row["setting"]
            ):
                number = re.search(r"lambda=(\d+)|(\d+) (?:neighbours|singular)", row["setting"])
                setting = int(number[1] or number[2]) if number else None
                return (float(row["recall@20"]), float(row["ndcg@20"])), setting
    raise AssertionError(f"no {method} on {dataset}")


def real(dataset, root):
    """A published data set."""
    (root / dataset).mkdir()
    (root / dataset / "raw").symlink_to(shared_path(f"data/{dataset}"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return IRLLRecDataset(root, dataset)[0]


SETTING = {"item-knn": "num_neighbors", "ease": "reg", "low-pass-svd": "rank"}
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
    data = real(dataset, tmp_path)
    figures, number = measured(dataset, REAL[name])
    settings = {SETTING[name]: number} if name in SETTING else {}
    found = evaluate(build_linear(name, data, **settings), data, k=(20,))
    assert (found["recall@20"], found["ndcg@20"]) == pytest.approx(figures, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "name", "settings", "figures"),
    [
        ("yelp", "gf-cf", {"rank": 128, "low_pass_weight": 1.0}, (0.129, 0.082)),
        ("amazon", "ials", {"dim": 256, "reg": 0.003, "unobserved": 0.03}, (0.178, 0.117)),
    ],
)
def test_real_splits_give_what_other_code_measured(dataset, name, settings, figures, tmp_path):
    data = real(dataset, tmp_path)
    found = evaluate(build_linear(name, data, **settings), data, k=(20,))
    assert (found["recall@20"], found["ndcg@20"]) == pytest.approx(figures, rel=0.02)
