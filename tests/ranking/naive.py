"""Rankers of tables, and metrics from loops over users."""

import math

import torch

from irllrec_pyg.nn import Ranker
from irllrec_pyg.ranking import USER_METRICS, DotProductRanker


class TableRanker(Ranker):
    """Has a table of scores and nothing else, as any ranker may."""

    def __init__(self, table, edge_index, **ids):
        super().__init__(edge_index, *table.shape, **ids)
        self.table = table

    def score(self, user):
        return self.table[user]


class EmbeddingRanker(DotProductRanker):
    def __init__(self, users, items, edge_index):
        super().__init__(edge_index, len(users), len(items))
        self.users, self.items = users, items

    def embed(self):
        return self.users, self.items


def naive_lists(table, hidden, k):
    lists = {}
    for user, scores in enumerate(table.tolist()):
        items = [item for item in range(len(scores)) if (user, item) not in hidden]
        lists[user] = sorted(items, key=lambda item: -scores[item])[:k]
    return lists


def naive_metric(name, listed, relevant, k):
    hits = [item in relevant for item in listed]
    precision, recall = sum(hits) / k, sum(hits) / len(relevant)
    if name == "recall":
        return recall
    if name == "precision":
        return precision
    if name == "f1":
        return 2 * precision * recall / (precision + recall) if any(hits) else 0.0
    if name == "ndcg":
        gain = sum(1 / math.log2(rank + 2) for rank, hit in enumerate(hits) if hit)
        return gain / sum(1 / math.log2(rank + 2) for rank in range(min(k, len(relevant))))
    if name == "map":
        at_hits = [sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits) if hit]
        return sum(at_hits) / min(k, len(relevant))
    if name == "mrr":
        return 1 / (hits.index(True) + 1) if any(hits) else 0.0
    assert name == "hit"
    return float(any(hits))


def naive_evaluate(table, train, relevant, hidden, k):
    """Metrics from loops over users, by the formulas as they are printed."""
    train, relevant = set(map(tuple, train.T.tolist())), set(map(tuple, relevant.T.tolist()))
    hidden = train | set(map(tuple, hidden.T.tolist()))
    of_user = {user: {i for u, i in relevant if u == user} for user, _ in relevant}
    out = {}
    for top in k:
        lists = naive_lists(table, hidden, top)
        for name in USER_METRICS:
            values = [naive_metric(name, lists[u], of_user[u], top) for u in sorted(of_user)]
            out[f"{name}@{top}"] = sum(values) / len(values)
        listed = {item for user in of_user for item in lists[user]}
        out[f"coverage@{top}"] = len(listed) / table.size(1)
        means = [
            sum(sum(i == item for _, i in train) for item in lists[u]) / len(lists[u])
            for u in of_user
            if lists[u]
        ]
        out[f"popularity@{top}"] = sum(means) / len(means)
    return out


def random_case(num_users, num_items, seed):
    """Some users have seen nearly everything or everything, some have nothing to be found."""
    g = torch.Generator().manual_seed(seed)
    table = torch.randn(num_users, num_items, generator=g)
    share = torch.rand(num_users, 1, generator=g)
    share[0], share[1] = 0.9, 2.0
    seen = torch.rand(num_users, num_items, generator=g) < share
    train = seen.nonzero().t()
    # Also items from the training split, which can be relevant but are never ranked.
    wanted = torch.rand(num_users, num_items, generator=g) < 0.25
    wanted[2] = False
    relevant = wanted.nonzero().t()
    hidden = (torch.rand(num_users, num_items, generator=g) < 0.1).nonzero().t()
    return table, train, relevant, hidden
