"""Propagation over the training edges with weights computed from the nodes."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch_geometric.utils import scatter

from ..graph import InteractionGraph
from ..losses import normalize
from .average import Structure, apply_opaque, average, average_backward, inverse
from .base import SumConv


class AdaptiveConv(SumConv):
    r"""Averages the neighbours of every node, weighted by the similarity of hidden states.

    .. math::
        \mathbf{x}'_i = \frac{\sum_{j \in \mathcal{N}(i)} a_{ij} \, \mathbf{x}_j}
        {\sum_{j \in \mathcal{N}(i)} a_{ij}}, \qquad
        a_{ij} = \frac{\cos(\mathbf{h}_i, \mathbf{h}_j) + 1}{2}

    The adaptive adjacency :math:`\tilde{A}(\mathbf{h})` of `"Disentangled Contrastive
    Collaborative Filtering" <https://arxiv.org/abs/2305.02759>`_ (DCCF), which IRLLRec's
    interaction tower uses too. A node without neighbours gets zeros.

    An :class:`~irllrec_pyg.nn.graph.InteractionGraph` takes a fused path that never holds a
    :math:`(2E, d)` matrix; a plain ``edge_index`` sends edge-wise messages.

    Shapes:
        - **input:** node features :math:`(N, d)`; hidden states :math:`(N, d')`; a graph or edge
          indices :math:`(2, E)`
        - **output:** node features :math:`(N, d)`
    """

    def forward(self, x: Tensor, hidden: Tensor, edge_index: InteractionGraph | Tensor) -> Tensor:
        """Runs one propagation."""
        hidden = normalize(hidden)
        if isinstance(edge_index, InteractionGraph):
            if not self.edgewise:
                return self.message_and_aggregate(edge_index, x, hidden)
            edge_index = edge_index.edge_index
        source, target = edge_index[0], edge_index[1]
        weight = ((hidden[target] * hidden[source]).sum(1) + 1) / 2
        total = scatter(weight, target, dim_size=x.size(0), reduce="sum")
        weight = weight * inverse(total)[target]
        out: Tensor = self.propagate(edge_index, x=x, weight=weight)
        return out

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        """The weighted neighbour, of shape :math:`(E, d)`."""
        return weight.view(-1, 1) * x_j

    def message_and_aggregate(  # type: ignore[override]
        self, edge_index: InteractionGraph, x: Tensor, hidden: Tensor
    ) -> Tensor:
        """Both sparse products at once; ``hidden`` has rows of unit length."""
        if x.dtype in (torch.float16, torch.bfloat16):
            return self.message_and_aggregate(edge_index, x.float(), hidden).to(x.dtype)
        out: Tensor = apply_opaque(
            _AdaptiveProduct, x, hidden.to(x.dtype), *Structure.of(edge_index)
        )
        return out


class _AdaptiveProduct(torch.autograd.Function):
    r"""The average of neighbours with weights :math:`a_{ij} = (h_i \cdot h_j + 1) / 2`, whose
    gradient is :math:`\partial h_i = \frac12 \sum_j (\partial a_{ij} + \partial a_{ji}) h_j`.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, hidden: Tensor, *structure: Tensor) -> Tensor:
        entries = Structure(*structure)
        value = entries.dots(hidden, hidden).add_(1).mul_(0.5)
        out, scale = average(entries, value, x)
        ctx.save_for_backward(x, hidden, value, scale, out, *structure)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, hidden, value, scale, out, *structure = ctx.saved_tensors
        entries = Structure(*structure)
        to_x, to_value = average_backward(entries, value, x, out, scale, grad)
        to_hidden = entries.multiply(to_value, hidden) + entries.multiply_t(to_value, hidden)
        return to_x, 0.5 * to_hidden, *[None] * len(structure)
