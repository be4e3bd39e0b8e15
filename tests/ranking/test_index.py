r"""The index against exact lists."""

import sys

import pandas as pd
import pytest
import torch

from irllrec_pyg import build_model
from irllrec_pyg.checkpoint import EmbeddingRecommender
from irllrec_pyg.linear import EASE, TextMean
from irllrec_pyg.ranking import Filters, IndexedRanker, ItemIndex
from irllrec_pyg.ranking.index import SMALL
from irllrec_pyg.sparse import CSR

pytest.importorskip("faiss")


def vectors(items, users, width=8):
    draws = torch.Generator().manual_seed(0)
    centres = torch.randn(20, width, generator=draws)

    def around(count):
        chosen = torch.randint(20, (count,), generator=draws)
        return centres[chosen] + 0.5 * torch.randn(count, width, generator=draws)

    return around(items), around(users)


def same(found, expected):
    for column in ("user", "rank"):
        assert found[column].tolist() == expected[column].tolist()
    # Scores that differ by rounding alone may change places.
    by_pair = expected.set_index(["user", "item"])["score"]
    theirs = by_pair.loc[list(zip(found["user"], found["item"], strict=True))]
    assert found["score"].to_numpy() == pytest.approx(theirs.to_numpy(), rel=1e-4, abs=1e-6)
    assert found["score"].to_numpy() == pytest.approx(
        expected["score"].to_numpy(), rel=1e-4, abs=1e-6
    )


def test_few_items_are_found_exactly_for_users_and_people(tiny_data):
    tiny_data["item"].raw_id = [f"i{at}" for at in range(9)]
    torch.manual_seed(0)
    for model in (TextMean(tiny_data), build_model("lightgcn", tiny_data).eval()):
        fast = IndexedRanker(model)
        for exclude in ("known", "train", None):
            same(fast.recommend(k=9, exclude=exclude), model.recommend(k=9, exclude=exclude))
        history = [["i1", "i4"], ["i0"]]
        same(fast.recommend(history=history, k=9), model.recommend(history=history, k=9))
        filters = Filters(deny=["i2"], max_per={"kind": 1})
        fast.item_table = model.item_table = pd.DataFrame(
            {"kind": list("aabbccdde")}, [f"i{at}" for at in range(9)]
        )
        same(fast.recommend(3, filters=filters), model.recommend(3, filters=filters))
        same(fast.recommend(3, candidates=["i2"]), model.recommend(3, candidates=["i2"]))
        assert fast.similar("i2", k=3)["id"].tolist() == model.similar("i2", k=3)["id"].tolist()


def test_nothing_is_lost_to_what_was_seen():
    items, users = vectors(SMALL + 2000, 60)
    exact = (users @ items.t()).argsort(1, descending=True)
    # Of each user the best items are hidden, all of the nearest cells among them.
    count = torch.tensor([0, 5, 800, 3000] * 15)
    rows = [row[:n].sort().values for row, n in zip(exact, count.tolist(), strict=True)]
    hidden = CSR(torch.cat([torch.zeros(1, dtype=torch.long), count.cumsum(0)]), torch.cat(rows))
    index = ItemIndex(items, probes=1)
    assert index.cells > 100
    found, score = index.search(users, 10, hidden)
    assert (found >= 0).all()
    assert (score.diff(dim=1) <= 0).all()
    for user, row in enumerate(found.tolist()):
        assert len(set(row)) == 10
        assert not set(row) & set(rows[user].tolist())
    everything = ItemIndex(items, probes=10**6).search(users, 10, hidden)[0]
    best = torch.stack([row[n : n + 10] for row, n in zip(exact, count.tolist(), strict=True)])
    assert (everything == best).float().mean() > 0.999


def test_most_of_the_best_are_found():
    items, users = vectors(20_000, 100)
    exact = (users @ items.t()).topk(20).indices
    found = ItemIndex(items, probes=64).search(users, 20)[0]
    hits = (found.unsqueeze(2) == exact.unsqueeze(1)).any(1)
    assert hits.float().mean() > 0.9


def test_lists_end_with_the_items_and_ties_are_in_order():
    items = torch.tensor([[1.0, 0], [2, 0], [1, 0], [2, 0]])
    index = ItemIndex(items)
    found, score = index.search(
        torch.tensor([[1.0, 0.0]]), 6, CSR.from_pairs(*[torch.tensor([0])] * 2, 1, 4)
    )
    assert found.tolist() == [[1, 3, 2, -1, -1, -1]]
    assert score[0, 3:].eq(-torch.inf).all()


def test_a_model_from_a_file_and_wrong_models(tiny_data, monkeypatch):
    items, users = vectors(50, 3)
    saved = EmbeddingRecommender(users, items, torch.tensor([[0, 1], [2, 3]]))
    fast = IndexedRanker(saved)
    same(fast.recommend(k=5), saved.recommend(k=5))
    with pytest.raises(NotImplementedError, match="This saved model cannot rank for people"):
        fast.recommend(history=[1])
    with pytest.raises(ValueError, match="The scores of EASE are no dot products"):
        IndexedRanker(EASE(tiny_data))
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install 'irllrec_pyg\[index\]'"):
        ItemIndex(items)
