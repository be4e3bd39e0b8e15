from itertools import chain

import pytest
import torch

from irllrec_pyg.loader.order import EpochOrder, EpochSampler


def epoch_of(order: EpochOrder, epoch: int) -> list[int]:
    return torch.cat([order[epoch, batch][2] for batch in range(order.num_batches)]).tolist()


@pytest.mark.parametrize("batch_size", [1, 7, 50, 100])
def test_every_interaction_once_an_epoch(batch_size):
    order = EpochOrder(50, batch_size)
    epochs = [epoch_of(order, epoch) for epoch in range(5)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 5
    assert all(order[0, batch][2].numel() <= batch_size for batch in range(order.num_batches))


def test_epochs_are_a_function_of_seed_and_epoch():
    order = EpochOrder(50, 8, seed=3)
    later = epoch_of(order, 9)
    assert epoch_of(EpochOrder(50, 8, seed=3), 9) == later
    assert epoch_of(EpochOrder(50, 20, seed=3), 9) == later
    assert epoch_of(EpochOrder(50, 8, seed=4), 9) != later


def test_order_of_the_graph():
    assert epoch_of(EpochOrder(50, 8, shuffle=False), 4) == list(range(50))


def test_drop_last():
    order = EpochOrder(50, 8, drop_last=True)
    assert order.num_batches == 6
    assert len(set(epoch_of(order, 0))) == 48
    with pytest.raises(ValueError, match="'drop_last' leaves no batch"):
        EpochOrder(50, 51, drop_last=True)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("num_interactions", [2, 48, 50])
def test_ranks_share_an_epoch(num_interactions, shuffle):
    orders = [EpochOrder(num_interactions, 7, shuffle, rank=r, world_size=3) for r in range(3)]
    parts = [epoch_of(order, 1) for order in orders]
    assert len({order.num_batches for order in orders}) == 1
    assert len({len(part) for part in parts}) == 1
    # What is missing to equal parts is filled up from the beginning.
    whole = EpochOrder(num_interactions, 7, shuffle).permutation(1).tolist()
    padding = whole[: sum(map(len, parts)) - num_interactions]
    assert len(padding) < 3
    assert sorted(chain(*parts)) == sorted(whole + padding)
    numbers = [order[0, b][1] for order in orders for b in range(order.num_batches)]
    assert len(set(numbers)) == len(numbers)


def test_ranks_leave_out_the_rest():
    orders = [EpochOrder(50, 4, drop_last=True, rank=r, world_size=3) for r in range(3)]
    parts = [epoch_of(order, 1) for order in orders]
    assert [len(part) for part in parts] == [16, 16, 16]
    assert len(set().union(*parts)) == 48


def test_sampler_yields_an_epoch():
    sampler = EpochSampler(EpochOrder(10, 4))
    assert len(sampler) == 3
    assert list(sampler) == list(sampler) == [(0, 0), (0, 1), (0, 2)]
    started = iter(sampler)
    sampler.set_epoch(7)
    assert next(iter(sampler)) == (7, 0)
    assert next(started) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "'batch_size'.*at least 1"),
        ({"batch_size": 2.5}, TypeError, "'batch_size'.*whole number"),
        ({"batch_size": True}, TypeError, "'batch_size'.*whole number"),
        ({"batch_size": 2, "seed": "a"}, TypeError, "'seed'"),
        ({"batch_size": 2, "world_size": 0}, ValueError, "'world_size'"),
        ({"batch_size": 2, "rank": -1}, ValueError, "'rank'"),
        ({"batch_size": 2, "rank": 2, "world_size": 2}, ValueError, "'rank' must be smaller"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        EpochOrder(10, **arguments)


@pytest.mark.parametrize("epoch", [-1, 1.0, None])
def test_wrong_epoch(epoch):
    with pytest.raises((TypeError, ValueError), match="'epoch'"):
        EpochSampler(EpochOrder(10, 4)).set_epoch(epoch)
