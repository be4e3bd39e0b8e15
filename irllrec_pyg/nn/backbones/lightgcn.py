"""LightGCN."""

import torch

from ...config import field
from ...registry import register
from ..graph import Adjacency, InteractionGraph
from .propagation import LayerSum


@register("lightgcn")
class LightGCN(LayerSum):
    r"""The LightGCN model from the `"LightGCN: Simplifying and Powering Graph Convolution Network
    for Recommendation" <https://arxiv.org/abs/2002.02126>`_ paper.

    .. math::
        \mathbf{E}^{l+1} = \hat{\mathbf{A}} \mathbf{E}^{l}, \qquad
        \mathbf{E} = \sum_{l=0}^{L} \mathbf{E}^{l}

    As in RLMRec's and IRLLRec's code, layers are summed (the paper averages them) and in training
    the directed entries of :math:`\hat{A}` are kept with probability ``keep_rate`` without
    rescaling.
    """

    class Config(LayerSum.Config):
        keep_rate: float = field(
            1.0, gt=0, le=1, help="share of the directed edges kept in training", search=(0.5, 1.0)
        )

    config: Config

    def adjacency(self, graph: InteractionGraph, dtype: torch.dtype, augment: bool) -> Adjacency:
        r""":math:`\hat{A}`, with edges dropped in training."""
        return graph.drop_edges(dtype, self.config.keep_rate if augment else 1.0)
