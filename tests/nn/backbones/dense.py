"""Backbones written down once more with dense matrices, for graphs that anyone can look over."""

import torch

USER = torch.tensor([0, 3, 3, 7, 11, 0])
POS = torch.tensor([1, 2, 2, 8, 0, 1])
NEG = torch.tensor([5, 5, 6, 0, 3, 4])
USERS, ITEMS = 12, 9


def ones(graph):
    """The adjacency matrix of a graph."""
    out = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.float64)
    for source, target in graph.edge_index.t().tolist():
        out[target, source] = 1.0
    return out


def normalized(matrix):
    """D^-1/2 A D^-1/2, where empty rows stay empty."""
    degree = matrix.sum(1)
    scale = torch.where(degree > 0, degree.clamp(min=1e-12).rsqrt(), 0.0)
    return scale.view(-1, 1) * matrix * scale


def values(adjacency):
    """An ``Adjacency`` as a dense matrix."""
    out = torch.zeros(adjacency.num_nodes, adjacency.num_nodes, dtype=adjacency.value.dtype)
    row = torch.arange(adjacency.num_nodes).repeat_interleave(adjacency.rowptr.diff())
    out[row, adjacency.col] = adjacency.value
    return out


def lightgcn(x, matrices):
    """Layers of a propagation."""
    layers = [x]
    for matrix in matrices:
        layers.append(matrix @ layers[-1])
    return layers


def cosines(x, y):
    """All cosines, guarded as in the published code."""
    x, y = (v / (v.square().sum(1, keepdim=True) + 1e-8).sqrt() for v in (x, y))
    return x @ y.t()


def nce(query, positive, candidates, tau):
    """Sum over the queries."""
    return (cosines(query, candidates) / tau).logsumexp(1).sum() - (
        cosines(query, positive).diagonal() / tau
    ).sum()


def ssl(query, positive, tau):
    """Mean over the queries, with both guards."""
    similarity = (cosines(query, positive) / tau).exp()
    return -(similarity.diagonal() / (similarity.sum(1) + 1e-8) + 1e-8).log().mean()


def bpr(e):
    """The ranking loss of the triplets above."""
    user, pos, neg = e[USER], e[USERS + POS], e[USERS + NEG]
    return torch.nn.functional.softplus((user * neg).sum(1) - (user * pos).sum(1)).mean()


def contrast(first, second, tau, negatives):
    """SGL's and SimGCL's contrast of two views."""
    total = nce(first[USER], second[USER], second[:USERS], tau)
    for items in (POS, NEG) if negatives else (POS,):
        total = total + nce(first[USERS + items], second[USERS + items], second[USERS:], tau)
    return total / len(USER)


def intents(x, prototypes):
    """Soft assignments of users and of items to their prototypes."""
    return torch.cat(
        [
            torch.softmax(part @ c, 1) @ c.t()
            for part, c in ((x[:USERS], prototypes.user), (x[USERS:], prototypes.item))
        ]
    )


def adaptive(matrix, x, hidden):
    """Averages of neighbours weighted by similarity."""
    weight = matrix * (cosines(hidden, hidden) + 1) / 2
    return weight / weight.sum(1, keepdim=True).clamp(min=1e-12) @ x


def same(ours, expected, parameters):
    """Compares values and gradients."""
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-8)
    for a, b in zip(
        torch.autograd.grad(ours, parameters, retain_graph=True),
        torch.autograd.grad(expected, parameters, retain_graph=True),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)
