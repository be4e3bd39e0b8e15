"""Batches that worker processes make."""

import weakref

import pytest
import torch

from irllrec_pyg.loader import triplet_loader
from tests.loader.graphs import assert_same_epoch, epoch_of, random_graph, triplets_of


@pytest.mark.parametrize("num_workers", [0, 1])
def test_model_randomness_is_left_alone(num_workers):
    loader = triplet_loader(random_graph(), 32, num_neighbors=[2], num_workers=num_workers)
    state = torch.get_rng_state()
    epoch_of(loader)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("num_neighbors", [None, [2, 2]])
@pytest.mark.parametrize("persistent_workers", [False, True])
def test_workers_make_the_same_batches(persistent_workers, num_neighbors):
    data = random_graph()
    settings = {"batch_size": 100, "num_negatives": 2, "num_neighbors": num_neighbors, "seed": 7}
    alone = triplet_loader(data, **settings)
    loader = triplet_loader(data, **settings, num_workers=2, persistent_workers=persistent_workers)
    for epoch in (None, None, 5, 2):
        if epoch is not None:
            alone.set_epoch(epoch)
            loader.set_epoch(epoch)
        for one, other in zip(alone, loader, strict=True):
            assert one.to_dict().keys() == other.to_dict().keys()
            for edge_type in one.edge_types:
                for key, value in one[edge_type].items():
                    assert key == "num_sampled_edges" or torch.equal(value, other[edge_type][key])
            assert_same_epoch(triplets_of(one), triplets_of(other))


def test_persistent_workers_after_a_broken_epoch():
    data = random_graph()
    loader = triplet_loader(data, 20, num_workers=2, persistent_workers=True)
    for _ in loader:
        break
    alone = triplet_loader(data, 20)
    alone.set_epoch(1)
    assert_same_epoch(epoch_of(loader), epoch_of(alone))


def test_persistent_workers_end_with_their_loader():
    loader = triplet_loader(random_graph(), 100, num_workers=1, persistent_workers=True)
    epoch_of(loader)
    [worker] = loader._iterator._workers
    reference = weakref.ref(loader)
    del loader
    # Nothing waits for the garbage collector, in which Torch's workers cannot be told to end.
    assert reference() is None
    worker.join(timeout=60)
    assert worker.exitcode == 0


def test_workers_that_are_spawned():
    data = random_graph()
    loader = triplet_loader(data, 100, num_workers=1, multiprocessing_context="spawn")
    assert_same_epoch(epoch_of(loader), epoch_of(triplet_loader(data, 100)))
