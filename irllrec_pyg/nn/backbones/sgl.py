"""SGL."""

from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..batch import Triplets
from ..graph import InteractionGraph
from .base import Encoding
from .lightgcn import LightGCN
from .propagation import contrast_views, propagate, sum_layers

Augmentation = Literal["edge_drop", "node_drop", "random_walk"]


class SGL(LightGCN):
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

    Args:
        data (HeteroData): Data set whose training interactions make the graph.
        embedding_size (int, optional): Width of the embeddings. (default: ``32``)
        num_layers (int, optional): Number of propagations :math:`L`. (default: ``3``)
        augmentation (str, optional): ``"edge_drop"``, ``"node_drop"`` or ``"random_walk"``.
            (default: ``"edge_drop"``)
        keep_rate (float, optional): Share of edges or nodes that a view keeps.
            (default: ``0.8``)
        weight (float, optional): :math:`w`. (default: ``0.1``)
        temperature (float, optional): Of the contrastive sums. (default: ``0.2``)
    """

    def __init__(
        self,
        data: HeteroData,
        embedding_size: int = 32,
        num_layers: int = 3,
        augmentation: Augmentation = "edge_drop",
        keep_rate: float = 0.8,
        weight: float = 0.1,
        temperature: float = 0.2,
    ) -> None:
        super().__init__(data, embedding_size, num_layers, keep_rate)
        if augmentation not in ("edge_drop", "node_drop", "random_walk"):
            raise ValueError(
                "'augmentation' must be 'edge_drop', 'node_drop' or 'random_walk', "
                f"got {augmentation!r}."
            )
        self.augmentation = augmentation
        self.weight = weight
        self.temperature = temperature

    def forward(
        self, graph: InteractionGraph | None = None, x: Tensor | None = None, augment: bool = False
    ) -> Encoding:
        """Propagates over the whole graph, which is never augmented; see :class:`Backbone`."""
        return super().forward(graph, x)

    def encode(self, batch: Triplets, x: Tensor) -> Encoding:
        """Adds the two views."""
        encoding = super().encode(batch, x)
        encoding.views = tuple(
            self.view(batch.graph, x) if batch.augment else encoding.layers for _ in range(2)
        )
        return encoding

    def view(self, graph: InteractionGraph, x: Tensor) -> tuple[Tensor, ...]:
        r"""Layers :math:`E^0, \ldots, E^L` of a randomly augmented pass."""
        edge_rate = 1.0 if self.augmentation == "node_drop" else self.keep_rate
        if self.augmentation == "node_drop":
            x = x * (torch.rand(x.size(0), 1, device=x.device) < self.keep_rate)
        if self.augmentation == "random_walk":
            adjacencies = [graph.drop_edges(x.dtype, edge_rate) for _ in range(self.num_layers)]
        else:
            adjacencies = [graph.drop_edges(x.dtype, edge_rate)] * self.num_layers
        return propagate(self.conv, x, adjacencies)

    def losses(self, encoding: Encoding, batch: Triplets) -> dict[str, Tensor]:
        """The loss ``ssl``."""
        first, second = map(sum_layers, encoding.views)
        loss = contrast_views(first, second, batch, self.temperature, negatives=True)
        return {"ssl": self.weight * loss}
