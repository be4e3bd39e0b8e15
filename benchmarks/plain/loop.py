"""Negatives, batches and metrics in Python loops.

As in the published code, draws are NumPy's one at a time, masks are dense rows that become 64-bit
integers, and relevant items are lists: all that takes a good part of its time.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch_geometric.data import HeteroData

from irllrec_pyg.edges import EDGE_TYPE
from irllrec_pyg.nn import Recommender


class _Interactions(Dataset):
    def __init__(self, data: HeteroData) -> None:
        user, item = data[EDGE_TYPE].edge_index.cpu().numpy()
        self.user, self.item, self.negative = user, item, np.zeros_like(item)
        self.num_items = data["item"].num_nodes
        shape = data["user"].num_nodes, self.num_items
        self.seen = sp.coo_matrix((np.ones(len(user)), (user, item)), shape).todok()

    def draw(self) -> None:
        """One item that the user does not have, for each interaction."""
        for at, user in enumerate(self.user):
            while True:
                item = np.random.randint(self.num_items)  # noqa: NPY002 - as published
                if (user, item) not in self.seen:
                    break
            self.negative[at] = item

    def __len__(self) -> int:
        return len(self.user)

    def __getitem__(self, at: int) -> tuple[int, int, int]:
        return self.user[at], self.item[at], self.negative[at]


class _Users(Dataset):
    """Users and their training items as dense rows."""

    def __init__(self, users: list[int], seen: sp.csr_matrix) -> None:
        self.users, self.seen = users, seen

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, at: int) -> tuple[int, np.ndarray]:
        return self.users[at], self.seen[self.users[at]].toarray().reshape(-1)


class PlainLoader:
    """Yields user, positive and negative item of each batch of an epoch.

    Args:
        data (HeteroData): Data set.
        batch_size (int): Triplets in a batch.
    """

    def __init__(self, data: HeteroData, batch_size: int) -> None:
        self.interactions = _Interactions(data)
        self.loader = DataLoader(self.interactions, batch_size, shuffle=True)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[list[Tensor]]:
        self.interactions.draw()
        return iter(self.loader)


@torch.no_grad()
def evaluate(
    model: Recommender,
    nodes: Tensor,
    data: HeteroData,
    k: Sequence[int] = (5, 10, 20),
    block_size: int = 1024,
) -> dict[str, float]:
    """Recall and NDCG on the test interactions, over the users that have some.

    Args:
        model (Recommender): Says how many users and items there are.
        nodes (Tensor): Final embeddings, users first.
        data (HeteroData): Data set.
        k (sequence of int, optional): Lengths of the lists. (default: ``(5, 10, 20)``)
        block_size (int, optional): Users whose scores exist at once. (default: ``1024``)
    """
    shape = model.num_users, model.num_items
    user, item = data[EDGE_TYPE].edge_index.cpu().numpy()
    seen = sp.csr_matrix((np.ones(len(user)), (user, item)), shape)
    relevant: dict[int, list[int]] = {}
    for u, i in data[EDGE_TYPE].edge_label_index.t().tolist():
        relevant.setdefault(u, []).append(i)
    total = {f"{metric}@{top}": 0.0 for metric in ("recall", "ndcg") for top in k}
    rows = _Users(sorted(relevant), seen)
    for block, mask in DataLoader(rows, block_size):
        scores = nodes[block.to(nodes.device)] @ nodes[model.num_users :].T
        mask = mask.long().to(scores.device)
        scores = scores * (1 - mask) - 1e8 * mask
        for u, listed in zip(block.tolist(), scores.topk(max(k)).indices.tolist(), strict=True):
            for top in k:
                hits = [at for at, i in enumerate(listed[:top]) if i in relevant[u]]
                ideal = sum(1 / math.log2(at + 2) for at in range(min(top, len(relevant[u]))))
                total[f"recall@{top}"] += len(hits) / len(relevant[u])
                total[f"ndcg@{top}"] += sum(1 / math.log2(at + 2) for at in hits) / ideal
    return {name: value / len(relevant) for name, value in total.items()}
