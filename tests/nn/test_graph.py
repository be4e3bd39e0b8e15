import pytest
import torch

from irllrec_pyg.nn import InteractionGraph
from irllrec_pyg.nn.graph import _draw_kept
from irllrec_pyg.nn.subgraph import Subgraph

EDGES = torch.tensor([[0, 2, 0, 1], [1, 0, 2, 1]])


def dense(adjacency):
    csr = torch.sparse_csr_tensor(adjacency.rowptr, adjacency.col, adjacency.value)
    return csr.to_dense()


def test_normalized_adjacency_equals_the_formula():
    graph = InteractionGraph(EDGES, 4, 3)
    a = torch.zeros(7, 7, dtype=torch.float64)
    for user, item in EDGES.t().tolist():
        a[user, 4 + item] = a[4 + item, user] = 1.0
    expected = torch.zeros_like(a)
    for i in range(7):
        for j in range(7):
            if a[i, j]:
                expected[i, j] = 1 / (a[i].sum() * a[j].sum()).sqrt()
    torch.testing.assert_close(dense(graph.adjacency(torch.float64)), expected)
    assert graph.num_edges == int(a.sum())
    # user 3 has no item: its row is empty, not infinite
    assert graph.degree.tolist() == a.sum(1).long().tolist()


def test_transpose_keeps_the_structure():
    graph = InteractionGraph(EDGES, 4, 3)
    matrix = graph.matrix(torch.arange(8.0))
    torch.testing.assert_close(dense(matrix).t(), dense(matrix.T))


def test_edges_are_kept_at_the_rate_and_each_way_by_itself():
    torch.manual_seed(0)
    edges = torch.cartesian_prod(torch.arange(100), torch.arange(100)).t()
    graph = InteractionGraph(edges, 100, 100)
    matrix = graph.drop_edges(torch.float64, 0.7)
    kept = matrix.value > 0
    assert abs(kept.double().mean().item() - 0.7) < 4 * (0.21 / 20000) ** 0.5
    assert matrix.value[kept].tolist() == pytest.approx([0.01] * int(kept.sum()))  # not rescaled
    both = (kept & (matrix.value_t > 0)).double().mean().item()
    assert abs(both - 0.49) < 0.02


def test_weights_are_exact_after_a_change_of_dtype():
    graph = InteractionGraph(EDGES, 4, 3)
    before = graph.adjacency(torch.float32).value
    after = graph.double().adjacency(torch.float64).value
    assert before.dtype == torch.float32
    assert after.tolist() == InteractionGraph(EDGES, 4, 3).normalized(torch.float64).tolist()


def test_the_graph_is_not_in_the_state_dict():
    assert not InteractionGraph(EDGES, 4, 3).state_dict()


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (torch.tensor([[0, 4], [0, 0]]), "user 4 in column 1"),
        (torch.tensor([[0, 1], [0, -1]]), "item -1 in column 1"),
        (torch.tensor([[0, 0], [1, 1]]), "twice"),
        (torch.zeros(2, 2), "int64"),
        (torch.zeros(3, 2, dtype=torch.long), "shape"),
    ],
)
def test_wrong_edges_are_named(edges, message):
    with pytest.raises(ValueError, match=message):
        InteractionGraph(edges, 4, 3)


def test_subgraph_is_the_weighted_matrix_and_its_transpose():
    edge_index = torch.tensor([[0, 3, 4, 1], [3, 0, 0, 4]])
    weight = torch.tensor([0.1, 0.2, 0.3, 0.4])
    graph = Subgraph(edge_index, weight, 3, 2, torch.arange(5))
    expected = torch.zeros(5, 5)
    for (source, target), w in zip(edge_index.t().tolist(), weight.tolist(), strict=True):
        expected[target, source] = w
    matrix = graph.adjacency(torch.float32)
    torch.testing.assert_close(dense(matrix), expected)
    torch.testing.assert_close(dense(matrix.T), expected.t())


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.5, 0.8, 1 - 1e-9])
@pytest.mark.parametrize("count", [200_001, 200_002, 200_004])
def test_entries_are_kept_at_the_rate_and_independently(rate, count):
    torch.manual_seed(0)
    kept = _draw_kept(count, rate, torch.device("cpu"))
    assert kept.shape == (count,)
    deviation = (rate * (1 - rate) / count) ** 0.5
    assert abs(kept.double().mean() - rate) < 4 * deviation + 2**-16
    for lag in range(1, 5):  # four neighbours come out of one number
        both = (kept[lag:] & kept[:-lag]).double().mean()
        assert abs(both - rate**2) < 4 * (rate**2 * (1 - rate**2) / count) ** 0.5 + 2**-15


def test_the_least_rate_keeps_something():
    torch.manual_seed(0)
    assert 0 < _draw_kept(1_000_000, 1e-9, torch.device("cpu")).sum() < 60
