import math

import pandas as pd
import pytest
import torch
from torch_geometric.metrics import (
    LinkPredAveragePopularity,
    LinkPredCoverage,
    LinkPredF1,
    LinkPredHitRatio,
    LinkPredMAP,
    LinkPredMRR,
    LinkPredNDCG,
    LinkPredPrecision,
    LinkPredRecall,
)

from irllrec_pyg.linear import Popularity
from irllrec_pyg.published import build_model
from irllrec_pyg.ranking import LIST_METRICS, USER_METRICS, evaluate, evaluate_users, topk

from .naive import EmbeddingRanker, TableRanker, naive_evaluate, random_case


@pytest.mark.parametrize(("num_users", "num_items"), [(7, 5), (20, 30), (33, 101)])
@pytest.mark.parametrize("block_size", [None, 1, 4])
@pytest.mark.parametrize("hide", [False, True])
def test_equals_naive_loops(num_users, num_items, block_size, hide):
    table, train, relevant, hidden = random_case(num_users, num_items, num_users)
    hidden = hidden if hide else hidden[:, :0]
    k = (1, 5, 20)
    before = table.clone()
    got = evaluate(
        TableRanker(table, train),
        relevant,
        k=k,
        block_size=block_size,
        metrics=[*USER_METRICS, *LIST_METRICS],
        exclude=hidden if hide else None,
    )
    expected = naive_evaluate(table, train, relevant, hidden, k)
    assert list(got) == [f"{name}@{top}" for name in [*USER_METRICS, *LIST_METRICS] for top in k]
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert torch.equal(table, before)  # the ranker's own scores are left alone


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_items", [79, 80, 701])  # searched in none, one and two steps
@pytest.mark.parametrize("chunk", [1, 7, 8192])
def test_dot_products_equal_naive_loops(monkeypatch, dtype, num_items, chunk):
    monkeypatch.setattr(topk, "CHUNK", chunk)
    _, train, relevant, hidden = random_case(9, num_items, 0)
    g = torch.Generator().manual_seed(1)
    users, items = (torch.randn(count, 4, generator=g, dtype=dtype) for count in (9, num_items))
    table = users @ items.t()
    expected = naive_evaluate(table, train, relevant, hidden, [1, 5])
    for ranker in (TableRanker(table, train), EmbeddingRanker(users, items, train)):
        got = evaluate(
            ranker,
            relevant,
            k=[1, 5],
            block_size=3,
            exclude=hidden,
            metrics=[*USER_METRICS, *LIST_METRICS],
        )
        assert got == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_half_precision_embeddings_rank_by_their_own_products():
    _, train, relevant, _ = random_case(9, 701, 0)
    users, items = torch.randn(9, 4).bfloat16(), torch.randn(701, 4).bfloat16()
    got = evaluate(EmbeddingRanker(users, items, train), relevant)
    assert got == evaluate(TableRanker((users @ items.t()).float(), train), relevant)


def test_what_scores_the_same_is_listed_the_same_every_time():
    train, relevant = torch.zeros(2, 1, dtype=torch.long), torch.arange(400).repeat(2, 1)
    ranker = TableRanker(torch.zeros(400, 400), train)
    values = [
        evaluate(ranker, relevant, metrics=["recall", "coverage"], block_size=size)
        for size in (None, None, 7)
    ]
    assert values[0] == values[1] == values[2]


def test_masked_items_are_no_hits():
    # The user has seen all but one item, and wants a seen one and the one that is left.
    train = torch.tensor([[0, 0, 0], [0, 1, 2]])
    relevant = torch.tensor([[0, 0], [0, 3]])
    got = evaluate(
        TableRanker(torch.zeros(1, 4), train),
        relevant,
        k=[3],
        metrics=["recall", "precision", "coverage"],
    )
    assert got == pytest.approx({"recall@3": 0.5, "precision@3": 1 / 3, "coverage@3": 0.25})


def test_a_user_without_any_item_left_scores_zero():
    train = torch.tensor([[0, 0, 1], [0, 1, 0]])
    relevant = torch.tensor([[0, 1], [0, 1]])
    got = evaluate(TableRanker(torch.zeros(2, 2), train), relevant, k=[2], metrics=["recall"])
    assert got == {"recall@2": 0.5}


def test_repeated_pairs_count_once():
    table, train, relevant, _ = random_case(20, 30, 0)
    ranker = TableRanker(table, train)
    twice = torch.cat([relevant, relevant.flip(1)], 1)
    assert evaluate(ranker, twice) == evaluate(ranker, relevant)


def test_validation_items_are_ranked_unless_excluded(tiny_data):
    torch.manual_seed(0)
    model = build_model("lightgcn", tiny_data, dataset="amazon")
    edges = tiny_data["user", "rates", "item"]
    scores = model.score(torch.arange(model.num_users)).detach()
    for exclude, hidden in ((False, edges.edge_index[:, :0]), (True, edges.val_edge_label_index)):
        got = evaluate(
            model, tiny_data, "test", k=[3], exclude_validation=exclude, metrics=list(USER_METRICS)
        )
        expected = naive_evaluate(scores, edges.edge_index, edges.edge_label_index, hidden, [3])
        assert got == pytest.approx({name: expected[name] for name in got}, abs=1e-6)
    val = evaluate(model, tiny_data, "val", k=[3], metrics=["recall"])
    expected = naive_evaluate(
        scores, edges.edge_index, edges.val_edge_label_index, edges.edge_index[:, :0], [3]
    )
    assert val["recall@3"] == pytest.approx(expected["recall@3"], abs=1e-6)


def test_values_of_users_average_to_the_metrics():
    table, train, relevant, _ = random_case(20, 30, 3)
    ids = [f"reader-{user}" for user in range(20)]
    ranker = TableRanker(table, train, user_ids=ids)
    users = evaluate_users(ranker, relevant, k=[5], metrics=["ndcg", "recall"])
    assert list(users.columns) == ["user", "ndcg@5", "recall@5"]
    assert users["user"].tolist() == [ids[user] for user in relevant[0].unique().tolist()]
    whole = evaluate(ranker, relevant, k=[5], metrics=["ndcg", "recall"])
    assert users.drop(columns="user").mean().to_dict() == pytest.approx(whole)
    assert isinstance(users, pd.DataFrame)


def test_mode_is_restored_and_half_precision_ranks_in_float():
    table, train, relevant, _ = random_case(20, 30, 4)
    ranker = TableRanker(table.bfloat16(), train).train()
    exact = TableRanker(table.bfloat16().float(), train)
    assert set(evaluate(ranker, relevant)) == set(evaluate(exact, relevant))
    assert ranker.training


def test_memory_is_bounded_by_blocks():
    sizes = []

    class Spy(TableRanker):
        def score(self, user):
            sizes.append(user.numel())
            return super().score(user)

    table, train, relevant, _ = random_case(20, 30, 5)
    evaluate(Spy(table, train), relevant, block_size=6)
    users = relevant[0].unique().numel()
    assert sizes == [6] * (users // 6) + [users % 6] * (users % 6 > 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": []}, "'k' must hold positive"),
        ({"k": [0]}, "'k' must hold positive"),
        ({"metrics": ["auc"]}, "must be names among recall"),
        ({"metrics": "auc"}, "must be names"),
        ({"k": 2.5}, "'k' must hold positive integers"),
        ({"split": "train"}, "'split' must be"),
        ({"block_size": 0}, "'block_size' must be at least 1"),
        ({"exclude_validation": True}, "needs a data set"),
        ({"data": torch.empty(2, 0, dtype=torch.long)}, "No user has a relevant item"),
        ({"data": torch.tensor([[0], [30]])}, "items from 0 to 29, got item 30 in column 0"),
        ({"data": torch.tensor([[-1], [3]])}, "users from 0 to 19, got user -1 in column 0"),
        ({"data": torch.zeros(2, 3)}, "must be int64"),
    ],
)
def test_errors(change, message):
    table, train, relevant, _ = random_case(20, 30, 6)
    arguments = {"data": relevant, **change}
    with pytest.raises(ValueError, match=message):
        evaluate(TableRanker(table, train), arguments.pop("data"), **arguments)


def test_errors_of_scores_and_data(tiny_data):
    table, train, relevant, _ = random_case(20, 30, 7)
    broken = table.clone()
    broken[int(relevant[0, -1]), :] = math.nan
    for sign in (1.0, -1.0):  # of processors' own NaN the sign bit is set
        with pytest.raises(ValueError, match="TableRanker gave scores that are not a number"):
            evaluate(TableRanker(broken.copysign(torch.tensor(sign)), train), relevant)
    ranker = TableRanker(table, train)
    ranker.num_items = 29
    with pytest.raises(ValueError, match="gave scores of shape"):
        evaluate(ranker, relevant[:, relevant[1] < 29])
    with pytest.raises(ValueError, match="has no value for a single user"):
        evaluate_users(TableRanker(table, train), relevant, metrics=["coverage"])
    with pytest.raises(ValueError, match="would leave nothing"):
        evaluate(TableRanker(table, train), tiny_data, "val", exclude_validation=True)
    del tiny_data["user", "rates", "item"].val_edge_label_index
    with pytest.raises(ValueError, match="has no val interactions"):
        evaluate(TableRanker(table, train), tiny_data, "val")


def test_one_length_and_one_metric_need_no_list(tiny_data):
    ranker = Popularity(tiny_data)
    assert evaluate(ranker, tiny_data, k=3, metrics="recall") == evaluate(
        ranker, tiny_data, k=[3], metrics=["recall"]
    )
    assert evaluate_users(ranker, tiny_data, k=3, metrics="recall").columns.tolist() == [
        "user",
        "recall@3",
    ]


METRICS_OF_PYG = {
    "recall": LinkPredRecall,
    "precision": LinkPredPrecision,
    "f1": LinkPredF1,
    "ndcg": LinkPredNDCG,
    "map": LinkPredMAP,
    "mrr": LinkPredMRR,
    "hit": LinkPredHitRatio,
    "coverage": LinkPredCoverage,
    "popularity": LinkPredAveragePopularity,
}


@pytest.mark.parametrize("k", [1, 3, 20])
def test_metrics_equal_those_of_pyg(k):
    g = torch.Generator().manual_seed(k)
    table = torch.randn(40, 60, generator=g)
    train = (torch.rand(40, 60, generator=g) < 0.1).nonzero().t()
    relevant = (torch.rand(40, 60, generator=g) < 0.2).nonzero().t()
    masked = table.index_put(tuple(train), torch.tensor(-torch.inf))
    user, row = relevant[0].unique(return_inverse=True)
    listed = masked[user].topk(k).indices
    found = evaluate(TableRanker(table, train), relevant, k=k, metrics=list(METRICS_OF_PYG))
    for name, cls in METRICS_OF_PYG.items():
        arguments = {"coverage": [60], "popularity": [torch.bincount(train[1], minlength=60)]}.get(
            name, []
        )
        metric = cls(k, *arguments)
        metric.update(listed, torch.stack([row, relevant[1]]))
        assert found[f"{name}@{k}"] == pytest.approx(float(metric.compute()), rel=1e-5)
