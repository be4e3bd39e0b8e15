r"""Items that are ranked among themselves, against naive loops."""

import numpy as np
import pytest
import torch

from irllrec_pyg.linear import LowPassSVD
from irllrec_pyg.ranking import evaluate, evaluate_users

CANDIDATES = torch.tensor([7, 2, 5, 3])


def lists(model, data, candidates, k):
    """Each user's list among the candidates, without training items."""
    seen = set(zip(*data["user", "rates", "item"].edge_index.tolist(), strict=True))
    scores = model.score(torch.arange(12))
    return [
        sorted(
            (item for item in candidates if (user, item) not in seen),
            key=lambda item: (-float(scores[user, item]), item),
        )[:k]
        for user in range(12)
    ]


@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_candidates_are_ranked_among_themselves(tiny_data, k):
    model = LowPassSVD(tiny_data, rank=3)
    listed = lists(model, tiny_data, CANDIDATES.tolist(), k)
    wanted = [set() for _ in range(12)]
    for user, item in tiny_data["user", "rates", "item"].edge_label_index.t().tolist():
        if item in CANDIDATES:
            wanted[user].add(item)
    users = [user for user in range(12) if wanted[user]]
    assert 0 < len(users) < 12  # some have relevant items among the others alone
    recall = {u: len(wanted[u] & set(listed[u])) / len(wanted[u]) for u in users}
    found = evaluate(model, tiny_data, k=k, metrics=("recall", "coverage"), candidates=CANDIDATES)
    assert found[f"recall@{k}"] == pytest.approx(np.mean(list(recall.values())))
    shown = {item for user in users for item in listed[user]}
    assert found[f"coverage@{k}"] == len(shown) / 4
    table = evaluate_users(model, tiny_data, k=k, metrics="recall", candidates=CANDIDATES)
    assert dict(zip(table["user"], table[f"recall@{k}"], strict=True)) == pytest.approx(recall)


def test_all_items_as_candidates_are_all_items(tiny_data):
    model, metrics = LowPassSVD(tiny_data, rank=3), ("recall", "ndcg", "coverage", "popularity")
    everything = torch.arange(9).repeat(2)  # an item that is named twice is one
    assert evaluate(model, tiny_data, metrics=metrics) == evaluate(
        model, tiny_data, metrics=metrics, candidates=everything
    )


def test_wrong_candidates_are_named(tiny_data):
    model = LowPassSVD(tiny_data, rank=3)
    with pytest.raises(ValueError, match="'candidates' must be positions from 0 to 8"):
        evaluate(model, tiny_data, candidates=torch.tensor([9]))
    relevant = tiny_data["user", "rates", "item"].edge_label_index[1]
    other = torch.tensor([item for item in range(9) if item not in relevant])
    assert len(other)
    for candidates in (other, other[:0]):
        with pytest.raises(ValueError, match="No user has a relevant item among the candidates"):
            evaluate(model, tiny_data, candidates=candidates)
