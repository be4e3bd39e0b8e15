"""AutoCF's choice of what to hide: which nodes, which edges, and what stands in their place."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..conv import spmm
from ..graph import Adjacency, InteractionGraph
from ..subgraph import Subgraph


def local_global_scores(graph: InteractionGraph, x: Tensor) -> Tensor:
    r"""How much a node has in common with its neighbourhood.

    With :math:`\mathbf{A}` all ones and the degrees :math:`n_1 = \mathbf{A} \mathbf{1}`,

    .. math::
        f = \mathbf{A} \mathbf{E} - \mathbf{E}, \qquad
        s = \mathbf{A} f - f - n_1 \odot \mathbf{E}, \qquad
        n_2 = \mathbf{A} n_1 - 2 n_1

    .. math::
        \mathrm{score} = \log \sigma \Big( \cos \Big( \frac{f + s}{n_1 + n_2 + 10^{-8}},
        \mathbf{E} \Big) \Big)

    Args:
        graph (InteractionGraph): The graph.
        x (Tensor): :math:`E`, shape :math:`(N, d)`.

    Returns:
        Tensor of shape :math:`(N,)`.
    """
    adjacency = graph.matrix(x.new_ones(graph.num_edges))
    first_count = graph.degree.to(x.dtype).view(-1, 1)
    first = spmm(adjacency, x) - x
    second = spmm(adjacency, first) - first - first_count * x
    second_count = spmm(adjacency, first_count) - 2 * first_count
    around = (first + second) / (first_count + second_count + 1e-8)
    return F.logsigmoid(F.cosine_similarity(around, x))


def gumbel(scores: Tensor) -> Tensor:
    r"""Adds Gumbel noise :math:`-\log(-\log u)`: the best :math:`k` become a random sample
    without replacement.
    """
    return scores - torch.empty_like(scores).exponential_().log()


def mask_edges(graph: InteractionGraph, seeds: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    """Removes the edges of the seeds, then those of the nodes at their other ends, and so on.

    Args:
        graph (InteractionGraph): The graph.
        seeds (Tensor): Nodes, shape :math:`(S,)`.
        depth (int): How many hops of edges go.

    Returns:
        A mask over the entries of the graph that stay, shape :math:`(M,)`, and a mask over the
        nodes whose edges went, shape :math:`(N,)`.
    """
    keep = torch.ones(graph.num_edges, dtype=torch.bool, device=graph.col.device)
    masked = torch.zeros(graph.num_nodes, dtype=torch.bool, device=graph.col.device)
    front = masked.clone()
    front[seeds] = True
    for _ in range(depth):
        masked |= front
        hit = keep & (front[graph.row] | front[graph.col])
        keep &= ~hit
        front = torch.zeros_like(front)
        front[graph.row[hit]] = True
        front[graph.col[hit]] = True
    return keep, masked


def without(graph: InteractionGraph, keep: Tensor, dtype: torch.dtype) -> Adjacency:
    r"""The normalised adjacency of the entries that stay, on the structure of all.

    Args:
        graph (InteractionGraph): The graph.
        keep (Tensor): Mask over its entries, shape :math:`(M,)`.
        dtype (torch.dtype): Of the values.
    """
    degree = graph.degree.double()
    kept = torch.zeros_like(degree).index_add_(0, graph.row, keep.double())
    # The weights of a sampled graph know its nodes' degrees in the whole one; they grow as their
    # rows shrink. On the whole graph these are the values 1 / sqrt(kept degrees).
    growth = torch.where(kept > 0, degree / kept.clamp(min=1), 1.0).sqrt()
    value = graph.normalized(torch.float64) * growth[graph.row] * growth[graph.col] * keep
    return graph.matrix(value.to(dtype))


def reconnect(graph: InteractionGraph, keep: Tensor, nodes: Tensor) -> Subgraph:
    """The graph of the decoder: what was kept, loops, and random pairs of the given nodes.

    As many pairs are drawn as the graph has entries; each counts in both directions, and none
    twice.

    Args:
        graph (InteractionGraph): The graph.
        keep (Tensor): Mask over its entries, shape :math:`(M,)`.
        nodes (Tensor): Node ids, shape :math:`(K,)`.
    """
    draws = torch.randint(nodes.numel(), (2, graph.num_edges), device=nodes.device)
    first, second = nodes[draws]
    loop = torch.arange(graph.num_nodes, device=nodes.device)
    key = torch.cat([graph.row[keep], first, second, loop]) * graph.num_nodes
    key = (key + torch.cat([graph.col[keep], second, first, loop])).unique()
    target, source = key // graph.num_nodes, key % graph.num_nodes
    return Subgraph(
        torch.stack([source, target]),
        key.new_ones(key.numel()),
        graph.num_users,
        graph.num_items,
        loop,
    )
