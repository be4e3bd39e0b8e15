import numpy as np
import pytest
import torch
from scipy import stats

from irllrec_pyg.loader.draws import random_bits, stream_key, uniform_below


def test_random_bits_are_splitmix64():
    # The first numbers of the authors' C code for the seed 1234567.
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    bits = random_bits(1234567, torch.arange(5))
    assert [value % 2**64 for value in bits.tolist()] == expected


def test_every_number_stands_alone():
    counter = torch.arange(1000)
    whole = random_bits(7, counter)
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(random_bits(7, counter[order]), whole[order])
    assert torch.equal(random_bits(7, counter.view(10, 100)), whole.view(10, 100))


def test_streams_differ():
    parts = [(), (0,), (0, 0), (1,), (0, 1), (1, 0), (-1,), (2**63,), (1, 2, 3), (3, 2, 1)]
    keys = [stream_key(*part) for part in parts]
    assert len(set(keys)) == len(parts)
    assert all(0 <= key < 2**64 for key in keys)
    numbers = torch.cat([random_bits(key, torch.arange(1000)) for key in keys])
    assert numbers.unique().numel() == numbers.numel()


@pytest.mark.parametrize("high", [1, 2, 3, 10, 97])
def test_uniform_below(high):
    value = uniform_below(stream_key(3, high), torch.arange(20_000), high)
    count = np.bincount(value.numpy(), minlength=high)
    assert count.size == high
    assert high == 1 or stats.chisquare(count).pvalue > 1e-3


def test_uniform_below_entry_by_entry():
    high = torch.arange(1, 2001)
    value = uniform_below(5, torch.arange(2000), high)
    assert (value >= 0).all()
    assert (value < high).all()


def test_neighboring_numbers_and_streams_are_independent():
    counter = torch.arange(40_000)
    first = uniform_below(stream_key(0, 0), counter, 8)
    other = uniform_below(stream_key(0, 1), counter, 8)
    for x, y in [(first[:-1], first[1:]), (first, other)]:
        table = np.zeros((8, 8))
        np.add.at(table, (x.numpy(), y.numpy()), 1)
        assert stats.chi2_contingency(table).pvalue > 1e-3
