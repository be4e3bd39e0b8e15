import pandas as pd
import pytest
import torch

from irllrec_pyg.checkpoint import KIND, load_ranker, save_ranker
from irllrec_pyg.published import build_model
from irllrec_pyg.ranking import Ranker
from irllrec_pyg.tensor_file import read_tensors, write_tensors

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
    assert ids(ranker.recommend(0, k=2, exclude=None)) == [(0, 1, 1), (0, 2, 2)]
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


@pytest.mark.parametrize("k", [True, 2.0, "5", None, -1])
def test_lengths_that_are_none_are_named(k):
    with pytest.raises(ValueError, match="'k' must be a whole number, at least 1, got"):
        Table(EDGES, 3, 4).recommend(0, k=k)


@pytest.mark.parametrize("exclude", [EDGES.numpy(), pd.DataFrame(EDGES.T.tolist()), {1}, False])
def test_exclusions_that_are_none_are_named(exclude):
    with pytest.raises(ValueError, match="'exclude' must be 'known', 'train', None or pairs"):
        Table(EDGES, 3, 4).recommend(0, exclude=exclude)


@pytest.mark.parametrize(
    "asked", [True, [True, False, True], pd.Series([False, True]), b"\x01", [[1]]]
)
def test_what_is_no_id_gets_no_answer(asked):
    with pytest.raises((KeyError, TypeError), match=r"'user' must be an id|Unknown user"):
        Table(EDGES, 3, 4).recommend(asked)
    with pytest.raises((KeyError, TypeError), match=r"'item' must be an id|Unknown item"):
        Table(EDGES, 3, 4).recommend(0, candidates=asked)


def test_ids_are_distinct_and_may_be_a_tensor():
    with pytest.raises(ValueError, match="'item_ids' must be distinct, got 'b' more than once"):
        Table(EDGES, 3, 4, item_ids=["a", "b", "c", "b"])
    ranker = Table(EDGES, 3, 4, user_ids=torch.tensor([30, 10, 20]))
    assert ids(ranker.recommend([10], k=1)) == [(10, 0, 1)]


def test_nan_scores_are_an_error():
    ranker = Table(EDGES, 3, 4)
    ranker.scorer = lambda: lambda user: SCORES[user] * torch.nan
    with pytest.raises(ValueError, match="NaN"):
        ranker.recommend(0)


# Beside the training pairs, user 0 has item 3 for validation and user 1 item 0 for test.
KNOWN = torch.tensor([[0, 1], [3, 0]])


def test_recommends_nothing_that_the_data_set_knows_of():
    ranker = Table(EDGES, 3, 4, known=KNOWN)
    assert ids(ranker.recommend([0, 1], k=4)) == [(0, 0, 1), (1, 3, 1), (1, 2, 2)]
    assert ids(ranker.recommend([0, 1], k=4, exclude="known")) == ids(ranker.recommend([0, 1], k=4))
    train = [(0, 3, 1), (0, 0, 2), (1, 0, 1), (1, 3, 2), (1, 2, 3)]
    assert ids(ranker.recommend([0, 1], k=4, exclude="train")) == train
    assert len(ranker.recommend([0, 1], k=4, exclude=None)) == 8
    pairs = torch.tensor([[0, 0], [1, 2]])
    assert ids(ranker.recommend(0, exclude=pairs)) == [(0, 3, 1), (0, 0, 2)]
    with pytest.raises(ValueError, match="'exclude' must be 'known', 'train', None or pairs"):
        ranker.recommend(0, exclude="seen")
    with pytest.raises(
        ValueError, match="'known' must hold items from 0 to 3, got item 4 in column"
    ):
        Table(EDGES, 3, 4, known=torch.tensor([[0, 1], [3, 4]]))


def test_what_is_known_is_sorted_and_holds_the_training_pairs():
    ranker = Table(EDGES, 3, 4, known=KNOWN)
    pairs = set(zip(*EDGES.tolist(), strict=True)) | set(zip(*KNOWN.tolist(), strict=True))
    rows = torch.arange(3).repeat_interleave(ranker.known_ptr.diff()).tolist()
    assert list(zip(rows, ranker.known_item.tolist(), strict=True)) == sorted(pairs)
    assert not ranker.state_dict()
    twice = Table(torch.cat([EDGES, EDGES], 1), 3, 4)
    assert torch.equal(twice.seen_item, ranker.seen_item)
    with pytest.raises(ValueError, match="'edge_index' must hold users from 0 to 1, got user 2"):
        Table(EDGES, 2, 4)


def test_models_and_files_know_the_validation_and_test_items(tiny_data, tmp_path):
    edges = tiny_data["user", "rates", "item"]
    splits = edges.edge_index, edges.val_edge_label_index, edges.edge_label_index
    known = {pair for split in splits for pair in zip(*split.tolist(), strict=True)}
    model = build_model("lightgcn", tiny_data, dataset="movie")
    save_ranker(model, tmp_path / "model.safetensors")
    for ranker in (model, load_ranker(tmp_path / "model.safetensors")):
        table = ranker.recommend(k=9)
        offered = set(zip(table["user"], table["item"], strict=True))
        assert offered == {(u, i) for u in range(12) for i in range(9)} - known
        table = ranker.recommend(k=9, exclude="train")
        assert len(table) == 12 * 9 - splits[0].size(1)


def test_a_file_of_the_first_release_knows_the_training_items(tiny_data, tmp_path):
    model = build_model("lightgcn", tiny_data, dataset="movie")
    path = tmp_path / "model.safetensors"
    save_ranker(model, path)
    tensors, metadata = read_tensors(path, KIND)
    del tensors["known_ptr"], tensors["known_item"]
    write_tensors(path, tensors, metadata, KIND)
    table = load_ranker(path).recommend(k=9)
    assert table.equals(load_ranker(path).recommend(k=9, exclude="train"))


def naive_lists(scores, hidden, candidates, k):
    lists = []
    for user, row in enumerate(scores.tolist()):
        items = [i for i in candidates if (user, i) not in hidden]
        lists.append(sorted(items, key=lambda item: (-row[item], item))[:k])
    return lists


class Few(Ranker):
    """Scores of few values, zeros of both signs among them."""

    def __init__(self, scores, edge_index):
        super().__init__(edge_index, *scores.shape)
        self.scores = scores

    def score(self, user):
        return self.scores[user]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_items", [5, 90, 1500])
@pytest.mark.parametrize("chosen", [False, True])
def test_topk_equals_naive_lists_and_breaks_ties_by_item(dtype, num_items, chosen):
    g = torch.Generator().manual_seed(num_items)
    scores = torch.randint(-3, 4, (20, num_items), generator=g).to(dtype)
    scores[torch.rand(20, num_items, generator=g) < 0.1] *= -1
    scores[5:] += (torch.rand(15, num_items, generator=g) < 0.01) * 0.5
    seen = torch.rand(20, num_items, generator=g) < 0.3
    edge_index = seen.nonzero().t()
    hidden = set(zip(*edge_index.tolist(), strict=True))
    candidates = torch.randperm(num_items, generator=g)[: num_items // 2] if chosen else None
    items = sorted(candidates.tolist()) if chosen else range(num_items)
    ranker = Few(scores, edge_index)
    user = torch.tensor([*range(20), 3])
    for k in (1, 6):
        for exclude, left_out in (("train", hidden), (None, set())):
            found, best = ranker.topk(user, k, exclude, candidates, block_size=7)
            expected = naive_lists(scores, left_out, items, k)
            assert found.shape == best.shape == (21, k)
            for row, u in enumerate(user.tolist()):
                short = k - len(expected[u])
                assert found[row].tolist() == expected[u] + [-1] * short
                values = [scores[u, i].item() for i in expected[u]]
                assert best[row].tolist() == values + [-torch.inf] * short


def test_candidates_are_given_in_the_owners_ids():
    ranker = Table(EDGES, 3, 4, user_ids=["ann", "bob", "cyd"], item_ids=["a", "b", "c", "d"])
    assert ids(ranker.recommend("bob", candidates=["d", "b", "c"])) == [
        ("bob", "d", 1),
        ("bob", "c", 2),
    ]
    assert ranker.recommend("bob", candidates=[]).empty
    with pytest.raises(KeyError, match="Unknown item 'e'"):
        ranker.recommend("bob", candidates=["e"])


def test_positions_out_of_range_are_refused():
    ranker = Table(EDGES, 3, 4)
    with pytest.raises(ValueError, match="'user' must be positions from 0 to 2"):
        ranker.topk(torch.tensor([3]), 2)
    with pytest.raises(ValueError, match="'candidates' must be positions from 0 to 3"):
        ranker.topk(torch.tensor([1]), 2, candidates=torch.tensor([-1]))
    item, score = ranker.topk(torch.empty(0, dtype=torch.long), 2)
    assert item.shape == score.shape == (0, 2)
