"""The sparse product under layers whose weights come from the nodes."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...sparse import expand
from ..graph import InteractionGraph
from .weighted_sum_conv import csr, product


class Structure(NamedTuple):
    """Where a square matrix and its transpose have entries; see ``InteractionGraph``."""

    rowptr: Tensor
    col: Tensor
    rowptr_t: Tensor
    col_t: Tensor
    reverse: Tensor

    @classmethod
    def of(cls, graph: InteractionGraph) -> "Structure":
        """Takes that of a graph."""
        return cls(graph.rowptr, graph.col, *graph.transposed, graph.reverse)

    def rows(self) -> Tensor:
        """Row of each entry."""
        return expand(self.rowptr, self.col.numel())

    def dots(self, x: Tensor, y: Tensor) -> Tensor:
        r"""Products :math:`x_i \cdot y_j` at the entries, without the matrix of all of them."""
        zeros = x.new_zeros(self.col.numel())
        return self.add_dots(zeros, x, y)

    def add_dots(self, value: Tensor, x: Tensor, y: Tensor) -> Tensor:
        r"""Adds :math:`x_i \cdot y_j` to the value of each entry."""
        matrix = csr(self.rowptr, self.col, value)
        out: Tensor = torch.sparse.sampled_addmm(matrix, x.contiguous(), y.t()).values()
        return out

    def multiply(self, value: Tensor, x: Tensor) -> Tensor:
        """The matrix of these values times ``x``."""
        return product((self.rowptr, self.col, value), x)

    def multiply_t(self, value: Tensor, x: Tensor) -> Tensor:
        """The transposed matrix of these values times ``x``."""
        return product((self.rowptr_t, self.col_t, value.index_select(0, self.reverse)), x)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def apply_opaque(function: type[torch.autograd.Function], *args: Tensor) -> Any:
    """Runs a function of sparse matrices; ``torch.compile`` does not look into it."""
    return function.apply(*args)


def inverse(total: Tensor) -> Tensor:
    """One over the total of each row; zero for empty rows."""
    safe = total.clamp(min=torch.finfo(total.dtype).tiny)
    return torch.where(total > 0, 1 / safe, torch.zeros_like(safe))


def average(structure: Structure, value: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Averages of neighbours, :math:`o_i = s_i \sum_j a_{ij} x_j` with
    :math:`s_i = 1 / \sum_j a_{ij}`.

    Args:
        structure (Structure): Where the entries are.
        value (Tensor): :math:`a \geq 0`, shape :math:`(M,)`.
        x (Tensor): shape :math:`(N, d)`.

    Returns:
        The averages :math:`o`, shape :math:`(N, d)`, and :math:`s`, shape :math:`(N, 1)`.
    """
    total = x.new_zeros(x.size(0)).index_add_(0, structure.rows(), value)
    scale = inverse(total).view(-1, 1)
    return structure.multiply(value, x) * scale, scale


def average_backward(
    structure: Structure, value: Tensor, x: Tensor, out: Tensor, scale: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Gradients of :func:`average`.

    With the incoming gradient :math:`g`: :math:`\partial x_j = \sum_i s_i a_{ij} g_i` and
    :math:`\partial a_{ij} = s_i (g_i \cdot x_j - g_i \cdot o_i)`.

    Returns:
        The gradients in ``x``, shape :math:`(N, d)`, and in ``value``, shape :math:`(M,)`.
    """
    grad = grad * scale
    bias = -(grad * out).sum(1)
    return (
        structure.multiply_t(value, grad),
        structure.add_dots(bias.index_select(0, structure.rows()), grad, x),
    )
