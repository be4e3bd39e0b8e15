r"""Random numbers that are a pure function of a key and a counter.

A generator that is advanced from draw to draw gives numbers that depend on who drew before:
on the batch size, on the number of workers, on the device. Here number :math:`i` of stream
:math:`k` is :math:`\mathrm{splitmix64}(k + (i + 1) \cdot \gamma)`, so any part of a stream can
be drawn anywhere, in any order, and is the same on CPU and GPU. Nothing has to be stored for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_MASK = (1 << 64) - 1
_MAX = (1 << 63) - 1


def _signed(value: int) -> int:
    r"""The 64 bits of ``value`` as Torch's signed integers spell them."""
    value &= _MASK
    return value - (1 << 64) if value > _MAX else value


def stream_key(*parts: int) -> int:
    r"""Folds numbers that name a stream, such as seed, epoch and purpose, into its 64-bit key.

    Args:
        *parts (int): Integers, of which 64 bits count; their order matters.
    """
    key = 0
    for part in parts:
        z = (key + _GAMMA + part) & _MASK
        z = ((z ^ (z >> 30)) * _MIX_1) & _MASK
        z = ((z ^ (z >> 27)) * _MIX_2) & _MASK
        key = z ^ (z >> 31)
    return key


def random_bits(key: int, counter: Tensor) -> Tensor:
    r"""64 uniform bits for each entry of ``counter``, by the SplitMix64 generator of the
    `"Fast Splittable Pseudorandom Number Generators"
    <https://doi.org/10.1145/2660193.2660195>`_ paper.

    Args:
        key (int): The stream, see :meth:`stream_key`.
        counter (torch.Tensor): Which numbers of the stream, 64-bit integers of any shape.

    Returns:
        Tensor of the shape of ``counter``; half of its entries are negative.
    """
    # Torch's integers are signed and wrap; `>>` copies the sign, hence the masks.
    z = counter * _signed(_GAMMA) + _signed(key + _GAMMA)
    z = (z ^ ((z >> 30) & (_MASK >> 30))) * _signed(_MIX_1)
    z = (z ^ ((z >> 27) & (_MASK >> 27))) * _signed(_MIX_2)
    return z ^ ((z >> 31) & (_MASK >> 31))


def uniform_below(key: int, counter: Tensor, high: Tensor | int) -> Tensor:
    r"""Uniform integers in :math:`[0, \mathrm{high})` for each entry of ``counter``.

    With 63 bits before the remainder, no value is preferred by more than
    :math:`\mathrm{high} / 2^{63}`.

    Args:
        key (int): The stream, see :meth:`stream_key`.
        counter (torch.Tensor): Which numbers of the stream.
        high (torch.Tensor or int): The excluded upper ends, at least 1, broadcast against
            ``counter``.
    """
    return torch.remainder(random_bits(key, counter) & _MAX, high)


@contextmanager
def default_generator_seeded(key: int) -> Iterator[None]:
    r"""For code that can draw from Torch's default CPU generator only: seeds it by ``key``, and
    afterwards puts it back to where it was, as the model draws from it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key)
        yield
