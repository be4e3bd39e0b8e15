"""Propagation over the training edges with weights computed from the nodes."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch_geometric.utils import scatter

from ..graph import InteractionGraph
from ..losses import normalize
from .base import SumConv
from .weighted_sum_conv import csr, product


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
            return self.message_and_aggregate(edge_index, x, hidden)
        source, target = edge_index[0], edge_index[1]
        weight = ((hidden[target] * hidden[source]).sum(1) + 1) / 2
        total = scatter(weight, target, dim_size=x.size(0), reduce="sum")
        weight = weight * _inverse(total)[target]
        out: Tensor = self.propagate(edge_index, x=x, weight=weight)
        return out

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        """The weighted neighbour, of shape :math:`(E, d)`."""
        return weight.view(-1, 1) * x_j

    def message_and_aggregate(self, edge_index: InteractionGraph,  # type: ignore[override]
                              x: Tensor, hidden: Tensor) -> Tensor:
        """Both sparse products at once; ``hidden`` has rows of unit length."""
        if x.dtype in (torch.float16, torch.bfloat16):
            return self.message_and_aggregate(edge_index, x.float(), hidden).to(x.dtype)
        graph = edge_index
        out: Tensor = _AdaptiveProduct.apply(  # type: ignore[no-untyped-call]
            x, hidden.to(x.dtype), graph.rowptr, graph.col, graph.rowptr_t, graph.col_t,
            graph.reverse)
        return out


def _inverse(total: Tensor) -> Tensor:
    # A row may be empty, or all its neighbours exactly opposite to it.
    safe = total.clamp(min=torch.finfo(total.dtype).tiny)
    return torch.where(total > 0, 1 / safe, torch.zeros_like(safe))


def _row_index(rowptr: Tensor, num_edges: int) -> Tensor:
    rows = torch.arange(rowptr.numel() - 1, device=rowptr.device)
    return rows.repeat_interleave(rowptr.diff(), output_size=num_edges)


class _AdaptiveProduct(torch.autograd.Function):
    r"""With :math:`o_i = \sum_j a_{ij} x_j / s_i` and the incoming gradient :math:`g`:

    :math:`\partial a_{ij} = (g_i \cdot x_j - g_i \cdot o_i) / s_i`,
    :math:`\partial x_j = \sum_i a_{ij} g_i / s_i` and
    :math:`\partial h_i = \frac12 \sum_j (\partial a_{ij} + \partial a_{ji}) h_j`.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, hidden: Tensor, rowptr: Tensor, col: Tensor,
                rowptr_t: Tensor, col_t: Tensor, reverse: Tensor) -> Tensor:
        ones = x.new_ones(col.numel())
        # cos / 2 + 1 / 2 at the entries of the structure.
        matrix = torch.sparse.sampled_addmm(csr(rowptr, col, ones), hidden, hidden.t(),
                                            beta=0.5, alpha=0.5)
        value = matrix.values()
        row = _row_index(rowptr, col.numel())
        scale = _inverse(x.new_zeros(x.size(0)).index_add_(0, row, value)).view(-1, 1)
        out = product(matrix, x) * scale
        ctx.save_for_backward(x, hidden, rowptr, col, rowptr_t, col_t, reverse, value, scale, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, hidden, rowptr, col, rowptr_t, col_t, reverse, value, scale, out = ctx.saved_tensors
        grad = grad * scale
        to_x = to_hidden = None
        if ctx.needs_input_grad[0]:
            to_x = product(csr(rowptr_t, col_t, value[reverse]), grad)
        if ctx.needs_input_grad[1]:
            bias = (grad * out).sum(1)[_row_index(rowptr, col.numel())]
            to_value = torch.sparse.sampled_addmm(csr(rowptr, col, bias), grad, x.t(),
                                                  beta=-0.5, alpha=0.5).values()
            to_hidden = product(csr(rowptr, col, to_value), hidden)
            to_hidden += product(csr(rowptr_t, col_t, to_value[reverse]), hidden)
        return to_x, to_hidden, None, None, None, None, None
