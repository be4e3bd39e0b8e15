"""Small graphs for the tests of the loader."""

import numpy as np
import torch
from torch_geometric.data import HeteroData


def graph_of(pairs: list[tuple[int, int]], num_users: int, num_items: int) -> HeteroData:
    """The graph of the given interactions, in the given order."""
    data = HeteroData()
    data["user"].num_nodes = num_users
    data["item"].num_nodes = num_items
    edge_index = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).t().contiguous()
    data["user", "rates", "item"].edge_index = edge_index
    data["item", "rated_by", "user"].edge_index = edge_index.flip(0)
    return data


def random_graph(num_users: int = 40, num_items: int = 30, seed: int = 0) -> HeteroData:
    """Users with very different numbers of items; the last user has none, as has the last item."""
    rng = np.random.default_rng(seed)
    pairs = []
    for user in range(num_users - 1):
        size = int(rng.integers(1, num_items))
        pairs += [(user, int(i)) for i in rng.choice(num_items - 1, size=size, replace=False)]
    return graph_of(sorted(pairs), num_users, num_items)


def pairs_of(data: HeteroData) -> set[tuple[int, int]]:
    """The interactions of a graph."""
    return set(map(tuple, data["user", "rates", "item"].edge_index.t().tolist()))


def triplets_of(batch: HeteroData) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Users, their items and the negatives of a batch, by their ids in the whole graph."""
    user, item = batch["user"], batch["item"]
    return (user.n_id[user.src_index], item.n_id[item.dst_pos_index], item.n_id[item.dst_neg_index])


def epoch_of(loader) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The triplets of the loader's next epoch."""
    users, pos, neg = zip(*[triplets_of(batch) for batch in loader], strict=True)
    return torch.cat(users), torch.cat(pos), torch.cat(neg)


def assert_same_epoch(one, other) -> None:
    """Compares two lists of tensors entry by entry."""
    for x, y in zip(one, other, strict=True):
        assert torch.equal(x, y)
