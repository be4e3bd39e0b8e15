import pytest
import torch
from torch_geometric.data import Data, HeteroData

from irllrec_pyg.loader.interactions import InteractionIndex
from tests.loader.graphs import graph_of, pairs_of, random_graph

RATES = ("user", "rates", "item")


@pytest.mark.parametrize("seed", range(3))
def test_nth_negative_item_against_naive_loop(seed):
    data = random_graph(num_users=25, num_items=19, seed=seed)
    pairs = pairs_of(data)
    interactions = InteractionIndex(data)
    for user in range(25):
        expected = [item for item in range(19) if (user, item) not in pairs]
        n = torch.arange(len(expected))
        assert interactions.num_negatives_of_user[user] == len(expected)
        assert interactions.nth_negative_item(torch.full_like(n, user), n).tolist() == expected


def test_unsorted_edges_keep_their_columns():
    data = random_graph(num_users=12, num_items=9)
    edge_index = data[RATES].edge_index
    order = torch.randperm(edge_index.size(1), generator=torch.Generator().manual_seed(0))
    shuffled = graph_of(edge_index[:, order].t().tolist(), 12, 9)
    one, other = InteractionIndex(data), InteractionIndex(shuffled)
    assert torch.equal(other.user, edge_index[0, order])
    assert torch.equal(other.item, edge_index[1, order])
    assert torch.equal(one.item_by_user, other.item_by_user)
    assert torch.equal(order[other.edge_by_user], torch.arange(order.numel()))
    user, n = torch.tensor([3, 5, 7]), torch.tensor([0, 0, 0])
    assert torch.equal(one.nth_negative_item(user, n), other.nth_negative_item(user, n))


def test_degrees_count_every_node():
    data = random_graph(num_users=12, num_items=9)
    pairs = pairs_of(data)
    interactions = InteractionIndex(data)
    assert len(interactions) == len(pairs)
    assert interactions.user_degree.tolist() == [
        sum(user == u for user, _ in pairs) for u in range(12)
    ]
    assert interactions.item_degree.tolist() == [
        sum(item == i for _, item in pairs) for i in range(9)
    ]


def test_user_with_every_item():
    pairs = [(0, 1), (1, 0), (1, 1), (1, 2), (2, 0)]
    with pytest.raises(ValueError, match="User 1 has a training interaction with every one of"):
        InteractionIndex(graph_of(pairs, num_users=3, num_items=3))
    assert len(InteractionIndex(graph_of(pairs, num_users=3, num_items=4))) == 5


def test_users_with_every_item_by_their_own_ids():
    data = graph_of([(0, 0), (1, 0), (1, 1), (2, 0), (2, 1)], num_users=3, num_items=2)
    data["user"].raw_id = ["ann", "bob", "cleo"]
    with pytest.raises(ValueError, match=r"User 1 \(id 'bob'\).* and so have 1 other users"):
        InteractionIndex(data)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "must hold interactions to draw triplets from, got none"),
        ([(0, 0), (3, 1)], "users from 0 to 2, got user 3 in column 1"),
        ([(0, 0), (2, 1), (-1, 1)], "users from 0 to 2, got user -1 in column 2"),
        ([(0, 0), (2, 4)], "items from 0 to 3, got item 4 in column 1"),
        ([(0, 0), (2, 1), (0, 0)], "interaction of user 0 with item 0 more than once"),
        ([(0, 0), (2, 1), (2, 1)], "interaction of user 2 with item 1 more than once"),
    ],
)
def test_wrong_edges(pairs, message):
    with pytest.raises(ValueError, match=message):
        InteractionIndex(graph_of(pairs, num_users=3, num_items=4))


def test_wrong_graphs():
    with pytest.raises(TypeError, match="'data' must be a HeteroData, got Data"):
        InteractionIndex(Data(edge_index=torch.zeros(2, 1, dtype=torch.long)))
    with pytest.raises(ValueError, match="'data' must have training interactions in data"):
        InteractionIndex(HeteroData())

    data = graph_of([(0, 0)], num_users=1, num_items=2)
    data[RATES].edge_index = data[RATES].edge_index.int()
    with pytest.raises(ValueError, match=r"must be int64 of shape .*, got torch\.int32"):
        InteractionIndex(data)
    data[RATES].edge_index = torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(ValueError, match=r"must be int64 of shape .*, got .* of shape \(1, 3\)"):
        InteractionIndex(data)

    data = HeteroData()
    data[RATES].edge_index = torch.zeros(2, 1, dtype=torch.long)
    data["user"].num_nodes, data["item"].num_nodes = 1, 0
    with pytest.raises(ValueError, match=r"'item'.*must be at least 1, got 0"):
        InteractionIndex(data)
