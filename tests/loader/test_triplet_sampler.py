import numpy as np
import pytest
import torch
import torch_geometric.typing
from scipy import stats
from torch_geometric.loader import LinkNeighborLoader, NeighborLoader
from torch_geometric.sampler import EdgeSamplerInput, NegativeSampling, NodeSamplerInput

from irllrec_pyg.loader import TripletSampler, triplet_sampler
from irllrec_pyg.loader.neighborhood import PyGNeighborhood, TorchNeighborhood
from tests.loader.graphs import graph_of, pairs_of, random_graph, triplets_of

RATES = ("user", "rates", "item")


def negatives_of(sampler, interaction, epoch):
    out = sampler.sample(interaction, epoch)
    return out.node["item"][out.metadata[3]]


@pytest.mark.parametrize("num_negatives", [1, 40])
def test_negatives_are_uniform_over_the_others(num_negatives):
    data = random_graph(num_users=15, num_items=12)
    pairs = pairs_of(data)
    sampler = TripletSampler(data, num_negatives)
    user = data[RATES].edge_index[0]
    count = np.zeros((15, 12), dtype=int)
    for epoch in range(800 // num_negatives):
        drawn = negatives_of(sampler, torch.arange(user.numel()), epoch).view(user.numel(), -1)
        for u, items in zip(user.tolist(), drawn.tolist(), strict=True):
            for item in items:
                assert (u, item) not in pairs
                count[u, item] += 1
    for u in range(14):
        others = [item for item in range(12) if (u, item) not in pairs]
        if len(others) > 1:
            assert stats.chisquare(count[u, others]).pvalue > 1e-4


def test_negatives_of_a_triplet_are_independent():
    data = graph_of([(user, item) for user in range(20) for item in range(3)], 20, 11)
    interaction = torch.arange(60)
    drawn = torch.cat(
        [negatives_of(TripletSampler(data, 2, seed=s), interaction, 0) for s in range(200)]
    )
    table = np.zeros((8, 8))
    np.add.at(table, (drawn[:, 0].numpy() - 3, drawn[:, 1].numpy() - 3), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-3


def test_the_last_item_but_one():
    # One item is left to each user: that is the negative, without a search that may not end.
    pairs = [(user, item) for user in range(6) for item in range(6) if user != item]
    data = graph_of(pairs, 6, 6)
    drawn = negatives_of(TripletSampler(data, 3), torch.arange(len(pairs)), 0)
    assert torch.equal(drawn, data[RATES].edge_index[0][:, None].expand(-1, 3))


def test_negatives_are_a_function_of_seed_epoch_and_interaction():
    data = random_graph()
    one, other = TripletSampler(data, seed=1), TripletSampler(data, seed=1)
    interaction = torch.arange(data[RATES].edge_index.size(1))
    drawn = negatives_of(one, interaction, 4)
    negatives_of(other, interaction, 3)
    assert torch.equal(negatives_of(other, interaction.flip(0), 4).flip(0), drawn)
    assert torch.equal(negatives_of(other, interaction[5:9], 4), drawn[5:9])
    assert not torch.equal(negatives_of(other, interaction, 5), drawn)
    assert not torch.equal(negatives_of(TripletSampler(data, seed=2), interaction, 4), drawn)


@pytest.mark.parametrize("num_negatives", [1, 3])
def test_negatives_of_a_whole_epoch_are_those_of_its_parts(num_negatives, monkeypatch):
    sampler = TripletSampler(random_graph(), num_negatives)
    parts = torch.tensor([5, 2, 2, 7]), torch.tensor([0, 6])

    def draw(seed):
        sampler.seed = seed
        return [negatives_of(sampler, part, epoch) for epoch in (0, 1, 0) for part in parts]

    at_once = draw(0) + draw(9)
    monkeypatch.setattr(triplet_sampler, "DRAWN_AT_ONCE", 0)
    for ours, expected in zip(at_once, draw(0) + draw(9), strict=True):
        assert torch.equal(ours, expected)
    assert not all(torch.equal(a, b) for a, b in zip(at_once[:6], at_once[6:], strict=True))


def test_batches_draw_neighbors_apart():
    sampler = TripletSampler(random_graph(), num_neighbors=[2])
    edges = [
        sampler.sample(torch.arange(50), epoch, batch).edge[RATES].tolist()
        for epoch, batch in [(0, 0), (0, 1), (1, 0), (0, 0)]
    ]
    assert edges[0] == edges[3]
    assert len(set(map(tuple, edges))) == 3


def test_torch_generator_is_left_alone():
    sampler = TripletSampler(random_graph(), num_neighbors=[2])
    state = torch.get_rng_state()
    sampler.sample(torch.arange(9), 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_sampler_of_neighborhoods_follows_the_extensions(monkeypatch):
    data = random_graph()
    kind = PyGNeighborhood if PyGNeighborhood.is_available() else TorchNeighborhood
    assert isinstance(TripletSampler(data, num_neighbors=[2]).neighborhood, kind)
    monkeypatch.setattr(torch_geometric.typing, "WITH_PYG_LIB", False)
    monkeypatch.setattr(torch_geometric.typing, "WITH_TORCH_SPARSE", False)
    assert isinstance(TripletSampler(data, num_neighbors=[2]).neighborhood, TorchNeighborhood)
    assert TripletSampler(data).neighborhood is None


@pytest.mark.parametrize("num_negatives", [1, 3])
@pytest.mark.parametrize("num_neighbors", [None, [3, 3]])
def test_in_a_loader_of_pyg(num_neighbors, num_negatives):
    data = random_graph()
    data["item"].x = torch.randn(30, 4)
    pairs = pairs_of(data)
    loader = LinkNeighborLoader(
        data,
        num_neighbors=[],
        edge_label_index=(RATES, data[RATES].edge_index),
        neg_sampling=NegativeSampling("triplet", num_negatives),
        neighbor_sampler=TripletSampler(data, num_neighbors=num_neighbors),
        batch_size=64,
        shuffle=True,
    )
    epochs = []
    for _ in range(2):
        seen, negatives = [], []
        for batch in loader:
            user, pos, neg = triplets_of(batch)
            assert neg.shape == (user.shape if num_negatives == 1 else (user.numel(), 3))
            assert torch.equal(batch["item"].x, data["item"].x[batch["item"].n_id])
            seen += zip(user.tolist(), pos.tolist(), strict=True)
            negatives += neg.flatten().tolist()
            for u, items in zip(user.tolist(), neg.view(user.numel(), -1).tolist(), strict=True):
                assert not any((u, item) in pairs for item in items)
        assert sorted(seen) == sorted(pairs)
        epochs.append(negatives)
    assert epochs[0] != epochs[1]


def test_in_a_node_loader_of_pyg():
    data = random_graph()
    loader = NeighborLoader(
        data,
        num_neighbors=[],
        input_nodes="user",
        neighbor_sampler=TripletSampler(data, num_neighbors=[-1]),
        batch_size=7,
        shuffle=True,
    )
    seen = []
    for batch in loader:
        users = batch["user"].n_id[: batch["user"].batch_size]
        seen += users.tolist()
        item, user = batch["item", "rated_by", "user"].edge_index
        pairs = zip(users[user].tolist(), batch["item"].n_id[item].tolist(), strict=True)
        expected = {pair for pair in pairs_of(data) if pair[0] in users}
        assert set(pairs) == expected
    assert sorted(seen) == list(range(40))


@pytest.mark.parametrize(
    "neg_sampling",
    [None, NegativeSampling("binary"), NegativeSampling("triplet", dst_weight=torch.ones(30))],
)
def test_only_uniform_triplets(neg_sampling):
    index = EdgeSamplerInput(torch.tensor([0]), torch.tensor([0]), torch.tensor([0]), None, None)
    with pytest.raises(ValueError, match="'neg_sampling' must be 'triplet'"):
        TripletSampler(random_graph()).sample_from_edges(index, neg_sampling)


def test_nodes_need_neighbors():
    data = random_graph()
    index = NodeSamplerInput(None, torch.tensor([1, 1]), None, "user")
    with pytest.raises(ValueError, match="'num_neighbors' of TripletSampler must be set"):
        TripletSampler(data).sample_from_nodes(index)
    with pytest.raises(ValueError, match="must be distinct, got 2 of which 1 are"):
        TripletSampler(data, num_neighbors=[2]).sample_from_nodes(index)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_negatives": 0}, ValueError, "'num_negatives'.*at least 1"),
        ({"num_negatives": 1.5}, TypeError, "'num_negatives'.*whole number"),
        ({"num_neighbors": 3}, TypeError, "'num_neighbors'"),
        ({"seed": None}, TypeError, "'seed'"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        TripletSampler(random_graph(), **arguments)
