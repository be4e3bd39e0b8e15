"""Which interactions form which batch of which epoch."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from .draws import random_bits, stream_key
from .interactions import as_int

ORDER = 0  # The stream of the epochs' permutations.


class EpochOrder(Dataset[tuple[int, int, Tensor]]):
    r"""A data set whose entry ``(epoch, batch)`` names the interactions of that batch.

    An epoch's order is a pure function of seed and epoch, so a worker that is told the two
    numbers makes the same batch as any other, however long it has lived.

    Args:
        num_interactions (int): How many interactions there are.
        batch_size (int): Interactions in a batch.
        shuffle (bool, optional): If set to ``False``, every epoch has the order of the graph.
            (default: ``True``)
        drop_last (bool, optional): If set to ``True``, leaves out the last batch if it is
            smaller than the others. (default: ``False``)
        seed (int, optional): The seed. (default: ``0``)
        rank (int, optional): Which part of each epoch this process takes: interactions
            ``rank, rank + world_size, ...`` of its order. (default: ``0``)
        world_size (int, optional): How many processes share each epoch. They all get the same
            number of interactions: the first ones of the epoch are used again to fill up or,
            with ``drop_last``, the last ones are left out. (default: ``1``)
        device (torch.device, optional): Where the order is made. (default: ``None``)
    """

    def __init__(
        self,
        num_interactions: int,
        batch_size: int,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | None = None,
    ) -> None:
        self.num_interactions = num_interactions
        self.batch_size = as_int(batch_size, "batch_size", low=1)
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        self.seed = as_int(seed, "seed")
        self.world_size = as_int(world_size, "world_size", low=1)
        self.rank = as_int(rank, "rank", low=0)
        if self.rank >= self.world_size:
            raise ValueError(
                f"'rank' must be smaller than 'world_size', got rank {self.rank} of "
                f"{self.world_size}."
            )
        self.device = device
        self._permutation: tuple[int, Tensor] | None = None

        if self.drop_last:
            self.num_of_rank = num_interactions // self.world_size
            self.num_batches = self.num_of_rank // self.batch_size
        else:
            self.num_of_rank = -(-num_interactions // self.world_size)
            self.num_batches = -(-self.num_of_rank // self.batch_size)
        if self.num_batches == 0:
            raise ValueError(
                f"'drop_last' leaves no batch: 'batch_size' is {self.batch_size} and there are "
                f"{self.num_of_rank} interactions."
            )

    def __len__(self) -> int:
        return self.num_interactions

    def permutation(self, epoch: int) -> Tensor:
        r"""The order of all interactions in ``epoch``, for all ranks together."""
        if self._permutation is None or self._permutation[0] != epoch:
            number = torch.arange(self.num_interactions, device=self.device)
            if self.shuffle:
                bits = random_bits(stream_key(self.seed, epoch, ORDER), number)
                number = torch.argsort(bits, stable=True)
            self._permutation = (epoch, number)
        return self._permutation[1]

    def __getitem__(self, index: tuple[int, int]) -> tuple[int, int, Tensor]:
        epoch, batch = index
        permutation = self.permutation(epoch)
        start = batch * self.batch_size
        stop = min(start + self.batch_size, self.num_of_rank)
        # The same batch of another rank is another batch, and has a number of its own.
        number = batch * self.world_size + self.rank
        if self.world_size == 1:
            return epoch, number, permutation[start:stop]
        place = torch.arange(start, stop, device=self.device) * self.world_size + self.rank
        return epoch, number, permutation[place % self.num_interactions]


class EpochSampler(Sampler[tuple[int, int]]):
    r"""Yields the entries of an :class:`EpochOrder` for one epoch.

    The epoch travels with each entry, so that workers need not be told of it in any other way.

    Args:
        order (EpochOrder): What the epochs hold.
    """

    def __init__(self, order: EpochOrder) -> None:
        self.order = order
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        r"""Makes ``epoch`` the next one to be iterated."""
        self.epoch = as_int(epoch, "epoch", low=0)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        # Not a generator: the epoch is settled now, not when the first batch is asked for.
        epoch = self.epoch
        return ((epoch, batch) for batch in range(self.order.num_batches))

    def __len__(self) -> int:
        return self.order.num_batches
