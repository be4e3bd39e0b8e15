"""A sampled part of the training graph."""

from typing import Self

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..edges import EDGE_TYPE, REVERSE_TYPE
from ..sparse import pointers
from .graph import Adjacency, InteractionGraph


class Subgraph(InteractionGraph):
    r"""The neighbourhood of a batch, with the weights of the whole graph.

    Sampled edges run in one direction only, so the structure has a transpose of its own.

    Args:
        edge_index (Tensor): Source over target, node positions with users first, int64 of shape
            :math:`(2, M)`.
        edge_weight (Tensor): Whole-graph weights, shape :math:`(M,)`.
        num_users (int): Users in the subgraph.
        num_items (int): Items in the subgraph.
        n_id (Tensor): Node of the whole graph at each position, users first, shape :math:`(N',)`.
    """

    weight: Tensor
    _rowptr_t: Tensor
    _col_t: Tensor

    def __init__(
        self, edge_index: Tensor, edge_weight: Tensor, num_users: int, num_items: int, n_id: Tensor
    ) -> None:
        torch.nn.Module.__init__(self)
        self.num_users, self.num_items = num_users, num_items
        self._cache, self._looped = {}, {}
        source, target = edge_index
        order = (target * self.num_nodes + source).argsort()
        source, target = source[order], target[order]
        transpose = source.argsort(stable=True)
        for name, value in (
            ("n_id", n_id),
            ("rowptr", pointers(target, self.num_nodes)),
            ("col", source),
            ("_rowptr_t", pointers(source[transpose], self.num_nodes)),
            ("_col_t", target[transpose]),
            ("reverse", transpose),
            ("weight", edge_weight[order]),
        ):
            self.register_buffer(name, value, False)

    @classmethod
    def from_batch(cls, batch: HeteroData, total_users: int) -> Self:
        """Takes a batch of :func:`irllrec_pyg.loader.triplet_loader` with neighbourhoods.

        Args:
            batch (HeteroData): The batch.
            total_users (int): Users of the whole graph.
        """
        users, items = batch["user"].num_nodes, batch["item"].num_nodes
        rates, rated_by = batch[EDGE_TYPE], batch[REVERSE_TYPE]
        offset = rates.edge_index.new_tensor([[0], [users]])  # items come after the users
        edge_index = torch.cat(
            [rates.edge_index + offset, rated_by.edge_index + offset.flip(0)], dim=1
        )
        n_id = torch.cat([batch["user"].n_id, batch["item"].n_id + total_users])
        return cls(
            edge_index, torch.cat([rates.edge_weight, rated_by.edge_weight]), users, items, n_id
        )

    @property
    def transposed(self) -> tuple[Tensor, Tensor]:
        """Row pointers and columns of the transposed structure."""
        return self._rowptr_t, self._col_t

    def normalized(self, dtype: torch.dtype) -> Tensor:
        """The given weights in CSR order, shape :math:`(M,)`."""
        return self.weight.to(dtype)

    def adjacency(self, dtype: torch.dtype) -> Adjacency:
        """The given weights; the sampled structure is not symmetric."""
        return self.matrix(self.normalized(dtype))
