"""What one training step is about: triplets over a graph, with each node listed once."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .graph import InteractionGraph


@dataclass
class Rows:
    """Distinct nodes of a batch.

    Args:
        index (Tensor): Node ids of the graph, users first, ascending, shape :math:`(M,)`.
        count (Tensor): How often each occurs, floating point, shape :math:`(M,)`.
    """

    index: Tensor
    count: Tensor

    def of(self, nodes: Tensor) -> Tensor:
        """Their rows of a matrix of all nodes."""
        return select(nodes, self)[0]


def select(nodes: Tensor, *parts: Rows) -> tuple[Tensor, ...]:
    """Rows of a matrix of all nodes, for each part.

    Each gather fills a matrix of all nodes in its backward pass; here there is only one. That of
    ``index_select`` takes half the time of that of ``nodes[index]``.
    """
    rows = nodes.index_select(0, torch.cat([part.index for part in parts]))
    return tuple(rows.split([part.index.numel() for part in parts]))


@dataclass
class Triplets:
    r"""Training triplets :math:`(u, i^+, i^-)` and the graph that they are numbered in.

    Args:
        user (Tensor): User ids, int64 of shape :math:`(B,)`.
        pos (Tensor): Items of the users, int64 of shape :math:`(B,)`; items count from 0.
        neg (Tensor): Items that the users do not have, int64 of shape :math:`(B,)` or
            :math:`(B, n)`.
        graph (InteractionGraph): The whole training graph or a sampled part of it; all ids are
            positions in it.
        augment (bool, optional): Whether random augmentation is on. (default: ``True``)
        masked_nodes (Tensor, optional): Node ids whose input embedding is hidden, for
            :class:`~irllrec_pyg.nn.ProfileReconstruction`; drawn there where it is not given.
            (default: ``None``)
    """

    user: Tensor
    pos: Tensor
    neg: Tensor
    graph: InteractionGraph
    augment: bool = True
    masked_nodes: Tensor | None = None

    @property
    def pos_node(self) -> Tensor:
        """Node ids of the positive items, shape :math:`(B,)`."""
        return self.pos + self.graph.num_users

    @property
    def neg_node(self) -> Tensor:
        """Node ids of the negative items, shape as ``neg``."""
        return self.neg + self.graph.num_users

    @cached_property
    def users(self) -> Rows:
        """The distinct users."""
        return self._distinct(self.user)

    @cached_property
    def pos_items(self) -> Rows:
        """The distinct positive items, as nodes."""
        return self._distinct(self.pos_node)

    @cached_property
    def neg_items(self) -> Rows:
        """The distinct negative items, as nodes; counts are divided by the negatives a user."""
        rows = self._distinct(self.neg_node.flatten())
        return Rows(rows.index, rows.count * (self.user.numel() / self.neg.numel()))

    @cached_property
    def items(self) -> Rows:
        """The distinct items, positive or negative, as nodes; counts are those of both added."""
        count = torch.zeros(self.graph.num_nodes, device=self.pos.device)
        for rows in (self.pos_items, self.neg_items):
            count[rows.index] += rows.count.to(count.dtype)
        index = count.nonzero().view(-1)
        return Rows(index, count[index])

    @property
    def size(self) -> int:
        """Number of triplets."""
        return self.user.numel()

    def _distinct(self, node: Tensor) -> Rows:
        # Counting over all nodes sorts nothing and, on a GPU, waits for it once.
        count = torch.bincount(node, minlength=self.graph.num_nodes)
        index = count.nonzero().view(-1)
        return Rows(index, count[index].to(torch.get_default_dtype()))
