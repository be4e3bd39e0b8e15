"""Propagation with fixed weights: the layer under every backbone here."""

import warnings
from collections.abc import Sequence
from typing import Any, overload

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
        - **input:** node features :math:`(N, d)`; an adjacency, several of them, or edge indices
          :math:`(2, E)` and edge weights :math:`(E,)`
        - **output:** node features :math:`(N, d)`; of several adjacencies one tensor for each
          propagation
    """

    @overload
    def forward(
        self, x: Tensor, edge_index: Adjacency | Tensor, edge_weight: Tensor | None = None
    ) -> Tensor: ...

    @overload
    def forward(self, x: Tensor, edge_index: list[Adjacency]) -> tuple[Tensor, ...]: ...

    def forward(
        self,
        x: Tensor,
        edge_index: Adjacency | list[Adjacency] | Tensor,
        edge_weight: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """Runs one propagation, or one after the other over each of several adjacencies."""
        if isinstance(edge_index, list) and not self.edgewise:
            return spmm_chain(edge_index, x)
        if isinstance(edge_index, list):
            layers = [x]
            for adjacency in edge_index:
                layers.append(self(layers[-1], adjacency))
            return tuple(layers[1:])
        if isinstance(edge_index, Adjacency):
            if not self.edgewise:
                # Not through `propagate`: it expands a CSR matrix to edge indices at every call,
                # which costs as much as the product itself.
                return self.message_and_aggregate(edge_index, x)
            # Loops come last, as PyG's explainers expect them.
            source, target = edge_index.edge_index
            order = (source == target).sort(stable=True).indices
            edge_weight = edge_index.value[order]
            edge_index = torch.stack([source, target])[:, order]
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
    return spmm_chain([adjacency], x)[0]


def spmm_chain(adjacencies: Sequence[Adjacency], x: Tensor) -> tuple[Tensor, ...]:
    r"""Products :math:`A_0 x, \; A_1 A_0 x, \; \ldots` with one backward pass for all.

    Args:
        adjacencies (sequence of Adjacency): :math:`A_0, \ldots, A_{L-1}`.
        x (Tensor): As for :func:`spmm`.

    Returns:
        :math:`L` tensors of shape :math:`(N, d)`.
    """
    if not adjacencies:
        return ()
    if x.dtype in (torch.float16, torch.bfloat16):
        return tuple(out.to(x.dtype) for out in spmm_chain(adjacencies, x.float()))
    parts = [part for adjacency in adjacencies for part in adjacency.to(x.dtype)]
    out: tuple[Tensor, ...] = _Chain.apply(x, *parts)  # type: ignore[no-untyped-call]
    return out


def csr(rowptr: Tensor, col: Tensor, value: Tensor) -> Tensor:
    """A torch CSR tensor over a structure that is known to be sound."""
    size = rowptr.numel() - 1
    return torch.sparse_csr_tensor(rowptr, col, value, size=(size, size), check_invariants=False)


with warnings.catch_warnings():  # PyTorch says once a process that CSR tensors are in beta
    warnings.simplefilter("ignore")
    csr(torch.zeros(2, dtype=torch.int64), torch.empty(0, dtype=torch.int64), torch.empty(0))


def product(matrix: Sequence[Tensor], x: Tensor, add: Tensor | None = None) -> Tensor:
    """Sparse times dense (plus ``add``) in the dtype that is given; autocast would choose one
    without kernels. The matrix is given as row pointers, columns and values.
    """
    rowptr, col, value = matrix
    with torch.autocast(x.device.type, enabled=False):
        x = x.contiguous()
        if x.device.type == "cpu" and x.dtype == torch.float32:
            # A row of the product is a bag of weighted rows of x. PyTorch's kernel for that
            # fetches ahead and takes a third of the time of its CSR product, or less: see
            # `benchmarks/speed.py --model lightgcn`. Detached, or it would also note which row
            # went into which bag.
            out = torch.embedding_bag(
                x.detach(), col, rowptr, mode=0, per_sample_weights=value, include_last_offset=True
            )[0]
            return out if add is None else out.add_(add)
        return torch.addmm(
            x if add is None else add, csr(rowptr, col, value), x, beta=0 if add is None else 1
        )


class _Chain(torch.autograd.Function):
    r"""Autograd through torch.sparse transposes at every step; here the transposes are known.
    One pass back through all layers, in place of one for each, saves 5 to 10 % of a step of
    LightGCN (``benchmarks/speed.py --model lightgcn``).

    With gradients :math:`g_l` of the layers, :math:`h_L = g_L`,
    :math:`h_l = g_l + A_l^{\top} h_{l+1}`; each sum happens with the product.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*parts)
        ctx.set_materialize_grads(False)
        layers = []
        for at in range(0, len(parts), 6):
            x = product(parts[at : at + 3], x)
            layers.append(x)
        return tuple(layers)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        parts = ctx.saved_tensors
        out = None
        for layer in range(len(grads) - 1, -1, -1):
            grad = grads[layer]
            transpose = parts[6 * layer + 9 : 6 * layer + 12]
            out = grad if out is None else product(transpose, out, grad)
        if out is not None:
            out = product(parts[3:6], out)
        return out, *[None] * len(parts)
