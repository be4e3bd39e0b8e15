import pytest
import torch

from irllrec_pyg.edges import EDGE_TYPE
from irllrec_pyg.loader import triplet_loader
from irllrec_pyg.nn.batch import Triplets
from irllrec_pyg.nn.graph import InteractionGraph
from irllrec_pyg.nn.subgraph import Subgraph
from tests.loader.graphs import random_graph


def batches(num_negatives=1, num_neighbors=None):
    """The triplets of an epoch, as the loader's batches and as ids that nobody has counted."""
    data = random_graph()
    whole = InteractionGraph.from_data(data)
    loader = triplet_loader(data, 50, num_negatives=num_negatives, num_neighbors=num_neighbors)
    for batch in loader:
        sampled = "edge_weight" in batch[EDGE_TYPE]
        graph = Subgraph.from_batch(batch, whole.num_users) if sampled else whole
        from_loader = Triplets.from_batch(batch, graph)
        yield from_loader, Triplets(from_loader.user, from_loader.pos, from_loader.neg, graph)


@pytest.mark.parametrize("num_negatives", [1, 3])
@pytest.mark.parametrize("num_neighbors", [None, [2, 2]])
def test_distinct_nodes_against_naive_loop(num_neighbors, num_negatives):
    for both in batches(num_negatives, num_neighbors):
        for triplets in both:
            user = triplets.user.tolist()
            pos = triplets.pos_node.tolist()
            neg = triplets.neg_node.flatten().tolist()
            share = 1 / num_negatives
            for rows, count_of in (
                (triplets.users, {node: user.count(node) for node in user}),
                (triplets.pos_items, {node: pos.count(node) for node in pos}),
                (triplets.neg_items, {node: neg.count(node) * share for node in neg}),
                (
                    triplets.items,
                    {node: pos.count(node) + neg.count(node) * share for node in pos + neg},
                ),
            ):
                assert rows.index.tolist() == sorted(count_of)
                expected = torch.tensor([float(count_of[node]) for node in sorted(count_of)])
                torch.testing.assert_close(rows.count, expected)


@pytest.mark.parametrize("num_neighbors", [None, [2, 2]])
def test_the_loader_saves_the_step_all_counting(num_neighbors, monkeypatch):
    triplets = [from_loader for from_loader, _ in batches(num_neighbors=num_neighbors)]

    def refuse(*args, **kwargs):
        raise AssertionError("This would wait for a GPU.")

    for name in ("bincount", "nonzero", "unique"):
        monkeypatch.setattr(torch, name, refuse)
        monkeypatch.setattr(torch.Tensor, name, refuse)
    for part in triplets:
        assert part.users.index.numel() == part.users.count.numel()
        assert part.items.index.numel() >= part.pos_items.index.numel()
        assert part.neg_items.count.sum() == part.size


def test_batches_of_whole_graphs_speak_of_ids():
    for triplets, _ in batches():
        graph = triplets.graph
        user, item = graph.row[: graph.num_edges // 2], graph.col[: graph.num_edges // 2]
        known = set(zip(user.tolist(), item.tolist(), strict=True))
        assert set(zip(triplets.user.tolist(), triplets.pos_node.tolist(), strict=True)) <= known
        assert not set(zip(triplets.user.tolist(), triplets.neg_node.tolist(), strict=True)) & known


def test_a_batch_without_triplets_is_refused():
    none = torch.empty(0, dtype=torch.long)
    with pytest.raises(ValueError, match="at least one triplet, got none"):
        Triplets(none, none, none, InteractionGraph.from_data(random_graph()))
