"""Attention over neighbours, the layer of AutoCF's decoder."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch_geometric.utils import softmax

from ..graph import InteractionGraph
from .average import Structure, apply_opaque, average, average_backward
from .base import SumConv

LIMIT = 10.0  # attention scores are cut off here, so that their exponentials stay small


class GraphTransformerConv(SumConv):
    r"""Averages the values of a node's neighbours by multi-head attention.

    .. math::
        \mathbf{x}'_i = \big\Vert_{h} \sum_{j \in \mathcal{N}(i)} \alpha^h_{ij}
        \mathbf{V}^h \mathbf{x}_j, \qquad
        \alpha^h_{ij} = \mathrm{softmax}_j \big( \mathrm{clamp} \big( \mathbf{Q}^h \mathbf{x}_i
        \cdot \mathbf{K}^h \mathbf{x}_j, -10, 10 \big) \big)

    The decoder of `"Automated Self-Supervised Learning for Recommendation"
    <https://arxiv.org/abs/2303.07797>`_ (AutoCF). Unlike
    :class:`torch_geometric.nn.TransformerConv` it has no biases, does not scale the scores and
    cuts them off. A node without neighbours gets zeros.

    An :class:`~irllrec_pyg.nn.graph.InteractionGraph` takes a fused path that never holds an
    :math:`(E, d)` matrix; a plain ``edge_index`` sends edge-wise messages.

    Args:
        channels (int): Width of input and output.
        heads (int, optional): Number of attention heads. (default: ``4``)

    Shapes:
        - **input:** node features :math:`(N, d)`; a graph or edge indices :math:`(2, E)`
        - **output:** node features :math:`(N, d)`
    """

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__(node_dim=0)
        if heads < 1 or channels % heads:
            raise ValueError(
                f"'channels' must be a multiple of 'heads', got {channels} and {heads}."
            )
        self.heads = heads
        self.query = torch.nn.Linear(channels, channels, bias=False)
        self.key = torch.nn.Linear(channels, channels, bias=False)
        self.value = torch.nn.Linear(channels, channels, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new weights, Xavier-uniform."""
        for layer in (self.query, self.key, self.value):
            torch.nn.init.xavier_uniform_(layer.weight)

    def forward(self, x: Tensor, edge_index: InteractionGraph | Tensor) -> Tensor:
        """Runs one layer."""
        dtype = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
        q, k, v = (
            layer(x).to(dtype).view(x.size(0), self.heads, -1)
            for layer in (self.query, self.key, self.value)
        )
        if isinstance(edge_index, InteractionGraph):
            if not self.edgewise:
                return self.message_and_aggregate(edge_index, q, k, v).to(x.dtype)
            edge_index = edge_index.edge_index
        out: Tensor = self.propagate(edge_index, q=q, k=k, v=v)
        return out.flatten(1).to(x.dtype)

    def message(  # type: ignore[override]
        self, q_i: Tensor, k_j: Tensor, v_j: Tensor, index: Tensor, size_i: int
    ) -> Tensor:
        """The weighted value of the neighbour, of shape :math:`(E, H, d / H)`."""
        score = (q_i * k_j).sum(-1).clamp(-LIMIT, LIMIT)
        return softmax(score, index, num_nodes=size_i).unsqueeze(-1) * v_j

    def message_and_aggregate(  # type: ignore[override]
        self, edge_index: InteractionGraph, q: Tensor, k: Tensor, v: Tensor
    ) -> Tensor:
        """Sparse products, one head at a time; never holds an :math:`(E, d)` matrix."""
        structure = Structure.of(edge_index)
        parts = zip(q.unbind(1), k.unbind(1), v.unbind(1), strict=True)
        heads: list[Tensor] = [apply_opaque(_Attention, *part, *structure) for part in parts]
        return torch.cat(heads, dim=1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.query.in_features}, heads={self.heads})"


class _Attention(torch.autograd.Function):
    r"""The average of values with weights :math:`a_{ij} = \exp(\mathrm{clamp}(q_i \cdot k_j))`."""

    @staticmethod
    def forward(ctx: FunctionCtx, q: Tensor, k: Tensor, v: Tensor, *structure: Tensor) -> Tensor:
        entries = Structure(*structure)
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        value = entries.dots(q, k).clamp_(-LIMIT, LIMIT).exp_()
        out, scale = average(entries, value, v)
        ctx.save_for_backward(q, k, v, value, scale, out, *structure)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, value, scale, out, *structure = ctx.saved_tensors
        entries = Structure(*structure)
        to_v, to_value = average_backward(entries, value, v, out, scale, grad)
        # Nothing flows through scores that were cut off.
        to_score = to_value * value * (value.log().abs() < LIMIT * (1 - 1e-6))
        return (
            entries.multiply(to_score, k),
            entries.multiply_t(to_score, q),
            to_v,
            *[None] * len(structure),
        )
