"""The one-step linear filter on the graph."""

from typing import Any

from torch import Tensor
from torch_geometric.data import HeteroData

from ..config import Settings
from ..nn.conv.weighted_sum_conv import spmm
from ..nn.graph import InteractionGraph
from ..registry import register
from .base import LinearModel


@register("linear-filter")
class LinearFilter(LinearModel):
    r"""The one-step linear filter of GF-CF, `"How Powerful is Graph Convolution for
    Recommendation?" <https://arxiv.org/abs/2108.07567>`_: two propagations, no training.

    .. math::
        \mathbf{Y} = \mathbf{R} \mathbf{D}_I^{-1/2} \, \tilde{\mathbf{R}}^{\top}
        \tilde{\mathbf{R}} \, \mathbf{D}_I^{1/2}, \qquad
        \tilde{\mathbf{R}} = \mathbf{D}_U^{-1/2} \mathbf{R} \mathbf{D}_I^{-1/2}
    """

    scale: Tensor

    def __init__(self, data: HeteroData, config: Settings = None, **settings: Any) -> None:
        super().__init__(data, config, **settings)
        self.graph = InteractionGraph.from_data(data)
        self.register_buffer("scale", self.degree().clamp(min=1).sqrt().view(-1, 1))

    def score(self, user: Tensor) -> Tensor:
        r"""Scores of all items, shape :math:`(B, I)`."""
        adjacency = self.graph.adjacency(self.scale.dtype)
        x = self.scale.new_zeros(self.graph.num_nodes, user.numel())
        x[self.num_users :] = self.history(user, self.scale.dtype) / self.scale
        x = spmm(adjacency, spmm(adjacency, x))  # items to users and back
        return (x[self.num_users :] * self.scale).t()
