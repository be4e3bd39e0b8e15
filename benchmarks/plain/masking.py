"""AutoCF's masked graphs, one scan of all edges for each node whose edges go."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .ops import all_ones, normalized


def scores(edge_index: Tensor, x: Tensor) -> Tensor:
    """How much each node has in common with its two-hop neighbourhood, with Gumbel noise."""
    ones = all_ones(edge_index, x.size(0), x.dtype)
    count = torch.spmm(ones, torch.ones_like(x[:, :1]))
    first = torch.spmm(ones, x) - x
    second = torch.spmm(ones, first) - first - count * x
    second_count = torch.spmm(ones, count) - 2 * count
    around = (first + second) / (count + second_count + 1e-8)
    noise = -torch.log(-torch.log(torch.rand_like(x[:, 0])))
    return F.logsigmoid(F.cosine_similarity(around, x)) + noise


def draw_graphs(
    edge_index: Tensor, x: Tensor, settings: torch.nn.Module
) -> tuple[Tensor, Tensor, Tensor]:
    """A masked normalised matrix, the edges of the decoder's graph, and the infomax loss."""
    num_nodes, device = x.size(0), x.device
    noisy = scores(edge_index, x)
    front = noisy.topk(min(settings.num_seeds, num_nodes)).indices
    row, col = edge_index
    nodes = []
    for _ in range(settings.mask_depth):
        nodes.append(front)
        found = []
        for seed in front.tolist():
            hit = (row == seed) | (col == seed)
            found += [row[hit], col[hit]]
            row, col = row[~hit], col[~hit]
        front = torch.cat(found).unique()
    others = torch.randint(num_nodes, (int(settings.keep_rate * num_nodes),), device=device)
    nodes = torch.cat([*nodes, others]).unique()
    first, second = nodes[torch.randint(nodes.numel(), (2, edge_index.size(1)), device=device)]
    loop = torch.arange(num_nodes, device=device)
    key = torch.cat([row, first, second, loop]) * num_nodes + torch.cat([col, second, first, loop])
    key = key.unique()
    return (
        normalized(torch.stack([row, col]), num_nodes, x.dtype),
        torch.stack([key // num_nodes, key % num_nodes]),
        -noisy.mean(),
    )
