import pytest
import torch

from irllrec_pyg.nn import AdaptiveConv, InteractionGraph
from irllrec_pyg.nn.subgraph import Subgraph

EDGES = torch.tensor([[0, 0, 1, 2, 2, 2], [0, 3, 1, 0, 1, 2]])


def naive(x, hidden, edge_index):
    """One node and one neighbour at a time."""
    rows = []
    for node in range(len(x)):
        neighbours = edge_index[0][edge_index[1] == node].tolist()
        a = [(torch.cosine_similarity(hidden[node], hidden[j], dim=0) + 1) / 2 for j in neighbours]
        rows.append(
            sum(w * x[j] for w, j in zip(a, neighbours, strict=True)) / sum(a)
            if neighbours
            else 0 * x[node]
        )
    return torch.stack(rows)


def subgraph():
    edge_index = torch.tensor([[4, 5, 0, 6, 1], [0, 0, 4, 1, 5]])
    return Subgraph(edge_index, torch.ones(5), 4, 4, torch.arange(8))


@pytest.mark.parametrize(
    "graph", [InteractionGraph(EDGES, 4, 4), subgraph()], ids=["whole", "sampled"]
)
@pytest.mark.parametrize("fused", [True, False])
def test_equals_a_loop_with_its_gradients(graph, fused):
    generator = torch.Generator().manual_seed(0)
    x, hidden, weight = (
        torch.randn(8, 3, dtype=torch.float64, generator=generator) for _ in range(3)
    )
    inputs = x.requires_grad_(), hidden.requires_grad_()
    out = AdaptiveConv()(x, hidden, graph if fused else graph.edge_index)
    expected = naive(x, hidden, graph.edge_index)
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-7)
    for a, b in zip(
        torch.autograd.grad((out * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_node_without_neighbours_is_zero():
    out = AdaptiveConv()(torch.ones(8, 3), torch.randn(8, 3), InteractionGraph(EDGES, 4, 4))
    assert out[3].tolist() == [0, 0, 0]
    torch.testing.assert_close(out[:3], torch.ones(3, 3))  # weights of a row sum to one


def test_bfloat16():
    graph = InteractionGraph(EDGES, 4, 4)
    x, hidden = torch.randn(8, 3), torch.randn(8, 3)
    out = AdaptiveConv()(x.bfloat16(), hidden, graph)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), AdaptiveConv()(x, hidden, graph), rtol=2e-2, atol=2e-2)
