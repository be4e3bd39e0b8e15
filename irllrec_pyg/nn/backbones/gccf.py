"""GCCF (LR-GCCF)."""

import torch
from torch import Tensor

from ...config import field
from ...ranking.fold_in import FoldIn
from ...registry import register
from ..graph import InteractionGraph
from .base import Encoding
from .propagation import LayerSum, item_layers, propagate


@register("gccf")
class GCCF(LayerSum):
    r"""The LR-GCCF model from the `"Revisiting Graph Based Collaborative Filtering: A Linear
    Residual Graph Convolutional Network Approach" <https://arxiv.org/abs/2001.10167>`_ paper.

    .. math::
        \mathbf{E}^{l+1} = \mathbf{D}^{-1/2} (\mathbf{A} + \mathbf{I}) \mathbf{D}^{-1/2}
        \mathbf{E}^{l}, \qquad \mathbf{E} = \mathbf{E}^0 \,\Vert\, \ldots \,\Vert\, \mathbf{E}^L

    with the degrees :math:`\mathbf{D}` of :math:`\mathbf{A} + \mathbf{I}`. The weight matrices of
    the published module are read by no pass of it and do not exist here. Nothing is augmented,
    though its configuration has a ``keep_rate``.
    """

    class Config(LayerSum.Config):
        num_layers: int = field(2, ge=0, le=100, help="number of propagations", search=(1, 4))
        self_loops: bool = field(True, help="whether nodes are neighbours of themselves")

    config: Config

    @property
    def out_channels(self) -> int:
        """Width of the concatenated layers."""
        return (self.config.num_layers + 1) * self.embedding_size

    def run(self, graph: InteractionGraph, x: Tensor, augment: bool) -> Encoding:
        """Propagates and concatenates the layers."""
        if self.config.self_loops:
            degree = None if graph.n_id is None else self.graph.degree[graph.n_id]
            adjacency = graph.looped(x.dtype, degree)
        else:
            adjacency = graph.adjacency(x.dtype)
        layers = propagate(self.conv, x, [adjacency] * self.config.num_layers)
        return Encoding(torch.cat(layers, dim=1), layers)

    def fold_in(self) -> FoldIn | None:
        """One propagation from a history's items; see :class:`~irllrec_pyg.ranking.FoldIn`."""
        if not self.folds_in:
            return None
        own = self.config
        layers = torch.cat(item_layers(self, own.self_loops), dim=1)
        return FoldIn(layers, own.num_layers, "concat", own.self_loops)
