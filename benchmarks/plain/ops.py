"""Sparse products and contrastive sums, plainly."""

import torch
from torch import Tensor


def all_ones(edge_index: Tensor, num_nodes: int, dtype: torch.dtype) -> Tensor:
    """The matrix of ones at these entries (row over column), as COO."""
    value = torch.ones(edge_index.size(1), dtype=dtype, device=edge_index.device)
    return torch.sparse_coo_tensor(edge_index, value, (num_nodes, num_nodes)).coalesce()


def normalized(edge_index: Tensor, num_nodes: int, dtype: torch.dtype) -> Tensor:
    """The matrix with 1 / sqrt(degree of row * degree of column) at these entries, as COO."""
    row, col = edge_index
    scale = torch.bincount(row, minlength=num_nodes).double().rsqrt()
    value = (scale[row] * scale[col]).to(dtype)
    return torch.sparse_coo_tensor(edge_index, value, (num_nodes, num_nodes)).coalesce()


def drop_edges(adjacency: Tensor, keep_rate: float) -> Tensor:
    """A new matrix with some of the entries."""
    if keep_rate >= 1.0:
        return adjacency
    keep = torch.rand(adjacency.values().size(0), device=adjacency.device) < keep_rate
    return torch.sparse_coo_tensor(
        adjacency.indices()[:, keep], adjacency.values()[keep], adjacency.shape
    )


def propagate(x: Tensor, adjacencies: list[Tensor]) -> list[Tensor]:
    """The layers of repeated multiplication, the input first."""
    layers = [x]
    for adjacency in adjacencies:
        layers.append(torch.spmm(adjacency, layers[-1]))
    return layers


def unit(x: Tensor) -> Tensor:
    """Rows of length one."""
    return x / torch.sqrt(x.square().sum(-1, keepdim=True) + 1e-8)


def nce(x: Tensor, y: Tensor, candidates: Tensor, temperature: float) -> Tensor:
    """Sum over the rows of -cos(x, y) / t + log of the sum of exp(cos(x, candidates) / t)."""
    x, y, candidates = unit(x), unit(y), unit(candidates)
    own = (x * y / temperature).sum(-1)
    return (torch.exp(x @ candidates.T / temperature).sum(-1).log() - own).sum()


def ssl(x: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Mean of -log(exp(cos(x, y) / t) / (sum of exp(cos(x, all y) / t) + 1e-8) + 1e-8)."""
    x, y = unit(x), unit(y)
    own = torch.exp((x * y).sum(-1) / temperature)
    everything = torch.exp(x @ y.T / temperature).sum(-1)
    return -(own / (everything + 1e-8) + 1e-8).log().mean()


def adaptive(x: Tensor, hidden: Tensor, edge_index: Tensor) -> Tensor:
    """Averages of neighbours, weighted by (cosine + 1) / 2, through one gathered row an edge."""
    head, tail = edge_index
    weight = ((unit(hidden[head]) * unit(hidden[tail])).sum(-1) + 1) / 2
    total = torch.zeros_like(x[:, 0]).index_add(0, head, weight)
    weight = weight / total[head]
    return torch.zeros_like(x).index_add(0, head, weight.unsqueeze(1) * x[tail])


def attention(
    x: Tensor, edge_index: Tensor, query: Tensor, key: Tensor, value: Tensor, heads: int
) -> Tensor:
    """Multi-head attention over the edges, through gathered rows; weights are (out, in)."""
    head, tail = edge_index
    shape = (head.numel(), heads, -1)
    q = (x[head] @ query.T).view(shape)
    k, v = (x[tail] @ key.T).view(shape), (x[tail] @ value.T).view(shape)
    score = torch.exp((q * k).sum(-1).clamp(-10, 10))
    total = torch.zeros(x.size(0), heads, dtype=x.dtype, device=x.device)
    score = score / total.index_add(0, head, score)[head]
    return torch.zeros_like(x).index_add(0, head, (score.unsqueeze(-1) * v).flatten(1))
