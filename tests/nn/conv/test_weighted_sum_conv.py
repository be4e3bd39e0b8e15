import pytest
import torch
from torch_geometric.nn import LGConv

from irllrec_pyg.nn import InteractionGraph, WeightedSumConv
from irllrec_pyg.nn.conv import spmm, spmm_chain

EDGES = torch.tensor([[0, 0, 1, 2, 2, 2], [0, 3, 1, 0, 1, 2]])


def dense(adjacency):
    out = torch.zeros(adjacency.num_nodes, adjacency.num_nodes, dtype=adjacency.value.dtype)
    row = torch.arange(adjacency.num_nodes).repeat_interleave(adjacency.rowptr.diff())
    out[row, adjacency.col] = adjacency.value
    return out


@pytest.fixture
def graph():
    return InteractionGraph(EDGES, 4, 4)


def test_equals_lgconv(graph):
    x = torch.randn(8, 5)
    torch.testing.assert_close(
        WeightedSumConv()(x, graph.adjacency(torch.float32)), LGConv()(x, graph.edge_index)
    )


@pytest.mark.parametrize("keep_rate", [1.0, 0.5])
def test_gradient_under_edge_drop_equals_dense_autograd(graph, keep_rate):
    torch.manual_seed(3)
    adjacency = graph.drop_edges(torch.float64, keep_rate)
    matrix = dense(adjacency)
    assert torch.equal(matrix, matrix.t()) == (keep_rate == 1.0)
    x = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    out, weight = x, torch.randn(8, 5, dtype=torch.float64)
    for _ in range(3):
        out = WeightedSumConv()(out, adjacency)
    expected = matrix @ (matrix @ (matrix @ x))
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(
        torch.autograd.grad((out * weight).sum(), x),
        torch.autograd.grad((expected * weight).sum(), x),
    )


def test_messages_equal_the_fused_product(graph):
    adjacency = graph.drop_edges(torch.float64, 0.5)
    x = torch.randn(8, 5, dtype=torch.float64)
    torch.testing.assert_close(
        WeightedSumConv()(x, graph.edge_index, adjacency.value), spmm(adjacency, x)
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_inputs_are_multiplied_in_float32(graph, dtype):
    x = torch.randn(8, 5).to(dtype)
    out = spmm(graph.adjacency(torch.float32), x)
    assert out.dtype == dtype
    assert torch.equal(out, spmm(graph.adjacency(torch.float32), x.float()).to(dtype))


@pytest.mark.parametrize("used", [[0, 1, 2], [2], [1], [0, 2]])
def test_a_chain_has_the_gradient_of_whatever_layers_are_used(graph, used):
    torch.manual_seed(1)
    adjacencies = [graph.drop_edges(torch.float64, 0.6) for _ in range(3)]
    x = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 8, 5, dtype=torch.float64)
    layers, expected = spmm_chain(adjacencies, x), []
    for adjacency in adjacencies:
        expected.append(dense(adjacency) @ (expected[-1] if expected else x))
    torch.testing.assert_close(layers, tuple(expected))
    ours, naive = (
        torch.autograd.grad(sum((out[at] * weight[at]).sum() for at in used), x)
        for out in (layers, expected)
    )
    torch.testing.assert_close(ours, naive)


def test_an_empty_chain():
    assert spmm_chain([], torch.ones(2, 2)) == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("keep_rate", [1.0, 0.5])
def test_products_in_both_kernels_equal_dense_ones(graph, dtype, keep_rate):
    torch.manual_seed(4)
    adjacencies = [graph.drop_edges(dtype, keep_rate) for _ in range(2)]
    first, second = map(dense, adjacencies)
    x, weight = torch.randn(8, 37, dtype=dtype, requires_grad=True), torch.randn(2, 8, 37).to(dtype)
    out = spmm_chain(adjacencies, x)
    expected = first @ x, second @ first @ x
    torch.testing.assert_close(out, expected)
    grads = [
        torch.autograd.grad(sum((w * y).sum() for w, y in zip(weight, ys, strict=True)), x)
        for ys in (out, expected)
    ]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_graph_without_edges_gives_zeros(dtype):
    graph = InteractionGraph(EDGES[:, :0], 4, 4)
    assert torch.equal(
        spmm(graph.adjacency(dtype), torch.ones(8, 3, dtype=dtype)), torch.zeros(8, 3, dtype=dtype)
    )


@pytest.mark.parametrize("keep_rate", [1.0, 0.5])
def test_loops_are_added_to_the_matrix_and_its_transpose(graph, keep_rate):
    torch.manual_seed(5)
    adjacency, weight = graph.drop_edges(torch.float64, keep_rate), torch.rand(8).double()
    looped = adjacency.add_loops(weight)
    expected = dense(adjacency) + weight.diag()
    assert torch.equal(dense(looped), expected)
    assert torch.equal(dense(looped.T), expected.t())
