"""Propagation with fixed weights: the layer under every backbone here."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch_geometric.typing import OptTensor

from ..graph import Adjacency
from .base import SumConv


class WeightedSumConv(SumConv):
    r"""Sums the neighbours of every node with constant weights.

    .. math::
        \mathbf{x}'_i = \sum_{j \in \mathcal{N}(i)} w_{ij} \, \mathbf{x}_j

    With :math:`w_{ij} = (d_i d_j)^{-1/2}` this is the layer of LightGCN, `"LightGCN: Simplifying
    and Powering Graph Convolution Network for Recommendation"
    <https://arxiv.org/abs/2002.02126>`_ (eq. 7). Unlike :class:`torch_geometric.nn.LGConv` the
    weights are not computed again at every call.

    An :class:`~irllrec_pyg.nn.graph.Adjacency` takes a fused path, one sparse matrix product
    whose backward is another one over the same structure. A plain ``edge_index`` with
    ``edge_weight`` sends edge-wise messages; sampled subgraphs, PyG's explainers and
    its hooks on messages use it.

    Shapes:
        - **input:** node features :math:`(N, d)`; an adjacency, or edge indices :math:`(2, E)` and
          edge weights :math:`(E,)`
        - **output:** node features :math:`(N, d)`
    """

    def forward(
        self, x: Tensor, edge_index: Adjacency | Tensor, edge_weight: Tensor | None = None
    ) -> Tensor:
        """Runs one propagation."""
        if isinstance(edge_index, Adjacency):
            if not self.edgewise:
                # Not through `propagate`: it expands a CSR matrix to edge indices at every call,
                # which costs as much as the product itself.
                return self.message_and_aggregate(edge_index, x)
            edge_weight, edge_index = edge_index.value, edge_index.edge_index
        out: Tensor = self.propagate(edge_index, x=x, edge_weight=edge_weight)
        return out

    def message(  # type: ignore[override]
        self, x_j: Tensor, edge_weight: OptTensor
    ) -> Tensor:
        """The weighted neighbour, of shape :math:`(E, d)`."""
        return x_j if edge_weight is None else edge_weight.view(-1, 1) * x_j

    def message_and_aggregate(  # type: ignore[override]
        self, edge_index: Adjacency, x: Tensor
    ) -> Tensor:
        """The sparse matrix product."""
        return spmm(edge_index, x)


def spmm(adjacency: Adjacency, x: Tensor) -> Tensor:
    r"""Product of a sparse matrix with constant values and a dense one.

    Args:
        adjacency (Adjacency): Square matrix of :math:`N` rows.
        x (Tensor): Dense matrix of shape :math:`(N, d)`. float16 and bfloat16 are multiplied in
            float32 (PyTorch has no narrower CSR products on CPU) and cast back.

    Returns:
        Tensor of shape :math:`(N, d)`; gradients flow to ``x`` only.
    """
    if x.dtype in (torch.float16, torch.bfloat16):
        return spmm(adjacency, x.float()).to(x.dtype)
    out: Tensor = _Product.apply(x, *adjacency.to(x.dtype))  # type: ignore[no-untyped-call]
    return out


def csr(rowptr: Tensor, col: Tensor, value: Tensor) -> Tensor:
    """A torch CSR tensor over a structure that is known to be sound."""
    size = rowptr.numel() - 1
    return torch.sparse_csr_tensor(rowptr, col, value, size=(size, size), check_invariants=False)


with warnings.catch_warnings():  # PyTorch says once a process that CSR tensors are in beta
    warnings.simplefilter("ignore")
    csr(torch.zeros(2, dtype=torch.int64), torch.empty(0, dtype=torch.int64), torch.empty(0))


def product(matrix: Sequence[Tensor], x: Tensor) -> Tensor:
    """Sparse times dense in the dtype that is given; autocast would choose one without kernels.
    The matrix is given as row pointers, columns and values.
    """
    rowptr, col, value = matrix
    with torch.autocast(x.device.type, enabled=False):
        x = x.contiguous()
        if x.device.type == "cpu" and x.dtype == torch.float32:
            # A row of the product is a bag of weighted rows of x. PyTorch's kernel for that
            # fetches ahead and takes a third of the time of its CSR product, or less: see
            # `benchmarks/speed.py --model lightgcn`. Detached, or it would also note which row
            # went into which bag.
            return torch.embedding_bag(
                x.detach(), col, rowptr, mode=0, per_sample_weights=value, include_last_offset=True
            )[0]
        return csr(rowptr, col, value) @ x


class _Product(torch.autograd.Function):
    """Autograd through torch.sparse transposes at every step; here the transpose is known."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, *parts: Tensor) -> Tensor:
        ctx.save_for_backward(*parts[3:])
        return product(parts[:3], x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return product(ctx.saved_tensors, grad), *[None] * 6
