"""The best items of many users, block by block in the same memory."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..sparse import CSR

if TYPE_CHECKING:
    from .positions import PositionRanker

Scorer = Callable[[Tensor], Tensor]
GROUP, SPLIT = 8, 16  # columns in a group; rows of SPLIT x k columns are worth splitting
CPU_BLOCK = 128  # users whose scores stay in the cache
CHUNK = 8192  # users whose hidden items are looked up at once: a call costs more than a block


@dataclass
class DotProducts:
    r"""Scores that are dot products of embeddings.

    Args:
        users (Tensor): Embeddings of shape :math:`(U, d)`.
        items (Tensor): Embeddings of shape :math:`(I, d)`.
    """

    users: Tensor
    items: Tensor

    def __call__(self, user: Tensor) -> Tensor:
        r"""Scores of all items for users at positions of shape :math:`(B,)`."""
        return self.users[user] @ self.items.t()


class Blocks:
    """Ranks one block of users after the other, in the same memory: new one costs page faults.

    Args:
        ranker (Ranker): What ranks; what it computes once for all blocks is computed here.
        size (int): Users in a block.
        k (int): Length of the lists, at most the number of items.
        candidates (Tensor, optional): Positions of the items that are ranked. (default: all)
    """

    def __init__(
        self, ranker: "PositionRanker", size: int, k: int, candidates: Tensor | None = None
    ) -> None:
        self.ranker, self.scorer, self.size, self.k = ranker, ranker.scorer(), size, k
        self.num_items = num_items = ranker.num_items
        self.depth = 0
        while num_items // GROUP**self.depth >= SPLIT * k:
            self.depth += 1
        # Columns of minus infinity follow the items, so that groups of groups are of one size.
        self.width = -(-num_items // GROUP**self.depth) * GROUP**self.depth
        self.levels: list[Tensor] = []  # scores, and maxima of their groups, as topk wants them
        self.others: Tensor | None = None  # items that are not ranked for anybody
        if candidates is not None:
            other = torch.ones(num_items, dtype=torch.bool, device=candidates.device)
            self.others = other.index_fill_(0, candidates, False).nonzero().flatten()

    def rank(self, user: Tensor, hidden: CSR | None) -> tuple[Tensor, Tensor]:
        r"""The best items of many blocks of users.

        Args:
            user (Tensor): User positions, int64 of shape :math:`(B,)`.
            hidden (CSR, optional): Items of each user that are not ranked.

        Returns:
            Items in descending order of their scores, and these, both of shape :math:`(B, k)`.
            Where fewer items are left, ``-1`` and minus infinity follow.
        """
        bounds = [*range(0, user.numel(), self.size), user.numel()]
        masks = [None] * (len(bounds) - 1) if hidden is None else self._cells(user, hidden, bounds)
        lists = []
        for (first, last), mask in zip(pairwise(bounds), masks, strict=True):
            levels = self._score(user[first:last])
            if mask is not None:
                levels[0].view(-1).index_fill_(0, mask, -torch.inf)
            if self.others is not None:
                levels[0].index_fill_(1, self.others, -torch.inf)
            lists.append(topk(levels, self.k))
        score, item = (torch.cat(parts) for parts in zip(*lists, strict=True))
        return item.masked_fill_(score == -torch.inf, -1), score

    def _cells(self, user: Tensor, hidden: CSR, bounds: list[int]) -> tuple[Tensor, ...]:
        """Of each block, the positions of hidden items in its scores."""
        row, item = hidden.of(user)
        ends = torch.searchsorted(row, torch.tensor(bounds[1:-1], device=row.device))
        parts: tuple[Tensor, ...] = (row % self.size * self.width + item).tensor_split(ends.cpu())
        return parts

    def _score(self, user: Tensor) -> list[Tensor]:
        """Memory for a block, in its first tensor the scores, of shape ``(B, width)``."""
        scorer, shape = self.scorer, (user.numel(), self.num_items)
        if isinstance(scorer, DotProducts) and len(scorer.items) == self.num_items:
            users, items = scorer.users, scorer.items
            if users.dtype == items.dtype == _ranked_dtype(users):
                levels = self._memory(user, users.dtype)
                torch.mm(users[user], items.t(), out=levels[0][:, : self.num_items])
                return levels
        scores = scorer(user)
        if scores.shape != shape:
            raise ValueError(
                f"{type(self.ranker).__name__} gave scores of shape {tuple(scores.shape)} for "
                f"{shape[0]} users and {shape[1]} items."
            )
        levels = self._memory(user, _ranked_dtype(scores))
        levels[0][:, : self.num_items] = scores  # a copy: scores may be the ranker's own
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


def ranked_lists(
    ranker: "PositionRanker",
    user: Tensor,
    k: int,
    hidden: CSR | None,
    candidates: Tensor | None = None,
    block_size: int | None = None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    r"""The lists of many users, some blocks of them at a time.

    Equal scores are listed by ascending item.

    Args:
        ranker (Ranker): What ranks.
        user (Tensor): User positions, int64 of shape :math:`(U,)`.
        k (int): Length of the lists.
        hidden (CSR, optional): Items of each user that are not ranked.
        candidates (Tensor, optional): Positions of the items that are ranked. (default: all)
        block_size (int, optional): Users that are scored at once.
            (default: as many as score into 64 MB, at most 128 on the CPU)

    Yields:
        Users :math:`(B,)`, their items and the scores of these, both :math:`(B, k)`; where a list
        is shorter, ``-1`` and minus infinity follow.

    Raises:
        ValueError: If scores are NaN or of another shape than users by items.
    """
    if user.numel() == 0:
        nothing = user.new_empty(0, k)
        yield user, nothing, nothing.float()
        return
    size = min(block_size or default_block_size(ranker), user.numel())
    blocks = Blocks(ranker, size, min(k, ranker.num_items), candidates)
    for chunk in user.split(blocks.size * max(1, CHUNK // blocks.size)):
        item, score = blocks.rank(chunk, hidden)
        if bool(score[:, 0].isnan().any()):  # NaN ranks first
            raise ValueError(
                f"{type(ranker).__name__} gave scores that are not a number (NaN); if it is being "
                "trained, it has diverged: try a smaller learning rate."
            )
        missing = k - item.size(1)
        if missing > 0:
            item = torch.nn.functional.pad(item, (0, missing), value=-1)
            score = torch.nn.functional.pad(score, (0, missing), value=-torch.inf)
        yield chunk, item, score


def default_block_size(ranker: "PositionRanker") -> int:
    """Users whose scores fit into memory at once, on the CPU into the cache."""
    most = ranker.block_size()
    return min(most, CPU_BLOCK) if ranker.seen_ptr.device.type == "cpu" else most


def _ranked_dtype(scores: Tensor) -> torch.dtype:
    return torch.promote_types(scores.dtype, torch.float32)


def topk(levels: Sequence[Tensor], k: int) -> tuple[Tensor, Tensor]:
    r"""The best :math:`k` entries of each row, equal ones by ascending column.

    The best :math:`n` of a row lie in the :math:`n` groups of columns that have the greatest
    maxima: any other group has :math:`n` entries elsewhere that are as great as its own or
    greater. Maxima take little time; the selection, which is slow, is left with few columns.

    With :math:`n = k + 1` that also tells the rows whose :math:`k`-th and next score are equal;
    only these are searched for the lowest columns of that score.

    Args:
        levels (sequence of Tensor): Scores of shape :math:`(B, W)`, and memory for the maxima of
            their groups, for those of groups of groups, ..., of shapes
            :math:`(B, W / \mathrm{GROUP})`, ...; all but the first must have more than :math:`k`
            columns.
        k (int): Number of entries, at most :math:`W`.

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
    count = min(k + 1, scores.size(1))
    column = select(last, torch.arange(last.size(1), device=last.device), count)
    for maxima, level in pairwise(reversed(levels)):
        first = torch.arange(0, level.size(1), maxima.size(1), device=level.device)
        column = (first.view(-1, 1) + column.unsqueeze(1)).flatten(1)
        column = select(level.gather(1, column), column, count)
    best = scores.gather(1, column)
    if count > k:
        is_tied = best[:, k - 1] == best[:, k]
        best, column = best[:, :k], column[:, :k]
        if bool(is_tied.any()):
            tied = (is_tied & (best[:, -1] > -torch.inf)).nonzero().flatten()
            column[tied] = _lowest(scores[tied], best[tied, -1], k)
            best = scores.gather(1, column)
    if not as_integers or bool((best == 0).any()):  # as an integer -0.0 comes after 0.0
        best, column = _ordered(scores, column)
    return best, column


def _lowest(scores: Tensor, threshold: Tensor, k: int) -> Tensor:
    """Columns of the best ``k``, the last of which score ``threshold``, as others do."""
    above, equal = scores > threshold.view(-1, 1), scores == threshold.view(-1, 1)
    room = k - above.sum(1, keepdim=True)
    column = (above | (equal & (equal.cumsum(1) <= room))).nonzero()[:, 1].view(-1, k)
    return _ordered(scores, column)[1]


def _ordered(scores: Tensor, column: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of some columns in descending order, and the columns; equal scores by column."""
    column = column.sort(1).values
    best, order = scores.gather(1, column).sort(dim=1, descending=True, stable=True)
    return best, column.gather(1, order)


def _select(scores: Tensor, column: Tensor, k: int) -> Tensor:
    """Columns of the best ``k`` of each row, in descending order."""
    return column.expand_as(scores).gather(1, scores.topk(k).indices)


def _select_as_integers(scores: Tensor, column: Tensor, k: int) -> Tensor:
    """As :func:`_select`: NumPy sorts integers in a tenth of the time of ``topk`` on the CPU.

    The upper half of an integer is the score, its bits changed so that they ascend with it; the
    lower half is the column with all bits turned, so that the lower of equal ones is greater.
    """
    bits = scores.numpy().view(np.int32)
    ascending = bits >> 31
    ascending &= 0x7FFFFFFF
    ascending ^= bits
    entry = np.left_shift(ascending, 32, dtype=np.int64)
    entry |= column.numpy() ^ 0xFFFFFFFF
    entry.partition(entry.shape[1] - k, axis=1)
    best = entry[:, -k:]
    best.sort(axis=1)
    return torch.from_numpy(best[:, ::-1] & 0xFFFFFFFF ^ 0xFFFFFFFF)
