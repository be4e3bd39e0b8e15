"""GCCF (LR-GCCF)."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from ..conv import WeightedSumConv
from ..graph import InteractionGraph
from .base import Backbone, Encoding
from .propagation import propagate


class GCCF(Backbone):
    r"""The LR-GCCF model from the `"Revisiting Graph Based Collaborative Filtering: A Linear
    Residual Graph Convolutional Network Approach" <https://arxiv.org/abs/2001.10167>`_ paper.

    .. math::
        \mathbf{E}^{l+1} = \mathbf{D}^{-1/2} (\mathbf{A} + \mathbf{I}) \mathbf{D}^{-1/2}
        \mathbf{E}^{l}, \qquad \mathbf{E} = \mathbf{E}^0 \,\Vert\, \ldots \,\Vert\, \mathbf{E}^L

    with the degrees :math:`\mathbf{D}` of :math:`\mathbf{A} + \mathbf{I}`. The weight matrices of
    the published module are read by no pass of it and do not exist here. Nothing is augmented,
    though its configuration has a ``keep_rate``.

    Args:
        data (HeteroData): Data set whose training interactions make the graph.
        embedding_size (int, optional): Width :math:`d` of the embeddings; the final ones are
            :math:`(L + 1) \cdot d` wide. (default: ``32``)
        num_layers (int, optional): Number of propagations :math:`L`. (default: ``2``)
        self_loops (bool, optional): Whether nodes are neighbours of themselves. The published
            variants with texts forget this. (default: ``True``)
    """

    def __init__(
        self,
        data: HeteroData,
        embedding_size: int = 32,
        num_layers: int = 2,
        self_loops: bool = True,
    ) -> None:
        super().__init__(data, embedding_size)
        self.num_layers = num_layers
        self.self_loops = self_loops
        self.conv = WeightedSumConv()

    @property
    def out_channels(self) -> int:
        """Width of the concatenated layers."""
        return (self.num_layers + 1) * self.embedding_size

    def forward(
        self, graph: InteractionGraph | None = None, x: Tensor | None = None, augment: bool = False
    ) -> Encoding:
        """Propagates and concatenates the layers; see :class:`Backbone`."""
        graph = graph or self.graph
        x = self.inputs(graph) if x is None else x
        if self.self_loops:
            degree = None if graph.n_id is None else self.graph.degree[graph.n_id]
            adjacency = graph.looped(x.dtype, degree)
        else:
            adjacency = graph.adjacency(x.dtype)
        layers = propagate(self.conv, x, [adjacency] * self.num_layers)
        return Encoding(torch.cat(layers, dim=1), layers)
