from itertools import permutations

import pytest
import torch

from irllrec_pyg.nn import InteractionGraph
from irllrec_pyg.nn.backbones.masking import (
    gumbel,
    local_global_scores,
    mask_edges,
    reconnect,
    without,
)

from . import dense


@pytest.fixture
def graph():
    torch.manual_seed(1)
    edge_index = (torch.rand(20, 15) < 0.08).nonzero().t()
    return InteractionGraph(edge_index, 20, 15)


def test_scores_equal_a_loop_over_nodes(graph):
    x = torch.randn(35, 4, dtype=torch.float64, requires_grad=True)
    neighbours = [graph.edge_index[0][graph.edge_index[1] == node].tolist() for node in range(35)]

    def summed(values, node):
        return sum((values[j] for j in neighbours[node]), torch.zeros_like(values[node]))

    degree = torch.tensor([float(len(row)) for row in neighbours], dtype=torch.float64)
    first = torch.stack([summed(x, node) - x[node] for node in range(35)])
    expected = []
    for node in range(35):
        second = summed(first, node) - first[node] - degree[node] * x[node]
        count = degree[node] + summed(degree, node) - 2 * degree[node]
        around = (first[node] + second) / (count + 1e-8)
        cosine = torch.cosine_similarity(around, x[node], dim=0)
        expected.append(torch.log(torch.sigmoid(cosine)))
    expected = torch.stack(expected)
    scores = local_global_scores(graph, x)
    torch.testing.assert_close(scores, expected)
    torch.testing.assert_close(*(torch.autograd.grad(s.sum(), x) for s in (scores, expected)))


def test_the_best_perturbed_scores_are_a_sample_without_replacement():
    torch.manual_seed(0)
    scores = torch.tensor([0.0, -1.0, 1.5, 0.3])
    drawn = gumbel(scores.expand(40_000, 4)).topk(2).indices
    weight = scores.exp()
    for first, second in permutations(range(4), 2):  # draw one, then one of the rest
        share = weight[first] / weight.sum() * weight[second] / (weight.sum() - weight[first])
        found = ((drawn[:, 0] == first) & (drawn[:, 1] == second)).double().mean()
        assert abs(found - share) < 4 * (share * (1 - share) / 40_000) ** 0.5
    assert torch.isfinite(gumbel(torch.zeros(1_000_000))).all()


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_masking_equals_the_published_loop(graph, depth):
    seeds = torch.tensor([3, 22])
    edges = [tuple(edge) for edge in torch.stack([graph.row, graph.col], dim=1).tolist()]
    left, masked, front = list(edges), set(), seeds.tolist()
    for _ in range(depth):
        masked |= set(front)
        ends = set()
        for seed in front:  # one seed after the other
            ends |= {node for edge in left if seed in edge for node in edge}
            left = [edge for edge in left if seed not in edge]
        front = ends
    keep, nodes = mask_edges(graph, seeds, depth)
    assert [edge for edge, stays in zip(edges, keep.tolist(), strict=True) if stays] == left
    assert set(nodes.nonzero().view(-1).tolist()) == masked
    assert (len(left) < len(edges)) == (depth > 0)


def test_what_stays_is_normalised_again(graph):
    keep, _ = mask_edges(graph, torch.tensor([3, 22]), 2)
    matrix = torch.zeros(35, 35, dtype=torch.float64)
    matrix[graph.row[keep], graph.col[keep]] = 1.0
    adjacency = without(graph, keep, torch.float64)
    torch.testing.assert_close(dense.values(adjacency), dense.normalized(matrix))
    torch.testing.assert_close(dense.values(adjacency.T), dense.normalized(matrix).t())


def test_the_filled_up_graph(graph):
    keep, masked = mask_edges(graph, torch.tensor([3, 22]), 1)
    nodes = masked.clone()
    nodes[[0, 8, 30]] = True
    kept = {tuple(e) for e in torch.stack([graph.row, graph.col], dim=1)[keep].tolist()}
    loops = {(node, node) for node in range(35)}
    counts = []
    for seed in range(50):
        torch.manual_seed(seed)
        filled = reconnect(graph, keep, nodes.nonzero().view(-1))
        edges = [tuple(e) for e in torch.stack([filled.row, filled.col], dim=1).tolist()]
        assert len(set(edges)) == len(edges)  # none twice
        assert kept | loops <= set(edges)
        new = set(edges) - kept - loops
        assert all((b, a) in new or (b, a) in kept for a, b in new)
        assert all(nodes[a] and nodes[b] for a, b in new)
        counts.append(len(new))
    # As many unordered pairs as entries, uniform over K^2: distinct ones off the diagonal.
    size, draws = int(nodes.sum()), graph.num_edges
    inside = sum(bool(nodes[a] and nodes[b]) for a, b in kept)
    chance = 1 - (1 - 2 / size**2) ** draws
    expected = (size * (size - 1) - inside) * chance
    assert abs(sum(counts) / 50 - expected) < 0.05 * expected
