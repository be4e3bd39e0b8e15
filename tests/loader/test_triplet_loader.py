import copy
import pickle

import numpy as np
import pytest
import torch
import torch_geometric.typing
from scipy import stats
from torch.utils.data import BatchSampler
from torch_geometric.loader import LinkNeighborLoader

from irllrec_pyg.loader import triplet_loader
from irllrec_pyg.loader.neighborhood import PyGNeighborhood, TorchNeighborhood
from tests.conftest import shared_path
from tests.loader.graphs import (
    assert_same_epoch,
    epoch_of,
    graph_of,
    pairs_of,
    random_graph,
    triplets_of,
)

RATES = ("user", "rates", "item")
RATED_BY = ("item", "rated_by", "user")


def test_a_batch_of_triplets():
    data = random_graph()
    data["user"].x = data["user"].intent = torch.randn(40, 3)
    loader = triplet_loader(data, batch_size=16, num_negatives=2)
    assert isinstance(loader, LinkNeighborLoader)
    batch = next(iter(loader))
    assert set(batch["user"].keys()) == {"n_id", "num_nodes", "src_index", "src_count"}
    parts = {
        f"dst_{side}_{part}" for side in ("pos", "neg") for part in ("index", "count", "unique")
    }
    assert set(batch["item"].keys()) == {"n_id", "num_nodes", *parts}
    assert batch.edge_types == [RATES]
    assert set(batch[RATES].keys()) == {"input_id"}

    user, pos, neg = triplets_of(batch)
    assert torch.equal(torch.stack([user, pos]), data[RATES].edge_index[:, batch[RATES].input_id])
    assert batch["user"].n_id.tolist() == sorted(set(user.tolist()))
    assert batch["item"].n_id.tolist() == sorted({*pos.tolist(), *neg.flatten().tolist()})
    assert neg.shape == (16, 2)
    assert batch["user"].num_nodes == batch["user"].n_id.numel()
    assert batch["item"].num_nodes == batch["item"].n_id.numel()
    assert triplets_of(next(iter(triplet_loader(data, batch_size=16))))[2].shape == (16,)


@pytest.mark.parametrize("num_negatives", [1, 3])
@pytest.mark.parametrize("num_neighbors", [None, [3, 2]])
def test_a_batch_knows_its_distinct_nodes(num_neighbors, num_negatives):
    loader = triplet_loader(
        random_graph(), 64, num_negatives=num_negatives, num_neighbors=num_neighbors
    )
    for batch in loader:
        user, item = batch["user"], batch["item"]
        users, pos, neg = (ids.flatten().tolist() for ids in triplets_of(batch))
        seeds = user.n_id[: user.src_count.numel()].tolist()
        assert seeds == sorted(set(users))
        assert user.src_count.tolist() == [users.count(node) for node in seeds]
        seeds = item.n_id[: item.dst_pos_count.numel()].tolist()
        assert seeds == sorted({*pos, *neg})
        assert item.dst_pos_count.tolist() == [pos.count(node) for node in seeds]
        assert item.dst_neg_count.tolist() == [neg.count(node) for node in seeds]
        assert item.n_id[item.dst_pos_unique].tolist() == sorted(set(pos))
        assert item.n_id[item.dst_neg_unique].tolist() == sorted(set(neg))


def test_it_is_a_loader_of_pyg_alone():
    assert triplet_loader.__mro__[1:] == LinkNeighborLoader.__mro__
    loader = triplet_loader(random_graph(), 32)
    epoch, _, interaction = loader.dataset[4, 1]
    assert epoch == 4
    assert interaction.dtype == torch.long
    assert interaction.shape == (32,)


@pytest.mark.parametrize("num_negatives", [1, 3])
@pytest.mark.parametrize("num_neighbors", [None, [3, 2]])
def test_ten_epochs_against_naive_loop(num_neighbors, num_negatives):
    data = random_graph()
    pairs = pairs_of(data)
    loader = triplet_loader(
        data, batch_size=50, num_negatives=num_negatives, num_neighbors=num_neighbors
    )
    assert len(loader) == len(list(loader)) == -(-len(pairs) // 50)
    epochs = set()
    for _ in range(10):
        user, pos, neg = epoch_of(loader)
        assert sorted(zip(user.tolist(), pos.tolist(), strict=True)) == sorted(pairs)
        for u, items in zip(user.tolist(), neg.view(user.numel(), -1).tolist(), strict=True):
            assert not any((u, item) in pairs for item in items)
            assert all(0 <= item < 30 for item in items)
        epochs |= {tuple(user.tolist()), tuple(neg.flatten().tolist())}
    assert len(epochs) == 20  # Order and negatives of each epoch are its own.


def test_ten_epochs_of_the_movie_matrix():
    with (shared_path("data/movie") / "trn_mat.pkl").open("rb") as file:
        matrix = pickle.load(file).tocsr().tocoo()
    num_users, num_items = matrix.shape
    seen = np.zeros(matrix.shape, dtype=bool)
    seen[matrix.row, matrix.col] = True
    data = graph_of([(0, 0)], num_users, num_items)
    data[RATES].edge_index = torch.from_numpy(np.stack([matrix.row, matrix.col])).long()

    loader = triplet_loader(data, seed=2023)
    pairs = np.sort(matrix.row.astype(np.int64) * num_items + matrix.col)
    # How often each item is expected: once over the number of a user's others, for each triplet.
    degree = np.bincount(matrix.row, minlength=num_users)
    share = degree / (num_items - degree)
    expected = share.sum() - np.bincount(matrix.col, share[matrix.row], minlength=num_items)
    count = np.zeros(num_items)
    for _ in range(10):
        user, pos, neg = epoch_of(loader)
        assert np.array_equal(np.sort((user * num_items + pos).numpy()), pairs)
        assert not seen[user, neg].any()
        count += np.bincount(neg, minlength=num_items)
    assert stats.chisquare(count, 10 * expected).pvalue > 1e-3


def test_epochs_are_a_function_of_seed_and_epoch():
    data = random_graph()
    one, other = triplet_loader(data, 32, seed=1), triplet_loader(data, 32, seed=1)
    first, second = epoch_of(one), epoch_of(one)
    torch.manual_seed(3)
    other.set_epoch(1)
    assert_same_epoch(epoch_of(other), second)
    assert not torch.equal(epoch_of(other)[0], second[0])  # The epoch after it.
    other.set_epoch(0)
    assert_same_epoch(epoch_of(other), first)
    assert not torch.equal(epoch_of(triplet_loader(data, 32, seed=2))[0], first[0])


def test_an_epoch_belongs_to_its_iterator():
    data = random_graph()
    loader, alone = triplet_loader(data, 32), triplet_loader(data, 32)
    iterators = [iter(loader), iter(loader)]
    loader.set_epoch(9)
    assert_same_epoch(epoch_of(iterators[1]), (epoch_of(alone), epoch_of(alone))[1])
    alone.set_epoch(0)
    assert_same_epoch(epoch_of(iterators[0]), epoch_of(alone))


def test_order_of_the_graph():
    data = random_graph()
    loader = triplet_loader(data, 32, shuffle=False)
    one, other = epoch_of(loader), epoch_of(loader)
    for user, pos, _ in (one, other):
        assert torch.equal(torch.stack([user, pos]), data[RATES].edge_index)
    assert not torch.equal(one[2], other[2])


def test_drop_last():
    data = random_graph()
    num = data[RATES].edge_index.size(1)
    loader = triplet_loader(data, 64, drop_last=True)
    assert num % 64 != 0
    assert len(loader) == num // 64
    assert {triplets_of(batch)[0].numel() for batch in loader} == {64}


def test_features_stay_at_home():
    data = random_graph()
    small = len(pickle.dumps(triplet_loader(data)))
    data["item"].x = torch.randn(30, 5000)
    assert len(pickle.dumps(triplet_loader(data))) == small


def test_ranks_share_an_epoch():
    data = random_graph()
    loaders = [triplet_loader(data, 32, rank=rank, world_size=3) for rank in range(3)]
    epochs = [epoch_of(loader) for loader in loaders]
    assert len({len(loader) for loader in loaders}) == 1
    assert len({user.numel() for user, _, _ in epochs}) == 1
    pairs = set()
    for user, pos, _ in epochs:
        pairs |= set(zip(user.tolist(), pos.tolist(), strict=True))
    assert pairs == pairs_of(data)


@pytest.mark.parametrize("with_extension", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_all_neighbors_give_the_embeddings_of_the_whole_graph(
    num_layers, with_extension, monkeypatch
):
    if not with_extension:
        monkeypatch.setattr(torch_geometric.typing, "WITH_PYG_LIB", False)
        monkeypatch.setattr(torch_geometric.typing, "WITH_TORCH_SPARSE", False)
    elif not PyGNeighborhood.is_available():
        pytest.skip("needs pyg-lib or torch-sparse")
    data = random_graph(num_users=120, num_items=100)
    edge_index = data[RATES].edge_index
    keep = torch.rand(edge_index.size(1), generator=torch.Generator().manual_seed(0)) < 0.06
    data = graph_of(edge_index[:, keep].t().tolist(), 120, 100)

    # The whole graph, dense.
    rates = torch.zeros(120, 100, dtype=torch.double)
    rates[tuple(data[RATES].edge_index)] = 1
    scale = rates.sum(1, keepdim=True).clamp(min=1) * rates.sum(0, keepdim=True).clamp(min=1)
    rates = rates / scale.sqrt()
    generator = torch.Generator().manual_seed(1)
    x_user = torch.randn(120, 5, dtype=torch.double, generator=generator)
    x_item = torch.randn(100, 5, dtype=torch.double, generator=generator)
    whole_user, whole_item = x_user, x_item
    for _ in range(num_layers):
        whole_user, whole_item = rates @ whole_item, rates.t() @ whole_user

    loader = triplet_loader(data, 4, num_neighbors=[-1] * num_layers)
    kind = PyGNeighborhood if with_extension else TorchNeighborhood
    assert isinstance(loader.link_sampler.neighborhood, kind)
    sizes = []
    for batch in loader:
        # The batch, edge by edge.
        user, item = x_user[batch["user"].n_id], x_item[batch["item"].n_id]
        for _ in range(num_layers):
            new_user, new_item = torch.zeros_like(user), torch.zeros_like(item)
            for (i, u), w in zip(
                batch[RATED_BY].edge_index.t().tolist(), batch[RATED_BY].edge_weight, strict=True
            ):
                new_user[u] += w * item[i]
            for (u, i), w in zip(
                batch[RATES].edge_index.t().tolist(), batch[RATES].edge_weight, strict=True
            ):
                new_item[i] += w * user[u]
            user, item = new_user, new_item
        seed_user = batch["user"].src_index
        seed_item = torch.cat([batch["item"].dst_pos_index, batch["item"].dst_neg_index])
        ids = batch["user"].n_id[seed_user], batch["item"].n_id[seed_item]
        assert torch.allclose(user[seed_user], whole_user[ids[0]], atol=1e-6)
        assert torch.allclose(item[seed_item], whole_item[ids[1]], atol=1e-6)
        for node_type in ("user", "item"):
            node = batch[node_type].n_id
            assert node.unique().numel() == node.numel() == batch[node_type].num_nodes
        sizes.append(batch["user"].num_nodes)
    assert min(sizes) < 120  # Else the batches were the whole graph anyway.


# Torch warns where there is no accelerator to pin memory for.
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")
def test_batches_can_be_transformed_and_pinned():
    data = random_graph()
    loader = triplet_loader(data, 32, transform=lambda batch: triplets_of(batch)[0])
    assert torch.equal(next(iter(loader)), epoch_of(triplet_loader(data, 32))[0][:32])

    loader = triplet_loader(data, 32, pin_memory=True)
    assert loader.pin_memory
    assert_same_epoch(epoch_of(loader), epoch_of(triplet_loader(data, 32)))


def test_call_samples_given_interactions():
    data = random_graph()
    loader = triplet_loader(data, 32)
    for index in ([3, 8, 5], torch.tensor([3, 8, 5])):
        user, pos, neg = triplets_of(loader(index))
        assert torch.equal(torch.stack([user, pos]), data[RATES].edge_index[:, [3, 8, 5]])
        assert not set(zip(user.tolist(), neg.tolist(), strict=True)) & pairs_of(data)


def test_a_user_with_every_item():
    pairs = [(0, 0), (1, 0), (1, 1), (1, 2)]
    with pytest.raises(ValueError, match="User 1 has a training interaction with every one of"):
        triplet_loader(graph_of(pairs, num_users=3, num_items=3))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "'batch_size'"),
        ({"batch_size": None}, ValueError, "'batch_size'"),
        ({"num_negatives": -1}, ValueError, "'num_negatives'"),
        ({"num_neighbors": []}, ValueError, "'num_neighbors'"),
        ({"rank": 1}, ValueError, "'rank'"),
        ({"batch_size": 10_000, "drop_last": True}, ValueError, "'drop_last'"),
        ({"neg_sampling": "binary"}, ValueError, "does not take 'neg_sampling'"),
        (
            {"sampler": BatchSampler(range(3), 1, False)},
            ValueError,
            "'sampler' must be one .* got BatchSampler",
        ),
        ({"nonsense": 1}, TypeError, "nonsense"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        triplet_loader(random_graph(), **arguments)


def test_a_copy_goes_on_like_the_original():
    loader = triplet_loader(random_graph(), 32)
    epoch_of(loader)
    assert_same_epoch(epoch_of(copy.deepcopy(loader)), epoch_of(loader))


@pytest.mark.cuda
@pytest.mark.parametrize("num_neighbors", [None, [3, 2]])
def test_cuda_makes_the_batches_of_the_cpu(num_neighbors, monkeypatch):
    monkeypatch.setattr(torch_geometric.typing, "WITH_PYG_LIB", False)
    monkeypatch.setattr(torch_geometric.typing, "WITH_TORCH_SPARSE", False)
    data = random_graph()
    settings = {"batch_size": 100, "num_negatives": 2, "num_neighbors": num_neighbors}
    on_cpu = triplet_loader(data, **settings)
    for on_cuda in (
        triplet_loader(data, **settings, device="cuda"),
        triplet_loader(data.clone().to("cuda"), **settings),
    ):
        on_cpu.set_epoch(0)
        for one, other in zip(on_cpu, on_cuda, strict=True):
            assert other["item"].n_id.is_cuda
            assert_same_epoch(triplets_of(one), [part.cpu() for part in triplets_of(other)])
            assert torch.equal(one["item"].n_id, other["item"].n_id.cpu())
    for argument in ({"num_workers": 1}, {"pin_memory": True}):
        with pytest.raises(ValueError, match=next(iter(argument))):
            triplet_loader(data, device="cuda", **argument)
