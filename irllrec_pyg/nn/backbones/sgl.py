"""SGL."""

from typing import Literal

import torch
from torch import Tensor

from ...config import field
from ...registry import register
from ..graph import InteractionGraph
from .propagation import ContrastedViews, propagate

Augmentation = Literal["edge_drop", "node_drop", "random_walk"]


@register("sgl")
class SGL(ContrastedViews):
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

    contrasts_negatives = True

    class Config(ContrastedViews.Config):
        augmentation: Augmentation = field("edge_drop", help="what a view leaves out")
        keep_rate: float = field(
            0.8, gt=0, le=1, help="share of the edges or nodes that a view keeps", search=(0.5, 1.0)
        )

    config: Config

    def view(self, graph: InteractionGraph, x: Tensor) -> tuple[Tensor, ...]:
        """A pass over the graph with edges or nodes dropped."""
        rate, count = self.config.keep_rate, self.config.num_layers
        if self.config.augmentation == "node_drop":
            x = x * (torch.rand(x.size(0), 1, device=x.device) < rate)
            adjacencies = [graph.adjacency(x.dtype)] * count
        elif self.config.augmentation == "random_walk":
            adjacencies = [graph.drop_edges(x.dtype, rate) for _ in range(count)]
        else:
            adjacencies = [graph.drop_edges(x.dtype, rate)] * count
        return propagate(self.conv, x, adjacencies)
