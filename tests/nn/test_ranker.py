import pandas as pd
import pytest
import torch

from irllrec_pyg.nn import Ranker

EDGES = torch.tensor([[0, 2, 0, 1, 2, 2, 2], [1, 0, 2, 1, 1, 2, 3]])
SCORES = torch.tensor([[0.1, 0.9, 0.8, 0.3], [0.4, 0.5, 0.2, 0.3], [0.0, 0.1, 0.2, 0.3]])


class Table(Ranker):
    """Scores from a table, and a count of how often a scorer was made."""

    made = 0

    def score(self, user):
        return SCORES[user]

    def scorer(self):
        self.made += 1
        return self.score


def ids(frame):
    return list(frame[["user", "item", "rank"]].itertuples(index=False, name=None))


def test_recommends_the_best_unseen_items():
    ranker = Table(EDGES, 3, 4)
    assert ids(ranker.recommend([0, 1], k=2)) == [(0, 3, 1), (0, 0, 2), (1, 0, 1), (1, 3, 2)]
    assert ids(ranker.recommend(0, k=2, exclude_seen=False)) == [(0, 1, 1), (0, 2, 2)]
    assert ranker.recommend(0, k=1)["score"].tolist() == pytest.approx([0.3])


def test_a_user_with_few_items_left_gets_fewer_rows():
    ranker = Table(EDGES, 3, 4)
    assert ranker.recommend(2, k=3).empty
    assert ids(ranker.recommend([2, 0], k=4)) == [(0, 3, 1), (0, 0, 2)]


def test_answers_in_the_owners_ids():
    ranker = Table(EDGES, 3, 4, user_ids=["ann", "bob", "cyd"], item_ids=[10, 20, 30, 40])
    assert ids(ranker.recommend("bob", k=2)) == [("bob", 10, 1), ("bob", 40, 2)]
    assert ids(ranker.recommend(pd.Series(["bob", "ann"]), k=1)) == [("bob", 10, 1), ("ann", 40, 1)]
    assert set(ranker.recommend(k=1)["user"]) == {"ann", "bob"}
    with pytest.raises(KeyError, match="'dan', 1"):
        ranker.recommend(["ann", "dan", 1])
    with pytest.raises(KeyError, match="'dan'"):
        ranker.recommend(["ann", "dan"])
    with pytest.raises(KeyError, match="0"):
        ranker.recommend(0)


@pytest.mark.parametrize("user", [torch.tensor([1, 0]), torch.tensor([1, 0]).numpy(), (1, 0)])
def test_users_come_in_any_sequence(user):
    assert set(Table(EDGES, 3, 4).recommend(user, k=1)["user"]) == {0, 1}


def test_the_rankers_own_scores_stay_as_they_are():
    before = SCORES.clone()
    ranker = Table(EDGES, 3, 4)
    ranker.scorer = lambda: lambda user: SCORES
    ranker.recommend(k=2)
    assert torch.equal(SCORES, before)


def test_blocks_of_users_share_one_scorer(monkeypatch):
    ranker = Table(EDGES, 3, 4)
    whole = ranker.recommend(k=2)
    monkeypatch.setattr(Table, "block_size", lambda self: 1)
    pd.testing.assert_frame_equal(whole, ranker.recommend(k=2))
    assert ranker.made == 2


def test_seen_items_equal_the_interactions():
    ranker = Table(EDGES, 3, 4)
    row, item = ranker.seen(torch.tensor([2, 0, 2]))
    expected = [(at, i) for at, u in enumerate([2, 0, 2]) for i in EDGES[1][EDGES[0] == u].tolist()]
    assert sorted(zip(row.tolist(), item.tolist(), strict=True)) == sorted(expected)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="'user_ids' has 1 ids for 3 users"):
        Table(EDGES, 3, 4, user_ids=["ann"])
    with pytest.raises(ValueError, match="'k'"):
        Table(EDGES, 3, 4).recommend(0, k=0)


def test_nan_scores_are_an_error():
    ranker = Table(EDGES, 3, 4)
    ranker.scorer = lambda: lambda user: SCORES[user] * torch.nan
    with pytest.raises(ValueError, match="NaN"):
        ranker.recommend(0)
