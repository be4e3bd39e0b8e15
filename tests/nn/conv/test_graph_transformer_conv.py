import pytest
import torch

from irllrec_pyg.nn import GraphTransformerConv, InteractionGraph
from tests.nn.conv.test_adaptive_conv import EDGES, subgraph


def naive(conv, x, edge_index):
    """One node, one head and one neighbour at a time."""
    width = x.size(1) // conv.heads
    q, k, v = conv.query(x), conv.key(x), conv.value(x)
    rows = []
    for node in range(len(x)):
        neighbours, parts = edge_index[0][edge_index[1] == node].tolist(), []
        for head in range(conv.heads):
            own = slice(head * width, (head + 1) * width)
            a = [(q[node, own] @ k[j, own]).clamp(-10, 10).exp() for j in neighbours]
            parts.append(
                sum(w * v[j, own] for w, j in zip(a, neighbours, strict=True)) / sum(a)
                if neighbours
                else 0 * v[node, own]
            )
        rows.append(torch.cat(parts))
    return torch.stack(rows)


@pytest.mark.parametrize("size", [1.0, 6.0], ids=["small", "cut off"])
@pytest.mark.parametrize(
    "graph", [InteractionGraph(EDGES, 4, 4), subgraph()], ids=["whole", "sampled"]
)
@pytest.mark.parametrize("fused", [True, False])
def test_equals_a_loop_with_its_gradients(graph, fused, size):
    torch.manual_seed(0)
    conv = GraphTransformerConv(6, heads=2).double()
    x = (size * torch.randn(8, 6, dtype=torch.float64)).requires_grad_()
    weight = torch.randn(8, 6, dtype=torch.float64)
    out = conv(x, graph if fused else graph.edge_index)
    expected = naive(conv, x, graph.edge_index)
    torch.testing.assert_close(out, expected)
    inputs = x, conv.query.weight, conv.key.weight, conv.value.weight
    for a, b in zip(
        torch.autograd.grad((out * weight).sum(), inputs),
        torch.autograd.grad((expected * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    scores = (conv.query(x) @ conv.key(x).t()).abs().max()
    assert (scores > 10) == (size > 1)


def test_narrow_inputs_and_autocast():
    graph, x = InteractionGraph(EDGES, 4, 4), torch.randn(8, 8)
    conv = GraphTransformerConv(8)
    exact = conv(x, graph)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(conv(x, graph), exact, rtol=5e-2, atol=5e-2)
    narrow = conv.bfloat16()(x.bfloat16(), graph)
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.float(), exact, rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize("heads", [0, 3])
def test_heads_must_divide_the_width(heads):
    with pytest.raises(ValueError, match="multiple of 'heads'"):
        GraphTransformerConv(8, heads)
