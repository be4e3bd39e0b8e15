"""What one training step is about: triplets over a graph, with each node listed once."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

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


class Seeds(NamedTuple):
    r"""The distinct nodes that triplets name, and how often they do.

    Args:
        user (Tensor): The users' node ids, ascending, shape :math:`(U,)`.
        item (Tensor): Node ids of the positive and the negative items, ascending, shape
            :math:`(I,)`.
        user_count (Tensor): Triplets of each user, int64 of shape :math:`(U,)`.
        pos_count (Tensor): How often each item is a positive, int64 of shape :math:`(I,)`.
        neg_count (Tensor): How often each item is a negative, int64 of shape :math:`(I,)`.
        pos (Tensor): Positions in ``item`` of those that are positives, shape :math:`(P,)`.
        neg (Tensor): Positions in ``item`` of those that are negatives, shape :math:`(Q,)`.
    """

    user: Tensor
    item: Tensor
    user_count: Tensor
    pos_count: Tensor
    neg_count: Tensor
    pos: Tensor
    neg: Tensor


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

    Raises:
        ValueError: If there are no triplets.
    """

    user: Tensor
    pos: Tensor
    neg: Tensor
    graph: InteractionGraph
    augment: bool = True
    masked_nodes: Tensor | None = None

    def __post_init__(self) -> None:
        if not self.user.numel():
            raise ValueError("A batch must hold at least one triplet, got none.")

    @classmethod
    def from_batch(cls, batch: HeteroData, graph: InteractionGraph, augment: bool = True) -> Self:
        """Takes a batch of :func:`irllrec_pyg.loader.triplet_loader`.

        Args:
            batch (HeteroData): The batch.
            graph (InteractionGraph): The whole training graph, in which nodes go by their ids, or
                the batch's part of it, in which they go by their positions in the batch.
            augment (bool, optional): Whether random augmentation is on. (default: ``True``)
        """
        user, item = batch["user"], batch["item"]
        users, items = user.n_id, item.n_id
        if graph.n_id is not None:
            users, items = (torch.arange(ids.numel(), device=ids.device) for ids in (users, items))
        triplets = cls(
            users.index_select(0, user.src_index),
            items.index_select(0, item.dst_pos_index),
            items.index_select(0, item.dst_neg_index.flatten()).view_as(item.dst_neg_index),
            graph,
            augment,
        )
        if "src_count" in user:  # batches of PyG's own loader do not have it
            triplets.seeds = Seeds(
                users[: user.src_count.numel()],
                items[: item.dst_pos_count.numel()] + graph.num_users,
                user.src_count,
                item.dst_pos_count,
                item.dst_neg_count,
                item.dst_pos_unique,
                item.dst_neg_unique,
            )
        return triplets

    @property
    def pos_node(self) -> Tensor:
        """Node ids of the positive items, shape :math:`(B,)`."""
        return self.pos + self.graph.num_users

    @property
    def neg_node(self) -> Tensor:
        """Node ids of the negative items, shape as ``neg``."""
        return self.neg + self.graph.num_users

    @cached_property
    def seeds(self) -> Seeds:
        """The distinct nodes; a GPU is waited for unless the loader has found them."""
        size = self.graph.num_nodes
        user_count, pos_count, neg_count = (
            torch.bincount(node.flatten(), minlength=size)
            for node in (self.user, self.pos_node, self.neg_node)
        )
        user, item = user_count.nonzero().view(-1), (pos_count + neg_count).nonzero().view(-1)
        pos_count, neg_count = pos_count[item], neg_count[item]
        pos, neg = pos_count.nonzero().view(-1), neg_count.nonzero().view(-1)
        return Seeds(user, item, user_count[user], pos_count, neg_count, pos, neg)

    @cached_property
    def users(self) -> Rows:
        """The distinct users."""
        return Rows(self.seeds.user, self.seeds.user_count.to(torch.get_default_dtype()))

    @cached_property
    def pos_items(self) -> Rows:
        """The distinct positive items, as nodes."""
        return self._items_at(self.seeds.pos, self._pos_count)

    @cached_property
    def neg_items(self) -> Rows:
        """The distinct negative items, as nodes; counts are divided by the negatives a user."""
        return self._items_at(self.seeds.neg, self._neg_count)

    @cached_property
    def items(self) -> Rows:
        """The distinct items, positive or negative, as nodes; counts are those of both added."""
        return Rows(self.seeds.item, self._pos_count + self._neg_count)

    @property
    def size(self) -> int:
        """Number of triplets."""
        return self.user.numel()

    @property
    def _pos_count(self) -> Tensor:
        return self.seeds.pos_count.to(torch.get_default_dtype())

    @property
    def _neg_count(self) -> Tensor:
        share = self.user.numel() / self.neg.numel()
        return self.seeds.neg_count.to(torch.get_default_dtype()) * share

    def _items_at(self, position: Tensor, count: Tensor) -> Rows:
        return Rows(self.seeds.item[position], count[position])
