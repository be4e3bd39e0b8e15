import math
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import stats

from irllrec_pyg.edges import EDGE_TYPE, REVERSE_TYPE
from irllrec_pyg.loader.interactions import InteractionIndex
from irllrec_pyg.loader.neighborhood import (
    PyGNeighborhood,
    TorchNeighborhood,
    check_num_neighbors,
    edge_weight,
)
from tests.loader.graphs import graph_of, pairs_of, random_graph

KINDS = [
    TorchNeighborhood,
    pytest.param(
        PyGNeighborhood,
        marks=pytest.mark.skipif(
            not PyGNeighborhood.is_available(), reason="needs pyg-lib or torch-sparse"
        ),
    ),
]
SEED = {"user": torch.tensor([0, 4, 11]), "item": torch.tensor([2, 3])}


def directed_edges(out):
    """(node type, source, target) of each edge by ids of the whole graph."""
    for edge_type in (EDGE_TYPE, REVERSE_TYPE):
        source, _, target = edge_type
        for row, col in zip(out.row[edge_type].tolist(), out.col[edge_type].tolist(), strict=True):
            yield target, int(out.node[source][row]), int(out.node[target][col])


def naive_neighbors(data):
    """The neighbours of each node."""
    neighbors = {(kind, n): set() for kind in ("user", "item") for n in range(data[kind].num_nodes)}
    for user, item in pairs_of(data):
        neighbors["user", user].add(item)
        neighbors["item", item].add(user)
    return neighbors


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_hops", [1, 2, 3])
def test_all_neighbors_against_naive_search(kind, num_hops):
    data = random_graph(num_users=60, num_items=50, seed=1)
    neighbors = naive_neighbors(data)
    out = kind(InteractionIndex(data), [-1] * num_hops).sample(SEED, key=0)

    frontier = {(node_type, n) for node_type, node in SEED.items() for n in node.tolist()}
    reached, expected = set(frontier), []
    for _ in range(num_hops):
        found = set()
        for node_type, node in frontier:
            other = "item" if node_type == "user" else "user"
            expected += [(node_type, n, node) for n in neighbors[node_type, node]]
            found |= {(other, n) for n in neighbors[node_type, node]}
        frontier = found - reached
        reached |= frontier
    assert sorted(directed_edges(out)) == sorted(expected)
    assert {(t, n) for t, node in out.node.items() for n in node.tolist()} == reached
    assert sum(node.numel() for node in out.node.values()) == len(reached)


@pytest.mark.parametrize("kind", KINDS)
def test_sampled_neighbors(kind):
    data = random_graph(num_users=60, num_items=50, seed=2)
    neighbors = naive_neighbors(data)
    out = kind(InteractionIndex(data), [4, 3]).sample(SEED, key=0)

    edges = list(directed_edges(out))
    assert len(set(edges)) == len(edges)  # Without replacement.
    picked = {}
    for node_type, source, target in edges:
        assert source in neighbors[node_type, target]
        picked[node_type, target] = picked.get((node_type, target), 0) + 1
    seeds = {(node_type, n) for node_type, node in SEED.items() for n in node.tolist()}
    for node, count in picked.items():
        assert count == min(4 if node in seeds else 3, len(neighbors[node]))
    for node_type, node in out.node.items():
        assert node.unique().numel() == node.numel()
        assert torch.equal(node[: SEED[node_type].numel()], SEED[node_type])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num", [1, 4, 8, 9])
def test_every_degree(num, kind):
    # User n has n items.
    data = graph_of([(user, item) for user in range(9) for item in range(user)], 9, 9)
    out = kind(InteractionIndex(data), [num]).sample({"user": torch.arange(9)}, key=0)
    degree = torch.bincount(out.col[REVERSE_TYPE], minlength=9)
    assert degree.tolist() == [min(user, num) for user in range(9)]
    assert len(set(directed_edges(out))) == int(degree.sum())


def test_node_types_draw_apart():
    # Each user has the items 0 to 39 and the other way round: users and items that shared their
    # random numbers would pick the same neighbours.
    data = graph_of([(user, item) for user in range(40) for item in range(40)], 40, 41)
    seed = {"user": torch.arange(40), "item": torch.arange(40)}
    out = TorchNeighborhood(InteractionIndex(data), [1]).sample(seed, key=0)
    picked = {target: {} for target in seed}
    for target, source_node, node in directed_edges(out):
        picked[target][node] = source_node
    assert len(picked["user"]) == len(picked["item"]) == 40
    assert sum(picked["user"][node] == picked["item"][node] for node in range(40)) < 10


@pytest.mark.parametrize("kind", KINDS)
def test_edge_ids_are_columns_of_the_interactions(kind):
    data = random_graph(num_users=20, num_items=15)
    edge_index = data[EDGE_TYPE].edge_index
    order = torch.randperm(edge_index.size(1), generator=torch.Generator().manual_seed(0))
    data = graph_of(edge_index[:, order].t().tolist(), 20, 15)
    out = kind(InteractionIndex(data), [3, 3]).sample(SEED, key=0)
    for edge_type, rows in ((EDGE_TYPE, [0, 1]), (REVERSE_TYPE, [1, 0])):
        column = data[EDGE_TYPE].edge_index[:, out.edge[edge_type]][rows]
        assert torch.equal(column[0], out.node[edge_type[0]][out.row[edge_type]])
        assert torch.equal(column[1], out.node[edge_type[2]][out.col[edge_type]])


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_those_of_the_whole_graph(kind):
    data = random_graph(num_users=20, num_items=15)
    neighbors = naive_neighbors(data)
    interactions = InteractionIndex(data)
    out = kind(interactions, [2, 2]).sample(SEED, key=0)
    weight = edge_weight(interactions, out)
    weights = torch.cat([weight[EDGE_TYPE], weight[REVERSE_TYPE]]).tolist()
    for (node_type, source, target), value in zip(directed_edges(out), weights, strict=True):
        user, item = (target, source) if node_type == "user" else (source, target)
        degrees = len(neighbors["user", user]) * len(neighbors["item", item])
        assert value == pytest.approx(1 / math.sqrt(degrees))


@pytest.mark.parametrize("kind", KINDS)
def test_the_key_decides(kind):
    neighborhood = kind(InteractionIndex(random_graph(num_users=60, num_items=50)), [3, 3])
    torch.manual_seed(5)
    state = torch.get_rng_state()
    outs = [neighborhood.sample(SEED, key) for key in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state)
    edges = [list(directed_edges(out)) for out in outs]
    assert edges[0] == edges[1]
    assert edges[0] != edges[2]


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_of_one_type(kind):
    neighborhood = kind(InteractionIndex(random_graph(num_users=60, num_items=50)), [-1])
    out = neighborhood.sample({"user": SEED["user"]}, key=0)
    assert torch.equal(out.node["user"], SEED["user"])
    assert out.row[EDGE_TYPE].numel() == 0
    assert out.row[REVERSE_TYPE].numel() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_subset_of_neighbors_is_equally_likely(kind):
    # Five users with the same seven items: each draw picks three of them.
    data = graph_of([(user, item) for user in range(5) for item in range(7)], 5, 8)
    neighborhood = kind(InteractionIndex(data), [3])
    subsets = dict.fromkeys(combinations(range(7), 3), 0)
    for key in range(700):
        picked = {}
        for _, item, user in directed_edges(neighborhood.sample({"user": torch.arange(5)}, key)):
            picked.setdefault(user, []).append(item)
        for items in picked.values():
            subsets[tuple(sorted(items))] += 1
    assert stats.chisquare(np.array(list(subsets.values()))).pvalue > 1e-3


def test_sizes_of_hops():
    out = TorchNeighborhood(InteractionIndex(random_graph()), [2, 3]).sample(SEED, key=0)
    for node_type, sizes in out.num_sampled_nodes.items():
        assert len(sizes) == 3
        assert sizes[0] == SEED[node_type].numel()
        assert sum(sizes) == out.node[node_type].numel()
    for edge_type, sizes in out.num_sampled_edges.items():
        assert len(sizes) == 2
        assert sum(sizes) == out.row[edge_type].numel()


@pytest.mark.parametrize("num_neighbors", [3, "33", {"a": [1]}, None, [1.5], [[2]]])
def test_num_neighbors_of_a_wrong_type(num_neighbors):
    with pytest.raises(TypeError, match="'num_neighbors'"):
        check_num_neighbors(num_neighbors)


@pytest.mark.parametrize("num_neighbors", [[], [0], [3, 0], [-2]])
def test_num_neighbors_out_of_range(num_neighbors):
    with pytest.raises(ValueError, match="'num_neighbors'"):
        check_num_neighbors(num_neighbors)
