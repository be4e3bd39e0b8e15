"""The one-step linear filter on the graph."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..nn.conv.weighted_sum_conv import spmm
from ..nn.graph import InteractionGraph
from ..ranking.ranker import Similarity
from ..registry import register
from ..sparse import expand
from .base import LinearModel


class GraphFilter(LinearModel):
    r"""Base class of models that pass histories through the normalised interactions
    :math:`\tilde{\mathbf{R}} = \mathbf{D}_U^{-1/2} \mathbf{R} \mathbf{D}_I^{-1/2}`.
    """

    def prepare(self) -> None:
        """Makes the graph of the training interactions."""
        pairs = torch.stack([expand(self.seen_ptr), self.seen_item])
        self.graph = InteractionGraph(pairs, self.num_users, self.num_items)
        self.popularity = self.degree()

    def item_similarity(self) -> Similarity:
        r"""Cosines of the columns of :math:`\mathbf{D}_U^{-1/2} \mathbf{R}`: of the items' users,
        of whom one with many items counts less.
        """
        weight = 1 / self.seen_ptr.diff().clamp(min=1).float()
        length = torch.zeros(self.num_items, device=weight.device)
        length.index_add_(0, self.seen_item, weight[expand(self.seen_ptr)])
        scale = torch.where(length > 0, length.rsqrt(), 0.0)

        def similarity(item: Tensor, others: Tensor | None) -> Tensor:
            columns = torch.zeros(self.num_items, item.numel(), device=weight.device)
            columns[item, torch.arange(item.numel())] = 1.0
            out = self.filtered(columns, 0.0, 1.0, 0.0).t() * scale[item].view(-1, 1) * scale
            return out if others is None else out[:, others]

        return similarity

    def filtered(
        self, columns: Tensor, history: float = 0.5, user: float = 1.0, item: float = 0.5
    ) -> Tensor:
        r"""The product :math:`\mathbf{D}_I^{-c} \mathbf{R}^{\top} \mathbf{D}_U^{-b} \mathbf{R}
        \mathbf{D}_I^{-a} \mathbf{x}` of columns :math:`\mathbf{x}` of shape :math:`(I, B)`; by
        default :math:`\tilde{\mathbf{R}}^{\top} \tilde{\mathbf{R}} \mathbf{x}`.

        Args:
            columns (Tensor): The columns, floating point.
            history (float, optional): Exponent :math:`a` of the degrees of the items that a history
                holds. (default: ``0.5``)
            user (float, optional): Exponent :math:`b` of the users' degrees. (default: ``1.0``)
            item (float, optional): Exponent :math:`c` of the degrees of the items that are scored.
                (default: ``0.5``)
        """
        adjacency = self.graph.adjacency(columns.dtype)  # has the default exponents
        count = self.seen_ptr.diff()
        x = columns.new_zeros(self.graph.num_nodes, columns.size(1))
        x[self.num_users :] = _scaled(columns, self.popularity, 0.5 - history)
        x = spmm(adjacency, x)  # items to users
        x[: self.num_users] = _scaled(x[: self.num_users], count, 1 - user)
        return _scaled(spmm(adjacency, x)[self.num_users :], self.popularity, 0.5 - item)


def _scaled(rows: Tensor, degree: Tensor, exponent: float) -> Tensor:
    """Rows times powers of their degrees; the power 0 costs nothing."""
    if exponent == 0:
        return rows
    return rows * degree.clamp(min=1).to(rows.dtype).view(-1, 1) ** exponent


@register("linear-filter")
class LinearFilter(GraphFilter):
    r"""The one-step linear filter of GF-CF, `"How Powerful is Graph Convolution for
    Recommendation?" <https://arxiv.org/abs/2108.07567>`_, between the degrees that its low-pass
    filter stands between: two propagations, no training.

    .. math::
        \mathbf{Y} = \mathbf{R} \mathbf{D}_I^{-1/2} \, \tilde{\mathbf{R}}^{\top}
        \tilde{\mathbf{R}} \, \mathbf{D}_I^{1/2}, \qquad
        \tilde{\mathbf{R}} = \mathbf{D}_U^{-1/2} \mathbf{R} \mathbf{D}_I^{-1/2}
    """

    layout: ClassVar = {"root": "I 1"}
    root: Tensor

    def fit(self, data: HeteroData) -> None:
        """Takes the roots of the degrees."""
        self.register_buffer("root", self.degree().clamp(min=1).sqrt().view(-1, 1))

    def grow(self, ids: Sequence[int | str], texts: Tensor | None) -> None:
        """Adds items; nobody has touched them."""
        super().grow(ids, texts)
        self.root[-len(ids) :] = 1.0

    def predict(self, history: Tensor) -> Tensor:
        r"""Scores of all items, shape :math:`(B, I)`."""
        columns = history.to_dense().t().to(self.root.dtype)
        return (self.filtered(columns / self.root) * self.root).t()
