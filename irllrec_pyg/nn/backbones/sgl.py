"""SGL."""

from typing import Literal

import torch
from torch import Tensor

from ...config import field
from ...registry import register
from ..batch import Triplets
from ..graph import InteractionGraph
from .base import Encoding
from .propagation import LayerSum, contrast_views, propagate, sum_layers

Augmentation = Literal["edge_drop", "node_drop", "random_walk"]


@register("sgl")
class SGL(LayerSum):
    r"""The SGL model from the `"Self-supervised Graph Learning for Recommendation"
    <https://arxiv.org/abs/2010.10783>`_ paper.

    :class:`LightGCN` on the whole graph ranks; two randomly augmented passes are contrasted,

    .. math::
        \mathcal{L}_{ssl} = \frac{w}{B} \big[ \mathrm{nce}(u_1, u_2, \text{all users' } u_2)
        + \mathrm{nce}(i^+_1, i^+_2, \text{all items' } i_2)
        + \mathrm{nce}(i^-_1, i^-_2, \text{all items' } i_2) \big]

    As published, directed entries of :math:`\hat{A}` are dropped without rescaling, node drop
    hides input embeddings (the paper drops the nodes' edges too), and the negative items are
    contrasted as well. The published ``random_walk`` crashes; here it is the paper's, an
    independent edge drop for each layer.
    """

    class Config(LayerSum.Config):
        augmentation: Augmentation = field("edge_drop", help="what a view leaves out")
        keep_rate: float = field(
            0.8, gt=0, le=1, help="share of the edges or nodes that a view keeps", search=(0.5, 1.0)
        )
        weight: float = field(
            0.1, ge=0, help="weight of the contrastive loss", search=(1e-3, 1.0), log=True
        )
        temperature: float = field(
            0.2, gt=0, help="temperature of the contrastive sums", search=(0.1, 0.5)
        )

    config: Config

    def encode(self, batch: Triplets, x: Tensor) -> Encoding:
        """Adds the two views."""
        encoding = super().encode(batch, x)
        encoding.views = tuple(
            self.view(batch.graph, x) if batch.augment else encoding.layers for _ in range(2)
        )
        return encoding

    def view(self, graph: InteractionGraph, x: Tensor) -> tuple[Tensor, ...]:
        r"""Layers :math:`E^0, \ldots, E^L` of a randomly augmented pass."""
        rate, count = self.config.keep_rate, self.config.num_layers
        if self.config.augmentation == "node_drop":
            x = x * (torch.rand(x.size(0), 1, device=x.device) < rate)
            adjacencies = [graph.adjacency(x.dtype)] * count
        elif self.config.augmentation == "random_walk":
            adjacencies = [graph.drop_edges(x.dtype, rate) for _ in range(count)]
        else:
            adjacencies = [graph.drop_edges(x.dtype, rate)] * count
        return propagate(self.conv, x, adjacencies)

    def losses(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The loss ``ssl``."""
        first, second = map(sum_layers, encoding.views)
        loss = contrast_views(first, second, batch, self.config.temperature, negatives=True)
        return {"ssl": self.config.weight * loss}
