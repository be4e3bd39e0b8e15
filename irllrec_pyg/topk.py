"""The best items of many users, block by block in the same memory."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from .nn.ranker import DotProductRanker, Ranker

GROUP, SPLIT = 8, 16  # columns in a group; rows of SPLIT x k columns are worth splitting


class Blocks:
    """Ranks one block of users after the other, in the same memory: new one costs page faults.

    Args:
        ranker (Ranker): What ranks; what it computes once for all blocks is computed here.
        size (int): Users in a block.
        top (int): Length of the lists, at most the number of items.
    """

    def __init__(self, ranker: Ranker, size: int, top: int) -> None:
        self.ranker, self.size, self.top = ranker, size, top
        self.depth = 0
        while ranker.num_items // GROUP**self.depth >= SPLIT * top:
            self.depth += 1
        # Columns of minus infinity follow the items, so that groups of groups are of one size.
        self.width = -(-ranker.num_items // GROUP**self.depth) * GROUP**self.depth
        self.levels: list[Tensor] = []  # scores, and maxima of their groups, as topk wants them
        self.is_relevant = torch.zeros(
            size, self.width, dtype=torch.bool, device=ranker.seen_ptr.device
        )
        self.nodes: tuple[Tensor, Tensor] | None = None
        if not (
            isinstance(ranker, DotProductRanker) and type(ranker).scorer is DotProductRanker.scorer
        ):
            self.scorer = ranker.scorer()
            return
        users, items = ranker.embed()
        self.scorer = lambda user: users[user] @ items.t()
        if users.dtype == items.dtype == _ranked_dtype(users) and len(items) == ranker.num_items:
            self.nodes = users, items.t()

    def rank(
        self, user: Tensor, masked: Sequence[tuple[Tensor, Tensor]], relevant: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        r"""The best items of many blocks of users.

        Args:
            user (Tensor): User positions, int64 of shape :math:`(B,)`.
            masked (sequence of tuple): Pairs that are not ranked, as rows in ``user``, ascending,
                and items, both of shape :math:`(M,)`.
            relevant (tuple): Relevant pairs, likewise.

        Returns:
            Scores in descending order, their items, and whether these are relevant, all of shape
            :math:`(B, k)`. Masked items score minus infinity.
        """
        bounds = [*range(0, user.numel(), self.size), user.numel()]
        cells = [self._cells(row, item, bounds) for row, item in (relevant, *masked)]
        lists = []
        for (first, last), wanted, *hidden in zip(pairwise(bounds), *cells, strict=True):
            levels = self._score(user[first:last])
            for part in hidden:
                levels[0].view(-1).index_fill_(0, part, -torch.inf)
            best, item = topk(levels, self.top)
            flags = self.is_relevant.view(-1)
            flags.index_fill_(0, wanted, True)
            lists.append((best, item, self.is_relevant[: last - first].gather(1, item)))
            flags.index_fill_(0, wanted, False)
        best, item, hit = (torch.cat(parts) for parts in zip(*lists, strict=True))
        return best, item, hit

    def _cells(self, row: Tensor, item: Tensor, bounds: list[int]) -> tuple[Tensor, ...]:
        """Of each block, the positions of some pairs in its scores."""
        ends = torch.searchsorted(row, torch.tensor(bounds[1:-1], device=row.device))
        parts: tuple[Tensor, ...] = (row % self.size * self.width + item).tensor_split(ends.cpu())
        return parts

    def _score(self, user: Tensor) -> list[Tensor]:
        """Memory for a block, in its first tensor the scores, of shape ``(B, width)``."""
        num_items = self.ranker.num_items
        if self.nodes is not None:
            users, items = self.nodes
            levels = self._memory(user, users.dtype)
            torch.mm(users[user], items, out=levels[0][:, :num_items])
            return levels
        scores = self.scorer(user)
        if scores.shape != (user.numel(), num_items):
            raise ValueError(
                f"{type(self.ranker).__name__} gave scores of shape "
                f"{tuple(scores.shape)} for {user.numel()} users and {num_items} "
                "items."
            )
        levels = self._memory(user, _ranked_dtype(scores))
        levels[0][:, :num_items] = scores  # a copy: scores may be the ranker's own
        return levels

    def _memory(self, user: Tensor, dtype: torch.dtype) -> list[Tensor]:
        if not self.levels or self.levels[0].dtype != dtype:
            self.levels = [
                torch.full(
                    (self.size, self.width // GROUP**level),
                    -torch.inf,
                    dtype=dtype,
                    device=user.device,
                )
                for level in range(self.depth + 1)
            ]
        return [level[: user.numel()] for level in self.levels]


def _ranked_dtype(scores: Tensor) -> torch.dtype:
    return torch.promote_types(scores.dtype, torch.float32)


def topk(levels: Sequence[Tensor], k: int) -> tuple[Tensor, Tensor]:
    r"""As ``levels[0].topk(k)``; where scores are equal, any of their columns may be listed.

    The best :math:`k` of a row lie in the :math:`k` groups of columns that have the greatest
    maxima: any other group has :math:`k` entries elsewhere that are as great as its own or
    greater. Maxima take little time; the selection, which is slow, is left with few columns.

    Args:
        levels (sequence of Tensor): Scores of shape :math:`(B, W)`, and memory for the maxima of
            their groups, for those of groups of groups, ..., of shapes
            :math:`(B, W / \mathrm{GROUP})`, ...; the last has at least :math:`k` columns.
        k (int): Number of entries.

    Returns:
        Scores in descending order and their columns, both of shape :math:`(B, k)`.
    """
    for level, maxima in pairwise(levels):
        # Group g of G has the columns g, g + G, g + 2 G, ...: maxima of long rows, not of columns.
        torch.amax(level.view(level.size(0), GROUP, -1), 1, out=maxima)
    scores, last = levels[0], levels[-1]
    # NaN has no place among integers.
    as_integers = (
        last.device.type == "cpu" and last.dtype == torch.float32 and not last.amax().isnan()
    )
    select = _select_as_integers if as_integers else _select
    column = select(last, torch.arange(last.size(1), device=last.device), k)
    for maxima, level in pairwise(reversed(levels)):
        first = torch.arange(0, level.size(1), maxima.size(1), device=level.device)
        column = (first.view(-1, 1) + column.unsqueeze(1)).flatten(1)
        column = select(level.gather(1, column), column, k)
    return scores.gather(1, column), column


def _select(scores: Tensor, column: Tensor, k: int) -> Tensor:
    """Columns of the best ``k`` of each row, in descending order."""
    return column.expand_as(scores).gather(1, scores.topk(k).indices)


def _select_as_integers(scores: Tensor, column: Tensor, k: int) -> Tensor:
    """As :func:`_select`: NumPy sorts integers in a tenth of the time of ``topk`` on the CPU.

    The upper half of an integer is the score, its bits changed so that they ascend with it; the
    lower half is the column.
    """
    bits = scores.numpy().view(np.int32)
    ascending = bits >> 31
    ascending &= 0x7FFFFFFF
    ascending ^= bits
    entry = ascending.astype(np.int64)
    entry <<= 32
    entry |= column.numpy()
    entry.partition(entry.shape[1] - k, axis=1)
    best = entry[:, -k:]
    best.sort(axis=1)
    return torch.from_numpy(best[:, ::-1] & 0xFFFFFFFF)
