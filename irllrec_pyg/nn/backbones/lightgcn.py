"""LightGCN."""

from torch import Tensor
from torch_geometric.data import HeteroData

from ..conv import WeightedSumConv
from ..graph import InteractionGraph
from .base import Backbone, Encoding
from .propagation import check_rate, propagate, sum_layers


class LightGCN(Backbone):
    r"""The LightGCN model from the `"LightGCN: Simplifying and Powering Graph Convolution Network
    for Recommendation" <https://arxiv.org/abs/2002.02126>`_ paper.

    .. math::
        \mathbf{E}^{l+1} = \hat{\mathbf{A}} \mathbf{E}^{l}, \qquad
        \mathbf{E} = \sum_{l=0}^{L} \mathbf{E}^{l}

    As in RLMRec's and IRLLRec's code, layers are summed (the paper averages them) and in training
    the directed entries of :math:`\hat{A}` are kept with probability ``keep_rate`` without
    rescaling.

    Args:
        data (HeteroData): Data set whose training interactions make the graph.
        embedding_size (int, optional): Width of the embeddings. (default: ``32``)
        num_layers (int, optional): Number of propagations :math:`L`. (default: ``3``)
        keep_rate (float, optional): Share of directed edges kept in training.
            (default: ``1.0``)
        learns_embedding (bool, optional): As in :class:`Backbone`. (default: ``True``)
    """

    def __init__(
        self,
        data: HeteroData,
        embedding_size: int = 32,
        num_layers: int = 3,
        keep_rate: float = 1.0,
        learns_embedding: bool = True,
    ) -> None:
        super().__init__(data, embedding_size, learns_embedding)
        check_rate("keep_rate", keep_rate)
        self.num_layers = num_layers
        self.keep_rate = keep_rate
        self.conv = WeightedSumConv()

    def forward(
        self, graph: InteractionGraph | None = None, x: Tensor | None = None, augment: bool = False
    ) -> Encoding:
        """Propagates ``num_layers`` times and sums the layers; see :class:`Backbone`."""
        graph = graph or self.graph
        x = self.inputs(graph) if x is None else x
        adjacency = graph.drop_edges(x.dtype, self.keep_rate if augment else 1.0)
        layers = propagate(self.conv, x, [adjacency] * self.num_layers)
        return Encoding(sum_layers(layers), layers)
